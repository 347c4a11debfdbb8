#include "sim/model.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::sim {

namespace {

// How late a timer of the broker may be: it counts whole seconds, and a turn is only so long.
constexpr Duration kLate = 3 * kSecond;

bool surely_expired(Instant expires, Instant now) {
    return expires != kNever && now >= expires + kLate;
}

bool same_ids(const Expect& expect, const Packet& packet) {
    if (expect.id_count != packet.id_count) return false;
    return std::is_permutation(expect.ids, expect.ids + expect.id_count, packet.ids);
}

std::string_view next_level(std::string_view& rest) {
    const size_t end = rest.find('/');
    const std::string_view level = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    return level;
}

}  // namespace

bool matches(std::string_view filter, std::string_view topic) {
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#')) return false;
    for (;;) {
        const bool last_filter = filter.find('/') == filter.npos;
        const bool last_topic = topic.find('/') == topic.npos;
        const std::string_view want = next_level(filter);
        const std::string_view have = next_level(topic);
        if (want == "#") return true;
        if (want != "+" && want != have) return false;
        if (last_topic) return last_filter || filter == "#";
        if (last_filter) return false;
    }
}

void Vocabulary::add_filter(std::string_view text) {
    Filter filter;
    filter.text = text;
    std::string_view rest = text;
    const auto skip = [&](std::string_view prefix) {
        if (!rest.starts_with(prefix)) return false;
        rest.remove_prefix(prefix.size());
        return true;
    };
    const bool named = skip("$share/");
    if (named) rest = rest.substr(rest.find('/') + 1);
    if (named || skip("$queue/")) filter.group = static_cast<uint32_t>(filters.size()) + 1;
    for (const std::string& topic : topics)
        filter.matches.push_back(matches(rest, topic));
    filters.push_back(filter);
    filter_texts.emplace_back(text);
}

void Model::fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
}

// ---- Time
// ----------------------------------------------------------------------------------------------

void Model::set_time(Instant now, uint64_t turn) {
    last_turn_ = now_;
    now_ = now;
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
    if (jobs_ && !any) {
        for (const SessionRef& session : alive_) {
            for (size_t i = session->first_waiting; i < session->expects.size(); ++i)
                session->expects[i].open = false;
        }
    }
    jobs_ = any;
    if (any) fuzzy_ = true;
}

void Model::settle_open() {
    if (open_.empty() || jobs_) return;
    std::erase_if(open_, [&](const Open& open) { return open.until <= last_turn_; });
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
        loosen_groups(session, true);
    }
    if (now_ >= end_at + kLate) {
        end(session, 0);
    } else {
        next_check_ = std::min(next_check_, now_ >= end_at ? end_at + kLate : end_at);
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
        if (!resumed && wanted && !may_have_ended && !rules_.wary) fail("a session was lost");
        if (!resumed) {
            end(session, may_have_ended ? now_ + kLate : 0);
            session = nullptr;
        }
    } else if (resumed) {
        fail("a session was taken up that had ended");
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
        for (const Open& open : open_) {
            const auto waiting = static_cast<ptrdiff_t>(session->expects.size());
            hand_to_newcomer(*session, open);
            // The others it has been given already.
            session->expects.erase(std::remove_if(session->expects.begin() + waiting,
                                                  session->expects.end(),
                                                  [](const Expect& e) { return e.qos > 0; }),
                                   session->expects.end());
        }
    }
    session->level = plan.level;
    session->owner = owner;
    session->connected = true;
    session->expiry_s = plan.level == 5 ? plan.expiry_s : (plan.clean ? 0 : kNever32);
    const uint64_t cap = rules_.expiry_cap_s;
    if (cap != 0 && session->expiry_s != kNever32 && session->expiry_s > cap) {
        session->expiry_s = static_cast<uint32_t>(cap);
    }
    session->packet_maximum = plan.packet_maximum;
    session->has_will = plan.has_will;
    session->will = plan.will;
    return session;
}

void Model::detached(const SessionRef& session, const void* owner, bool soon) {
    if (!session || !session->connected || session->owner != owner) return;
    leave(session, soon ? now_ + kLate : 0);
}

void Model::leave(const SessionRef& session, Instant open_until) {
    session->connected = false;
    session->away_since = now_;
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
            if (!expect.getters.empty() || !expect.must) continue;
            if (std::find(session->groups.begin(), session->groups.end(), expect.group) ==
                session->groups.end()) {
                continue;
            }
            bool others = false;
            bool all_counted = true;
            bool exactly_once = false;
            bool still_member = false;
            for (const SessionRef& member : alive_) {
                for (const FilterPlan& plan : member->subscriptions) {
                    if (words_.filters[plan.filter].group != expect.group) continue;
                    still_member = still_member || member == session;
                    const uint8_t qos = granted(messages_[message], plan);
                    all_counted = all_counted && qos > 0;
                    exactly_once = exactly_once || qos == 2;
                    others = others || member != session;
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

void Model::end(const SessionRef& session, Instant open_until) {
    loosen_groups(session, true);
    session->over = true;
    session->connected = false;
    for (Expect& expect : session->expects) {
        if (expect.got == 0) ++ended_missing_;
        expect.must = false;
    }
    std::erase(alive_, session);
    if (sessions_[session->client] == session) sessions_[session->client] = nullptr;
    session->subscriptions.clear();
    send_will(*session, open_until);
}

void Model::send_will(Session& session, Instant open_until) {
    if (!session.has_will) return;
    session.has_will = false;
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
            } else if (!s.awaiting.contains(op.packet_id)) {
                s.awaiting[op.packet_id] = {op.message, now_, expires};
            }
            break;
        }
        case Type::kPubrel: {
            const auto found = s.awaiting.find(op.packet_id);
            if (found == s.awaiting.end()) break;
            const Awaiting waiting = found->second;
            s.awaiting.erase(found);
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
            if (op.expiry_s != kNever32 && s.expiry_s != 0) s.expiry_s = op.expiry_s;
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
        for (FilterPlan& old : session.subscriptions) {
            if (old.filter != plan.filter) continue;
            existed = true;
            old = plan;
        }
        // What is still to be replayed comes as the newer subscription wants it, or the older.
        for (size_t i = session.first_waiting; existed && i < session.expects.size(); ++i) {
            Expect& expect = session.expects[i];
            if (expect.replay && expect.filter == plan.filter) expect.changed = true;
            if (expect.open) expect.must = false;
        }
        if (!existed) session.subscriptions.push_back(plan);
        if (filter.group != 0) {
            session.group_ids[filter.group].push_back(plan.identifier);
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
                groups.push_back({open.message->number, filter.group, open.order, false, {}});
            }
            continue;
        }
        if (plan.retain_handling == 0 || (plan.retain_handling == 1 && !existed)) {
            replay(session, plan);
        }
    }
    for (const Open& open : open_)
        hand_to_newcomer(session, open);
}

// A publication that is being handed out comes to somebody or does not.
void Model::hand_to_newcomer(Session& session, const Open& open) {
    fuzzy_ = true;
    const uint64_t no_local = no_local_;
    const uint64_t offline = offline_;
    hand_to(
        session, {*open.message, open.message->publisher, open.expires, open.order, true}, false);
    no_local_ = no_local;
    offline_ = offline;
}

void Model::unsubscribe(Session& session, const Op& op) {
    for (const FilterPlan& plan : op.filters) {
        std::erase_if(session.subscriptions,
                      [&](const FilterPlan& old) { return old.filter == plan.filter; });
        forget_replay(session, plan.filter);
    }
    for (Expect& expect : session.expects) {
        if (expect.open && expect.got == 0) expect.must = false;
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
    for (Expect& expect : session->expects)
        expect.must = false;
    const uint32_t group = words_.filters[filter].group;
    for (auto& [message, groups] : groups_) {
        (void)message;
        for (GroupExpect& expect : groups) {
            if (group != 0 && expect.group == group) expect.must = false;
        }
    }
}

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
    open_.push_back({&message, applied_, expires, open_until, will_of});
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
    for (const FilterPlan& plan : session.subscriptions) {
        const Vocabulary::Filter& filter = words_.filters[plan.filter];
        if (filter.group != 0 || !filter.matches[publication.message.topic]) continue;
        if (is_no_local(publication, session, plan)) continue;
        if (rules_.allow_duplicates) {
            expect(session, publication, plan, must);
            continue;
        }
        any = true;
        merged.qos = std::max(merged.qos, plan.qos);
        merged.retain_as_published = merged.retain_as_published || plan.retain_as_published;
        if (plan.identifier != 0) ids.ids[ids.id_count++] = plan.identifier;
    }
    if (!any) return;
    const size_t before = session.expects.size();
    expect(session, publication, merged, must);
    if (session.expects.size() == before) return;
    Expect& last = session.expects.back();
    last.id_count = ids.id_count;
    std::copy(ids.ids, ids.ids + ids.id_count, last.ids);
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
    expect.must = must && !plan.doubtful;
    if (expect.qos == 0 && !session.connected && !rules_.queue_qos0) {
        if (session.may_be_over) fuzzy_ = true;
        ++offline_;
        return;
    }
    if (plan.identifier != 0) expect.ids[expect.id_count++] = plan.identifier;
    const size_t size = message.size + words_.topics[message.topic].size() + 64;
    if (session.packet_maximum != 0 && size > session.packet_maximum) expect.must = false;
    session.expects.push_back(expect);
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
                groups.push_back({message.number, filter.group, publication.order, false, {}});
                found = groups.end() - 1;
            }
            if (plan.doubtful) continue;
            const bool small = session->packet_maximum == 0;
            found->must = (found->must || reachable) && small;
        }
    }
}

// ---- Retained
// ------------------------------------------------------------------------------------------

void Model::keep(const Publication& publication) {
    const uint32_t topic = publication.message.topic;
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
    bool fuzzy = publication.open;
    for (const Open& open : open_) {
        fuzzy =
            fuzzy || (open.until > now_ && open.message->retain && open.message->topic == topic);
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

void Model::replay(Session& session, const FilterPlan& plan) {
    forget_replay(session, plan.filter);
    for (const auto& [topic, retained] : retained_) {
        if (!words_.filters[plan.filter].matches[topic]) continue;
        replay_one(session, plan, retained.message, retained.expires, !retained.fuzzy);
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
    session.expects.push_back(expect);
}

// A replay that has not come to its end is over, or begins anew.
void Model::forget_replay(Session& session, uint32_t filter) {
    for (Expect& expect : session.expects) {
        if (expect.replay && expect.filter == filter && expect.got == 0) expect.must = false;
    }
}

// ---- What a client read
// --------------------------------------------------------------------------------

// Which of the copies that were to come this is; must before may.
Expect* Model::find(Session& session, const Packet& packet, uint32_t number) {
    Expect* best = nullptr;
    while (session.first_waiting < session.expects.size() &&
           session.expects[session.first_waiting].got > 0) {
        ++session.first_waiting;
    }
    for (size_t i = session.first_waiting; i < session.expects.size(); ++i) {
        Expect& expect = session.expects[i];
        if (expect.message != number || expect.got > 0) continue;
        if (expect.retain != packet.retain) continue;
        if (!expect.changed) {
            if (expect.qos != packet.qos) continue;
            if (session.level == 5 && !same_ids(expect, packet)) continue;
        }
        if (expect.must) return &expect;
        if (best == nullptr) best = &expect;
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
        if (again != s.inflight.end() && s.expects[again->second].message == number) {
            Expect& expect = s.expects[again->second];
            if (expect.acked && expect.acked_turn < turn)
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
    // One of its own that must come, one of a group that must, one of its own that may.
    Expect* expect = find(s, packet, number);
    if ((expect == nullptr || !expect->must) &&
        match_group(session, packet, number, when, expect == nullptr)) {
        expect = &s.expects.back();
    }
    if (expect == nullptr) return say("not meant for this client, or twice", number);
    ++expect->got;
    // Published again by a client that had no answer: which of the two this is cannot be told.
    const bool several = times_applied_[number] > 1;
    const bool begun = packet.dup;  // in time: [MQTT5-3.3.2-5] asks no more
    if (!several && !begun && surely_expired(expect->expires, when)) {
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
            if (told > left + 2'000 || told + 3'000 < left) {
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
    if (expect->replay || expect->order == 0 || several || shared) return;
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

bool Model::is_member(const Session& session, const GroupExpect& group) {
    return std::find(session.groups.begin(), session.groups.end(), group.group) !=
           session.groups.end();
}

// Whether a message to a group may come to this member: nobody had it, or only somebody whose
// session ended before it was acknowledged.
bool Model::may_take(const Session& session, const GroupExpect& group) const {
    if (!is_member(session, group)) return false;
    // What it read after its session had ended it had been sent before.
    if (group.getters.empty() || (session.over && group.getters.size() == 1)) return true;
    for (const GroupExpect::Getter& getter : group.getters) {
        if (!getter.session->over && !getter.session->may_be_over) continue;
        for (const Expect& had : getter.session->expects) {
            // At QoS 2 nobody else gets it any more.   [MQTT5-4.8.2-5]
            if (had.message == group.message && had.qos == 1 && !had.acked) return true;
        }
    }
    return false;
}

// Whether what somebody read may have come through a group: as a member, with its identifier.
bool Model::fits(const GroupExpect::Getter& getter, const GroupExpect& group) {
    if (!is_member(*getter.session, group)) return false;
    if (getter.session->level != 5) return true;
    const auto found = getter.session->group_ids.find(group.group);
    return found != getter.session->group_ids.end() &&
           std::find(found->second.begin(), found->second.end(), getter.identifier) !=
               found->second.end();
}

// What a member read may as well have come to it by a subscription of its own.
bool Model::settle_as_own(const GroupExpect::Getter& getter, uint32_t number) {
    for (Expect& expect : getter.session->expects) {
        if (expect.message != number || expect.got > 0 || expect.qos != getter.qos) continue;
        expect.got = 1;
        return true;
    }
    return false;
}

// Finds who read it a place among the groups of a message; somebody who has one already may have to
// move to another, for what a member read does not say through which group it came.
bool Model::assign(const GroupExpect::Getter& getter,
                   std::vector<GroupExpect>& groups,
                   uint64_t& seen) {
    const size_t count = std::min<size_t>(groups.size(), 64);
    const auto open = [&](size_t i) { return (seen >> i & 1) == 0 && fits(getter, groups[i]); };
    for (size_t i = 0; i < count; ++i) {
        if (!open(i) || !may_take(*getter.session, groups[i])) continue;
        seen |= uint64_t{1} << i;
        groups[i].getters.push_back(getter);
        return true;
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
    const GroupExpect::Getter getter{session, packet.qos, packet.ids[0]};
    const auto wants = [&](const GroupExpect& group) {
        return group.must && group.getters.empty() && fits(getter, group);
    };
    if (!any && std::none_of(found->second.begin(), found->second.end(), wants)) return false;
    std::stable_sort(found->second.begin(),
                     found->second.end(),
                     [](const GroupExpect& a, const GroupExpect& b) { return a.must > b.must; });
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
    session->expects.push_back(expect);
    return true;
}

// ---- In the end
// -------------------------------------------------------------------------------------------

Model::Missing Model::missing() const {
    Missing missing;
    const auto count = [&](uint32_t message, uint32_t client, bool qos0, bool must) {
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
            const bool must = expect.must && expect.expires > now_ && session->connected;
            count(expect.message, session->client, expect.qos == 0, must);
        }
    }
    for (const auto& [message, groups] : groups_) {
        for (const GroupExpect& group : groups) {
            if (!group.getters.empty() || messages_[message].size == 0) continue;
            // Somebody who is away may have it in his queue.
            const auto away = [&](const SessionRef& session) {
                return !session->connected && is_member(*session, group);
            };
            const bool must = group.must && messages_[message].expiry_s == kNever32 &&
                              std::none_of(alive_.begin(), alive_.end(), away);
            bool qos0 = messages_[message].qos == 0;
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
