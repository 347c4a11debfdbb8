#pragma once

// State: what the records of a journal come to, in the plainest words there are.
//
// A second opinion: written from the forms (broker/durable_records.h), not from the broker's own
// restore, and on other structures, each session with maps of its own. Where the two disagree about
// a journal, one of them is wrong.
//
// Of messages it keeps topic, sizes and the first bytes of the payload that it was asked to keep. A
// delivery whose message was never read, for damage, is remembered as *lost* until it is said again
// or over: a journal that ends with lost ones has lost something, while one that was cut at its
// begin by a finished round has not.
//
// Whether a part of a queue lies in memory or in the journal only makes no difference here.
//
// Each thing knows the bytes that its last record took, which is what tells live from dead.

#include "mqttd/bytes.h"

#include "broker/durable_records.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace mqttd::check {

struct KeptMessage {
    uint64_t name = 0;
    std::string topic;
    uint64_t expires_at = 0;
    uint8_t qos = 0;
    bool retain = false;
    uint8_t priority = 0;
    uint64_t properties_bytes = 0;
    uint64_t payload_bytes = 0;
    std::string payload;        // the first of them
    uint64_t record_bytes = 0;  // of the body that said it last
};

using MessageRef = std::shared_ptr<KeptMessage>;

// In a queue or under way.
struct KeptFlow {
    MessageRef message;  // null: PUBREC has come
    uint8_t qos = 0;
    bool retain = false;
    bool limited = true;
    std::vector<uint32_t> identifiers;
    uint64_t record_bytes = 0;
};

struct KeptSubscription {
    uint8_t options = 0;
    uint32_t identifier = 0;
    uint64_t record_bytes = 0;
};

struct KeptSession {
    uint32_t number = 0;
    std::string client_id;
    uint32_t expiry_s = 0;
    uint64_t away_since = 0;  // 0: connected
    uint16_t listener = 0;
    uint8_t level = 4;
    uint32_t will_delay_s = 0;
    MessageRef will;
    uint64_t record_bytes = 0;

    std::map<std::string, KeptSubscription> subscriptions;
    std::map<uint32_t, KeptFlow> queued;       // by number of the delivery
    std::map<uint16_t, KeptFlow> under_way;    // by packet identifier
    std::map<uint16_t, MessageRef> inbound;    // null: completed for form's sake
    std::map<uint32_t, uint64_t> lost_queued;  // names of messages that are not there
    std::map<uint16_t, uint64_t> lost_under_way;

    bool connected() const { return away_since == 0; }

    uint64_t lost() const { return lost_queued.size() + lost_under_way.size(); }

    uint64_t waiting_bytes() const;  // payload in its queue and under way
};

struct StateTotals {
    uint64_t sessions = 0;
    uint64_t connected = 0;
    uint64_t subscriptions = 0;
    uint64_t retained = 0;
    uint64_t queued = 0;
    uint64_t under_way = 0;
    uint64_t inbound = 0;
    uint64_t lost = 0;        // deliveries whose message is not there
    uint64_t live_bytes = 0;  // of bodies that are needed

    bool operator==(const StateTotals&) const = default;
};

class State {
  public:
    // `payload_most`: bytes to keep of each payload.
    explicit State(uint64_t payload_most = 0) : payload_most_(payload_most) {}

    // A body of the broker's and its position.  False: it cannot be read.
    bool apply(uint8_t type, uint64_t position, Bytes body);

    const std::map<uint32_t, KeptSession>& sessions() const { return sessions_; }

    const std::map<std::string, MessageRef>& retained() const { return retained_; }

    uint64_t last_wall_s() const { return last_wall_s_; }

    StateTotals totals() const;

  private:
    bool session(Bytes body);
    bool away(Bytes body);
    bool subscribed(Bytes body);
    bool unsubscribed(Bytes body);
    bool deliveries(Bytes body);
    bool page(Bytes body, uint64_t position, bool taken);
    bool sent(Bytes body);
    bool progress(Bytes body);
    bool dropped(Bytes body);
    bool inbound(Bytes body, uint64_t position);
    bool released(Bytes body);
    bool retained(Bytes body, uint64_t position);
    bool gone(Bytes body);
    void take(const DurableDelivery& read, KeptSession& session, const MessageRef& message);
    KeptSession* find(uint32_t number);
    MessageRef keep(const DurableMessage& message, uint64_t position, uint64_t record_bytes);
    MessageRef make(const DurableMessage& message) const;

    uint64_t payload_most_;
    uint64_t last_wall_s_ = 0;
    std::map<uint32_t, KeptSession> sessions_;
    std::unordered_map<std::string, uint32_t> numbers_;  // by client identifier
    std::map<std::string, MessageRef> retained_;
    std::unordered_map<uint64_t, MessageRef> messages_;  // by name
};

}  // namespace mqttd::check
