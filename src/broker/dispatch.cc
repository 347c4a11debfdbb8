// From input to handlers: frames, budgets, and the places where a link may stop.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "base/peer_text.h"
#include "broker/core.h"
#include "broker/held.h"
#include "broker/recorder.h"

namespace mqttd {

namespace {

constexpr uint8_t kPuback = 0x40;
constexpr uint8_t kPlainPublish = 0x30;  // QoS 0, no DUP, no RETAIN: may be part of a run

// Packets that make us answer, or take room, must wait while the peer does not read our answers.
bool makes_output(PacketType type) {
    return type != PacketType::kPuback && type != PacketType::kPubcomp &&
           type != PacketType::kDisconnect;
}

// What would be handed to others.
bool publishes(PacketType type) {
    return type == PacketType::kPublish || type == PacketType::kPubrel;
}

constexpr uint32_t kPausedAtOnce = 64;  // publishers that try again when somebody reads

// What is wrong with an AUTH: 3.x has none, and no CONNECT with a method has been let in.
//   [MQTT5-3.15.1-1], [MQTT5-4.12.0-7]
Error judge_auth(Version version, Bytes body, uint8_t flags) {
    if (!is_v5(version)) return Error::kMalformedPacket;
    const Result<AuthView> decoded = decode_auth(body, flags);
    return decoded ? Error::kProtocolError : decoded.error();
}

}  // namespace

Consumed Core::receive(Link& link, const Range& input) {
    // What comes again by itself has come: else its keep-alive would never be judged again.
    if (link.stop == StopReason::kBudget || link.stop == StopReason::kBacklog) {
        link.stop = StopReason::kNone;
    }
    const int64_t visit_end = units_ - visit_units_;
    Range rest = input;
    const auto stopped = [&](StopReason reason) {
        said_before_ = kNothingSaid;
        ++stats_.stops[static_cast<uint32_t>(reason)];
        return Consumed{rest.begin - input.begin, 0, reason};
    };
    while (rest.size() > 0 && link.state != LinkState::kClosing && !link.broken) {
        if (units_ <= 0 || units_ <= visit_end) return stopped(StopReason::kBudget);
        const Bytes bytes = bytes_of(rest);
        if (bytes[0] == kPuback && link.state == LinkState::kConnected &&
            (recorder_ == nullptr || recorder_->admits(0) || disk_fails())) {
            const uint32_t taken = handle_pubacks(link, bytes);
            if (taken > 0) {
                heard(link);
                stats_.bytes_received += taken;
                rest.begin += taken;
                continue;
            }
        }
        const Result<Frame> found = find_frame(bytes);
        if (!found) {
            fail(link, found.error());
            break;
        }
        const Frame& frame = *found;
        if (!frame.header_complete()) {
            heard(link);
            return Consumed{rest.begin - input.begin, 0};
        }
        if (refuse_unfinished(link, frame, bytes)) break;
        if (frame.size > bytes.size()) {
            heard(link);
            return Consumed{rest.begin - input.begin, frame.size};
        }
        if (link.outbox->blocked() && link.outbox->pending() > limits::kAnswersPending &&
            makes_output(frame.type())) {
            link.stop = StopReason::kDraining;
            return stopped(StopReason::kDraining);
        }
        // Else those who go on publishing would keep the others' fan-outs from ever being done.
        if (shutting_down_ && publishes(frame.type())) {
            link.stop = StopReason::kShutdown;
            return stopped(StopReason::kShutdown);
        }
        if (recorder_ != nullptr) {
            if (waits_for_journal(link, frame)) return stopped(StopReason::kJournal);
            said_before_ = recorder_->said();
        }
        heard(link);
        Taken taken = Taken::kYes;
        uint32_t size = frame.size;
        if (frame.first == kPlainPublish && link.state == LinkState::kConnected) {
            size = handle_run(link, rest, frame, taken);
        } else {
            taken = dispatch(link,
                             Input{
                                 {rest.segment, rest.begin, rest.begin + size},
                                 frame
            });
            if (taken != Taken::kAgain) {
                link.retained = false;
                ++stats_.packets_received_all;
                ++stats_.packets_received[frame.first >> 4];
                spend(1);
            }
        }
        if (taken == Taken::kAgain) return stopped(link.stop);
        stats_.bytes_received += size;
        rest.begin += size;
        if (taken == Taken::kStop) return stopped(link.stop);
    }
    said_before_ = kNothingSaid;
    return Consumed{input.size(), 0};
}

// Whether this packet may have to be recorded and the journal has no room for it now: the link goes
// on when it has.
bool Core::waits_for_journal(Link& link, const Frame& frame) {
    const PacketType type = frame.type();
    const bool plain = frame.first == kPlainPublish && !options_.upgrade_outgoing_qos;
    const bool silent = plain || type == PacketType::kPingreq || type == PacketType::kDisconnect;
    if (silent || recorder_->admits(frame.size)) return false;
    // On a failing disk a publish is refused by what it touches; who comes back for what waits for
    // him is let in, and what he acknowledges is told when it can be.
    const bool waits = type == PacketType::kSubscribe || type == PacketType::kUnsubscribe ||
                       type == PacketType::kPubrel;
    if (disk_fails() && !waits) return false;
    (void)wait_for_disk(link);
    return true;
}

Core::Taken Core::wait_for_disk(Link& link) {
    wait_in_list(link, journal_waiters_);
    return stop_before(link, StopReason::kJournal);
}

// A sign of life: a packet, or some bytes of one, for a large one may take longer than a
// keep-alive. A CONNECT has its time in all.   [MQTT-3.1.2-24]
void Core::heard(Link& link) {
    link.last_input_ms = now_ms();
    link.probed = false;
}

// What can be refused before the packet is whole, so that no memory is spent on it.
bool Core::refuse_unfinished(Link& link, const Frame& frame, Bytes so_far) {
    if (frame.size > options_.max_packet_size) {
        fail(link, Error::kPacketTooLarge);
        return true;
    }
    const bool connect = frame.type() == PacketType::kConnect;
    if (connect == (link.state == LinkState::kConnected)) {
        fail(link, Error::kProtocolError);  // a second CONNECT, or anything before the first
        return true;
    }
    if (frame.type() == PacketType::kPublish && so_far.size() >= frame.header + 2u) {
        const uint32_t topic_size = uint32_t{so_far[frame.header]} << 8 | so_far[frame.header + 1u];
        if (topic_size > options_.max_topic_len) {
            fail(link, Error::kTopicNameInvalid);
            return true;
        }
    }
    return false;
}

Core::Taken Core::dispatch(Link& link, const Input& input) {
    switch (input.frame.type()) {
        case PacketType::kConnect:
            return handle_connect(link, input);
        case PacketType::kPublish:
            return handle_publish(link, input);
        case PacketType::kPuback:
        case PacketType::kPubrec:
        case PacketType::kPubrel:
        case PacketType::kPubcomp:
            return handle_ack(link, input);
        case PacketType::kSubscribe:
        case PacketType::kUnsubscribe:
            return handle_subscribe(link, input);
        case PacketType::kPingreq:
            return handle_pingreq(link, input);
        case PacketType::kDisconnect:
            return handle_disconnect(link, input);
        case PacketType::kAuth:
            fail(link, judge_auth(link.version, input.body(), input.frame.flags()));
            return Taken::kYes;
        default:  // what only a server sends, and the reserved types
            fail(link, Error::kMalformedPacket);
            return Taken::kYes;
    }
}

// The peer did something it must not: its link ends, nobody else's.
void Core::fail(Link& link, Error why) {
    ++stats_.malformed;
    if (link.session == nullptr && options_.connection_messages) {
        log_.write(LogKind::kNotice,
                   "Client connection from %s ended: %s.",
                   PeerText(transport_.peer(*link.outbox)).c_str(),
                   error_text(why));
    }
    end_link(link, why, true);
}

void Core::end_link(Link& link, Error why, bool send_will) {
    if (link.state == LinkState::kClosing) return;
    log_leaving(link, why);
    tell_why(link, why);
    if (link.corked) uncork(link);
    detach(link, send_will, MQTTD_MUTANT(45));  // what lingers comes again without DUP
    link.state = LinkState::kClosing;
    ++closing_links_;
    timers_->disarm(link.timer);
    transport_.close(*link.outbox, why);
}

void Core::log_leaving(const Link& link, Error why) const {
    if (!link.session || !options_.connection_messages) return;
    if (!log_.wants(LogKind::kNotice)) return;
    const Clean id(link.session->id->text());
    const PeerText peer(transport_.peer(*link.outbox));
    if (why == Error::kNone) {
        log_.write(LogKind::kNotice, "Client %s [%s] disconnected.", id.c_str(), peer.c_str());
    } else {
        log_.write(LogKind::kNotice,
                   "Client %s [%s] disconnected: %s.",
                   id.c_str(),
                   peer.c_str(),
                   error_text(why));
    }
}

Core::Taken Core::stop_before(Link& link, StopReason reason) {
    link.stop = reason;
    return Taken::kAgain;
}

Core::Taken Core::stop_behind(Link& link, StopReason reason) {
    link.stop = reason;
    return Taken::kStop;
}

// The arena refused something that must not be lost: the packet comes again when there is room.
Core::Taken Core::wait_for_memory(Link& link) {
    ++stats_.refused_memory;
    wait_in_list(link, memory_waiters_);
    return stop_before(link, StopReason::kMemory);
}

void Core::wait_in_list(Link& link, LinkList& list) {
    if (link.waiting) return;
    links_.remove(link);
    list.push_back(link);
    link.waiting = true;
}

// The list that a link is in which waits for this.
Core::LinkList& Core::waiters_for(StopReason reason) {
    switch (reason) {
        case StopReason::kSlowConsumer:
            return paused_;
        case StopReason::kJournal:
            return journal_waiters_;
        case StopReason::kParked:
            return parked_;
        default:
            return memory_waiters_;
    }
}

void Core::resume(Link& link) {
    if (link.stop == StopReason::kNone) return;
    const StopReason reason = link.stop;
    const bool paused = reason == StopReason::kSlowConsumer;
    link.stop = StopReason::kNone;
    link.overdue = false;
    if (link.waiting) {
        waiters_for(reason).remove(link);
        if (paused) --stats_.paused_publishers;
        links_.push_back(link);
        link.waiting = false;
    }
    if (MQTTD_MUTANT(8)) return;  // a stopped link is not resumed
    if (link.state != LinkState::kClosing) transport_.resume(*link.outbox);
}

Link* Core::opened(Outbox& outbox, const Arrival& arrival) {
    // Near the ceiling its CONNECT decides: who comes for what waits for it brings memory back.
    // A flood of them must not use up the reserve, though.
    const bool scarce = arena_.pressure() >= Arena::Pressure::kConnections;
    if (scarce && stats_.links - stats_.clients_connected > limits::kUnknownLinksWhenScarce) {
        ++stats_.refused_memory;
        return nullptr;
    }
    Link* link =
        arena_.make<Link>(arrival.refused || scarce ? Arena::Use::kReserve : Arena::Use::kNormal);
    if (link == nullptr) {
        ++stats_.refused_memory;
        return nullptr;
    }
    link->outbox = &outbox;
    link->listener = arrival.listener;
    link->last_input_ms = now_ms();
    const bool refused = arrival.refused || shutting_down_;
    link->state = refused ? LinkState::kRefused : LinkState::kAwaitConnect;
    link->timer.kind = kLinkTimer;
    links_.push_back(*link);
    ++stats_.links_opened;
    ++stats_.links;
    arm_connect_timer(*link);
    return link;
}

// All links are in one list.
void Core::leave_list(Link& link) {
    const bool paused = link.stop == StopReason::kSlowConsumer;
    if (link.waiting && paused) --stats_.paused_publishers;
    (!link.waiting ? links_ : waiters_for(link.stop)).remove(link);
}

// The outbox had blocked the link and has been written out.
void Core::writable(Link& link) {
    if (link.corked) {  // by us
        link.outbox->set_blocked(true);
        return;
    }
    if (link.slow_hook.in_list) slow_.remove(link);
    if (held_stuck_ && link.session && link.extras && link.extras->held)
        release_answers(link, *link.extras->held);
    if (link.session) {  // else it has ended, maybe just now
        link.session->warned = false;
        if (!MQTTD_MUTANT(48)) pump(*link.session);  // a queue waits though its link has drained
    }
    if (link.stop == StopReason::kDraining) resume(link);
    resume_paused(kPausedAtOnce);
}

void Core::closed(Link& link, Error why) {
    spend(limits::kCloseUnits);
    if (link.state != LinkState::kClosing) {
        log_leaving(link, why);
        const bool broke = why == Error::kReset || why == Error::kTimedOut ||
                           (why == Error::kEndOfFile && link.outbox->blocked());
        detach(link, true, broke);
    } else {
        --closing_links_;
    }
    timers_->disarm(link.timer);
    drop_partial(link);
    drop_extras(link);
    if (link.slow_hook.in_list) slow_.remove(link);
    leave_list(link);
    --stats_.links;
    arena_.destroy(&link);
}

}  // namespace mqttd
