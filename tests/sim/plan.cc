#include "sim/plan.h"

#include "base/prng.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

namespace {

using Kind = Action::Kind;

struct Weight {
    Kind kind;
    uint32_t weight;
};

constexpr Weight kWeights[] = {
    {Kind::kConnect,     30 },
    {Kind::kSubscribe,   22 },
    {Kind::kUnsubscribe, 6  },
    {Kind::kPublish,     100},
    {Kind::kPing,        4  },
    {Kind::kDisconnect,  6  },
    {Kind::kDrop,        5  },
    {Kind::kHalfClose,   2  },
    {Kind::kHangUp,      4  },
    {Kind::kGarbage,     2  },
    {Kind::kStall,       8  },
    {Kind::kHold,        8  },
    {Kind::kSilence,     2  },
    {Kind::kJump,        2  },
    {Kind::kReload,      1  },
};

constexpr TopicPriority kPriorities[] = {
    {"a/#", 5  },
    {"+/+", 200},
    {"b",   9  }
};

uint32_t any(Prng& dice, std::initializer_list<uint32_t> values) {
    return values.begin()[dice.below(static_cast<uint32_t>(values.size()))];
}

bool one_in(Prng& dice, uint32_t n) {
    return dice.below(n) == 0;
}

Kind any_kind(Prng& dice) {
    uint32_t sum = 0;
    for (const Weight& row : kWeights)
        sum += row.weight;
    uint32_t pick = dice.below(sum);
    for (const Weight& row : kWeights) {
        if (pick < row.weight) return row.kind;
        pick -= row.weight;
    }
    return Kind::kPing;
}

Weather any_weather(Prng& dice) {
    Weather weather;
    weather.chunk_max = any(dice, {0, 0, 1, 2, 7, 40, 1000});
    weather.delay = any(dice, {0, 0, 100, 500});
    weather.send_room = any(dice, {65'536, 65'536, 4'096, 300, 40});
    weather.short_write = any(dice, {0, 0, 50, 300});
    weather.idle_edge = any(dice, {0, 20});
    weather.stale_event = any(dice, {0, 200});
    weather.urgent = any(dice, {0, 0, 0, 20});
    weather.accept_failure = any(dice, {0, 0, 0, 100});
    return weather;
}

// Budgets of one unit, so that everything has to be resumed.
void tighten(Plan& plan, Prng& dice) {
    plan.broker.turn_units = any(dice, {16'384, 16'384, 200, 1});
    plan.broker.visit_units = any(dice, {4'096, 4'096, 10, 1});
    plan.broker.fanout_slice = any(dice, {4'096, 4'096, 3, 1});
    plan.broker.backlog_max = any(dice, {512, 512, 1});
    plan.broker.outbox_bytes_max = any(dice, {256 * 1024, 256 * 1024, 500});
    plan.accept_batch = any(dice, {64, 2, 1});
    plan.net.read_max = any(dice, {128 * 1024, 128 * 1024, 100, 1});
    plan.net.turn_read_max = any(dice, {1u << 20, 1u << 20, 1u << 20, 5'000});
}

void choose_rules(Plan& plan, Prng& dice) {
    BrokerOptions& o = plan.broker;
    o.allow_duplicate_messages = !one_in(dice, 3);
    o.upgrade_outgoing_qos = one_in(dice, 8);
    o.max_inflight_messages = any(dice, {20, 20, 1, 2, 5});
    o.max_queued_messages = 0;
    o.max_awaiting_rel = 0;
    o.await_rel_timeout_s = 0;
    o.shared_strategy = static_cast<SharedStrategy>(dice.below(4));
    o.persistent_client_expiration_s = one_in(dice, 4) ? 40 : 0;
    o.max_inflight_bytes = one_in(dice, 8) ? 100 : 0;
    if (one_in(dice, 8)) o.slow_consumer = SlowConsumer::kPause;
    if (one_in(dice, 8)) o.queue_qos0_messages = true;
    if (one_in(dice, 4)) o.priorities = kPriorities;
    if (one_in(dice, 4)) o.sys_interval_s = any(dice, {1, 10});
    if (one_in(dice, 4)) {  // limits that are reached
        plan.rules.wary = true;
        o.max_queued_messages = any(dice, {1, 3, 20});
        o.queue_full = static_cast<QueueFull>(dice.below(4));
        o.max_awaiting_rel = any(dice, {0, 2, 10});
        if (one_in(dice, 3)) o.slow_consumer = SlowConsumer::kDisconnect;
        o.slow_consumer_ms = 200;
        o.max_queued_bytes = any(dice, {0, 0, 100});
        o.unack_retry_interval_s = any(dice, {0, 1});
        o.await_rel_timeout_s = any(dice, {0, 2});
        // When a message was first published is not known if it may have been let go and come anew.
        if (o.await_rel_timeout_s != 0 || o.max_awaiting_rel != 0) plan.expiries = false;
    }
    if (one_in(dice, 10)) {
        plan.rules.wary = true;
        plan.refusals = true;
    }
    if (one_in(dice, 12)) {
        plan.rules.wary = true;
        plan.memory = 0;  // the least there can be: chosen by the world
    }
    plan.rules.sys = o.sys_interval_s != 0;
    plan.rules.scarce = plan.refusals || plan.memory == 0;
    plan.rules.allow_duplicates = o.allow_duplicate_messages;
    plan.rules.upgrade_qos = o.upgrade_outgoing_qos;
    plan.rules.queue_qos0 = o.queue_qos0_messages;
    plan.rules.window = o.max_inflight_messages;
    plan.rules.expiry_cap_s = o.persistent_client_expiration_s;
    plan.rules.rel_timeout_s = o.await_rel_timeout_s;
}

// What is chosen about the journal, by dice of its own.
void add_journal(Plan& plan) {
    Prng dice(plan.seed * 0x9e3779b97f4a7c15u + 2);
    BrokerOptions& o = plan.broker;
    DiskPlan& disk = plan.disk;
    // The largest packet has to fit, twice, beside the part that is kept; as in Persistence.
    const uint64_t least = plan.big > 2'000 ? 1u << 20 : plan.big > 100 ? 1u << 17 : 1u << 16;
    disk.ring = std::min<uint64_t>(least << dice.below(4), 1u << 20);
    disk.file_bytes = (32u << 10) << dice.below(4);
    if (one_in(dice, 6)) {
        disk.rule.mode = one_in(dice, 2) ? SyncRule::Mode::kInterval : SyncRule::Mode::kNone;
        disk.rule.interval = any(dice, {50, 1'000});
    }
    disk.pace = any(dice, {1000, 1000, 500, 100, 20});
    disk.stall = any(dice, {0, 0, 10, 50});
    disk.deaths = any(dice, {0, 0, 20, 200});
    if (one_in(dice, 4)) {
        disk.spells = any(dice, {5, 20, 50});
        disk.full = one_in(dice, 3);
        disk.faults.write = any(dice, {0, 1, 10, 40});
        disk.faults.sync = any(dice, {1, 10, 40});
        disk.faults.names = any(dice, {0, 0, 20});
        plan.rules.wary = true;
    }
    o.journal_slack_bytes = any(dice, {2'000, 20'000, 200'000});
    if (one_in(dice, 2)) {
        o.page_from_permille = 0;
        o.page_bytes = any(dice, {300, 1'000, 4'000});
    }
    o.disk_wait_s = any(dice, {0, 1, 10});
}

// Lives that end, in half of the worlds in which what was acknowledged is durable.
void add_cuts(Plan& plan) {
    Prng dice(plan.seed * 0x9e3779b97f4a7c15u + 3);
    const bool always = plan.disk.rule.mode == SyncRule::Mode::kAlways;
    if (!always || plan.memory == 0 || one_in(dice, 2)) return;
    plan.disk.cuts = plan.rules.cuts = true;
    // What $SYS says is not recorded, and its identifiers at QoS 2 are forgotten with a life.
    if (plan.rules.upgrade_qos) plan.broker.sys_interval_s = 0;
    plan.rules.sys = plan.broker.sys_interval_s != 0;
    plan.rules.slices = plan.broker.fanout_slice < 1'000;
    plan.rules.early_welcome = plan.disk.spells != 0;
    // Rounds all the time, so that some life ends in each part of one.
    if (one_in(dice, 2)) plan.broker.journal_slack_bytes = any(dice, {100, 500});
    // A round in a hundred turns says more about itself than that.
    if (plan.broker.turn_units < 100)
        plan.broker.journal_slack_bytes =
            std::max<uint64_t>(plan.broker.journal_slack_bytes, 2'000);
    for (uint32_t left = 1 + dice.below(8); left > 0; --left) {
        Action action;
        action.step = 4 + dice.below(plan.steps - 4);
        action.kind = one_in(dice, 3) ? Kind::kKill : Kind::kPowerCut;
        action.dice = dice.next();
        const auto later = [&](const Action& other) { return other.step > action.step; };
        auto at = std::find_if(plan.actions.begin(), plan.actions.end(), later);
        // Anywhere among those of its step.
        while (at != plan.actions.begin() && (at - 1)->step == action.step && !one_in(dice, 3))
            --at;
        plan.actions.insert(at, action);
    }
}

Plan make_plain_plan(uint64_t seed) {
    Prng dice(seed * 0x9e3779b97f4a7c15u + 1);
    Plan plan;
    plan.seed = seed;
    plan.clients = one_in(dice, 40) ? 1'000 : one_in(dice, 8) ? 50 : 2 + dice.below(10);
    plan.steps = plan.clients >= 1'000 ? 60 : 20 + dice.below(120);
    plan.unix_too = one_in(dice, 3);
    plan.expiries = one_in(dice, 3);
    plan.big = any(dice, {16, 16, 100, 2'000, 20'000});
    plan.files = one_in(dice, 10) ? 12 + dice.below(8) : plan.clients * 4 + 64;
    plan.memory = size_t{64} << 20;
    plan.levels = any(dice, {7, 7, 7, 4, 2});
    plan.slow_readers = any(dice, {0, 0, 300});
    plan.broker.listener.allow_anonymous = true;
    plan.broker.listener.connect_timeout_s = 0;
    plan.broker.sys_interval_s = 0;
    plan.broker.hash_key[0] = dice.next();
    plan.broker.hash_key[1] = dice.next();
    if (!one_in(dice, 3)) plan.weather = any_weather(dice);
    if (one_in(dice, 2)) tighten(plan, dice);
    choose_rules(plan, dice);
    plan.net.files_limit = plan.files;
    plan.net.files_reserve = 4;
    plan.net.refusal_slots = 2;
    const uint32_t per_step = plan.clients >= 1'000 ? 40 : 1 + plan.clients / 2;
    for (uint32_t step = 0; step < plan.steps; ++step) {
        const uint32_t count = dice.below(per_step + 1) + (step == 0 ? plan.clients : 0);
        for (uint32_t i = 0; i < count; ++i) {
            Action action;
            action.step = step;
            action.client = dice.below(plan.clients);
            action.kind = any_kind(dice);
            action.dice = dice.next();
            if (step == 0) {
                action.client = i % plan.clients;
                action.kind = Kind::kConnect;
            } else if (step == 1 || (step < 4 && one_in(dice, 2))) {
                action.kind = Kind::kSubscribe;
            }
            if (plan.refusals && one_in(dice, 20)) action.kind = Kind::kRefuse;
            plan.actions.push_back(action);
        }
    }
    return plan;
}

}  // namespace

Plan make_plan(uint64_t seed) {
    if (seed < kDurableSeeds) return make_plain_plan(seed);
    Plan plan = make_plain_plan(seed - kDurableSeeds);
    plan.seed = seed;
    add_journal(plan);
    add_cuts(plan);
    return plan;
}

Plan make_bulk_plan(uint64_t seed, bool with_model) {
    Prng dice(seed);
    Plan plan;
    plan.seed = seed;
    plan.bare = !with_model;
    plan.clients = 20;
    plan.levels = 2;  // 3.1.1: nobody who takes one message at a time
    plan.steps = 2'000;
    plan.big = 16;
    plan.files = 200;
    plan.memory = size_t{64} << 20;
    plan.broker.listener.allow_anonymous = true;
    plan.broker.sys_interval_s = 0;
    plan.broker.max_queued_messages = 0;
    plan.broker.max_inflight_messages = 1'000;  // 20 at a time would take longer than it rests
    plan.rules.window = plan.broker.max_inflight_messages;
    plan.net.files_limit = plan.files;
    plan.net.files_reserve = 4;
    for (uint32_t i = 0; i < 60; ++i) {
        plan.actions.push_back(
            {i / 20, i % 20, i < 20 ? Kind::kConnect : Kind::kSubscribe, dice.next()});
    }
    for (uint32_t step = 4; step < plan.steps; ++step) {
        for (uint32_t i = 0; i < 50; ++i)
            plan.actions.push_back({step, dice.below(20), Kind::kPublish, dice.next()});
    }
    return plan;
}

const char* name_of(Action::Kind kind) {
    static constexpr const char* kNames[] = {"connect",
                                             "subscribe",
                                             "unsubscribe",
                                             "publish",
                                             "ping",
                                             "disconnect",
                                             "drop",
                                             "half-close",
                                             "hang-up",
                                             "garbage",
                                             "stall",
                                             "hold",
                                             "silence",
                                             "jump",
                                             "reload",
                                             "refuse",
                                             "power cut",
                                             "kill"};
    return kNames[static_cast<size_t>(kind)];
}

std::string Plan::describe() const {
    char text[900];
    std::snprintf(
        text,
        sizeof text,
        "seed %llu: %u clients, %u steps, %zu actions, levels %u, files %u, payloads to %u\n"
        "  weather: chunks %u, delay %u, room %u, short %u, accept %u; slow readers %u\n"
        "  units %u/%u, slice %u, backlog %u, outbox %u, reads %u/%u\n"
        "  duplicates %d, upgrade %d, window %u, queue %u/%llu full %d, qos0 %d, slow %d, rel %u, "
        "retry %u, timeout %u, shared %d, expiry cap %llu, inflight bytes %llu, accepts "
        "%u%s%s%s%s%s\n",
        static_cast<unsigned long long>(seed),
        clients,
        steps,
        actions.size(),
        levels,
        files,
        big,
        weather.chunk_max,
        weather.delay,
        weather.send_room,
        weather.short_write,
        weather.accept_failure,
        slow_readers,
        broker.turn_units,
        broker.visit_units,
        broker.fanout_slice,
        broker.backlog_max,
        broker.outbox_bytes_max,
        net.read_max,
        net.turn_read_max,
        broker.allow_duplicate_messages,
        broker.upgrade_outgoing_qos,
        broker.max_inflight_messages,
        broker.max_queued_messages,
        static_cast<unsigned long long>(broker.max_queued_bytes),
        static_cast<int>(broker.queue_full),
        broker.queue_qos0_messages,
        static_cast<int>(broker.slow_consumer),
        broker.max_awaiting_rel,
        broker.unack_retry_interval_s,
        broker.await_rel_timeout_s,
        static_cast<int>(broker.shared_strategy),
        static_cast<unsigned long long>(broker.persistent_client_expiration_s),
        static_cast<unsigned long long>(broker.max_inflight_bytes),
        accept_batch,
        broker.priorities.empty() ? "" : ", priorities",
        rules.sys ? ", $SYS" : "",
        rules.wary ? ", wary" : "",
        refusals ? ", refusals" : "",
        memory == 0 ? ", little memory" : "");
    if (!durable()) return text;
    char more[400];
    std::snprintf(more,
                  sizeof more,
                  "  journal: ring %llu, files %u, sync %s, slack %llu, pages from %u, of %u, disk "
                  "wait %u\n"
                  "  scribe: pace %u, stalls %u, deaths %u; disk: spells %u, writes %u, syncs %u, "
                  "names %u%s%s\n",
                  static_cast<unsigned long long>(disk.ring),
                  disk.file_bytes,
                  disk.rule.mode == SyncRule::Mode::kAlways     ? "always"
                  : disk.rule.mode == SyncRule::Mode::kInterval ? "interval"
                                                                : "none",
                  static_cast<unsigned long long>(broker.journal_slack_bytes),
                  broker.page_from_permille,
                  broker.page_bytes,
                  broker.disk_wait_s,
                  disk.pace,
                  disk.stall,
                  disk.deaths,
                  disk.spells,
                  disk.faults.write,
                  disk.faults.sync,
                  disk.faults.names,
                  disk.full ? ", full" : "",
                  disk.cuts ? "; cuts" : "");
    return std::string(text) + more;
}

}  // namespace mqttd::sim
