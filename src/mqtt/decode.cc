// One function per packet.  What a field means is said here; what may be is in the tables.

#include "mqttd/codec.h"
#include "mqttd/topic.h"

#include "base/assert.h"
#include "mqtt/plain_name.h"
#include "mqtt/properties.h"
#include "mqtt/reader.h"
#include "mqtt/tables.h"

namespace mqttd {
namespace {

struct PropertyBlock {
    Bytes bytes;
    PropertySet set;
};

// Takes and checks a property block with its length in front.
PropertyBlock take_properties(Reader& reader, PacketType place) {
    PropertyBlock block;
    block.bytes = reader.take_bytes(reader.take_varint());
    if (reader.failed()) return {};
    const Result<PropertySet> set = check_properties(block.bytes, place);
    if (!set) {
        reader.fail(set.error());
        return {};
    }
    block.set = *set;
    return block;
}

void require(Reader& reader, bool condition, Error otherwise) {
    if (!condition) reader.fail(otherwise);
}

uint16_t take_packet_id(Reader& reader) {
    const uint16_t packet_id = reader.take_u16();
    require(reader, packet_id != 0, Error::kPacketIdInvalid);
    return packet_id;
}

// --- CONNECT -----------------------------------------------------------------------------------

constexpr uint8_t kBridgeBit = 0x80;

namespace connect_flag {
constexpr uint8_t kReserved = 0x01;
constexpr uint8_t kCleanStart = 0x02;
constexpr uint8_t kWill = 0x04;
constexpr uint8_t kWillQos = 0x18;
constexpr uint8_t kWillRetain = 0x20;
constexpr uint8_t kPassword = 0x40;
constexpr uint8_t kUserName = 0x80;
}  // namespace connect_flag

struct Protocol {
    Version version = Version::kNone;
    bool bridge = false;
};

constexpr struct {
    std::string_view name;
    uint8_t level;
    Version version;
    bool bridge;
} kProtocols[] = {
    {"MQTT",   4,              Version::k311, false},
    {"MQTT",   5,              Version::k50,  false},
    {"MQIsdp", 3,              Version::k31,  false},
    {"MQTT",   4 | kBridgeBit, Version::k311, true },
    {"MQIsdp", 3 | kBridgeBit, Version::k31,  true },
};

// Protocol name and level, the part of CONNECT that every version shares.
Protocol take_protocol(Reader& reader) {
    const std::string_view name = as_text(reader.take_binary());
    require(reader, name == "MQTT" || name == "MQIsdp", Error::kUnsupportedVersion);
    const uint8_t level = reader.take_byte();
    for (const auto& row : kProtocols) {
        if (level == row.level && name == row.name) return {row.version, row.bridge};
    }
    reader.fail(Error::kUnsupportedVersion);
    return {};
}

bool connect_flags_valid(uint8_t flags, Version version) {
    using namespace connect_flag;
    if ((flags & kWillQos) == kWillQos) return false;  // QoS 3
    if (version == Version::k31) return true;
    if ((flags & kReserved) != 0) return false;
    if ((flags & kWill) == 0 && (flags & (kWillQos | kWillRetain)) != 0) return false;
    return version == Version::k50 || (flags & kUserName) != 0 || (flags & kPassword) == 0;
}

WillView take_will(Reader& reader, uint8_t flags, Version version) {
    WillView will;
    will.qos = (flags & connect_flag::kWillQos) >> 3;
    will.retain = (flags & connect_flag::kWillRetain) != 0;
    if (is_v5(version)) {
        const PropertyBlock block = take_properties(reader, kWillProperties);
        will.properties = block.bytes;
        will.property_set = block.set;
    }
    will.topic_name = reader.take_binary();
    if (reader.failed()) return will;
    if (const Error error = topic_name_check(will.topic_name); error != Error::kNone) {
        reader.fail(error);
    }
    will.payload = reader.take_binary();
    return will;
}

// "The Remaining Length field takes precedence over the User Name flag": a 3.1 client may announce
// a user name or password and end its packet without it.   MQTT 3.1, CONNECT
bool announced(const Reader& reader, bool flag, Version version) {
    return flag && !(version == Version::k31 && reader.at_end());
}

}  // namespace

Version connect_version(Bytes body) {
    Reader reader(body);
    return take_protocol(reader).version;
}

Result<ConnectView> decode_connect(Bytes body, uint8_t flags) {
    if (flags != packet_row(PacketType::kConnect).flags) return Error::kMalformedPacket;
    Reader reader(body);
    ConnectView connect;
    const Protocol protocol = take_protocol(reader);
    if (reader.failed()) return reader.error();
    connect.version = protocol.version;
    connect.bridge = protocol.bridge;

    const uint8_t wants = reader.take_byte();
    require(reader, connect_flags_valid(wants, connect.version), Error::kMalformedPacket);
    connect.clean_start = (wants & connect_flag::kCleanStart) != 0;
    connect.keep_alive_s = reader.take_u16();
    if (is_v5(connect.version)) {
        const PropertyBlock block = take_properties(reader, PacketType::kConnect);
        connect.properties = block.bytes;
        connect.property_set = block.set;
    }

    connect.client_id = reader.take_text();
    connect.has_will = (wants & connect_flag::kWill) != 0;
    if (connect.has_will) connect.will = take_will(reader, wants, connect.version);
    connect.has_user_name =
        announced(reader, (wants & connect_flag::kUserName) != 0, connect.version);
    if (connect.has_user_name) connect.user_name = reader.take_text();
    connect.has_password =
        announced(reader, (wants & connect_flag::kPassword) != 0, connect.version);
    if (connect.has_password) connect.password = reader.take_binary();

    require(reader, reader.at_end(), Error::kMalformedPacket);
    if (reader.failed()) return reader.error();
    return connect;
}

// --- PUBLISH -----------------------------------------------------------------------------------

namespace {

// What is not the common case.  Taken by value, so that the common case keeps its fields in
// registers.
[[gnu::noinline]] Result<PublishView> judge_name(PublishView publish, Version version) {
    const bool aliased = publish.property_set.has(Property::kTopicAlias);
    if (publish.topic_name.empty() && aliased) return publish;
    if (publish.topic_name.empty() && is_v5(version)) return Error::kProtocolError;
    const Error error = topic_name_check(publish.topic_name);
    if (error != Error::kNone) return error;
    return publish;
}

// In 5.0 properties lie between the head and the payload.
[[gnu::noinline]] Result<PublishView> take_publish_properties(PublishView publish) {
    Reader reader(publish.payload);
    const PropertyBlock block = take_properties(reader, PacketType::kPublish);
    if (reader.failed()) return reader.error();
    publish.properties = block.bytes;
    publish.property_set = block.set;
    publish.payload = reader.rest();
    return judge_name(publish, Version::k50);
}

}  // namespace

// The hottest of all; without properties it is a length, a compare and the topic check.
Result<PublishView> decode_publish(Bytes body, uint8_t flags, Version version) {
    if (!publish_flags_valid(flags) || body.size() < 2) return Error::kMalformedPacket;
    PublishView publish;
    publish.dup = (flags & 8) != 0;
    publish.qos = (flags >> 1) & 3;
    publish.retain = (flags & 1) != 0;

    const size_t topic_end = size_t{2} + (size_t{body[0]} << 8 | body[1]);
    const size_t head_end = topic_end + (publish.qos != 0 ? 2 : 0);
    if (body.size() < head_end) return Error::kMalformedPacket;
    publish.topic_name = body.subspan(2, topic_end - 2);
    publish.payload = body.subspan(head_end);
    if (publish.qos != 0) {
        publish.packet_id = static_cast<uint16_t>(body[topic_end] << 8 | body[topic_end + 1]);
        if (publish.packet_id == 0) return Error::kPacketIdInvalid;
    }
    if (is_v5(version)) {
        const bool no_properties = !publish.payload.empty() && publish.payload[0] == 0;
        if (!no_properties) return take_publish_properties(publish);
        publish.payload = publish.payload.subspan(1);
    }
    if (!plain_name(publish.topic_name)) [[unlikely]]
        return judge_name(publish, version);
    return publish;
}

// --- PUBACK, PUBREC, PUBREL, PUBCOMP -----------------------------------------------------------

Result<AckView> decode_ack(PacketType type, Bytes body, uint8_t flags, Version version) {
    if (!packet_shape_valid(type, flags, body.size(), version)) return Error::kMalformedPacket;
    Reader reader(body);
    AckView ack;
    ack.packet_id = take_packet_id(reader);
    // 5.0: no reason means success, no property length means no properties.
    if (!reader.at_end()) {
        ack.reason = reader.take_byte();
        require(reader, reason_valid(type, ack.reason), Error::kProtocolError);
    }
    if (!reader.at_end()) ack.properties = take_properties(reader, type).bytes;
    require(reader, reader.at_end(), Error::kMalformedPacket);
    if (reader.failed()) return reader.error();
    return ack;
}

// --- SUBSCRIBE, UNSUBSCRIBE --------------------------------------------------------------------

namespace {

namespace option {
constexpr uint8_t kQos = 0x03;
constexpr uint8_t kNoLocal = 0x04;
constexpr uint8_t kRetainAsPublished = 0x08;
constexpr uint8_t kRetainHandling = 0x30;
constexpr uint8_t kReserved = 0xc0;
constexpr uint8_t kReservedV3 = 0xfc;
}  // namespace option

// QoS 3 and Retain Handling 3 do not exist.  3.1.1 calls that malformed, 5.0 a protocol error.
Error judge_options(uint8_t options, Version version) {
    const bool v5 = is_v5(version);
    if ((options & (v5 ? option::kReserved : option::kReservedV3)) != 0) {
        return Error::kMalformedPacket;
    }
    const bool none_such = (options & option::kQos) == option::kQos ||
                           (options & option::kRetainHandling) == option::kRetainHandling;
    if (!none_such) return Error::kNone;
    return v5 ? Error::kProtocolError : Error::kMalformedPacket;
}

void check_filter(Reader& reader, PacketType type, Version version) {
    const Bytes filter = reader.take_binary();
    if (reader.failed()) return;
    Error error = topic_filter_check(filter);
    if (error == Error::kNone && type == PacketType::kSubscribe) {
        const uint8_t options = reader.take_byte();
        error = judge_options(options, version);
    }
    if (error != Error::kNone) reader.fail(error);
}

}  // namespace

Result<SubscribeView> decode_subscribe(PacketType type,
                                       Bytes body,
                                       uint8_t flags,
                                       Version version) {
    if (!packet_shape_valid(type, flags, body.size(), version)) return Error::kMalformedPacket;
    Reader reader(body);
    SubscribeView subscribe;
    subscribe.packet_id = take_packet_id(reader);
    if (is_v5(version)) {
        const PropertyBlock block = take_properties(reader, type);
        subscribe.properties = block.bytes;
        subscribe.property_set = block.set;
    }
    subscribe.filters = reader.rest();
    while (!reader.at_end()) {
        check_filter(reader, type, version);
        ++subscribe.filter_count;
    }
    require(reader, subscribe.filter_count != 0, Error::kProtocolError);
    if (reader.failed()) return reader.error();
    return subscribe;
}

SubscribeView reread_subscribe(PacketType type, Bytes body, Version version) {
    Reader reader(body);
    SubscribeView subscribe;
    subscribe.packet_id = take_packet_id(reader);
    if (is_v5(version)) {
        const PropertyBlock block = take_properties(reader, type);
        subscribe.properties = block.bytes;
        subscribe.property_set = block.set;
    }
    MQTTD_ASSERT(!reader.failed());
    subscribe.filters = reader.rest();
    return subscribe;
}

FilterView next_filter(Bytes& filters, PacketType type) {
    Reader reader(filters);
    FilterView filter;
    filter.topic_filter = reader.take_binary();
    if (type == PacketType::kSubscribe) {
        const uint8_t options = reader.take_byte();
        filter.qos = options & option::kQos;
        filter.no_local = (options & option::kNoLocal) != 0;
        filter.retain_as_published = (options & option::kRetainAsPublished) != 0;
        filter.retain_handling = (options & option::kRetainHandling) >> 4;
    }
    MQTTD_ASSERT(!reader.failed());
    filters = reader.rest();
    return filter;
}

// --- PINGREQ, DISCONNECT, AUTH -----------------------------------------------------------------

namespace {

// DISCONNECT and AUTH of 5.0: a reason and properties, both of which may be left out.
template <class View>
Result<View> decode_reason_packet(PacketType type, Bytes body) {
    Reader reader(body);
    View view;
    if (!reader.at_end()) {
        view.reason = reader.take_byte();
        require(reader, reason_valid(type, view.reason), Error::kProtocolError);
    }
    if (!reader.at_end()) {
        const PropertyBlock block = take_properties(reader, type);
        view.properties = block.bytes;
        view.property_set = block.set;
    }
    require(reader, reader.at_end(), Error::kMalformedPacket);
    if (reader.failed()) return reader.error();
    return view;
}

}  // namespace

Result<DisconnectView> decode_disconnect(Bytes body, uint8_t flags, Version version) {
    if (!packet_shape_valid(PacketType::kDisconnect, flags, body.size(), version)) {
        return Error::kMalformedPacket;
    }
    return decode_reason_packet<DisconnectView>(PacketType::kDisconnect, body);
}

Result<AuthView> decode_auth(Bytes body, uint8_t flags) {
    if (!packet_shape_valid(PacketType::kAuth, flags, body.size(), Version::k50)) {
        return Error::kMalformedPacket;
    }
    const Result<AuthView> auth = decode_reason_packet<AuthView>(PacketType::kAuth, body);
    const bool needs_method = !body.empty();
    if (auth && needs_method && !auth->property_set.has(Property::kAuthenticationMethod)) {
        return Error::kProtocolError;
    }
    return auth;
}

Result<bool> decode_pingreq(Bytes body, uint8_t flags) {
    if (!packet_shape_valid(PacketType::kPingreq, flags, body.size(), Version::k311)) {
        return Error::kMalformedPacket;
    }
    return true;
}

}  // namespace mqttd
