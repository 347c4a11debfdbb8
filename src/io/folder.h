#pragma once

// The names in a directory: for include_dir. Nothing here is for the loop: it may wait for a disk.

#include "mqttd/result.h"

#include "io/account.h"

#include <cstddef>
#include <string>
#include <vector>

namespace mqttd {

// All names but "." and "..", in no order.
// Errors: kNotFound, kPermission, kInvalid (not a directory), kQuotaExceeded (more than
// `names_max`), kIo.
Result<std::vector<std::string>> list_folder(const char* path, size_t names_max);

// A directory that only its owner may look into; of `account`, if there is one.
// Errors: kExists, kNotFound (nor is the one it should be in), kPermission, kNoSpace, kIo.
Error make_folder(const char* path, const Account* account);

// The same as a clause for the operator, e.g. "there is no such directory".
const char* folder_error_text(Error error);

}  // namespace mqttd
