#pragma once

// What the log says of an import: what was taken, and what was left, each reason with its count.

#include "base/log.h"
#include "store/import_report.h"

#include <string>
#include <vector>

namespace mqttd {

struct ImportLine {
    LogKind kind = LogKind::kNotice;
    std::string text;
};

// `file` and `folder`: the names of the file and of the journal that it became.
std::vector<ImportLine> import_lines(const ImportReport& report,
                                     const std::string& file,
                                     const std::string& folder);

}  // namespace mqttd
