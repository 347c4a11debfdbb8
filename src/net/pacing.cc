// Net, pacing: connections of a listener with a rate are read no faster than that.
//
// See meter.h. A paused connection has the stop kByteRate: it is on no list but the PauseRing,
// costs nothing until its time comes, and everything but its reading goes on. `resume` from the
// protocol does not end a pause, and `input_waiting` says yes: only one with input to read is
// paused.

#include "net/net.h"

#include <algorithm>
#include <memory>

namespace mqttd {

// How many of `wanted` bytes may be read now.  0: none, the connection is paused.
uint32_t Net::within_rate(Connection& c, uint32_t wanted) {
    const Rate rate = state_of(c).rate;
    if (rate.per_second == 0) return wanted;
    if (!c.has(Connection::kMetered)) return std::min(wanted, rate.burst);
    Meter& meter = *c.meter;
    if (!meter.hook.linked()) {
        meter.refill(rate, now_);
        if (meter.tokens > 0) return std::min(wanted, meter.tokens);
        pauses_.add(meter, now_, meter.pause(rate));
        ++state_of(c).stats.rate_paused;
        ++state_of(c).stats.rate_pauses;
        ++counters_.rate_pauses;
    }
    c.stop = StopReason::kByteRate;
    return 0;
}

// `bytes` were read.  False if there is no memory to count them.
bool Net::charge(Connection& c, uint32_t bytes) {
    const Rate rate = state_of(c).rate;
    if (rate.per_second == 0) return true;
    if (!c.has(Connection::kMetered)) {
        auto* meter = arena_.make<Meter>(Arena::Use::kNormal);
        if (meter == nullptr) return false;
        meter->fill(rate, now_);
        meter->connection = &c;
        meter->kept = c.kept();
        c.set(Connection::kMetered);
        std::construct_at(&c.meter, meter);
    }
    c.meter->spend(bytes);
    return true;
}

// Those whose pause is over are ready again.
void Net::end_pauses() {
    pauses_.advance(now_);
    for (uint32_t left = kWakeMax; left > 0; --left) {
        Meter* meter = pauses_.take();
        if (meter == nullptr) return;
        Connection& c = *meter->connection;
        --state_of(c).stats.rate_paused;
        if (c.stop == StopReason::kByteRate) c.stop = StopReason::kNone;
        if (wants_visit(c)) make_ready(c);
    }
}

void Net::drop_meter(Connection& c) {
    if (!c.has(Connection::kMetered)) return;
    Meter* meter = c.meter;
    if (meter->hook.linked()) {
        pauses_.remove(*meter);
        --state_of(c).stats.rate_paused;
    }
    arena_.destroy(meter);
    c.unset(Connection::kMetered);
    std::construct_at(&c.block);
}

}  // namespace mqttd
