// Model: a publication, who is to get it, and what is kept as retained.

#include "sim/model.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

// ---- Publications
// --------------------------------------------------------------------------------------

void Model::refused(uint32_t message) {
    refused_[message] = true;
    for (const SessionRef& session : alive_) {
        std::erase_if(session->awaiting,
                      [&](const auto& entry) { return entry.second.message == message; });
        for (Expect& expect : session->expects) {
            if (expect.message == message) expect.must = false;
        }
    }
    for (GroupExpect& group : groups_[message])
        group.must = false;
}

void Model::apply(const Message& message, Instant expires, Instant open_until, uint32_t will_of) {
    if (loud) {
        std::printf("              model: message %u on %s qos %u%s%s\n",
                    message.number,
                    words_.topics[message.topic].c_str(),
                    message.qos,
                    message.retain ? " retain" : "",
                    will_of != kNobody ? " (a will)" : "");
    }
    ++applied_;
    ++times_applied_[message.number];
    if (message.size == 0) empties_.push_back(message.number);
    const bool open = open_until > now_ || jobs_;
    if (open) fuzzy_ = true;
    const Publication publication{message, message.publisher, expires, applied_, open};
    if (message.retain) keep(publication);
    for (const SessionRef& session : alive_)
        hand_to(*session, publication, true);
    hand_to_groups(publication);
    if (doubts_.contains(message.number)) {
        for (const SessionRef& session : alive_) {
            for (const uint32_t place : session->places[message.number])
                session->expects[place].must = false;
        }
        for (GroupExpect& group : groups_[message.number])
            group.must = false;
    }
    const Open last{&message, applied_, expires, open_until, will_of};
    // It may have been this message that ended them, after an earlier copy.
    for (const SessionRef& session : just_ended_)
        hand_to_newcomer(*session, last, false);
    open_.push_back(last);
}

uint8_t Model::granted(const Message& message, const FilterPlan& plan) const {
    return rules_.upgrade_qos ? plan.qos : std::min(message.qos, plan.qos);
}

bool Model::is_no_local(const Publication& publication,
                        const Session& session,
                        const FilterPlan& plan) {
    if (!plan.no_local || session.client != publication.from) return false;
    ++no_local_;
    return true;
}

void Model::hand_to(Session& session, const Publication& publication, bool must) {
    FilterPlan merged;
    Expect ids;
    bool any = false;
    bool sure = false;
    bool unsure = false;
    uint8_t sure_qos = 0;
    for (const FilterPlan& plan : session.subscriptions) {
        const Vocabulary::Filter& filter = words_.filters[plan.filter];
        if (filter.group != 0 || !filter.matches[publication.message.topic]) continue;
        if (is_no_local(publication, session, plan)) continue;
        if (rules_.allow_duplicates) {
            expect(session, publication, plan, must);
            continue;
        }
        any = true;
        sure = sure || !plan.doubtful;
        unsure = unsure || plan.doubtful;
        if (!plan.doubtful) sure_qos = std::max(sure_qos, plan.qos);
        merged.qos = std::max(merged.qos, plan.qos);
        merged.retain_as_published = merged.retain_as_published || plan.retain_as_published;
        if (plan.identifier != 0) ids.ids[ids.id_count++] = plan.identifier;
    }
    if (!any) return;
    merged.doubtful = !sure || (merged.qos > 0 && sure_qos == 0);  // at QoS 0 it waits for nobody
    const size_t before = session.expects.size();
    expect(session, publication, merged, must);
    if (session.expects.size() == before) return;
    Expect& last = session.expects.back();
    last.changed = unsure;
    last.id_count = ids.id_count;
    std::copy(ids.ids, ids.ids + ids.id_count, last.ids);
}

Expect& Model::add(Session& session, const Expect& expect) {
    session.places[expect.message].push_back(static_cast<uint32_t>(session.expects.size()));
    session.expects.push_back(expect);
    return session.expects.back();
}

void Model::expect(Session& session,
                   const Publication& publication,
                   const FilterPlan& plan,
                   bool must) {
    const Message& message = publication.message;
    Expect expect;
    expect.message = message.number;
    expect.order = publication.order;
    expect.expires = publication.expires;
    expect.qos = granted(message, plan);
    expect.retain = message.retain && plan.retain_as_published;
    expect.open = publication.open;
    expect.must = must && !plan.doubtful && !session.unsure;
    expect.changed = plan.doubtful;
    if (expect.qos == 0 && !session.connected && !rules_.queue_qos0) {
        // It may have been this very message that had its connection closed, after an earlier copy.
        const bool just_left = session.left_turn == turn_;
        if (session.may_be_over || just_left) fuzzy_ = true;
        if (!just_left) {
            ++offline_;
            return;
        }
        expect.must = false;
    }
    if (publication.qos0_only && expect.qos > 0) return;
    if (plan.identifier != 0) expect.ids[expect.id_count++] = plan.identifier;
    const size_t size = message.size + words_.topics[message.topic].size() + 64;
    if (session.packet_maximum != 0 && size > session.packet_maximum) expect.must = false;
    add(session, expect);
    ++session.copies[uint64_t{expect.message} << 2 | expect.qos].expected;
}

void Model::hand_to_groups(const Publication& publication) {
    const Message& message = publication.message;
    std::vector<uint32_t> done;
    for (const SessionRef& session : alive_) {
        for (const FilterPlan& plan : session->subscriptions) {
            const Vocabulary::Filter& filter = words_.filters[plan.filter];
            if (filter.group == 0 || !filter.matches[message.topic]) continue;
            const bool reachable =
                session->connected || granted(message, plan) > 0 || rules_.queue_qos0;
            auto& groups = groups_[message.number];
            const auto same = [&](const GroupExpect& group) {
                return group.group == filter.group && group.order == publication.order;
            };
            auto found = std::find_if(groups.begin(), groups.end(), same);
            if (found == groups.end()) {
                groups.push_back({message.number,
                                  filter.group,
                                  publication.order,
                                  publication.expires,
                                  false,
                                  false,
                                  {}});
                found = groups.end() - 1;
            }
            found->qos0 = found->qos0 || granted(message, plan) == 0;
            if (plan.doubtful || session->may_be_over) continue;
            const bool small = session->packet_maximum == 0;
            found->must = (found->must || reachable) && small && cuts_ == 0;
        }
    }
    if (cuts_ == 0) return;
    // One that had ended may be a member again.
    auto& groups = groups_[message.number];
    for (const Vocabulary::Filter& filter : words_.filters) {
        if (filter.group == 0 || !filter.matches[message.topic]) continue;
        const auto same = [&](const GroupExpect& group) {
            return group.group == filter.group && group.order == publication.order;
        };
        if (std::any_of(groups.begin(), groups.end(), same)) continue;
        groups.push_back({message.number,
                          filter.group,
                          publication.order,
                          publication.expires,
                          false,
                          false,
                          {}});
    }
}

// ---- Retained
// ------------------------------------------------------------------------------------------

void Model::keep(const Publication& publication) {
    const uint32_t topic = publication.message.topic;
    if (rules_.cuts) {
        auto& kept = kept_[topic];
        kept.emplace_back(publication.message.number, publication.expires);
        // A will that is being sent may be the later one.
        for (const Open& open : open_) {
            const bool same = open.message->topic == topic && open.message != &publication.message;
            if (open.until != 0 && open.message->retain && same)
                kept.emplace_back(open.message->number, open.expires);
        }
    }
    // What a replay has not brought yet it may bring or not.
    if (std::erase(replaying_, topic) > 0) {
        for (const SessionRef& session : alive_) {
            for (Expect& expect : session->expects) {
                if (expect.replay && expect.got == 0 && messages_[expect.message].topic == topic) {
                    expect.must = false;
                }
            }
        }
    }
    // Handed out bit by bit; or it may not have been kept, or was too old by then.
    const bool doubted = doubts_.contains(publication.message.number);
    bool fuzzy = publication.open || rules_.scarce || doubted || once_more_ ||
                 publication.expires <= now_ + kSecond;
    for (const Open& open : open_) {
        fuzzy = fuzzy || (open.until != 0 && open.message->retain && open.message->topic == topic);
    }
    const uint32_t number = publication.message.size == 0 ? 0 : publication.message.number;
    if (!fuzzy) {
        retained_.erase(topic);
        if (number != 0) retained_[topic] = {number, publication.expires, false, {}};
        return;
    }
    Retained& retained = retained_[topic];
    if (retained.message != 0) retained.candidates.emplace_back(retained.message, retained.expires);
    retained.message = number;
    retained.expires = publication.expires;
    retained.fuzzy = true;
}

void Model::replay(Session& session, const FilterPlan& plan, bool must) {
    forget_replay(session, plan.filter);
    for (const auto& [topic, retained] : retained_) {
        if (!words_.filters[plan.filter].matches[topic]) continue;
        replay_one(session, plan, retained.message, retained.expires, must && !retained.fuzzy);
        for (const auto& [number, expires] : retained.candidates)
            replay_one(session, plan, number, expires, false);
        if (std::find(replaying_.begin(), replaying_.end(), topic) == replaying_.end()) {
            replaying_.push_back(topic);
        }
    }
}

void Model::replay_one(
    Session& session, const FilterPlan& plan, uint32_t number, Instant expires, bool must) {
    if (number == 0 || surely_expired(expires, now_)) return;
    const Message& message = messages_[number];
    Expect expect;
    expect.message = number;
    expect.filter = plan.filter;
    expect.expires = expires;
    expect.qos = granted(message, plan);
    expect.retain = true;
    expect.replay = true;
    expect.must = must;
    if (plan.identifier != 0) expect.ids[expect.id_count++] = plan.identifier;
    const size_t size = message.size + words_.topics[message.topic].size() + 64;
    if (session.packet_maximum != 0 && size > session.packet_maximum) expect.must = false;
    add(session, expect);
}

// A replay that has not come to its end is over, or begins anew.
void Model::forget_replay(Session& session, uint32_t filter) {
    for (Expect& expect : session.expects) {
        if (expect.replay && expect.filter == filter && expect.got == 0) expect.must = false;
    }
}

}  // namespace mqttd::sim
