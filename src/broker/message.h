#pragma once

// Message: a published payload that outlives the turn it came in.
//
// What is queued, in flight, retained, awaiting PUBREL or a will is copied once into a counted
// Message; everyone who keeps it holds a four-byte reference.
//
//     | Segment | Message fields | topic | properties | payload |      up to kAdoptBytes
//
// A larger one that arrived as its own assembly block is not copied at all: the message adopts that
// segment and only points into it (`body`). All holders together own one count of the segment, so a
// range of it in an outbox may outlive the last holder.

#include "mqttd/packet.h"
#include "mqttd/stats.h"

#include "base/arena.h"
#include "base/ptr32.h"
#include "base/segment.h"

#include <cstdint>

namespace mqttd {

struct alignas(16) Message : Segment {
    uint32_t holders = 1;
    Ptr32<Segment> body;           // null: topic and tail lie in this very segment
    uint32_t topic_begin = 0;      // positions in the segment's data
    uint32_t tail_begin = 0;       // properties (5.0), then payload
    uint32_t tail_size = 0;        // bytes
    uint32_t properties_size = 0;  // bytes of the tail that are properties
    uint16_t topic_size = 0;
    uint8_t qos = 0;
    bool retain = false;
    Version version = Version::k311;
    bool system = false;  // our own: in no message counter

    Segment* where() { return body ? body.get() : this; }

    Bytes topic() { return {where()->data() + topic_begin, topic_size}; }

    Range tail() { return {where(), tail_begin, tail_begin + tail_size}; }

    uint32_t payload_size() const { return tail_size - properties_size; }
};

static_assert(sizeof(Message) == 48);

// The parts a message is made of; `tail` may lie anywhere.
struct MessageParts {
    Bytes topic;
    Range tail;
    uint32_t properties_size = 0;
    uint8_t qos = 0;
    bool retain = false;
    Version version = Version::k311;
    bool system = false;
};

class MessagePool {
  public:
    static constexpr uint32_t kAdoptBytes = 32 * 1024;

    MessagePool(Arena& arena, Stats& stats) : arena_(arena), stats_(stats) {}

    // A message with one holder, or nullptr if the arena refused.  The topic must lie in the tail's
    // segment if that is adopted (it does: both were decoded from one packet).
    Message* make(const MessageParts& parts);

    void hold(Message& message) {
        ++message.holders;
        ++stats_.message_holders;
    }

    void drop(Message& message);

  private:
    void count(const Message& message, bool up);

    Arena& arena_;
    Stats& stats_;
};

}  // namespace mqttd
