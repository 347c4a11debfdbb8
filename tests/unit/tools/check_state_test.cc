// The state that records come to, record by record.

#include "tools/check_state.h"

#include "catch2/catch.hpp"
#include "unit/tools/check_fixture.h"

using namespace mqttd;
using namespace mqttd::check;

namespace {

struct Said {
    State state{64};
    uint64_t position = 64;

    template <class T>
    uint64_t say(DurableType type, const T& value) {
        return say(type, encoded(value));
    }

    uint64_t say(DurableType type, const std::vector<uint8_t>& body) {
        position += 8;
        REQUIRE(state.apply(static_cast<uint8_t>(type), position, Bytes(body)));
        return position;
    }

    bool refuses(DurableType type, const std::vector<uint8_t>& body) {
        return !state.apply(static_cast<uint8_t>(type), 8, Bytes(body));
    }

    const KeptSession& session(uint32_t number) { return state.sessions().at(number); }

    void deliver(uint64_t message, const DurableDelivery& to) {
        say(DurableType::kDeliveries, encoded(message, {to}));
    }
};

std::vector<uint8_t> done(uint32_t session,
                          const std::vector<uint8_t>& ids,
                          DurableState state = DurableState::kDone) {
    return encoded(
        DurableProgress{session, state, static_cast<uint32_t>(ids.size() / 2), ids.data()});
}

}  // namespace

TEST_CASE("sessions come, go away and end with all they had", "[tools][check]") {
    Said told;
    told.say(DurableType::kSession, session_of(1, "one"));
    told.say(DurableType::kSubscribed, DurableSubscription{1, 7, 1 | 8, as_bytes("a")});
    told.say(DurableType::kSubscribed, DurableSubscription{1, 0, 2, as_bytes("a")});
    told.say(DurableType::kSubscribed, DurableSubscription{1, 0, 2, as_bytes("b")});
    told.say(DurableType::kSubscribed, DurableSubscription{9, 0, 2, as_bytes("nobody's")});
    CHECK(told.session(1).subscriptions.size() == 2);
    CHECK(told.session(1).subscriptions.at("a").options == 2);
    CHECK(told.state.totals().connected == 1);
    told.say(DurableType::kUnsubscribed, DurableUnsubscription{1, as_bytes("b")});
    told.say(DurableType::kAway, DurableAway{1, 50, 2000});
    CHECK(told.session(1).expiry_s == 50);
    CHECK(told.state.totals().connected == 0);
    CHECK(told.state.last_wall_s() == 2000);
    told.say(DurableType::kSession, session_of(1, "one"));  // it is back
    CHECK(told.session(1).connected());
    CHECK(told.session(1).subscriptions.size() == 1);
    told.say(DurableType::kSession, session_of(2, "one"));  // began anew
    CHECK(told.state.sessions().size() == 1);
    CHECK(told.session(2).subscriptions.empty());
    told.say(DurableType::kEnded, std::vector<uint8_t>{1, 0, 0, 0});  // said late
    CHECK(told.state.sessions().size() == 1);
    told.say(DurableType::kEnded, std::vector<uint8_t>{2, 0, 0, 0});
    CHECK(told.state.sessions().empty());
}

TEST_CASE("a message goes through queue, window and end", "[tools][check]") {
    Said told;
    told.say(DurableType::kSession, session_of(1, "one"));
    const uint64_t name = told.say(DurableType::kMessage, message_of("t", "text"));
    told.deliver(name, delivery_of(1, 1));
    told.deliver(name, delivery_of(1, 2));
    told.deliver(name, delivery_of(1, 1));  // said again
    CHECK(told.session(1).queued.size() == 2);
    CHECK(told.session(1).waiting_bytes() == 8);
    told.say(DurableType::kSent, DurableSent{1, 1, 30});
    told.say(DurableType::kSent, DurableSent{1, 1, 31});  // it is not there any more
    CHECK(told.session(1).queued.size() == 1);
    CHECK(told.session(1).under_way.size() == 1);
    told.say(DurableType::kProgress, done(1, {30, 0}, DurableState::kReleased));
    CHECK_FALSE(told.session(1).under_way.at(30).message);
    told.deliver(name, delivery_of(1, 30, true));  // a round; PUBREC has come
    CHECK_FALSE(told.session(1).under_way.at(30).message);
    told.say(DurableType::kProgress, done(1, {30, 0, 99, 0}));
    CHECK(told.session(1).under_way.empty());
    told.say(DurableType::kDropped, DurableDropped{1, 2});
    CHECK(told.session(1).queued.empty());
    told.say(DurableType::kProgress, done(1, {44, 0}, DurableState::kReleased));
    CHECK(told.session(1).under_way.contains(44));  // known from this alone
}

TEST_CASE("a delivery without its message is lost until it is over", "[tools][check]") {
    Said told;
    told.say(DurableType::kSession, session_of(1, "one"));
    told.deliver(5000, delivery_of(1, 1));
    told.deliver(5000, delivery_of(1, 2));
    told.deliver(5000, delivery_of(1, 3));
    told.deliver(5000, delivery_of(2, 1));  // nobody's
    CHECK(told.state.totals().lost == 3);
    CHECK(told.state.totals().queued == 0);
    told.say(DurableType::kDropped, DurableDropped{1, 1});
    CHECK(told.state.totals().lost == 2);
    told.say(DurableType::kSent, DurableSent{1, 2, 6});
    CHECK(told.session(1).lost_under_way.at(6) == 5000);
    told.say(DurableType::kProgress, done(1, {6, 0}));
    CHECK(told.state.totals().lost == 1);
    DurableMessage again = message_of("t", "x");
    again.name = 5000;  // said by a round
    told.say(DurableType::kMessage, again);
    CHECK(told.state.totals().lost == 1);
    told.deliver(5000, delivery_of(1, 3));
    CHECK(told.state.totals().lost == 0);
    CHECK(told.session(1).queued.at(3).message->name == 5000);
}

TEST_CASE("retained and inbound messages keep their names", "[tools][check]") {
    Said told;
    told.say(DurableType::kSession, session_of(1, "one"));
    const uint64_t first = told.say(DurableType::kRetained, message_of("r", "1"));
    CHECK(told.state.retained().at("r")->name == first);
    const uint64_t inbound =
        told.say(DurableType::kInbound, DurableInbound{1, 4, message_of("r", "2")});
    DurableMessage now = message_of("r", "2");
    now.name = inbound;
    told.say(DurableType::kRetained, now);
    CHECK(told.state.retained().at("r")->payload == "2");
    told.say(DurableType::kReleased, DurableReleased{1, 4});
    CHECK(told.state.totals().inbound == 0);
    told.say(DurableType::kInbound, DurableInbound{1, 5, {}});  // for form's sake
    CHECK(told.session(1).inbound.at(5) == nullptr);
    std::vector<uint8_t> names(8);
    store_le<uint64_t>(names.data(), inbound);
    told.say(DurableType::kGone, names);
    CHECK(told.state.retained().size() == 1);
    told.deliver(inbound, delivery_of(1, 1));
    CHECK(told.state.totals().lost == 1);
    told.say(DurableType::kCleared, std::vector<uint8_t>{'r'});
    CHECK(told.state.retained().empty());
}

TEST_CASE("live bytes are those that are needed", "[tools][check]") {
    Said told;
    const auto session = encoded(session_of(1, "one"));
    told.say(DurableType::kSession, session);
    told.say(DurableType::kSession, session);
    CHECK(told.state.totals().live_bytes == session.size());
    const auto message = encoded(message_of("t", "text"));
    const uint64_t name = told.say(DurableType::kMessage, message);
    CHECK(told.state.totals().live_bytes == session.size());
    told.deliver(name, delivery_of(1, 1));
    told.deliver(name, delivery_of(1, 2));
    CHECK(told.state.totals().live_bytes == session.size() + message.size() + 20);
    told.say(DurableType::kDropped, DurableDropped{1, 1});
    told.say(DurableType::kDropped, DurableDropped{1, 2});
    CHECK(told.state.totals().live_bytes == session.size());
}

TEST_CASE("a body that is none is refused", "[tools][check]") {
    Said told;
    told.say(DurableType::kSession, session_of(1, "one"));
    for (int type = 16; type <= 31; ++type) {
        CAPTURE(type);
        const bool cleared = type == static_cast<int>(DurableType::kCleared);
        CHECK(told.refuses(static_cast<DurableType>(type), {1, 2, 3}) != cleared);
    }
    CHECK(told.refuses(static_cast<DurableType>(32), {}));
    CHECK(told.refuses(DurableType::kSubscribed,
                       encoded(DurableSubscription{1, 0, 3, as_bytes("a")})));
    CHECK(told.refuses(DurableType::kSubscribed,
                       encoded(DurableSubscription{1, 0, 1, as_bytes("a#")})));
    CHECK(told.refuses(DurableType::kRetained, encoded(message_of("a/#", ""))));
    CHECK(told.refuses(DurableType::kInbound, encoded(DurableInbound{1, 1, message_of("+", "")})));
}
