// Decoding: what a packet costs between the read and the handler, one read full of them at a time.

#include "mqttd/codec.h"

#include "bench/engine/people.h"
#include "mqtt/frame.h"
#include "support/packets.h"
#include "support/packets5.h"

#include <benchmark/benchmark.h>
#include <string>

namespace mqttd::bench {
namespace {

constexpr uint32_t kPackets = 1'024;

std::string many(const std::string& packet) {
    std::string bytes;
    for (uint32_t i = 0; i < kPackets; ++i)
        bytes += packet;
    return bytes;
}

// `decode` gets each frame and its body; false if it was refused.
template <class Decode>
void decode_all(benchmark::State& state, const std::string& packet, Decode&& decode) {
    const std::string bytes = many(packet);
    for (auto _ : state) {
        Bytes input = as_bytes(bytes);
        while (!input.empty()) {
            const Result<Frame> frame = find_frame_inline(input);
            const Bytes body = input.subspan(frame->header, frame->size - frame->header);
            if (!decode(*frame, body)) return state.SkipWithError("refused");
            input = input.subspan(frame->size);
        }
    }
    state.SetItemsProcessed(state.iterations() * int64_t{kPackets});
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}

Version version_of(Speech speech) {
    return speech == Speech::k3 ? Version::k311 : Version::k50;
}

// The fixed header alone.
void decoding_frame(benchmark::State& state) {
    decode_all(state, publish(Speech::k3, "sensors/1/state"), [](const Frame& found, Bytes body) {
        benchmark::DoNotOptimize(found.first);
        benchmark::DoNotOptimize(body.data());
        return true;
    });
}

BENCHMARK(decoding_frame);

void decode_publishes(benchmark::State& state, const std::string& packet, Version version) {
    decode_all(state, packet, [version](const Frame& found, Bytes body) {
        const Result<PublishView> view = decode_publish(body, found.flags(), version);
        benchmark::DoNotOptimize(view->payload.data());
        return view.ok();
    });
}

void decoding_publish(benchmark::State& state, Speech speech, int qos) {
    const std::string topic(static_cast<size_t>(state.range(0)), 'a');
    decode_publishes(state, publish(speech, topic, qos, qos == 0 ? 0 : 7), version_of(speech));
}

BENCHMARK_CAPTURE(decoding_publish, v3_qos0, Speech::k3, 0)
    ->ArgName("topic")
    ->Arg(5)
    ->Arg(20)
    ->Arg(60);
BENCHMARK_CAPTURE(decoding_publish, v5_qos0, Speech::k5, 0)
    ->ArgName("topic")
    ->Arg(5)
    ->Arg(20)
    ->Arg(60);
BENCHMARK_CAPTURE(decoding_publish, v3_qos1, Speech::k3, 1)->ArgName("topic")->Arg(20);
BENCHMARK_CAPTURE(decoding_publish, v5_qos1, Speech::k5, 1)->ArgName("topic")->Arg(20);

// Everything a publisher may say of its message.
void decoding_publish_with_properties(benchmark::State& state) {
    packets5::Publish fields{.topic = "sensors/1/temperature", .payload = std::string(64, 'x')};
    fields.properties = packets5::property(Property::kPayloadFormatIndicator, 1) +
                        packets5::property(Property::kMessageExpiryInterval, 60) +
                        packets5::property(Property::kContentType, "text/plain") +
                        packets5::property(Property::kResponseTopic, "answers/1") +
                        packets5::property(Property::kCorrelationData, "0123456789") +
                        packets5::user("unit", "celsius") + packets5::user("room", "kitchen");
    decode_publishes(state, packets5::publish(fields), Version::k50);
}

BENCHMARK(decoding_publish_with_properties);

void decoding_puback(benchmark::State& state, Version version) {
    decode_all(state, packets::puback(0x1234), [version](const Frame& found, Bytes body) {
        const Result<AckView> ack = decode_ack(found.type(), body, found.flags(), version);
        benchmark::DoNotOptimize(ack->packet_id);
        return ack.ok();
    });
}

BENCHMARK_CAPTURE(decoding_puback, v3, Version::k311);
BENCHMARK_CAPTURE(decoding_puback, v5, Version::k50);

void decoding_connect(benchmark::State& state, Speech speech) {
    decode_all(state,
               connect(speech, {.client_id = "sensor-0123456789", .keep_alive_s = 60}),
               [](const Frame& found, Bytes body) {
                   const Result<ConnectView> view = decode_connect(body, found.flags());
                   benchmark::DoNotOptimize(view->client_id.data());
                   return view.ok();
               });
}

BENCHMARK_CAPTURE(decoding_connect, v3, Speech::k3);
BENCHMARK_CAPTURE(decoding_connect, v5, Speech::k5);

void decoding_subscribe(benchmark::State& state, Speech speech) {
    const Version version = version_of(speech);
    decode_all(state,
               subscribe(speech, "sensors/+/temperature/#", 1),
               [version](const Frame& found, Bytes body) {
                   const Result<SubscribeView> view =
                       decode_subscribe(found.type(), body, found.flags(), version);
                   benchmark::DoNotOptimize(view->packet_id);
                   return view.ok();
               });
}

BENCHMARK_CAPTURE(decoding_subscribe, v3, Speech::k3);
BENCHMARK_CAPTURE(decoding_subscribe, v5, Speech::k5);

}  // namespace
}  // namespace mqttd::bench
