#pragma once

// ImportWriting: the third walk through a mosquitto.db; what it finds goes into the journal.
//
// Sessions come from the index, before all else: what is said of a session that is not there yet is
// skipped by a start. The order is that of the file from then on: messages, each with its name, and
// then those who wait for them.

#include "broker/durable_records.h"
#include "store/bulk_writer.h"
#include "store/import.h"
#include "store/import_index.h"

#include <cstdint>
#include <vector>

namespace mqttd {

class ImportWriting final : public MosquittoVisitor {
  public:
    ImportWriting(ImportIndex& index,
                  BulkWriter& writer,
                  const ImportOptions& options,
                  ImportReport& report)
        : index_(index), writer_(writer), options_(options), report_(report) {}

    void sessions();
    void message(const MosquittoMessage& message) override;
    void client_message(const MosquittoClientMessage& message) override;
    void subscription(const MosquittoSubscription& subscription) override;

  private:
    using State = ImportMessage::State;

    Position say(DurableType type, DurableBody& body) {
        return writer_.append(static_cast<RecordType>(type), body.parts());
    }

    uint64_t& left(ImportLeft why) { return report_.of(why); }

    ImportSession* session_of(Bytes client_id, uint64_t ImportGone::*kind);
    DurableMessage durable(const MosquittoMessage& message);
    bool fits(ImportMessage& entry, const MosquittoMessage& message);
    void came_in(const MosquittoMessage& message, const DurableMessage& durable, uint64_t name);
    void released(const MosquittoClientMessage& message, ImportSession& session);
    void deliver(const MosquittoClientMessage& message, ImportSession& session, uint64_t name);
    bool take_id(const MosquittoClientMessage& message, ImportSession& session);

    ImportIndex& index_;
    BulkWriter& writer_;
    const ImportOptions& options_;
    ImportReport& report_;
    UsedIds used_;
    std::vector<uint8_t> properties_;
};

}  // namespace mqttd
