// Encoding: the heads and answers that the broker writes into an outbox.

#include "mqttd/codec.h"

#include "support/packets5.h"

#include <benchmark/benchmark.h>
#include <string>

namespace mqttd::bench {
namespace {

// `encode` is asked for the size, as the core does, and then writes.
template <class Encode>
void encode_again(benchmark::State& state, Encode&& encode) {
    uint8_t out[256];
    for (auto _ : state) {
        benchmark::DoNotOptimize(encode(out));
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
}

void encode_head(benchmark::State& state, const PublishHead& head) {
    encode_again(state, [&head](uint8_t* out) {
        benchmark::DoNotOptimize(publish_head_size(head));
        return encode_publish_head(out, head);
    });
}

PublishHead head_of(Version version, uint8_t qos) {
    PublishHead head;
    head.version = version;
    head.qos = qos;
    head.packet_id = qos == 0 ? 0 : 7;
    head.topic_name = as_bytes("sensors/1/temperature");
    head.tail_size = 100;
    return head;
}

void encoding_publish_head(benchmark::State& state, Version version, uint8_t qos) {
    encode_head(state, head_of(version, qos));
}

BENCHMARK_CAPTURE(encoding_publish_head, v3_qos0, Version::k311, uint8_t{0});
BENCHMARK_CAPTURE(encoding_publish_head, v5_qos0, Version::k50, uint8_t{0});
BENCHMARK_CAPTURE(encoding_publish_head, v3_qos1, Version::k311, uint8_t{1});
BENCHMARK_CAPTURE(encoding_publish_head, v5_qos1, Version::k50, uint8_t{1});

// A receiver's own: subscription identifier and topic alias.
void encoding_publish_head_with_own(benchmark::State& state) {
    const std::string own = packets5::property(Property::kSubscriptionIdentifier, 300) +
                            packets5::property(Property::kTopicAlias, 3);
    PublishHead head = head_of(Version::k50, 1);
    head.own_properties = as_bytes(own);
    encode_head(state, head);
}

BENCHMARK(encoding_publish_head_with_own);

void encoding_puback(benchmark::State& state, Version version) {
    encode_again(state, [version](uint8_t* out) {
        return encode_ack(out, PacketType::kPuback, 7, version, 0);
    });
}

BENCHMARK_CAPTURE(encoding_puback, v3, Version::k311);
BENCHMARK_CAPTURE(encoding_puback, v5, Version::k50);

void encoding_connack(benchmark::State& state, Version version) {
    const std::string said = version == Version::k50
                                 ? packets5::property(Property::kReceiveMaximum, 20) +
                                       packets5::property(Property::kTopicAliasMaximum, 10)
                                 : "";
    encode_again(state, [&said, version](uint8_t* out) {
        benchmark::DoNotOptimize(connack_size(version, as_bytes(said)));
        return encode_connack(out, version, true, 0, as_bytes(said));
    });
}

BENCHMARK_CAPTURE(encoding_connack, v3, Version::k311);
BENCHMARK_CAPTURE(encoding_connack, v5, Version::k50);

}  // namespace
}  // namespace mqttd::bench
