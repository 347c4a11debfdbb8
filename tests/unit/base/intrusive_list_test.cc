#include "base/intrusive_list.h"

#include "base/prng.h"
#include "support/arena_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <list>
#include <vector>

using namespace mqttd;

namespace {

struct alignas(16) Item {
    uint32_t value = 0;
    ListHook<Item> hook;
    BareHook<Item> bare;
};

using List = IntrusiveList<Item, &Item::hook>;
using BareList = IntrusiveList<Item, &Item::bare>;

struct Items {
    explicit Items(uint32_t count) {
        all = static_cast<Item*>(test.arena.allocate(count * sizeof(Item)));
        for (uint32_t i = 0; i < count; ++i)
            new (&all[i]) Item{.value = i, .hook = {}, .bare = {}};
    }

    TestArena test;
    Item* all;
};

template <class AnyList>
std::vector<uint32_t> forwards(const AnyList& list) {
    std::vector<uint32_t> values;
    for (Item* at = list.front(); at != nullptr; at = AnyList::next(*at))
        values.push_back(at->value);
    return values;
}

template <class AnyList>
std::vector<uint32_t> backwards(const AnyList& list) {
    std::vector<uint32_t> values;
    for (Item* at = list.back(); at != nullptr; at = AnyList::prev(*at))
        values.push_back(at->value);
    return values;
}

}  // namespace

TEST_CASE("what goes in first comes out first") {
    // The loop's lists are queues: whoever waits longest is served next.
    Items items(5);
    List list;
    for (uint32_t i = 0; i < 5; ++i)
        list.push_back(items.all[i]);
    REQUIRE(list.size() == 5);
    for (uint32_t i = 0; i < 5; ++i)
        REQUIRE(list.pop_front() == &items.all[i]);
    REQUIRE(list.pop_front() == nullptr);
    REQUIRE(list.empty());
}

TEST_CASE("an element knows whether it is in a list, also alone") {
    // "Put it on the ready list unless it is there" is one test.
    Items items(2);
    List list;
    REQUIRE_FALSE(items.all[0].hook.linked());
    list.push_back(items.all[0]);
    REQUIRE(items.all[0].hook.linked());
    list.push_front(items.all[1]);
    list.remove(items.all[0]);
    REQUIRE_FALSE(items.all[0].hook.linked());
    REQUIRE(items.all[1].hook.linked());
    REQUIRE(list.pop_front() == &items.all[1]);
    REQUIRE_FALSE(items.all[1].hook.linked());
}

TEST_CASE("an element may be in one list per hook") {
    // A link is ready and has a timer and belongs to a session at once.
    Items items(3);
    List list;
    BareList other;
    for (uint32_t i = 0; i < 3; ++i) {
        list.push_back(items.all[i]);
        other.push_front(items.all[i]);
    }
    REQUIRE(forwards(list) == std::vector<uint32_t>{0, 1, 2});
    REQUIRE(forwards(other) == std::vector<uint32_t>{2, 1, 0});
    other.remove(items.all[1]);
    REQUIRE(forwards(list) == std::vector<uint32_t>{0, 1, 2});
    REQUIRE(forwards(other) == std::vector<uint32_t>{2, 0});
}

TEST_CASE("splicing moves all of a list behind another, in order") {
    // Used to hand a whole turn's work on at once; both ends may be empty.
    Items items(6);
    for (uint32_t cut = 0; cut <= 6; ++cut) {
        List front;
        List back;
        for (uint32_t i = 0; i < 6; ++i)
            (i < cut ? front : back).push_back(items.all[i]);
        front.splice_back(back);
        REQUIRE(back.empty());
        REQUIRE(back.size() == 0);
        REQUIRE(front.size() == 6);
        REQUIRE(forwards(front) == std::vector<uint32_t>{0, 1, 2, 3, 4, 5});
        REQUIRE(backwards(front) == std::vector<uint32_t>{5, 4, 3, 2, 1, 0});
        while (front.pop_front() != nullptr) {
        }
    }
}

TEST_CASE("random pushes and removals keep both directions right", "[random]") {
    // Against std::list.
    const uint64_t seed = GENERATE(11u, 12u, 13u);
    INFO("seed " << seed);
    Prng prng(seed);
    Items items(50);
    List list;
    std::list<uint32_t> model;
    for (int step = 0; step < 5000; ++step) {
        Item& item = items.all[prng.below(50)];
        if (item.hook.linked()) {
            list.remove(item);
            model.remove(item.value);
        } else if (prng.below(2) == 0) {
            list.push_back(item);
            model.push_back(item.value);
        } else {
            list.push_front(item);
            model.push_front(item.value);
        }
        REQUIRE(list.size() == model.size());
        REQUIRE(forwards(list) == std::vector<uint32_t>(model.begin(), model.end()));
        REQUIRE(backwards(list) == std::vector<uint32_t>(model.rbegin(), model.rend()));
    }
}
