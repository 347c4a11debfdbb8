#include "tools/check_records.h"

#include "base/little_endian.h"

namespace mqttd::check {

namespace {

struct TypeRow {
    uint8_t type;
    std::string_view name;
};

constexpr TypeRow kTypes[] = {
    {static_cast<uint8_t>(RecordType::kStart),         "start"       },
    {static_cast<uint8_t>(RecordType::kBatch),         "batch"       },
    {static_cast<uint8_t>(DurableType::kSession),      "session"     },
    {static_cast<uint8_t>(DurableType::kAway),         "away"        },
    {static_cast<uint8_t>(DurableType::kEnded),        "ended"       },
    {static_cast<uint8_t>(DurableType::kSubscribed),   "subscribed"  },
    {static_cast<uint8_t>(DurableType::kUnsubscribed), "unsubscribed"},
    {static_cast<uint8_t>(DurableType::kMessage),      "message"     },
    {static_cast<uint8_t>(DurableType::kDeliveries),   "deliveries"  },
    {static_cast<uint8_t>(DurableType::kSent),         "sent"        },
    {static_cast<uint8_t>(DurableType::kProgress),     "progress"    },
    {static_cast<uint8_t>(DurableType::kInbound),      "inbound"     },
    {static_cast<uint8_t>(DurableType::kReleased),     "released"    },
    {static_cast<uint8_t>(DurableType::kRetained),     "retained"    },
    {static_cast<uint8_t>(DurableType::kCleared),      "cleared"     },
    {static_cast<uint8_t>(DurableType::kClock),        "clock"       },
    {static_cast<uint8_t>(DurableType::kDropped),      "dropped"     },
    {static_cast<uint8_t>(DurableType::kGone),         "gone"        },
    {static_cast<uint8_t>(DurableType::kPage),         "page"        },
    {static_cast<uint8_t>(DurableType::kPageTaken),    "page_taken"  },
};

// Fields of one record. Each returns whether the body could be read.
class Fields {
  public:
    Fields(JsonLine& line, uint64_t payload_most) : line_(line), payload_most_(payload_most) {}

    bool all(const LogRecord& record);

  private:
    void message(const DurableMessage& message, uint64_t position);
    bool session(Bytes body);
    bool deliveries(Bytes body);
    bool page(Bytes body, uint64_t position);
    bool progress(Bytes body);
    bool subscribed(Bytes body);

    JsonLine& line_;
    uint64_t payload_most_;
};

// `position`: its name where it does not say another one; 0: it has none.
void Fields::message(const DurableMessage& message, uint64_t position) {
    if (position != 0) line_.number("name", message.name != 0 ? message.name : position);
    line_.text("topic", message.topic);
    line_.number("qos", message.qos);
    line_.truth("retain", message.retain);
    line_.number("priority", message.priority);
    if (message.expires_at != 0) line_.number("expires_at", message.expires_at);
    if (message.kept_since != 0) line_.number("kept_since", message.kept_since);
    if (!message.properties.empty()) line_.word("properties_base64", base64(message.properties));
    line_.number("payload_bytes", message.payload.size());
    if (payload_most_ > 0) line_.text("payload", shortened(message.payload, payload_most_));
}

bool Fields::session(Bytes body) {
    const auto read = decode_durable<DurableSession>(body);
    if (!read) return false;
    line_.number("session", read->number);
    line_.text("client_id", read->client_id);
    line_.number("level", read->level);
    line_.number("listener", read->listener);
    line_.number("expiry_s", read->expiry_s);
    line_.number("away_since", read->away_since);
    if (!read->has_will) return true;
    line_.open("will");
    line_.number("delay_s", read->will_delay_s);
    message(read->will, 0);
    line_.close();
    return true;
}

bool Fields::subscribed(Bytes body) {
    const auto read = decode_durable<DurableSubscription>(body);
    if (!read) return false;
    line_.number("session", read->number);
    line_.text("filter", read->filter);
    line_.number("options", read->options);
    line_.number("identifier", read->identifier);
    return true;
}

bool Fields::deliveries(Bytes body) {
    DeliveriesReader reader(body);
    line_.number("message", reader.message());
    line_.open_list("to");
    DurableDelivery read;
    while (reader.next(read)) {
        line_.open_item();
        line_.number("session", read.session);
        line_.number(read.sent ? "packet_id" : "delivery", read.number);
        line_.number("qos", read.qos);
        line_.truth("retain", read.retain);
        if (!read.limited) line_.truth("limited", false);
        if (read.id_count > 0) line_.open_list("identifiers");
        for (uint32_t i = 0; i < read.id_count; ++i)
            line_.item(read.id(i));
        if (read.id_count > 0) line_.close_list();
        line_.close();
    }
    line_.close_list();
    return !reader.damaged();
}

// Of a page its entries by their deliveries alone: they may be a thousand.
bool Fields::page(Bytes body, uint64_t position) {
    PageReader reader(body);
    const uint64_t name = reader.page().name;
    line_.number("name", name != 0 ? name : position);
    line_.number("session", reader.page().session);
    line_.open_list("deliveries");
    DurablePageEntry read;
    uint64_t payload_bytes = 0;
    while (reader.next(read)) {
        line_.item(read.delivery.number);
        payload_bytes += read.message.payload.size();
    }
    line_.close_list();
    line_.number("payload_bytes", payload_bytes);
    return !reader.damaged();
}

bool Fields::progress(Bytes body) {
    const auto read = decode_durable<DurableProgress>(body);
    if (!read) return false;
    line_.number("session", read->session);
    line_.word("state", read->state == DurableState::kDone ? "done" : "released");
    line_.open_list("packet_ids");
    for (uint32_t i = 0; i < read->id_count; ++i)
        line_.item(read->id(i));
    line_.close_list();
    return true;
}

bool Fields::all(const LogRecord& record) {
    const Bytes body = record.body;
    if (record.type == RecordType::kStart || record.type == RecordType::kBatch) {
        if (body.size() != 8) return false;
        line_.number(record.type == RecordType::kStart ? "ended" : "durable",
                     load_le<uint64_t>(body.data()));
        return true;
    }
    switch (static_cast<DurableType>(record.type)) {
        case DurableType::kSession:
            return session(body);
        case DurableType::kAway: {
            const auto read = decode_durable<DurableAway>(body);
            if (!read) return false;
            line_.number("session", read->number);
            line_.number("expiry_s", read->expiry_s);
            line_.number("since", read->since);
            return true;
        }
        case DurableType::kEnded:
            if (body.size() != 4) return false;
            line_.number("session", load_le<uint32_t>(body.data()));
            return true;
        case DurableType::kSubscribed:
            return subscribed(body);
        case DurableType::kUnsubscribed: {
            const auto read = decode_durable<DurableUnsubscription>(body);
            if (!read) return false;
            line_.number("session", read->number);
            line_.text("filter", read->filter);
            return true;
        }
        case DurableType::kMessage:
        case DurableType::kRetained: {
            const auto read = decode_durable<DurableMessage>(body);
            if (read) message(*read, record.position);
            return read.ok();
        }
        case DurableType::kDeliveries:
            return deliveries(body);
        case DurableType::kSent: {
            const auto read = decode_durable<DurableSent>(body);
            if (!read) return false;
            line_.number("session", read->session);
            line_.number("delivery", read->delivery);
            line_.number("packet_id", read->packet_id);
            return true;
        }
        case DurableType::kProgress:
            return progress(body);
        case DurableType::kInbound: {
            const auto read = decode_durable<DurableInbound>(body);
            if (!read) return false;
            line_.number("session", read->session);
            line_.number("packet_id", read->packet_id);
            if (!read->message.topic.empty()) message(read->message, record.position);
            return true;
        }
        case DurableType::kReleased: {
            const auto read = decode_durable<DurableReleased>(body);
            if (!read) return false;
            line_.number("session", read->session);
            line_.number("packet_id", read->packet_id);
            return true;
        }
        case DurableType::kCleared:
            line_.text("topic", body);
            return true;
        case DurableType::kClock: {
            const auto read = decode_durable<DurableClock>(body);
            if (!read) return false;
            line_.number("wall_s", read->wall_s);
            line_.number("boot_ms", read->boot_ms);
            return true;
        }
        case DurableType::kDropped: {
            const auto read = decode_durable<DurableDropped>(body);
            if (!read) return false;
            line_.number("session", read->session);
            line_.number("delivery", read->delivery);
            return true;
        }
        case DurableType::kGone:
            line_.open_list("messages");
            for (size_t at = 0; at + 8 <= body.size(); at += 8)
                line_.item(load_le<uint64_t>(body.data() + at));
            line_.close_list();
            return body.size() % 8 == 0;
        case DurableType::kPage:
        case DurableType::kPageTaken:
            return page(body, record.position);
    }
    return false;
}

}  // namespace

std::string_view type_name(uint8_t type) {
    for (const TypeRow& row : kTypes) {
        if (row.type == type) return row.name;
    }
    return "unknown";
}

std::string record_line(const LogRecord& record, uint64_t payload_most) {
    JsonLine line;
    const auto type = static_cast<uint8_t>(record.type);
    line.number("position", record.position);
    line.word("type", type_name(type));
    if (type_name(type) == "unknown") line.number("type_number", type);
    line.truth("joined", record.joined);
    line.number("bytes", record.body.size());
    if (!Fields(line, payload_most).all(record)) line.truth("unreadable", true);
    return line.take();
}

}  // namespace mqttd::check
