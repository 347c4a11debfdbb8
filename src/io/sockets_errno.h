#pragma once

// errno becomes an Error: the plain cases, for calls without a meaning of their own.

#include "mqttd/result.h"

#include <errno.h>

namespace mqttd {

inline Error error_of_errno(int code) {
    switch (code) {
        case EAGAIN:
            return Error::kWouldBlock;
        case EMFILE:
            return Error::kProcessFiles;
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case ENOSPC:  // epoll: max_user_watches
            return Error::kSystemFiles;
        case EADDRINUSE:
            return Error::kAddressInUse;
        case ENOENT:
        case ENOTDIR:
        case ENODEV:
            return Error::kNotFound;
        case EACCES:
        case EPERM:
        case EROFS:
            return Error::kPermission;
        case EINVAL:
        case ENAMETOOLONG:
        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
            return Error::kInvalid;
        case ECONNRESET:
        case EPIPE:
            return Error::kReset;
        default:
            return Error::kIo;
    }
}

}  // namespace mqttd
