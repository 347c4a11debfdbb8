// Model: the end of a life of the broker, and what the next one must know.
//
// What was acknowledged, as the client read it, is there: sessions that stay, subscriptions,
// messages at QoS 1 and 2, retained values. What was not may be there or be gone. The journal is
// one sequence, so what is known of a thing holds for all that came before it as well; the model
// makes use of that for retained values and for what a CONNACK says, and else asks less than it
// could.

#include "sim/model.h"

#include <algorithm>

namespace mqttd::sim {

namespace {

constexpr Duration kReadingTime = 10 * kSecond;  // that a start may take, in a slow world

}  // namespace

// ---- Before it
// ------------------------------------------------------------------------------------------------

void Model::welcomed(const SessionRef& session) {
    session->told = true;
    untold_.erase(session->client);  // that one had gone, if it had been there
    if (!rules_.cuts || rules_.early_welcome) return;
    // What came before it is known for good.
    const auto before = [&](const Unanswered& one) { return one.serial < session->serial; };
    std::erase_if(session->unanswered, before);
    std::erase_if(wills_[session->client],
                  [&](const auto& will) { return will.first < session->serial; });
}

void Model::remember(Session& session, uint32_t filter) {
    if (!rules_.cuts) return;
    Unanswered one{filter, session.serial, false, {}};
    for (const FilterPlan& plan : session.subscriptions) {
        if (plan.filter != filter) continue;
        one.existed = true;
        one.before = plan;
    }
    session.unanswered.push_back(one);
}

void Model::answered(const SessionRef& session, const Op& op) {
    for (const FilterPlan& plan : op.filters) {
        const auto same = [&](const Unanswered& one) {
            return one.filter == plan.filter && one.serial == session->serial;
        };
        auto& all = session->unanswered;
        const auto found = std::find_if(all.begin(), all.end(), same);
        if (found != all.end()) all.erase(found);
    }
}

void Model::acknowledged(const SessionRef& session, uint32_t message, uint16_t packet_id) {
    if (!rules_.cuts) return;
    session->released.erase(packet_id);
    // Taken, and perhaps dropped by name: that says nothing.
    if (refused_.contains(message) || doubts_.contains(message)) return;
    acknowledged_.insert(message);
    // Nothing that was kept before it comes back, unless its time had come before its PUBREL.
    if (messages_[message].qos == 2 && messages_[message].expiry_s != kNever32) return;
    // … or it was this one once already, before others.
    if (times_applied_[message] > 1) return;
    auto& kept = kept_[messages_[message].topic];
    const auto same = [&](const auto& one) { return one.first == message; };
    const auto found = std::find_if(kept.begin(), kept.end(), same);
    if (found != kept.end()) kept.erase(kept.begin(), found);
}

// ---- The end of a life
// ----------------------------------------------------------------------------------------

void Model::crashed(Instant back_at) {
    ++cuts_;
    fuzzy_ = true;
    jobs_ = false;
    open_.clear();
    just_ended_.clear();
    ended_.clear();
    for (auto& [message, groups] : groups_) {
        (void)message;
        for (GroupExpect& group : groups)
            group.must = false;
    }
    const std::vector<SessionRef> alive = alive_;
    for (const SessionRef& session : alive)
        end_life_of(session);
    restore_retained();
    // Who broke off with it left a will, unless it had been sent.
    for (const auto& [client, wills] : wills_) {
        for (const auto& [serial, will] : wills) {
            (void)serial;
            const Instant until = back_at + will.delay_s * kSecond + kReadingTime;
            apply(messages_[will.message], kNever, until, client);
            for (const SessionRef& session : alive_) {
                for (Expect& expect : session->expects)
                    expect.must = expect.must && expect.order != applied_;
            }
            for (GroupExpect& group : groups_[will.message])
                group.must = false;
            last_due_ = std::max(last_due_, until);
        }
    }
    next_check_ = 0;
}

void Model::end_life_of(const SessionRef& session) {
    Session& s = *session;
    // Since when it has been away may be forgotten, too: then it is the end of the life.
    if (s.connected || lifetime(s) != kNever32) s.away_since = now_;
    if (s.connected) s.left_turn = turn_;
    s.may_be_over = false;
    s.connected = false;
    s.owner = nullptr;
    s.has_will = false;
    const bool gone = s.expiry_s == 0;
    // That of its connection before may hold.
    if (!s.told || rules_.early_welcome) s.expiry_unsure = true;
    // … or a minute earlier.
    s.unsure = s.unsure || !s.told || s.expiry_unsure || lifetime(s) != kNever32;
    for (Expect& expect : s.expects) {
        expect.open = false;
        if (expect.got > 0) {
            expect.again = true;
            continue;
        }
        const bool counts = expect.must && expect.qos > 0 && !expect.replay && !gone && !s.unsure;
        expect.must = counts && acknowledged_.contains(expect.message);
        expect.promised = (counts || expect.promised) && !expect.must;
    }
    s.first_open = s.expects.size();
    if (gone) {
        s.over = true;
        if (!s.told) untold_.insert(s.client);  // the one before may be there
        std::erase(alive_, session);
        if (sessions_[s.client] == session) sessions_[s.client] = nullptr;
        s.subscriptions.clear();
        return;
    }
    doubt_subscriptions(s);
    for (auto& [id, waiting] : s.awaiting)
        waiting.unsure = true;
    for (const auto& [id, waiting] : s.released)
        s.restored[id] = waiting;
    s.released.clear();
}

// It is as it was, or as it was to become.
void Model::doubt_subscriptions(Session& session) {
    for (const Unanswered& one : session.unanswered) {
        bool there = false;
        for (FilterPlan& plan : session.subscriptions) {
            if (plan.filter != one.filter) continue;
            plan.doubtful = there = true;
            if (!one.existed) continue;
            // Whatever either of them would bring.
            plan.qos = std::max(plan.qos, one.before.qos);
            plan.no_local = plan.no_local && one.before.no_local;
        }
        if (there || !one.existed) continue;
        session.subscriptions.push_back(one.before);
        session.subscriptions.back().doubtful = true;
    }
    session.unanswered.clear();
}

// Of what was kept since the last one that is known for good any may be there.
void Model::restore_retained() {
    retained_.clear();
    replaying_.clear();
    for (const auto& [topic, kept] : kept_) {
        if (kept.empty()) continue;
        Retained retained;
        const bool sure = kept.size() == 1 && acknowledged_.contains(kept.front().first);
        retained.fuzzy = !sure || rules_.scarce;
        for (const auto& [number, expires] : kept) {
            if (messages_[number].size == 0) continue;
            if (retained.message != 0) {
                retained.candidates.emplace_back(retained.message, retained.expires);
            }
            retained.message = number;
            retained.expires = expires;
        }
        if (retained.message != 0) retained_[topic] = retained;
    }
}

// ---- After it
// -------------------------------------------------------------------------------------------------

// PUBREL again for what may have been passed on in an earlier life: it is passed on now, or was.
void Model::apply_again(const Message& message, Instant expires) {
    const auto has = [&](const Session& session, uint8_t qos) {
        const auto found = session.places.find(message.number);
        if (found == session.places.end()) return false;
        const auto same = [&](uint32_t place) {
            const Expect& expect = session.expects[place];
            return expect.qos == qos && !expect.replay;
        };
        return std::any_of(found->second.begin(), found->second.end(), same);
    };
    std::vector<bool> twice(sessions_.size());
    for (const SessionRef& session : alive_)
        twice[session->client] = has(*session, 2);
    once_more_ = true;
    apply(message, expires, 0, kNobody);
    once_more_ = false;
    for (GroupExpect& group : groups_[message.number])
        group.must = false;
    for (const SessionRef& session : alive_) {
        bool wants = false;
        for (const uint32_t place : session->places[message.number]) {
            Expect& expect = session->expects[place];
            if (expect.order != applied_) continue;
            wants = wants || (expect.must && expect.qos > 0);
            expect.must = false;
            // At QoS 2 it comes once, whichever of the two it is; but a job starts anew
            // (src/store/README.md, not built yet).
            if (expect.qos == 2 && twice[session->client] && !rules_.slices) expect.got = 1;
        }
        for (const uint32_t place : session->places[message.number]) {
            Expect& expect = session->expects[place];
            if (wants && expect.promised && expect.got == 0) expect.must = true;
        }
    }
}

// At QoS 1 it may come again after each end of a life, with DUP or, if nobody knows that it was
// sent, without. At QoS 0 what was on a page may, if it is not known that the page was taken.
Expect* Model::come_again(Session& session, const Packet& packet, uint32_t number) {
    for (const uint32_t place : session.places[number]) {
        Expect& expect = session.expects[place];
        if (!expect.again || expect.qos != packet.qos) continue;
        if (!packet.dup) expect.again = false;
        expect.acked = false;
        ++expect.got;
        if (packet.qos > 0) session.inflight[packet.packet_id] = place;
        return &expect;
    }
    return nullptr;
}

}  // namespace mqttd::sim
