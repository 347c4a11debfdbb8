// What a start reads waits a little, and is looked through for what it will touch.
//
// A million things are a million places in memory that nobody has looked at for long. One after the
// other they cost more than all the rest of a start; sixteen at a time they hide behind each other.

#include "broker/restore.h"

#include <cstring>

namespace mqttd {

void Restore::take(uint8_t type, uint64_t position, Bytes body) {
    if (body.size() > kAheadBytes) {
        while (waiting_ > 0)
            apply_first();
        return apply(type, position, body);
    }
    if (waiting_ == kAhead) apply_first();
    Waiting& last = ahead_[(first_ + waiting_) % kAhead];
    last.type = type;
    last.position = position;
    last.size = static_cast<uint32_t>(body.size());
    last.hash = 0;
    if (!body.empty()) std::memcpy(last.bytes, body.data(), body.size());
    ++waiting_;
    fetch(last);
    // What was asked for has come, of those that are nearer.
    constexpr uint32_t kNearer = kAhead / 4;
    for (uint32_t passed = 0; passed < 3; ++passed) {
        const uint32_t back = kNearer * (passed + 1);
        if (waiting_ > back) fetch_more(ahead_[(first_ + waiting_ - 1 - back) % kAhead], passed);
    }
}

void Restore::apply_first() {
    const Waiting& first = ahead_[first_];
    first_ = (first_ + 1) % kAhead;
    --waiting_;
    apply(first.type, first.position, first.body());
}

void Restore::fetch(Waiting& waiting) {
    const Bytes body = waiting.body();
    switch (static_cast<DurableType>(waiting.type)) {
        case DurableType::kMessage:
        case DurableType::kRetained: {
            const auto message = decode_durable<DurableMessage>(body);
            if (!message) return;
            messages_.fetch(message->name != 0 ? message->name : waiting.position);
            if (waiting.type != static_cast<uint8_t>(DurableType::kRetained)) return;
            waiting.hash = core_.retained_.fetch(message->topic);
            return;
        }
        case DurableType::kSubscribed: {
            const auto subscription = decode_durable<DurableSubscription>(body);
            if (!subscription) return;
            sessions_.fetch(subscription->number);
            waiting.hash = core_.subscriptions_.fetch(subscription->filter);
            return;
        }
        case DurableType::kDeliveries:
            return fetch_deliveries(body);
        case DurableType::kProgress: {
            const auto progress = decode_durable<DurableProgress>(body);
            for (uint32_t i = 0; progress && i < progress->id_count; ++i)
                under_way_.fetch(key_of(progress->session, progress->id(i)));
            return;
        }
        default:
            return;
    }
}

void Restore::fetch_deliveries(Bytes body) {
    constexpr uint32_t kMost = 8;  // more of them are neighbours of each other
    DeliveriesReader reader(body);
    messages_.fetch(reader.message());
    DurableDelivery read;
    for (uint32_t i = 0; i < kMost && reader.next(read); ++i) {
        sessions_.fetch(read.session);
        const uint64_t key = key_of(read.session, read.number);
        read.sent ? under_way_.fetch(key) : queued_.fetch(key);
    }
}

void Restore::fetch_more(const Waiting& waiting, uint32_t passed) {
    if (waiting.hash == 0) return;
    if (waiting.type == static_cast<uint8_t>(DurableType::kRetained)) {
        core_.retained_.fetch_more(waiting.hash, passed);
    } else {
        core_.subscriptions_.fetch_more(waiting.hash, passed);
    }
}

}  // namespace mqttd
