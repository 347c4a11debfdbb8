#include "sim/client.h"

#include "base/assert.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

Client::Client(Street& street, uint32_t number)
    : index(number), street_(street), id_("c" + std::to_string(number)) {}

void Client::say(const std::string& what) {
    street_.model.fail("client " + std::to_string(index) + ": " + what);
}

bool Client::usable() const {
    return has_connection() && !conn->wire->client_gone && !conn->wire->up_fin && !conn->rude &&
           (conn->welcome || (conn->plan->clean && !conn->closing));
}

bool Client::unanswered() const {
    if (!has_connection() || conn->wire->client_gone || conn->wire->up_fin) return false;
    return !conn->rude && !conn->closing && (!conn->welcome || !requests_.empty());
}

bool Client::durable() const {
    if (conn == nullptr) return false;
    return conn->v5 ? conn->plan->expiry_s != 0 : !conn->plan->clean;
}

void Client::send(Op op, std::string_view bytes) {
    op.size = static_cast<uint32_t>(bytes.size());
    street_.kernel.write(*conn->wire, bytes);
    conn->ops.push_back(std::move(op));
    last_sent_ = street_.now;
}

// ---- What it does
// -------------------------------------------------------------------------------------

bool Client::connect(ConnectPlan plan, bool unix_socket, bool eager) {
    Wire* wire = street_.kernel.dial(unix_socket);
    if (wire == nullptr) return false;
    // One whose CONNECT was not taken yet must not come in after this one.
    for (Conn& old : conns) {
        if (!old.ops.empty() && old.ops.front().type == Type::kConnect) {
            street_.kernel.cut(*old.wire);
            if (&old == conn) unsure_ = old.was_unsure;
            old.abandoned = true;
        }
    }
    plan.clean = plan.clean || unsure_;
    if (has_connection()) conn->abandoned = true;
    conns.emplace_back();
    conn = &conns.back();
    conn->client = this;
    conn->wire = wire;
    conn->plan = std::make_shared<const ConnectPlan>(plan);
    conn->v5 = plan.level == 5;
    conn->was_unsure = unsure_;
    unsure_ = true;
    held_.clear();
    requests_.clear();
    pings_ = 0;
    if (plan.clean) {
        flows_.clear();
        unreleased_.clear();
        busy_.clear();
    }
    Op op;
    op.type = Type::kConnect;
    op.connect = conn->plan;
    scratch_.clear();
    const Message* will = plan.has_will ? &street_.messages[plan.will.message] : nullptr;
    write_connect(scratch_, id_, plan, will, {street_.words.topics, street_.words.filter_texts});
    send(std::move(op), scratch_);
    if (!eager) conn->receive_maximum = 0;  // nothing counted before the answer
    return true;
}

void Client::publish(uint32_t topic, uint8_t qos, bool retain, uint32_t size, uint32_t expiry_s) {
    if (!usable()) return;
    const size_t most = std::min<size_t>(conn->v5 ? conn->receive_maximum : 100, 60'000);
    if (qos > 0 && flows_.size() >= std::min<size_t>(most, 100)) return;
    Message message;
    message.number = static_cast<uint32_t>(street_.messages.size());
    message.publisher = index;
    message.topic = topic;
    message.qos = qos;
    message.retain = retain;
    message.size = size < 4 ? (retain ? 0 : 4) : size;
    message.expiry_s = conn->v5 ? expiry_s : kNever32;
    street_.messages.push_back(message);
    Flow flow;
    flow.message = message.number;
    flow.qos = qos;
    if (qos > 0) {
        flow.packet_id = free_id();
        flows_.push_back(flow);
    }
    send_publish(flow, false);
}

void Client::send_publish(Flow& flow, bool dup) {
    const Message& message = street_.messages[flow.message];
    uint16_t alias = 0;
    bool named = true;
    if (conn->v5 && conn->alias_maximum > 0 && street_.dice.below(2) == 0) {
        alias = static_cast<uint16_t>(1 + message.topic % conn->alias_maximum);
        conn->aliases.resize(conn->alias_maximum + 1u);
        named = conn->aliases[alias] != message.topic + 1 || street_.dice.below(4) == 0;
        conn->aliases[alias] = message.topic + 1;
    }
    Op op;
    op.type = Type::kPublish;
    op.message = flow.message;
    op.packet_id = flow.packet_id;
    op.dup = dup;
    scratch_.clear();
    write_publish(scratch_,
                  message,
                  street_.words.topics[message.topic],
                  conn->v5,
                  flow.packet_id,
                  dup,
                  alias,
                  named);
    send(std::move(op), scratch_);
}

uint16_t Client::free_id() {
    for (;;) {
        if (++next_id_ == 0) ++next_id_;
        if (flow(next_id_) == nullptr && !requests_.contains(next_id_)) return next_id_;
    }
}

Client::Flow* Client::flow(uint16_t packet_id) {
    for (Flow& flow : flows_) {
        if (flow.packet_id == packet_id) return &flow;
    }
    return nullptr;
}

void Client::subscribe(const std::vector<FilterPlan>& filters) {
    if (!usable()) return;
    Op op;
    op.type = Type::kSubscribe;
    op.packet_id = free_id();
    op.filters = filters;
    for (FilterPlan& plan : op.filters) {
        if (!conn->v5) plan = {plan.filter, 0, plan.qos, 0, false, false, false};
        if (street_.words.filters[plan.filter].group != 0) plan.no_local = false;
        plan.identifier = op.filters[0].identifier;
    }
    requests_[op.packet_id] = op;
    scratch_.clear();
    write_subscribe(scratch_, op, conn->v5, {street_.words.topics, street_.words.filter_texts});
    send(std::move(op), scratch_);
}

void Client::unsubscribe(const std::vector<uint32_t>& filters) {
    if (!usable()) return;
    Op op;
    op.type = Type::kUnsubscribe;
    op.packet_id = free_id();
    for (const uint32_t filter : filters) {
        FilterPlan plan;
        plan.filter = filter;
        op.filters.push_back(plan);
    }
    requests_[op.packet_id] = op;
    scratch_.clear();
    write_unsubscribe(scratch_, op, conn->v5, {street_.words.topics, street_.words.filter_texts});
    send(std::move(op), scratch_);
}

void Client::ping() {
    if (!usable()) return;
    Op op;
    op.type = Type::kPingreq;
    scratch_.clear();
    write_pingreq(scratch_);
    send(std::move(op), scratch_);
    ++pings_;
}

void Client::disconnect(uint8_t reason, uint32_t expiry_s) {
    if (!usable()) return;
    Op op;
    op.type = Type::kDisconnect;
    if (conn->v5) {
        op.reason = reason;
        // A session that was to end with its connection cannot be prolonged.
        if (conn->plan->expiry_s != 0) op.expiry_s = expiry_s;
    }
    scratch_.clear();
    write_disconnect(scratch_, op, conn->v5);
    send(std::move(op), scratch_);
    conn->rude = true;  // nothing more may follow
    street_.kernel.finish(*conn->wire);
}

void Client::drop() {
    if (!has_connection()) return;
    street_.kernel.cut(*conn->wire);
    conn->abandoned = true;
}

void Client::half_close() {
    if (has_connection()) street_.kernel.finish(*conn->wire);
}

void Client::hang_up() {
    if (!has_connection()) return;
    street_.kernel.hang_up(*conn->wire);
    conn->abandoned = true;
}

void Client::garbage(uint32_t which) {
    if (!usable()) return;
    static constexpr std::string_view kNonsense[] = {
        std::string_view("\xf0\x00", 2),                   // reserved type, or AUTH
        std::string_view("\x36\x05\x00\x01t\x00\x01", 7),  // QoS 3
        std::string_view("\x30\x03\x00\x01#", 5),          // a wildcard
        std::string_view("\x82\x02\x00\x01", 4),           // no filter
        std::string_view("\x30\xff\xff\xff\xff\x01", 6),   // a length of five bytes
        std::string_view("\x10\x02\x00\x00", 4),           // a second CONNECT
        std::string_view("\x62\x02\x00\x00", 4),           // packet identifier 0
        std::string_view("\x20\x02\x00\x00", 4),           // what only a server sends
    };
    Op op;
    op.type = Type::kGarbage;
    send(std::move(op), kNonsense[which % std::size(kNonsense)]);
    conn->rude = true;
}

// ---- Acknowledgements
// ----------------------------------------------------------------------------------

void Client::hold(bool on) {
    hold_ = on;
    if (!on) flush_acks();
}

void Client::send_ack(Type type, uint16_t packet_id) {
    if (hold_) {
        held_.emplace_back(type, packet_id);
        return;
    }
    if (!has_connection() || conn->wire->up_fin || conn->rude || conn->wire->client_gone) return;
    if (type == Type::kPuback || type == Type::kPubcomp) {
        busy_.erase(packet_id);
        if (conn->busy.erase(packet_id) > 0) conn->answered.insert(packet_id);
    }
    Op op;
    op.type = type;
    op.packet_id = packet_id;
    scratch_.clear();
    write_ack(scratch_, type, packet_id, 0, conn->v5);
    send(std::move(op), scratch_);
}

void Client::flush_acks() {
    while (!held_.empty() && !hold_) {
        const auto [type, packet_id] = held_.front();
        held_.pop_front();
        send_ack(type, packet_id);
    }
}

void Client::lose() {
    for (Conn& old : conns) {
        const bool taken = old.ops.empty() || old.ops.front().type != Type::kConnect;
        if (&old == conn && !taken) unsure_ = old.was_unsure;
        old.link = nullptr;
        old.outbox = nullptr;
        old.abandoned = old.wire->client_gone = true;
        old.wire->up.clear();
        old.wire->down.clear();
    }
    held_.clear();
    // At QoS 1 it remembers nothing.
    std::erase_if(busy_, [&](uint16_t id) { return !unreleased_.contains(id); });
}

void Client::keep_alive() {
    if (silent || !usable() || conn->plan->keep_alive_s == 0 || !conn->welcome) return;
    if (street_.now >= last_sent_ + conn->plan->keep_alive_s * kSecond / 2) ping();
}

// ---- Reading
// -----------------------------------------------------------------------------------------

void Client::read() {
    if (conn == nullptr || conn->abandoned || stalled) return;
    Conn& c = *conn;
    if (c.wire->client_gone) return;
    street_.kernel.take(*c.wire, c.in, read_max);
    size_t at = 0;
    while (conn == &c && !c.abandoned) {
        const std::string_view rest = std::string_view(c.in).substr(at);
        const Packet packet = read_packet(rest, c.v5);
        if (packet.malformed) say("a malformed packet was read");
        if (packet.size == 0 || packet.malformed) break;
        c.parsed += packet.size;
        while (c.stamps.size() > 1 && c.stamps.front().bytes < c.parsed)
            c.stamps.pop_front();
        on_packet(packet, rest.substr(0, packet.size));
        at += packet.size;
    }
    c.in.erase(0, at);
    if (!c.abandoned && Kernel::at_end(*c.wire)) {
        street_.kernel.hang_up(*c.wire);
        c.abandoned = true;
    }
}

void Client::on_packet(const Packet& packet, std::string_view raw) {
    (void)raw;
    if (!conn->welcome && packet.type != Type::kConnack && packet.type != Type::kDisconnect) {
        return say("a packet before CONNACK");
    }
    switch (packet.type) {
        case Type::kConnack:
            return on_connack(packet);
        case Type::kPublish:
            return on_publish(packet);
        case Type::kPubrel:
            unreleased_.erase(packet.packet_id);
            return send_ack(Type::kPubcomp, packet.packet_id);
        case Type::kPingresp:
            if (pings_ == 0) return say("a PINGRESP nobody asked for");
            --pings_;
            return;
        case Type::kDisconnect:
            if (!conn->v5) say("a 3.x client got a DISCONNECT");
            return;
        default:
            return on_answer(packet);
    }
}

void Client::on_connack(const Packet& packet) {
    if (conn->welcome) return say("a second CONNACK");
    if (packet.reason != 0) {
        if (packet.session_present) say("session present in a refusal");
        return;
    }
    conn->welcome = true;
    unsure_ = false;
    if (conn->session) street_.model.welcomed(conn->session);
    conn->receive_maximum = packet.receive_maximum;
    conn->alias_maximum = packet.alias_maximum;
    if (packet.session_present && conn->plan->clean) say("session present after a clean start");
    if (!packet.session_present) {
        if (!conn->plan->clean) {
            flows_.clear();
            unreleased_.clear();
            busy_.clear();
        }
        return;
    }
    // What had not been answered goes out again, in its order.   [MQTT-4.4.0-1]
    for (Flow& flow : flows_) {
        if (!usable()) return;
        if (flow.released) {
            send_ack(Type::kPubrel, flow.packet_id);
        } else {
            send_publish(flow, true);
        }
    }
}

void Client::on_publish(const Packet& packet) {
    ++street_.read_messages;
    Conn& c = *conn;
    std::string name;
    std::string_view topic = packet.topic;
    if (packet.alias != 0) {
        if (packet.alias > c.plan->alias_maximum) return say("an alias above the maximum");
        std::string& known = c.broker_aliases[packet.alias];
        if (!topic.empty()) known = topic;
        topic = known;
    }
    if (topic.empty()) return say("a PUBLISH without a topic");
    if (c.plan->packet_maximum != 0 && packet.size > c.plan->packet_maximum) {
        return say("a packet above the maximum size");
    }
    if (street_.loud) {
        std::printf(
            "%9llu     %s reads message %u on %.*s qos %u id %u%s%s ids %u [%u %u] expiry %u\n",
            static_cast<unsigned long long>(street_.now),
            id_.c_str(),
            number_in(packet.payload),
            static_cast<int>(topic.size()),
            topic.data(),
            packet.qos,
            packet.packet_id,
            packet.dup ? " dup" : "",
            packet.retain ? " retain" : "",
            packet.id_count,
            packet.ids[0],
            packet.ids[1],
            packet.expiry_s);
    }
    if (packet.qos == 0 && packet.dup) return say("DUP at QoS 0");
    if (packet.qos == 3 || (packet.qos > 0 && packet.packet_id == 0)) return say("QoS 3 or id 0");
    const bool second = packet.qos == 2 && unreleased_.contains(packet.packet_id);
    if (second && !packet.dup && !street_.lets_go)
        return say("an unreleased id was used for a new message");
    if (packet.qos > 0 && !second && !(street_.lets_go && !c.v5)) {
        if (busy_.contains(packet.packet_id) && !packet.dup) {
            return say("packet id " + std::to_string(packet.packet_id) + " is in use");
        }
        busy_.insert(packet.packet_id);
        const size_t window = std::min<size_t>(street_.window, c.plan->receive_maximum);
        // Repeated just before the acknowledgement came.
        const bool late = packet.dup && c.answered.contains(packet.packet_id);
        if (!late) c.busy.insert(packet.packet_id);
        if (!packet.dup) c.answered.erase(packet.packet_id);
        if (c.busy.size() > window) return say("more messages under way than the window allows");
    }
    const bool from_broker = topic.starts_with("$SYS/");
    if (!packet.dup && !from_broker) ++street_.read_first_time;
    if (!street_.bare && c.session && !from_broker) {
        const Conn::Stamp stamp =
            c.stamps.empty() ? Conn::Stamp{0, 0, street_.now} : c.stamps.front();
        if (!second) {
            street_.model.received(c.session, packet, topic, stamp.turn, stamp.when);
        }
    }
    if (packet.qos == 1) send_ack(Type::kPuback, packet.packet_id);
    if (packet.qos == 2) {
        unreleased_.insert(packet.packet_id);
        send_ack(Type::kPubrec, packet.packet_id);
    }
}

// Answers to what it sent itself.
void Client::on_answer(const Packet& packet) {
    const auto wrong = [&](const char* what) {
        say(std::string(what) + " for packet id " + std::to_string(packet.packet_id));
    };
    if (packet.type == Type::kSuback || packet.type == Type::kUnsuback) {
        const auto request = requests_.find(packet.packet_id);
        const Type asked = packet.type == Type::kSuback ? Type::kSubscribe : Type::kUnsubscribe;
        if (request == requests_.end() || request->second.type != asked) {
            return wrong("an answer nobody asked for");
        }
        const Op& op = request->second;
        if ((asked == Type::kSubscribe || conn->v5) && packet.codes.size() != op.filters.size()) {
            return wrong("too many or too few codes");
        }
        for (size_t i = 0; asked == Type::kSubscribe && i < op.filters.size(); ++i) {
            const bool failed = static_cast<uint8_t>(packet.codes[i]) >= 0x80;
            if (failed && conn->session) {
                street_.model.not_subscribed(conn->session, op.filters[i].filter);
            }
            if (!failed && static_cast<uint8_t>(packet.codes[i]) != op.filters[i].qos) {
                return wrong("another QoS was granted");
            }
        }
        if (conn->session) street_.model.answered(conn->session, op);
        requests_.erase(request);
        return;
    }
    Flow* const found = flow(packet.packet_id);
    if (found == nullptr) return wrong("an acknowledgement of nothing");
    const bool refused = packet.reason >= 0x80;
    if (refused && packet.type != Type::kPubcomp) street_.model.refused(found->message);
    switch (packet.type) {
        case Type::kPuback:
            if (found->qos != 1) return wrong("PUBACK at QoS 2");
            break;
        case Type::kPubrec:
            if (found->qos != 2) return wrong("PUBREC at QoS 1");
            if (refused) break;
            found->released = true;
            return send_ack(Type::kPubrel, packet.packet_id);
        case Type::kPubcomp:
            if (found->qos != 2 || !found->released) return wrong("PUBCOMP too early");
            break;
        default:
            return wrong("an unknown answer");
    }
    if (!refused && conn->session) {
        street_.model.acknowledged(conn->session, found->message, packet.packet_id);
    }
    flows_.erase(flows_.begin() + (found - &flows_.front()));
}

}  // namespace mqttd::sim
