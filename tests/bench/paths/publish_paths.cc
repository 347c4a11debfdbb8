// Messages on their way: what one costs from the read to the write, by QoS and by who wants it.

#include "bench/engine/people.h"
#include "bench/paths/paths.h"

#include <string>
#include <vector>

namespace mqttd::bench {

namespace {

constexpr uint32_t kWindow = 256;

// One publisher, so many receivers, so many QoS 0 messages in one read.
void qos0(Meter& meter, Speech speech, uint32_t receivers, uint16_t run, uint32_t rounds) {
    Engine engine({.clients = receivers + 1});
    const int writer = engine.join(connect(speech, {"writer"}));
    for (uint32_t i = 0; i < receivers; ++i) {
        const int reader = engine.join(connect(speech, {"r" + std::to_string(i)}));
        engine.say(reader, subscribe(speech, "some/topic", 0));
    }
    const std::string input = publishes(speech, "some/topic", 0, run);
    const uint64_t before = engine.kernel.written();
    meter.count(10, rounds, uint64_t{run} * receivers, [&] { engine.say(writer, input); });
    meter.expect(engine.kernel.written() - before == (10 + rounds) * receivers * input.size(),
                 "not everything came through as it was");
}

void qos0_run_v3(Meter& meter) {
    qos0(meter, Speech::k3, 1, 500, 40);
}

void qos0_run_v5(Meter& meter) {
    qos0(meter, Speech::k5, 1, 500, 40);
}

void qos0_single_v3(Meter& meter) {
    qos0(meter, Speech::k3, 1, 1, 2'000);
}

void qos0_single_v5(Meter& meter) {
    qos0(meter, Speech::k5, 1, 1, 2'000);
}

void fan_out_v3(Meter& meter) {
    qos0(meter, Speech::k3, 1'000, 1, 10);
}

void fan_out_v5(Meter& meter) {
    qos0(meter, Speech::k5, 1'000, 1, 10);
}

// A publisher of one version, receivers of the other: nobody sees the bytes as they came.
void fan_out_mixed(Meter& meter) {
    Engine engine({.clients = 1'001});
    const int writer = engine.join(connect(Speech::k5, {"writer"}));
    for (uint32_t i = 0; i < 1'000; ++i) {
        const int reader = engine.join(connect(Speech::k3, {"r" + std::to_string(i)}));
        engine.say(reader, subscribe(Speech::k3, "some/topic", 0));
    }
    const std::string input = publish(Speech::k5, "some/topic");
    meter.count(5, 10, 1'000, [&] { engine.say(writer, input); });
    meter.expect(engine.stats().publish_sent == 15'000, "somebody did not get everything");
}

// Windows of 256 messages at QoS 1 or 2, with everything that is answered on both sides.
void flows(Meter& meter, Speech speech, int qos) {
    Engine engine({.clients = 2});
    const int writer = engine.join(connect(speech, {"writer"}));
    const int reader = engine.join(connect(speech, {"reader"}));
    engine.say(reader, subscribe(speech, "some/topic", qos));
    engine.kernel.keep_output(writer);
    engine.kernel.keep_output(reader);
    const std::string input = publishes(speech, "some/topic", qos, kWindow);
    meter.count(4, 40, kWindow, [&] {
        engine.say(writer, input);
        converse(engine, writer, reader);
    });
    const Stats& stats = engine.stats();
    meter.expect(
        stats.publish_sent == 44 * kWindow && stats.inflight_out == 0 && stats.inflight_in == 0,
        "flows were left over");
}

void qos1_v3(Meter& meter) {
    flows(meter, Speech::k3, 1);
}

void qos1_v5(Meter& meter) {
    flows(meter, Speech::k5, 1);
}

void qos2_v3(Meter& meter) {
    flows(meter, Speech::k3, 2);
}

void qos2_v5(Meter& meter) {
    flows(meter, Speech::k5, 2);
}

// Windows of 256 messages to a hundred receivers at QoS 1, who acknowledge all at a time.
void fan_out_qos1(Meter& meter, Speech speech) {
    constexpr uint32_t kReceivers = 100;
    Engine engine({.clients = kReceivers + 1});
    const int writer = engine.join(connect(speech, {"writer"}));
    std::vector<int> readers;
    for (uint32_t i = 0; i < kReceivers; ++i) {
        readers.push_back(engine.join(connect(speech, {"r" + std::to_string(i)})));
        engine.say(readers.back(), subscribe(speech, "some/topic", 1));
        engine.kernel.keep_output(readers.back());
    }
    const std::string input = publishes(speech, "some/topic", 1, kWindow);
    std::vector<std::string> answers(kReceivers);
    meter.count(2, 4, kWindow * kReceivers, [&] {
        engine.say(writer, input);
        for (uint32_t i = 0; i < kReceivers; ++i) {
            answers[i] = replies(engine.kernel.take(readers[i]));
            engine.kernel.feed(readers[i], answers[i]);
        }
        engine.settle();
    });
    const Stats& stats = engine.stats();
    meter.expect(stats.publish_sent == 6 * kWindow * kReceivers && stats.inflight_out == 0 &&
                     stats.queued == 0,
                 "flows were left over");
}

void fan_out_qos1_v3(Meter& meter) {
    fan_out_qos1(meter, Speech::k3);
}

void fan_out_qos1_v5(Meter& meter) {
    fan_out_qos1(meter, Speech::k5);
}

// So many publishers say one message each; everybody is read by his own receiver, or all by one.
void many_writers(Meter& meter, uint32_t writers, bool one_reader) {
    Engine engine({.clients = 2 * writers});
    std::vector<int> lines;
    std::vector<std::string> inputs;
    for (uint32_t i = 0; i < writers; ++i) {
        const std::string name = std::to_string(i);
        lines.push_back(engine.join(connect(Speech::k3, {"w" + name})));
        inputs.push_back(publish(Speech::k3, "topic/of/" + name));
        if (one_reader && i > 0) continue;
        const int reader = engine.join(connect(Speech::k3, {"r" + name}));
        engine.say(reader, subscribe(Speech::k3, one_reader ? "topic/#" : "topic/of/" + name, 0));
    }
    meter.count(3, 10, writers, [&] {
        for (uint32_t i = 0; i < writers; ++i)
            engine.kernel.feed(lines[i], inputs[i]);
        engine.settle();
    });
    meter.expect(engine.stats().publish_sent == 13 * writers, "somebody was not heard");
}

void fan_in(Meter& meter) {
    many_writers(meter, 1'000, true);
}

void pairs(Meter& meter) {
    many_writers(meter, 500, false);
}

// Each message is wanted by one of 10 000 filters with wildcards.
void wildcards(Meter& meter) {
    constexpr uint32_t kFilters = 10'000;
    constexpr uint32_t kRun = 200;
    Engine engine({.clients = 2});
    const int writer = engine.join(connect(Speech::k3, {"writer"}));
    const int reader = engine.join(connect(Speech::k3, {"reader"}));
    for (uint32_t i = 0; i < kFilters; ++i)
        engine.say(reader, subscribe(Speech::k3, "a/+/" + std::to_string(i) + "/#", 0));
    std::vector<std::string> inputs(kFilters / kRun);
    for (uint32_t i = 0; i < kFilters; ++i) {
        const uint32_t topic = i * 7'919 % kFilters;
        inputs[i / kRun] += publish(Speech::k3, "a/device/" + std::to_string(topic) + "/x/y");
    }
    size_t next = 0;
    meter.count(5, 45, kRun, [&] { engine.say(writer, inputs[next++]); });
    meter.expect(engine.stats().publish_sent == 50 * kRun, "a filter did not match");
}

// A group of ten.
void shared(Meter& meter, int qos) {
    Engine engine({.clients = 11});
    const int writer = engine.join(connect(Speech::k5, {"writer"}));
    std::vector<int> members;
    for (uint32_t i = 0; i < 10; ++i) {
        members.push_back(engine.join(connect(Speech::k5, {"m" + std::to_string(i)})));
        engine.say(members.back(), subscribe(Speech::k5, "$share/group/some/topic", qos));
        engine.kernel.keep_output(members.back());
    }
    const std::string input = publishes(Speech::k5, "some/topic", qos, kWindow);
    meter.count(4, 40, kWindow, [&] {
        engine.say(writer, input);
        for (const int member : members)
            converse(engine, member, writer);
    });
    meter.expect(engine.stats().publish_sent == 44 * kWindow, "a message went to nobody");
}

void shared_qos0(Meter& meter) {
    shared(meter, 0);
}

void shared_qos1(Meter& meter) {
    shared(meter, 1);
}

}  // namespace

std::span<const Path> publish_paths() {
    static constexpr Path kPaths[] = {
        {"qos0_run_v3",     qos0_run_v3    },
        {"qos0_run_v5",     qos0_run_v5    },
        {"qos0_single_v3",  qos0_single_v3 },
        {"qos0_single_v5",  qos0_single_v5 },
        {"qos1_v3",         qos1_v3        },
        {"qos1_v5",         qos1_v5        },
        {"qos2_v3",         qos2_v3        },
        {"qos2_v5",         qos2_v5        },
        {"fan_out_v3",      fan_out_v3     },
        {"fan_out_v5",      fan_out_v5     },
        {"fan_out_mixed",   fan_out_mixed  },
        {"fan_out_qos1_v3", fan_out_qos1_v3},
        {"fan_out_qos1_v5", fan_out_qos1_v5},
        {"fan_in",          fan_in         },
        {"pairs",           pairs          },
        {"wildcards",       wildcards      },
        {"shared_qos0",     shared_qos0    },
        {"shared_qos1",     shared_qos1    },
    };
    return kPaths;
}

}  // namespace mqttd::bench
