#include "server/load_config.h"

#include "config/finish.h"
#include "config/include_order.h"
#include "config/parser.h"
#include "io/file.h"
#include "io/folder.h"
#include "server/settings.h"

#include <algorithm>
#include <utility>

namespace mqttd {

namespace {

constexpr size_t kFileMax = 16 * 1024 * 1024;
constexpr size_t kFilesMax = 10'000;  // in a directory, and together no longer than one may be

void sort_out(const std::vector<ConfigProblem>& problems, LoadedConfig& loaded) {
    for (const ConfigProblem& problem : problems) {
        auto& lines = problem.severity == Severity::kError ? loaded.errors : loaded.warnings;
        lines.push_back(format_problem(problem));
    }
}

// What include_dir names.  A file that cannot be read spoils the whole, as a wrong line does.
IncludedFiles read_folder(const std::string& path) {
    IncludedFiles folder;
    Result<std::vector<std::string>> names = list_folder(path.c_str(), kFilesMax);
    if (!names.ok()) {
        folder.problem = folder_error_text(names.error());
        return folder;
    }
    size_t room = kFileMax;
    std::erase_if(*names, [](const std::string& name) { return !is_included(name); });
    std::sort(names->begin(), names->end(), is_read_before);
    for (const std::string& name : *names) {
        const std::string file = path + (path.ends_with('/') ? "" : "/") + name;
        Result<std::string> text = read_file(file.c_str(), room);
        if (!text.ok()) {
            folder.problem = "unable to read " + name + ": " + file_error_text(text.error());
            return folder;
        }
        room -= text->size();
        folder.files.push_back({file, std::move(*text)});
    }
    return folder;
}

std::string limit_raised(int64_t limit) {
    return "warning: memory_limit " + std::to_string(limit) + " is raised to " +
           std::to_string(kArenaLeast) + " bytes, the least mqttd can work with: give bytes";
}

}  // namespace

LoadedConfig load_config(const Options& options) {
    LoadedConfig loaded;
    const std::string& file = options.config_file;
    if (!file.empty()) {
        const Result<std::string> text = read_file(file.c_str(), kFileMax);
        if (!text.ok()) {
            loaded.errors.push_back("Error: Unable to open the configuration file " + file + ": " +
                                    file_error_text(text.error()) + ".");
            return loaded;
        }
        sort_out(parse_config(*text, file, loaded.config, read_folder), loaded);
    }
    // The rules over the whole file make sense only if every line of it does.
    if (loaded.errors.empty()) sort_out(finish_config(loaded.config, options, file), loaded);
    const int64_t limit = loaded.config.memory_limit_bytes;
    if (loaded.errors.empty() && limit > 0 && limit < static_cast<int64_t>(kArenaLeast)) {
        loaded.warnings.push_back(limit_raised(limit));
    }
    loaded.ok = loaded.errors.empty();
    return loaded;
}

}  // namespace mqttd
