#include "tools/bench_traffic.h"

#include <algorithm>
#include <bit>

namespace mqttd::bench {

namespace {

constexpr uint64_t kBatchBytes = 256 * 1024;
constexpr uint64_t kSubscriberTag = uint64_t{1} << 32;
constexpr int64_t kLookAtClockNs = 20'000'000;

}  // namespace

// ---- Opening ----

Traffic::Traffic(const Options& options)
    : options_(options),
      plan_(Plan::of(options)),
      protocol_(options.speech()),
      qos_(options.level()),
      form_(publish_form(protocol_, plan_.topic(options, 0), options.payload, qos_)),
      buffer_(form_.bytes.size()) {
    slots_ = std::clamp<uint64_t>(kBatchBytes / form_.bytes.size(), 1, plan_.inflight);
    ring_mask_ = std::bit_ceil(plan_.inflight) - 1;
    if (options.shape() == Layout::kWildcard) {
        for (uint32_t i = 0; i < options.filters; ++i)
            topic_names_.push_back(plan_.topic(options, i));
    }
    open_subscribers();
    open_publishers();
    moved_ns_ = now_ns();
}

Traffic::~Traffic() {
    for (Publisher& publisher : publishers_)
        leave(publisher.client);
    for (Subscriber& subscriber : subscribers_)
        leave(subscriber.client);
}

void Traffic::open_subscribers() {
    subscribers_.resize(options_.subscribers);
    OpenPlan plan;
    plan.count = options_.subscribers;
    plan.parallel = options_.parallel;
    plan.hello = [&](uint64_t i) {
        const auto index = static_cast<uint32_t>(i);
        return make_hello(options_,
                          run_prefix(options_) + "-s" + std::to_string(i),
                          plan_.filters(options_, index));
    };
    plan.opened = [&](uint64_t i, Client&& client, bool) {
        const auto index = static_cast<uint32_t>(i);
        Subscriber& subscriber = subscribers_[i];
        subscriber.client = std::move(client);
        subscriber.topic = index % plan_.topics;
        subscriber.streams = plan_.streams(options_, index);
        poller_.add(subscriber.client, kSubscriberTag | i);
    };
    open_clients(options_, plan);
}

void Traffic::open_publishers() {
    publishers_.resize(options_.publishers);
    OpenPlan plan;
    plan.count = options_.publishers;
    plan.parallel = options_.parallel;
    plan.first_index = options_.subscribers;
    plan.hello = [&](uint64_t i) {
        return make_hello(options_, run_prefix(options_) + "-p" + std::to_string(i));
    };
    plan.opened = [&](uint64_t i, Client&& client, bool) {
        const auto index = static_cast<uint32_t>(i);
        Publisher& publisher = publishers_[i];
        publisher.client = std::move(client);
        publisher.number = index;
        publisher.topic_next = i % options_.filters;
        publisher.window = std::min<uint64_t>(options_.window, publisher.client.receive_maximum);
        const uint64_t bound =
            qos_ > 0 ? std::min(plan_.inflight, publisher.window) : plan_.inflight;
        publisher.enough = options_.mode == Mode::kLatency ? 1 : std::max<uint64_t>(1, bound / 2);
        publisher.missing.resize(ring_mask_ + 1);
        if (qos_ > 0) publisher.busy.resize(publisher.window);
        PublishForm form = form_;
        const std::string topic =
            plan_.topic(options_, topic_names_.empty() ? plan_.routes[i].topic : 0);
        form.bytes.replace(form.topic_at, topic.size(), topic);
        publisher.client.batch.reserve(slots_ * form.bytes.size());
        for (uint64_t slot = 0; slot < slots_; ++slot) {
            publisher.client.batch.insert(
                publisher.client.batch.end(), form.bytes.begin(), form.bytes.end());
        }
        poller_.add(publisher.client, i);
    };
    open_clients(options_, plan);
}

// ---- Running ----

void Traffic::run_for(uint64_t ns, std::string_view what, bool scheduled) {
    Progress progress(options_);
    const uint64_t begin = now_ns();
    scheduled_ = scheduled;
    schedule_begin_ns_ = begin;
    schedule_next_ = 0;
    set_limits(scheduled ? 0 : UINT64_MAX);
    for (uint64_t now = begin; now - begin < ns && !interrupted(); now = now_ns()) {
        turn(true);
        progress.show(now, what, delivered_);
    }
}

void Traffic::run_messages(uint64_t count, std::string_view what, bool scheduled) {
    if (scheduled) {
        run_for(count * 1'000'000'000 / options_.rate, what, true);
        return drain();
    }
    Progress progress(options_);
    const uint64_t each = count / publishers_.size(), more = count % publishers_.size();
    for (Publisher& publisher : publishers_) {
        publisher.limit = publisher.sent + each + (publisher.number < more ? 1 : 0);
        wake(publisher);
    }
    const uint64_t wanted = published_ + count;
    while ((published_ < wanted || settled_ < published_ || unacked_ > 0) && !interrupted()) {
        turn(true);
        progress.show(now_ns(), what, delivered_);
    }
}

void Traffic::drain() {
    scheduled_ = false;
    set_limits(0);
    while ((settled_ < published_ || unacked_ > 0) && !interrupted())
        turn(false);
}

void Traffic::set_limits(uint64_t each) {
    for (Publisher& publisher : publishers_) {
        publisher.limit = each == 0 ? publisher.sent : each;
        publisher.schedule_first = publisher.sent;
        wake(publisher);
    }
}

// How long a turn may wait: not at all while there is something to send.
int64_t Traffic::wait_ns(bool publish_too) const {
    if (!publish_too) return kLookAtClockNs;
    if (!ready_.empty()) return 0;
    if (!scheduled_) return options_.spin ? 0 : kLookAtClockNs;
    if (!options_.sleep) return 0;
    const uint64_t due = schedule_begin_ns_ + schedule_next_ * 1'000'000'000 / options_.rate;
    const uint64_t now = now_ns();
    return due > now ? static_cast<int64_t>(std::min<uint64_t>(due - now, kLookAtClockNs)) : 0;
}

void Traffic::turn(bool publish_too) {
    for (const epoll_event& event : poller_.wait(wait_ns(publish_too))) {
        const uint64_t tag = event.data.u64;
        if ((tag & kSubscriberTag) != 0) {
            serve_subscriber(static_cast<uint32_t>(tag), event.events);
        } else {
            serve_publisher(static_cast<uint32_t>(tag), event.events);
        }
    }
    const uint64_t now = now_ns();
    if (scheduled_ && publish_too) step_schedule(now);
    sending_.swap(ready_);
    for (const uint32_t index : sending_) {
        publishers_[index].listed = false;
        if (publish_too) publish(publishers_[index]);
    }
    sending_.clear();
    if (moved_ || (settled_ == published_ && unacked_ == 0)) {
        moved_ns_ = now;
        moved_ = false;
    } else if (now > moved_ns_ && now - moved_ns_ > options_.patience_s * 1'000'000'000) {
        write_off();
    }
}

// When the publisher's next message should leave: what it is measured from, however late it is.
uint64_t Traffic::scheduled_ns(const Publisher& publisher) const {
    const uint64_t own = publisher.sent - publisher.schedule_first;
    const uint64_t message = own * publishers_.size() + publisher.number;
    return schedule_begin_ns_ + message * 1'000'000'000 / options_.rate;
}

// Lets each publisher send what is due by now.
void Traffic::step_schedule(uint64_t now) {
    while (schedule_begin_ns_ + schedule_next_ * 1'000'000'000 / options_.rate <= now) {
        Publisher& publisher = publishers_[schedule_next_ % publishers_.size()];
        ++publisher.limit;
        ++schedule_next_;
        wake(publisher);
    }
}

// ---- Subscribers ----

void Traffic::serve_subscriber(uint32_t index, uint32_t events) {
    Subscriber& subscriber = subscribers_[index];
    Client& client = subscriber.client;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        sample_ = true;
        arrived_ns_ = 0;
        moved_ = true;
        buffer_.read_packets(client, [&](uint8_t first, const Frame& frame) {
            if ((first & 0xf0) == kPublish) {
                on_delivery(subscriber, first, frame);
            } else if (first == kPubrel && frame.body_bytes >= 2) {
                client.acknowledge(kPubcomp, get_id(frame.body));
            } else if ((first & 0xf0) == kDisconnect) {
                die("the broker disconnected a subscriber");
            }
        });
    }
    if (client.writes_pending()) flush(client);
    poller_.update(client, kSubscriberTag | index);
}

void Traffic::on_delivery(Subscriber& subscriber, uint8_t first, const Frame& frame) {
    const Arrived arrived = parse_publish(protocol_, first, frame);
    if ((first & 0x06) == 0x02) subscriber.client.acknowledge(kPuback, arrived.id);
    if ((first & 0x06) == 0x04) subscriber.client.acknowledge(kPubrec, arrived.id);
    const bool whole = arrived.payload_bytes == options_.payload;
    const uint64_t word = whole ? load_word(arrived.payload) : 0;
    const uint64_t sequence = Mark::sequence(word);
    const uint32_t number = Mark::publisher(word);
    if (!whole || number >= publishers_.size() || plan_.routes[number].topic != subscriber.topic ||
        sequence >= publishers_[number].sent) {
        ++faults_.foreign;
        return;
    }
    ++delivered_;
    Publisher& publisher = publishers_[number];
    Stream& stream = subscriber.streams[plan_.routes[number].stream];
    switch (stream.see(sequence)) {
        case Verdict::kNext:
            ++unique_;
            settle(publisher, sequence);
            break;
        case Verdict::kGap:
            ++unique_;
            // What is missing is not waited for: it is lost, or it is late and counted then.
            for (uint64_t i = stream.gap(); i > 0; --i)
                settle(publisher, sequence - i * stream.step());
            settle(publisher, sequence);
            break;
        case Verdict::kLate:
            ++unique_;
            ++faults_.disordered;
            if (stream.step() == 0) settle(publisher, sequence);
            break;
        case Verdict::kDuplicate:
            ++faults_.duplicates;
            break;
    }
    if (sample_ && options_.payload >= Mark::kBytes) {
        if (arrived_ns_ == 0) arrived_ns_ = now_ns();
        const uint64_t sent_ns = load_word(arrived.payload + Mark::kNumbersBytes);
        latency_.add(arrived_ns_ > sent_ns ? arrived_ns_ - sent_ns : 0);
        sample_ = options_.mode == Mode::kLatency;  // elsewhere one of each read will do
    }
}

// One receiver less lacks this message; when none does, the publisher may send another.
void Traffic::settle(Publisher& publisher, uint64_t sequence) {
    if (sequence < publisher.done || sequence >= publisher.sent) return;
    uint32_t& missing = publisher.missing[sequence & ring_mask_];
    if (missing == 0 || --missing > 0 || sequence != publisher.done) return;
    const uint64_t before = publisher.done;
    while (publisher.done < publisher.sent && publisher.missing[publisher.done & ring_mask_] == 0)
        ++publisher.done;
    settled_ += publisher.done - before;
    if (!publisher.listed) wake(publisher);
}

// ---- Publishers ----

uint64_t Traffic::room(const Publisher& publisher) const {
    const uint64_t open = plan_.inflight - (publisher.sent - publisher.done);
    return qos_ > 0 ? std::min(open, publisher.window - publisher.unacked) : open;
}

// Puts the publisher on the list if it has enough room to send, and something left to send.
void Traffic::wake(Publisher& publisher) {
    if (publisher.listed || publisher.sent >= publisher.limit) return;
    if (room(publisher) < std::min(publisher.enough, publisher.limit - publisher.sent)) return;
    publisher.listed = true;
    ready_.push_back(publisher.number);
}

void Traffic::serve_publisher(uint32_t index, uint32_t events) {
    Publisher& publisher = publishers_[index];
    Client& client = publisher.client;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        moved_ = true;
        buffer_.read_packets(
            client, [&](uint8_t first, const Frame& frame) { on_ack(publisher, first, frame); });
    }
    if (client.writes_pending()) flush(client);
    poller_.update(client, index);
    wake(publisher);
}

void Traffic::on_ack(Publisher& publisher, uint8_t first, const Frame& frame) {
    constexpr uint8_t kRefused = 0x80;
    if ((first & 0xf0) == kDisconnect) die("the broker disconnected a publisher");
    if (frame.body_bytes < 2) return;
    const uint16_t id = get_id(frame.body);
    const bool refused = frame.body_bytes > 2 && frame.body[2] >= kRefused;
    if (first == kPubrec && !refused) {
        publisher.client.acknowledge(kPubrel, id);
    } else if (first == kPuback || first == kPubcomp || first == kPubrec) {
        free_id(publisher, id);
    }
}

void Traffic::free_id(Publisher& publisher, uint16_t id) {
    if (id == 0 || id > publisher.busy.size() || publisher.busy[id - 1] == 0) return;
    publisher.busy[id - 1] = 0;
    --publisher.unacked;
    --unacked_;
}

void Traffic::publish(Publisher& publisher) {
    Client& client = publisher.client;
    if (client.writes_pending()) return;  // it is woken when that is written
    const uint64_t wanted = std::min({room(publisher), slots_, publisher.limit - publisher.sent});
    const uint64_t count = fill(publisher, wanted, now_ns());
    client.batch_begin = 0;
    client.batch_end = count * form_.bytes.size();
    flush(client);
    poller_.update(client, publisher.number);
    if (count > 0) wake(publisher);
}

// Patches `count` messages of the batch; fewer if an id is still in use. Returns how many.
uint64_t Traffic::fill(Publisher& publisher, uint64_t count, uint64_t now) {
    const uint32_t receivers = plan_.routes[publisher.number].receivers;
    const size_t bytes = form_.bytes.size();
    const bool timed = options_.payload >= Mark::kBytes;
    uint8_t* message = publisher.client.batch.data();
    uint64_t filled = 0;
    for (; filled < count; ++filled, message += bytes) {
        const uint64_t sequence = publisher.sent;
        if (qos_ > 0) {
            const uint64_t id = sequence % publisher.window;
            if (publisher.busy[id] != 0) break;
            publisher.busy[id] = 1;
            put_id(message + form_.id_at, static_cast<uint16_t>(id + 1));
        }
        if (!topic_names_.empty()) {
            const std::string& topic = topic_names_[publisher.topic_next];
            memcpy(message + form_.topic_at, topic.data(), topic.size());
            publisher.topic_next =
                (publisher.topic_next + publishers_.size()) % topic_names_.size();
        }
        store_word(message + form_.payload_at, Mark::pack(publisher.number, sequence));
        if (timed) {
            const uint64_t time = scheduled_ ? scheduled_ns(publisher) : now;
            store_word(message + form_.payload_at + Mark::kNumbersBytes, time);
        }
        publisher.missing[sequence & ring_mask_] = receivers;
        ++publisher.sent;
    }
    published_ += filled;
    expected_ += filled * receivers;
    if (qos_ > 0) {
        publisher.unacked += filled;
        unacked_ += filled;
    }
    return filled;
}

// ---- The end ----

// Nothing has arrived for too long: what is under way is lost, and the run goes on without it.
void Traffic::write_off() {
    for (Publisher& publisher : publishers_) {
        std::fill(publisher.missing.begin(), publisher.missing.end(), 0);
        settled_ += publisher.sent - publisher.done;
        publisher.done = publisher.sent;
        std::fill(publisher.busy.begin(), publisher.busy.end(), 0);
        unacked_ -= publisher.unacked;
        publisher.unacked = 0;
        wake(publisher);
    }
    moved_ns_ = now_ns();
}

Faults Traffic::faults() const {
    Faults faults = faults_;
    faults.lost = expected_ - unique_;
    return faults;
}

}  // namespace mqttd::bench
