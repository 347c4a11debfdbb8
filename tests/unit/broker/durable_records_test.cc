#include "broker/durable_records.h"

#include "base/prng.h"
#include "catch2/catch.hpp"

#include <string>
#include <vector>

using namespace mqttd;

namespace {

template <class T>
std::vector<uint8_t> body_of(const T& value) {
    DurableBody body;
    encode(body, value);
    const uint64_t size = body.size();
    std::vector<uint8_t> bytes;
    for (const Bytes part : body.parts())
        bytes.insert(bytes.end(), part.begin(), part.end());
    CHECK(bytes.size() == size);
    return bytes;
}

DurableMessage a_message() {
    DurableMessage message;
    message.name = 0x1122334455667788;
    message.expires_at = 1'700'000'000;
    message.qos = 2;
    message.retain = true;
    message.priority = 9;
    message.topic = as_bytes("a/b");
    message.properties = as_bytes("props");
    message.payload = as_bytes("payload");
    return message;
}

void require_same(const DurableMessage& a, const DurableMessage& b) {
    CHECK(a.name == b.name);
    CHECK(a.expires_at == b.expires_at);
    CHECK(a.kept_since == b.kept_since);
    CHECK(a.qos == b.qos);
    CHECK(a.retain == b.retain);
    CHECK(a.priority == b.priority);
    CHECK(same_bytes(a.topic, b.topic));
    CHECK(same_bytes(a.properties, b.properties));
    CHECK(same_bytes(a.payload, b.payload));
}

// However it is cut, it is refused, but where its last field is "the rest" or nothing need follow.
template <class T>
void require_whole(const std::vector<uint8_t>& bytes, std::vector<size_t> fine_from = {}) {
    for (size_t size = 0; size < bytes.size(); ++size) {
        bool fine = false;
        for (const size_t from : fine_from)
            fine = fine || size >= from;
        CAPTURE(size);
        CHECK(decode_durable<T>(Bytes(bytes).first(size)).ok() == fine);
    }
}

template <class T>
void require_nothing_behind(std::vector<uint8_t> bytes) {
    bytes.push_back(0);
    CHECK_FALSE(decode_durable<T>(Bytes(bytes)).ok());
}

}  // namespace

TEST_CASE("a message comes back from the journal as it was", "[store]") {
    const DurableMessage message = a_message();
    const auto bytes = body_of(message);
    const auto back = decode_durable<DurableMessage>(Bytes(bytes));
    REQUIRE(back.ok());
    require_same(*back, message);
    require_whole<DurableMessage>(bytes, {24 + 3 + 5});  // a shorter payload is a payload
    const auto empty = body_of(DurableMessage{});
    REQUIRE(decode_durable<DurableMessage>(Bytes(empty)).ok());
    auto wrong = bytes;
    wrong[16] = 3;  // QoS 3
    CHECK_FALSE(decode_durable<DurableMessage>(Bytes(wrong)).ok());
    wrong[16] = 8;  // an unknown flag
    CHECK_FALSE(decode_durable<DurableMessage>(Bytes(wrong)).ok());
}

TEST_CASE("since when a message is kept comes back, where it is said", "[store]") {
    DurableMessage message = a_message();
    message.kept_since = 1'700'000'123;
    const auto bytes = body_of(message);
    const auto back = decode_durable<DurableMessage>(Bytes(bytes));
    REQUIRE(back.ok());
    require_same(*back, message);
    require_whole<DurableMessage>(bytes, {24 + 8 + 3 + 5});
    CHECK(body_of(a_message()).size() + 8 == bytes.size());
}

TEST_CASE("a session comes back with its will, or without", "[store]") {
    DurableSession session;
    session.number = 77;
    session.expiry_s = 3600;
    session.away_since = 1'700'000'001;
    session.listener = 3;
    session.level = 5;
    session.client_id = as_bytes("client");
    const auto plain = body_of(session);
    const auto back = decode_durable<DurableSession>(Bytes(plain));
    REQUIRE(back.ok());
    CHECK(back->number == 77);
    CHECK(back->expiry_s == 3600);
    CHECK(back->away_since == 1'700'000'001);
    CHECK(back->listener == 3);
    CHECK(back->level == 5);
    CHECK(as_text(back->client_id) == "client");
    CHECK_FALSE(back->has_will);
    require_whole<DurableSession>(plain);

    session.has_will = true;
    session.will_delay_s = 30;
    session.will = a_message();
    const auto willing = body_of(session);
    const auto again = decode_durable<DurableSession>(Bytes(willing));
    REQUIRE(again.ok());
    CHECK(again->has_will);
    CHECK(again->will_delay_s == 30);
    require_same(again->will, a_message());
    for (size_t size = plain.size() + 1; size < willing.size() - 7; ++size)
        CHECK_FALSE(decode_durable<DurableSession>(Bytes(willing).first(size)).ok());

    for (const uint8_t level : {uint8_t{0}, uint8_t{2}, uint8_t{6}, uint8_t{255}}) {
        session.level = level;
        CHECK_FALSE(decode_durable<DurableSession>(Bytes(body_of(session))).ok());
    }
}

TEST_CASE("the small records come back as they were", "[store]") {
    const auto away = body_of(DurableAway{7, 60, 1'700'000'000});
    CHECK(decode_durable<DurableAway>(Bytes(away))->number == 7);
    CHECK(decode_durable<DurableAway>(Bytes(away))->expiry_s == 60);
    CHECK(decode_durable<DurableAway>(Bytes(away))->since == 1'700'000'000);
    require_whole<DurableAway>(away);
    require_nothing_behind<DurableAway>(away);

    const auto subscribed = body_of(DurableSubscription{7, 268'435'455, 0x2e, as_bytes("a/#")});
    const auto subscription = decode_durable<DurableSubscription>(Bytes(subscribed));
    REQUIRE(subscription.ok());
    CHECK(subscription->number == 7);
    CHECK(subscription->identifier == 268'435'455);
    CHECK(subscription->options == 0x2e);
    CHECK(as_text(subscription->filter) == "a/#");
    require_whole<DurableSubscription>(subscribed, {10});  // at least one byte of a filter

    const auto unsubscribed = body_of(DurableUnsubscription{7, as_bytes("a/#")});
    CHECK(decode_durable<DurableUnsubscription>(Bytes(unsubscribed))->number == 7);
    CHECK(as_text(decode_durable<DurableUnsubscription>(Bytes(unsubscribed))->filter) == "a/#");
    require_whole<DurableUnsubscription>(unsubscribed, {5});

    const auto sent = body_of(DurableSent{7, 100, 65'535});
    CHECK(decode_durable<DurableSent>(Bytes(sent))->session == 7);
    CHECK(decode_durable<DurableSent>(Bytes(sent))->delivery == 100);
    CHECK(decode_durable<DurableSent>(Bytes(sent))->packet_id == 65'535);
    require_whole<DurableSent>(sent);
    require_nothing_behind<DurableSent>(sent);
    CHECK_FALSE(decode_durable<DurableSent>(Bytes(body_of(DurableSent{7, 100, 0}))).ok());

    const uint8_t ids[] = {1, 0, 0xff, 0xff};
    for (const DurableState state : {DurableState::kReleased, DurableState::kDone}) {
        const auto progress = body_of(DurableProgress{7, state, 2, ids});
        const auto back = decode_durable<DurableProgress>(Bytes(progress));
        REQUIRE(back.ok());
        CHECK(back->session == 7);
        CHECK(back->state == state);
        REQUIRE(back->id_count == 2);
        CHECK(back->id(0) == 1);
        CHECK(back->id(1) == 65'535);
        CHECK(decode_durable<DurableProgress>(Bytes(progress).first(7)).ok());
        for (const size_t size : {size_t{5}, size_t{6}, size_t{8}})
            CHECK_FALSE(decode_durable<DurableProgress>(Bytes(progress).first(size)).ok());
    }
    const auto unknown = body_of(DurableProgress{7, DurableState{3}, 2, ids});
    CHECK_FALSE(decode_durable<DurableProgress>(Bytes(unknown)).ok());

    const auto dropped = body_of(DurableDropped{7, 100});
    CHECK(decode_durable<DurableDropped>(Bytes(dropped))->session == 7);
    CHECK(decode_durable<DurableDropped>(Bytes(dropped))->delivery == 100);
    require_whole<DurableDropped>(dropped);
    require_nothing_behind<DurableDropped>(dropped);

    const auto inbound = body_of(DurableInbound{7, 12, a_message()});
    REQUIRE(decode_durable<DurableInbound>(Bytes(inbound)).ok());
    CHECK(decode_durable<DurableInbound>(Bytes(inbound))->packet_id == 12);
    require_same(decode_durable<DurableInbound>(Bytes(inbound))->message, a_message());
    require_whole<DurableInbound>(inbound, {6 + 24 + 3 + 5});

    const auto released = body_of(DurableReleased{7, 12});
    CHECK(decode_durable<DurableReleased>(Bytes(released))->packet_id == 12);
    require_whole<DurableReleased>(released);
    require_nothing_behind<DurableReleased>(released);

    const auto clock = body_of(DurableClock{1'700'000'000, 123'456'789});
    CHECK(decode_durable<DurableClock>(Bytes(clock))->wall_s == 1'700'000'000);
    CHECK(decode_durable<DurableClock>(Bytes(clock))->boot_ms == 123'456'789);
    require_whole<DurableClock>(clock);
    require_nothing_behind<DurableClock>(clock);
}

TEST_CASE("a thousand deliveries in one record", "[store]") {
    std::vector<uint8_t> entries;
    std::vector<uint8_t> ids;
    for (uint32_t i = 0; i < 1000; ++i) {
        DurableDelivery delivery;
        delivery.session = i;
        delivery.number = 5'000 + i;
        delivery.sent = i % 7 == 0;
        delivery.qos = static_cast<uint8_t>(1 + i % 2);
        delivery.retain = i % 3 == 0;
        delivery.limited = i % 5 != 0;
        delivery.id_count = static_cast<uint8_t>(i % 4);
        ids.assign(4u * delivery.id_count, 0);
        for (uint32_t n = 0; n < delivery.id_count; ++n)
            store_le<uint32_t>(ids.data() + 4 * n, i * 10 + n);
        delivery.ids = ids.data();
        const size_t begin = entries.size();
        entries.resize(begin + delivery_size(delivery));
        CHECK(put_delivery(entries.data() + begin, delivery) == entries.data() + entries.size());
    }
    DurableBody body;
    encode_deliveries(body, 0xabcdef, Bytes(entries));
    std::vector<uint8_t> bytes;
    for (const Bytes part : body.parts())
        bytes.insert(bytes.end(), part.begin(), part.end());

    DeliveriesReader reader{Bytes(bytes)};
    CHECK(reader.message() == 0xabcdef);
    DurableDelivery delivery;
    uint32_t i = 0;
    for (; reader.next(delivery); ++i) {
        const bool same = delivery.session == i && delivery.number == 5'000 + i &&
                          delivery.sent == (i % 7 == 0) && delivery.qos == 1 + i % 2 &&
                          delivery.retain == (i % 3 == 0) && delivery.limited == (i % 5 != 0) &&
                          delivery.id_count == i % 4;
        REQUIRE(same);
        for (uint32_t n = 0; n < delivery.id_count; ++n)
            REQUIRE(delivery.id(n) == i * 10 + n);
    }
    CHECK(i == 1000);
    CHECK_FALSE(reader.damaged());

    // Cut anywhere: what is whole comes, and the rest is known to be missing.
    for (size_t size = 0; size < 200; ++size) {
        DeliveriesReader cut(Bytes(bytes).first(size));
        size_t used = 8;
        while (cut.next(delivery))
            used += delivery_size(delivery);
        CHECK(cut.damaged() == (size != used));
    }
}

TEST_CASE("bytes that are no record harm nobody", "[store]") {
    Prng dice(5);
    for (int round = 0; round < 20'000; ++round) {
        std::vector<uint8_t> bytes(dice.below(60));
        for (uint8_t& byte : bytes)
            byte = static_cast<uint8_t>(dice.below(3) == 0 ? dice.below(8) : dice.next());
        const Bytes body(bytes);
        (void)decode_durable<DurableMessage>(body).ok();
        (void)decode_durable<DurableInbound>(body).ok();
        const auto session = decode_durable<DurableSession>(body);
        if (session) CHECK(session->client_id.size() <= bytes.size());
        DeliveriesReader reader(body);
        DurableDelivery delivery;
        uint32_t taken = 0;
        while (reader.next(delivery))
            ++taken;
        CHECK(taken <= 6);
    }
}
