// Mode retained: stores a message on each of many topics, has them replayed to a new subscriber of
// "#", and removes them again. A few come and go first, so that what a broker sets up once is not
// counted as theirs.

#include "tools/bench_check.h"
#include "tools/bench_client.h"
#include "tools/bench_feeder.h"
#include "tools/bench_modes.h"

#include <algorithm>

namespace mqttd::bench {

namespace {

constexpr uint64_t kPublishers = 1;
constexpr uint64_t kWarmUpMessages = 500;

Phase store(const Options& options,
            const std::string& topic,
            size_t payload,
            const char* name,
            uint64_t count) {
    FeedPlan plan;
    plan.count = count;
    plan.publishers = kPublishers;
    plan.topic = topic;
    plan.numbered = true;
    plan.retain = true;
    plan.payload = payload;
    plan.what = name;
    Phase phase = begin_phase(options, name, "messages");
    feed(options, plan);
    end_phase(options, phase);
    phase.published = phase.count = count;
    return phase;
}

}  // namespace

void run_retained(const Options& options, Report& report) {
    const std::string topic = run_prefix(options) + "/ret";
    const uint64_t few = std::min(options.messages, kWarmUpMessages);
    store(options, topic, options.payload, "warm up", few);
    store(options, topic, 0, "warm up", few);
    const Account before = settled_account(options.broker_pid);
    report.add(store(options, topic, options.payload, "store", options.messages));
    const Account after = settled_account(options.broker_pid);
    if (after.known) {
        const double grown =
            static_cast<double>(after.resident_bytes) - static_cast<double>(before.resident_bytes);
        report.fact("bytes_per_retained_message",
                    "broker memory per retained message",
                    grown / static_cast<double>(options.messages),
                    "bytes");
    }

    Faults faults;
    std::vector<bool> seen(options.messages);
    uint64_t unique = 0;
    // Others' retained messages are none of ours and no fault: "#" is everybody's.
    const auto take = [&](const Arrived& message) {
        if (!message.topic.starts_with(topic) || message.payload_bytes != options.payload) {
            return false;
        }
        const uint64_t number = Mark::sequence(load_word(message.payload));
        if (number >= seen.size()) return false;
        faults.duplicates += seen[number];
        unique += !seen[number];
        seen[number] = true;
        return unique >= options.messages;
    };
    Client client = open_client(options, make_hello(options, run_prefix(options) + "-r"));
    Phase phase = begin_phase(options, "replay", "messages");
    client.append(subscribe_packet(options.speech(), 1, {"#"}, options.level()));
    fetch(options, client, "replayed", take);
    end_phase(options, phase);
    phase.count = unique;
    report.add(phase);
    faults.lost = options.messages - unique;
    leave(client);
    report.add(store(options, topic, 0, "remove", options.messages));
    report.faults(faults);
}

}  // namespace mqttd::bench
