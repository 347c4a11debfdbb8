#include "base/siphash.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

using namespace mqttd;

namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

// SipHash-1-3 written down as slowly and plainly as its description, to check the fast one by.
uint64_t plain_siphash(const HashKey& key, const std::string& text) {
    uint64_t v[4] = {key.k0 ^ 0x736f6d6570736575,
                     key.k1 ^ 0x646f72616e646f6d,
                     key.k0 ^ 0x6c7967656e657261,
                     key.k1 ^ 0x7465646279746573};
    const auto turn = [](uint64_t x, int bits) { return x << bits | x >> (64 - bits); };
    const auto half_round = [&](int a, int b, int c, int d, int s, int t) {
        v[a] += v[b];
        v[c] += v[d];
        v[b] = turn(v[b], s) ^ v[a];
        v[d] = turn(v[d], t) ^ v[c];
        v[a] = turn(v[a], 32);
    };
    const auto full_round = [&] {
        half_round(0, 1, 2, 3, 13, 16);
        half_round(2, 1, 0, 3, 17, 21);
    };
    std::string padded = text;
    while (padded.size() % 8 != 7)
        padded.push_back('\0');
    padded.push_back(static_cast<char>(text.size() & 0xff));
    for (size_t at = 0; at < padded.size(); at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8; ++i) {
            word |= uint64_t{static_cast<uint8_t>(padded[at + i])} << (8 * i);
        }
        v[3] ^= word;
        full_round();
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; ++i)
        full_round();
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

}  // namespace

TEST_CASE("siphash agrees with a plain SipHash-1-3 at every length") {
    // A hash that differs at one length makes a topic of that length unfindable after an upgrade.
    std::string text;
    for (size_t length = 0; length < 300; ++length) {
        REQUIRE(siphash(kKey, as_bytes(text)) == plain_siphash(kKey, text));
        text.push_back(static_cast<char>(length));
    }
}

TEST_CASE("siphash depends on every bit of the key") {
    // The key is all that keeps strangers from choosing colliding topics.
    std::set<uint64_t> seen{siphash(kKey, as_bytes("a/b/c"))};
    for (int bit = 0; bit < 64; ++bit) {
        const uint64_t flip = uint64_t{1} << bit;
        REQUIRE(seen.insert(siphash({kKey.k0 ^ flip, kKey.k1}, as_bytes("a/b/c"))).second);
        REQUIRE(seen.insert(siphash({kKey.k0, kKey.k1 ^ flip}, as_bytes("a/b/c"))).second);
    }
}

TEST_CASE("siphash tells apart texts that differ in one bit, or only in trailing zeros") {
    // Padding must not make "a" and "a\0" one topic.
    std::set<uint64_t> seen;
    const std::string text = "sensors/kitchen/temperature";
    REQUIRE(seen.insert(siphash(kKey, as_bytes(text))).second);
    for (size_t bit = 0; bit < text.size() * 8; ++bit) {
        std::string other = text;
        other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << (bit % 8)));
        REQUIRE(seen.insert(siphash(kKey, as_bytes(other))).second);
    }
    std::string zeros;
    for (int i = 0; i < 40; ++i) {
        REQUIRE(seen.insert(siphash(kKey, as_bytes(zeros))).second);
        zeros.push_back('\0');
    }
}

TEST_CASE("siphash spreads numbered topics over the low bits") {
    // HashIndex uses the low bits; `dev/1` to `dev/65536` must not pile up.
    std::vector<int> buckets(4096);
    for (int i = 0; i < 65'536; ++i) {
        const std::string name = "dev/" + std::to_string(i);
        ++buckets[siphash(kKey, as_bytes(name)) & 4095];
    }
    for (const int count : buckets)
        REQUIRE(count < 16 + 8 * 4);  // eight standard deviations
}

TEST_CASE("siphash of two numbers is that of their sixteen bytes") {
    // Pairs of identities go through the same function.
    const uint64_t words[2] = {0x1122334455667788, 42};
    REQUIRE(siphash(kKey, words[0], words[1]) ==
            siphash(kKey, Bytes{reinterpret_cast<const uint8_t*>(words), sizeof words}));
}
