#pragma once

// Model: a broker of vectors, obvious and slow, that says what each client may and must receive.
//
// It is told what the broker has taken (the same Ops the clients wrote, in the order in which the
// broker consumed them) and which connections ended, and keeps for every session a list of what it
// is to get: an Expect per copy. What a client then reads is held against that list:
//
//     must      it has to come, as long as nothing below turns it into *may*
//     may       it can come or be lost: QoS 0 of a connection that broke, a retained value that
//               changed while it was being replayed, somebody who came or went in mid-fan-out
//
// What is still missing in the end has to be in one of the broker's drop counters.
//
// Where the broker is free to choose its moment the model widens what it accepts and nothing else:
// a publication is *open* while a fan-out job hands it out, or while the second passes in which a
// timer may fire; who subscribes, leaves or comes back meanwhile may get it or not. Of the members
// of a shared group exactly one must get a message; which, is not asked.

#include "mqttd/time.h"

#include "sim/packet.h"
#include "sim/vocabulary.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace mqttd::sim {

constexpr uint32_t kNobody = ~uint32_t{0};

// How late a timer of the broker may be: it counts whole seconds, and a turn is only so long.
constexpr Duration kLate = 3 * kSecond;

inline bool surely_expired(Instant expires, Instant now) {
    return expires != kNever && now >= expires + kLate;
}

// What the model has to know of the broker's configuration.
struct Rules {
    bool allow_duplicates = true;
    bool upgrade_qos = false;
    bool queue_qos0 = false;
    bool wary = false;    // limits or refusals are at work: what must come may be dropped by name
    bool scarce = false;  // memory may be refused
    bool sys = false;     // the broker publishes, too: drops are not all of ours
    uint32_t window = 20;
    bool cuts = false;           // lives of the broker end: what was not acknowledged may be lost
    bool slices = false;         // … and QoS 2 that is being handed out begins anew
    bool early_welcome = false;  // … and on a failing disk a CONNACK says nothing about that
    uint64_t expiry_cap_s = 0;
    uint32_t rel_timeout_s = 0;
};

struct Expect {
    uint32_t message = 0;
    uint32_t filter = 0;  // of a replay
    uint64_t order = 0;   // position among all that was applied
    Instant expires = kNever;
    uint8_t qos = 0;
    bool must = true;
    bool replay = false;
    bool changed = false;  // … of a subscription that was made anew meanwhile
    bool retain = false;
    bool open = false;
    bool acked = false;     // the broker took its PUBACK, PUBREC or PUBCOMP
    bool again = false;     // read in an earlier life, which may have been forgotten
    bool promised = false;  // would have to come, had its publication been acknowledged
    uint64_t acked_turn = 0;
    uint16_t got = 0;
    uint8_t id_count = 0;
    uint32_t ids[8] = {};
};

// An inbound QoS 2 message that waits for its PUBREL.
struct Awaiting {
    uint32_t message = 0;
    Instant since = 0;
    Instant expires = kNever;
    bool unsure = false;  // it may have been lost with a life
};

// A subscription that was made, changed or removed, and nobody was told so far.
struct Unanswered {
    uint32_t filter = 0;
    uint64_t serial = 0;  // of the connection
    bool existed = false;
    FilterPlan before;
};

struct Session {
    uint32_t client = 0;
    uint8_t level = 4;
    const void* owner = nullptr;  // the connection it is attached to
    bool connected = false;
    bool may_be_over = false;  // its time has come; it may have ended
    bool over = false;         // ended: kept for what its connection still holds
    bool resumed_ever = false;
    bool narrow = false;  // its client has a maximum packet size
    bool told = false;    // its client knows of it
    bool unsure = false;  // it may have been lost with a life, or ended since
    bool expiry_unsure = false;
    uint64_t serial = 0;  // of its connection
    uint32_t packet_maximum = 0;
    uint32_t expiry_s = 0;  // kNever32: for ever
    Instant away_since = 0;
    uint64_t left_turn = 0;
    bool has_will = false;
    WillPlan will;
    std::vector<FilterPlan> subscriptions;
    std::vector<uint32_t> groups;  // it was ever a member of
    // … with these identifiers and at this QoS
    std::map<uint32_t, std::vector<std::pair<uint32_t, uint8_t>>> memberships;
    std::vector<Expect> expects;
    size_t first_open = 0;                                       // none before it is open
    std::unordered_map<uint32_t, std::vector<uint32_t>> places;  // in `expects`, by message
    std::unordered_map<uint16_t, Awaiting> awaiting;             // by packet id
    std::unordered_map<uint16_t, Awaiting> released;             // PUBCOMP was not read yet
    std::unordered_map<uint16_t, Awaiting> restored;  // … when a life ended: may wait anew
    std::deque<Unanswered> unanswered;
    std::unordered_map<uint16_t, size_t> inflight;  // outbound: packet id → Expect
    std::unordered_map<uint16_t, size_t> finished;  // the same, acknowledged

    struct Copies {
        uint32_t expected = 0;
        uint32_t read = 0;
    };

    std::unordered_map<uint64_t, Copies> copies;  // by message and QoS
    std::unordered_map<uint64_t, uint64_t> last_order;
};

using SessionRef = std::shared_ptr<Session>;

struct GroupExpect {
    struct Getter {
        SessionRef session;
        uint8_t level = 4;  // of its connection
        uint8_t qos = 0;
        uint32_t identifier = 0;  // of its subscription
        bool retain = false;
    };

    uint32_t message = 0;
    uint32_t group = 0;
    uint64_t order = 0;
    Instant expires = kNever;
    bool must = true;
    bool qos0 = false;  // some member would have got it at QoS 0
    std::vector<Getter> getters;
};

class Model {
  public:
    Model(const Vocabulary& words, const std::deque<Message>& messages, const Rules& rules)
        : words_(words), messages_(messages), rules_(rules) {}

    // A line for each publication.
    bool loud = false;

    // The first thing that went wrong; empty: nothing yet.
    const std::string& failure() const { return failure_; }

    // What happened may happen, but from there on the model does not know what to expect.
    bool lost_track() const { return lost_track_; }

    void fail(const std::string& what);

    // ---- What happened, in the broker's order
    // -----------------------------------------------------

    void set_time(Instant now, uint64_t turn);
    // A CONNECT was accepted.  `resumed`: the broker took up a session.
    SessionRef connected(uint32_t client, const void* owner, const ConnectPlan& plan, bool resumed);
    // A clean start ended a session, and then was refused.
    void discarded(uint32_t client);
    // A packet of a connected client was taken.
    void took(const SessionRef& session, const Op& op);
    // Its connection is over; the will is sent, or waits.
    //   soon   its session will notice in this turn or the next
    void detached(const SessionRef& session, const void* owner, bool soon = false);
    // A filter of a SUBSCRIBE was refused.
    void not_subscribed(const SessionRef& session, uint32_t filter);
    // Fan-out jobs are under way, or none is.
    void set_jobs(bool any);

    // The broker has not come round to everything that is due.
    void set_behind(bool behind) { behind_ = behind; }

    // Nothing more of what was taken is to come: what is not handed out by a job has been.
    void settle_open();
    // A publisher was told that its message was not passed on.
    void refused(uint32_t message);

    // It may not have been passed on, and will not be told.
    void doubt(uint32_t message) { doubts_.insert(message); }

    // ---- What outlives a life of the broker
    // ----------------------------------------------------

    // What a client has read so far: that it is in, an answer to SUBSCRIBE or UNSUBSCRIBE, PUBACK
    // or PUBCOMP.
    void welcomed(const SessionRef& session);
    void answered(const SessionRef& session, const Op& op);
    void acknowledged(const SessionRef& session, uint32_t message, uint16_t packet_id);
    // The broker is gone.  Another one will have begun by `back_at`.
    void crashed(Instant back_at);

    // ---- What a client read
    // ----------------------------------------------------------------------

    //   topic   with its alias resolved
    //   turn    in which the broker wrote it, at `when`
    void received(const SessionRef& session,
                  const Packet& packet,
                  std::string_view topic,
                  uint64_t turn,
                  Instant when);

    // ---- In the end
    // ------------------------------------------------------------------------------

    struct Missing {
        uint64_t qos0_must = 0;
        uint64_t qos0_may = 0;
        uint64_t counted_must = 0;
        uint64_t counted_may = 0;
        uint32_t example = 0;  // a message that is missing
        uint32_t example_client = 0;
    };

    // What has not come, of all sessions that are connected.
    //   waits   of the clients, by number: the broker does not listen to it for lack of memory, so
    //           that nothing goes on there
    Missing missing(const std::vector<bool>& waits);

    uint64_t offline_drops() const { return offline_; }

    uint64_t no_local_drops() const { return no_local_; }

    uint64_t ended_missing() const { return ended_missing_; }

    bool exact_offline() const { return !fuzzy_ && !rules_.sys; }

    uint64_t sessions() const;
    SessionRef session_of(uint32_t client) const;

    struct Retained {
        uint32_t message = 0;
        Instant expires = kNever;
        // Two writers in the same moment: any of these may have won.
        bool fuzzy = false;
        std::vector<std::pair<uint32_t, Instant>> candidates;
    };

    const std::unordered_map<uint32_t, Retained>& retained() const { return retained_; }

    uint64_t applied() const { return applied_; }

    // When a will was due last, or a session's end: the broker may be a little later.
    Instant last_due() const { return last_due_; }

    uint64_t checked() const { return checked_; }

  private:
    struct Open {
        const Message* message = nullptr;
        uint64_t order = 0;
        Instant expires = kNever;
        Instant until = 0;  // of a timer; 0: while jobs are under way
        uint32_t will_of = kNobody;
    };

    void end_life_of(const SessionRef& session);
    void doubt_subscriptions(Session& session);
    void restore_retained();
    void apply_again(const Message& message, Instant expires);
    Expect* come_again(Session& session, const Packet& packet, uint32_t number);
    void remember(Session& session, uint32_t filter);

    void subscribe(Session& session, const Op& op);
    void unsubscribe(Session& session, const Op& op);
    void acked(Session& session, Type type, uint16_t packet_id, uint8_t reason);

    struct Publication {
        const Message& message;
        uint32_t from = 0;
        Instant expires = kNever;
        uint64_t order = 0;
        bool open = false;
        bool qos0_only = false;  // to who comes back: the rest waited for it
    };

    void apply(const Message& message, Instant expires, Instant open_until, uint32_t will_of);
    void hand_to(Session& session, const Publication& publication, bool must);
    static Expect& add(Session& session, const Expect& expect);
    void hand_to_newcomer(Session& session, const Open& open, bool qos0_only);
    void expect(Session& session,
                const Publication& publication,
                const FilterPlan& plan,
                bool must);
    void hand_to_groups(const Publication& publication);
    bool is_no_local(const Publication& publication,
                     const Session& session,
                     const FilterPlan& plan);
    uint8_t granted(const Message& message, const FilterPlan& plan) const;
    void keep(const Publication& publication);
    void replay(Session& session, const FilterPlan& plan, bool must);
    void replay_one(
        Session& session, const FilterPlan& plan, uint32_t number, Instant expires, bool must);
    static void forget_replay(Session& session, uint32_t filter);
    void loosen_groups(const SessionRef& session, bool ended);
    void loosen_if_unsure(uint32_t group);
    void send_will(Session& session, Instant open_until);
    void end(const SessionRef& session, Instant open_until);
    void leave(const SessionRef& session, Instant open_until = 0);
    void pass_time(const SessionRef& session);
    bool match_group(
        const SessionRef& session, const Packet& packet, uint32_t number, Instant when, bool any);
    void move_getters(uint32_t message, std::vector<GroupExpect>& groups);
    static bool settle_as_own(const GroupExpect::Getter& getter, uint32_t number);
    static bool is_member(const Session& session, const GroupExpect& group);
    bool fits(const GroupExpect::Getter& getter, const GroupExpect& group) const;
    bool assign(const GroupExpect::Getter& getter,
                std::vector<GroupExpect>& groups,
                uint64_t& seen);
    bool may_take(const Session& session, const GroupExpect& group) const;
    bool is_known_empty(std::string_view topic) const;
    bool came_as_retained(const SessionRef& session, const Packet& packet, uint32_t number);
    Expect* change_places(const SessionRef& session, const Packet& packet, uint32_t number);
    void tell(const Session& session, uint32_t number) const;
    Expect* find(Session& session, const Packet& packet, uint32_t number);
    uint64_t lifetime(const Session& session) const;

    const Vocabulary& words_;
    const std::deque<Message>& messages_;
    Rules rules_;
    std::string failure_;
    Instant now_ = 0;
    Instant last_turn_ = 0;  // when the turn before this one began
    uint64_t turn_ = 0;
    uint64_t applied_ = 0;
    Instant last_due_ = 0;
    uint64_t checked_ = 0;
    uint64_t offline_ = 0;
    uint64_t no_local_ = 0;
    uint64_t ended_missing_ = 0;  // copies that sessions had not got when they ended
    bool fuzzy_ = false;
    bool jobs_ = false;
    bool behind_ = false;
    Instant next_check_ = 0;            // of the sessions that are away
    std::vector<SessionRef> sessions_;  // by client; null: none
    std::vector<SessionRef> alive_;
    std::vector<std::pair<SessionRef, Instant>> ended_;  // of late, members of groups
    std::vector<SessionRef> just_ended_;                 // in this turn
    std::vector<Open> open_;
    std::unordered_map<uint32_t, Retained> retained_;       // by topic
    std::unordered_map<uint32_t, uint32_t> times_applied_;  // by message
    std::map<uint32_t, std::vector<GroupExpect>> groups_;   // by message

    // What members read, as it seemed by a subscription of their own, by message
    struct OwnRead {
        GroupExpect::Getter getter;
        size_t place = 0;  // in its session's `expects`
    };

    std::unordered_map<uint32_t, std::vector<OwnRead>> own_reads_;
    std::unordered_map<uint32_t, bool> refused_;
    std::unordered_set<uint32_t> doubts_;
    std::unordered_set<uint32_t> acknowledged_;
    // What was kept on a topic since it was certain for good, by topic; the oldest first.
    std::unordered_map<uint32_t, std::vector<std::pair<uint32_t, Instant>>> kept_;
    // Wills that may be sent if a life ends: of connections, by client.
    std::map<uint32_t, std::vector<std::pair<uint64_t, WillPlan>>> wills_;
    uint64_t connects_ = 0;
    uint64_t cuts_ = 0;
    bool lost_track_ = false;
    std::unordered_set<uint32_t> finite_;  // clients whose sessions had an end ever
    std::unordered_set<uint32_t>
        untold_;                       // … who had not heard that a session had ended with a life
    bool once_more_ = false;           // this publication may have been applied in an earlier life
    std::vector<uint32_t> empties_;    // empty messages that were applied
    std::vector<uint32_t> replaying_;  // topics that some replay may still bring
};

}  // namespace mqttd::sim
