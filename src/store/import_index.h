#pragma once

// ImportIndex: what has to be known of a whole mosquitto.db before any of it can be written.
//
// Messages come first in the file, then who they are for; a message that is retained is written in
// another form than one that waits, and one that nobody waits for not at all. So two walks fill the
// index: `Names` finds messages and sessions, `References` who speaks of them. A third one writes
// (import.h).
//
// It costs 16 bytes per message and 64 per session; sorted arrays, so a file cannot be made for
// which looking up is slow. Texts stay in the file.

#include "store/import_report.h"
#include "store/mosquitto_db.h"

#include <cstdint>
#include <span>
#include <vector>

namespace mqttd {

// A message of the file.
struct ImportMessage {
    enum class State : uint8_t { kUnseen, kWritten, kUnused, kExpired, kTooLarge };

    uint64_t id = 0;
    uint64_t name : 56 = 0;  // kWritten: of its record
    uint64_t retained : 1 = 0;
    uint64_t delivered : 1 = 0;
    uint64_t inbound : 1 = 0;
    uint64_t state_bits : 5 = 0;

    State state() const { return static_cast<State>(state_bits); }

    void set(State state) { state_bits = static_cast<uint64_t>(state) & 31; }

    void write(uint64_t as) {
        name = as & ((uint64_t{1} << 56) - 1);
        set(State::kWritten);
    }
};

static_assert(sizeof(ImportMessage) == 16);

struct ImportSession {
    enum class Fate : uint8_t { kTaken, kEnded, kExpired };

    Bytes client_id;
    uint64_t away_since = 0;
    uint32_t expiry_s = 0;
    uint32_t number = 0;      // by which the journal knows it
    uint32_t deliveries = 0;  // given to its queue so far
    uint16_t first_id = 0;    // packet identifier of the oldest under way
    Fate fate = Fate::kTaken;
    bool v5 = false;  // something says so
};

// A QoS 2 message that came in and waits for its PUBREL.
struct ImportInbound {
    uint64_t message = 0;  // store id
    uint32_t session = 0;
    uint16_t packet_id = 0;
};

// By packet identifier the session that used it last: says whether a session used one already, as
// long as what is said of a session stands together, as it does.
class UsedIds {
  public:
    UsedIds() : last_(size_t{1} << 16) {}

    // False: it was used.
    bool use(uint32_t session, uint16_t packet_id) {
        const bool fresh = last_[packet_id] != session;
        last_[packet_id] = session;
        return fresh;
    }

  private:
    std::vector<uint32_t> last_;
};

class ImportIndex {
  public:
    static constexpr uint64_t kHeadsMost = 128;  // of a message's record, whatever its form

    // `now_s`: the wall clock; `saved_s`: when the file was written.
    ImportIndex(int64_t now_s, int64_t saved_s) : now_s_(now_s), saved_s_(saved_s) {}

    // The first walk.
    class Names final : public MosquittoVisitor {
      public:
        Names(ImportIndex& index, ImportReport& report) : index_(index), report_(report) {}

        void message(const MosquittoMessage& message) override;
        void client(const MosquittoClient& client) override;

        // The walk is through.
        void finish();

      private:
        ImportIndex& index_;
        ImportReport& report_;
    };

    // The second one.
    class References final : public MosquittoVisitor {
      public:
        References(ImportIndex& index, ImportReport& report) : index_(index), report_(report) {}

        void client_message(const MosquittoClientMessage& message) override;
        void subscription(const MosquittoSubscription& subscription) override;
        void retained(const MosquittoRetained& retained) override;
        void finish();

      private:
        void came_in(const MosquittoClientMessage& message, const ImportSession& session);

        ImportIndex& index_;
        ImportReport& report_;
        UsedIds used_;
    };

    // nullptr: the file does not hold it.
    ImportMessage* message(uint64_t id);
    ImportSession* session(Bytes client_id);

    std::vector<ImportSession>& sessions() { return sessions_; }

    // Those of one message.
    std::span<const ImportInbound> inbound(uint64_t message) const;

    uint64_t largest_body() const { return largest_body_; }

  private:
    int64_t now_s_;
    int64_t saved_s_;
    std::vector<ImportMessage> messages_;  // by id
    std::vector<ImportSession> sessions_;  // by client identifier
    std::vector<ImportInbound> inbound_;   // by message
    size_t last_session_ = 0;              // found last
    uint64_t largest_body_ = 0;            // of a message as the journal has it, at most
};

}  // namespace mqttd
