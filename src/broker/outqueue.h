#pragma once

// OutQueue: messages that wait for one session.
//
// They wait because the session is away, its link is blocked, or its window is full. A FIFO of
// twelve-byte entries in chunks that grow from 4 to 84, so that an empty queue costs nothing and a
// long one is never copied. Limits, and what a full queue drops, are judged by the caller before
// `push`; packet identifiers and bytes come into being only when a message leaves the queue.

#include "base/arena.h"
#include "base/ptr32.h"
#include "broker/message.h"
#include "broker/subscription_ids.h"

#include <cstdint>

namespace mqttd {

struct QueueEntry {
    Ptr32<Message> message;
    Ptr32<SubscriptionIds> ids;
    uint8_t qos = 0;
    bool retain = false;
    bool limited = true;
    uint8_t spare = 0;
};

// An entry outside the arena, where a Ptr32 cannot be.
struct Waiting {
    Message* message = nullptr;
    SubscriptionIds* ids = nullptr;
    uint8_t qos = 0;      // of the delivery
    bool retain = false;  // as the receiver sees it
    bool limited = true;  // counts against the queue's limits; retained replays do not
};

struct alignas(16) QueueChunk {
    Ptr32<QueueChunk> next;
    uint16_t begin = 0;
    uint16_t end = 0;
    uint16_t room = 0;

    QueueEntry* entries() { return reinterpret_cast<QueueEntry*>(this + 1); }
};

static_assert(sizeof(QueueChunk) == 16 && sizeof(QueueEntry) == 12);

class OutQueue {
  public:
    bool empty() const { return size_ == 0; }

    uint32_t size() const { return size_; }

    uint32_t qos0() const { return qos0_; }

    // What the limits are about: entries, and their payload in bytes.
    uint32_t limited() const { return limited_; }

    uint64_t limited_bytes() const { return limited_bytes_; }

    const QueueEntry& front() { return first_->entries()[first_->begin]; }

    // Takes over one hold on the message, and the identifiers.  False if the arena refused.
    bool push(Arena& arena, const Waiting& waiting);

    // The caller takes over the hold and the identifiers.
    Waiting pop(Arena& arena);

  private:
    Ptr32<QueueChunk> first_;
    Ptr32<QueueChunk> last_;
    uint32_t size_ = 0;
    uint32_t qos0_ = 0;
    uint32_t limited_ = 0;
    uint64_t limited_bytes_ = 0;
};

}  // namespace mqttd
