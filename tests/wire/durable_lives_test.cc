// Lives at random: clients that keep the standard, a disk that syncs when it likes, power cuts at
// any place. Who was told that a message is kept finds it, once where that was promised, in order.
//
//     MQTTD_LIVES=10000 build/g++/unit_tests '[lives]'      plays more of them

#include "mqttd/topic.h"

#include "base/prng.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint32_t kLives = 150;

struct Packet {
    uint8_t first = 0;
    std::string body;
};

// A connection, and what of its session is the client's.
class Client {
  public:
    Client(std::string name, bool clean) : name_(std::move(name)), clean_(clean) {}

    virtual ~Client() = default;

    void connect_to(World& world) {
        link_ = &world.connection();
        greeted = false;
        input_.clear();
        link_->push(packets::connect(name_, clean_));
    }

    // The power has failed, or the connection broke.
    void lose() {
        if (link_ != nullptr) link_->hang_up(Error::kReset);
        forget();
    }

    void forget() {
        link_ = nullptr;
        greeted = false;
        input_.clear();
    }

    bool connected() const { return link_ != nullptr; }

    // Reads what has come, and takes up to `most` packets of it.
    void read(uint32_t most) {
        if (link_ == nullptr) return;
        input_ += link_->take_output();
        if (!link_->open() && input_.empty()) return forget();
        for (; most > 0 && link_ != nullptr; --most) {
            const size_t size = packet_size(input_);
            if (size == 0) return;
            size_t head = 2;
            while ((static_cast<uint8_t>(input_[head - 1]) & 0x80) != 0)
                ++head;
            const Packet packet{static_cast<uint8_t>(input_[0]), input_.substr(head, size - head)};
            input_.erase(0, size);
            if (packet.first >> 4 == 2) {
                REQUIRE(packet.body[1] == 0);
                greeted = true;
                const bool present = packet.body[0] != 0;
                if (known_ && !clean_) REQUIRE(present);  // it was told so once
                known_ = true;
                begin(present);
            } else {
                REQUIRE(greeted);
                take(packet);
            }
        }
    }

    bool greeted = false;

  protected:
    virtual void begin(bool present) = 0;
    virtual void take(const Packet& packet) = 0;

    void send(const std::string& bytes) {
        if (link_ != nullptr && link_->open()) link_->push(bytes);
    }

    static uint16_t id_of(const std::string& bytes) {
        return static_cast<uint16_t>(static_cast<uint8_t>(bytes[0]) << 8 |
                                     static_cast<uint8_t>(bytes[1]));
    }

  private:
    std::string name_;
    bool clean_;
    bool known_ = false;
    FakeConnection* link_ = nullptr;
    std::string input_;
};

class Publisher : public Client {
  public:
    Publisher(std::string name, int wanted, bool clean)
        : Client(name, clean), topic("p/" + name), qos(wanted), clean_(clean) {}

    void publish_some(uint32_t count) {
        for (; count > 0 && greeted && open_.size() < 15; --count) {
            id_ = static_cast<uint16_t>(id_ % 40 + 1);
            while (open_.contains(id_))
                id_ = static_cast<uint16_t>(id_ % 40 + 1);
            order_.push_back(id_);
            open_[id_] = {++last, false};
            send(packet_of(id_, false));
        }
    }

    bool done() const { return open_.empty(); }

    std::string topic;
    int qos;
    int last = 0;         // number of the last message
    std::set<int> acked;  // what the broker has taken over
    std::set<int> doubt;  // what was open when a clean session ended: nobody knows

  protected:
    void begin(bool) override {
        if (clean_) {
            for (const auto& [id, state] : open_)
                doubt.insert(state.first);
            open_.clear();
            order_.clear();
        }
        for (const uint16_t id : order_)
            send(open_[id].second ? pubrel(id) : packet_of(id, true));
    }

    void take(const Packet& packet) override {
        const uint16_t id = id_of(packet.body);
        if (!open_.contains(id)) return;
        if (packet.first >> 4 == 5) {
            open_[id].second = true;
            send(pubrel(id));
            return;
        }
        acked.insert(open_[id].first);
        open_.erase(id);
        std::erase(order_, id);
    }

  private:
    std::string packet_of(uint16_t id, bool dup) {
        return publish({.topic = topic,
                        .payload = std::to_string(open_[id].first),
                        .qos = qos,
                        .packet_id = id,
                        .dup = dup});
    }

    bool clean_;
    uint16_t id_ = 0;
    std::map<uint16_t, std::pair<int, bool>> open_;  // number, PUBREC has come
    std::vector<uint16_t> order_;
};

class Subscriber : public Client {
  public:
    Subscriber(std::string name, std::string filter, int wanted)
        : Client(name, false), filter_(std::move(filter)), qos(wanted) {}

    const std::string& filter() const { return filter_; }

    bool subscribed = false;
    std::map<std::string, std::vector<int>> seen;  // by topic

  protected:
    void begin(bool present) override {
        if (!present) waiting_.clear();
        if (!subscribed)
            send(subscribe(1,
                           {
                               {filter_, qos}
            }));
    }

    void take(const Packet& packet) override {
        switch (packet.first >> 4) {
            case 9:
                subscribed = true;
                return;
            case 6:
                waiting_.erase(id_of(packet.body));
                return send(pubcomp(id_of(packet.body)));
            case 3:
                break;
            default:
                return;
        }
        const size_t size = id_of(packet.body);
        const std::string topic = packet.body.substr(2, size);
        const uint16_t id = id_of(packet.body.substr(2 + size));
        const int number = std::atoi(packet.body.c_str() + 4 + size);
        const int got = packet.first >> 1 & 3;
        REQUIRE(got > 0);
        if (got == 1 || !waiting_.contains(id)) seen[topic].push_back(number);
        if (got == 2) waiting_.insert(id);
        send(got == 1 ? puback(id) : pubrec(id));
    }

  private:
    std::string filter_;

  public:
    int qos;

  private:
    std::set<uint16_t> waiting_;
};

class Lives {
  public:
    explicit Lives(uint64_t seed) : dice_(seed), journal_(uint64_t{1} << (16 + dice_.below(5))) {
        options_ = World::test_options();
        options_.max_queued_messages = 0;
        options_.max_inflight_messages = 1 + dice_.below(30);
        options_.max_awaiting_rel = 0;
        options_.journal_slack_bytes = dice_.below(2) == 0 ? 4'000 : 60'000;
        options_.disk_wait_s = 2;
        if (dice_.below(2) == 0) {  // memory counts as short at once
            options_.page_from_permille = 0;
            options_.page_bytes = 200 + dice_.below(2'000);
        }
        journal_.sync_each_turn(false);
        for (uint32_t i = 0; i < 1 + dice_.below(3); ++i) {
            publishers_.push_back(std::make_unique<Publisher>("pub" + std::to_string(i),
                                                              1 + static_cast<int>(dice_.below(2)),
                                                              dice_.below(3) == 0));
        }
        static const char* const kFilters[] = {"#", "p/#", "p/+", "+/pub0"};
        for (uint32_t i = 0; i < 1 + dice_.below(4); ++i) {
            subscribers_.push_back(
                std::make_unique<Subscriber>("sub" + std::to_string(i),
                                             kFilters[dice_.below(4)],
                                             1 + static_cast<int>(dice_.below(2))));
        }
        for (auto& each : publishers_)
            all_.push_back(each.get());
        for (auto& each : subscribers_)
            all_.push_back(each.get());
    }

    void play() {
        begin();
        // Nobody publishes before all are subscribed.
        heal([&] {
            for (const auto& each : subscribers_) {
                if (!each->subscribed) return false;
            }
            return true;
        });
        const uint32_t steps = 50 + dice_.below(400);
        for (uint32_t i = 0; i < steps; ++i)
            step();
        heal([&] {
            for (const auto& each : publishers_) {
                if (!each->done()) return false;
            }
            return world_->stats().queued == 0 && world_->stats().inflight_out == 0;
        });
        judge();
        paged_ += world_->stats().pages_in;
        CHECK(world_->stats().drops[static_cast<uint32_t>(Drop::kMemory)] == 0);
        for (Client* each : all_)
            each->forget();
    }

    uint64_t paged() const { return paged_; }

  private:
    void begin() {
        if (world_) paged_ += world_->stats().pages_in;
        world_ = nullptr;
        world_ = std::make_unique<World>(options_, size_t{16} << 20, &journal_);
        REQUIRE(world_->restored().unreadable == 0);
        REQUIRE(world_->restored().lost_messages == 0);
    }

    void step() {
        switch (dice_.below(20)) {
            case 0:
                journal_.sync();
                break;
            case 1:
                journal_.sync_to(between(journal_.durable(), journal_.tail()));
                break;
            case 2: {
                Client& one = *all_[dice_.below(static_cast<uint32_t>(all_.size()))];
                if (one.connected()) one.lose();
                break;
            }
            case 3:
                world_->advance(dice_.below(3'000));
                break;
            case 4:
                journal_.fail(dice_.below(8) == 0);
                break;
            case 5:
                if (dice_.below(3) == 0) power_cut();
                break;
            case 6:
                journal_.hold_reads(dice_.below(3) != 0);
                break;
            case 7:
                journal_.hold_answers(true);
                journal_.sync_each_turn(dice_.below(2) == 0);
                break;
            default:
                act();
        }
        world_->turn();
        if (dice_.below(4) == 0) world_->turn();
    }

    uint64_t between(uint64_t from, uint64_t to) {
        return from + (to > from ? dice_.below(static_cast<uint32_t>(to - from + 1)) : 0);
    }

    void act() {
        Client& one = *all_[dice_.below(static_cast<uint32_t>(all_.size()))];
        if (!one.connected()) {
            if (dice_.below(2) == 0) one.connect_to(*world_);
            return;
        }
        one.read(1 + dice_.below(20));
        for (auto& each : publishers_) {
            if (each.get() == &one) each->publish_some(dice_.below(6));
        }
    }

    // What was not durable is gone, or some of it: it may have been written all the same.
    void power_cut() {
        const uint64_t at = between(journal_.durable(), journal_.tail());
        for (Client* each : all_)
            each->forget();
        FakeJournal left = journal_;  // what the dying world still says does not count
        left.cut_at(at);
        world_ = nullptr;
        journal_ = left;
        journal_.fail(false);
        begin();
    }

    template <class Done>
    void heal(Done done) {
        journal_.fail(false);
        journal_.hold_reads(false);
        journal_.sync_each_turn(true);
        for (uint32_t i = 0; !done(); ++i) {
            REQUIRE(i < 3'000);
            for (Client* each : all_) {
                if (!each->connected()) each->connect_to(*world_);
            }
            world_->turn();
            if (i % 8 == 7) world_->advance(200);
            for (Client* each : all_)
                each->read(1'000);
        }
        for (uint32_t i = 0; i < 4; ++i) {
            world_->turn();
            for (Client* each : all_)
                each->read(1'000);
        }
    }

    void judge() const {
        for (const auto& subscriber : subscribers_) {
            for (const auto& publisher : publishers_) {
                const bool wants =
                    topic_matches(as_bytes(subscriber->filter()), as_bytes(publisher->topic));
                const auto found = subscriber->seen.find(publisher->topic);
                if (!wants) {
                    REQUIRE(found == subscriber->seen.end());
                    continue;
                }
                const std::vector<int> none;
                judge(*subscriber,
                      *publisher,
                      found != subscriber->seen.end() ? found->second : none);
            }
        }
    }

    static void judge(const Subscriber& subscriber,
                      const Publisher& publisher,
                      const std::vector<int>& seen) {
        std::map<int, int> times;
        int last = 0;
        for (const int number : seen) {
            if (++times[number] > 1) continue;
            REQUIRE(number > last);  // in order
            last = number;
        }
        for (const int number : publisher.acked) {
            CAPTURE(publisher.topic, number);
            REQUIRE(times[number] >= 1);
        }
        for (int number = 1; number <= publisher.last; ++number) {
            const bool known = publisher.acked.contains(number) || publisher.doubt.contains(number);
            REQUIRE(known);
            const bool once = publisher.qos == 2 && subscriber.qos == 2;
            if (once) REQUIRE(times[number] <= 1);
        }
    }

    Prng dice_;
    uint64_t paged_ = 0;  // pages that came back
    FakeJournal journal_;
    BrokerOptions options_;
    std::unique_ptr<World> world_;
    std::vector<std::unique_ptr<Publisher>> publishers_;
    std::vector<std::unique_ptr<Subscriber>> subscribers_;
    std::vector<Client*> all_;
};

}  // namespace

TEST_CASE("whatever the disk and the power do, nothing acknowledged is lost",
          "[wire][durable][lives]") {
    const char* more = std::getenv("MQTTD_LIVES");
    const auto lives =
        static_cast<uint64_t>(more != nullptr ? std::strtoul(more, nullptr, 10) : kLives);
    const char* from = std::getenv("MQTTD_LIVES_FROM");
    const auto begin = static_cast<uint64_t>(from != nullptr ? std::strtoul(from, nullptr, 10) : 1);
    uint64_t paged = 0;
    for (uint64_t seed = begin; seed < begin + lives; ++seed) {
        CAPTURE(seed);
        Lives life(seed);
        life.play();
        paged += life.paged();
    }
    if (more == nullptr) CHECK(paged > lives / 4);  // a single one may have no pages
}
