#include "tools/bench_feeder.h"

#include "tools/bench_check.h"
#include "tools/bench_report.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::bench {

namespace {

constexpr uint64_t kBatchBytes = 128 * 1024;
constexpr size_t kDigits = 9;

struct Feeder {
    Client client;
    uint32_t number = 0;
    uint64_t sent = 0;
    uint64_t share = 0;  // messages it has to send
    uint64_t window = 0;
    uint64_t unacked = 0;
    bool asked = false;  // the closing PINGREQ is under way
    bool done = false;
    std::vector<uint8_t> busy;
};

class Feeding {
  public:
    Feeding(const Options& options, const FeedPlan& plan)
        : options_(options), plan_(plan), feeders_(plan.publishers) {
        std::string topic = plan.topic;
        if (plan.numbered) topic += '/' + std::string(kDigits, '0');
        form_ = publish_form(options.speech(), topic, plan.payload, options.level(), plan.retain);
        slots_ = std::clamp<uint64_t>(kBatchBytes / form_.bytes.size(), 1, 4096);
        OpenPlan open;
        open.count = plan.publishers;
        open.parallel = options.parallel;
        open.hello = [&](uint64_t i) {
            return make_hello(options, run_prefix(options) + "-f" + std::to_string(i));
        };
        open.opened = [&](uint64_t i, Client&& client, bool) { begin(i, std::move(client)); };
        open_clients(options, open);
    }

    void run() {
        Progress progress(options_);
        ReadBuffer buffer;
        for (Feeder& feeder : feeders_)
            publish(feeder);
        while (done_ < feeders_.size() && !interrupted()) {
            const auto events =
                poller_.wait(static_cast<int64_t>(options_.patience_s) * 1'000'000'000);
            if (events.empty() && !interrupted()) {
                die("the broker takes no more messages: " + std::to_string(sent_) + " of " +
                    std::to_string(plan_.count) + " were sent");
            }
            for (const epoll_event& event : events) {
                Feeder& feeder = feeders_[event.data.u64];
                if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
                    buffer.read_packets(feeder.client, [&](uint8_t first, const Frame& frame) {
                        on_answer(feeder, first, frame);
                    });
                }
                flush(feeder.client);
                publish(feeder);
            }
            progress.show(now_ns(), plan_.what, sent_);
        }
        for (Feeder& feeder : feeders_)
            leave(feeder.client);
    }

  private:
    void begin(uint64_t i, Client&& client) {
        Feeder& feeder = feeders_[i];
        feeder.client = std::move(client);
        feeder.number = static_cast<uint32_t>(i);
        feeder.share = plan_.count / plan_.publishers + (i < plan_.count % plan_.publishers);
        feeder.window = std::min<uint64_t>(options_.window, feeder.client.receive_maximum);
        feeder.busy.resize(feeder.window);
        for (uint64_t slot = 0; slot < slots_; ++slot) {
            feeder.client.batch.insert(
                feeder.client.batch.end(), form_.bytes.begin(), form_.bytes.end());
        }
        poller_.add(feeder.client, i);
    }

    void on_answer(Feeder& feeder, uint8_t first, const Frame& frame) {
        if ((first & 0xf0) == kDisconnect) die("the broker disconnected a publisher");
        if (first == kPingresp) {
            feeder.done = true;
            ++done_;
        }
        if (frame.body_bytes < 2) return;
        const uint16_t id = get_id(frame.body);
        const bool refused = frame.body_bytes > 2 && frame.body[2] >= 0x80;
        if (first == kPubrec && !refused) {
            feeder.client.acknowledge(kPubrel, id);
            return;
        }
        if (first != kPuback && first != kPubcomp && first != kPubrec) return;
        if (id == 0 || id > feeder.busy.size() || feeder.busy[id - 1] == 0) return;
        feeder.busy[id - 1] = 0;
        --feeder.unacked;
    }

    void publish(Feeder& feeder) {
        Client& client = feeder.client;
        while (!client.writes_pending() && feeder.sent < feeder.share) {
            const uint64_t filled = fill(feeder);
            if (filled == 0) break;
            client.batch_begin = 0;
            client.batch_end = filled * form_.bytes.size();
            flush(client);
        }
        // Behind the last acknowledgement, or behind the last message at QoS 0.
        if (feeder.sent == feeder.share && feeder.unacked == 0 && !feeder.asked &&
            !client.writes_pending()) {
            feeder.asked = true;
            client.append(ping_packet());
            flush(client);
        }
        poller_.update(client, feeder.number);
    }

    uint64_t fill(Feeder& feeder) {
        const uint64_t count = std::min(slots_, feeder.share - feeder.sent);
        // A window that has to be half free keeps batches batches.
        if (options_.qos > 0 && feeder.unacked > feeder.window / 2) return 0;
        uint8_t* message = feeder.client.batch.data();
        uint64_t filled = 0;
        for (; filled < count; ++filled, message += form_.bytes.size()) {
            if (options_.qos > 0) {
                const uint64_t id = feeder.sent % feeder.window;
                if (feeder.busy[id] != 0) break;
                feeder.busy[id] = 1;
                ++feeder.unacked;
                put_id(message + form_.id_at, static_cast<uint16_t>(id + 1));
            }
            patch(message, feeder);
            ++feeder.sent;
            ++sent_;
        }
        return filled;
    }

    void patch(uint8_t* message, const Feeder& feeder) const {
        if (plan_.numbered) {
            uint64_t number = feeder.sent * plan_.publishers + feeder.number;
            uint8_t* digit = message + form_.topic_at + plan_.topic.size() + kDigits;
            for (size_t i = 0; i < kDigits; ++i, number /= 10)
                *digit-- = static_cast<uint8_t>('0' + number % 10);
        }
        if (plan_.payload < Mark::kNumbersBytes) return;
        store_word(message + form_.payload_at, Mark::pack(feeder.number, feeder.sent));
        if (plan_.payload < Mark::kBytes) return;
        store_word(message + form_.payload_at + Mark::kNumbersBytes, 0);
    }

    const Options& options_;
    const FeedPlan& plan_;
    PublishForm form_;
    uint64_t slots_ = 1;
    std::vector<Feeder> feeders_;
    Poller poller_;
    uint64_t sent_ = 0;
    uint64_t done_ = 0;
};

}  // namespace

void feed(const Options& options, const FeedPlan& plan) {
    Feeding(options, plan).run();
}

void fetch(const Options& options,
           Client& client,
           std::string_view what,
           const std::function<bool(const Arrived&)>& take) {
    Progress progress(options);
    Poller poller;
    ReadBuffer buffer(options.payload + 1024);
    bool last = false;
    uint64_t count = 0;
    const auto on_packet = [&](uint8_t first, const Frame& frame) {
        if (first == kPubrel && frame.body_bytes >= 2) {
            client.acknowledge(kPubcomp, get_id(frame.body));
        }
        if ((first & 0xf0) == kDisconnect) die("the broker disconnected the subscriber");
        if ((first & 0xf0) != kPublish) return;
        const Arrived arrived = parse_publish(options.speech(), first, frame);
        if (arrived.payload == nullptr) die("the broker sent a PUBLISH that is malformed");
        if ((first & 0x06) == 0x02) client.acknowledge(kPuback, arrived.id);
        if ((first & 0x06) == 0x04) client.acknowledge(kPubrec, arrived.id);
        ++count;
        last |= take(arrived);
    };
    poller.add(client, 0);
    buffer.parse_rest(client, on_packet);
    flush(client);
    poller.update(client, 0);
    while ((!last || client.writes_pending()) && !interrupted()) {
        const auto events = poller.wait(static_cast<int64_t>(options.patience_s) * 1'000'000'000);
        if (events.empty()) break;  // what is missing, the caller counts as lost
        buffer.read_packets(client, on_packet);
        flush(client);
        poller.update(client, 0);
        progress.show(now_ns(), what, count);
    }
    poller.remove(client);
}

}  // namespace mqttd::bench
