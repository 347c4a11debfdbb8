#include "io/folder.h"

#include "io/sockets_errno.h"

#include <cerrno>
#include <dirent.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

namespace mqttd {

Result<std::vector<std::string>> list_folder(const char* path, size_t names_max) {
    DIR* folder = opendir(path);
    if (folder == nullptr && errno == ENOTDIR) return Error::kInvalid;
    if (folder == nullptr) return error_of_errno(errno);
    std::vector<std::string> names;
    Error error = Error::kNone;
    for (;;) {
        errno = 0;
        const dirent* entry = readdir(folder);
        if (entry == nullptr) {
            if (errno != 0) error = error_of_errno(errno);
            break;
        }
        const std::string_view name = entry->d_name;
        if (name == "." || name == "..") continue;
        if (names.size() == names_max) {
            error = Error::kQuotaExceeded;
            break;
        }
        names.emplace_back(name);
    }
    closedir(folder);
    if (error != Error::kNone) return error;
    return names;
}

Error make_folder(const char* path, const Account* account) {
    if (mkdir(path, 0700) != 0) return errno == EEXIST ? Error::kExists : error_of_errno(errno);
    if (account != nullptr && chown(path, account->uid, account->gid) != 0) {
        return error_of_errno(errno);
    }
    return Error::kNone;
}

const char* folder_error_text(Error error) {
    switch (error) {
        case Error::kNotFound:
            return "there is no such directory";
        case Error::kPermission:
            return "permission denied";
        case Error::kInvalid:
            return "it is not a directory";
        case Error::kQuotaExceeded:
            return "it holds too many files";
        default:
            return error_text(error);
    }
}

}  // namespace mqttd
