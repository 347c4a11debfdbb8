#include "sim/world.h"

#include "base/assert.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace mqttd::sim {

namespace {

constexpr size_t kLeastMemory = size_t{3} << 20;
constexpr uint32_t kTurnsPerStep = 64;
constexpr uint32_t kStepsToRest = 60'000;

Vocabulary make_words() {
    Vocabulary words;
    words.topics = {"a", "b", "a/b", "a/b/c", "a//c", "b/c", "c/d/e/f", "/x", "$own/a"};
    for (const char* filter : {"a",
                               "b",
                               "a/b",
                               "a/+",
                               "a/#",
                               "#",
                               "+",
                               "+/+",
                               "+/b/#",
                               "b/c",
                               "c/d/+/f",
                               "/+",
                               "$own/#",
                               "a//c",
                               "$share/g/a/#",
                               "$share/g/b",
                               "$share/h/a/#",
                               "$share/g/+/c",
                               "$queue/c/#"}) {
        words.add_filter(filter);
    }
    return words;
}

// Whether the broker closes a connection while it is busy with another one, so that the session
// notices later.
bool in_passing(Error why) {
    return why == Error::kQuotaExceeded || why == Error::kNoMemory;
}

}  // namespace

World::World(const Plan& plan)
    : plan_(plan),
      dice_(plan.seed ^ 0x51a3),
      words_(make_words()),
      messages_(1),
      memory_(plan.memory != 0 ? plan.memory : kLeastMemory),
      log_(
          [](void* context, LogKind, std::string_view line) {
              auto* world = static_cast<World*>(context);
              world->say("log: %.*s", static_cast<int>(line.size()), line.data());
          },
          this,
          ~0u),
      kernel_(dice_, plan.files),
      model_(words_, messages_, plan.rules),
      street_{kernel_,
              model_,
              dice_,
              words_,
              messages_,
              plan.broker.max_inflight_messages,
              now_,
              plan.broker.await_rel_timeout_s != 0,
              plan.bare,
              false,
              0} {
    kernel_.weather = plan.weather;
    live_before_ = memory_.arena.live();
    net_ = std::make_unique<Net>(memory_.arena, dirty_, log_, plan.net);
    broker_ =
        std::make_unique<Broker>(memory_.arena, *this, *this, dirty_, log_, plan.broker, now_);
    net_->bind(*this);
    for (uint32_t i = 0; i <= plan.clients; ++i)
        clients_.emplace_back(street_, i);
}

// A world that failed is left as it is: broker and net end only when everybody has gone.
World::~World() {
    (void)broker_.release();
    (void)net_.release();
}

void World::say(const char* format, ...) {
    if (!loud) return;
    std::printf("%9llu.%llu ",
                static_cast<unsigned long long>(now_),
                static_cast<unsigned long long>(turn_));
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::putchar('\n');
}

// ---- The tap
// -----------------------------------------------------------------------------------------

void* World::opened(Outbox& outbox, const Arrival& arrival) {
    const auto found = by_port_.find(arrival.peer.port);
    MQTTD_ASSERT(found != by_port_.end());
    Conn& conn = *found->second;
    conn.link = broker_->opened(outbox, arrival);
    if (conn.link == nullptr) return nullptr;
    conn.outbox = &outbox;
    conn.last_taken = now_;
    by_outbox_[&outbox] = &conn;
    return &conn;
}

Consumed World::receive(void* link, Range input) {
    Conn& conn = *static_cast<Conn*>(link);
    if (plan_.bare) return broker_->receive(conn.link, input);
    const Stats before = broker_->stats();
    receiving_ = &conn;
    const Consumed consumed = broker_->receive(conn.link, input);
    receiving_ = nullptr;
    const Stats& after = broker_->stats();
    model_.set_jobs(after.fanout_jobs_now > 0);
    take(conn, after.packets_received_all - before.packets_received_all, before);
    const auto closes = std::move(closes_);
    closes_.clear();
    for (const auto& [other, why] : closes) {
        model_.detached(other->session, other, in_passing(why));
    }
    model_.settle_open();
    return consumed;
}

// The packets that the broker took in one call, for the model.
void World::take(Conn& conn, uint64_t packets, const Stats& before) {
    if (packets > 0) conn.last_taken = now_;
    const Stats& after = broker_->stats();
    for (; packets > 0; --packets) {
        if (conn.ops.empty()) {
            model_.fail("the broker took more packets than were sent");
            return;
        }
        const Op op = std::move(conn.ops.front());
        conn.ops.pop_front();
        say("%s takes type %u id %u message %u%s",
            conn.client->id().c_str(),
            static_cast<unsigned>(op.type),
            op.packet_id,
            op.message,
            op.dup ? " dup" : "");
        if (op.type == Type::kConnect) {
            if (after.connects_refused != before.connects_refused) continue;
            const bool resumed = after.sessions_resumed != before.sessions_resumed;
            conn.session = model_.connected(conn.client->index, &conn, *op.connect, resumed);
        } else if (conn.session) {
            model_.took(conn.session, op);
            model_.settle_open();
        }
    }
}

void World::progress(void* link) {
    broker_->progress(static_cast<Conn*>(link)->link);
}

void World::writable(void* link) {
    broker_->writable(static_cast<Conn*>(link)->link);
}

void World::closed(void* link, Error why) {
    Conn& conn = *static_cast<Conn*>(link);
    say("%s is gone: %s", conn.client->id().c_str(), error_text(why));
    stamp();
    broker_->closed(conn.link, why);
    model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
    model_.detached(conn.session, &conn);
    model_.settle_open();
    by_outbox_.erase(conn.outbox);
    conn.outbox = nullptr;
    conn.link = nullptr;
}

bool World::budget_left() const {
    return broker_->budget_left();
}

void World::resume(Outbox& outbox) {
    net_->resume(outbox);
}

bool World::input_waiting(const Outbox& outbox) const {
    return net_->input_waiting(outbox);
}

// The broker closes a connection: it needs a reason.
void World::close(Outbox& outbox, Error why) {
    Conn& conn = *by_outbox_.at(&outbox);
    say("%s is closed: %s", conn.client->id().c_str(), error_text(why));
    const uint64_t silent = now_ - conn.last_taken;
    const uint64_t limit = uint64_t{conn.plan->keep_alive_s} * 1'500;
    bool just = false;
    switch (why) {
        case Error::kNone:
        case Error::kEndOfFile:
        case Error::kReset:
        case Error::kTimedOut:
        case Error::kSessionTakenOver:
        case Error::kShuttingDown:
            just = true;
            break;
        case Error::kKeepAliveTimeout:
            just = limit != 0 && silent >= limit;
            break;
        default:
            just = conn.rude || conn.session == nullptr;
    }
    if (!just && !plan_.rules.wary) {
        model_.fail("client " + std::to_string(conn.client->index) +
                    " did nothing wrong and was closed: " + error_text(why));
    }
    conn.closing = true;
    if (receiving_ != nullptr) {
        closes_.emplace_back(&conn, why);
    } else {
        model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
        model_.detached(conn.session, &conn, in_passing(why));
    }
    net_->close(outbox, why);
}

uint32_t World::flush(Outbox& outbox) {
    return net_->flush(outbox);
}

Peer World::peer(const Outbox& outbox) const {
    return net_->peer(outbox);
}

void World::sample(HostStats& out) {
    out = net_->stats();
}

// ---- Turns
// -------------------------------------------------------------------------------------------

// As Server::sleep_time decides it.
bool World::turn_is_due() const {
    return kernel_.edges_waiting() || !net_->idle() || !broker_->idle() ||
           std::min(net_->next_deadline(), broker_->next_deadline()) <= now_;
}

// In the order of Server::turn.
void World::turn() {
    ++turn_;
    net_->collect(0);
    model_.set_time(now_, turn_);
    broker_->begin_turn(now_, wall_s_, net_->ready_links());
    net_->begin_turn(now_);
    net_->accept();
    net_->serve_ready();
    broker_->tick();
    net_->flush();
    net_->reap();
    model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
    stamp();
}

void World::turns() {
    for (uint32_t i = 0; i < kTurnsPerStep && turn_is_due() && !failed(); ++i)
        turn();
}

void World::stamp() {
    if (plan_.bare) return;
    for (const auto& [outbox, conn] : by_outbox_) {
        const uint64_t bytes = outbox->appended();
        if (!conn->stamps.empty() && conn->stamps.back().bytes == bytes) continue;
        conn->stamps.push_back({bytes, turn_, now_});
    }
}

void World::advance(Duration ms) {
    now_ += ms;
    wall_s_ += static_cast<int64_t>(ms / 1000);
    street_.now = now_;
}

void World::step() {
    for (Client& client : clients_) {
        client.keep_alive();
        for (Conn& conn : client.conns)
            kernel_.move(*conn.wire);
    }
    turns();
    for (Client& client : clients_) {
        client.read_max =
            plan_.slow_readers != 0 && !calm_ && dice_.below(1000) < plan_.slow_readers
                ? 1 + dice_.below(20)
                : ~uint32_t{0};
        client.read();
    }
    reap();
}

// Connections with which both sides are done.
void World::reap() {
    for (Client& client : clients_) {
        for (auto at = client.conns.begin(); at != client.conns.end();) {
            Conn& conn = *at;
            if (conn.abandoned && conn.wire->server_gone) conn.wire->client_gone = true;
            if (!conn.wire->closed() || conn.link != nullptr) {
                ++at;
                continue;
            }
            by_port_.erase(static_cast<uint16_t>(conn.wire->id));
            kernel_.release(*conn.wire);
            if (client.conn == &conn) client.conn = nullptr;
            at = client.conns.erase(at);
        }
    }
}

// ---- Actions
// -----------------------------------------------------------------------------------------

void World::connect(Client& client, Prng& dice) {
    const auto any = [&](std::initializer_list<uint32_t> values) {
        return values.begin()[dice.below(static_cast<uint32_t>(values.size()))];
    };
    ConnectPlan plan;
    do {
        plan.level = static_cast<uint8_t>(3 + dice.below(3));
    } while ((plan_.levels >> (plan.level - 3) & 1) == 0);
    const bool v5 = plan.level == 5;
    plan.clean = dice.below(2) == 0;
    plan.keep_alive_s = static_cast<uint16_t>(any({0, 0, 5, 10}));
    if (v5) {
        plan.expiry_s = any({0, 5, 60, kNever32});
        plan.receive_maximum = static_cast<uint16_t>(any({65'535, 65'535, 1, 3}));
        plan.alias_maximum = static_cast<uint16_t>(any({0, 0, 2}));
        plan.packet_maximum = any({0, 0, 0, 150});
    }
    if (dice.below(3) == 0) {
        Message will;
        will.number = static_cast<uint32_t>(messages_.size());
        will.publisher = client.index;
        will.topic = dice.below(static_cast<uint32_t>(words_.topics.size()));
        will.size = 4 + dice.below(12);
        will.qos = static_cast<uint8_t>(dice.below(3));
        will.retain = dice.below(4) == 0;
        messages_.push_back(will);
        plan.has_will = true;
        plan.will = {will.number, v5 ? any({0, 0, 2, 10}) : 0};
    }
    const bool unix_socket = plan_.unix_too && dice.below(3) == 0;
    if (!client.connect(plan, unix_socket, dice.below(2) == 0)) return;
    by_port_[static_cast<uint16_t>(client.conn->wire->id)] = client.conn;
}

void World::act(const Action& action) {
    using Kind = Action::Kind;
    Client& client = clients_[action.client];
    Prng dice(action.dice);
    const auto any_of = [&](size_t count) { return dice.below(static_cast<uint32_t>(count)); };
    say("%s: %s", client.id().c_str(), name_of(action.kind));
    switch (action.kind) {
        case Kind::kConnect:
            connect(client, dice);
            break;
        case Kind::kSubscribe: {
            std::vector<FilterPlan> filters;
            const uint32_t count = 1 + dice.below(3);
            const uint32_t identifier = dice.below(3) == 0 ? 1 + dice.below(300) : 0;
            for (uint32_t i = 0; i < count; ++i) {
                FilterPlan plan;
                plan.filter = any_of(words_.filters.size());
                const auto same = [&](const FilterPlan& other) {
                    return other.filter == plan.filter;
                };
                if (std::any_of(filters.begin(), filters.end(), same)) continue;
                plan.identifier = identifier;
                plan.qos = static_cast<uint8_t>(dice.below(3));
                plan.retain_handling = static_cast<uint8_t>(dice.below(3));
                plan.no_local = dice.below(6) == 0;
                plan.retain_as_published = dice.below(3) == 0;
                filters.push_back(plan);
            }
            client.subscribe(filters);
            break;
        }
        case Kind::kUnsubscribe:
            client.unsubscribe({any_of(words_.filters.size()), any_of(words_.filters.size())});
            break;
        case Kind::kPublish: {
            const uint32_t topic = any_of(words_.topics.size());
            const uint32_t size = dice.below(plan_.big + 1);
            const bool expires = plan_.expiries && dice.below(4) == 0;
            const uint32_t expiry = expires ? 1 + dice.below(20) : kNever32;
            const auto qos = static_cast<uint8_t>(dice.below(3));
            const bool retain = dice.below(5) == 0;
            const uint32_t count = dice.below(4) == 0 ? 1 + dice.below(12) : 1;
            for (uint32_t i = 0; i < count; ++i)
                client.publish(topic, qos, retain, retain && dice.below(3) == 0 ? 0 : size, expiry);
            break;
        }
        case Kind::kPing:
            client.ping();
            break;
        case Kind::kDisconnect:
            client.disconnect(dice.below(3) == 0 ? 4 : 0,
                              dice.below(4) == 0 ? dice.below(20) : kNever32);
            break;
        case Kind::kDrop:
            client.drop();
            break;
        case Kind::kHalfClose:
            client.half_close();
            break;
        case Kind::kHangUp:
            client.hang_up();
            break;
        case Kind::kGarbage:
            client.garbage(dice.below(100));
            break;
        case Kind::kStall:
            client.stall(dice.below(2) == 0);
            break;
        case Kind::kHold:
            client.hold(dice.below(2) == 0);
            break;
        case Kind::kSilence:
            client.silent = dice.below(2) == 0;
            break;
        case Kind::kJump:
            advance(dice.below(3) == 0 ? dice.below(70'000) : dice.below(7'000));
            wall_s_ += static_cast<int64_t>(dice.below(100'000)) - 50'000;
            break;
        case Kind::kRefuse:
            memory_.arena.refuse_nth(1 + dice.below(30));
            break;
    }
}

// ---- A run
// -------------------------------------------------------------------------------------------

Outcome World::run() {
    street_.loud = model_.loud = loud;
    const Error opened = net_->open();
    ListenOptions options;
    ListenerLimits limits;
    const auto tcp = net_->listen(options, limits);
    options.unix_path = "/sim";
    const auto local = net_->listen(options, limits);
    MQTTD_ASSERT(opened == Error::kNone && tcp.ok() && local.ok());
    size_t next = 0;
    for (uint32_t i = 0; i < plan_.steps && !failed(); ++i) {
        for (; next < plan_.actions.size() && plan_.actions[next].step <= i; ++next)
            act(plan_.actions[next]);
        const uint32_t passes = 1 + dice_.below(4);
        for (uint32_t pass = 0; pass < passes && !failed(); ++pass)
            step();
        advance(1 + dice_.below(40));
    }
    if (!failed()) settle();
    Outcome outcome;
    outcome.failure = model_.failure();
    outcome.applied = plan_.bare ? broker_->stats().publish_received : model_.applied();
    outcome.read = street_.read_messages;
    outcome.turns = turn_;
    outcome.time = now_ - 1'000'000;
    outcome.clients = plan_.clients;
    if (!failed()) check_end();
    if (failed()) outcome.failure = model_.failure();
    return outcome;
}

// Input stops, the weather clears, everybody comes back who has a session: now everything has to
// arrive.
void World::settle() {
    say("---- settling");
    calm_ = true;
    kernel_.weather = Weather{};
    memory_.arena.refuse_nth(0);
    for (Client& client : clients_) {
        client.stall(false);
        client.silent = false;
        client.hold(false);
        for (Conn& conn : client.conns) {
            if (&conn != client.conn || conn.abandoned) kernel_.hang_up(*conn.wire);
        }
    }
    if (!come_to_rest(kStepsToRest)) return;
    for (Client& client : clients_) {
        if (client.has_connection() || client.index == plan_.clients) continue;
        const SessionRef session = model_.session_of(client.index);
        if (!session) continue;
        ConnectPlan plan;
        plan.level = session->level;
        plan.clean = false;
        plan.expiry_s = kNever32;
        if (!client.connect(plan, false, false)) continue;
        by_port_[static_cast<uint16_t>(client.conn->wire->id)] = client.conn;
        if (kernel_.open_files() + 8 > plan_.files && !come_to_rest(kStepsToRest)) return;
    }
    if (!come_to_rest(kStepsToRest) || plan_.bare) return;
    check_drops();
    if (failed() || plan_.rules.wary) return;
    // What is retained, as somebody new sees it.
    Client& probe = clients_.back();
    ConnectPlan plan;
    plan.level = 5;
    if (!probe.connect(plan, false, false)) return;
    by_port_[static_cast<uint16_t>(probe.conn->wire->id)] = probe.conn;
    if (!come_to_rest(kStepsToRest)) return;
    if (!probe.usable()) return;  // no descriptor left for it
    for (const char* text : {"#", "$own/#"}) {
        FilterPlan filter;
        while (words_.filters[filter.filter].text != text)
            ++filter.filter;
        filter.qos = 1;
        probe.subscribe({filter});
    }
    if (!come_to_rest(kStepsToRest)) return;
    check_drops();
}

bool World::quiet() const {
    if (!net_->idle() || !broker_->idle() || kernel_.edges_waiting()) return false;
    for (const Client& client : clients_) {
        for (const Conn& conn : client.conns) {
            const Wire& wire = *conn.wire;
            if (!wire.accepted && kernel_.open_files() + 6 >= plan_.files) continue;
            if (!wire.down.empty()) return false;
            // Near the ceiling a publisher may wait for memory for as long as others are away.
            if (plan_.memory == 0 && broker_->stats().refused_memory > 0) continue;
            if (!wire.up.empty() || !wire.inbox.empty()) return false;
            if (!conn.abandoned && !conn.ops.empty() && !wire.server_gone && !conn.rude)
                return false;
            if (conn.abandoned && !wire.server_gone) return false;
        }
        const bool may_hang = plan_.rules.wary || (client.conn && !client.conn->wire->accepted);
        if (client.usable() && client.unfinished() > 0 && !may_hang) return false;
    }
    return true;
}

// False, and a failure, if something goes on waiting.
bool World::come_to_rest(uint32_t steps) {
    uint32_t calm = 0;
    for (uint32_t i = 0; i < steps && !failed(); ++i) {
        step();
        calm = quiet() ? calm + 1 : 0;
        // Long enough for whatever is tried again in a while.
        if (calm > 40) return true;
        advance(calm > 3 ? 50 : 5);
    }
    if (failed()) return false;
    std::string who;
    for (const Client& client : clients_) {
        for (const Conn& conn : client.conns) {
            if (conn.wire->up.empty() && conn.wire->inbox.empty() && conn.wire->down.empty() &&
                conn.ops.empty() && !conn.abandoned && client.unfinished() == 0) {
                continue;
            }
            char text[200];
            std::snprintf(text,
                          sizeof text,
                          " [%s%s: up %zu inbox %zu down %zu ops %zu flows %llu outbox %u%s]",
                          client.id().c_str(),
                          conn.abandoned ? " abandoned" : "",
                          conn.wire->up.size(),
                          conn.wire->inbox.size(),
                          conn.wire->down.size(),
                          conn.ops.size(),
                          static_cast<unsigned long long>(client.unfinished()),
                          conn.outbox != nullptr ? conn.outbox->pending() : 0,
                          conn.outbox != nullptr && conn.outbox->blocked() ? " blocked" : "");
            if (who.size() < 600) who += text;
        }
    }
    model_.fail("it does not come to rest: net " + std::string(net_->idle() ? "idle" : "busy") +
                ", broker " + (broker_->idle() ? "idle" : "busy") + who);
    return false;
}

// Whatever has not come must be in a counter.
void World::check_drops() {
    const Stats& stats = broker_->stats();
    const auto drops = [&](Drop drop) { return stats.drops[static_cast<size_t>(drop)]; };
    const Model::Missing missing = model_.missing();
    const auto fail = [&](const char* what, uint64_t missed, uint64_t counted) {
        model_.fail(std::string(what) + ": " + std::to_string(missed) + " did not come, " +
                    std::to_string(counted) + " are counted; message " +
                    std::to_string(missing.example) + " to client " +
                    std::to_string(static_cast<int>(missing.example_client)));
    };
    const uint64_t any = drops(Drop::kMemory) + drops(Drop::kReceiverSize) + drops(Drop::kExpired);
    const uint64_t qos0 = drops(Drop::kBlocked) + drops(Drop::kNoMember) + any;
    const uint64_t counted = drops(Drop::kQueueFull) + any;
    if (plan_.refusals) {
        // One refusal may take a message from many.
        if (missing.qos0_must + missing.counted_must > 0 && qos0 + counted == 0) {
            fail("after a refusal", missing.qos0_must + missing.counted_must, 0);
        }
    } else if (plan_.rules.wary || plan_.rules.queue_qos0) {
        const uint64_t all = qos0 + counted + drops(Drop::kAwaitRel) + drops(Drop::kRelTimeout);
        if (missing.qos0_must + missing.counted_must > all) {
            fail("all in all", missing.qos0_must + missing.counted_must, all);
        }
    } else {
        if (missing.qos0_must > qos0) fail("QoS 0", missing.qos0_must, qos0);
        if (missing.counted_must > counted) fail("QoS 1 and 2", missing.counted_must, counted);
    }
    if (plan_.rules.wary) return;
    if (drops(Drop::kNoLocal) != model_.no_local_drops() && model_.exact_offline()) {
        fail("No Local", model_.no_local_drops(), drops(Drop::kNoLocal));
    }
    if (drops(Drop::kOffline) != model_.offline_drops() && model_.exact_offline()) {
        fail("offline", model_.offline_drops(), drops(Drop::kOffline));
    }
    for (const Drop never : {Drop::kMemory,
                             Drop::kTooLarge,
                             Drop::kAwaitRel,
                             Drop::kRelTimeout,
                             Drop::kRetainLimit,
                             Drop::kSystemTopic,
                             Drop::kQueueFull}) {
        if (drops(never) != 0)
            fail("a drop without a reason", static_cast<uint64_t>(never), drops(never));
    }
    const auto away = [&](const Client& client) {
        return model_.session_of(client.index) && !client.usable();
    };
    const bool all_here = std::none_of(clients_.begin(), clients_.end(), away);
    if (all_here && (stats.queued != 0 || stats.inflight_out != 0)) {
        fail("still queued or under way", stats.queued, stats.inflight_out);
    }
}

// Sessions end when their time has come, and nothing is left behind.
void World::check_end() {
    if (!plan_.bare && !plan_.rules.wary && plan_.rules.expiry_cap_s != 0) {
        for (Client& client : clients_)
            client.hang_up();
        if (!come_to_rest(kStepsToRest)) return;
        advance((plan_.rules.expiry_cap_s + 100) * kSecond);
        if (!come_to_rest(kStepsToRest)) return;
        if (broker_->stats().sessions != model_.sessions()) {
            model_.fail(std::to_string(broker_->stats().sessions) + " sessions are left of " +
                        std::to_string(model_.sessions()));
            return;
        }
    }
    for (Client& client : clients_) {
        if (client.conn == nullptr) continue;
        // Whoever waits for memory is not read, so that it does not see an orderly end.
        if (plan_.memory == 0) {
            client.drop();
        } else {
            client.hang_up();
        }
    }
    come_to_rest(kStepsToRest);
    if (failed()) return;
    broker_ = nullptr;
    net_ = nullptr;
    if (memory_.arena.live() != live_before_) {
        model_.fail(std::to_string(memory_.arena.live() - live_before_) +
                    " objects are left in the arena");
    }
}

}  // namespace mqttd::sim
