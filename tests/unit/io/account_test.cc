#include "io/account.h"

#include <catch2/catch.hpp>

using namespace mqttd;

namespace {

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "broken line\n"
    "short:x:5\n"
    "mosquitto:x:102:105::/var/lib/mosquitto:/usr/sbin/nologin\n"
    "4711:x:300:301::/:/bin/false\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin";  // no newline at the end

constexpr const char* kGroup =
    "root:x:0:\n"
    "certs:x:200:alice,mosquitto,bob\n"
    "mosquitto:x:105:mosquitto\n"
    "other:x:201:mosquitto2,amosquitto\n"
    "last:x:202:bob,mosquitto";

Result<Account> find(std::string_view user) {
    return find_account(user, kPasswd, kGroup);
}

}  // namespace

TEST_CASE("a user is found by name, with all its groups") {
    // The certificates may belong to a supplementary group.
    const Result<Account> account = find("mosquitto");
    REQUIRE(account.ok());
    REQUIRE(account->uid == 102);
    REQUIRE(account->gid == 105);
    REQUIRE(account->groups == std::vector<uint32_t>{105, 200, 202});
}

TEST_CASE("the last line needs no newline") {
    // Files are edited by hand.
    const Result<Account> account = find("nobody");
    REQUIRE(account.ok());
    REQUIRE(account->uid == 65534);
}

TEST_CASE("a name that is nobody's is not found") {
    // Starting as root instead would be the worst answer.
    for (const char* user :
         {"mosquit", "mosquitto2", "", "broken line", "short", "a:b", "-1", "1x"}) {
        INFO(user);
        REQUIRE(find(user).error() == Error::kNotFound);
    }
}

TEST_CASE("a number stands for a user id, with the group of its row") {
    // Containers and directory services have users without a row.
    REQUIRE(find("102")->gid == 105);
    REQUIRE(find("102")->groups == std::vector<uint32_t>{105, 200, 202});
    REQUIRE(find("1234")->uid == 1234);
    REQUIRE(find("1234")->gid == 1234);
    REQUIRE(find("1234")->groups == std::vector<uint32_t>{1234});
}

TEST_CASE("a second number stands for the group") {
    // PUID and PGID.
    const Result<Account> account = find("1234:77");
    REQUIRE(account->uid == 1234);
    REQUIRE(account->gid == 77);
    REQUIRE(account->groups == std::vector<uint32_t>{77});
    REQUIRE(find("102:77")->gid == 77);
    REQUIRE(find("102:77")->groups.front() == 77);
    REQUIRE(find("1234:").error() == Error::kNotFound);
    REQUIRE(find("1234:x").error() == Error::kNotFound);
}

TEST_CASE("a name that looks like a number wins over the number") {
    // As chown has it.
    REQUIRE(find("4711")->uid == 300);
}

TEST_CASE("a number out of range is refused, not wrapped into root") {
    // 2^32 would be 0, and 2^32 - 1 means "leave it".
    for (const char* user : {"4294967296", "4294967295", "99999999999", "1:4294967295"}) {
        INFO(user);
        REQUIRE(find(user).error() == Error::kInvalid);
    }
}

TEST_CASE("without the files only numbers work") {
    // A bare container.
    REQUIRE(find_account("nobody", "", "").error() == Error::kNotFound);
    REQUIRE(find_account("5", "", "")->uid == 5);
}
