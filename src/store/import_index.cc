#include "store/import_index.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace mqttd {

namespace {

std::string_view id_of(const ImportSession& session) {
    return as_text(session.client_id);
}

}  // namespace

// --- messages and sessions -----------------------------------------------------------------------

void ImportIndex::Names::message(const MosquittoMessage& message) {
    ImportMessage& made = index_.messages_.emplace_back();
    made.id = message.store_id;
    const uint64_t body =
        kHeadsMost + message.topic_name.size() + message.properties.size() + message.payload.size();
    index_.largest_body_ = std::max(index_.largest_body_, body);
}

// mosquitto says when a session expires only for one that was away; who was connected has been away
// since the file was written.
void ImportIndex::Names::client(const MosquittoClient& client) {
    ImportSession session;
    session.client_id = client.client_id;
    session.expiry_s = client.expiry_interval_s;
    const bool ends = client.expiry_interval_s != MosquittoClient::kNever;
    session.v5 = ends && client.expiry_interval_s != 0;
    const int64_t interval = ends ? int64_t{client.expiry_interval_s} : 0;
    int64_t away = std::min(index_.saved_s_, index_.now_s_);
    if (ends && client.expires_s > 0) away = client.expires_s - interval;
    const int64_t expires = client.expires_s > 0 ? client.expires_s : away + interval;
    session.away_since = static_cast<uint64_t>(std::max<int64_t>(away, 1));
    const bool may_expire = ends || client.expires_s > 0;
    if (may_expire && expires <= index_.now_s_) session.fate = ImportSession::Fate::kExpired;
    if (session.expiry_s == 0) session.fate = ImportSession::Fate::kEnded;
    index_.sessions_.push_back(session);
}

void ImportIndex::Names::finish() {
    auto& messages = index_.messages_;
    // mosquitto writes the newest first.
    std::reverse(messages.begin(), messages.end());
    const auto by_id = [](const ImportMessage& a, const ImportMessage& b) { return a.id < b.id; };
    if (!std::is_sorted(messages.begin(), messages.end(), by_id)) {
        std::sort(messages.begin(), messages.end(), by_id);
    }
    const auto same = [](const ImportMessage& a, const ImportMessage& b) { return a.id == b.id; };
    messages.erase(std::unique(messages.begin(), messages.end(), same), messages.end());

    auto& sessions = index_.sessions_;
    std::stable_sort(sessions.begin(), sessions.end(), [](const auto& a, const auto& b) {
        return id_of(a) < id_of(b);
    });
    const auto behind = std::unique(
        sessions.begin(), sessions.end(), [](auto& a, auto& b) { return id_of(a) == id_of(b); });
    report_.of(ImportLeft::kOdd) += static_cast<uint64_t>(sessions.end() - behind);
    sessions.erase(behind, sessions.end());
    uint32_t number = 0;
    for (ImportSession& session : sessions) {
        if (session.fate == ImportSession::Fate::kTaken) session.number = ++number;
        if (session.fate == ImportSession::Fate::kEnded) ++report_.ended.sessions;
        if (session.fate == ImportSession::Fate::kExpired) ++report_.expired.sessions;
    }
}

// --- who speaks of them --------------------------------------------------------------------------

void ImportIndex::References::client_message(const MosquittoClientMessage& message) {
    ImportSession* session = index_.session(message.client_id);
    if (session == nullptr || session->fate != ImportSession::Fate::kTaken) return;
    if (message.subscription_id != 0) session->v5 = true;
    if (!message.outgoing) return came_in(message, *session);
    if (ImportMessage* found = index_.message(message.store_id)) found->delivered = true;
}

// Whatever the answer that was sent last: the client repeats PUBLISH or PUBREL, and both find it.
void ImportIndex::References::came_in(const MosquittoClientMessage& message,
                                      const ImportSession& session) {
    const bool over = message.state == MosquittoState::kResendPubcomp;
    const bool fits = message.qos == 2 && message.packet_id != 0 && !over;
    if (!fits || !used_.use(session.number, message.packet_id)) {
        ++report_.of(ImportLeft::kOdd);
        return;
    }
    ImportMessage* found = index_.message(message.store_id);
    if (found == nullptr) {
        ++report_.of(ImportLeft::kNoMessage);
        return;
    }
    found->inbound = true;
    index_.inbound_.push_back({message.store_id, session.number, message.packet_id});
}

void ImportIndex::References::subscription(const MosquittoSubscription& subscription) {
    ImportSession* session = index_.session(subscription.client_id);
    const bool says =
        subscription.identifier != 0 || subscription.no_local || subscription.retain_as_published;
    if (session != nullptr && says) session->v5 = true;
}

void ImportIndex::References::retained(const MosquittoRetained& retained) {
    ImportMessage* found = index_.message(retained.store_id);
    if (found == nullptr) {
        ++report_.of(ImportLeft::kNoMessage);
    } else if (found->retained) {
        ++report_.of(ImportLeft::kOdd);
    } else {
        found->retained = true;
    }
}

void ImportIndex::References::finish() {
    std::stable_sort(index_.inbound_.begin(),
                     index_.inbound_.end(),
                     [](const auto& a, const auto& b) { return a.message < b.message; });
}

// --- looking up ----------------------------------------------------------------------------------

ImportMessage* ImportIndex::message(uint64_t id) {
    const auto found = std::lower_bound(
        messages_.begin(), messages_.end(), id, [](const ImportMessage& message, uint64_t wanted) {
            return message.id < wanted;
        });
    return found != messages_.end() && found->id == id ? &*found : nullptr;
}

// Mostly that of the call before.
ImportSession* ImportIndex::session(Bytes client_id) {
    const std::string_view wanted = as_text(client_id);
    if (last_session_ < sessions_.size() && id_of(sessions_[last_session_]) == wanted) {
        return &sessions_[last_session_];
    }
    const auto found = std::lower_bound(
        sessions_.begin(), sessions_.end(), wanted, [](const auto& session, std::string_view id) {
            return id_of(session) < id;
        });
    if (found == sessions_.end() || id_of(*found) != wanted) return nullptr;
    last_session_ = static_cast<size_t>(found - sessions_.begin());
    return &*found;
}

std::span<const ImportInbound> ImportIndex::inbound(uint64_t message) const {
    const auto [from, to] = std::equal_range(
        inbound_.begin(),
        inbound_.end(),
        ImportInbound{message, 0, 0},
        [](const ImportInbound& a, const ImportInbound& b) { return a.message < b.message; });
    return {from, to};
}

}  // namespace mqttd
