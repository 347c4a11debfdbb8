#include "io/account.h"

#include <algorithm>
#include <optional>

namespace mqttd {

namespace {

// Cuts the front of `rest` at `separator`.
std::string_view take_until(std::string_view& rest, char separator) {
    const size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view front = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return front;
}

bool all_digits(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

// 0xffffffff is the kernel's "leave it".
std::optional<uint32_t> id_of(std::string_view text) {
    if (!all_digits(text) || text.size() > 10) return std::nullopt;
    uint64_t id = 0;
    for (const char c : text)
        id = id * 10 + static_cast<uint64_t>(c - '0');
    if (id >= 0xffffffff) return std::nullopt;
    return static_cast<uint32_t>(id);
}

// Finds the row whose name or uid is asked for: name:x:uid:gid:...
template <class Wanted>
bool find_row(std::string_view passwd, Account& account, Wanted wanted) {
    while (!passwd.empty()) {
        std::string_view line = take_until(passwd, '\n');
        const std::string_view name = take_until(line, ':');
        take_until(line, ':');
        const std::optional<uint32_t> uid = id_of(take_until(line, ':'));
        const std::optional<uint32_t> gid = id_of(take_until(line, ':'));
        if (!uid || !gid || !wanted(name, *uid)) continue;
        account.name = name;
        account.uid = *uid;
        account.gid = *gid;
        return true;
    }
    return false;
}

// Groups that list the name: group:x:gid:name,name
void add_groups(std::string_view group, Account& account) {
    account.groups.push_back(account.gid);
    while (!group.empty()) {
        std::string_view line = take_until(group, '\n');
        take_until(line, ':');
        take_until(line, ':');
        const std::optional<uint32_t> gid = id_of(take_until(line, ':'));
        if (!gid || *gid == account.gid) continue;
        while (!line.empty()) {
            if (take_until(line, ',') != account.name) continue;
            account.groups.push_back(*gid);
            break;
        }
    }
}

}  // namespace

Result<Account> find_account(std::string_view user,
                             std::string_view passwd,
                             std::string_view group) {
    Account account;
    const auto named = [&](std::string_view name, uint32_t) { return name == user; };
    if (find_row(passwd, account, named)) {
        add_groups(group, account);
        return account;
    }
    std::string_view rest = user;
    const std::string_view number = take_until(rest, ':');
    if (!all_digits(number) || (number.size() != user.size() && !all_digits(rest))) {
        return Error::kNotFound;
    }
    const std::optional<uint32_t> uid = id_of(number);
    if (!uid) return Error::kInvalid;
    const auto numbered = [&](std::string_view, uint32_t row_uid) { return row_uid == *uid; };
    if (!find_row(passwd, account, numbered)) {
        account.uid = account.gid = *uid;
    }
    if (number.size() != user.size()) {
        const std::optional<uint32_t> gid = id_of(rest);
        if (!gid) return Error::kInvalid;
        account.gid = *gid;
    }
    if (!account.name.empty()) {
        add_groups(group, account);
    } else {
        account.groups.push_back(account.gid);
    }
    account.name = user;
    return account;
}

}  // namespace mqttd
