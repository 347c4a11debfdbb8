// Random conversations of 3.1.1 and 5.0 clients beside a model that is nothing but maps.
//
// The model knows sessions, subscriptions and retained messages and says who must hear what. What
// the broker sent is compared after every step, whatever way it took: as a run, as a job, from the
// store, from a queue, under an alias.

#include "mqttd/codec.h"

#include "base/prng.h"
#include "mqtt/properties.h"
#include "support/words5.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

constexpr const char* kTopics[] = {"a", "a/b", "a/c", "b/b", "a/b/c", "$x/a", "/", "b/"};
constexpr const char* kFilters[] = {
    "a", "a/b", "a/+", "+/b", "#", "a/#", "+", "+/+", "/", "b/", "$x/#", "$x/a", "a/b/c"};

struct Text {
    std::string topic;
    std::string payload;
    std::string properties;  // as described
    int qos = 0;
    bool retain = false;
    std::vector<uint32_t> ids;
};

struct Wanted {
    int options = 0;
    uint32_t id = 0;
};

struct Person {
    FakeConnection* peer = nullptr;
    bool v5 = false;
    bool durable = false;
    bool exists = false;   // its session
    uint32_t largest = 0;  // Maximum Packet Size, 0: none
    Text will;
    std::map<std::string, Wanted> filters;
    std::vector<Text> away;   // what waits for it
    std::vector<Text> heard;  // what it must have heard by now
    std::map<int, std::string> aliases;
};

// Level by level, as the standard says it, in front of a mount point and behind it.
bool matches(const std::string& filter, const std::string& topic) {
    const auto split = [](const std::string& text) {
        std::vector<std::string> levels(1);
        for (const char c : text) {
            if (c == '/') {
                levels.emplace_back();
            } else {
                levels.back() += c;
            }
        }
        return levels;
    };
    const auto f = split(filter);
    const auto t = split(topic);
    if (topic[0] == '$' && (f[0] == "#" || f[0] == "+")) return false;
    for (size_t i = 0; i < f.size(); ++i) {
        if (f[i] == "#") return true;
        if (i >= t.size() || (f[i] != "+" && f[i] != t[i])) return false;
    }
    return f.size() == t.size();
}

// One word for a message as this person sees it.
std::string word(const Person& person, Text text) {
    std::string made = text.topic + "," + text.payload + ",q" + std::to_string(text.qos) +
                       (text.retain ? ",retain" : "");
    if (!person.v5) return made;
    std::sort(text.ids.begin(), text.ids.end());
    for (const uint32_t id : text.ids)
        made += ",sub=" + std::to_string(id);
    return made + "{" + text.properties + "}";
}

class Village {
  public:
    Village(uint64_t seed, const BrokerOptions& options)
        : random_(seed), merging_(!options.allow_duplicate_messages), world_(options) {}

    // Links that do not read for a while, and acknowledge late: QoS 0 may be dropped, the rest
    // comes.
    void be_slow() { slow_ = true; }

    void live(int steps) {
        for (step_ = 0; step_ < steps; ++step_) {
            INFO("step " << step_);
            world_.set_cut(random_.below(3) == 0 ? random_.below(40) + 1 : 0);
            const uint32_t i = random_.below(kPeople);
            Person& person = people_[i];
            const uint32_t what = slow_ ? random_.below(19) + 1 : random_.below(20);
            if (slow_ && person.peer != nullptr && random_.below(4) == 0) {
                person.peer->set_room(random_.below(3) == 0 ? ~uint64_t{0} : random_.below(80));
            }
            if (person.peer == nullptr) {
                come(i);
            } else if (what == 0) {
                go(i);
            } else if (what < 6) {
                subscribe_some(person);
            } else if (what == 6) {
                unsubscribe_one(person);
            } else {
                publish_some(i);
            }
            if (!slow_ || step_ % 40 == 39) compare();
        }
        REQUIRE(heard_ > static_cast<uint64_t>(steps));
        REQUIRE(world_.end() == 0);
    }

  private:
    static constexpr uint32_t kPeople = 6;

    template <size_t n>
    std::string any(const char* const (&texts)[n]) {
        return texts[random_.below(n)];
    }

    std::string next_payload() { return "p" + std::to_string(++payloads_); }

    void come(uint32_t i) {
        Person& person = people_[i];
        person.v5 = random_.below(3) != 0;
        const bool clean = random_.below(3) == 0;
        person.durable = person.v5 ? random_.below(2) == 0 : !clean;
        person.largest = person.v5 && random_.below(3) == 0 ? 300 : 0;
        person.aliases.clear();
        if (clean || !person.exists) {
            person.filters.clear();
            person.away.clear();
        }
        person.exists = true;
        person.will = {};
        const std::string id = "c" + std::to_string(i);
        const bool will = random_.below(3) == 0;
        if (will)
            person.will = {
                any(kTopics), "will " + next_payload(), "", 1, random_.below(2) == 0, {}};
        if (person.v5) {
            Connect fields{.client_id = id, .clean = clean};
            if (person.durable) fields.properties += property(P::kSessionExpiryInterval, 1'000);
            if (random_.below(2) == 0)
                fields.properties += property(P::kTopicAliasMaximum, random_.below(4));
            if (person.largest > 0)
                fields.properties += property(P::kMaximumPacketSize, person.largest);
            if (will) {
                fields.will_topic = person.will.topic;
                fields.will_payload = person.will.payload;
                fields.will_qos = 1;
                fields.will_retain = person.will.retain;
                fields.will_properties = user("w", "1");
                person.will.properties = "user=w:1";
            }
            person.peer = &world_.client5(fields);
        } else {
            packets::Connect fields{.client_id = id, .clean = clean};
            if (will) {
                fields.will_topic = person.will.topic;
                fields.will_payload = person.will.payload;
                fields.will_qos = 1;
                fields.will_retain = person.will.retain;
            }
            person.peer = &world_.client(fields);
        }
        for (const Text& text : person.away)
            hear(person, text);
        person.away.clear();
    }

    void go(uint32_t i) {
        Person& person = people_[i];
        FakeConnection* peer = person.peer;
        person.peer = nullptr;
        if (!person.durable) {
            person.exists = false;
            person.filters.clear();
        }
        if (random_.below(2) == 0) {
            peer->send(packets::disconnect());
        } else {
            peer->hang_up();
            if (!person.will.topic.empty()) tell_all(person.will, i);
        }
    }

    void subscribe_some(Person& person) {
        const int count = static_cast<int>(random_.below(3)) + 1;
        const uint32_t id = person.v5 && random_.below(2) == 0 ? random_.below(300) + 1 : 0;
        Filters filters;
        std::set<std::string> used;
        for (int i = 0; i < count; ++i) {
            const std::string filter = any(kFilters);
            if (!used.insert(filter).second) continue;
            int options = static_cast<int>(random_.below(3));
            if (person.v5) {
                if (random_.below(4) == 0) options |= kNoLocal;
                if (random_.below(3) == 0) options |= kRetainAsPublished;
                options |= static_cast<int>(random_.below(3)) << 4;
            }
            filters.emplace_back(filter, options);
            const int handling = options >> 4;
            const bool existed = person.filters.count(filter) != 0;
            person.filters[filter] = {options, id};
            if (handling == 2 || (handling == 1 && existed)) continue;
            for (const auto& [topic, kept] : retained_) {
                if (!matches(filter, topic)) continue;
                Text text = kept;
                text.qos = std::min(kept.qos, options & 3);
                text.retain = true;
                if (id != 0) text.ids = {id};
                hear(person, text);
            }
        }
        if (person.v5) {
            person.peer->send(subscribe(1, filters, id != 0 ? identifier(id) : ""));
        } else {
            person.peer->send(packets::subscribe(1, filters));
        }
    }

    void unsubscribe_one(Person& person) {
        const std::string filter = any(kFilters);
        person.filters.erase(filter);
        person.peer->send(person.v5 ? unsubscribe(1, {filter}) : packets::unsubscribe(1, {filter}));
    }

    void publish_some(uint32_t i) {
        Person& person = people_[i];
        const std::string topic = any(kTopics);
        const int qos = static_cast<int>(random_.below(4)) % 3;
        const bool retain = !slow_ && random_.below(5) == 0;  // a replay sees what is there later
        const uint32_t count = qos == 0 ? random_.below(4) + 1 : 1;
        const bool alias_it = person.v5 && random_.below(3) == 0;
        const auto number = static_cast<uint16_t>(random_.below(10) + 1);
        std::string bytes;
        for (uint32_t n = 0; n < count; ++n) {
            Text text{topic, next_payload(), "", qos, retain, {}};
            if (random_.below(12) == 0) text.payload = "";
            if (random_.below(8) == 0) text.payload += std::string(400, 'x');
            std::string properties;
            if (person.v5 && random_.below(3) == 0) {
                properties = user("k", "v") + property(P::kContentType, "c");
                text.properties = "user=k:v,type=c";
            }
            if (alias_it) properties = alias(number) + properties;
            const auto id = static_cast<uint16_t>(qos > 0 ? 9 : 0);
            const std::string name = alias_it && n > 0 ? "" : topic;
            bytes += person.v5 ? publish({name, text.payload, qos, id, properties, retain, false})
                               : packets::publish({topic, text.payload, qos, id, retain, false});
            tell_all(text, i);
        }
        person.peer->send(bytes);
        if (qos == 2) person.peer->send(ack(PacketType::kPubrel, 9));
    }

    // Everybody who wants it, and the store.
    void tell_all(const Text& text, uint32_t from) {
        if (text.retain) {
            retained_.erase(text.topic);
            if (!text.payload.empty()) retained_[text.topic] = text;
        }
        for (uint32_t i = 0; i < kPeople; ++i) {
            Person& person = people_[i];
            Text one = text;
            one.qos = -1;
            one.retain = false;
            for (const auto& [filter, wanted] : person.filters) {
                if (!matches(filter, text.topic)) continue;
                if ((wanted.options & kNoLocal) != 0 && i == from) continue;
                if (!merging_) one = text, one.retain = false, one.qos = -1;
                one.qos = std::max(one.qos, std::min(text.qos, wanted.options & 3));
                one.retain =
                    one.retain || (text.retain && (wanted.options & kRetainAsPublished) != 0);
                if (wanted.id != 0) one.ids.push_back(wanted.id);
                if (!merging_) give(person, one);
            }
            if (merging_ && one.qos >= 0) give(person, one);
        }
    }

    void give(Person& person, const Text& text) {
        if (person.peer != nullptr) {
            hear(person, text);
        } else if (text.qos > 0) {
            person.away.push_back(text);
        }
    }

    void hear(Person& person, const Text& text) {
        if (person.largest != 0 && text.payload.size() > person.largest) return;
        person.heard.push_back(text);
    }

    void compare() {
        for (uint32_t i = 0; i < kPeople; ++i) {
            Person& person = people_[i];
            if (person.peer == nullptr) {
                person.heard.clear();
                continue;
            }
            std::vector<std::string> wanted;
            for (const Text& text : person.heard)
                wanted.push_back(word(person, text));
            person.peer->set_room(~uint64_t{0});
            world_.advance(1'000);
            std::vector<std::string> got = listen(person);
            heard_ += got.size();
            std::sort(wanted.begin(), wanted.end());
            std::sort(got.begin(), got.end());
            INFO("person " << i << (person.v5 ? " (5.0)" : " (3.1.1)"));
            if (slow_) leave_out_dropped(wanted, got);
            REQUIRE(got == wanted);
            person.heard.clear();
        }
    }

    // Of what is wanted only QoS 0 may be missing.
    static void leave_out_dropped(std::vector<std::string>& wanted,
                                  const std::vector<std::string>& got) {
        size_t at = 0;
        std::erase_if(wanted, [&](const std::string& one) {
            if (at < got.size() && got[at] == one) {
                ++at;
                return false;
            }
            return one.find(",q0") != std::string::npos;
        });
    }

    // Everything that came, acknowledged until nothing more comes.
    std::vector<std::string> listen(Person& person) {
        std::vector<std::string> words;
        std::map<std::string, int> latest;  // per topic and QoS: messages keep their order
        while (true) {
            const std::string bytes = person.peer->take_output();
            REQUIRE(person.peer->open());
            if (bytes.empty()) return words;
            std::string_view rest(bytes);
            while (!rest.empty()) {
                const size_t size = packets::packet_size(rest);
                REQUIRE(size > 0);
                REQUIRE((person.largest == 0 || size <= person.largest));
                hear_packet(person, rest.substr(0, size), words, latest);
                rest.remove_prefix(size);
            }
            world_.settle();
        }
    }

    void hear_packet(Person& person,
                     std::string_view packet,
                     std::vector<std::string>& words,
                     std::map<std::string, int>& latest) {
        const auto first = static_cast<uint8_t>(packet[0]);
        if (first >> 4 == 6) {
            const auto id = static_cast<uint16_t>(static_cast<uint8_t>(packet[2]) << 8 |
                                                  static_cast<uint8_t>(packet[3]));
            person.peer->push(packets::pubcomp(id));
        }
        if (first >> 4 != 3) return;
        size_t header = 2;
        while ((static_cast<uint8_t>(packet[header - 1]) & 128) != 0)
            ++header;
        const Result<PublishView> publish = decode_publish(
            as_bytes(packet.substr(header)), first & 15, person.v5 ? Version::k50 : Version::k311);
        REQUIRE(publish.ok());
        Text text{std::string(as_text(publish->topic_name)),
                  std::string(as_text(publish->payload)),
                  "",
                  publish->qos,
                  publish->retain,
                  {}};
        take_properties(person, publish->properties, text);
        REQUIRE_FALSE(text.topic.empty());
        words.push_back(word(person, text));
        // (A run comes once for each subscription.)
        if (merging_ && !text.retain && text.payload.starts_with('p')) {
            int& before = latest[text.topic + std::to_string(text.qos)];
            const int number = std::stoi(text.payload.substr(1));
            REQUIRE(number >= before);
            before = number;
        }
        if (publish->qos == 1) person.peer->push(packets::puback(publish->packet_id));
        if (publish->qos == 2) person.peer->push(packets::pubrec(publish->packet_id));
    }

    static void take_properties(Person& person, Bytes properties, Text& text) {
        while (!properties.empty()) {
            const PropertyView property = next_property(properties);
            if (property.id == P::kTopicAlias) {
                const int number = static_cast<int>(property.number);
                if (text.topic.empty()) text.topic = person.aliases[number];
                person.aliases[number] = text.topic;
            } else if (property.id == P::kSubscriptionIdentifier) {
                text.ids.push_back(property.number);
            } else {
                const bool pair = property.id == P::kUserProperty;
                text.properties += text.properties.empty() ? "" : ",";
                text.properties += (pair ? "user=" : "type=") +
                                   std::string(as_text(property.text)) +
                                   (pair ? ":" + std::string(as_text(property.value)) : "");
            }
        }
    }

    Prng random_;
    bool merging_;
    World world_;
    Person people_[kPeople];
    std::map<std::string, Text> retained_;
    int payloads_ = 0;
    int step_ = 0;
    bool slow_ = false;
    uint64_t heard_ = 0;
};

}  // namespace

TEST_CASE("clients of both versions hear what a model of maps says", "[wire][v5][random]") {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        BrokerOptions options = World::test_options();
        options.allow_duplicate_messages = seed % 2 == 0;
        if (seed % 3 == 0) options.fanout_slice = 1;
        if (seed % 4 == 0) options.listener.mount_point = "mount/";
        if (seed % 5 == 0) options.max_inflight_messages = 1;
        Village village(seed, options);
        village.live(1'500);
    }
}

// Receivers that stand still with a small window: what waits keeps its identifiers, its properties
// and its order, and comes once.
TEST_CASE("slow clients hear all of QoS 1 and 2 and some of QoS 0", "[wire][v5][random]") {
    for (uint64_t seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        BrokerOptions options = World::test_options();
        options.allow_duplicate_messages = seed % 2 == 0;
        options.max_inflight_messages = static_cast<uint32_t>(seed % 4) + 1;
        options.max_queued_messages = 0;
        options.queue_qos0_messages = seed % 5 == 0;
        if (seed % 3 == 0) options.fanout_slice = 1;
        Village village(seed, options);
        village.be_slow();
        village.live(1'500);
    }
}
