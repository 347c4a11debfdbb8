#include "io/file.h"

#include "support/temp_folder.h"

#include <catch2/catch.hpp>
#include <filesystem>

using namespace mqttd;

TEST_CASE("a file is read whole, whatever its size and content") {
    // Across the steps it is read in, with NUL bytes in it.
    const TempFolder folder;
    for (const size_t size : {0u, 1u, 65'535u, 65'536u, 65'537u, 300'000u}) {
        std::string content(size, '\0');
        for (size_t i = 0; i < size; ++i)
            content[i] = static_cast<char>(i * 7);
        folder.write("file", content);
        const Result<std::string> text = read_file(folder.file("file").c_str(), 1 << 20);
        REQUIRE(text.ok());
        REQUIRE((*text == content));
    }
}

TEST_CASE("a file above the bound is refused, at the bound it is read") {
    // A configuration file of gigabytes is a mistake, and must not be swallowed first.
    const TempFolder folder;
    folder.write("file", std::string(1000, 'x'));
    REQUIRE(read_file(folder.file("file").c_str(), 1000).ok());
    REQUIRE(read_file(folder.file("file").c_str(), 999).error() == Error::kQuotaExceeded);
    REQUIRE(read_file("/dev/zero", 1 << 20).error() == Error::kQuotaExceeded);
}

TEST_CASE("what cannot be read is named") {
    // The operator is told which of these it was.
    const TempFolder folder;
    REQUIRE(read_file(folder.file("nothing").c_str(), 10).error() == Error::kNotFound);
    REQUIRE(read_file(folder.path().c_str(), 10).error() == Error::kInvalid);
    REQUIRE(read_file("", 10).error() == Error::kNotFound);
}

TEST_CASE("files that tell no size are read, too") {
    // /proc says 0.
    const Result<std::string> text = read_file("/proc/self/status", 1 << 20);
    REQUIRE(text.ok());
    REQUIRE(text->find("Name:") == 0);
}
