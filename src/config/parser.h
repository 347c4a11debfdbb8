// The text of a configuration file → a Config, or every problem in it.
//
// The grammar is mosquitto's, so that an unmodified mosquitto.conf loads: one `key value` per line,
// a comment only where '#' is the first character, no sections, quotes, variables or continued
// lines, CR before LF is cut. Keys and values are divided by blanks (here a tab counts). Numbers,
// bools and words are one word; text runs to the end of the line, trimmed.
//
//   - What a key may hold and what becomes of it is in its row (table.h); the parser is the one
//     loop that cuts lines and looks at rows.
//   - Order matters: a listener key belongs to the last `listener` line. Above the first one it
//     creates a default listener on port 1883 (mosquitto does that silently, mqttd with a warning),
//     if it asks for anything but the default,
//     except for socket options of our own, which become the default of all listeners there.
//   - Order matters for `include_dir`, too: the directory's files are read on the spot. Each begins
//     without a current listener or bridge, and after the last one the main file goes on with its
//     own. An include_dir in an included file is not followed.
//   - Below `per_listener_settings true` the keys that have a store_here belong to the current
//     listener.
//   - A second line with the same text key is an error; with a number or bool the last one wins,
//     with a warning.
//   - mosquitto stops reading a number or bool after its word, so `true # why` works there. It
//     works here too, with a warning; but other words behind a number (`memory_limit 3 GB`) are an
//     error, for the number does not mean what was written.
//
// A pure function of its arguments: no file is read (but by `read_folder`), nothing is global,
// nothing of `text` is kept. The text may be hostile: NUL bytes, lines of a megabyte, a missing
// last newline, a byte order mark. Reports stop after kProblemsMax, so the answer is bounded
// whatever the size of the text. O(size of text + lines · rows).
#pragma once

#include "config/config.h"
#include "config/problem.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd {

inline constexpr size_t kProblemsMax = 100;  // of each severity
inline constexpr size_t kListenersMax = 256;
inline constexpr size_t kAddressRulesMax = 256;  // of one listener
inline constexpr size_t kTopicRanksMax = 256;

// What include_dir asks for: the files of a directory in the order they are to be read, or what
// went wrong, as a clause.
struct IncludedFile {
    std::string name;
    std::string text;
};

struct IncludedFiles {
    std::vector<IncludedFile> files;
    std::string problem;  // empty = none
};

using ReadFolder = std::function<IncludedFiles(const std::string& path)>;

// Overwrites in `out` what `text` says; pass a fresh Config for the first file.
//   file_name   only for the problems
//   read_folder answers include_dir; without it that key is an error
// With an error among the problems `out` must not be used. Call finish_config next (finish.h).
std::vector<ConfigProblem> parse_config(std::string_view text,
                                        std::string_view file_name,
                                        Config& out,
                                        const ReadFolder& read_folder = {});

}  // namespace mqttd
