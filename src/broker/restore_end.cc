// When all has been read: flows become windows and queues, times on the wall the broker's.

#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/restore.h"

#include <algorithm>

namespace mqttd {

void Restore::finish() {
    while (waiting_ > 0)
        apply_first();
    for (const auto* unknown : {&unknown_under_way_, &unknown_queued_}) {
        for (const uint64_t key : *unknown)
            report_.lost_messages += find(static_cast<uint32_t>(key >> 32)) != nullptr ? 1 : 0;
    }
    fill_windows();
    fill_queues();
    messages_.for_each([&](uint64_t, Message* kept) { core_.messages_.drop(*kept); });
    messages_.clear();
    settle_sessions();
    report_.retained = core_.retained_by_clients();
    core_.end_restore(report_.no_memory == 0);
    // Else the next start would let them begin anew to be away.
    for (const Session* session : left_)
        core_.recorder_->away(*session);
    // Their wills go out, and that is recorded again.
    for (Session* session : over_)
        core_.end_session(*session);
}

void Restore::fill_windows() {
    std::vector<Place> all;
    all.reserve(under_way_.size());
    under_way_.for_each([&](uint64_t key, const Flow& flow) { all.push_back({key, flow}); });
    under_way_.clear();
    std::sort(all.begin(), all.end(), [](const Place& a, const Place& b) { return a.key < b.key; });
    std::vector<Place> flows;
    for (size_t at = 0; at < all.size();) {
        const auto number = static_cast<uint32_t>(all[at].key >> 32);
        flows.clear();
        for (; at < all.size() && all[at].key >> 32 == number; ++at)
            flows.push_back(all[at]);
        Session* session = find(number);
        if (session != nullptr) {
            fill_window(*session, flows);
        } else {
            for (Place& place : flows)
                let_go(place.flow);
        }
    }
}

// Identifiers were given in their order, round and round: the oldest comes behind the widest gap.
void Restore::fill_window(Session& session, std::vector<Place>& flows) {
    const auto id_of = [](const Place& place) { return static_cast<uint16_t>(place.key); };
    size_t first = 0;
    uint32_t widest = 0;
    for (size_t i = 0; i < flows.size(); ++i) {
        const uint32_t before = id_of(flows[i == 0 ? flows.size() - 1 : i - 1]);
        const uint32_t gap =
            (id_of(flows[i]) + InflightWindow::kIds - before) % InflightWindow::kIds;
        const uint32_t wide = flows.size() == 1 ? InflightWindow::kIds : gap;
        if (wide > widest) {
            widest = wide;
            first = i;
        }
    }
    std::rotate(flows.begin(), flows.begin() + static_cast<ptrdiff_t>(first), flows.end());
    Outflow* outflow = core_.ensure_outflow(session);
    if (outflow != nullptr) outflow->window.begin_at(id_of(flows[0]));
    for (Place& place : flows) {
        InflightSlot* slot =
            outflow != nullptr ? outflow->window.push_at(core_.arena_, id_of(place)) : nullptr;
        if (slot == nullptr) {
            ++report_.no_memory;
            let_go(place.flow);
            continue;
        }
        const Flow& flow = place.flow;
        slot->state = flow.message == nullptr ? FlowState::kAwaitPubcomp
                      : flow.qos == 1         ? FlowState::kAwaitPuback
                                              : FlowState::kAwaitPubrec;
        slot->message = flow.message;
        slot->ids = flow.ids;
        slot->retain = flow.retain;
        slot->left = true;  // nobody knows
        if (flow.message != nullptr) outflow->bytes += flow.message->payload_size;
        ++core_.stats_.inflight_out;
        ++report_.under_way;
    }
}

// Entries and pages of each queue in the order of their deliveries.
void Restore::fill_queues() {
    std::vector<Place> all;
    all.reserve(queued_.size());
    queued_.for_each([&](uint64_t key, const Flow& flow) { all.push_back({key, flow}); });
    queued_.clear();
    std::sort(all.begin(), all.end(), [](const Place& a, const Place& b) { return a.key < b.key; });

    struct Named {
        uint64_t key;
        uint64_t name;
        const Page* page;
    };

    std::vector<Named> pages;
    pages_.for_each([&](uint64_t name, const Page& page) {
        pages.push_back({key_of(page.session, page.sum.first_delivery), name, &page});
    });
    std::sort(
        pages.begin(), pages.end(), [](const Named& a, const Named& b) { return a.key < b.key; });
    std::vector<QueuePage*> made;
    auto next = pages.begin();
    const auto push_pages_before = [&](uint64_t key) {
        for (; next != pages.end() && next->key < key; ++next) {
            QueuePage* page = push(next->name, *next->page);
            if (page != nullptr) made.push_back(page);
        }
    };
    for (Place& place : all) {
        push_pages_before(place.key);
        if (push(place)) continue;
        if (find(static_cast<uint32_t>(place.key >> 32)) != nullptr) ++report_.no_memory;
        let_go(place.flow);
    }
    push_pages_before(~uint64_t{0});
    pages_.clear();
    std::sort(made.begin(), made.end(), [](const QueuePage* a, const QueuePage* b) {
        return a->position < b->position;
    });
    for (QueuePage* page : made)
        core_.paging_->found(*page);
}

bool Restore::push(Place& place) {
    Session* session = find(static_cast<uint32_t>(place.key >> 32));
    Outflow* outflow = session != nullptr ? core_.ensure_outflow(*session) : nullptr;
    if (outflow == nullptr) return false;
    const auto delivery = static_cast<uint32_t>(place.key);
    const Flow& flow = place.flow;
    const bool pushed = outflow->queue.push(
        core_.arena_, {flow.message, flow.ids, flow.qos, flow.retain, flow.limited, 0, delivery});
    if (!pushed) return false;
    outflow->deliveries = std::max(outflow->deliveries, delivery);
    ++core_.stats_.queued;
    core_.stats_.queued_bytes += flow.message->payload_size;
    ++report_.queued;
    return true;
}

// nullptr: nobody waits for it, or the arena refused.
QueuePage* Restore::push(uint64_t name, const Page& found) {
    Session* session = find(found.session);
    if (session == nullptr) return nullptr;
    Outflow* outflow = core_.ensure_outflow(*session);
    auto* page = outflow != nullptr ? core_.arena_.make<QueuePage>(Arena::Use::kNormal) : nullptr;
    if (page != nullptr) {
        page->session = session;
        page->name = name;
        page->position = found.position;
        page->wall_ahead = core_.recorder_->wall_ahead();
        page->size = found.size;
        page->sum = found.sum;
        page->foreign = true;
        if (!outflow->queue.push_page(core_.arena_, *page)) {
            core_.arena_.destroy(page);
            page = nullptr;
        }
    }
    if (page == nullptr) {
        ++report_.no_memory;
        return nullptr;
    }
    outflow->deliveries = std::max(outflow->deliveries, found.sum.last_delivery);
    core_.stats_.queued += found.sum.count;
    core_.stats_.queued_bytes += found.sum.bytes;
    report_.queued += found.sum.count;
    return page;
}

// Times on the wall become the broker's.  Who was connected has been away since the last word.
void Restore::settle_sessions() {
    const auto wall = static_cast<uint64_t>(core_.wall_s_);
    const uint64_t last = last_seen_s_ != 0 ? std::min(last_seen_s_, wall) : wall;
    const uint32_t now_s = core_.now_s();
    std::vector<Session*> all;
    sessions_.for_each([&](uint64_t, Session* session) { all.push_back(session); });
    std::sort(all.begin(), all.end(), [](const Session* a, const Session* b) {
        return a->number < b->number;
    });
    for (Session* session : all) {
        const bool connected = session->away_since_s == 0;
        if (connected && session->expiry_s == 0) {  // was to end with its connection
            over_.push_back(session);
            continue;
        }
        const uint64_t since = connected ? last : std::min<uint64_t>(session->away_since_s, wall);
        uint64_t away = wall - since;
        if (away > now_s) {  // longer than our clock runs
            const auto more = static_cast<uint32_t>(away - now_s);
            if (session->expiry_s != kNoExpiry) {
                session->expiry_s -= std::min(session->expiry_s - 1, more);
            }
            session->will_delay_s -= std::min(session->will_delay_s, more);
            away = now_s;
        }
        session->away_since_s = now_s - static_cast<uint32_t>(away);
        if (connected) left_.push_back(session);
        core_.update_direct(*session);
        core_.arm_session(*session);
        if (session->outflow) core_.watch_queue(*session);
        report_.subscriptions += session->subscriptions;
        ++report_.sessions;
    }
    sessions_.clear();
}

}  // namespace mqttd
