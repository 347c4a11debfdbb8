#pragma once

// What of the broker survives a power cut: each thing's form in the journal, into bytes and back.
//
// The journal (src/store) keeps bodies and gives each a position; what is in them is told here. Two
// numbers are names on disk: a session has one for its life, and each message that waits in its
// queue is the next of its deliveries, until it is sent: then its packet identifier names it.
//
// Whatever is said again (broker/round.h) says the same once more, so reading it twice, or without
// what had been said before it, comes to the same end. Times are seconds of the wall clock (the
// broker's own begins anew with the machine), 0 is "none".
//
//     session      number 4, expiry 4, away since 8, listener 2, level 1, identifier 2 + n,
//                  [will delay 4, message]
//     away         number 4, expiry 4, since 8           it has disconnected
//     ended        number 4
//     subscribed   number 4, identifier 4, options 1, filter n
//     unsubscribed number 4, filter n
//     message      name 8, expires 8, flags 1, priority 1, topic 2, properties 4, [kept since 8],
//                  n + n + payload n
//     deliveries   message 8, then for each: session 4, number 4, flags 1, ids 1, ids × 4
//     sent         session 4, delivery 4, packet identifier 2      from now on that is its name
//     progress     session 4, state 1, packet identifiers 2 each
//     dropped      session 4, delivery 4                           from its queue
//     inbound      session 4, packet identifier 2, message
//     released     session 4, packet identifier 2
//     retained     message                               that of its topic from now on
//     cleared      topic n
//     clock        wall 8 (s), boot 8 (ms)
//     gone         names of messages 8 each                        nothing speaks of them again
//     page         name 8, base 8, session 4, then for each: size 4, system 1, group 2, delivery
//                  (as in deliveries), message                     said here, and only here
//     page taken   the same: they are in memory again, each message under the name of its place
//
// Little-endian; on disk, do not renumber. Decoding gives views into the body and believes no
// length; whether a text is a topic is for whoever takes it in.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include "base/assert.h"
#include "base/little_endian.h"

#include <array>
#include <cstdint>
#include <span>

namespace mqttd {

enum class DurableType : uint8_t {
    kSession = 16,
    kAway = 17,
    kEnded = 18,
    kSubscribed = 19,
    kUnsubscribed = 20,
    kMessage = 21,
    kDeliveries = 22,
    kSent = 23,
    kProgress = 24,
    kInbound = 25,
    kReleased = 26,
    kRetained = 27,
    kCleared = 28,
    kClock = 29,
    kDropped = 30,
    kGone = 31,
    kPage = 32,
    kPageTaken = 33,
    // 64 … 95 are kept free for what a link is when it moves to another process, and for peers.
};

// A body put together from numbers, which it holds, and texts, which it borrows until it has been
// appended.
class DurableBody {
  public:
    static constexpr uint32_t kPartsMax = 8;
    static constexpr uint32_t kFixedMax = 96;

    DurableBody() = default;
    DurableBody(const DurableBody&) = delete;
    DurableBody& operator=(const DurableBody&) = delete;

    template <class T>
    void number(T value) {
        MQTTD_ASSERT(used_ + sizeof value <= kFixedMax);
        store_le<T>(fixed_ + used_, value);
        used_ += static_cast<uint32_t>(sizeof value);
    }

    void bytes(Bytes text) {
        end_numbers();
        MQTTD_ASSERT(count_ < kPartsMax);
        if (!text.empty()) parts_[count_++] = text;
    }

    // What was put in, in order; nothing may be added afterwards.
    std::span<const Bytes> parts() {
        end_numbers();
        return {parts_.data(), count_};
    }

    uint64_t size() const;

  private:
    void end_numbers() {
        if (used_ == ended_) return;
        MQTTD_ASSERT(count_ < kPartsMax);
        parts_[count_++] = Bytes(fixed_ + ended_, used_ - ended_);
        ended_ = used_;
    }

    std::array<Bytes, kPartsMax> parts_;
    uint8_t fixed_[kFixedMax];
    uint32_t count_ = 0;
    uint32_t used_ = 0;   // of fixed_
    uint32_t ended_ = 0;  // of that, what is in parts_
};

struct DurableMessage {
    static constexpr uint32_t kHeadBytes = 24;  // of its form, before the texts

    uint64_t name = 0;  // position of the record that held it first; 0: this one
    uint64_t expires_at = 0;
    uint64_t kept_since = 0;  // as retained message of its topic; 0: it is not said
    uint8_t qos = 0;
    bool retain = false;
    uint8_t priority = 0;
    Bytes topic;
    Bytes properties;  // 5.0: those that are passed on
    Bytes payload;
};

struct DurableSession {
    uint32_t number = 0;
    uint32_t expiry_s = 0;
    uint64_t away_since = 0;  // 0: connected
    uint16_t listener = 0;
    uint8_t level = 4;  // protocol level of its last CONNECT
    Bytes client_id;
    bool has_will = false;
    uint32_t will_delay_s = 0;
    DurableMessage will;  // expires_at: its Message Expiry Interval; 0: none
};

struct DurableAway {
    uint32_t number = 0;
    uint32_t expiry_s = 0;
    uint64_t since = 0;
};

struct DurableSubscription {
    uint32_t number = 0;      // of the session
    uint32_t identifier = 0;  // 0: none
    uint8_t options = 0;      // as in SUBSCRIBE
    Bytes filter;
};

struct DurableUnsubscription {
    uint32_t number = 0;
    Bytes filter;
};

// One of the sessions that a message is to reach.
struct DurableDelivery {
    static constexpr uint32_t kIdsMax = 255;

    uint32_t session = 0;
    uint32_t number = 0;  // of the delivery; its packet identifier if it was sent
    uint8_t qos = 0;
    bool sent = false;
    bool retain = false;
    bool limited = true;  // counts against the queue's limits
    uint8_t id_count = 0;
    const uint8_t* ids = nullptr;  // id_count numbers of four bytes

    uint32_t id(uint32_t i) const { return load_le<uint32_t>(ids + 4 * i); }
};

// PUBLISH left with this identifier.
struct DurableSent {
    uint32_t session = 0;
    uint32_t delivery = 0;
    uint16_t packet_id = 0;
};

enum class DurableState : uint8_t {
    kReleased = 1,  // PUBREC came: only PUBREL may follow
    kDone = 2,      // it is over
};

struct DurableProgress {
    uint32_t session = 0;
    DurableState state = DurableState::kDone;
    uint32_t id_count = 0;         // at least 1
    const uint8_t* ids = nullptr;  // packet identifiers of two bytes

    uint16_t id(uint32_t i) const { return load_le<uint16_t>(ids + 2 * i); }
};

struct DurableDropped {
    uint32_t session = 0;
    uint32_t delivery = 0;
};

struct DurableInbound {
    uint32_t session = 0;
    uint16_t packet_id = 0;
    DurableMessage message;
};

struct DurableReleased {
    uint32_t session = 0;
    uint16_t packet_id = 0;
};

struct DurableClock {
    uint64_t wall_s = 0;
    uint64_t boot_ms = 0;
};

// A part of a session's queue, in order (kPage, kPageTaken).
struct DurablePage {
    static constexpr uint32_t kHeadBytes = 20;

    uint64_t name = 0;  // position of the kPage that said it first; 0: this one
    uint64_t base = 0;  // of kPageTaken, what places are counted from; 0: its position
    uint32_t session = 0;
};

struct DurablePageEntry {
    static constexpr uint32_t kHeadBytes = 7;  // besides delivery and message

    bool system = false;       // one of our own
    uint16_t shared = 0;       // number of the shared group, in the life that said it; 0: none
    uint32_t place = 0;        // of the message in the body: its name is this much behind `base`
    DurableDelivery delivery;  // its session is the page's
    DurableMessage message;    // without a name
};

// A session's number alone (kEnded), a topic alone (kCleared), names (kGone) are their bodies.

void encode(DurableBody& out, const DurableMessage& message);
void encode(DurableBody& out, const DurableSession& session);
void encode(DurableBody& out, const DurableAway& away);
void encode(DurableBody& out, const DurableSubscription& subscription);
void encode(DurableBody& out, const DurableUnsubscription& unsubscription);
void encode(DurableBody& out, const DurableSent& sent);
void encode(DurableBody& out, const DurableProgress& progress);
void encode(DurableBody& out, const DurableDropped& dropped);
void encode(DurableBody& out, const DurableInbound& inbound);
void encode(DurableBody& out, const DurableReleased& released);
void encode(DurableBody& out, const DurableClock& clock);

// kDeliveries: the message's name, then the deliveries one behind the other as `put_delivery` wrote
// them into the caller's memory.
void encode_deliveries(DurableBody& out, uint64_t message, Bytes deliveries);
uint32_t delivery_size(const DurableDelivery& delivery);
uint8_t* put_delivery(uint8_t* out, const DurableDelivery& delivery);

// The page's head and that of an entry, for bodies that are put together piece by piece.
uint8_t* put_page_head(uint8_t* out, const DurablePage& page);
uint32_t page_entry_size(const DurablePageEntry& entry);
// All but the message's texts, which follow: topic, properties, payload.
uint8_t* put_page_entry(uint8_t* out, const DurablePageEntry& entry);

// Errors: kInvalid.
template <class T>
Result<T> decode_durable(Bytes body);

// Walks the deliveries of a kDeliveries body.
class DeliveriesReader {
  public:
    explicit DeliveriesReader(Bytes body);

    uint64_t message() const { return message_; }

    // The next one; false at the end, or where it does not go on: see damaged().
    bool next(DurableDelivery& out);

    bool damaged() const { return damaged_; }

  private:
    Bytes rest_;
    uint64_t message_ = 0;
    bool damaged_ = false;
};

// Walks the entries of a page.
class PageReader {
  public:
    explicit PageReader(Bytes body);

    const DurablePage& page() const { return page_; }

    // The next one; false at the end, or where it does not go on: see damaged().
    bool next(DurablePageEntry& out);

    bool damaged() const { return damaged_; }

  private:
    Bytes body_;
    Bytes rest_;
    DurablePage page_;
    bool damaged_ = false;
};

}  // namespace mqttd
