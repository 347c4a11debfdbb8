// UTF-8 and the rules of topics, which every name, filter and text passes: by length and alphabet.

#include "mqttd/topic.h"

#include "base/utf8.h"

#include <benchmark/benchmark.h>
#include <string>

namespace mqttd::bench {
namespace {

constexpr const char* kAscii = "a";
constexpr const char* kUmlauts = "\xc3\xa4";
constexpr const char* kEuros = "\xe2\x82\xac";
constexpr const char* kFaces = "\xf0\x9f\x98\x80";
constexpr const char* kWords =
    "gr\xc3\xbc\xc3\x9f"
    "e aus M\xc3\xbcnchen/";  // mostly ASCII, as texts are

template <class Check>
void check_texts(benchmark::State& state, const char* letter, Check&& check) {
    std::string text;
    while (text.size() < static_cast<size_t>(state.range(0)))
        text += letter;
    for (auto _ : state) {
        Bytes bytes = as_bytes(text);
        benchmark::DoNotOptimize(bytes);
        benchmark::DoNotOptimize(check(bytes));
    }
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}

void checking_utf8(benchmark::State& state, const char* letter) {
    check_texts(state, letter, utf8_text);
}

BENCHMARK_CAPTURE(checking_utf8, ascii, kAscii)->Arg(5)->Arg(20)->Arg(60)->Arg(1'000)->Arg(65'535);
BENCHMARK_CAPTURE(checking_utf8, umlauts, kUmlauts)->Arg(20)->Arg(1'000);
BENCHMARK_CAPTURE(checking_utf8, euros, kEuros)->Arg(20)->Arg(1'000);
BENCHMARK_CAPTURE(checking_utf8, faces, kFaces)->Arg(20)->Arg(1'000);
BENCHMARK_CAPTURE(checking_utf8, words, kWords)->Arg(20)->Arg(1'000);

void checking_topic_name(benchmark::State& state, const char* letter) {
    check_texts(state, letter, topic_name_check);
}

BENCHMARK_CAPTURE(checking_topic_name, ascii, kAscii)->Arg(5)->Arg(20)->Arg(60)->Arg(1'000);
BENCHMARK_CAPTURE(checking_topic_name, euros, kEuros)->Arg(20)->Arg(1'000);

void checking_topic_filter(benchmark::State& state, const char* letter) {
    check_texts(state, letter, topic_filter_check);
}

BENCHMARK_CAPTURE(checking_topic_filter, plain, "level/")->Arg(20)->Arg(1'000);
BENCHMARK_CAPTURE(checking_topic_filter, wildcards, "level/+/")->Arg(20)->Arg(1'000);

}  // namespace
}  // namespace mqttd::bench
