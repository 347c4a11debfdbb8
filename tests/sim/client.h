#pragma once

// Client: one of those who talk to the broker, with all the patience and none of the manners.
//
// It keeps to the standard in what it sends (but for `garbage`) and checks what it reads packet by
// packet: identifiers, windows, aliases, the order of a QoS 2 exchange. What a PUBLISH says is the
// model's to judge. It remembers across connections what a client's session has to remember: what
// it sent and has not been answered, and which QoS 2 identifiers it has not released.
//
// A Conn is one connection of a client. Several may be open at once: a takeover leaves the old one
// to the broker.

#include "mqttd/time.h"

#include "base/outbox.h"
#include "base/prng.h"
#include "sim/kernel.h"
#include "sim/model.h"
#include "sim/packet.h"

#include <deque>
#include <list>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace mqttd::sim {

class Client;

struct Conn {
    Client* client = nullptr;
    Wire* wire = nullptr;
    std::shared_ptr<const ConnectPlan> plan;
    bool v5 = false;
    bool welcome = false;     // CONNACK 0 was read
    bool abandoned = false;   // the client looks at it no more
    bool rude = false;        // has sent what must end it
    bool was_unsure = false;  // Client::unsure_ before it

    // The broker's side, as the world sees it.
    void* link = nullptr;
    Outbox* outbox = nullptr;
    SessionRef session;    // of the model, once the CONNECT was taken
    bool closing = false;  // Transport::close was called
    std::deque<Op> ops;    // written and not yet taken
    Instant last_taken = 0;
    Instant last_heard = 0;      // a byte of it
    uint32_t steps_overdue = 0;  // … and that was too long ago, since:
    Instant overdue_since = 0;
    uint64_t taken_then = 0;  // Wire::taken

    // What the broker had appended by the end of which turn.
    struct Stamp {
        uint64_t bytes;
        uint64_t turn;
        Instant when;
    };

    std::deque<Stamp> stamps;

    std::string in;
    uint64_t parsed = 0;
    uint16_t receive_maximum = 65'535;      // the broker's
    uint16_t alias_maximum = 0;             // the broker's
    std::unordered_set<uint16_t> busy;      // read here and not yet acknowledged
    std::unordered_set<uint16_t> answered;  // … and acknowledged
    std::vector<uint32_t> aliases;          // ours to the broker: topic index + 1
    std::unordered_map<uint16_t, std::string> broker_aliases;
};

// What the clients of a world share.
struct Street {
    Kernel& kernel;
    Model& model;
    Prng& dice;
    const Vocabulary& words;
    std::deque<Message>& messages;
    uint32_t window = 20;  // max_inflight_messages of the broker
    Instant now = 0;
    bool lets_go = false;  // the broker gives a place up whose PUBCOMP does not come (3.x)
    bool bare = false;     // no model: count, do not judge
    bool loud = false;
    uint64_t read_messages = 0;
    uint64_t read_first_time = 0;  // without DUP
};

class Client {
  public:
    Client(Street& street, uint32_t index);

    // ---- What it does
    // ----------------------------------------------------------------------------

    // False if nobody listens.  An open connection is left as it is: this is a takeover then.
    bool connect(ConnectPlan plan, bool unix_socket, bool eager);
    void publish(uint32_t topic, uint8_t qos, bool retain, uint32_t size, uint32_t expiry_s);
    void subscribe(const std::vector<FilterPlan>& filters);
    void unsubscribe(const std::vector<uint32_t>& filters);
    void ping();
    void disconnect(uint8_t reason, uint32_t expiry_s);
    void drop();        // resets the connection
    void half_close();  // FIN, and reads on
    void hang_up();     // closes
    void garbage(uint32_t which);

    void stall(bool on) { stalled = on; }

    void hold(bool on);

    // Reads what is there and answers it.
    void read();
    // The server is gone, with all connections.
    void lose();
    // Keeps itself alive.
    void keep_alive();

    bool usable() const;  // may send packets now

    bool has_connection() const { return conn != nullptr && !conn->abandoned; }

    bool durable() const;

    uint64_t unfinished() const { return flows_.size(); }

    // It has asked for something else, and nothing stands against an answer.
    bool unanswered() const;

    const std::string& id() const { return id_; }

    uint32_t index;
    Conn* conn = nullptr;  // the newest
    std::list<Conn> conns;
    bool stalled = false;              // reads nothing
    bool silent = false;               // sends no PINGREQ by itself
    uint32_t read_max = ~uint32_t{0};  // bytes at once

  private:
    struct Flow {
        uint16_t packet_id = 0;
        uint32_t message = 0;
        uint8_t qos = 0;
        bool released = false;  // PUBREL is out: PUBCOMP is awaited
    };

    void send(Op op, std::string_view bytes);
    void send_publish(Flow& flow, bool dup);
    void send_ack(Type type, uint16_t packet_id);
    void flush_acks();
    void on_packet(const Packet& packet, std::string_view raw);
    void on_connack(const Packet& packet);
    void on_publish(const Packet& packet);
    void on_answer(const Packet& packet);
    Flow* flow(uint16_t packet_id);
    uint16_t free_id();
    void say(const std::string& what);

    Street& street_;
    std::string id_;
    uint16_t next_id_ = 0;
    std::vector<Flow> flows_;
    std::unordered_map<uint16_t, Op> requests_;  // SUBSCRIBE and UNSUBSCRIBE without an answer
    std::unordered_set<uint16_t> unreleased_;    // QoS 2: PUBREC is out (or held), no PUBREL yet
    std::unordered_set<uint16_t> busy_;          // ids of PUBLISH packets not yet acknowledged
    // A CONNECT was taken whose answer was never read: whether there is a session, and which, only
    // a clean start makes known.
    bool unsure_ = false;
    bool hold_ = false;
    std::deque<std::pair<Type, uint16_t>> held_;
    uint32_t pings_ = 0;
    Instant last_sent_ = 0;
    std::string scratch_;
};

}  // namespace mqttd::sim
