// The sentences a configuration file is answered with.
//
// Each names the key and the value as written and says what would be right; the place goes into
// ConfigProblem. What the operator wrote may be a megabyte of anything, so it passes `printable`.
#pragma once

#include "config/table.h"

#include <string>
#include <string_view>

namespace mqttd {

// `text` cut to 64 bytes, with everything that is not printable ASCII as '?'.
std::string printable(std::string_view text);

std::string unknown_key(std::string_view key);
std::string empty_value(const ConfigKey& row, std::string_view key);
std::string wrong_kind(const ConfigKey& row, std::string_view key, std::string_view word);
std::string out_of_range(const ConfigKey& row, std::string_view key, std::string_view word);
std::string trailing_text(std::string_view key, std::string_view word, std::string_view trailing);
std::string trailing_words(const ConfigKey& row,
                           std::string_view key,
                           std::string_view word,
                           std::string_view trailing);
std::string repeated_value(std::string_view key, const std::string& place);
std::string ignored_key(const ConfigKey& row, std::string_view key);

// The one sentence for a kComing, kTls or kRefused key whose value asks for something.
std::string not_served(const ConfigKey& row, std::string_view key, std::string_view value);

}  // namespace mqttd
