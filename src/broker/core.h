#pragma once

// Core: the state of the broker and its steps, one file per packet or step.
//
//     dispatch.cc          input ─▶ frames ─▶ handlers; budgets; where a link may stop
//     handle_*.cc          one per packet
//     topic_of.cc          topic aliases, mount points, which properties are passed on
//     publish.cc           a publication (publication.h): checks, retained, who gets it
//     fanout.cc, fanout_job.cc, share.cc   to all receivers, at once or in slices; to groups
//     deliver.cc, append.cc   to one; into its outbox
//     send_copy.cc   the same packet to many at QoS 1 or 2
//     queue.cc             what waits for a session
//     pump.cc, replay.cc, jobs.cc   work in slices
//     timers.cc, sessions.cc, sys_topics.cc
//     journal.cc, held.cc, round.cc   what is durable: told, waited for, told again (and paging.h)
//
// Ownership: links belong to their connection, sessions to the core, messages to their holders.
// Everything lives in the arena. Every function that allocates says what happens when it is
// refused.

#include "mqttd/broker.h"
#include "mqttd/codec.h"

#include "base/arena.h"
#include "base/hash_index.h"
#include "base/intrusive_list.h"
#include "base/log.h"
#include "base/outbox.h"
#include "base/siphash.h"
#include "base/timer_wheel.h"
#include "broker/held.h"
#include "broker/link.h"
#include "broker/message.h"
#include "broker/publication.h"
#include "broker/session.h"
#include "topics/retained_store.h"
#include "topics/subscription_index.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace mqttd {

class Journal;
class Paging;
class Recorder;
class Restore;
class SysTopics;
struct Round;

class Core {
  public:
    Core(Arena& arena,
         Transport& transport,
         Host& host,
         Dirty& dirty,
         const Log& log,
         const BrokerOptions& options,
         Instant now,
         Journal* journal);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    // broker.cc: what Broker forwards.
    void begin_turn(Instant now, int64_t wall_s, uint32_t ready_links);
    void share_units(uint32_t links);
    void tick();
    bool idle() const;
    Instant next_deadline() const;
    void publish_sys();
    // From anywhere, in mid-fan-out too (sys_alarms.h).
    bool raise_alarm(std::string_view id, std::string_view json);
    bool clear_alarm(std::string_view id);
    bool shut_down();
    bool send_all_wills();
    void begin_restore();
    void end_restore(bool complete);
    void reconfigure(const BrokerOptions& options);
    void dump(const Log& log) const;
    Link* opened(Outbox& outbox, const Arrival& arrival);
    Consumed receive(Link& link, const Range& input);
    void heard(Link& link);
    void writable(Link& link);
    void closed(Link& link, Error why);

    bool budget_left() const { return units_ > 0; }

    const Stats& stats() const { return stats_; }

  private:
    friend class SysTopics;
    friend class Paging;
    friend class Restore;
    using LinkList = IntrusiveList<Link, &Link::list_hook>;

    // How a handler leaves its packet.
    enum class Taken : uint8_t {
        kYes,    // done
        kStop,   // done, but the link stops behind it (link.stop says why)
        kAgain,  // not done: the link stops before it and the packet comes again
    };

    // --- dispatch.cc
    struct Input {
        Range range;  // of one whole packet
        Frame frame;

        Bytes body() const { return bytes_of(range).subspan(frame.header); }
    };

    Taken dispatch(Link& link, const Input& input);
    bool refuse_unfinished(Link& link, const Frame& frame, Bytes so_far);
    void fail(Link& link, Error why);
    void end_link(Link& link, Error why, bool send_will);
    void log_leaving(const Link& link, Error why) const;
    Taken stop_before(Link& link, StopReason reason);
    Taken stop_behind(Link& link, StopReason reason);
    Taken wait_for_memory(Link& link);
    bool waits_for_journal(Link& link, const Frame& frame);
    Taken wait_for_disk(Link& link);
    void wait_in_list(Link& link, LinkList& list);
    LinkList& waiters_for(StopReason reason);
    void resume(Link& link);
    void leave_list(Link& link);

    // --- handle_connect.cc
    Taken handle_connect(Link& link, const Input& input);
    Error admit(const ConnectView& connect, const ListenerOptions& listener) const;
    Error admit_will(const WillView& will, const ListenerOptions& listener) const;
    Error let_in(Link& link, const ConnectView& connect, const Input& input);
    Session* claim_session(Bytes client_id, bool clean_start);
    bool begin_session(Link& link, Session& session, const ConnectView& connect);
    uint32_t capped_expiry(uint32_t wanted) const;
    void refuse_connect(Link& link, Error why, uint32_t largest);

    // --- connack.cc
    bool welcome(Link& link, const ConnectView& connect, Bytes assigned_id, bool present);
    Bytes connack_numbers(uint8_t* room, const Link& link, const ConnectView& connect) const;
    bool connack_fits(const Link& link, const ConnectView& connect, Bytes assigned_id) const;
    bool send_connack(Link& link, bool present, uint8_t code, Bytes properties);
    void log_refusal(const Link& link, Error why);
    void log_welcome(const Link& link, Bytes client_id, const ConnectView& connect) const;
    bool take_will(const Link& link,
                   const ConnectView& connect,
                   const Input& input,
                   Message*& will);
    bool take_extras(Link& link, const ConnectView& connect);
    uint32_t session_expiry_of(const ConnectView& connect) const;
    Bytes assign_client_id(uint8_t* room, std::string_view prefix);

    // --- handle_publish.cc
    Taken handle_publish(Link& link, const Input& input);
    Error check_publish(const Link& link, const PublishView& publish) const;
    Error check_topic(Bytes topic, std::string_view mount = {}) const;
    static bool reserved_topic(Bytes topic);
    Taken publish_one(Link& link, Segment* segment, const PublishView& publish);
    Taken take_publish(Link& link, const PublishView& publish, Publication& publication);
    uint8_t refusal_of(const Link& link,
                       const PublishView& publish,
                       const Publication& publication);
    uint64_t expiry_in(PropertySet set, Bytes properties) const;
    uint8_t answer_of(const Publication& publication) const;
    Taken accept_qos2(Link& link,
                      const PublishView& publish,
                      const Publication& publication,
                      uint8_t refusal);
    Taken pass_on(Link& link, Publication& publication);
    Taken refuse_for_disk(Link& link, const Publication& publication);
    Taken pause(Link& link);

    // --- handle_run.cc
    uint32_t handle_run(Link& link, const Range& input, const Frame& first, Taken& taken);
    void extend_run(const Link& link, const Range& input, const Frame& first, Publication& run);
    void count_run(uint32_t packets);
    void count_received(const Publication& run);

    // --- topic_of.cc: which topic, which properties
    struct Text {  // bytes, and what keeps them if they had to be put together
        Bytes bytes;
        Segment* held = nullptr;
        bool refused = false;  // by the arena
    };

    Result<Bytes> resolve_alias(Link& link, const PublishView& publish);
    Text mounted(const Link& link, Bytes name);
    bool hidden(const Session& session, Bytes filter, Bytes topic) const;
    Text passed_on(PropertySet set, Bytes properties);
    void let_go(const Text& text);
    LinkExtras* ensure_extras(Link& link);

    // --- handle_ack.cc
    Taken handle_ack(Link& link, const Input& input);
    uint32_t handle_pubacks(Link& link, Bytes input);
    void handle_puback(Link& link, uint16_t packet_id);
    void handle_pubrec(Link& link, uint16_t packet_id, uint8_t reason);
    Taken handle_pubrel(Link& link, uint16_t packet_id);
    void handle_pubcomp(Link& link, uint16_t packet_id);
    void let_message_go(Session& session, InflightSlot& slot);
    void finish_slot(Session& session, uint32_t i);

    // --- handle_subscribe.cc
    Taken handle_subscribe(Link& link, const Input& input);
    uint8_t subscribe_one(Link& link, const FilterView& filter, uint32_t identifier);
    uint8_t judge_filter(const Link& link, Bytes text, uint32_t identifier) const;
    uint8_t subscribe_to(Link& link, Bytes text, const FilterView& filter, uint32_t identifier);
    uint8_t unsubscribe_one(Link& link, const FilterView& filter);
    Taken finish_request(Link& link, const SubscribeView& request, PacketType type);
    bool hold_suback(Link& link, const SubscribeView& request, PacketType type);
    void remove_subscription(Session& session, Subscription& subscription);
    void drop_partial(Link& link);

    // --- handle_disconnect.cc
    Taken handle_disconnect(Link& link, const Input& input);
    Taken handle_pingreq(Link& link, const Input& input);

    // --- answers.cc: small packets to one link
    bool answer(Link& link, PacketType type, uint16_t packet_id, uint8_t reason = 0);
    void tell_why(Link& link, Error why);
    bool answer_bytes(Link& link, Bytes packet, PacketType type);
    bool answer_now(Link& link, Bytes packet, PacketType type);
    void flush(Outbox& outbox);

    // --- held.cc
    uint64_t owed(const Link& link);
    bool hold(Link& link, uint64_t position, const Answer& answer);
    enum class Holding : uint8_t { kNotNeeded, kHeld, kRefused };
    Holding try_to_hold(Link& link, uint64_t position, const Answer& answer);
    bool hold_packet(Link& link, uint64_t position, PacketType type, Bytes packet);
    Held* ensure_held(Link& link);
    bool let_in_early(const Link& link) const;
    void release_held();
    void release_answers(Link& link, Held& held);
    // kRelease: it cannot be sent, and its identifier has to be released.
    enum class HeldSent : uint8_t { kDone, kNotNow, kRelease };
    HeldSent send_held(Link& link, uint16_t packet_id);
    void settle_held(Link& link, uint64_t what, uint64_t position);
    void settle_whole();
    void drop_held(Link& link);
    void cork(Link& link);
    void uncork(Link& link);

    // --- journal.cc
    void tend_journal();
    bool round_is_due() const;
    bool journal_at_rest() const;
    bool disk_fails() const;
    void end_overdue();
    bool fanout_may_go_on() const;
    void stop_recording();

    // --- round.cc
    void run_round();
    bool slice_goes_on() const;
    void begin_round();
    void end_round();
    bool say_sessions();
    bool say_retained();
    bool say_flows();
    bool say_all_of(Session& session);
    bool say_subscriptions(Session& session);
    bool say_queue(Session& session);
    void say_window(Session& session);
    void say_inbound(Session& session);

    // --- publish.cc
    bool publish(Publication& publication, Link* publisher);
    bool is_durable(const Publication& publication, std::span<FilterNode*> filters);
    bool all_blocked(std::span<FilterNode*> filters);
    uint8_t priority_of(Bytes topic) const;
    void spend_match();
    void retain(Publication& publication, const RetainedStore::Sought& sought);
    void forget_retained(RetainedNode& node);
    void leave_store(Message& message);
    uint64_t retained_by_clients() const;
    bool ensure_message(Publication& publication);
    Publication publication_of(Message& message, Session* from);
    void publish_message(Message& message, Session* from);
    void begin_publication(Publication& publication) const;
    void end_publication(Publication& publication);

    // A publication ends with this scope, however that is left.
    struct Ending {
        Core& core;
        Publication& publication;

        ~Ending() { core.end_publication(publication); }
    };

    // --- fanout.cc
    void fan_out(Publication& publication,
                 Link* publisher,
                 std::span<FilterNode*> filters,
                 MatchCursor* rest);
    bool start_fanout_job(Publication& publication,
                          Link* publisher,
                          std::span<FilterNode*> filters,
                          MatchCursor* rest,
                          bool merge);
    bool is_publishing(const Session& session);
    void run_fanout_job(FanoutJob& job);
    uint32_t match_more(FanoutJob& job, int64_t steps);
    bool was_there(const SubscriberSlot& slot, FilterNode& filter, const FanoutJob& job) const;
    void end_fanout_job(FanoutJob& job);
    void hand_to_set(Publication& publication, FilterNode& filter);
    void hand_to_slot(Publication& publication, FilterNode& filter, const SubscriberSlot& slot);
    void hand_one(Publication& publication, FilterNode& filter, const SubscriberSlot& slot);
    bool append_wire(Publication& publication, Session& session, uint8_t options);
    void hand_with(Publication& publication,
                   Session& session,
                   uint8_t options,
                   uint32_t identifier,
                   uint16_t shared);
    void hand_merged(Publication& publication, std::span<FilterNode*> filters);
    void hand_first_of(Publication& publication, const SubscriberSlot& slot, FanoutJob& job);
    void deliver_merged(Publication& publication,
                        Session& session,
                        uint8_t options,
                        std::span<FilterNode* const> filters,
                        uint64_t joins);
    uint8_t granted_qos(const Publication& publication, uint8_t options) const;
    static bool shown_retain(const Publication& publication, uint8_t options);
    static bool is_local(const Publication& publication, const Session& session, uint8_t options);
    bool not_local(const Publication& publication, const Session& session, uint8_t options);
    Bytes add_id(Bytes ids, uint32_t identifier);
    static uint8_t merge(uint8_t a, uint8_t b);
    Publication publication_of(FanoutJob& job);

    // --- share.cc: to one member of each group
    static uint32_t count_groups(const FilterNode& filter, uint32_t most);
    bool hand_to_groups(Publication& publication, FilterNode& filter, GroupCursor& cursor);
    void hand_to_group(Publication& publication, SharedGroup& group);
    Judgement judge_member(const Session& session, uint8_t qos, bool queue_qos0) const;
    static bool group_blocked(SharedGroup& group, uint32_t& looks);
    bool redistribute(Message& message, uint16_t number);

    // --- deliver.cc
    void deliver(Session& session, Publication& publication, const Delivery& delivery);
    void deliver_qos0(Session& session, Publication& publication, const Delivery& delivery);
    void append_apart(Link& link, Publication& publication, const Delivery& delivery);
    void deliver_later(Session& session, Publication& publication, const Delivery& delivery);
    void deliver_counted(Session& session, Publication& publication, const Delivery& delivery);
    bool window_open(Session& session, uint32_t bytes);
    bool window_has_room(const Session& session, uint32_t bytes) const;
    bool send_qos0(Session& session, Message& message, const Delivery& delivery);
    bool send_inflight(Session& session,
                       Message& message,
                       const Delivery& delivery,
                       Arena::Use use = Arena::Use::kNormal);

    void record_sent(Session& session,
                     Message& message,
                     const Delivery& delivery,
                     uint16_t packet_id);
    void hold_publish(Link& link, uint16_t packet_id);

    // --- send_copy.cc: one packet for many at QoS 1 or 2
    bool send_copy(Publication& publication, Session& session, uint8_t options);
    bool encode_counted(Publication& publication, bool v5);

    // --- append.cc: PUBLISH packets into outboxes
    enum class Appended : uint8_t { kYes, kNoMemory, kTooLarge };
    Appended append_publish(Link& link,
                            const MessageParts& parts,
                            const Delivery& delivery,
                            bool dup,
                            uint16_t packet_id,
                            Arena::Use use = Arena::Use::kNormal);
    Appended append_shared(Link& link, Publication& publication, bool retain);
    Appended encode_qos0(Publication& publication, bool v5, bool retain);
    template <class Visit>
    void for_each_packet(const Publication& publication, Visit&& visit);
    uint32_t remaining_s(uint64_t expires_s) const;
    static MessageParts parts_of(Message& message);
    static MessageParts parts_of(const Publication& publication);
    enum class Queued : uint8_t { kYes, kFull, kNoMemory };
    Queued enqueue(Session& session, Message& message, const Delivery& delivery);
    void note_queued(Session& session, Publication& publication, Queued queued);
    bool make_room(Session& session, const Message& message);
    uint32_t next_delivery(Outflow& outflow);
    void drop_queued(Session& session, const Waiting& waiting, Drop reason);
    void watch_queue(Session& session);
    bool tell_queue_alarm(Session& session, bool high);
    bool end_queue_alarm(Session& session);
    void forget(Session& session, const Waiting& waiting);
    uint32_t window_of(const Session& session) const;
    void drop(Session* session, Drop reason, uint64_t count);
    void delivered(Link& link, bool reply);
    Outflow* ensure_outflow(Session& session);
    void became_slow(Session& session);
    void doom(Link& link);
    void break_off(Link& link, Error why);
    void count_sent(const Publication& publication);
    void count_sent(uint8_t qos, uint64_t payload_bytes);

    // --- pump.cc: from the queue to the link
    void pump(Session& session);
    bool resend_some(Session& session, uint32_t& slice);
    void pump_later(Session& session);
    void starve(Session& session);

    // --- replay.cc: retained messages to a new subscription
    bool start_replay(Session& session, Subscription& subscription);
    void run_replay(Replay& replay);
    void run_more_replays(Session& session, Replay& replay);
    void end_replay(Replay& replay);
    void replay_missed(Session& session, Publication& publication, const Delivery& delivery);
    void send_retained(Session& session, Message& message, const Delivery& delivery);
    bool replay_may_go_on(Session& session) const;

    // --- sessions.cc
    Session* find_session(Bytes client_id) const;
    Session* make_session(Bytes client_id, uint32_t expiry_s);
    void set_expiry(Session& session, uint32_t expiry_s);
    uint64_t expiry_of(const Session& session) const;
    uint32_t away_s(const Session& session) const;
    void attach(Link& link, Session& session);
    void detach(Link& link, bool send_will, bool broke);
    void drop_extras(Link& link);
    void record_away(Session& session, bool had_will);
    void publish_will(Session& session);
    void end_session(Session& session);
    bool tear_down(Session& session);
    bool bury(Session& session);
    void end_delivery(Message& message, uint16_t shared);
    void update_direct(Session& session);

    // --- timers.cc
    void arm_connect_timer(Link& link);
    void arm_keep_alive(Link& link);
    void link_timer(Link& link);
    bool outlives(Session& session);
    void session_timer(Session& session);
    void arm_session(Session& session);
    void rearm_sessions();
    void arm_session_by(Session& session, Instant deadline);
    void arm_flow(Session& session, const InflightSlot& slot);
    void retry_unacknowledged(Session& session);
    void drop_unreleased(Session& session);
    void drop_uncompleted(Session& session);

    // --- sys_topics.cc
    void run_sys();
    void reconfigure_sys();  // options_.sys_interval_s is new

    // --- jobs.cc
    void run_jobs();
    void resume_memory_waiters();
    void resume_paused(uint32_t most);
    void end_slow_consumers();
    void bury_more();
    void sweep_retained();
    bool retained_too_old(const RetainedNode& node) const;
    bool remove_retained(RetainedNode& node);
    void shed();

    Segment* scratch(uint32_t bytes);

    const ListenerOptions& listener_of(const Link& link) const {
        return listener_options(link.listener);
    }

    const ListenerOptions& listener_options(uint16_t listener) const {
        return listener < options_.listeners.size() ? options_.listeners[listener]
                                                    : options_.listener;
    }

    void spend(uint32_t units) { units_ -= static_cast<int64_t>(units); }

    uint32_t now_s() const { return static_cast<uint32_t>(now_ / 1000); }

    // The second that is under way has not passed: where something begins to run out.
    uint32_t now_s_up() const { return static_cast<uint32_t>((now_ + kSecond - 1) / kSecond); }

    uint32_t now_ms() const { return static_cast<uint32_t>(now_); }

    Arena& arena_;
    Transport& transport_;
    Host& host_;
    Dirty& dirty_;
    const Log& log_;
    BrokerOptions options_;
    HashKey key_;
    Stats stats_;
    MessagePool messages_;
    SubscriptionIndex subscriptions_;
    RetainedStore retained_;
    TimerWheel* timers_;  // in the arena, like what it links
    HashIndex<Session, &Session::hash> sessions_;
    SysTopics* sys_ = nullptr;
    Recorder* recorder_ = nullptr;  // null: nothing outlives the process
    Round* round_ = nullptr;
    Paging* paging_ = nullptr;

    Instant now_;
    Instant started_;
    int64_t wall_s_ = 0;
    uint32_t visit_units_ = 0;  // of one link's visit, this turn
    int64_t units_ = 0;         // left of this turn's budget; may end a little below zero
    uint32_t fanout_mark_ = 0;
    uint32_t next_session_number_ = 0;
    uint64_t next_retained_sequence_ = 1;
    uint64_t retained_bytes_ = 0;  // payloads in the retained store
    uint64_t assigned_ids_ = 0;
    Instant refusals_since_ = 0;    // the second in which refusals are counted
    uint32_t refusals_logged_ = 0;  // lines in it
    uint32_t refusals_silent_ = 0;  // refusals in it without a line
    Segment* scratch_ = nullptr;
    FilterNode** matched_ = nullptr;  // kMatchedFilters places
    uint8_t ids_[limits::kIdsBytes];  // Subscription Identifiers of the delivery under way
    bool shutting_down_ = false;
    uint64_t closing_links_ = 0;  // links in state kClosing
    uint64_t wills_bucket_ = 0;   // of sessions_, in the first pass of shutting down
    bool wills_sent_ = false;     // that pass is done
    uint64_t rearm_bucket_ = 0;   // of sessions_, while their timers are armed anew
    bool rearming_ = false;
    uint32_t job_turn_ = 0;
    Instant next_sweep_ = 0;
    Instant next_memory_try_ = 0;
    RetainedCursor sweep_;
    bool sweeping_ = false;
    bool retained_expire_ = false;  // some retained message had a Message Expiry Interval

    static constexpr uint64_t kNothingSaid = ~uint64_t{0};
    uint64_t discarded_at_ = 0;            // where it was said last that one has ended
    uint64_t said_before_ = kNothingSaid;  // Recorder::said() before the packet under way
    uint64_t journal_seen_ = 0;            // durable when those who wait for room were woken last
    uint64_t released_ = 0;                // answers that waited for this leave, or have left
    uint32_t release_left_ = 0;            // links at whose answers was not looked since
    static constexpr uint32_t kTouchedMost = 16;
    Held* touched_[kTouchedMost] = {};  // hold something that waits for the whole under way
    uint32_t touched_count_ = 0;        // more than kTouchedMost: not all are there
    bool held_stuck_ = false;           // but for some that could not be sent
    bool restoring_ = false;            // nobody is let in yet
    bool incomplete_ = false;           // memory had no room for all of the journal: it stays
    bool failed_ = false;               // the disk did, when it was looked at last
    Instant next_overdue_ = kNever;     // when those who wait for it are looked at
    Instant next_clock_ = 0;

    LinkList links_;
    LinkList memory_waiters_;
    LinkList journal_waiters_;
    LinkList parked_;  // until the journal has been read
    LinkList paused_;  // until somebody reads what they publish
    IntrusiveList<Held, &Held::hook> held_;
    IntrusiveList<Link, &Link::slow_hook> slow_;  // in the order in which they became so
    IntrusiveList<Session, &Session::job_hook> pumping_;
    IntrusiveList<Session, &Session::job_hook> starved_;  // pumped again when memory is tried again
    IntrusiveList<Session, &Session::job_hook> teardown_;
    IntrusiveList<Session, &Session::job_hook> unburied_;  // taken apart but for their alarm
    IntrusiveList<FanoutJob, &FanoutJob::hook> fanouts_;
    IntrusiveList<Replay, &Replay::hook> replays_;  // those that may go on
};

}  // namespace mqttd
