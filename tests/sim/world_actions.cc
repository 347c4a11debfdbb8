// World: what its clients do.

#include "sim/world.h"

#include <algorithm>

namespace mqttd::sim {

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
        plan.packet_maximum = any({0, 0, 0, 150, 60});
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
        case Kind::kDisconnect: {
            uint32_t expiry_s = dice.below(4) == 0 ? dice.below(20) : kNever32;
            const uint8_t reason = dice.below(3) == 0 ? 4 : 0;
            // A session that ended and comes back with the next life is more than the model knows.
            if (plan_.disk.cuts && expiry_s == 0) expiry_s = 1;
            client.disconnect(reason, expiry_s);
            break;
        }
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
            for (const auto& [outbox, conn] : by_outbox_)
                conn->steps_overdue = 0;  // nobody had a chance in between
            // A start has no other clock.
            if (!plan_.disk.cuts) wall_s_ += static_cast<int64_t>(dice.below(100'000)) - 50'000;
            break;
        case Kind::kReload:
            options_.max_inflight_messages = 1 + dice.below(30);
            options_.shared_strategy = static_cast<SharedStrategy>(dice.below(4));
            street_.window = std::max(street_.window, options_.max_inflight_messages);
            broker_->reconfigure(options_);
            break;
        case Kind::kPowerCut:
        case Kind::kKill:
            end_life(action.kind == Kind::kPowerCut, dice);
            break;
        case Kind::kRefuse:
            memory_->arena.refuse_nth(1 + dice.below(30));
            break;
    }
}

}  // namespace mqttd::sim
