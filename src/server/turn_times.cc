#include "server/turn_times.h"

#include <algorithm>

namespace mqttd {

TurnTimes::TurnTimes(uint64_t now_us) : since_us_(now_us), ended_us_(now_us) {
    for (uint32_t bucket = 0; bucket + 1 < Turns::kBuckets; ++bucket)
        ends_[bucket] = Turns::bucket_end(bucket);
}

void TurnTimes::add_turn(uint64_t began_us, uint64_t ended_us) {
    waits_.add(began_us - ended_us_);
    ended_us_ = ended_us;
    turns_.add(ended_us - began_us);
    all_turns_.add(ended_us - began_us);
}

void TurnTimes::add_writes(uint64_t reading_us, uint64_t written_us, uint64_t fanouts, bool all) {
    const uint64_t samples = fanouts / kSampleEvery - fanouts_ / kSampleEvery;
    fanouts_ = fanouts;
    if (samples_ == 0) reading_us_ = reading_us;
    samples_ += samples;
    if (samples_ == 0 || !all) return;
    publishes_.add(written_us - reading_us_, samples_);
    samples_ = 0;
}

void TurnTimes::sample(uint64_t now_us, HostStats& out) {
    out.turn_us_p50 = turns_.percentile(500);
    out.turn_us_p90 = turns_.percentile(900);
    out.turn_us_p99 = turns_.percentile(990);
    out.turn_us_p999 = turns_.percentile(999);
    out.turn_us_max = turns_.max();
    out.turn_us_ends = ends_;
    out.turn_us_counts = all_turns_.counts();
    out.turn_us_sum = all_turns_.sum();
    out.wait_us_p50 = waits_.percentile(500);
    const uint64_t interval_us = std::max<uint64_t>(now_us - since_us_, 1);
    out.busy_permille = std::min<uint64_t>(turns_.sum() * 1000 / interval_us, 1000);
    out.publish_us_p50 = publishes_.percentile(500);
    out.publish_us_p99 = publishes_.percentile(990);
    out.publish_us_max = publishes_.max();
    turns_ = {};
    waits_ = {};
    publishes_ = {};
    since_us_ = now_us;
}

}  // namespace mqttd
