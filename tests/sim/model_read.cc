// Model: what a client read, held against what was to come; and what is missing in the end.

#include "sim/model.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

namespace {

bool looks_so(const Session& session, const Expect& expect, const Packet& packet) {
    if (expect.retain != packet.retain || expect.qos != packet.qos) return false;
    if (session.level != 5) return true;
    if (expect.id_count != packet.id_count) return false;
    return std::is_permutation(expect.ids, expect.ids + expect.id_count, packet.ids);
}

}  // namespace

// ---- What a client read
// --------------------------------------------------------------------------------

// Which of the copies that were to come this is: one that looks just so before one whose
// subscription was made anew meanwhile, and among these one that must before one that may.
Expect* Model::find(Session& session, const Packet& packet, uint32_t number) {
    Expect* best = nullptr;
    int best_rank = 0;
    for (const uint32_t place : session.places[number]) {
        Expect& expect = session.expects[place];
        if (expect.got > 0) continue;
        const bool exact = looks_so(session, expect, packet);
        const bool replayed = expect.replay != packet.retain && expect.replay;
        if (!exact && (!expect.changed || replayed)) continue;
        const int rank = 1 + (exact ? 4 : 0) + (expect.must ? 2 : 0) + (expect.changed ? 0 : 1);
        if (rank <= best_rank) continue;
        best = &expect;
        best_rank = rank;
    }
    return best;
}

// An empty message bears no number. That somebody published one on this topic has to do: whose copy
// it is cannot be told, so those that clear a retained value are not missed either.
bool Model::is_known_empty(std::string_view topic) const {
    const auto fits = [&](uint32_t number) {
        return words_.topics[messages_[number].topic] == topic;
    };
    return std::any_of(empties_.begin(), empties_.end(), fits);
}

void Model::received(const SessionRef& session,
                     const Packet& packet,
                     std::string_view topic,
                     uint64_t turn,
                     Instant when) {
    ++checked_;
    Session& s = *session;
    const auto say = [&](const char* what, uint32_t number) {
        fail(std::string(what) + ": message " + std::to_string(number) + " on " +
             std::string(topic) + " to client " + std::to_string(s.client) + " qos " +
             std::to_string(packet.qos) + (packet.dup ? " dup" : "") +
             (packet.retain ? " retain" : "") + " id " + std::to_string(packet.packet_id));
    };
    const uint32_t number = number_in(packet.payload);
    if (packet.payload.empty()) {
        if (!is_known_empty(topic)) say("nobody published an empty message", 0);
        return;
    }
    if (number == 0 || number >= messages_.size()) return say("nobody published this", number);
    const Message& message = messages_[number];
    if (words_.topics[message.topic] != topic) return say("wrong topic", number);
    if (packet.payload.size() != message.size) return say("wrong payload", number);

    if (packet.qos > 0 && packet.dup) {
        const auto again = s.inflight.find(packet.packet_id);
        // The same identifier, of a life before: another copy of the same message may have it now.
        const auto other = [&](const Expect& had) { return had.again && had.qos != packet.qos; };
        if (again != s.inflight.end() && s.expects[again->second].message == number &&
            !other(s.expects[again->second])) {
            Expect& expect = s.expects[again->second];
            // An acknowledgement may be lost with a life; the client knows the identifier, unless
            // it has begun anew meanwhile.
            if (expect.acked && expect.acked_turn < turn && !expect.again)
                return say("sent again after its acknowledgement", number);
            if (expect.qos != packet.qos) return say("sent again at another QoS", number);
            ++expect.got;
            return;
        }
        // Repeated just before the acknowledgement came.
        const auto late = s.finished.find(packet.packet_id);
        if (late != s.finished.end() && s.expects[late->second].message == number &&
            s.expects[late->second].acked_turn >= turn) {
            return;
        }
        if (!s.resumed_ever && !rules_.wary) return say("DUP on a first delivery", number);
    }
    // One of its own that must come just so, one of a group that must, one of its own that may.
    Expect* expect = find(s, packet, number);
    const bool exact = expect != nullptr && looks_so(s, *expect, packet);
    if ((expect == nullptr || !expect->must || !exact) &&
        match_group(session, packet, number, when, !exact)) {
        expect = &s.expects.back();
    } else if (expect != nullptr && (s.level != 5 || groups_.contains(number))) {
        own_reads_[number].push_back({
            {session, s.level, packet.qos, packet.ids[0], packet.retain},
            static_cast<size_t>(expect - s.expects.data())
        });
    } else if (expect == nullptr) {
        expect = change_places(session, packet, number);
    }
    // Its publisher waited for memory: it stood in the retained store before it was passed on. What
    // came as retained so may have been taken for the copy of a group that comes now.
    if (expect == nullptr && rules_.scarce && message.retain &&
        (packet.retain || came_as_retained(session, packet, number))) {
        Expect early;
        early.message = number;
        early.qos = packet.qos;
        early.must = false;
        early.replay = true;
        early.expires = packet.has_expiry ? when + packet.expiry_s * kSecond : kNever;
        expect = &add(s, early);
    }
    const bool comes_again = packet.qos == 1 || (packet.qos == 0 && rules_.queue_qos0);
    if (expect == nullptr && cuts_ > 0 && comes_again) {
        expect = come_again(s, packet, number);
        if (expect != nullptr) return;
    }
    if (expect == nullptr && loud) tell(s, number);
    if (expect == nullptr) return say("not meant for this client, or twice", number);
    ++expect->got;
    expect->qos = packet.qos;  // if it may come otherwise, it is so from now on
    // Published again by a client that had no answer: which of the two this is cannot be told.
    const bool several = times_applied_[number] > 1 || doubts_.contains(number);
    const bool begun = packet.dup;  // in time: [MQTT5-3.3.2-5] asks no more
    const Instant surely = when - std::min<Instant>(when, cuts_ * kSecond);
    if (!several && !begun && surely_expired(expect->expires, surely)) {
        return say("expired before it was sent", number);
    }
    if (s.level == 5 && !several && !begun) {
        const bool expires = expect->expires != kNever;
        if (packet.has_expiry != expires) return say("message expiry lost or made up", number);
        if (expires) {
            const int64_t left = static_cast<int64_t>(expect->expires) - static_cast<int64_t>(when);
            const int64_t told = static_cast<int64_t>(packet.expiry_s) * 1000;
            if (told > static_cast<int64_t>(message.expiry_s) * 1000)
                return say("message expiry grew", number);
            const auto off = static_cast<int64_t>(cuts_ * 1'000);  // whole seconds on the wall
            if (told > left + 2'000 + off || told + 3'000 + off < left) {
                return say("wrong rest of the message expiry", number);
            }
        }
    }
    if (packet.qos > 0)
        s.inflight[packet.packet_id] = static_cast<size_t>(expect - s.expects.data());
    const auto groups = groups_.find(number);
    const bool shared = groups != groups_.end() &&
                        std::any_of(groups->second.begin(),
                                    groups->second.end(),
                                    [&](const GroupExpect& group) { return is_member(s, group); });
    const auto is_replay = [&](uint32_t place) { return s.expects[place].replay; };
    const auto& places = s.places[number];
    const bool replayed =
        packet.retain && std::any_of(places.begin(), places.end(), is_replay);  // or may be
    if (replayed || expect->order == 0 || several || shared) return;
    // A page of QoS 0 alone says nothing of its place in the queue to the next life.
    if (cuts_ > 0 && packet.qos == 0 && rules_.queue_qos0) return;
    // Where several subscriptions bring a copy each, the first copies are in order, and the second;
    // unless one was dropped in between.
    Session::Copies& copies = s.copies[uint64_t{number} << 2 | packet.qos];
    const uint32_t copy = copies.read++;
    if (copies.expected > 1 && (rules_.wary || packet.qos == 0)) return;
    const uint64_t key = uint64_t{message.publisher} << 32 | uint64_t{message.topic} << 16 |
                         uint64_t{copy & 0xff} << 8 | uint64_t{message.qos} << 4 | packet.qos;
    uint64_t& last = s.last_order[key];
    if (expect->order < last && !packet.dup) return say("out of order", number);
    last = std::max(last, expect->order);
}

// Whether a copy for a group that this client seems to have was one of the retained message; then
// this is the one for the group.
bool Model::came_as_retained(const SessionRef& session, const Packet& packet, uint32_t number) {
    for (GroupExpect& group : groups_[number]) {
        for (GroupExpect::Getter& getter : group.getters) {
            if (getter.session != session || !getter.retain || getter.qos != packet.qos) continue;
            getter.retain = packet.retain;
            return true;
        }
    }
    return false;
}

// A client is not told through which subscription a copy came, at most their identifiers: what it
// read before may have come through another one, or through a group, so that this one takes its
// place.
Expect* Model::change_places(const SessionRef& session, const Packet& packet, uint32_t number) {
    const auto other_place = [&](const Expect& had) -> size_t {
        for (const uint32_t place : session->places[number]) {
            const Expect& other = session->expects[place];
            if (other.got == 0 && other.qos == had.qos && other.retain == had.retain) return place;
        }
        return session->expects.size();
    };
    for (OwnRead& read : own_reads_[number]) {
        if (read.getter.session != session) continue;
        const size_t place = read.place;
        const Expect earlier = session->expects[place];
        if (!earlier.changed && !looks_so(*session, earlier, packet)) continue;
        const size_t moved = other_place(earlier);
        uint64_t seen = 0;
        if (moved == session->expects.size()) {
            if (!assign(read.getter, groups_[number], seen)) continue;
            add(*session, earlier).must = false;
        }
        Expect& there = session->expects[moved];
        there.got = earlier.got;
        there.acked = earlier.acked;
        there.acked_turn = earlier.acked_turn;
        for (auto* flows : {&session->inflight, &session->finished}) {
            for (auto& [id, at] : *flows)
                at = at == place ? moved : at;
        }
        read.getter = {session, session->level, packet.qos, packet.ids[0], packet.retain};
        Expect& own = session->expects[place];
        own.got = 0;
        own.acked = false;
        return &own;
    }
    return nullptr;
}

// What was to come of a message, for whoever looks into a failing world.
void Model::tell(const Session& session, uint32_t number) const {
    for (const Expect& expect : session.expects) {
        if (expect.message != number) continue;
        std::printf("    to come: %s qos %u%s%s%s, %u identifiers, read %u times\n",
                    expect.must ? "must" : "may",
                    expect.qos,
                    expect.retain ? " retain" : "",
                    expect.replay ? " replay" : "",
                    expect.changed ? " or otherwise" : "",
                    expect.id_count,
                    expect.got);
    }
    const auto groups = groups_.find(number);
    for (const GroupExpect& group :
         groups != groups_.end() ? groups->second : std::vector<GroupExpect>{}) {
        std::printf("    group %u %s, read by", group.group, group.must ? "must" : "may");
        for (const GroupExpect::Getter& getter : group.getters)
            std::printf(" client %u qos %u identifier %u%s",
                        getter.session->client,
                        getter.qos,
                        getter.identifier,
                        getter.session->over ? " (over)" : "");
        std::printf("\n");
    }
    for (const FilterPlan& plan : session.subscriptions) {
        std::printf("    subscribed: %s qos %u identifier %u%s%s\n",
                    words_.filters[plan.filter].text.c_str(),
                    plan.qos,
                    plan.identifier,
                    plan.retain_as_published ? " as published" : "",
                    plan.doubtful ? " in doubt" : "");
    }
}

bool Model::is_member(const Session& session, const GroupExpect& group) {
    return std::find(session.groups.begin(), session.groups.end(), group.group) !=
           session.groups.end();
}

// Whether a message to a group may come to this member: nobody had it, or only somebody whose
// session ended before it was acknowledged.
bool Model::may_take(const Session& session, const GroupExpect& group) const {
    if (!is_member(session, group)) return false;
    // What it read after its session had ended it had been sent before.
    const bool ended = session.over || session.may_be_over;
    if (group.getters.empty() || (ended && group.getters.size() == 1)) return true;
    for (const GroupExpect::Getter& getter : group.getters) {
        if (!getter.session->over && !getter.session->may_be_over) continue;
        for (const Expect& had : getter.session->expects) {
            // At QoS 2 nobody else gets it any more.   [MQTT5-4.8.2-5]
            if (had.message == group.message && had.qos == 1 && !had.acked) return true;
        }
    }
    return false;
}

// Whether what somebody read may have come through a group: as a member, with its identifier, at
// its QoS.
bool Model::fits(const GroupExpect::Getter& getter, const GroupExpect& group) const {
    const auto found = getter.session->memberships.find(group.group);
    if (found == getter.session->memberships.end()) return false;
    const uint8_t qos = messages_[group.message].qos;
    const auto same = [&](const std::pair<uint32_t, uint8_t>& member) {
        if (getter.level == 5 && member.first != getter.identifier) return false;
        return getter.qos == (rules_.upgrade_qos ? member.second : std::min(qos, member.second));
    };
    return std::any_of(found->second.begin(), found->second.end(), same);
}

// What somebody read may have been of this group rather than of one that need not get it or has a
// member at QoS 0, or of its own, if its session has ended and the other copy with it.
void Model::move_getters(uint32_t message, std::vector<GroupExpect>& groups) {
    for (GroupExpect& group : groups) {
        if (!group.must || !group.getters.empty()) continue;
        auto& own = own_reads_[message];
        const auto ended = [&](const OwnRead& read) {
            return read.getter.session->over && fits(read.getter, group);
        };
        const auto read = std::find_if(own.begin(), own.end(), ended);
        if (read != own.end()) {
            group.getters.push_back(read->getter);
            own.erase(read);
        }
        for (GroupExpect& other : groups) {
            const bool spare = !other.must || (other.qos0 && !group.qos0);
            if (!spare || !group.getters.empty()) continue;
            const auto fitting = [&](const GroupExpect::Getter& getter) {
                return fits(getter, group);
            };
            const auto found = std::find_if(other.getters.begin(), other.getters.end(), fitting);
            if (found == other.getters.end()) continue;
            group.getters.push_back(*found);
            other.getters.erase(found);
        }
    }
}

// What a member read may as well have come to it by a subscription of its own.
bool Model::settle_as_own(const GroupExpect::Getter& getter, uint32_t number) {
    for (const uint32_t place : getter.session->places[number]) {
        Expect& expect = getter.session->expects[place];
        if (expect.got > 0) continue;
        const bool same_look = expect.qos == getter.qos && expect.retain == getter.retain;
        if (!same_look && !expect.changed) continue;
        const uint32_t* ids = expect.ids;
        const uint32_t* end = ids + expect.id_count;
        const bool same_id =
            getter.identifier == 0 ? ids == end : std::find(ids, end, getter.identifier) != end;
        if (getter.level == 5 && !same_id && !expect.changed) continue;
        expect.got = 1;
        return true;
    }
    // … or come again after the end of a life.
    const auto again = [&](uint32_t place) {
        const Expect& expect = getter.session->expects[place];
        return expect.again && expect.qos == 1 && getter.qos == 1;
    };
    const auto& places = getter.session->places[number];
    return std::any_of(places.begin(), places.end(), again);
}

// Finds who read it a place among the groups of a message; somebody who has one already may have to
// move to another, for what a member read does not say through which group it came.
bool Model::assign(const GroupExpect::Getter& getter,
                   std::vector<GroupExpect>& groups,
                   uint64_t& seen) {
    const size_t count = std::min<size_t>(groups.size(), 64);
    const auto open = [&](size_t i) { return (seen >> i & 1) == 0 && fits(getter, groups[i]); };
    // One that nobody has had yet before one that is passed on.
    for (const bool fresh : {true, false}) {
        for (size_t i = 0; i < count; ++i) {
            if (!open(i) || fresh != groups[i].getters.empty()) continue;
            if (!may_take(*getter.session, groups[i])) continue;
            seen |= uint64_t{1} << i;
            groups[i].getters.push_back(getter);
            return true;
        }
    }
    for (size_t i = 0; i < count; ++i) {
        if (!open(i)) continue;
        seen |= uint64_t{1} << i;
        for (GroupExpect::Getter& other : groups[i].getters) {
            const GroupExpect::Getter moved = other;
            if (!assign(moved, groups, seen) && !settle_as_own(moved, groups[i].message)) continue;
            other = getter;
            return true;
        }
    }
    return false;
}

// A message to a group: exactly one member gets it, another one only after that one's session.
bool Model::match_group(
    const SessionRef& session, const Packet& packet, uint32_t number, Instant when, bool any) {
    const auto found = groups_.find(number);
    if (found == groups_.end()) return false;
    const GroupExpect::Getter getter{
        session, session->level, packet.qos, packet.ids[0], packet.retain};
    const auto wants = [&](const GroupExpect& group) {
        return group.must && group.getters.empty() && fits(getter, group);
    };
    if (!any && std::none_of(found->second.begin(), found->second.end(), wants)) return false;
    std::stable_sort(found->second.begin(),
                     found->second.end(),
                     [](const GroupExpect& a, const GroupExpect& b) { return a.must > b.must; });
    const auto in_time = [&](const GroupExpect& group) {
        return fits(getter, group) && !surely_expired(group.expires, when);
    };
    if (!packet.dup && std::none_of(found->second.begin(), found->second.end(), in_time)) {
        return false;
    }
    uint64_t seen = 0;
    if (!assign(getter, found->second, seen)) return false;
    Expect expect;
    expect.message = number;
    expect.qos = packet.qos;
    expect.must = false;
    expect.retain = packet.retain;
    if (packet.has_expiry) {
        // From whom it came does not matter here; only that it is not later than allowed.
        expect.expires = when + packet.expiry_s * kSecond;
    }
    add(*session, expect);
    return true;
}

// ---- In the end
// -------------------------------------------------------------------------------------------

Model::Missing Model::missing(const std::vector<bool>& waits) {
    Missing missing;
    const auto reached = [&](const Session& session) {
        return session.connected && !(session.client < waits.size() && waits[session.client]);
    };
    const auto count = [&](uint32_t message, uint32_t client, bool qos0, bool must) {
        if (must && loud) {
            std::printf("              missing: message %u to client %d, qos %s\n",
                        message,
                        static_cast<int>(client),
                        qos0 ? "0" : "1 or 2");
        }
        if (must) {
            missing.example = message;
            missing.example_client = client;
        }
        ++(qos0 ? (must ? missing.qos0_must : missing.qos0_may)
                : (must ? missing.counted_must : missing.counted_may));
    };
    for (const SessionRef& session : alive_) {
        for (const Expect& expect : session->expects) {
            if (expect.got > 0 || messages_[expect.message].size == 0) continue;
            const bool must = expect.must && expect.expires > now_ && reached(*session);
            count(expect.message, session->client, expect.qos == 0, must);
        }
    }
    for (auto& [message, groups] : groups_) {
        move_getters(message, groups);
        for (const GroupExpect& group : groups) {
            if (!group.getters.empty() || messages_[message].size == 0) continue;
            // Somebody who is away may have it in his queue.
            const auto away = [&](const SessionRef& session) {
                return !reached(*session) && is_member(*session, group);
            };
            const bool must = group.must && messages_[message].expiry_s == kNever32 &&
                              std::none_of(alive_.begin(), alive_.end(), away);
            bool qos0 = group.qos0 || messages_[message].qos == 0;
            for (const SessionRef& session : alive_) {
                for (const FilterPlan& plan : session->subscriptions)
                    qos0 =
                        qos0 || (words_.filters[plan.filter].group == group.group && plan.qos == 0);
            }
            count(message, kNobody - group.group, qos0, must);
        }
    }
    return missing;
}

}  // namespace mqttd::sim
