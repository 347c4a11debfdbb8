#pragma once

// The names of the journal's files.
//
//     0000000000000007.log      file 7
//     0000000000000007.2.log    its second continuation, after a failed write
//     spare-3.log               was file 3, is nobody's: to be written over, which syncs twice as
//     fast as appending lock                      held by the scribe that writes here

#include <cstdint>
#include <optional>
#include <string_view>

namespace mqttd {

struct FileName {
    uint64_t number = 0;
    uint32_t part = 0;
};

struct NameText {
    char text[48] = {};

    operator std::string_view() const { return text; }
};

NameText name_of(const FileName& file);
NameText spare_name(uint64_t number);

// Nothing if it is not the name of a file of records.
std::optional<FileName> parse_name(std::string_view name);

bool is_spare(std::string_view name);

}  // namespace mqttd
