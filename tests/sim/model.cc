// Model: time, sessions, and the packets the broker took.

#include "sim/model.h"

#include <algorithm>

namespace mqttd::sim {

void Model::fail(const std::string& what) {
    if (failure_.empty() && !lost_track_) failure_ = what;
}

// ---- Time
// ----------------------------------------------------------------------------------------------

void Model::set_time(Instant now, uint64_t turn) {
    last_turn_ = now_;
    now_ = now;
    for (const SessionRef& session : just_ended_)
        session->subscriptions.clear();
    just_ended_.clear();
    turn_ = turn;
    if (now >= next_check_) {
        next_check_ = kNever;
        const std::vector<SessionRef> alive = alive_;
        for (const SessionRef& session : alive) {
            if (!session->connected && !session->over) pass_time(session);
        }
    }
    settle_open();
}

void Model::set_jobs(bool any) {
    jobs_ = any;
    if (any) fuzzy_ = true;
}

void Model::settle_open() {
    if (open_.empty() || jobs_) return;
    const auto over = [&](const Open& open) {
        return open.until == 0 || (open.until <= last_turn_ && !behind_);
    };
    if (std::erase_if(open_, over) == 0) return;
    const auto is_open = [&](const Expect& expect) {
        const auto same = [&](const Open& open) { return open.order == expect.order; };
        return std::any_of(open_.begin(), open_.end(), same);
    };
    for (const SessionRef& session : alive_) {
        std::vector<Expect>& expects = session->expects;
        size_t open = expects.size();  // the first one
        for (size_t i = session->first_open; i < expects.size(); ++i) {
            expects[i].open = expects[i].open && is_open(expects[i]);
            if (expects[i].open) open = std::min(open, i);
        }
        session->first_open = open;
    }
}

// A session that is away: its will, its end.
void Model::pass_time(const SessionRef& session) {
    const uint64_t lifetime = this->lifetime(*session);
    const Instant will_at = session->away_since + session->will.delay_s * kSecond;
    if (session->has_will && now_ >= will_at) send_will(*session, now_ + kLate);
    if (session->has_will) next_check_ = std::min(next_check_, will_at);
    if (lifetime == kNever32) return;
    const Instant end_at = session->away_since + lifetime * kSecond;
    // From then on it may be gone; that it is shows when its client comes back.
    if (session->has_will && now_ >= end_at) send_will(*session, now_ + kLate);
    if (now_ >= end_at && !session->may_be_over) {
        session->may_be_over = true;
        last_due_ = now_;
        loosen_groups(session, true);
    }
    // However late it is: the broker sees it at the end of a turn.
    if (now_ >= end_at + kLate && last_turn_ >= end_at) {
        end(session, 0);
    } else {
        next_check_ =
            std::min(next_check_, std::max(now_, now_ >= end_at ? end_at + kLate : end_at));
    }
}

uint64_t Model::lifetime(const Session& session) const {
    if (session.expiry_s != kNever32) return session.expiry_s;
    return rules_.expiry_cap_s != 0 ? rules_.expiry_cap_s : kNever32;
}

// ---- Sessions
// ------------------------------------------------------------------------------------------

SessionRef Model::session_of(uint32_t client) const {
    return client < sessions_.size() ? sessions_[client] : nullptr;
}

uint64_t Model::sessions() const {
    return alive_.size();
}

SessionRef Model::connected(uint32_t client,
                            const void* owner,
                            const ConnectPlan& plan,
                            bool resumed) {
    if (client >= sessions_.size()) sessions_.resize(client + 1);
    SessionRef session = sessions_[client];
    if (session && session->connected) leave(session);
    session = sessions_[client];
    const bool wanted = !plan.clean;
    if (session) {
        const Instant end_at = session->away_since + lifetime(*session) * kSecond;
        const bool may_have_ended = lifetime(*session) != kNever32 && now_ >= end_at;
        if (resumed && !wanted) fail("a clean start took up an old session");
        // That a DISCONNECT cut it short may be forgotten with a life.
        const bool cut_short = cuts_ > 0 && session->expiry_unsure;
        if (resumed && may_have_ended && !cut_short && now_ >= end_at + 2 * kSecond) {
            fail("a session was taken up whose time had come: of client " + std::to_string(client) +
                 ", away since " + std::to_string(session->away_since) + ", for " +
                 std::to_string(lifetime(*session)) + " s");
        }
        const bool excused = may_have_ended || rules_.wary || session->unsure;
        if (!resumed && wanted && !excused) fail("a session was lost");
        if (!resumed) {
            end(session, may_have_ended ? now_ + kLate : 0);
            session = nullptr;
        }
    } else if (resumed) {
        // Nobody waits for a failing disk to say that a session was thrown away.
        // And one whose time had come may have more of it after each start.
        // And what a start had no memory for is there in the next one.
        // And of one nobody knows whether it had gone.
        lost_track_ = cuts_ > 0 && (rules_.early_welcome || rules_.scarce ||
                                    finite_.contains(client) || untold_.contains(client));
        if (!lost_track_) fail("a session was taken up that had ended");
    }
    if (!session) {
        session = std::make_shared<Session>();
        session->client = client;
        sessions_[client] = session;
        alive_.push_back(session);
    } else {
        session->resumed_ever = true;
        session->connected = true;
        session->may_be_over = false;
        // A will that waited is thrown away; one that was due this very moment may have been sent.
        for (const Open& open : open_) {
            if (open.will_of != client) continue;
            for (const SessionRef& other : alive_) {
                for (Expect& expect : other->expects) {
                    if (expect.order == open.order) expect.must = false;
                }
            }
            for (GroupExpect& group : groups_[open.message->number]) {
                if (group.order == open.order) group.must = false;
            }
            if (!open.message->retain) continue;
            Retained& retained = retained_[open.message->topic];
            retained.fuzzy = true;
            retained.candidates.emplace_back(open.message->number, open.expires);
        }
        for (const Open& open : open_)
            hand_to_newcomer(*session, open, true);
    }
    session->serial = ++connects_;
    session->told = session->unsure = session->expiry_unsure = false;
    if (rules_.cuts && plan.has_will) wills_[client].emplace_back(session->serial, plan.will);
    session->level = plan.level;
    session->owner = owner;
    session->connected = true;
    session->expiry_s = plan.level == 5 ? plan.expiry_s : (plan.clean ? 0 : kNever32);
    const uint64_t cap = rules_.expiry_cap_s;
    if (cap != 0 && session->expiry_s != kNever32 && session->expiry_s > cap) {
        session->expiry_s = static_cast<uint32_t>(cap);
    }
    if (session->expiry_s != 0 && lifetime(*session) != kNever32) finite_.insert(client);
    session->packet_maximum = plan.packet_maximum;
    session->has_will = plan.has_will;
    session->will = plan.will;
    return session;
}

void Model::discarded(uint32_t client) {
    const SessionRef session = session_of(client);
    if (session && session->connected) leave(session);
    if (session_of(client) == session && session) end(session, 0);
}

void Model::detached(const SessionRef& session, const void* owner, bool soon) {
    if (!session || !session->connected || session->owner != owner) return;
    leave(session, soon ? now_ + kLate : 0);
}

void Model::leave(const SessionRef& session, Instant open_until) {
    session->connected = false;
    session->away_since = now_;
    session->left_turn = turn_;
    next_check_ = 0;
    for (Expect& expect : session->expects) {
        if (expect.got == 0 && (expect.qos == 0 || expect.open)) expect.must = false;
    }
    loosen_groups(session, false);
    if (!open_.empty()) fuzzy_ = true;
    if (session->expiry_s == 0) {
        end(session, open_until);
    } else if (session->has_will && session->will.delay_s == 0) {
        send_will(*session, open_until);
    }
}

// Messages to groups that a member who leaves may have been given.
void Model::loosen_groups(const SessionRef& session, bool ended) {
    if (session->groups.empty()) return;
    for (auto& [message, expects] : groups_) {
        for (GroupExpect& expect : expects) {
            if (!expect.must) continue;
            if (std::find(session->groups.begin(), session->groups.end(), expect.group) ==
                session->groups.end()) {
                continue;
            }
            bool others = false;
            bool all_counted = !expect.qos0;  // also by the QoS of before
            bool exactly_once = false;
            bool still_member = false;
            for (const SessionRef& member : alive_) {
                for (const FilterPlan& plan : member->subscriptions) {
                    if (words_.filters[plan.filter].group != expect.group) continue;
                    still_member = still_member || member == session;
                    const uint8_t qos = granted(messages_[message], plan);
                    all_counted = all_counted && qos > 0;
                    exactly_once = exactly_once || qos == 2;
                    others = others || (member != session && !member->may_be_over);
                }
            }
            // QoS 0 is lost with the connection; else it is passed on when the session ends, but at
            // QoS 2 nobody else gets what one member was being sent.   [MQTT5-4.8.2-5]
            if (!all_counted || (ended && (exactly_once || !others || !still_member))) {
                expect.must = false;
            }
        }
    }
}

// Members come and go while a session may have ended, or while it is taken apart: whether its
// messages found somebody else cannot be told.
void Model::loosen_if_unsure(uint32_t group) {
    const auto was_member = [&](const SessionRef& session) {
        return std::find(session->groups.begin(), session->groups.end(), group) !=
               session->groups.end();
    };
    const auto unsure = [&](const SessionRef& session) {
        return session->may_be_over && was_member(session);
    };
    std::erase_if(ended_, [&](const auto& ended) { return ended.second + kLate < now_; });
    const auto just_ended = [&](const auto& ended) { return was_member(ended.first); };
    if (std::none_of(alive_.begin(), alive_.end(), unsure) &&
        std::none_of(ended_.begin(), ended_.end(), just_ended)) {
        return;
    }
    for (auto& [message, expects] : groups_) {
        (void)message;
        for (GroupExpect& expect : expects)
            expect.must = expect.must && expect.group != group;
    }
}

void Model::end(const SessionRef& session, Instant open_until) {
    loosen_groups(session, true);
    session->over = true;
    session->connected = false;
    for (Expect& expect : session->expects) {
        if (expect.got == 0) ++ended_missing_;
        expect.must = false;
    }
    std::erase(alive_, session);
    if (!session->groups.empty()) ended_.emplace_back(session, now_);
    if (sessions_[session->client] == session) sessions_[session->client] = nullptr;
    if (session->left_turn == turn_) {
        just_ended_.push_back(session);  // with its subscriptions, for the rest of the turn
    } else {
        session->subscriptions.clear();
    }
    send_will(*session, open_until);
}

void Model::send_will(Session& session, Instant open_until) {
    if (!session.has_will) return;
    session.has_will = false;
    last_due_ = now_;
    const Message& message = messages_[session.will.message];
    const Instant expires =
        message.expiry_s == kNever32 ? kNever : now_ + message.expiry_s * kSecond;
    apply(message, expires, open_until, session.client);
}

// ---- Packets
// -------------------------------------------------------------------------------------------

void Model::took(const SessionRef& session, const Op& op) {
    Session& s = *session;
    switch (op.type) {
        case Type::kPublish: {
            const Message& message = messages_[op.message];
            // Sent again by a 3.x connection it has lost its properties.
            const bool expiring = message.expiry_s != kNever32 && s.level == 5;
            const Instant expires = expiring ? now_ + message.expiry_s * kSecond : kNever;
            if (message.qos < 2) {
                apply(message, expires, 0, kNobody);
            } else if (s.restored.contains(op.packet_id) &&
                       s.restored[op.packet_id].message == op.message) {
                break;
            } else if (message.expiry_s != kNever32 && s.awaiting.contains(op.packet_id) &&
                       s.awaiting[op.packet_id].unsure) {
                // Since then or from now on.
                doubt(op.message);
                s.awaiting[op.packet_id] = {op.message, now_, expires};
            } else if (!s.awaiting.contains(op.packet_id) || doubts_.contains(op.message)) {
                s.awaiting[op.packet_id] = {op.message, now_, expires};
            }
            break;
        }
        case Type::kPubrel: {
            const auto found = s.awaiting.find(op.packet_id);
            const auto restored = s.restored.find(op.packet_id);
            if (found == s.awaiting.end() && restored != s.restored.end()) {
                const Awaiting before = restored->second;
                s.restored.erase(restored);
                s.released[op.packet_id] = before;
                apply_again(messages_[before.message], before.expires);
                break;
            }
            if (found == s.awaiting.end()) break;
            const Awaiting waiting = found->second;
            s.awaiting.erase(found);
            if (rules_.cuts) s.released[op.packet_id] = waiting;
            if (surely_expired(waiting.expires, now_)) break;
            // After await_rel_timeout it has been dropped, by name.
            const bool late =
                rules_.rel_timeout_s != 0 && now_ - waiting.since >= rules_.rel_timeout_s * kSecond;
            apply(messages_[waiting.message], waiting.expires, late ? now_ + kLate : 0, kNobody);
            if (late) refused(waiting.message);
            break;
        }
        case Type::kPuback:
        case Type::kPubrec:
        case Type::kPubcomp:
            acked(s, op.type, op.packet_id, op.reason);
            break;
        case Type::kSubscribe:
            subscribe(s, op);
            break;
        case Type::kUnsubscribe:
            unsubscribe(s, op);
            break;
        case Type::kDisconnect:
            if (op.expiry_s != kNever32 && s.expiry_s != 0) {
                s.expiry_s = op.expiry_s;
                s.expiry_unsure = true;
                finite_.insert(s.client);
            }
            if (op.reason == 0) s.has_will = false;
            leave(session);
            break;
        default:
            break;
    }
}

void Model::acked(Session& session, Type type, uint16_t packet_id, uint8_t reason) {
    const auto found = session.inflight.find(packet_id);
    if (found == session.inflight.end()) return;
    Expect& expect = session.expects[found->second];
    const bool over = type != Type::kPubrec || reason >= 0x80;
    if (over || type == Type::kPubrec) {
        expect.acked = true;
        expect.acked_turn = turn_;
    }
    if (!over) return;
    session.finished[packet_id] = found->second;
    session.inflight.erase(found);
}

void Model::subscribe(Session& session, const Op& op) {
    for (const FilterPlan& plan : op.filters) {
        const Vocabulary::Filter& filter = words_.filters[plan.filter];
        bool existed = false;
        bool unsure = false;
        remember(session, plan.filter);
        for (FilterPlan& old : session.subscriptions) {
            if (old.filter != plan.filter) continue;
            existed = true;
            unsure = old.doubtful;
            old = plan;
        }
        // What is still to be replayed comes as the newer subscription wants it, or the older.
        for (Expect& expect : session.expects) {
            if (!existed) break;
            if (expect.replay && expect.filter == plan.filter) expect.changed = true;
            if (expect.open) expect.must = false;
        }
        if (!existed) session.subscriptions.push_back(plan);
        if (filter.group != 0) {
            session.memberships[filter.group].emplace_back(plan.identifier, plan.qos);
            if (!existed) loosen_if_unsure(filter.group);
            if (std::find(session.groups.begin(), session.groups.end(), filter.group) ==
                session.groups.end()) {
                session.groups.push_back(filter.group);
            }
            for (const Open& open : open_) {
                if (!filter.matches[open.message->topic]) continue;
                auto& groups = groups_[open.message->number];
                const auto same = [&](const GroupExpect& group) {
                    return group.group == filter.group && group.order == open.order;
                };
                if (std::any_of(groups.begin(), groups.end(), same)) continue;
                groups.push_back({open.message->number,
                                  filter.group,
                                  open.order,
                                  open.expires,
                                  false,
                                  false,
                                  {}});
            }
            continue;
        }
        if (plan.retain_handling == 0 || (plan.retain_handling == 1 && (!existed || unsure))) {
            replay(session, plan, !(plan.retain_handling == 1 && unsure));
        }
    }
    // In the middle of a job: with the options of before, of now, or of some of both.
    for (Expect& expect : session.expects) {
        if (!expect.open || expect.got > 0) continue;
        expect.changed = true;
        expect.must = false;
    }
    for (const Open& open : open_)
        hand_to_newcomer(session, open, false);
}

// A publication that is being handed out comes to somebody or does not.
void Model::hand_to_newcomer(Session& session, const Open& open, bool qos0_only) {
    fuzzy_ = true;
    const uint64_t no_local = no_local_;
    const uint64_t offline = offline_;
    const Publication publication{
        *open.message, open.message->publisher, open.expires, open.order, true, qos0_only};
    const size_t before = session.expects.size();
    hand_to(session, publication, false);
    // Of several subscriptions it may come by some.
    for (size_t i = before; i < session.expects.size(); ++i)
        session.expects[i].changed = !rules_.allow_duplicates;
    no_local_ = no_local;
    offline_ = offline;
}

void Model::unsubscribe(Session& session, const Op& op) {
    for (const FilterPlan& plan : op.filters) {
        remember(session, plan.filter);
        std::erase_if(session.subscriptions,
                      [&](const FilterPlan& old) { return old.filter == plan.filter; });
        forget_replay(session, plan.filter);
        const uint32_t group = words_.filters[plan.filter].group;
        if (group != 0) loosen_if_unsure(group);
    }
    for (Expect& expect : session.expects) {
        if (!expect.open || expect.got > 0) continue;
        expect.must = false;
        expect.changed = true;
    }
    if (!open_.empty()) fuzzy_ = true;
    // Who is not a member any more passes nothing on.
    for (const Open& open : open_) {
        for (GroupExpect& group : groups_[open.message->number])
            group.must = false;
    }
}

// A filter of a SUBSCRIBE was answered with a refusal.
void Model::not_subscribed(const SessionRef& session, uint32_t filter) {
    for (FilterPlan& plan : session->subscriptions)
        plan.doubtful = plan.doubtful || plan.filter == filter;
    for (Expect& expect : session->expects) {
        if (expect.got > 0) continue;
        expect.must = false;
        expect.changed = true;
    }
    const uint32_t group = words_.filters[filter].group;
    for (auto& [message, groups] : groups_) {
        (void)message;
        for (GroupExpect& expect : groups) {
            if (group != 0 && expect.group == group) expect.must = false;
        }
    }
}

}  // namespace mqttd::sim
