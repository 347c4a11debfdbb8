#include "broker/sys_slow.h"

#include <algorithm>

namespace mqttd {

namespace {

bool above_watermark(const Outflow* outflow, const BrokerOptions& options) {
    if (outflow == nullptr) return false;
    const auto above = [&](uint64_t size, uint64_t most) {
        return most != 0 && size * 1000 > most * options.queue_high_permille;
    };
    return above(outflow->queue.limited(), options.max_queued_messages) ||
           above(outflow->queue.limited_bytes(), options.max_queued_bytes);
}

// At most `most` bytes, cut between characters.
std::string_view beginning(std::string_view text, size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
        --most;
    return text.substr(0, most);
}

}  // namespace

SysSlow::SysSlow(const Links& links, const BrokerOptions& options, uint32_t now_ms) {
    uint32_t looks = kLooks;
    for (Link* link = links.front(); link != nullptr && looks > 0;
         link = Links::next(*link), --looks) {
        unsent_bytes_ += link->outbox->pending();
        Session* session = link->session.get();
        if (session == nullptr) continue;
        const Outflow* outflow = session->outflow.get();
        const uint32_t age_ms = now_ms - link->slow_since_ms;
        if (age_ms < options.slow_consumer_ms && !above_watermark(outflow, options)) continue;
        ++count_;
        const uint64_t queued = outflow != nullptr ? outflow->queue.limited_bytes() : 0;
        take({session, link->outbox->pending() + queued, age_ms});
    }
}

// Into its place among the ten with most bytes; of two with as many the one that was slow first.
void SysSlow::take(const Client& client) {
    uint32_t place = top_count_;
    while (place > 0 && top_[place - 1].bytes < client.bytes)
        --place;
    if (place == kTop) return;
    top_count_ = std::min(top_count_ + 1, kTop);
    std::copy_backward(top_ + place, top_ + top_count_ - 1, top_ + top_count_);
    top_[place] = client;
}

void SysSlow::write(SysText& out) const {
    out.add("[");
    for (uint32_t i = 0; i < top_count_; ++i) {
        const Client& client = top_[i];
        const Outflow* outflow = client.session->outflow.get();
        out.add(i == 0 ? "{\"clientid\":" : ",{\"clientid\":");
        out.json(beginning(as_text(client.session->id->text()), kIdMax));
        out.add(",\"queued\":").number(outflow != nullptr ? outflow->queue.size() : 0);
        out.add(",\"bytes\":").number(client.bytes);
        out.add(",\"inflight\":").number(outflow != nullptr ? outflow->window.live() : 0);
        out.add(",\"oldest_ms\":").number(client.age_ms);
        out.add(",\"dropped\":").number(client.session->dropped);
        out.add("}");
    }
    out.add("]");
}

}  // namespace mqttd
