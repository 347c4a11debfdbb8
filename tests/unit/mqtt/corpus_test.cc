#include "fuzz/decode_all.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

using namespace mqttd;

// What the fuzzer once learned stays learned: every file of its corpus, and every cut of it, goes
// through all decoders again. (Run from the root of the checkout, as `make test` does.)
TEST_CASE("the fuzzing corpus decodes without a fault", "[mqtt][fuzz]") {
    size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/corpus/decode")) {
        std::ifstream file(entry.path(), std::ios::binary);
        const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
        for (size_t size = 0; size <= bytes.size(); ++size)
            fuzz::decode_all({bytes.data(), size});
        ++files;
    }
    REQUIRE(files >= 14);
}
