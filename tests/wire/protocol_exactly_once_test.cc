// QoS 2 from end to end through connections that break anywhere: every message once, in order.
//
// Two clients as the standard wants them, with a memory that outlives their connections. Seeds
// decide who sends, reads slowly, breaks off or is taken over, and when.   MQTT 3.1.1 §4.3.3, §4.4.

#include "base/prng.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <deque>
#include <set>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

uint16_t id_at(std::string_view bytes, size_t at) {
    return static_cast<uint16_t>(uint8_t(bytes[at]) << 8 | uint8_t(bytes[at + 1]));
}

// What both have in common: a durable session over one connection after the other.
class Party {
  public:
    Party(World& world, std::string id) : world_(world), id_(std::move(id)) { come_back(false); }

    virtual ~Party() = default;

    // Breaks off, or lets the new connection take over from the old one.
    void come_back(bool take_over) {
        if (link_ != nullptr && !take_over) link_->hang_up(Error::kReset);
        link_ = &world_.connection();
        stream_.clear();
        link_->send(connect(id_, false));
        came_back();
    }

    // Works off what has arrived.  False if there was nothing.
    bool work() {
        stream_ += link_->take_output();
        bool any = false;
        while (const size_t size = packet_size(stream_)) {
            const std::string packet = stream_.substr(0, size);
            stream_.erase(0, size);
            take(packet);
            any = true;
        }
        return any;
    }

    FakeConnection& link() { return *link_; }

  protected:
    virtual void take(const std::string& packet) = 0;

    virtual void came_back() {}

  private:
    World& world_;
    std::string id_;
    std::string stream_;
    FakeConnection* link_ = nullptr;
};

class Receiver final : public Party {
  public:
    Receiver(World& world, int qos) : Party(world, "receiver") {
        link().send(subscribe(1,
                              {
                                  {"t", qos}
        }));
    }

    uint32_t last() const { return last_; }

  private:
    void take(const std::string& packet) override {
        const int type = uint8_t(packet[0]) >> 4;
        if (type == 3) {
            REQUIRE((packet[0] & 6) == 4);
            const uint16_t id = id_at(packet, 5);
            if (unreleased_.insert(id).second) {
                REQUIRE(std::stoul(packet.substr(7)) == last_ + 1);
                ++last_;
            } else {
                REQUIRE((packet[0] & 8) == 8);
            }
            link().push(pubrec(id));
        } else if (type == 6) {
            unreleased_.erase(id_at(packet, 2));
            link().push(pubcomp(id_at(packet, 2)));
        }
    }

    std::set<uint16_t> unreleased_;
    uint32_t last_ = 0;
};

class Sender final : public Party {
  public:
    explicit Sender(World& world) : Party(world, "sender") {}

    void publish_next() {
        if (flows_.size() >= 8) return;
        next_id_ = static_cast<uint16_t>(next_id_ % 12 + 1);
        flows_.push_back({next_id_, ++sent_, false});
        link().push(packet_of(flows_.back(), false));
    }

    uint32_t sent() const { return sent_; }

    bool done() const { return flows_.empty(); }

  private:
    struct Flow {
        uint16_t id;
        uint32_t number;
        bool released;
    };

    static std::string packet_of(const Flow& flow, bool dup) {
        return publish({.topic = "t",
                        .payload = std::to_string(flow.number),
                        .qos = 2,
                        .packet_id = flow.id,
                        .dup = dup});
    }

    void take(const std::string& packet) override {
        const int type = uint8_t(packet[0]) >> 4;
        if (type != 5 && type != 7) return;
        const uint16_t id = id_at(packet, 2);
        for (auto flow = flows_.begin(); flow != flows_.end(); ++flow) {
            if (flow->id != id) continue;
            if (type == 7) {
                REQUIRE(flow->released);
                flows_.erase(flow);
            } else if (!flow->released) {
                flow->released = true;
                link().push(pubrel(id));
            }
            return;
        }
    }

    void came_back() override {
        for (const Flow& flow : flows_) {
            link().push(flow.released ? pubrel(flow.id) : packet_of(flow, true));
        }
    }

    std::deque<Flow> flows_;
    uint16_t next_id_ = 0;
    uint32_t sent_ = 0;
};

}  // namespace

// The whole of QoS 2: nothing lost, nothing twice, nothing out of order.
TEST_CASE("QoS 2 delivers exactly once through broken connections",
          "[wire][MQTT-4.3.3-1][MQTT-4.3.3-2][MQTT-4.4.0-1][MQTT-4.6.0-1]") {
    for (uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        Prng random(seed);
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = 1 + random.below(10);
        options.max_queued_messages = 0;
        World world(options);
        world.set_cut(random.below(3) * 5);
        Receiver receiver(world, 2);
        Sender sender(world);
        for (int step = 0; step < 1'000; ++step) {
            switch (random.below(24)) {
                case 0:
                    receiver.come_back(random.below(2) == 0);
                    break;
                case 1:
                    sender.come_back(random.below(2) == 0);
                    break;
                case 2:
                    receiver.link().set_room(random.below(40));
                    break;
                case 3:
                    sender.link().set_room(random.below(8));
                    break;
                case 4:
                    receiver.link().set_room(~uint64_t{0});
                    sender.link().set_room(~uint64_t{0});
                    break;
                case 5:
                case 6:
                case 7:
                    receiver.work();
                    break;
                case 8:
                case 9:
                case 10:
                    sender.work();
                    break;
                case 11:
                case 12:
                case 13:
                    world.turn();
                    break;
                case 14:
                case 15:
                    world.settle();
                    break;
                default:
                    sender.publish_next();
                    break;
            }
        }
        receiver.come_back(false);
        sender.come_back(false);
        for (bool any = true; any;) {
            world.settle();
            const bool one = receiver.work();
            any = sender.work() || one;
        }
        REQUIRE(sender.done());
        REQUIRE(sender.sent() > 20);
        REQUIRE(receiver.last() == sender.sent());
        REQUIRE(world.stats().inflight_in == 0);
        REQUIRE(world.stats().inflight_out == 0);
        REQUIRE(world.stats().messages_stored == 0);
        REQUIRE(world.end() == 0);
    }
}
