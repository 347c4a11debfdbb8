// Mode backlog: a durable client subscribes and goes away, messages are stored for it, it comes
// back and fetches them. A few messages for nobody go first, so that what a broker sets up once is
// not counted as the backlog's.

#include "tools/bench_check.h"
#include "tools/bench_client.h"
#include "tools/bench_feeder.h"
#include "tools/bench_modes.h"

#include <algorithm>

namespace mqttd::bench {

namespace {

constexpr uint64_t kWarmUpMessages = 500;

void store(const Options& options, const std::string& topic, Report& report) {
    FeedPlan plan;
    plan.count = std::min(options.messages, kWarmUpMessages);
    plan.publishers = options.publishers;
    plan.topic = topic + "/nobody";
    plan.payload = options.payload;
    plan.what = "stored";
    feed(options, plan);
    plan.topic = topic;
    plan.count = options.messages;
    const Account before = settled_account(options.broker_pid);
    Phase phase = begin_phase(options, "store", "messages");
    feed(options, plan);
    end_phase(options, phase);
    phase.published = phase.count = options.messages;
    const Account after = settled_account(options.broker_pid);
    report.add(phase);
    if (!after.known) return;
    const double grown =
        static_cast<double>(after.resident_bytes) - static_cast<double>(before.resident_bytes);
    report.fact("bytes_per_queued_message",
                "broker memory per queued message",
                grown / static_cast<double>(options.messages),
                "bytes");
}

}  // namespace

void run_backlog(const Options& options, Report& report) {
    const std::string id = run_prefix(options) + "-durable";
    const std::string topic = run_prefix(options) + "/backlog";
    Client first = open_client(options, make_hello(options, id, {topic}, true));
    leave(first);
    Faults faults;
    store(options, topic, report);

    std::vector<Stream> streams(options.publishers, Stream(1));
    uint64_t unique = 0;
    const auto take = [&](const Arrived& message) {
        const uint64_t word =
            message.payload_bytes == options.payload ? load_word(message.payload) : UINT64_MAX;
        if (Mark::publisher(word) >= streams.size()) {
            ++faults.foreign;
            return false;
        }
        const Verdict verdict = streams[Mark::publisher(word)].see(Mark::sequence(word));
        faults.duplicates += verdict == Verdict::kDuplicate;
        faults.disordered += verdict == Verdict::kLate;
        unique += verdict != Verdict::kDuplicate;
        return unique >= options.messages;
    };
    Phase phase = begin_phase(options, "drain", "messages");
    bool present = false;
    Client back = open_client(options, make_hello(options, id, {}, true), &present);
    if (!present) die("the broker does not know the durable session any more");
    fetch(options, back, "fetched", take);
    end_phase(options, phase);
    phase.count = unique;
    report.add(phase);
    faults.lost = options.messages - unique;
    report.faults(faults);
    leave(back);
    Client clean = open_client(options, make_hello(options, id));  // ends the session
    leave(clean);
}

}  // namespace mqttd::bench
