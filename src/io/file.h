#pragma once

// Whole small files in, short texts out: what the start of the program needs.
//
// Nothing here is for the loop: reading may wait for a disk.

#include "mqttd/result.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace mqttd {

// The content of the file, which may be of the kind that tells no size (/proc, a pipe).
// Errors: kNotFound, kPermission, kInvalid (a directory), kQuotaExceeded (above `bytes_max`), kIo.
Result<std::string> read_file(const char* path, size_t bytes_max);

// The same as a clause for the operator, e.g. "there is no such file".
const char* file_error_text(Error error);

enum class Stream { kOut = 1, kErr = 2 };

// Writes all of `text`, waiting if need be.  Errors are nobody's to hear.
void print(Stream stream, std::string_view text);

// The environment variable, or nullptr.
const char* environment(const char* name);

}  // namespace mqttd
