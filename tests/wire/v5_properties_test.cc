// Every property in every packet that a client can send: where it belongs, where it does not,
// twice, cut short, and at the bounds of its values.
//
// What is expected comes from a table of its own, copied from the standard and not from the
// decoder.

#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

// A client's packets, a letter each: C CONNECT, W will, P PUBLISH, a PUBACK, r PUBREC, l PUBREL,
// c PUBCOMP, S SUBSCRIBE, U UNSUBSCRIBE, D DISCONNECT, A AUTH.
constexpr std::string_view kPlaces = "CWParlcSUDA";

// MQTT 5.0 §2.2.2.2.  Type: 1, 2, 4 bytes, v a variable byte integer, s text, b binary data, p a
// pair of texts; Z behind it: not 0 (or empty), B: 0 or 1.
struct Rule {
    int id;
    std::string_view type;
    std::string_view places;
};

// clang-format off
constexpr Rule kRules[] = {
    {1,  "1B", "PW"},
    {2,  "4",  "PW"},
    {3,  "s",  "PW"},
    {8,  "sZ", "PW"},
    {9,  "b",  "PW"},
    {11, "vZ", "PS"},
    {17, "4",  "CD"},
    {18, "s",  ""},
    {19, "2",  ""},
    {21, "s",  "CA"},
    {22, "b",  "CA"},
    {23, "1B", "C"},
    {24, "4",  "W"},
    {25, "1B", "C"},
    {26, "s",  ""},
    {28, "s",  "D"},
    {31, "s",  "arlcDA"},
    {33, "2Z", "C"},
    {34, "2",  "C"},
    {35, "2",  "P"},
    {36, "1B", ""},
    {37, "1B", ""},
    {38, "p",  "CWParlcSUDA"},
    {39, "4Z", "C"},
    {40, "1B", ""},
    {41, "1B", ""},
    {42, "1B", ""},
};

// clang-format on

const Rule* rule_of(int id) {
    for (const Rule& rule : kRules) {
        if (rule.id == id) return &rule;
    }
    return nullptr;
}

enum class Verdict { kGood, kMalformed, kProtocol };

struct Value {
    std::string bytes;
    uint64_t number = 0;
    Verdict verdict = Verdict::kGood;
};

std::string big_endian(uint64_t number, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i)
        out += static_cast<char>(number >> 8 * i & 255);
    return out;
}

std::string varint(uint32_t number) {
    std::string out;
    do {
        out += static_cast<char>((number & 127) | (number > 127 ? 128 : 0));
        number >>= 7;
    } while (number != 0);
    return out;
}

// Values of a type: some good ones at the bounds, and what is just beyond them.
std::vector<Value> values_of(std::string_view type) {
    const bool not_zero = type.ends_with('Z');
    const Verdict zero = not_zero ? Verdict::kProtocol : Verdict::kGood;
    const std::string long_text = big_endian(65'535, 2) + std::string(65'535, 'x');
    // clang-format off
    switch (type[0]) {
        case '1':
            return {{big_endian(0, 1), 0},
                    {big_endian(1, 1), 1},
                    {big_endian(2, 1), 2, Verdict::kProtocol},
                    {big_endian(255, 1), 255, Verdict::kProtocol}};
        case '2':
            return {{big_endian(0, 2), 0, zero},
                    {big_endian(1, 2), 1},
                    {big_endian(65'535, 2), 65'535}};
        case '4':
            return {{big_endian(0, 4), 0, zero},
                    {big_endian(1, 4), 1},
                    {big_endian(0xffffffff, 4), 0xffffffff}};
        case 'v':
            return {{varint(0), 0, zero},
                    {varint(1), 1},
                    {varint(268'435'455), 268'435'455},
                    {std::string("\x81\x00", 2), 1, Verdict::kMalformed},  // [MQTT5-1.5.5-1]
                    {std::string("\xff\xff\xff\xff\x7f"), 0, Verdict::kMalformed}};
        case 's':
            return {{packets::text("x")},
                    {packets::text(""), 0, zero},
                    {long_text},
                    {packets::text("\xef\xbb\xbfx")},  // a byte order mark is text
                    {packets::text(std::string(1, '\0')), 0, Verdict::kMalformed},
                    {packets::text("\xc0\xaf"), 0, Verdict::kMalformed},
                    {packets::text("\xed\xa0\x80"), 0, Verdict::kMalformed}};
        case 'b':
            return {{packets::text("")}, {packets::text("\xff\xfe")}, {long_text}};
        default:
            return {{packets::text("") + packets::text("")},
                    {long_text + packets::text("v")},
                    {packets::text("n") + long_text},
                    {packets::text("\xff") + packets::text("v"), 0, Verdict::kMalformed},
                    {packets::text("n") + packets::text("\xff"), 0, Verdict::kMalformed}};
    }
    // clang-format on
}

std::string with_size(std::string_view block) {
    return varint(static_cast<uint32_t>(block.size())) + std::string(block);
}

// The packet of a place with these properties.
std::string packet_of(char place, std::string_view block) {
    using packets::raw;
    const std::string id = packets::number(7);
    switch (place) {
        case 'C':
            return connect({.properties = std::string(block)});
        case 'W':
            return connect({.will_topic = "w", .will_properties = std::string(block)});
        case 'P':
            return publish(
                {.topic = "t", .qos = 1, .packet_id = 7, .properties = std::string(block)});
        case 'a':
            return raw(0x40, id + '\0' + with_size(block));
        case 'r':
            return raw(0x50, id + '\0' + with_size(block));
        case 'l':
            return raw(0x62, id + '\0' + with_size(block));
        case 'c':
            return raw(0x70, id + '\0' + with_size(block));
        case 'S':
            return raw(0x82, id + with_size(block) + packets::text("f") + '\0');
        case 'U':
            return raw(0xa2, id + with_size(block) + packets::text("f"));
        case 'D':
            return raw(0xe0, '\0' + with_size(block));
        default:
            return raw(0xf0, '\x18' + with_size(block));
    }
}

// What a packet of this place gets for an answer that is as it should be; PINGRESP: nothing of its
// own, but the client is still welcome.
std::string good_answer(char place) {
    switch (place) {
        case 'C':
        case 'W':
            return "CONNACK(0)";
        case 'P':
            return "PUBACK(7,x10)";
        case 'r':
            return "PUBREL(7,x92)";
        case 'l':
            return "PUBCOMP(7,x92)";
        case 'S':
            return "SUBACK(7,0)";
        case 'U':
            return "UNSUBACK(7,x11)";
        case 'D':
            return "";
        default:
            return "PINGRESP";
    }
}

bool opens(char place) {
    return place == 'C' || place == 'W';
}

std::string refusal(char place, std::string_view code) {
    return (opens(place) ? "CONNACK(" : "DISCONNECT(") + std::string(code) + ")";
}

// What a property that is well formed and stands where it may nevertheless means.
std::string special(char place, int id, uint64_t number) {
    if (place == 'C' && id == 21) return refusal('C', "x8c");
    if (place == 'C' && id == 22) return refusal('C', "x82");  // data without a method
    if (place == 'P' && id == 11) return refusal('P', "x82");  // [MQTT5-3.3.4-6]
    if (place == 'P' && id == 35 && (number == 0 || number > 10)) return refusal('P', "x94");
    if (place == 'C' && id == 39 && number == 1) return "nothing";  // no CONNACK is so short
    if (place == 'D' && id == 17 && number != 0) return refusal('D', "x82");  // [MQTT5-3.1.2-23]
    return {};
}

std::string expected(char place, int id, const Value& value, Verdict verdict) {
    if (verdict == Verdict::kMalformed) return refusal(place, "x81");
    if (place == 'A') return refusal('A', "x82");  // no method was agreed on
    if (verdict == Verdict::kProtocol) return refusal(place, "x82");
    if (place == 'A') return refusal('A', "x82");  // no method was agreed on
    const std::string other = special(place, id, value.number);
    if (other == "nothing") return {};
    return other.empty() ? good_answer(place) : other;
}

std::string without_properties(std::string words) {
    for (size_t at; (at = words.find('{')) != std::string::npos;)
        words.erase(at, words.find('}') + 1 - at);
    return words;
}

std::string answer_to(World& world, char place, std::string_view block) {
    auto& peer = world.connection();
    peer.speak_v5();
    if (!opens(place)) {
        peer.send(connect({.client_id = "c"}));
        REQUIRE(peer.received() == "CONNACK(0)");
    }
    peer.send(packet_of(place, block));
    const bool silent = place == 'a' || place == 'c' || place == 'A';
    if (silent && peer.open()) peer.send(packets::pingreq());
    const std::string words = without_properties(peer.received());
    const bool refused = words.empty() || words.find("(x8") != std::string::npos ||
                         words.find("DISCONNECT") != std::string::npos || place == 'D';
    CHECK(peer.open() != refused);
    peer.hang_up();
    return words;
}

}  // namespace

TEST_CASE("each property is welcome where the standard has it and nowhere else",
          "[wire][v5][MQTT5-3.3.4-6][MQTT5-1.5.5-1][MQTT5-1.5.4-1][MQTT5-1.5.4-2]"
          "[MQTT5-3.3.2-13][MQTT5-3.3.2-19][MQTT5-2.2.2-1][MQTT5-1.5.7-1]") {
    for (int id = 0; id < 128; ++id) {
        World world;
        const Rule* rule = rule_of(id);
        const std::vector<Value> values =
            rule != nullptr ? values_of(rule->type) : std::vector<Value>{{"\1"}};
        for (const char place : kPlaces) {
            const bool here = rule != nullptr && rule->places.find(place) != std::string_view::npos;
            for (size_t i = 0; i < values.size(); ++i) {
                INFO("property " << id << " in " << place << ", value " << i);
                const Verdict verdict = here ? values[i].verdict : Verdict::kMalformed;
                const std::string block = static_cast<char>(id) + values[i].bytes;
                CHECK(answer_to(world, place, block) == expected(place, id, values[i], verdict));
            }
        }
        CHECK(world.end() == 0);
    }
}

TEST_CASE("a property stands once unless the standard lets it be repeated", "[wire][v5]") {
    for (const Rule& rule : kRules) {
        World world;
        const Value value{values_of(rule.type)[1]};
        const std::string one = static_cast<char>(rule.id) + value.bytes;
        for (const char place : rule.places) {
            INFO("property " << rule.id << " in " << place);
            const bool pair = rule.type == "p";
            const Verdict verdict = pair ? Verdict::kGood : Verdict::kProtocol;
            const std::string block = pair ? std::string(one + one) : one + user("a", "b") + one;
            // Not twice in a client's PUBLISH, since not even once.
            CHECK(answer_to(world, place, block) == expected(place, rule.id, value, verdict));
        }
        CHECK(world.end() == 0);
    }
}

TEST_CASE("a property cut short at any byte is malformed", "[wire][v5]") {
    for (const Rule& rule : kRules) {
        World world;
        std::string whole = static_cast<char>(rule.id) + values_of(rule.type)[0].bytes;
        if (rule.type == "p") whole = user("name", "value");
        if (rule.type[0] == 'v') whole = std::string("\x0b\x80\x80\x80\x01", 5);
        for (const char place : rule.places) {
            for (size_t size = 1; size < whole.size(); ++size) {
                INFO("property " << rule.id << " in " << place << ", " << size << " bytes");
                const std::string cut = user("a", "b") + whole.substr(0, size);
                CHECK(answer_to(world, place, cut) ==
                      expected(place, rule.id, {}, Verdict::kMalformed));
            }
        }
        CHECK(world.end() == 0);
    }
}

// The length of the list must say where it ends: too short, too long, or longer than need be.
TEST_CASE("a property list whose length lies is malformed", "[wire][v5][MQTT5-1.5.5-1]") {
    World world;
    const auto verdict = [&](uint8_t first, const std::string& body) {
        auto& peer = world.client5({.client_id = "c"});
        peer.send(packets::raw(first, body));
        return without_properties(peer.received());
    };
    const std::string head = packets::text("t") + packets::number(7);
    CHECK(verdict(0x32, head + "\1") == "DISCONNECT(x81)");
    CHECK(verdict(0x32, head) == "DISCONNECT(x81)");  // no length at all
    CHECK(verdict(0x32, head + std::string("\x80\x00", 2)) == "DISCONNECT(x81)");
    CHECK(verdict(0x32, head + std::string("\x80\x80\x80\x80\x00", 5)) == "DISCONNECT(x81)");
    CHECK(verdict(0x32, head + "\2\1\1") == "PUBACK(7,x10)");
    CHECK(verdict(0x32, head + "\1\1\1") == "DISCONNECT(x81)");
    CHECK(verdict(0x32, head + std::string("\x03\x01\x01\x00", 4)) == "DISCONNECT(x81)");
    const std::string id = packets::number(7);
    CHECK(verdict(0x82, id + std::string("\0", 1)) == "DISCONNECT(x82)");  // no filter
    CHECK(verdict(0xa2, id + std::string("\0", 1)) == "DISCONNECT(x82)");
    CHECK(verdict(0x40, id + std::string("\0\0\0", 3)) == "DISCONNECT(x81)");  // bytes behind it
    CHECK(verdict(0x40, id + std::string("\0\1", 2)) == "DISCONNECT(x81)");
    CHECK(verdict(0xe0, std::string("\0\1", 2)) == "DISCONNECT(x81)");
    CHECK(verdict(0xe0, std::string("\0\0\0", 3)) == "DISCONNECT(x81)");
    CHECK(world.end() == 0);
}

// A wildcard in a response topic is no topic to answer to; a text at the limit is as good as any.
TEST_CASE("a response topic has no wildcard", "[wire][v5][MQTT5-3.3.2-14]") {
    for (const char place : std::string_view("PW")) {
        World world;
        for (const char* bad : {"+", "#", "a/+/b", "a/#", "a+"}) {
            CHECK(answer_to(world, place, property(Property::kResponseTopic, bad)) ==
                  refusal(place, "x82"));
        }
        CHECK(answer_to(world, place, property(Property::kResponseTopic, "a/$b//c")) ==
              good_answer(place));
        CHECK(world.end() == 0);
    }
}

// Fields of a will and of user properties may be asked for, too; what nobody can do is said so.
TEST_CASE("a method of authentication nobody knows is refused by name",
          "[wire][v5][MQTT5-4.12.0-1]") {
    World world;
    const std::string method = property(Property::kAuthenticationMethod, "SCRAM");
    const std::string data = property(Property::kAuthenticationData, "x");
    CHECK(answer_to(world, 'C', method + data) == "CONNACK(x8c)");
    CHECK(answer_to(world, 'C', data + method) == "CONNACK(x8c)");
    CHECK(answer_to(world, 'C', data) == "CONNACK(x82)");
    CHECK(world.end() == 0);
}
