#pragma once

// Message: a published payload that outlives the turn it came in.
//
// What is queued, in flight, retained, awaiting PUBREL or a will is copied once into a counted
// Message; everyone who keeps it holds a four-byte reference.
//
//     | Segment | Message fields | topic | properties | payload |      up to kAdoptBytes
//
// A larger payload that arrived as its own assembly block is not copied: the message adopts that
// segment and only points into it (`body`). All holders together own one count of the segment, so a
// range of it in an outbox may outlive the last holder.
//
// The properties are those that are passed on as they came, in their order (5.0 only). The Message
// Expiry Interval is not among them: it is kept as a deadline and written anew each time.

#include "mqttd/packet.h"
#include "mqttd/stats.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/ptr32.h"
#include "base/segment.h"

#include <cstdint>
#include <cstring>

namespace mqttd {

class Recorder;

constexpr uint64_t kNeverExpires = (uint64_t{1} << 56) - 1;

struct alignas(16) Message : Segment {
    uint8_t qos : 2 = 0;
    bool retain : 1 = false;
    bool system : 1 = false;    // our own: in no message counter
    bool named : 1 = false;     // has room for its name in the journal
    bool recorded : 1 = false;  // is in the journal (recorder.h)
    bool round : 1 = false;     // when it was said there last
    bool doubted : 1 = false;   // or longer ago
    uint16_t topic_size = 0;
    // Second of the broker's clock.  A will: seconds to live.
    uint64_t expires_s : 56 = kNeverExpires;
    uint64_t priority : 8 = 0;  // in queues; 0: none of its own
    uint32_t holders = 1;
    Ptr32<Segment> body;        // null: the payload lies in this very segment
    uint32_t payload_size = 0;  // bytes
    uint32_t properties_size = 0;

    Bytes topic() const { return {text(), topic_size}; }

    Bytes properties() const { return {text() + topic_size, properties_size}; }

    Range payload() {
        Segment* where = body ? body.get() : this;
        uint32_t begin = kTextAt + topic_size + properties_size;
        if (body) std::memcpy(&begin, data() + begin, sizeof begin);
        return {where, begin, begin + payload_size};
    }

    bool expired(uint32_t now_s) const { return now_s >= expires_s; }

    // Its position in the journal, behind everything else.
    uint64_t name() const {
        uint64_t name;
        std::memcpy(&name, data() + used, sizeof name);
        return name;
    }

    void set_name(uint64_t name) {
        MQTTD_DCHECK(named);
        std::memcpy(data() + used, &name, sizeof name);
    }

    // The text begins behind the last field, in what the alignment leaves: topic, properties, and
    // the payload or its place in `body` (four bytes).
    static constexpr uint32_t kHead = 40;                         // bytes before it
    static constexpr uint32_t kTextAt = kHead - sizeof(Segment);  // in data()

    uint8_t* text() { return data() + kTextAt; }

    const uint8_t* text() const { return data() + kTextAt; }
};

static_assert(sizeof(Message) == 48);

// The parts a message is made of; they may lie anywhere.
struct MessageParts {
    Bytes topic;
    Bytes properties;
    Range payload;
    uint64_t expires_s = kNeverExpires;
    uint8_t qos = 0;
    bool retain = false;
    uint8_t priority = 0;
    bool system = false;
};

class MessagePool {
  public:
    static constexpr uint32_t kAdoptBytes = 32 * 1024;

    MessagePool(Arena& arena, Stats& stats) : arena_(arena), stats_(stats) {}

    // From now on messages can be recorded; `gone` is told of those that were.
    void record(Recorder& recorder) { recorder_ = &recorder; }

    // A message with one holder, or nullptr if the arena refused.
    Message* make(const MessageParts& parts);

    void hold(Message& message) {
        ++message.holders;
        ++stats_.message_holders;
    }

    void drop(Message& message) {
        MQTTD_ASSERT(message.holders > 0);
        --stats_.message_holders;
        if (--message.holders == 0) let_go(message);
    }

  private:
    void let_go(Message& message);
    void count(const Message& message, bool up);

    Arena& arena_;
    Stats& stats_;
    Recorder* recorder_ = nullptr;
};

}  // namespace mqttd
