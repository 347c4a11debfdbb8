#include "broker/durable_records.h"

#include <limits>

namespace mqttd {

namespace {

constexpr uint8_t kQosBits = 3;
constexpr uint8_t kRetainBit = 4;
constexpr uint8_t kUnlimitedBit = 8;
constexpr uint8_t kSentBit = 16;
constexpr uint8_t kSinceBit = 32;
constexpr uint8_t kAllBits = kQosBits | kRetainBit | kUnlimitedBit | kSentBit;

// Takes what was put in from the front; once something is missing everything is.
class BodyReader {
  public:
    explicit BodyReader(Bytes body) : rest_(body) {}

    template <class T>
    T number() {
        const Bytes taken = bytes(sizeof(T));
        return taken.empty() ? T{0} : load_le<T>(taken.data());
    }

    Bytes bytes(size_t size) {
        if (size > rest_.size()) {
            missing_ = true;
            rest_ = {};
            return {};
        }
        const Bytes taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }

    Bytes all() { return bytes(rest_.size()); }

    bool at_end() const { return rest_.empty(); }

    // Nothing was missing and nothing is left over.
    bool fine() const { return !missing_ && rest_.empty(); }

    bool missing() const { return missing_; }

    Bytes rest() const { return rest_; }

  private:
    Bytes rest_;
    bool missing_ = false;
};

template <class T>
Result<T> whole(const BodyReader& reader, const T& value, bool valid = true) {
    if (!reader.fine() || !valid) return Error::kInvalid;
    return value;
}

// The rest of the body is the message's.
bool take_message(BodyReader& reader, DurableMessage& message) {
    message.name = reader.number<uint64_t>();
    message.expires_at = reader.number<uint64_t>();
    const auto flags = reader.number<uint8_t>();
    message.qos = flags & kQosBits;
    message.retain = (flags & kRetainBit) != 0;
    message.priority = reader.number<uint8_t>();
    const auto topic = reader.number<uint16_t>();
    const auto properties = reader.number<uint32_t>();
    message.kept_since = (flags & kSinceBit) != 0 ? reader.number<uint64_t>() : 0;
    message.topic = reader.bytes(topic);
    message.properties = reader.bytes(properties);
    message.payload = reader.all();
    return message.qos <= 2 && (flags & ~(kQosBits | kRetainBit | kSinceBit)) == 0;
}

bool take_delivery(BodyReader& reader, DurableDelivery& out) {
    out.session = reader.number<uint32_t>();
    out.number = reader.number<uint32_t>();
    const auto flags = reader.number<uint8_t>();
    out.qos = flags & kQosBits;
    out.retain = (flags & kRetainBit) != 0;
    out.limited = (flags & kUnlimitedBit) == 0;
    out.sent = (flags & kSentBit) != 0;
    out.id_count = reader.number<uint8_t>();
    out.ids = reader.bytes(4u * out.id_count).data();
    return !reader.missing() && out.qos <= 2 && flags <= kAllBits &&
           (!out.sent || (out.number != 0 && out.number <= 0xffff));
}

}  // namespace

uint64_t DurableBody::size() const {
    uint64_t size = used_ - ended_;
    for (uint32_t i = 0; i < count_; ++i)
        size += parts_[i].size();
    return size;
}

// --- into bytes ----------------------------------------------------------------------------------

void encode(DurableBody& out, const DurableMessage& message) {
    MQTTD_ASSERT(message.topic.size() <= std::numeric_limits<uint16_t>::max());
    out.number(message.name);
    out.number(message.expires_at);
    out.number(static_cast<uint8_t>(message.qos | (message.retain ? kRetainBit : 0) |
                                    (message.kept_since != 0 ? kSinceBit : 0)));
    out.number(message.priority);
    out.number(static_cast<uint16_t>(message.topic.size()));
    out.number(static_cast<uint32_t>(message.properties.size()));
    if (message.kept_since != 0) out.number(message.kept_since);
    out.bytes(message.topic);
    out.bytes(message.properties);
    out.bytes(message.payload);
}

void encode(DurableBody& out, const DurableSession& session) {
    MQTTD_ASSERT(session.client_id.size() <= std::numeric_limits<uint16_t>::max());
    out.number(session.number);
    out.number(session.expiry_s);
    out.number(session.away_since);
    out.number(session.listener);
    out.number(session.level);
    out.number(static_cast<uint16_t>(session.client_id.size()));
    out.bytes(session.client_id);
    if (!session.has_will) return;
    out.number(session.will_delay_s);
    encode(out, session.will);
}

void encode(DurableBody& out, const DurableAway& away) {
    out.number(away.number);
    out.number(away.expiry_s);
    out.number(away.since);
}

void encode(DurableBody& out, const DurableSubscription& subscription) {
    out.number(subscription.number);
    out.number(subscription.identifier);
    out.number(subscription.options);
    out.bytes(subscription.filter);
}

void encode(DurableBody& out, const DurableUnsubscription& unsubscription) {
    out.number(unsubscription.number);
    out.bytes(unsubscription.filter);
}

void encode(DurableBody& out, const DurableSent& sent) {
    out.number(sent.session);
    out.number(sent.delivery);
    out.number(sent.packet_id);
}

void encode(DurableBody& out, const DurableProgress& progress) {
    out.number(progress.session);
    out.number(static_cast<uint8_t>(progress.state));
    out.bytes(Bytes(progress.ids, 2 * size_t{progress.id_count}));
}

void encode(DurableBody& out, const DurableDropped& dropped) {
    out.number(dropped.session);
    out.number(dropped.delivery);
}

void encode(DurableBody& out, const DurableInbound& inbound) {
    out.number(inbound.session);
    out.number(inbound.packet_id);
    encode(out, inbound.message);
}

void encode(DurableBody& out, const DurableReleased& released) {
    out.number(released.session);
    out.number(released.packet_id);
}

void encode(DurableBody& out, const DurableClock& clock) {
    out.number(clock.wall_s);
    out.number(clock.boot_ms);
}

void encode_deliveries(DurableBody& out, uint64_t message, Bytes deliveries) {
    out.number(message);
    out.bytes(deliveries);
}

uint8_t* put_page_head(uint8_t* out, const DurablePage& page) {
    store_le<uint64_t>(out, page.name);
    store_le<uint64_t>(out + 8, page.base);
    store_le<uint32_t>(out + 16, page.session);
    return out + DurablePage::kHeadBytes;
}

uint32_t page_entry_size(const DurablePageEntry& entry) {
    const DurableMessage& message = entry.message;
    const size_t texts = message.topic.size() + message.properties.size() + message.payload.size();
    return DurablePageEntry::kHeadBytes + delivery_size(entry.delivery) +
           DurableMessage::kHeadBytes + static_cast<uint32_t>(texts);
}

uint8_t* put_page_entry(uint8_t* out, const DurablePageEntry& entry) {
    store_le<uint32_t>(out, page_entry_size(entry));
    out[4] = entry.system ? 1 : 0;
    store_le<uint16_t>(out + 5, entry.shared);
    out = put_delivery(out + DurablePageEntry::kHeadBytes, entry.delivery);
    const DurableMessage& message = entry.message;
    store_le<uint64_t>(out, 0);
    store_le<uint64_t>(out + 8, message.expires_at);
    out[16] = static_cast<uint8_t>(message.qos | (message.retain ? kRetainBit : 0));
    out[17] = message.priority;
    store_le<uint16_t>(out + 18, static_cast<uint16_t>(message.topic.size()));
    store_le<uint32_t>(out + 20, static_cast<uint32_t>(message.properties.size()));
    return out + DurableMessage::kHeadBytes;
}

uint32_t delivery_size(const DurableDelivery& delivery) {
    return 10 + 4u * delivery.id_count;
}

uint8_t* put_delivery(uint8_t* out, const DurableDelivery& delivery) {
    store_le<uint32_t>(out, delivery.session);
    store_le<uint32_t>(out + 4, delivery.number);
    out[8] = static_cast<uint8_t>(delivery.qos | (delivery.retain ? kRetainBit : 0) |
                                  (delivery.limited ? 0 : kUnlimitedBit) |
                                  (delivery.sent ? kSentBit : 0));
    out[9] = delivery.id_count;
    out += 10;
    const size_t ids = 4u * delivery.id_count;
    if (ids > 0) std::memcpy(out, delivery.ids, ids);
    return out + ids;
}

// --- and back ------------------------------------------------------------------------------------

template <>
Result<DurableMessage> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableMessage message;
    const bool valid = take_message(reader, message);
    return whole(reader, message, valid);
}

template <>
Result<DurableSession> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableSession session;
    session.number = reader.number<uint32_t>();
    session.expiry_s = reader.number<uint32_t>();
    session.away_since = reader.number<uint64_t>();
    session.listener = reader.number<uint16_t>();
    session.level = reader.number<uint8_t>();
    const auto id = reader.number<uint16_t>();
    session.client_id = reader.bytes(id);
    session.has_will = !reader.at_end();
    bool valid = session.level >= 3 && session.level <= 5;
    if (session.has_will) {
        session.will_delay_s = reader.number<uint32_t>();
        valid = take_message(reader, session.will) && valid;
    }
    return whole(reader, session, valid);
}

template <>
Result<DurableAway> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableAway away;
    away.number = reader.number<uint32_t>();
    away.expiry_s = reader.number<uint32_t>();
    away.since = reader.number<uint64_t>();
    return whole(reader, away);
}

template <>
Result<DurableSubscription> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableSubscription subscription;
    subscription.number = reader.number<uint32_t>();
    subscription.identifier = reader.number<uint32_t>();
    subscription.options = reader.number<uint8_t>();
    subscription.filter = reader.all();
    return whole(reader, subscription, !subscription.filter.empty());
}

template <>
Result<DurableUnsubscription> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableUnsubscription unsubscription;
    unsubscription.number = reader.number<uint32_t>();
    unsubscription.filter = reader.all();
    return whole(reader, unsubscription, !unsubscription.filter.empty());
}

template <>
Result<DurableSent> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableSent sent;
    sent.session = reader.number<uint32_t>();
    sent.delivery = reader.number<uint32_t>();
    sent.packet_id = reader.number<uint16_t>();
    return whole(reader, sent, sent.packet_id != 0);
}

template <>
Result<DurableProgress> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableProgress progress;
    progress.session = reader.number<uint32_t>();
    const auto state = reader.number<uint8_t>();
    progress.state = static_cast<DurableState>(state);
    const Bytes ids = reader.all();
    progress.ids = ids.data();
    progress.id_count = static_cast<uint32_t>(ids.size() / 2);
    return whole(
        reader, progress, (state == 1 || state == 2) && !ids.empty() && ids.size() % 2 == 0);
}

template <>
Result<DurableDropped> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableDropped dropped;
    dropped.session = reader.number<uint32_t>();
    dropped.delivery = reader.number<uint32_t>();
    return whole(reader, dropped);
}

template <>
Result<DurableInbound> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableInbound inbound;
    inbound.session = reader.number<uint32_t>();
    inbound.packet_id = reader.number<uint16_t>();
    const bool valid = take_message(reader, inbound.message);
    return whole(reader, inbound, valid && inbound.packet_id != 0);
}

template <>
Result<DurableReleased> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableReleased released;
    released.session = reader.number<uint32_t>();
    released.packet_id = reader.number<uint16_t>();
    return whole(reader, released, released.packet_id != 0);
}

template <>
Result<DurableClock> decode_durable(Bytes body) {
    BodyReader reader(body);
    DurableClock clock;
    clock.wall_s = reader.number<uint64_t>();
    clock.boot_ms = reader.number<uint64_t>();
    return whole(reader, clock);
}

DeliveriesReader::DeliveriesReader(Bytes body) {
    BodyReader reader(body);
    message_ = reader.number<uint64_t>();
    damaged_ = reader.missing();
    rest_ = reader.rest();
}

bool DeliveriesReader::next(DurableDelivery& out) {
    if (rest_.empty()) return false;
    BodyReader reader(rest_);
    damaged_ = !take_delivery(reader, out);
    rest_ = damaged_ ? Bytes{} : reader.rest();
    return !damaged_;
}

PageReader::PageReader(Bytes body) : body_(body) {
    BodyReader reader(body);
    page_.name = reader.number<uint64_t>();
    page_.base = reader.number<uint64_t>();
    page_.session = reader.number<uint32_t>();
    damaged_ = reader.missing();
    rest_ = damaged_ ? Bytes{} : reader.rest();
}

bool PageReader::next(DurablePageEntry& out) {
    if (rest_.empty()) return false;
    damaged_ = true;
    const size_t at = body_.size() - rest_.size();
    const size_t size = rest_.size() >= 4 ? load_le<uint32_t>(rest_.data()) : 0;
    if (size < DurablePageEntry::kHeadBytes || size > rest_.size()) {
        rest_ = {};
        return false;
    }
    BodyReader reader(rest_.first(size));
    rest_ = rest_.subspan(size);
    (void)reader.number<uint32_t>();
    out.system = reader.number<uint8_t>() != 0;
    out.shared = reader.number<uint16_t>();
    const bool delivery = take_delivery(reader, out.delivery) && !out.delivery.sent;
    out.place = static_cast<uint32_t>(at + size - reader.rest().size());
    damaged_ = !delivery || reader.missing() || !take_message(reader, out.message) ||
               !reader.fine() || out.message.name != 0 || out.message.kept_since != 0;
    if (damaged_) rest_ = {};
    return !damaged_;
}

}  // namespace mqttd
