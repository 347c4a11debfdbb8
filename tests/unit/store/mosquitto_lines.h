#pragma once

// What a mosquitto.db says, as lines of text that a test can compare; its bytes, and files made by
// hand.

#include "store/mosquitto_db.h"
#include "unit/mqtt/wire.h"

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace mqttd::test {

// Run from the root of the checkout, as `make test` does.
inline std::vector<uint8_t> fixture(const std::string& name) {
    std::ifstream file("tests/unit/store/fixtures/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> fixture_names() {
    return {"empty.db", "retained.db", "sessions.db", "names.db", "inflight.db"};
}

inline std::string hex(Bytes bytes) {
    std::string out;
    for (const uint8_t byte : bytes) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

class Lines final : public MosquittoVisitor {
  public:
    std::vector<std::string> taken;
    std::vector<std::string> left;  // what was skipped: "clients at 47 has ..."

    void config(const MosquittoConfig& config) override {
        add() << "config last=" << config.last_store_id << (config.shutdown ? " shutdown" : "");
    }

    // Texts that a broker made up, and long ones, are left out.
    void message(const MosquittoMessage& message) override {
        auto&& line = add();
        line << "message " << message.store_id << " q" << int{message.qos};
        line << (message.retain ? " retain " : " ") << text_of(message.topic_name) << '=';
        if (message.payload.size() < 100) line << text_of(message.payload);
        if (message.payload.size() >= 100) line << message.payload.size();
        const std::string source = text_of(message.source_id);
        line << " by " << source.substr(0, source.starts_with("auto-") ? 4 : std::string::npos);
        if (!message.source_user_name.empty()) line << " as " << text_of(message.source_user_name);
        if (message.source_packet_id != 0) line << " id " << message.source_packet_id;
        line << (message.source_port == 0 ? " within" : "");
        line << (message.expires_s > 1'700'000'000 ? " expires" : "");
        if (!message.properties.empty()) line << " with " << hex(message.properties);
    }

    void client(const MosquittoClient& client) override {
        auto&& line = add();
        line << "client " << text_of(client.client_id) << " as '" << text_of(client.user_name);
        line << "' last=" << client.last_packet_id << " interval=";
        if (client.expiry_interval_s == MosquittoClient::kNever) line << "never";
        if (client.expiry_interval_s != MosquittoClient::kNever) line << client.expiry_interval_s;
        line << (client.expires_s > 1'700'000'000 ? " expires" : "");
        line << (client.listener_port == 0 ? " nowhere" : "");
    }

    void client_message(const MosquittoClientMessage& message) override {
        auto&& line = add();
        line << (message.outgoing ? "to " : "from ") << text_of(message.client_id) << ' ';
        line << message.store_id << " id " << message.packet_id << " q" << int{message.qos};
        line << " state " << int{static_cast<uint8_t>(message.state)};
        line << (message.retain ? " retain" : "") << (message.dup ? " dup" : "");
        if (message.subscription_id != 0) line << " by subscription " << message.subscription_id;
    }

    void subscription(const MosquittoSubscription& subscription) override {
        auto&& line = add();
        line << text_of(subscription.client_id) << " has " << text_of(subscription.topic_filter);
        line << " q" << int{subscription.qos} << (subscription.no_local ? " no-local" : "");
        line << (subscription.retain_as_published ? " as-published" : "");
        if (subscription.identifier != 0) line << " number " << subscription.identifier;
    }

    void retained(const MosquittoRetained& retained) override {
        add() << "retained " << retained.store_id;
    }

    void skipped(MosquittoChunk kind, uint64_t offset, MosquittoDamage why) override {
        left.push_back(mosquitto_chunk_text(kind) + std::string(" at ") + std::to_string(offset) +
                       ' ' + mosquitto_damage_text(why));
    }

  private:
    // A line that is added when it is complete.
    struct Line : std::ostringstream {
        explicit Line(std::vector<std::string>& to) : lines(to) {}

        ~Line() override { lines.push_back(str()); }

        std::vector<std::string>& lines;
    };

    Line add() { return Line(taken); }
};

struct Walk {
    Lines lines;
    MosquittoFileError error;
    MosquittoForm form;
    MosquittoReport report;

    uint64_t skipped() const { return lines.left.size(); }
};

// From a copy that ends where its memory ends.
inline Walk walk(Bytes file) {
    const Exact exact(file);
    MosquittoDb db{Bytes(exact)};
    Walk walk{{}, db.error(), db.form(), {}};
    if (walk.error == MosquittoFileError::kNone) {
        while (db.step(walk.lines)) {
        }
        walk.report = db.report();
    }
    return walk;
}

// ---- files by hand: 64-bit numbers little-endian
// -------------------------------------------------

inline Wire u64(uint64_t number) {
    Wire wire;
    for (int i = 0; i < 8; ++i)
        wire.byte(static_cast<unsigned>(number >> 8 * i & 0xff));
    return wire;
}

inline unsigned size_of(std::string_view text) {
    return static_cast<unsigned>(text.size());
}

inline Wire chunk(uint32_t type, const Wire& body) {
    return Wire().u32(type).u32(static_cast<uint32_t>(body.size())).raw(body);
}

inline Wire config_chunk(uint64_t last_store_id = 100, unsigned id_size = 8) {
    return chunk(1, Wire().raw(u64(last_store_id)).byte(1).byte(id_size).u32(0).u16(0));
}

inline Wire file_header(uint32_t version) {
    return Wire().raw(std::string_view("\0\xb5\0mosquitto db", 15)).u32(0).u32(version);
}

struct MessageBytes {
    uint64_t store_id = 7;
    uint64_t expires_s = 0;
    unsigned qos = 1;
    unsigned retain = 0;
    std::string_view source = "source";
    std::string_view user = "user";
    std::string_view topic = "a/b";
    std::string_view payload = "payload";
    Wire block = {};  // properties, with their length

    Wire chunk() const {
        const auto payload_size = static_cast<uint32_t>(payload.size());
        Wire body = u64(store_id).raw(u64(expires_s)).u32(payload_size).u16(0x0102);
        body.u16(size_of(source)).u16(size_of(user)).u16(size_of(topic)).u16(1883);
        body.byte(qos).byte(retain).raw(source).raw(user).raw(topic).raw(payload).raw(block);
        return test::chunk(2, body);
    }
};

struct ClientMessageBytes {
    uint64_t store_id = 7;
    unsigned qos = 1;
    unsigned state = 3;
    unsigned retain_dup = 0;
    unsigned direction = 1;
    std::string_view client = "client";
    Wire block = {};

    Wire chunk() const {
        Wire body = u64(store_id).u16(0x0304).u16(size_of(client)).byte(qos).byte(state);
        return test::chunk(3, body.byte(retain_dup).byte(direction).raw(client).raw(block));
    }
};

inline Wire retained_chunk(uint64_t store_id = 7) {
    return chunk(4, u64(store_id));
}

struct SubscriptionBytes {
    uint32_t identifier = 0;
    unsigned qos = 1;
    unsigned options = 0;
    std::string_view client = "client";
    std::string_view filter = "a/#";

    Wire chunk() const {
        Wire body = Wire().u32(identifier).u16(size_of(client)).u16(size_of(filter));
        return test::chunk(5, body.byte(qos).byte(options).u16(0).raw(client).raw(filter));
    }
};

struct ClientBytes {
    uint32_t version = 6;
    uint64_t expires_s = 0;
    uint32_t interval_s = 3600;
    std::string_view client = "client";
    std::string_view user = "user";
    bool packed = false;

    Wire chunk() const {
        Wire body = u64(expires_s).u32(interval_s).u16(0x0506).u16(size_of(client));
        if (version == 5) return test::chunk(6, body.raw(client));
        body.u16(1883).u16(size_of(user));
        if (!packed) body.u32(0);
        return test::chunk(6, body.raw(client).raw(user));
    }
};

}  // namespace mqttd::test
