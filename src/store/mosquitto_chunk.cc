#include "store/mosquitto_chunk.h"

#include "mqttd/codec.h"
#include "mqttd/topic.h"

#include "base/assert.h"
#include "mqtt/properties.h"
#include "mqtt/reader.h"
#include "mqtt/varint.h"

#include <algorithm>

namespace mqttd {
namespace {

constexpr uint32_t kConfigFixed = 12;
constexpr uint32_t kMessageFixed = 32;
constexpr uint32_t kClientMessageFixed = 16;
constexpr uint32_t kRetainedFixed = 8;
constexpr uint32_t kSubscriptionFixed = 12;
constexpr uint32_t kClientFixed = 20;
constexpr uint32_t kClientFixed5 = 16;
constexpr uint32_t kPadding = 4;  // behind the fixed parts of config and (6) client

constexpr uint32_t kIdSize = 8;
constexpr uint32_t kIdSizeAt = 9;     // in a config
constexpr uint8_t kNoLocal = 1 << 2;  // of the subscription options, as on the wire
constexpr uint8_t kRetainAsPublished = 1 << 3;

uint16_t u16_at(Bytes bytes, size_t at) {
    return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

uint32_t u32_at(Bytes bytes, size_t at) {
    return uint32_t{u16_at(bytes, at)} << 16 | u16_at(bytes, at + 2);
}

uint64_t little_at(Bytes bytes, size_t at) {
    uint64_t number = 0;
    for (size_t i = 8; i-- > 0;)
        number = number << 8 | bytes[at + i];
    return number;
}

uint64_t big_at(Bytes bytes, size_t at) {
    return uint64_t{u32_at(bytes, at)} << 32 | u32_at(bytes, at + 4);
}

uint64_t take_u64(Reader& reader, MosquittoForm form) {
    const Bytes at = reader.take_bytes(8);
    if (at.empty()) return 0;
    return form.big_endian ? big_at(at, 0) : little_at(at, 0);
}

MosquittoChunkLengths only(uint32_t length) {
    return {length, length};
}

// A property block may follow `length` bytes.  An empty one is never written, and the next chunk
// begins with a zero.
MosquittoChunkLengths with_properties(uint64_t length, Bytes rest) {
    const Varint varint = read_varint(rest.subspan(std::min<uint64_t>(length, rest.size())));
    const bool block = varint.size != 0 && varint.value != 0;
    return {length, block ? length + varint.size + varint.value : length};
}

// Takes the length of the block that ends the chunk; what remains is the block.
Bytes take_block(Reader& reader) {
    if (!reader.at_end()) reader.take_varint();
    return reader.take_bytes(reader.rest().size());
}

bool is_text(Bytes text) {
    return !text.empty() && utf8_valid(text);
}

// Names that are only told along.  mosquitto 2.0 writes what lay behind the user name of the
// session before into the chunk of one that has none, with a length whose bytes are swapped.
Bytes text_or_nothing(Bytes text) {
    return is_text(text) ? text : Bytes();
}

MosquittoDamage decode(Bytes chunk, MosquittoForm form, MosquittoConfig& out) {
    Reader reader(chunk);
    out.last_store_id = take_u64(reader, form);
    out.shutdown = reader.take_byte() != 0;
    return reader.take_byte() == kIdSize ? MosquittoDamage::kNone : MosquittoDamage::kValue;
}

MosquittoDamage decode(Bytes chunk, MosquittoForm form, MosquittoMessage& out) {
    Reader reader(chunk);
    out.store_id = take_u64(reader, form);
    out.expires_s = static_cast<int64_t>(take_u64(reader, form));
    const uint32_t payload_size = reader.take_u32();
    out.source_packet_id = reader.take_u16();
    const uint16_t source_size = reader.take_u16();
    const uint16_t user_size = reader.take_u16();
    const uint16_t topic_size = reader.take_u16();
    out.source_port = reader.take_u16();
    out.qos = reader.take_byte();
    const uint8_t retain = reader.take_byte();
    out.source_id = text_or_nothing(reader.take_bytes(source_size));
    out.source_user_name = text_or_nothing(reader.take_bytes(user_size));
    out.topic_name = reader.take_bytes(topic_size);
    out.payload = reader.take_bytes(payload_size);
    out.properties = take_block(reader);
    if (reader.failed()) return MosquittoDamage::kProperties;
    if (out.qos > 2 || retain > 1 || out.expires_s < 0) return MosquittoDamage::kValue;
    out.retain = retain == 1;
    if (topic_name_check(out.topic_name) != Error::kNone) return MosquittoDamage::kTopic;
    const Result<PropertySet> set = check_properties(out.properties, PacketType::kPublish);
    if (!set) return MosquittoDamage::kProperties;
    out.property_set = *set;
    return MosquittoDamage::kNone;
}

MosquittoDamage decode(Bytes chunk, MosquittoForm form, MosquittoClient& out) {
    Reader reader(chunk);
    out.expires_s = static_cast<int64_t>(take_u64(reader, form));
    out.expiry_interval_s = reader.take_u32();
    out.last_packet_id = reader.take_u16();
    const uint16_t id_size = reader.take_u16();
    uint16_t user_size = 0;
    if (form.version > 5) {
        out.listener_port = reader.take_u16();
        user_size = reader.take_u16();
        reader.take_bytes(form.packed ? 0 : kPadding);
    }
    out.client_id = reader.take_bytes(id_size);
    out.user_name = text_or_nothing(reader.take_bytes(user_size));
    if (out.expires_s < 0) return MosquittoDamage::kValue;
    return is_text(out.client_id) ? MosquittoDamage::kNone : MosquittoDamage::kClientId;
}

MosquittoDamage decode(Bytes chunk, MosquittoForm form, MosquittoClientMessage& out) {
    Reader reader(chunk);
    out.store_id = take_u64(reader, form);
    out.packet_id = reader.take_u16();
    const uint16_t id_size = reader.take_u16();
    out.qos = reader.take_byte();
    const uint8_t state = reader.take_byte();
    const uint8_t retain_dup = reader.take_byte();
    const uint8_t direction = reader.take_byte();
    out.client_id = reader.take_bytes(id_size);
    out.subscription_ids = take_block(reader);
    if (reader.failed()) return MosquittoDamage::kProperties;

    constexpr auto kFirst = static_cast<uint8_t>(MosquittoState::kPublishQos0);
    constexpr auto kLast = static_cast<uint8_t>(MosquittoState::kQueued);
    const bool state_is_known = state >= kFirst && state <= kLast;
    const bool flags_are_known = (retain_dup & 0xee) == 0 && direction <= 1;
    if (out.qos > 2 || !state_is_known || !flags_are_known) return MosquittoDamage::kValue;
    out.state = static_cast<MosquittoState>(state);
    out.retain = retain_dup >> 4 != 0;
    out.dup = (retain_dup & 1) != 0;
    out.outgoing = direction == 1;

    if (!is_text(out.client_id)) return MosquittoDamage::kClientId;
    constexpr uint64_t kOnlyThese = PropertySet::bit(Property::kSubscriptionIdentifier);
    const auto set = check_properties(out.subscription_ids, PacketType::kPublish);
    if (!set || (set->bits & ~kOnlyThese) != 0) return MosquittoDamage::kProperties;
    out.subscription_id =
        property_number(out.subscription_ids, Property::kSubscriptionIdentifier, 0);
    return MosquittoDamage::kNone;
}

MosquittoDamage decode(Bytes chunk, MosquittoForm form, MosquittoRetained& out) {
    Reader reader(chunk);
    out.store_id = take_u64(reader, form);
    return MosquittoDamage::kNone;
}

MosquittoDamage decode(Bytes chunk, MosquittoForm, MosquittoSubscription& out) {
    Reader reader(chunk);
    out.identifier = reader.take_u32();
    const uint16_t id_size = reader.take_u16();
    const uint16_t filter_size = reader.take_u16();
    out.qos = reader.take_byte();
    const uint8_t options = reader.take_byte();
    reader.take_u16();  // padding
    out.client_id = reader.take_bytes(id_size);
    out.topic_filter = reader.take_bytes(filter_size);
    out.no_local = (options & kNoLocal) != 0;
    out.retain_as_published = (options & kRetainAsPublished) != 0;
    if (out.qos > 2 || out.identifier > kVarintMax) return MosquittoDamage::kValue;
    if (!is_text(out.client_id)) return MosquittoDamage::kClientId;
    const bool legal = topic_filter_check(out.topic_filter) == Error::kNone;
    return legal ? MosquittoDamage::kNone : MosquittoDamage::kTopic;
}

template <class Record>
MosquittoDamage take_as(void (MosquittoVisitor::*handler)(const Record&),
                        Bytes chunk,
                        MosquittoForm form,
                        MosquittoVisitor& visitor) {
    Record record;
    const MosquittoDamage damage = decode(chunk, form, record);
    if (damage == MosquittoDamage::kNone) (visitor.*handler)(record);
    return damage;
}

// The fixed part; what is needed to tell the length.
uint32_t fixed_size(MosquittoChunk kind, MosquittoForm form) {
    const uint32_t padding = form.packed ? 0 : kPadding;
    switch (kind) {
        case MosquittoChunk::kConfig:
            return kConfigFixed + padding;
        case MosquittoChunk::kMessage:
            return kMessageFixed;
        case MosquittoChunk::kClientMessage:
            return kClientMessageFixed;
        case MosquittoChunk::kRetained:
            return kRetainedFixed;
        case MosquittoChunk::kSubscription:
            return kSubscriptionFixed;
        case MosquittoChunk::kClient:
            return form.version > 5 ? kClientFixed + padding : kClientFixed5;
        default:
            return 0;
    }
}

int vote(Bytes chunk, size_t at) {
    const uint64_t little = little_at(chunk, at);
    const uint64_t big = big_at(chunk, at);
    return big < little ? 1 : big > little ? -1 : 0;
}

}  // namespace

MosquittoChunkHeader read_chunk_header(Bytes at) {
    MQTTD_ASSERT(at.size() >= MosquittoChunkHeader::kSize);
    return {u32_at(at, 0), u32_at(at, 4)};
}

MosquittoChunkLengths mosquitto_chunk_lengths(MosquittoChunk kind, Bytes rest, MosquittoForm form) {
    const uint32_t fixed = fixed_size(kind, form);
    if (rest.size() < fixed) return {};
    switch (kind) {
        case MosquittoChunk::kMessage: {
            const uint32_t names = uint32_t{u16_at(rest, 22)} + u16_at(rest, 24) + u16_at(rest, 26);
            return with_properties(uint64_t{fixed} + names + u32_at(rest, 16), rest);
        }
        case MosquittoChunk::kClientMessage:
            return with_properties(fixed + u16_at(rest, 10), rest);
        case MosquittoChunk::kSubscription:
            return only(fixed + u16_at(rest, 4) + u16_at(rest, 6));
        case MosquittoChunk::kClient:
            return only(fixed + u16_at(rest, 14) + (form.version > 5 ? u16_at(rest, 18) : 0));
        default:
            return only(fixed);
    }
}

bool is_property_block(Bytes bytes) {
    Reader reader(bytes);
    const Bytes block = take_block(reader);
    return !reader.failed() && check_properties(block, PacketType::kPublish).ok();
}

bool mosquitto_id_size_known(Bytes config) {
    return config.size() <= kIdSizeAt || config[kIdSizeAt] == kIdSize;
}

int big_endian_votes(MosquittoChunk kind, Bytes chunk) {
    switch (kind) {
        case MosquittoChunk::kConfig:
        case MosquittoChunk::kClientMessage:
        case MosquittoChunk::kRetained:
        case MosquittoChunk::kClient:
            return vote(chunk, 0);
        case MosquittoChunk::kMessage:
            return vote(chunk, 0) + vote(chunk, 8);
        default:
            return 0;
    }
}

MosquittoDamage take_chunk(MosquittoChunk kind,
                           Bytes chunk,
                           MosquittoForm form,
                           MosquittoVisitor& visitor) {
    MQTTD_DCHECK(mosquitto_chunk_lengths(kind, chunk, form).have(chunk.size()));
    switch (kind) {
        case MosquittoChunk::kConfig:
            return take_as(&MosquittoVisitor::config, chunk, form, visitor);
        case MosquittoChunk::kMessage:
            return take_as(&MosquittoVisitor::message, chunk, form, visitor);
        case MosquittoChunk::kClientMessage:
            return take_as(&MosquittoVisitor::client_message, chunk, form, visitor);
        case MosquittoChunk::kRetained:
            return take_as(&MosquittoVisitor::retained, chunk, form, visitor);
        case MosquittoChunk::kSubscription:
            return take_as(&MosquittoVisitor::subscription, chunk, form, visitor);
        case MosquittoChunk::kClient:
            return take_as(&MosquittoVisitor::client, chunk, form, visitor);
        default:
            return MosquittoDamage::kUnknownType;
    }
}

}  // namespace mqttd
