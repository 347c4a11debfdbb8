#pragma once

// User and group accounts, read from /etc/passwd and /etc/group as text.
//
// A static program cannot use getpwnam: the C library would load name services at run time. The two
// files have been the same seven and four fields for fifty years, so they are read here. Accounts
// that live only in a directory service have to be given by number.
//
// A pure function of its texts.

#include "mqttd/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd {

struct Account {
    std::string name;  // as asked for
    uint32_t uid = 0;
    uint32_t gid = 0;
    std::vector<uint32_t> groups;  // supplementary ones, `gid` included
};

// `user` is a name, a number, or "number:number" for user and group.  A number without a group
// takes the group of its row in passwd, or the group of the same number if it has no row.
// Errors: kNotFound (no such name), kInvalid (a number out of range).
Result<Account> find_account(std::string_view user,
                             std::string_view passwd,
                             std::string_view group);

}  // namespace mqttd
