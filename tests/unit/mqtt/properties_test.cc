#include "mqtt/properties.h"

#include "mqtt/tables.h"
#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using test::Exact;
using test::text_of;
using test::Wire;

// The table of §2.2.2.2 once more, in another notation, so that a slip in one of them shows:
// type (1, 2, 4: bytes; v: varint; t: text; b: binary; p: pair), where (letters below), and where
// more than once.
struct Spec {
    unsigned id;
    char type;
    const char* where;
    const char* repeatable;
};

constexpr Spec kSpecs[] = {
    {0x01, '1', "PW",             ""              },
    {0x02, '4', "PW",             ""              },
    {0x03, 't', "PW",             ""              },
    {0x08, 't', "PW",             ""              },
    {0x09, 'b', "PW",             ""              },
    {0x0b, 'v', "PS",             "P"             },
    {0x11, '4', "CcD",            ""              },
    {0x12, 't', "c",              ""              },
    {0x13, '2', "c",              ""              },
    {0x15, 't', "CcA",            ""              },
    {0x16, 'b', "CcA",            ""              },
    {0x17, '1', "C",              ""              },
    {0x18, '4', "W",              ""              },
    {0x19, '1', "C",              ""              },
    {0x1a, 't', "c",              ""              },
    {0x1c, 't', "cD",             ""              },
    {0x1f, 't', "c1234suDA",      ""              },
    {0x21, '2', "Cc",             ""              },
    {0x22, '2', "Cc",             ""              },
    {0x23, '2', "P",              ""              },
    {0x24, '1', "c",              ""              },
    {0x25, '1', "c",              ""              },
    {0x26, 'p', "CcPW1234SsUuDA", "CcPW1234SsUuDA"},
    {0x27, '4', "Cc",             ""              },
    {0x28, '1', "c",              ""              },
    {0x29, '1', "c",              ""              },
    {0x2a, '1', "c",              ""              },
};

struct Place {
    char letter;
    PacketType type;
};

constexpr Place kPlaces[] = {
    {'W', kWillProperties         },
    {'C', PacketType::kConnect    },
    {'c', PacketType::kConnack    },
    {'P', PacketType::kPublish    },
    {'1', PacketType::kPuback     },
    {'2', PacketType::kPubrec     },
    {'3', PacketType::kPubrel     },
    {'4', PacketType::kPubcomp    },
    {'S', PacketType::kSubscribe  },
    {'s', PacketType::kSuback     },
    {'U', PacketType::kUnsubscribe},
    {'u', PacketType::kUnsuback   },
    {'_', PacketType::kPingreq    },
    {'_', PacketType::kPingresp   },
    {'D', PacketType::kDisconnect },
    {'A', PacketType::kAuth       },
};

const Spec* spec_of(unsigned id) {
    for (const Spec& spec : kSpecs) {
        if (spec.id == id) return &spec;
    }
    return nullptr;
}

bool holds(const char* letters, char letter) {
    return std::string_view(letters).find(letter) != std::string_view::npos;
}

// A legal property of that type; values are 1 or short texts.
Wire property(const Spec& spec) {
    Wire wire;
    wire.byte(spec.id);
    switch (spec.type) {
        case '1':
        case 'v':
            return wire.byte(1);
        case '2':
            return wire.u16(1);
        case '4':
            return wire.u32(1);
        case 'p':
            return wire.text("name").text("value");
        default:
            return wire.text("text");
    }
}

// Authentication data never stands alone; its method goes before it.
Wire company(const Spec& spec) {
    return spec.id == 0x16 ? Wire().byte(0x15).text("M") : Wire();
}

TEST_CASE("each property is taken where it belongs and nowhere else", "[MQTT5-4.13.1-1]") {
    // All 27 in all places, once and twice; the identifiers between them do not exist.
    for (const Place& place : kPlaces) {
        for (unsigned id = 0; id < 256; ++id) {
            const Spec* spec = spec_of(id);
            INFO("property " << id << " in " << place.letter);
            if (spec == nullptr) {
                const Exact none_such(Wire().byte(id).u32(0));
                CHECK(check_properties(none_such, place.type).error() == Error::kMalformedPacket);
                continue;
            }
            const Exact once(company(*spec).raw(property(*spec)));
            const Exact twice(company(*spec).raw(property(*spec)).raw(property(*spec)));
            const Result<PropertySet> set = check_properties(once, place.type);
            if (!holds(spec->where, place.letter)) {
                CHECK(set.error() == Error::kMalformedPacket);
                continue;
            }
            REQUIRE(set.error() == Error::kNone);
            CHECK(set->has(static_cast<Property>(id)));
            const bool again = holds(spec->repeatable, place.letter);
            CHECK(check_properties(twice, place.type).error() ==
                  (again ? Error::kNone : Error::kProtocolError));
        }
    }
}

TEST_CASE("a property cut anywhere is malformed", "[MQTT5-4.13.1-1]") {
    // Every cut of each property, in a place where it is legal.
    for (const Place& place : kPlaces) {
        for (const Spec& spec : kSpecs) {
            if (!holds(spec.where, place.letter)) continue;
            const Wire whole = property(spec);
            for (size_t cut = 1; cut < whole.size(); ++cut) {
                const Exact block(Bytes(whole).first(cut));
                INFO("property " << spec.id << " cut " << cut);
                CHECK(check_properties(block, place.type).error() == Error::kMalformedPacket);
            }
        }
    }
}

Error check(PacketType place, const Wire& block) {
    return check_properties(Exact(block), place).error();
}

TEST_CASE("numbers of properties keep their bounds", "[MQTT5-4.13.1-1]") {
    // Flags are 0 or 1; two maxima and the subscription identifier are not 0.
    for (unsigned value = 0; value < 256; ++value) {
        const Error want = value <= 1 ? Error::kNone : Error::kProtocolError;
        CHECK(check(PacketType::kPublish, Wire().byte(0x01).byte(value)) == want);
        CHECK(check(PacketType::kConnect, Wire().byte(0x17).byte(value)) == want);
        CHECK(check(PacketType::kConnect, Wire().byte(0x19).byte(value)) == want);
        for (const unsigned id : {0x24u, 0x25u, 0x28u, 0x29u, 0x2au}) {
            CHECK(check(PacketType::kConnack, Wire().byte(id).byte(value)) == want);
        }
    }
    CHECK(check(PacketType::kConnect, Wire().byte(0x21).u16(0)) == Error::kProtocolError);
    CHECK(check(PacketType::kConnect, Wire().byte(0x21).u16(0xffff)) == Error::kNone);
    CHECK(check(PacketType::kConnect, Wire().byte(0x27).u32(0)) == Error::kProtocolError);
    CHECK(check(PacketType::kConnect, Wire().byte(0x27).u32(0xffff'ffff)) == Error::kNone);
    CHECK(check(PacketType::kConnect, Wire().byte(0x22).u16(0)) == Error::kNone);
    CHECK(check(PacketType::kConnect, Wire().byte(0x11).u32(0xffff'ffff)) == Error::kNone);
    CHECK(check(PacketType::kSubscribe, Wire().byte(0x0b).byte(0)) == Error::kProtocolError);
    CHECK(check(PacketType::kSubscribe, Wire().byte(0x0b).raw("\xff\xff\xff\x7f")) == Error::kNone);
}

TEST_CASE("a varint inside a packet is minimal and ends", "[MQTT5-1.5.5-1]") {
    CHECK(check(PacketType::kSubscribe, Wire().byte(0x0b).byte(0x81).byte(0)) ==
          Error::kMalformedPacket);
    CHECK(check(PacketType::kSubscribe, Wire().byte(0x0b).raw("\xff\xff\xff\xff\x01")) ==
          Error::kMalformedPacket);
}

TEST_CASE("texts of properties are UTF-8, binary data is anything",
          "[MQTT5-1.5.7-1][MQTT5-3.3.2-13][MQTT5-3.3.2-19]") {
    for (const Place& place : kPlaces) {
        for (const Spec& spec : kSpecs) {
            if (!holds(spec.where, place.letter)) continue;
            if (spec.type == 't') {
                const Wire bad = Wire().byte(spec.id).text("\xff");
                CHECK(check(place.type, bad) == Error::kMalformedPacket);
            }
            if (spec.type == 'b') {
                const Wire any = company(spec).byte(spec.id).text("\xff");
                CHECK(check(place.type, any) == Error::kNone);
            }
            if (spec.type == 'p') {
                const Wire bad_name = Wire().byte(spec.id).text("\xc0\x80").text("v");
                const Wire bad_value = Wire().byte(spec.id).text("n").text("\xed\xa0\x80");
                CHECK(check(place.type, bad_name) == Error::kMalformedPacket);
                CHECK(check(place.type, bad_value) == Error::kMalformedPacket);
            }
        }
    }
}

TEST_CASE("a response topic is a topic name", "[MQTT5-3.3.2-14]") {
    for (const char* topic : {"", "a/#", "+", "#"}) {
        CHECK(check(PacketType::kPublish, Wire().byte(0x08).text(topic)) == Error::kProtocolError);
    }
    CHECK(check(PacketType::kPublish, Wire().byte(0x08).text("answers/1")) == Error::kNone);
}

TEST_CASE("a checked block is walked as it was written", "[mqtt]") {
    // Every property of the table in one block after the other: number, texts and the encoded
    // bytes come back, and the encoder writes the same.
    for (const Spec& spec : kSpecs) {
        const Wire block = Wire(property(spec)).raw(property(spec));
        const Exact exact(block);
        Bytes rest = exact;
        for (int i = 0; i < 2; ++i) {
            const PropertyView view = next_property(rest);
            INFO("property " << spec.id);
            CHECK(static_cast<unsigned>(view.id) == spec.id);
            CHECK(same_bytes(view.encoded, property(spec)));
            uint8_t out[32];
            uint32_t size = 0;
            if (spec.type == 'p') {
                CHECK(text_of(view.text) == "name");
                CHECK(text_of(view.value) == "value");
                size = encode_user_property(out, view.text, view.value);
                CHECK(size == user_property_size(view.text, view.value));
            } else if (spec.type == 't' || spec.type == 'b') {
                CHECK(text_of(view.text) == "text");
                size = encode_property(out, view.id, view.text);
                CHECK(size == property_size(view.id, view.text));
            } else {
                CHECK(view.number == 1);
                size = encode_property(out, view.id, view.number);
                CHECK(size == property_size(view.id, view.number));
            }
            CHECK(same_bytes({out, size}, view.encoded));
        }
        CHECK(rest.empty());
    }
}

TEST_CASE("numbers of properties are written with all their bytes", "[mqtt]") {
    const std::pair<Property, uint32_t> cases[] = {
        {Property::kSessionExpiryInterval,  0xfedc'ba98},
        {Property::kTopicAlias,             0xfedc     },
        {Property::kSubscriptionIdentifier, kVarintMax },
        {Property::kSubscriptionIdentifier, 128        },
        {Property::kMaximumQos,             0          },
    };
    for (const auto& [id, number] : cases) {
        uint8_t out[8];
        const uint32_t size = encode_property(out, id, number);
        CHECK(size == property_size(id, number));
        CHECK(property_number({out, size}, id, 7) == number);
    }
}

TEST_CASE("a property is found, or known to be absent", "[mqtt]") {
    const Wire block =
        Wire().byte(0x26).text("k").text("v").byte(0x02).u32(60).byte(0x0b).byte(5).byte(0x0b).byte(
            6);
    CHECK(property_number(block, Property::kMessageExpiryInterval, 0) == 60);
    CHECK(property_number(block, Property::kSubscriptionIdentifier, 0) == 5);
    CHECK(property_number(block, Property::kTopicAlias, 7) == 7);
    CHECK(text_of(find_property(block, Property::kUserProperty).value) == "v");
    CHECK(find_property(block, Property::kContentType).id == Property::kNone);
    CHECK(find_property({}, Property::kContentType).id == Property::kNone);
}

}  // namespace
}  // namespace mqttd
