#include "tools/check_records.h"

namespace mqttd::check {

namespace {

constexpr uint8_t kQos = 3;
constexpr uint8_t kNoLocal = 4;
constexpr uint8_t kRetainAsPublished = 8;

void put_message(JsonLine& line, const KeptMessage& message) {
    if (message.name != 0) line.number("name", message.name);
    line.text("topic", as_bytes(message.topic));
    line.number("message_qos", message.qos);
    line.number("priority", message.priority);
    if (message.expires_at != 0) line.number("expires_at", message.expires_at);
    line.number("properties_bytes", message.properties_bytes);
    line.number("payload_bytes", message.payload_bytes);
    if (!message.payload.empty()) line.text("payload", as_bytes(message.payload));
}

JsonLine begin_line(std::string_view kind, const KeptSession& session) {
    JsonLine line;
    line.word("kind", kind);
    line.number("session", session.number);
    line.text("client_id", as_bytes(session.client_id));
    return line;
}

std::string session_line(const KeptSession& session) {
    JsonLine line = begin_line("session", session);
    line.number("level", session.level);
    line.number("listener", session.listener);
    line.truth("connected", session.connected());
    if (!session.connected()) line.number("away_since", session.away_since);
    line.number("expiry_s", session.expiry_s);
    line.number("subscriptions", session.subscriptions.size());
    line.number("queued", session.queued.size());
    line.number("under_way", session.under_way.size());
    line.number("inbound", session.inbound.size());
    if (session.will) {
        line.open("will");
        line.number("delay_s", session.will_delay_s);
        put_message(line, *session.will);
        line.close();
    }
    return line.take();
}

void put_flow(JsonLine& line, const KeptFlow& flow) {
    line.number("qos", flow.qos);
    if (!flow.message) return;
    line.truth("retain", flow.retain);
    if (!flow.limited) line.truth("limited", false);
    if (!flow.identifiers.empty()) {
        line.open_list("identifiers");
        for (const uint32_t identifier : flow.identifiers)
            line.item(identifier);
        line.close_list();
    }
    put_message(line, *flow.message);
}

}  // namespace

void session_lines(const KeptSession& session, std::string& out) {
    out += session_line(session);
    for (const auto& [filter, subscription] : session.subscriptions) {
        JsonLine line = begin_line("subscription", session);
        line.text("filter", as_bytes(filter));
        line.number("qos", subscription.options & kQos);
        line.truth("no_local", (subscription.options & kNoLocal) != 0);
        line.truth("retain_as_published", (subscription.options & kRetainAsPublished) != 0);
        line.number("identifier", subscription.identifier);
        out += line.take();
    }
    for (const auto& [packet_id, flow] : session.under_way) {
        JsonLine line = begin_line("under_way", session);
        line.number("packet_id", packet_id);
        line.word("state", flow.message ? "sent" : "released");
        put_flow(line, flow);
        out += line.take();
    }
    for (const auto& [delivery, flow] : session.queued) {
        JsonLine line = begin_line("queued", session);
        line.number("delivery", delivery);
        put_flow(line, flow);
        out += line.take();
    }
    for (const auto& [packet_id, message] : session.inbound) {
        JsonLine line = begin_line("inbound", session);
        line.number("packet_id", packet_id);
        if (message) put_message(line, *message);
        out += line.take();
    }
    for (const auto& [delivery, name] : session.lost_queued) {
        JsonLine line = begin_line("lost", session);
        line.number("delivery", delivery);
        line.number("name", name);
        out += line.take();
    }
    for (const auto& [packet_id, name] : session.lost_under_way) {
        JsonLine line = begin_line("lost", session);
        line.number("packet_id", packet_id);
        line.number("name", name);
        out += line.take();
    }
}

std::string retained_line(const KeptMessage& message) {
    JsonLine line;
    line.word("kind", "retained");
    put_message(line, message);
    return line.take();
}

}  // namespace mqttd::check
