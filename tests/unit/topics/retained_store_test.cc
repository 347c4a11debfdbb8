#include "topics/retained_store.h"

#include "mqttd/topic.h"

#include "topics_fixture.h"

#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

namespace {

std::string name_of(const RetainedNode& node) {
    std::string name(RetainedStore::name_size(node), '?');
    RetainedStore::write_name(node, reinterpret_cast<uint8_t*>(name.data()));
    return name;
}

// A store beside the slow and obvious one: name → sequence of its message.
struct StoreWorld {
    explicit StoreWorld(uint64_t seed = 1, size_t bytes = size_t{64} << 20)
        : memory(bytes), store(memory.arena, test_key(seed)) {}

    bool set(const std::string& name) {
        ++sequence;
        Segment* message = copy_to_segment(memory.arena, as_bytes(name));
        if (message == nullptr) return false;
        if (!store.set(as_bytes(name), message, sequence, 77).ok()) return false;
        model[name] = sequence;
        return true;
    }

    bool clear(const std::string& name) {
        const bool was = model.erase(name) == 1;
        REQUIRE(store.clear(as_bytes(name)) == was);
        return was;
    }

    std::set<std::string> matching(const std::string& filter) const {
        std::set<std::string> names;
        for (const auto& [name, at] : model) {
            if (topic_matches(as_bytes(filter), as_bytes(name))) names.insert(name);
        }
        return names;
    }

    // All names of one walk, in its order.
    std::vector<std::string> walk(const std::string& filter, uint32_t slice = 1000) {
        RetainedCursor cursor;
        REQUIRE(store.start(cursor, as_bytes(filter), sequence + 1).ok());
        return walk(cursor, slice);
    }

    std::vector<std::string> walk(RetainedCursor& cursor, uint32_t slice) {
        std::vector<std::string> names;
        while (!cursor.done) {
            uint32_t steps = slice;
            while (RetainedNode* node = store.next(cursor, steps))
                names.push_back(name_of(*node));
            REQUIRE((cursor.done || steps == 0));
        }
        REQUIRE(cursor.node == nullptr);
        REQUIRE(cursor.filter == nullptr);
        return names;
    }

    void require_same() const {
        REQUIRE(store.messages() == model.size());
        for (const auto& [name, at] : model) {
            RetainedNode* node = store.find(as_bytes(name));
            REQUIRE(node != nullptr);
            REQUIRE(node->sequence == at);
            REQUIRE(node->stored_at_s == 77);
            REQUIRE(name_of(*node) == name);
            REQUIRE(text_of({node->message->data(), node->message->used}) == name);
        }
    }

    TestArena memory;
    RetainedStore store;
    std::map<std::string, uint64_t> model;
    uint64_t sequence = 0;
};

std::set<std::string> as_set(const std::vector<std::string>& names) {
    std::set<std::string> set(names.begin(), names.end());
    REQUIRE(set.size() == names.size());
    return set;
}

}  // namespace

TEST_CASE("set, replace, find and clear agree with a map", "[topics]") {
    // One message per topic, the newest; an inner level may hold one too.  When all are gone only
    // the root is left.
    const uint64_t seed = GENERATE(1u, 2u, 3u);
    INFO("seed " << seed);
    StoreWorld world(seed);
    TopicMaker topics(seed);
    for (uint32_t round = 0; round < 4000; ++round) {
        const std::string name = topics.name();
        if (topics.below(10) < (round / 500 % 2 == 0 ? 7u : 2u)) {
            REQUIRE(world.set(name));
        } else if (!world.model.empty() && topics.below(4) != 0) {
            auto at = world.model.begin();
            std::advance(at, topics.below(static_cast<uint32_t>(world.model.size())));
            world.clear(std::string(at->first));
        } else {
            world.clear(name);
        }
        const std::string probe = topics.name();
        const bool known = world.model.count(probe) == 1;
        if ((world.store.find(as_bytes(probe)) != nullptr) != known) FAIL("probe " << probe);
        if (round % 250 == 0) world.require_same();
    }
    world.require_same();
    while (!world.model.empty())
        world.clear(std::string(world.model.begin()->first));
    REQUIRE(world.store.nodes() == 0);
}

TEST_CASE("a walk hands out what topic_matches says", "[topics][MQTT-3.3.1-6]") {
    // Every stored name the filter matches, once, however the walk is cut; `$` topics only for
    // those who spell the first level.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u);
    INFO("seed " << seed);
    StoreWorld world(seed);
    TopicMaker topics(seed);
    for (uint32_t i = 0; i < 400; ++i)
        REQUIRE(world.set(topics.name()));
    for (uint32_t i = 0; i < 400; ++i) {
        const std::string filter = topics.filter();
        INFO("filter " << filter);
        const uint32_t slice = 1 + topics.below(8);
        REQUIRE(as_set(world.walk(filter, slice)) == world.matching(filter));
    }
    for (const auto& [name, at] : world.model)
        REQUIRE(world.walk(name, 1) == std::vector<std::string>{name});
    RetainedCursor cursor;
    world.store.start_all(cursor);
    REQUIRE(world.walk(cursor, 3).size() == world.model.size());
}

TEST_CASE("siblings come in the order of their first message", "[topics]") {
    // Order is part of the replay's promise to be repeatable: it must not come from the hash.
    StoreWorld world;
    const std::vector<std::string> names = {"d/9", "d/1", "d/5", "d/x", "d/0", "d/2"};
    for (const std::string& name : names)
        REQUIRE(world.set(name));
    REQUIRE(world.set("d/5"));
    REQUIRE(world.walk("d/+") == names);
    REQUIRE(world.walk("#") == names);
}

TEST_CASE("the parent level belongs to `#`", "[topics]") {
    // "sport/#" also matches "sport" (§4.7.1.2), which the walk meets before the levels below.
    StoreWorld world;
    for (const char* name : {"sport", "sport/tennis", "sports", "sport/tennis/x", "$sport"})
        REQUIRE(world.set(name));
    REQUIRE(world.walk("sport/#") ==
            std::vector<std::string>{"sport", "sport/tennis", "sport/tennis/x"});
    REQUIRE(world.walk("sport/+/#") == std::vector<std::string>{"sport/tennis", "sport/tennis/x"});
    REQUIRE(world.walk("sport/") == std::vector<std::string>{});
    REQUIRE(world.walk("+").size() == 2);
}

TEST_CASE("walks in slices survive every change", "[topics]") {
    // Replays take many turns while publishers go on.  A message that was there at the start and is
    // unchanged comes exactly once; one that came or changed later does not come, for it went live.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    INFO("seed " << seed);

    struct Walker {
        RetainedCursor cursor;
        std::string filter;
        uint64_t before = 0;
        std::map<std::string, uint64_t> expected;  // still unchanged and not yet handed out
    };

    StoreWorld world(seed);
    TopicMaker topics(seed);
    std::vector<Walker> replays;
    const auto changed = [&](const std::string& name) {
        for (Walker& it : replays)
            it.expected.erase(name);
    };
    for (uint32_t round = 0; round < 20'000; ++round) {
        const uint32_t action = topics.below(10);
        const bool flood = round / 1000 % 2 == 0;
        if (action < 5) {
            if (topics.below(4) < (flood ? 3u : 1u)) {
                const std::string name = topics.name();
                changed(name);
                REQUIRE(world.set(name));
            } else if (!world.model.empty()) {
                auto at = world.model.begin();
                std::advance(at, topics.below(static_cast<uint32_t>(world.model.size())));
                const std::string name = at->first;
                changed(name);
                world.clear(name);
            }
        } else if (action < 6 && replays.size() < 8) {
            Walker replay;
            replay.filter = topics.below(3) == 0 ? "#" : topics.filter();
            replay.before = world.sequence + 1;
            REQUIRE(world.store.start(replay.cursor, as_bytes(replay.filter), replay.before).ok());
            for (const std::string& name : world.matching(replay.filter))
                replay.expected[name] = world.model[name];
            replays.push_back(replay);
        } else if (!replays.empty()) {
            const uint32_t index = topics.below(static_cast<uint32_t>(replays.size()));
            Walker& it = replays[index];
            uint32_t steps = topics.below(6);
            while (RetainedNode* node = world.store.next(it.cursor, steps)) {
                const std::string name = name_of(*node);
                INFO("filter " << it.filter << " name " << name);
                REQUIRE(it.expected.count(name) == 1);
                REQUIRE(it.expected[name] == node->sequence);
                it.expected.erase(name);
                // What a sweep does, and a will that comes in just now.
                if (topics.below(20) == 0) {
                    changed(name);
                    world.model.erase(name);
                    world.store.clear(*node);
                    REQUIRE(it.cursor.node == node);
                }
            }
            const bool stopped = !it.cursor.done && topics.below(50) == 0;
            if (stopped) world.store.stop(it.cursor);
            if (it.cursor.done) {
                if (!stopped && !it.expected.empty()) FAIL("missed " << it.expected.begin()->first);
                world.store.stop(it.cursor);
                replays.erase(replays.begin() + index);
            }
        }
        if (round % 1000 == 0) world.require_same();
    }
    for (Walker& it : replays)
        world.store.stop(it.cursor);
    while (!world.model.empty())
        world.clear(std::string(world.model.begin()->first));
    REQUIRE(world.store.nodes() == 0);
}

TEST_CASE("a cursor on a topic that goes keeps its place", "[topics]") {
    // The node it stands on becomes a tombstone: invisible to others, gone when the cursor moves
    // on, with the empty levels above it.
    StoreWorld world;
    for (const char* name : {"a/b/c", "a/b/d", "x/y"})
        REQUIRE(world.set(name));
    RetainedCursor cursor;
    REQUIRE(world.store.start(cursor, as_bytes("#"), ~uint64_t{0}).ok());
    uint32_t steps = 100;
    RetainedNode* node = world.store.next(cursor, steps);
    REQUIRE(name_of(*node) == "a/b/c");
    world.clear("a/b/c");
    world.clear("a/b/d");
    REQUIRE(world.store.find(as_bytes("a/b/c")) == nullptr);
    REQUIRE(world.walk("#") == std::vector<std::string>{"x/y"});
    REQUIRE(world.store.nodes() == 5);
    node = world.store.next(cursor, steps);
    REQUIRE(name_of(*node) == "x/y");
    REQUIRE(world.store.nodes() == 2);
    // Stopping on a tombstone frees it as well; stopping again does nothing.
    world.clear("x/y");
    world.store.stop(cursor);
    world.store.stop(cursor);
    REQUIRE(world.store.nodes() == 0);
    REQUIRE(world.store.next(cursor, steps) == nullptr);
}

TEST_CASE("a message that comes back under a cursor is a new one", "[topics]") {
    // Cleared and set again while a cursor stands there: the tombstone is used again, but the
    // message is above the cursor's sequence and went live.
    StoreWorld world;
    for (const char* name : {"a", "b", "c"})
        REQUIRE(world.set(name));
    RetainedCursor cursor;
    REQUIRE(world.store.start(cursor, as_bytes("+"), world.sequence + 1).ok());
    uint32_t steps = 100;
    REQUIRE(name_of(*world.store.next(cursor, steps)) == "a");
    world.clear("a");
    REQUIRE(world.set("a"));
    world.clear("b");
    REQUIRE(world.set("b"));
    REQUIRE(name_of(*world.store.next(cursor, steps)) == "c");
    REQUIRE(world.store.next(cursor, steps) == nullptr);
    REQUIRE(cursor.done);
    REQUIRE(as_set(world.walk("+")) == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("every step is paid for", "[topics]") {
    // A walk past a million nodes that do not match must be cut too.  One step looks at one node,
    // so a walk of all takes as many as there are nodes.
    StoreWorld world;
    for (uint32_t i = 0; i < 1000; ++i)
        REQUIRE(world.set("n/" + std::to_string(i) + "/deep/er"));
    RetainedCursor cursor;
    REQUIRE(world.store.start(cursor, as_bytes("n/+/none"), ~uint64_t{0}).ok());
    uint32_t calls = 0;
    for (; !cursor.done; ++calls) {
        uint32_t steps = 10;
        REQUIRE(world.store.next(cursor, steps) == nullptr);
    }
    REQUIRE(calls >= 100);
    REQUIRE(calls <= 102);
    world.store.start_all(cursor);
    uint32_t steps = 1'000'000;
    uint32_t found = 0;
    while (world.store.next(cursor, steps) != nullptr)
        ++found;
    REQUIRE(found == 1000);
    REQUIRE(1'000'000 - steps == world.store.nodes() + 1);
}

TEST_CASE("a hundred thousand cursors may stand on one message", "[topics]") {
    // After a network cut everybody comes back with `#`; a pin count that wraps would free the
    // node.
    StoreWorld world;
    REQUIRE(world.set("a"));
    REQUIRE(world.set("b"));
    std::vector<RetainedCursor> cursors(100'000);
    for (RetainedCursor& it : cursors) {
        uint32_t steps = 10;
        if (!world.store.start(it, as_bytes("#"), ~uint64_t{0}).ok()) FAIL("refused");
        if (world.store.next(it, steps) == nullptr) FAIL("nothing");
    }
    world.clear("a");
    for (RetainedCursor& it : cursors) {
        uint32_t steps = 10;
        if (name_of(*world.store.next(it, steps)) != "b") FAIL("lost its place");
    }
    for (RetainedCursor& it : cursors)
        world.store.stop(it);
    REQUIRE(world.store.nodes() == 1);
}

TEST_CASE("a very deep topic is stored, walked and cleared without recursion", "[topics]") {
    // 65535 bytes of slashes are 65536 levels; the stack must not feel them.
    StoreWorld world;
    const std::string deep(65535, '/');
    REQUIRE(world.set(deep));
    REQUIRE(world.store.nodes() == 65536);
    REQUIRE(world.walk("#", 1000) == std::vector<std::string>{deep});
    REQUIRE(world.walk("+/+/#", 1000) == std::vector<std::string>{deep});
    REQUIRE(world.walk(deep, 1000) == std::vector<std::string>{deep});
    world.clear(deep);
    REQUIRE(world.store.nodes() == 0);
}

TEST_CASE("refusing any one allocation of the store changes nothing", "[topics]") {
    // set() either stores or leaves the old message and no half-made levels; start() either begins
    // or does not.  In the end the books balance.
    bool refused_one = true;
    for (uint64_t n = 1; refused_one; ++n) {
        INFO("n " << n);
        StoreWorld world(n);
        TestArena& memory = world.memory;
        memory.arena.refuse_nth(n);
        for (const char* name : {"a/b/c", "a/b/c", "a/b", "x/y/z/w", "a/b/d", "a/b/c"}) {
            world.set(name);
            world.require_same();
            std::set<std::string> prefixes;
            for (const auto& [known, at] : world.model) {
                for (size_t end = 0; end <= known.size(); ++end) {
                    if (end == known.size() || known[end] == '/')
                        prefixes.insert(known.substr(0, end));
                }
            }
            REQUIRE(world.store.nodes() == prefixes.size());
            RetainedCursor cursor;
            if (world.store.start(cursor, as_bytes("#"), ~uint64_t{0}).ok()) {
                REQUIRE(as_set(world.walk(cursor, 2)) == world.matching("#"));
            }
        }
        while (!world.model.empty())
            world.clear(std::string(world.model.begin()->first));
        REQUIRE(world.store.nodes() == 0);
        refused_one = memory.arena.refused() > 0;
    }
}

TEST_CASE("a store that is destroyed gives everything back", "[topics]") {
    // Messages are counted: the store drops its own count and nobody else's.
    TestArena memory;
    Segment* kept = nullptr;
    {
        RetainedStore store(memory.arena, test_key(1));
        for (uint32_t i = 0; i < 500; ++i) {
            const std::string name = "a/" + std::to_string(i % 100) + "/" + std::to_string(i);
            Segment* message = copy_to_segment(memory.arena, as_bytes(name));
            if (i == 77) kept = message;
            if (i == 77) message->hold();
            REQUIRE(store.set(as_bytes(name), message, i, 0).ok());
        }
        REQUIRE(store.messages() == 500);
    }
    REQUIRE(memory.arena.live() == 1);
    REQUIRE(kept->refs == 1);
    kept->drop(memory.arena);
    REQUIRE(memory.arena.live() == 0);
}

}  // namespace mqttd
