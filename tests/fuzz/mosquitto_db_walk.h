#pragma once

// Walks hostile bytes as a mosquitto.db, and checks what must hold whatever they are: nothing is
// read or pointed to outside the file, what is handed out keeps its promises, and the walk ends.
// Shared by the fuzzer and the unit tests.

#include "mqttd/topic.h"

#include "fuzz/decode_all.h"
#include "store/mosquitto_db.h"

#include <cstring>
#include <memory>

namespace mqttd::fuzz {

class PromiseKeeper final : public MosquittoVisitor {
  public:
    PromiseKeeper(Bytes file, const MosquittoDb& db) : file_(file), db_(db) {}

    uint64_t taken() const { return taken_; }

    uint64_t left() const { return left_; }

    void config(const MosquittoConfig&) override { ++taken_; }

    void message(const MosquittoMessage& message) override {
        ++taken_;
        must(topic_name_check(message.topic_name) == Error::kNone);
        must(utf8_valid(message.source_id) && utf8_valid(message.source_user_name));
        must(message.qos <= 2 && message.expires_s >= 0);
        for (const Bytes part : {message.topic_name, message.payload, message.source_id})
            must_lie_in(part, file_);
        must_lie_in(message.source_user_name, file_);
        walk_properties(message.properties, message.property_set, file_);
    }

    void client(const MosquittoClient& client) override {
        ++taken_;
        must_be_id(client.client_id);
        must_lie_in(client.user_name, file_);
        must(utf8_valid(client.user_name) && client.expires_s >= 0);
    }

    void client_message(const MosquittoClientMessage& message) override {
        ++taken_;
        must_be_id(message.client_id);
        must(message.qos <= 2);
        must(message.state >= MosquittoState::kPublishQos0);
        must(message.state <= MosquittoState::kQueued);
        PropertySet set;
        if (message.subscription_id != 0) {
            set.bits = PropertySet::bit(Property::kSubscriptionIdentifier);
        }
        walk_properties(message.subscription_ids, set, file_);
    }

    void subscription(const MosquittoSubscription& subscription) override {
        ++taken_;
        must_be_id(subscription.client_id);
        must_lie_in(subscription.topic_filter, file_);
        must(topic_filter_check(subscription.topic_filter) == Error::kNone);
        must(subscription.qos <= 2 && subscription.identifier <= kVarintMax);
    }

    void retained(const MosquittoRetained&) override { ++taken_; }

    void skipped(MosquittoChunk kind, uint64_t offset, MosquittoDamage why) override {
        ++left_;
        must(kind < MosquittoChunk::kCount && why < MosquittoDamage::kCount);
        must(why != MosquittoDamage::kNone && mosquitto_damage_text(why) != nullptr);
        must(offset == db_.report().offset && offset < file_.size());
    }

  private:
    void must_be_id(Bytes client_id) const {
        must_lie_in(client_id, file_);
        must(!client_id.empty() && utf8_valid(client_id));
    }

    Bytes file_;
    const MosquittoDb& db_;
    uint64_t taken_ = 0;
    uint64_t left_ = 0;
};

inline void walk_mosquitto_db(Bytes input) {
    // An own copy: a sanitizer then sees a look past its end.
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[input.size()]);
    if (!input.empty()) std::memcpy(copy.get(), input.data(), input.size());
    const Bytes file(copy.get(), input.size());

    MosquittoDb db(file);
    must(mosquitto_file_error_text(db.error()) != nullptr);
    if (db.error() != MosquittoFileError::kNone) return;
    PromiseKeeper keeper(file, db);
    uint64_t before = db.report().offset;
    while (db.step(keeper)) {
        must(db.report().offset >= before + 8);
        before = db.report().offset;
    }
    must(!db.step(keeper));
    const MosquittoReport& report = db.report();
    must(report.end != MosquittoEnd::kNotYet && report.offset == before);
    must((report.end == MosquittoEnd::kWhole) == (report.offset == file.size()));
    uint64_t taken = 0;
    uint64_t skipped = 0;
    for (const MosquittoReport::Count& count : report.counts) {
        taken += count.taken;
        skipped += count.skipped;
    }
    must(taken == keeper.taken() && skipped == keeper.left());
}

}  // namespace mqttd::fuzz
