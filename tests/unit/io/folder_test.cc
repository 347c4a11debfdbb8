#include "io/folder.h"

#include "support/temp_folder.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;

TEST_CASE("the names of a directory, without the two that are always there") {
    // Hidden ones too: which of them count is the caller's to say.
    const TempFolder folder;
    folder.write("b.conf", "");
    folder.write(".a", "");
    Result<std::vector<std::string>> names = list_folder(folder.file("").c_str(), 2);
    REQUIRE(names.ok());
    std::sort(names->begin(), names->end());
    REQUIRE(*names == std::vector<std::string>{".a", "b.conf"});
    REQUIRE(list_folder(folder.file("").c_str(), 1).error() == Error::kQuotaExceeded);
    REQUIRE(list_folder(folder.file("b.conf").c_str(), 9).error() == Error::kInvalid);
    REQUIRE(list_folder(folder.file("none").c_str(), 9).error() == Error::kNotFound);
}
