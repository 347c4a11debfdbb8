#pragma once

// Recorder: says in the journal what becomes of the durable things of the core.
//
// The core changes its memory first and says so here, in the same step; answers that depend on it
// are held until it is safe (held.h). Room is asked for before a packet is taken in (`admits`), a
// quarter of the journal's is kept for what nobody can put off. Should even that be used up, what
// cannot be said is *missed*: no answer leaves until everything that is there has been said again
// (round.h), which mends whatever was missed.
//
// Deliveries of one message, and acknowledgements of one session, gather and go as one body. What
// is gathered goes before anything else is said, so the order is that of the calls.

#include "mqttd/journal.h"

#include "broker/durable_records.h"
#include "broker/message.h"
#include "broker/session.h"

#include <cstdint>

namespace mqttd {

class Recorder {
  public:
    // Positions that are not known yet: the end of a round, of a fan-out, of the whole under way.
    static constexpr uint64_t kAfterRound = ~uint64_t{0};
    static constexpr uint64_t kAfterFanout = kAfterRound - 1;
    static constexpr uint64_t kAfterWhole = kAfterRound - 2;

    explicit Recorder(Journal& journal) : journal_(journal) {}

    void set_time(uint32_t now_s, int64_t wall_s) {
        now_s_ = now_s;
        wall_s_ = wall_s;
    }

    // Whether a packet of so many bytes may be taken in; and whether so much can be said at all.
    bool admits(uint64_t bytes) const {
        return journal_.room() >=
               journal_.capacity() / 4 + Journal::cost(2 * bytes) + kGatheredMost;
    }

    bool has_room(uint64_t bytes) const {
        return journal_.room() >= Journal::cost(bytes) + kGatheredMost;
    }

    // --- what is said ---

    void session(const Session& session);
    void away(const Session& session);
    void ended(uint32_t session);
    void subscribed(uint32_t session, const Subscription& subscription);
    void unsubscribed(uint32_t session, Bytes filter);

    // What a message that was said is called; says it first if need be.
    uint64_t name_of(Message& message);
    // … of its topic, since that second of our clock.
    void retained(Message& message, uint32_t since_s);
    void cleared(Bytes topic);

    // Whether what was cleared last may come back with a power cut.
    bool clears() const { return missed_ || cleared_ > journal_.durable(); }

    // The message will not be spoken of again.
    void gone(uint64_t name);

    // In the session's queue as number `number`, or under way as packet `number` (sent).
    struct Flow {
        uint32_t number = 0;
        bool sent = false;
        uint8_t qos = 0;
        bool retain = false;
        bool limited = true;
    };

    void delivery(uint32_t session, Message& message, const Flow& flow, Bytes ids);
    void sent(uint32_t session, uint32_t delivery, uint16_t packet_id);
    void progress(uint32_t session, uint16_t packet_id, DurableState state);
    void dropped(uint32_t session, uint32_t delivery);
    // `message` null: completed for form's sake.
    void inbound(uint32_t session, uint16_t packet_id, Message* message);
    void released(uint32_t session, uint16_t packet_id);
    void clock(uint64_t boot_ms);
    // A body of kPage or kPageTaken, for which there is room; returns its position.
    uint64_t page(DurableType type, std::span<const Bytes> parts);
    // The message came back with a page that was taken at `position`; its place is its name so far.
    void taken(Message& message, uint64_t position);

    // The form of things and back; `ids` has room for DurableDelivery::kIdsMax numbers.
    DurableMessage durable(Message& message) const;
    static DurableDelivery durable(const QueueEntry& entry, uint8_t* ids);

    // Without its payload.
    MessageParts parts_of(const DurableMessage& message) const {
        return parts_of(message, wall_ahead());
    }

    // … which was said when the wall clock was so far ahead of ours; it may have been set since.
    static MessageParts parts_of(const DurableMessage& message, int64_t wall_ahead);
    // Of a delivery that has some; nullptr if the arena refused.
    static SubscriptionIds* ids_of(Arena& arena, const DurableDelivery& delivery);

    // What is said between the two counts as a whole or not at all; ends with `released`, or with
    // nothing if there is nothing to end with.
    void begin_whole() { whole_ = true; }

    void end_whole();

    bool in_whole() const { return whole_; }

    // --- how far it is ---

    // Grows with everything that is said.
    uint64_t said() const { return said_; }

    // Lets go of what was gathered.  Returns the position that has to be durable for all that was
    // said so far.
    uint64_t flush();

    bool durable(uint64_t position) const {
        return position < kAfterWhole && position <= journal_.durable();
    }

    bool holds_answers() const { return journal_.holds_answers(); }

    // Whether anything is said: not while the journal is being read, or at the very end.
    void mute(bool muted) { muted_ = muted; }

    Journal& journal() { return journal_; }

    const Journal& journal() const { return journal_; }

    // --- rounds ---

    // Messages said before this have to be said again.
    void begin_round() { round_ = !round_; }

    bool round() const { return round_; }

    // It may have been said so long ago that its file has gone.
    static void doubt(Message& message) { message.doubted = true; }

    bool said_in_round(const Message& message) const {
        return message.recorded && !message.doubted && message.round == round_;
    }

    // How often something could not be said; and that everything was said again since that count.
    uint64_t missed_count() const { return missed_count_; }

    void mended(uint64_t count) { missed_ = missed_ && missed_count_ != count; }

    bool missed() const { return missed_; }

    uint64_t wall_of(uint64_t second) const {
        return static_cast<uint64_t>(wall_s_ + static_cast<int64_t>(second) -
                                     static_cast<int64_t>(now_s_));
    }

    // Of the clock that expiry goes by, in seconds.
    int64_t wall_ahead() const { return wall_s_ - static_cast<int64_t>(now_s_); }

    uint32_t now_s() const { return now_s_; }

    int64_t wall_s() const { return wall_s_; }

  private:
    static constexpr uint32_t kRoom = 8 * 1024;
    static constexpr uint32_t kGatheredMost = 2 * kRoom + 2048;

    enum class Gathered : uint8_t { kNothing, kDeliveries, kProgress };

    uint64_t append(DurableType type, DurableBody& body, bool last_of_whole = false);
    void flush_gathered();
    void flush_gone();
    uint64_t said_again(Message& message, uint64_t position);

    Journal& journal_;
    uint32_t now_s_ = 0;
    int64_t wall_s_ = 0;
    uint64_t said_ = 0;
    uint64_t cleared_ = 0;  // the end of what said so last
    bool whole_ = false;    // what is said now counts together
    bool open_ = false;     // and something was
    bool muted_ = false;
    bool missed_ = false;
    uint64_t missed_count_ = 0;
    bool round_ = false;

    Gathered kind_ = Gathered::kNothing;
    uint64_t message_ = 0;  // of the deliveries
    uint32_t session_ = 0;  // of the progress
    DurableState state_ = DurableState::kDone;
    uint32_t used_ = 0;
    uint32_t gone_used_ = 0;
    uint8_t gathered_[kRoom];
    uint8_t gone_[1024];
};

}  // namespace mqttd
