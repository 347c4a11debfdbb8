// The codec on the hottest path: what one PUBLISH costs between the read and the match.

#include "mqttd/codec.h"
#include "mqttd/topic.h"

#include "mqtt/frame.h"

#include <benchmark/benchmark.h>
#include <string>
#include <vector>

namespace mqttd {
namespace {

constexpr size_t kPackets = 1024;

// A read full of QoS 0 PUBLISHes with topics of `topic_size` bytes and payloads of 16.
std::vector<uint8_t> run_of_publishes(Version version, size_t topic_size) {
    const std::string topic(topic_size, 'a');
    PublishHead head;
    head.version = version;
    head.topic_name = as_bytes(topic);
    head.tail_size = 16;
    const uint32_t head_size = publish_head_size(head);
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i < kPackets; ++i) {
        const size_t at = bytes.size();
        bytes.resize(at + head_size + head.tail_size, 'p');
        encode_publish_head(bytes.data() + at, head);
    }
    return bytes;
}

void report_packets(benchmark::State& state) {
    state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kPackets));
}

void bench_frames(benchmark::State& state) {
    const auto bytes = run_of_publishes(Version::k311, 20);
    for (auto _ : state) {
        Bytes input = bytes;
        while (!input.empty()) {
            const Result<Frame> frame = find_frame_inline(input);
            benchmark::DoNotOptimize(frame->first);
            input = input.subspan(frame->size);
        }
    }
    report_packets(state);
}

BENCHMARK(bench_frames);

void bench_publishes(benchmark::State& state, Version version) {
    const auto bytes = run_of_publishes(version, static_cast<size_t>(state.range(0)));
    for (auto _ : state) {
        Bytes input = bytes;
        while (!input.empty()) {
            const Result<Frame> frame = find_frame_inline(input);
            const Bytes body = input.subspan(frame->header, frame->size - frame->header);
            const Result<PublishView> view = decode_publish(body, frame->flags(), version);
            if (!view) return state.SkipWithError("refused");
            benchmark::DoNotOptimize(view->payload.data());
            input = input.subspan(frame->size);
        }
    }
    report_packets(state);
}

BENCHMARK_CAPTURE(bench_publishes, v311, Version::k311)->Arg(5)->Arg(20)->Arg(60);
BENCHMARK_CAPTURE(bench_publishes, v50, Version::k50)->Arg(5)->Arg(20)->Arg(60);

void bench_acks(benchmark::State& state) {
    const uint8_t body[2] = {0x12, 0x34};
    for (auto _ : state) {
        const Result<AckView> ack = decode_ack(PacketType::kPuback, body, 0, Version::k311);
        benchmark::DoNotOptimize(ack->packet_id);
    }
}

BENCHMARK(bench_acks);

void bench_topic_check(benchmark::State& state, const char* letter) {
    std::string topic;
    while (topic.size() < static_cast<size_t>(state.range(0))) {
        topic += letter;
    }
    for (auto _ : state) {
        Bytes name = as_bytes(topic);
        benchmark::DoNotOptimize(name);
        benchmark::DoNotOptimize(topic_name_check(name));
    }
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(topic.size()));
}

BENCHMARK_CAPTURE(bench_topic_check, ascii, "a")->Arg(5)->Arg(20)->Arg(60)->Arg(1000);
BENCHMARK_CAPTURE(bench_topic_check, euro, "\xe2\x82\xac")->Arg(20)->Arg(60)->Arg(1000);

void bench_publish_head(benchmark::State& state, Version version) {
    PublishHead head;
    head.version = version;
    head.qos = 1;
    head.packet_id = 7;
    head.topic_name = as_bytes("sensors/1/temperature");
    head.tail_size = 100;
    uint8_t out[64];
    for (auto _ : state) {
        benchmark::DoNotOptimize(publish_head_size(head));
        benchmark::DoNotOptimize(encode_publish_head(out, head));
        benchmark::ClobberMemory();
    }
}

BENCHMARK_CAPTURE(bench_publish_head, v311, Version::k311);
BENCHMARK_CAPTURE(bench_publish_head, v50, Version::k50);

void bench_match(benchmark::State& state) {
    const Bytes filter = as_bytes("sensors/+/temperature/#");
    const Bytes name = as_bytes("sensors/1/temperature/celsius");
    for (auto _ : state) {
        benchmark::DoNotOptimize(topic_matches(filter, name));
    }
}

BENCHMARK(bench_match);

}  // namespace
}  // namespace mqttd

BENCHMARK_MAIN();
