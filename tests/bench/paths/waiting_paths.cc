// Messages that wait: retained ones and their replay, queues of the absent and how they are
// emptied.

#include "bench/engine/people.h"
#include "bench/paths/paths.h"

#include <optional>
#include <string>
#include <vector>

namespace mqttd::bench {

namespace {

constexpr uint32_t kTopics = 1'000;

std::vector<std::string> retained(Speech speech) {
    std::vector<std::string> inputs(kTopics / 100);
    for (uint32_t i = 0; i < kTopics; ++i)
        inputs[i / 100] += publish(speech, "kept/" + std::to_string(i) + "/state", 0, 0, true);
    return inputs;
}

// Each message takes the place of the one before.
void retained_store(Meter& meter) {
    Engine engine({.clients = 1});
    const int writer = engine.join(connect(Speech::k3, {"writer"}));
    const std::vector<std::string> inputs = retained(Speech::k3);
    size_t next = 0;
    meter.count(20, 40, 100, [&] { engine.say(writer, inputs[next++ % inputs.size()]); });
    meter.expect(engine.stats().messages_stored == kTopics, "not everything was kept");
}

void replay(Meter& meter, Speech speech) {
    Engine engine({.clients = 2});
    const int writer = engine.join(connect(speech, {"writer"}));
    for (const std::string& input : retained(speech))
        engine.say(writer, input);
    const int reader = engine.join(connect(speech, {"reader"}));
    const std::string wish = subscribe(speech, "kept/#", 0);
    const std::string over = unsubscribe(speech, "kept/#");
    meter.count(2, 10, kTopics, [&] {
        engine.say(reader, wish);
        const Uncounted uncounted;
        engine.say(reader, over);
    });
    meter.expect(engine.stats().publish_sent == 12 * kTopics, "not everything was replayed");
}

void retained_replay_v3(Meter& meter) {
    replay(meter, Speech::k3);
}

void retained_replay_v5(Meter& meter) {
    replay(meter, Speech::k5);
}

// 1000 messages at QoS 1 for a session whose client is away; then it comes and takes them.
void queue(Meter& meter, Speech speech, bool count_in) {
    constexpr uint32_t kMessages = 1'000;
    Engine engine({.clients = 2});
    const int writer = engine.join(connect(speech, {"writer"}));
    const std::string hello = connect(speech, {.client_id = "reader", .clean = false});
    const std::string bye = disconnect();
    const std::string input = publishes(speech, "some/topic", 1, 200);
    int reader = engine.join(hello);
    engine.say(reader, subscribe(speech, "some/topic", 1));
    meter.count(2, 10, kMessages, [&] {
        {
            std::optional<Uncounted> uncounted;
            if (!count_in) uncounted.emplace();
            engine.kernel.feed(reader, bye);
            engine.kernel.hang_up(reader);
            engine.settle();
            for (uint32_t i = 0; i < kMessages / 200; ++i)
                engine.say(writer, input);
        }
        std::optional<Uncounted> uncounted;
        if (count_in) uncounted.emplace();
        reader = engine.kernel.dial();
        engine.kernel.keep_output(reader);
        engine.say(reader, hello);
        converse(engine, reader, writer);
    });
    meter.expect(engine.stats().publish_sent == 12 * kMessages && engine.stats().queued == 0,
                 "not everything was taken");
}

void queue_in_v3(Meter& meter) {
    queue(meter, Speech::k3, true);
}

void queue_out_v3(Meter& meter) {
    queue(meter, Speech::k3, false);
}

void queue_in_v5(Meter& meter) {
    queue(meter, Speech::k5, true);
}

void queue_out_v5(Meter& meter) {
    queue(meter, Speech::k5, false);
}

}  // namespace

std::span<const Path> waiting_paths() {
    static constexpr Path kPaths[] = {
        {"retained_store",     retained_store    },
        {"retained_replay_v3", retained_replay_v3},
        {"retained_replay_v5", retained_replay_v5},
        {"queue_in_v3",        queue_in_v3       },
        {"queue_in_v5",        queue_in_v5       },
        {"queue_out_v3",       queue_out_v3      },
        {"queue_out_v5",       queue_out_v5      },
    };
    return kPaths;
}

}  // namespace mqttd::bench
