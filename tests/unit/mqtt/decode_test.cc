#include "mqttd/codec.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <set>

namespace mqttd {
namespace {

using test::Exact;
using test::kAckTypes;
using test::kVersions;
using test::text_of;
using test::Wire;

// The header flags a packet has, and those that 3.1 lets it have as well.
bool flags_legal(PacketType type, uint8_t flags, Version version) {
    const bool asks_for_answer = type == PacketType::kPubrel || type == PacketType::kSubscribe ||
                                 type == PacketType::kUnsubscribe;
    if (!asks_for_answer) return flags == 0;
    return flags == 2 || (version == Version::k31 && flags == 10);
}

// --- PUBACK, PUBREC, PUBREL, PUBCOMP -----------------------------------------------------------

TEST_CASE("each flag nibble of an acknowledgement is taken or refused",
          "[MQTT-2.2.2-2][MQTT-3.6.1-1][MQTT5-2.1.3-1][MQTT5-3.6.1-1]") {
    for (const Version version : kVersions) {
        for (const PacketType type : kAckTypes) {
            for (uint8_t flags = 0; flags < 16; ++flags) {
                const Exact body(Wire().u16(0xabcd));
                const Result<AckView> ack = decode_ack(type, body, flags, version);
                if (flags_legal(type, flags, version)) {
                    REQUIRE(ack);
                    CHECK(ack->packet_id == 0xabcd);
                    CHECK(ack->reason == 0);
                } else {
                    CHECK(ack.error() == Error::kMalformedPacket);
                }
            }
        }
    }
}

uint8_t plain_flags(PacketType type) {
    return type == PacketType::kPubrel ? 2 : 0;
}

TEST_CASE("an acknowledgement has exactly its length", "[MQTT5-4.13.1-1]") {
    // 3.x: two bytes.  5.0: identifier, then perhaps a reason, then perhaps properties, and every
    // other cut is refused.
    const Wire whole = Wire().u16(7).byte(0).block(Wire().byte(0x1f).text("because"));
    for (const PacketType type : kAckTypes) {
        for (size_t cut = 0; cut <= whole.size() + 1; ++cut) {
            const Wire longer = Wire(whole).byte(0);
            const Exact body(Bytes(longer).first(cut));
            const uint8_t flags = plain_flags(type);
            const bool legal_v5 = cut == 2 || cut == 3 || cut == whole.size();
            INFO("cut " << cut);
            CHECK(decode_ack(type, body, flags, Version::k31).ok() == (cut == 2));
            CHECK(decode_ack(type, body, flags, Version::k311).ok() == (cut == 2));
            CHECK(decode_ack(type, body, flags, Version::k50).ok() == legal_v5);
        }
    }
}

TEST_CASE("an acknowledgement of identifier 0 is refused", "[mqtt]") {
    for (const Version version : kVersions) {
        for (const PacketType type : kAckTypes) {
            const Exact body(Wire().u16(0));
            CHECK(decode_ack(type, body, plain_flags(type), version).error() ==
                  Error::kPacketIdInvalid);
        }
    }
}

TEST_CASE("an acknowledgement carries a reason from its table",
          "[MQTT5-3.4.2-1][MQTT5-3.5.2-1][MQTT5-3.6.2-1][MQTT5-3.7.2-1]") {
    // All 256 codes against the tables of §3.4.2.1 to §3.7.2.1, written out.
    const std::set<unsigned> answers = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
    const std::set<unsigned> releases = {0x00, 0x92};
    for (const PacketType type : kAckTypes) {
        const bool answer = type == PacketType::kPuback || type == PacketType::kPubrec;
        for (unsigned code = 0; code < 256; ++code) {
            const Exact body(Wire().u16(1).byte(code));
            const Result<AckView> ack = decode_ack(type, body, plain_flags(type), Version::k50);
            const bool legal = (answer ? answers : releases).count(code) != 0;
            CHECK(ack.error() == (legal ? Error::kNone : Error::kProtocolError));
            if (legal) CHECK(ack->reason == code);
        }
    }
}

// --- SUBSCRIBE, UNSUBSCRIBE --------------------------------------------------------------------

constexpr PacketType kListTypes[] = {PacketType::kSubscribe, PacketType::kUnsubscribe};

Wire filter_list(PacketType type,
                 Version version,
                 std::initializer_list<std::string_view> filters) {
    Wire wire;
    wire.u16(9);
    if (is_v5(version)) wire.byte(0);
    for (const std::string_view filter : filters) {
        wire.text(filter);
        if (type == PacketType::kSubscribe) wire.byte(1);
    }
    return wire;
}

TEST_CASE("each flag nibble of SUBSCRIBE and UNSUBSCRIBE is taken or refused",
          "[MQTT-3.8.1-1][MQTT-3.10.1-1][MQTT5-3.8.1-1][MQTT5-3.10.1-1]") {
    for (const Version version : kVersions) {
        for (const PacketType type : kListTypes) {
            const Exact body(filter_list(type, version, {"a"}));
            for (uint8_t flags = 0; flags < 16; ++flags) {
                const Error want =
                    flags_legal(type, flags, version) ? Error::kNone : Error::kMalformedPacket;
                CHECK(decode_subscribe(type, body, flags, version).error() == want);
            }
        }
    }
}

TEST_CASE("a list of filters is walked as it was written", "[mqtt]") {
    const std::string_view filters[] = {"a/b", "+/c", "#", "\xc3\xa9"};
    for (const Version version : kVersions) {
        for (const PacketType type : kListTypes) {
            const Exact body(
                filter_list(type, version, {filters[0], filters[1], filters[2], filters[3]}));
            const Result<SubscribeView> view = decode_subscribe(type, body, 2, version);
            REQUIRE(view);
            CHECK(view->packet_id == 9);
            REQUIRE(view->filter_count == 4);
            Bytes rest = view->filters;
            for (const std::string_view filter : filters) {
                const FilterView one = next_filter(rest, type);
                CHECK(as_text(one.topic_filter) == filter);
                CHECK(one.qos == (type == PacketType::kSubscribe ? 1 : 0));
            }
            CHECK(rest.empty());
        }
    }
}

TEST_CASE("a list of filters cut anywhere is refused",
          "[MQTT-3.8.3-3][MQTT-3.10.3-2][MQTT5-3.8.3-2][MQTT5-3.10.3-2]") {
    // Every cut but those between two filters.
    for (const Version version : kVersions) {
        for (const PacketType type : kListTypes) {
            const size_t start = filter_list(type, version, {}).size();
            const size_t one = filter_list(type, version, {"a/b"}).size();
            const Wire whole = filter_list(type, version, {"a/b", "c"});
            for (size_t cut = 0; cut < whole.size(); ++cut) {
                const Exact body(Bytes(whole).first(cut));
                const Error want = cut == start ? Error::kProtocolError  // no filter at all
                                   : cut == one ? Error::kNone
                                                : Error::kMalformedPacket;
                INFO("version " << static_cast<int>(version) << " cut " << cut);
                CHECK(decode_subscribe(type, body, 2, version).error() == want);
            }
        }
    }
}

TEST_CASE("a filter in a list is legal",
          "[MQTT-4.7.1-2][MQTT-4.7.1-3][MQTT-4.7.3-1][MQTT-3.8.3-1][MQTT-3.10.3-1]"
          "[MQTT5-4.7.1-1][MQTT5-4.7.1-2][MQTT5-4.7.3-1][MQTT5-3.8.3-1][MQTT5-3.10.3-1]") {
    const std::pair<std::string_view, Error> cases[] = {
        {"a//b",    Error::kNone              },
        {"",        Error::kTopicFilterInvalid},
        {"a/#/b",   Error::kTopicFilterInvalid},
        {"a#",      Error::kTopicFilterInvalid},
        {"a+",      Error::kTopicFilterInvalid},
        {"+a/b",    Error::kTopicFilterInvalid},
        {"a/\xff",  Error::kMalformedPacket   },
        {"\xff/a#", Error::kMalformedPacket   },
    };
    for (const Version version : kVersions) {
        for (const PacketType type : kListTypes) {
            for (const auto& [filter, want] : cases) {
                const Exact body(filter_list(type, version, {"good", filter}));
                CHECK(decode_subscribe(type, body, 2, version).error() == want);
            }
        }
    }
}

TEST_CASE("each options byte of SUBSCRIBE is taken or refused", "[MQTT-3.8.3-4][MQTT5-3.8.3-5]") {
    // Exhaustive.  3.x: two bits of QoS.  5.0: bits 6 and 7 reserved, QoS 3 and Retain Handling 3
    // do not exist.
    for (const Version version : kVersions) {
        for (unsigned options = 0; options < 256; ++options) {
            Wire wire;
            wire.u16(9);
            if (is_v5(version)) wire.byte(0);
            wire.text("a").byte(options);
            const Exact body(wire);
            const Result<SubscribeView> view =
                decode_subscribe(PacketType::kSubscribe, body, 2, version);
            const unsigned qos = options & 3;
            const unsigned handling = options >> 4 & 3;
            Error want = Error::kNone;
            if (is_v5(version)) {
                if (qos == 3 || handling == 3) want = Error::kProtocolError;
                if (options >> 6 != 0) want = Error::kMalformedPacket;
            } else if (options > 2) {
                want = Error::kMalformedPacket;
            }
            INFO("version " << static_cast<int>(version) << " options " << options);
            REQUIRE(view.error() == want);
            if (!view) continue;
            Bytes rest = view->filters;
            const FilterView filter = next_filter(rest, PacketType::kSubscribe);
            CHECK(filter.qos == qos);
            CHECK(filter.no_local == ((options & 4) != 0));
            CHECK(filter.retain_as_published == ((options & 8) != 0));
            CHECK(filter.retain_handling == handling);
        }
    }
}

TEST_CASE("SUBSCRIBE and UNSUBSCRIBE of identifier 0 are refused",
          "[MQTT-2.3.1-1][MQTT5-2.2.1-3]") {
    for (const Version version : kVersions) {
        for (const PacketType type : kListTypes) {
            const Exact body(Wire().u16(0).byte(0).text("a").byte(0));
            CHECK(decode_subscribe(type, body, 2, version).error() == Error::kPacketIdInvalid);
        }
    }
}

// --- PINGREQ, DISCONNECT, AUTH -----------------------------------------------------------------

TEST_CASE("PINGREQ is two bytes", "[MQTT-2.2.2-2][MQTT5-2.1.3-1]") {
    CHECK(decode_pingreq({}, 0));
    CHECK(decode_pingreq(Exact(Wire().byte(0)), 0).error() == Error::kMalformedPacket);
    for (uint8_t flags = 1; flags < 16; ++flags) {
        CHECK(decode_pingreq({}, flags).error() == Error::kMalformedPacket);
    }
}

TEST_CASE("DISCONNECT has no header flags, and no body before 5.0",
          "[MQTT-3.14.1-1][MQTT5-3.14.1-1]") {
    for (const Version version : kVersions) {
        CHECK(decode_disconnect({}, 0, version));
        for (uint8_t flags = 1; flags < 16; ++flags) {
            CHECK(decode_disconnect({}, flags, version).error() == Error::kMalformedPacket);
        }
        const Exact one(Wire().byte(4));
        CHECK(decode_disconnect(one, 0, version).ok() == is_v5(version));
    }
}

TEST_CASE("DISCONNECT and AUTH carry a reason from their tables",
          "[MQTT5-3.14.2-1][MQTT5-3.15.2-1]") {
    // All 256 codes against §3.14.2.1 and §3.15.2.1, written out.
    const std::set<unsigned> farewells = {
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93,
        0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2};
    const std::set<unsigned> steps = {0x00, 0x18, 0x19};
    for (unsigned code = 0; code < 256; ++code) {
        const Exact leaving(Wire().byte(code));
        const Result<DisconnectView> left = decode_disconnect(leaving, 0, Version::k50);
        CHECK(left.error() == (farewells.count(code) != 0 ? Error::kNone : Error::kProtocolError));
        if (left) CHECK(left->reason == code);

        const Exact step(Wire().byte(code).block(Wire().byte(0x15).text("M")));
        const Result<AuthView> auth = decode_auth(step, 0);
        CHECK(auth.error() == (steps.count(code) != 0 ? Error::kNone : Error::kProtocolError));
        if (auth) CHECK(auth->reason == code);
    }
}

TEST_CASE("DISCONNECT and AUTH cut anywhere are refused", "[MQTT5-4.13.1-1]") {
    const Wire leaving = Wire().byte(0).block(Wire().byte(0x11).u32(60).byte(0x1f).text("bye"));
    const Wire step = Wire().byte(0x18).block(Wire().byte(0x15).text("M").byte(0x16).text("d"));
    for (size_t cut = 0; cut <= leaving.size(); ++cut) {
        const bool legal = cut == 0 || cut == 1 || cut == leaving.size();
        CHECK(decode_disconnect(Exact(Bytes(leaving).first(cut)), 0, Version::k50).ok() == legal);
    }
    for (size_t cut = 0; cut <= step.size(); ++cut) {
        // An AUTH that leaves everything out means success; any other names its method.
        const bool legal = cut == 0 || cut == step.size();
        CHECK(decode_auth(Exact(Bytes(step).first(cut)), 0).ok() == legal);
    }
    CHECK_FALSE(decode_disconnect(Exact(Wire(leaving).byte(0)), 0, Version::k50));
    CHECK_FALSE(decode_auth(Exact(Wire(step).byte(0)), 0));
}

TEST_CASE("AUTH has no header flags and names its method", "[MQTT5-3.15.1-1]") {
    const Exact body(Wire().byte(0x18).block(Wire().byte(0x15).text("M")));
    CHECK(decode_auth(body, 0));
    for (uint8_t flags = 1; flags < 16; ++flags) {
        CHECK(decode_auth(body, flags).error() == Error::kMalformedPacket);
    }
    CHECK(decode_auth(Exact(Wire().byte(0x18).byte(0)), 0).error() == Error::kProtocolError);
}

}  // namespace
}  // namespace mqttd
