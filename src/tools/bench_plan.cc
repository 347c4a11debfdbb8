#include "tools/bench_traffic.h"

#include <cstdio>
#include <numeric>

namespace mqttd::bench {

namespace {

// Without --inflight: what gives large batches and still fits the sockets between a broker and a
// subscriber, so that no broker has a reason to drop.
constexpr uint64_t kBacklogBytes = 320 * 1024;
constexpr uint64_t kBacklogMessages = 4096;
constexpr uint64_t kScheduledBacklog = 65'536;

std::string digits(uint64_t value) {
    char text[16];
    snprintf(text, sizeof text, "%07llu", static_cast<unsigned long long>(value));
    return text;
}

// Publisher p's message k is for filter p + k·publishers, and filter n is subscriber n mod
// subscribers'. Which of p's messages subscriber s gets: every step-th, beginning with one below
// it.
Stream wildcard_stream(const Options& options, uint64_t publisher, uint64_t subscriber) {
    const uint64_t all = options.subscribers;
    if (options.filters % all != 0) return Stream(0);
    const uint64_t step = all / std::gcd(options.publishers, all);
    for (uint64_t first = 0; first < step; ++first) {
        if ((publisher + first * options.publishers) % all == subscriber) {
            return Stream(static_cast<uint32_t>(step), first);
        }
    }
    return Stream(0);  // hears nothing of this publisher
}

uint64_t default_inflight(const Options& options, uint64_t sharing) {
    if (options.mode == Mode::kLatency) {
        return std::max<uint64_t>(256, kScheduledBacklog / options.publishers);
    }
    const uint64_t bytes = publish_bytes(options.speech(), 16, options.payload, options.level());
    const uint64_t backlog = std::min(kBacklogMessages, kBacklogBytes / bytes);
    return std::max<uint64_t>(1, backlog / sharing);
}

}  // namespace

Plan Plan::of(const Options& options) {
    Plan plan;
    const bool pairs = options.shape() == Layout::kPairs;
    if (pairs) {
        plan.topics = static_cast<uint32_t>(std::min(options.publishers, options.subscribers));
    }
    for (uint32_t i = 0; i < options.publishers; ++i) {
        Route route{i % plan.topics, i / plan.topics, 1};
        if (pairs) {
            const uint64_t later = (options.subscribers - 1 - route.topic) / plan.topics;
            route.receivers = static_cast<uint32_t>(1 + later);
        } else if (options.shape() == Layout::kShared) {
            route.receivers = static_cast<uint32_t>(options.subscribers);
        } else if (options.shape() == Layout::kGroup) {
            route.receivers = static_cast<uint32_t>(options.groups);
        }
        plan.routes.push_back(route);
    }
    const uint64_t sharing = (options.publishers + plan.topics - 1) / plan.topics;
    plan.inflight = options.inflight != 0 ? options.inflight : default_inflight(options, sharing);
    return plan;
}

std::string Plan::topic(const Options& options, uint32_t index) const {
    const std::string prefix = run_prefix(options);
    switch (options.shape()) {
        case Layout::kShared:
        case Layout::kGroup:
            return prefix + "/one";
        case Layout::kPairs:
            return prefix + '/' + digits(index);
        case Layout::kWildcard:
            return prefix + "/x/" + digits(index) + "/y";
    }
    return prefix;
}

std::vector<std::string> Plan::filters(const Options& options, uint32_t subscriber) const {
    const std::string prefix = run_prefix(options);
    if (options.shape() == Layout::kGroup) {
        const std::string group = digits(subscriber % options.groups);
        return {"$share/g" + group + '/' + topic(options, 0)};
    }
    if (options.shape() != Layout::kWildcard) return {topic(options, subscriber % topics)};
    std::vector<std::string> all;
    for (uint64_t n = subscriber; n < options.filters; n += options.subscribers)
        all.push_back(prefix + "/+/" + digits(n) + "/#");
    return all;
}

std::vector<Stream> Plan::streams(const Options& options, uint32_t subscriber) const {
    std::vector<Stream> all;
    for (const Route& route : routes) {
        if (all.size() > route.stream) continue;
        const uint32_t publisher = static_cast<uint32_t>(all.size());
        if (options.shape() == Layout::kGroup) {
            all.emplace_back(0u);
        } else if (options.shape() == Layout::kWildcard) {
            all.push_back(wildcard_stream(options, publisher, subscriber));
        } else {
            all.emplace_back(1u);
        }
    }
    return all;
}

}  // namespace mqttd::bench
