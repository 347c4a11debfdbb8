// World: a run from the first action to an empty arena, and what is looked at on the way.

#include "base/assert.h"
#include "sim/crossing.h"
#include "sim/world.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

namespace {

constexpr uint32_t kStepsToRest = 60'000;
constexpr uint32_t kCalm = 6;           // steps
constexpr uint32_t kSilentSteps = 100;  // of half a second

}  // namespace

Outcome World::run() {
    street_.loud = model_.loud = loud;
    if (archive_) archive_->loud = loud;
    allocations_before_ = Crossing::allocations();
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
    outcome.cuts = cuts_;
    outcome.kills = kills_;
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
    memory_->arena.refuse_nth(0);
    const auto silent = [](const Client& client) { return client.silent; };
    if (std::any_of(clients_.begin(), clients_.end(), silent)) {
        for (uint32_t i = 0; i < kSilentSteps && !failed(); ++i) {
            step();
            advance(500);
        }
    }
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
    if (archive_) check_journal();
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
    const bool tries_again = plan_.memory == 0;  // and that leaves something in the journal
    if (archive_ && (!archive_->at_rest() || (archive_->told() && !tries_again))) return false;
    if (!net_->idle() || !broker_->idle() || kernel_.edges_waiting()) return false;
    for (const Client& client : clients_) {
        for (const Conn& conn : client.conns) {
            const Wire& wire = *conn.wire;
            if (!wire.accepted && kernel_.open_files() + 6 >= plan_.files) continue;
            if (!wire.down.empty()) return false;
            // Near the ceiling a publisher may wait for memory for as long as others are away.
            const bool refused = broker_->stats().refused_memory > 0 || refused_before_;
            if (plan_.memory == 0 && refused) continue;
            if (!wire.up.empty() || !wire.inbox.empty()) return false;
            if (!conn.abandoned && !conn.ops.empty() && !wire.server_gone && !conn.rude)
                return false;
            if (conn.abandoned && !wire.server_gone) return false;
        }
        const bool may_hang = plan_.rules.wary || (client.conn && !client.conn->wire->accepted);
        if (client.usable() && client.unfinished() > 0 && !may_hang) return false;
        // Nothing may be held back when all is durable.
        if (archive_ && client.unanswered() && !may_hang) return false;
    }
    return true;
}

// What may bring somebody a message.
World::Causes World::causes() const {
    const Stats& stats = broker_->stats();
    return {stats.publish_received,
            model_.applied(),
            stats.sessions,
            stats.clients_connected,
            kernel_.open_files(),
            archive_ && plan_.memory != 0 ? archive_->journal().tail() : 0};
}

// False, and a failure, if something goes on waiting.
bool World::come_to_rest(uint32_t steps) {
    uint32_t calm = 0;
    Causes before = causes();
    uint64_t read = street_.read_first_time;
    for (uint32_t i = 0; i < steps && !failed(); ++i) {
        step();
        const Causes now = causes();
        const bool more = street_.read_first_time != read;
        const bool timer = now_ < model_.last_due() + kLate;
        // Everything was at rest, nothing happened, and something came all the same.
        if (more && calm > kCalm && now == before && !timer && !plan_.rules.wary && !plan_.bare) {
            model_.fail("a message came late: something slept over it");
        }
        calm = quiet() && !more && now == before ? calm + 1 : 0;
        before = now;
        read = street_.read_first_time;
        // Long enough for whatever is tried again in a while.
        if (calm > 40) return true;
        advance(calm > 3 ? 50 : 5);
    }
    if (failed()) return false;
    std::string who = archive_ ? " [" + archive_->describe() + "]" : "";
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
    const bool refused = stats.refused_memory > 0 || refused_before_;
    // What it sent and nobody answers, or nobody has read, stands before its acknowledgements.
    // A queue whose pages find no room stands still for as long as memory is short.
    const bool stuck = plan_.memory == 0 && refused && stats.paged_messages > 0;
    std::vector<bool> waits(clients_.size(), stuck);
    if (plan_.memory == 0 && refused) {
        for (size_t i = 0; i < clients_.size(); ++i) {
            const auto unread = [](const Conn& conn) {
                return !conn.wire->server_gone &&
                       !(conn.wire->up.empty() && conn.wire->inbox.empty());
            };
            const auto& conns = clients_[i].conns;
            waits[i] = stuck || clients_[i].unfinished() > 0 ||
                       std::any_of(conns.begin(), conns.end(), unread);
        }
    }
    const Model::Missing missing = model_.missing(waits);
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
        // One that had ended may be there again, with what waits for it.
        const bool ghost = cuts_ + kills_ > 0 && client.index < plan_.clients;
        if (ghost && !model_.session_of(client.index)) return true;
        return model_.session_of(client.index) && !(client.usable() && client.conn->welcome);
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
        model_.set_time(now_ + kLate, turn_);
        if (broker_->stats().sessions != model_.sessions()) {
            model_.fail(std::to_string(broker_->stats().sessions) + " sessions are left of " +
                        std::to_string(model_.sessions()));
            return;
        }
    }
    for (Client& client : clients_) {
        for (Conn& conn : client.conns) {
            // Whoever waits for memory is not read, so that it does not see an orderly end.
            if (plan_.memory == 0) {
                kernel_.cut(*conn.wire);
            } else {
                kernel_.hang_up(*conn.wire);
            }
            conn.abandoned = true;
        }
    }
    if (!come_to_rest(kStepsToRest)) return;
    for (uint32_t i = 0; i < 1'000 && net_->connections() > 0; ++i) {
        step();
        advance(50);
    }
    if (net_->connections() > 0) return model_.fail("a connection stays whose client has gone");
    const uint64_t allocations = Crossing::allocations() - allocations_before_;
    if (allocations > 0) {
        model_.fail("the product took memory from the heap " + std::to_string(allocations) +
                    " times");
        return;
    }
    broker_ = nullptr;
    net_ = nullptr;
    if (memory_->arena.live() != live_before_) {
        model_.fail(std::to_string(memory_->arena.live() - live_before_) +
                    " objects are left in the arena");
    }
}

}  // namespace mqttd::sim
