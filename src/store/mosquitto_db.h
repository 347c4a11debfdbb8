#pragma once

// MosquittoDb: reads a mosquitto.db, the file another broker keeps its state in.
//
//     magic 15 · crc 4 (always 0) · version 4 │ chunk │ chunk │ chunk …
//                                               type 4 · length 4 · fixed part · texts
//
// Nothing but mosquitto's source describes the format, so it is only ever read.  Versions 5
// (mosquitto 1.6) and 6 (2.0, 2.1) are taken.  The fixed part of a chunk is a struct of C as it lay
// in memory (mosquitto_chunk.h has them): numbers of up to 32 bits are big-endian, those of 64 bits
// as the machine has them, and the padding is the compiler's.  So two things no header tells:
//   - The order of the 64-bit numbers.  They are counters, times, or ids made of times: small in
//     the right order and mostly huge in the other, so the first thousand chunks vote.  A file from
//     a big-endian router reads like any other.
//   - The padding.  On i386 two structs are four bytes shorter; the first chunk is one of them.
//
// mosquitto writes the configuration, all messages (the newest first), each client followed by its
// messages in the order of its queues, all subscriptions, all that is retained.  References are by
// store id; one that leads nowhere belongs to a message that had expired.  What is not in the file:
// wills, who was connected, and (2.0) shared subscriptions and retain handling.
//
// What is handed out was checked as a decoder checks a packet: texts are UTF-8 without U+0000,
// names and filters are legal, numbers within their bounds, property blocks well formed.  Limits
// with a key are the caller's to apply, and so is time: what has expired is handed out, too.
//
// Damage.  Every chunk says its length twice: in its header, and by the lengths of its texts.
// Where they disagree it is skipped, and the walk goes on where one of them leads to a chunk whose
// lengths agree; so a wrong byte behind the header of the file costs one chunk.  Where none does,
// the walk ends: to search on would be to take a payload that looks like chunks for state.
//
// The walk goes chunk by chunk (`step`), so that a large file does not stop the loop.  It allocates
// nothing; views point into the file; whoever wants a second walk makes a second MosquittoDb.

#include "mqttd/bytes.h"
#include "mqttd/packet.h"

#include <cstddef>
#include <cstdint>

namespace mqttd {

// Why a file cannot be read at all.
enum class MosquittoFileError : uint8_t {
    kNone,
    kEmpty,           // no byte: mosquitto takes it for no state
    kNotMosquitto,    // another magic
    kHeaderCut,       // it ends within its first 23 bytes
    kOldVersion,      // 2 to 4: mosquitto before 1.6; a newer one reads it and writes 6
    kUnknownVersion,  // any other
    kIdSize,          // store ids of another size than 8 bytes
    kCount,
};

// Ends the sentence that begins with the name of the file.  Static storage.
const char* mosquitto_file_error_text(MosquittoFileError error);

enum class MosquittoChunk : uint8_t {  // on disk
    kUnknown = 0,
    kConfig = 1,
    kMessage = 2,
    kClientMessage = 3,
    kRetained = 4,
    kSubscription = 5,
    kClient = 6,
    kCount,
};

// For reports, in the plural: "client messages".  Static storage.
const char* mosquitto_chunk_text(MosquittoChunk kind);

struct MosquittoConfig {
    uint64_t last_store_id = 0;
    bool shutdown = false;  // written when the broker ended; else while it was running
};

struct MosquittoMessage {
    uint64_t store_id = 0;
    int64_t expires_s = 0;  // Unix seconds; 0: never
    uint8_t qos = 0;
    bool retain = false;  // as published; MosquittoRetained says what is kept
    uint16_t source_packet_id = 0;
    uint16_t source_port = 0;  // of the listener; 0: the broker itself
    Bytes source_id;           // client id; may be empty
    Bytes source_user_name;    // may be empty
    Bytes topic_name;
    Bytes payload;
    // As in a PUBLISH, without their length.  mosquitto has taken out what is not passed on
    // (expiry, alias, subscription identifiers); that a file has them all the same is not judged
    // here.
    Bytes properties;
    PropertySet property_set;
};

// A session.
struct MosquittoClient {
    static constexpr uint32_t kNever = 0xffffffff;

    Bytes client_id;
    Bytes user_name;                 // may be empty
    int64_t expires_s = 0;           // Unix seconds; 0: nothing said
    uint32_t expiry_interval_s = 0;  // 0: ends with its connection; kNever, also that of 3.1.1
    uint16_t last_packet_id = 0;     // the last one given to a message for it
    uint16_t listener_port = 0;      // 0: unknown
};

enum class MosquittoState : uint8_t {  // of a client's message; on disk
    kPublishQos0 = 1,
    kPublishQos1 = 2,
    kWaitForPuback = 3,
    kPublishQos2 = 4,
    kWaitForPubrec = 5,
    kResendPubrel = 6,
    kWaitForPubrel = 7,
    kResendPubcomp = 8,
    kWaitForPubcomp = 9,
    kSendPubrec = 10,
    kQueued = 11,
};

// A message on its way to or from a client.  Whether QoS, state and direction suit each other is
// not judged here.
struct MosquittoClientMessage {
    Bytes client_id;
    uint64_t store_id = 0;
    uint16_t packet_id = 0;  // given already while it is queued
    uint8_t qos = 0;
    bool retain = false;
    bool dup = false;       // was sent once
    bool outgoing = false;  // to the client; else from it
    MosquittoState state = MosquittoState::kQueued;
    uint32_t subscription_id = 0;  // the first one; 0: none
    Bytes subscription_ids;        // all of them, as properties of a PUBLISH
};

struct MosquittoRetained {
    uint64_t store_id = 0;
};

struct MosquittoSubscription {
    Bytes client_id;
    Bytes topic_filter;
    uint8_t qos = 0;
    bool no_local = false;
    bool retain_as_published = false;
    uint32_t identifier = 0;  // 0: none
};

// What the file is, as far as a chunk depends on it.
struct MosquittoForm {
    uint32_t version = 0;     // 0: none was read
    bool big_endian = false;  // the 64-bit numbers
    bool packed = false;      // written on i386: no padding behind the last field
};

// Why a chunk was not taken.
enum class MosquittoDamage : uint8_t {
    kNone,
    kCut,          // the file ends within it
    kLengths,      // that of its header and those of its texts disagree
    kUnknownType,  // of a mosquitto to come, or of none
    kClientId,     // empty, or no text
    kTopic,        // no topic name, or no topic filter
    kValue,        // a number that cannot be
    kProperties,   // that no PUBLISH may carry
    kCount,
};

// Ends a sentence such as "one of the client messages, at byte 1234, ...".  Static storage.
const char* mosquitto_damage_text(MosquittoDamage damage);

// Is handed what the file holds, in its order.  Views live as long as the file's bytes.
class MosquittoVisitor {
  public:
    virtual void config(const MosquittoConfig&) {}

    virtual void message(const MosquittoMessage&) {}

    virtual void client(const MosquittoClient&) {}

    virtual void client_message(const MosquittoClientMessage&) {}

    virtual void subscription(const MosquittoSubscription&) {}

    virtual void retained(const MosquittoRetained&) {}

    // The chunk at byte `offset` of the file could not be taken.  A hostile file has one every
    // eight bytes: count them, and log the first few.
    virtual void skipped(MosquittoChunk, uint64_t /*offset*/, MosquittoDamage) {}

  protected:
    ~MosquittoVisitor() = default;
};

enum class MosquittoEnd : uint8_t {
    kNotYet,
    kWhole,  // every byte belongs to a chunk
    kCut,    // the last chunk is longer than the file
    kLost,   // behind a damaged chunk no other was found
};

struct MosquittoReport {
    struct Count {
        uint64_t taken = 0;
        uint64_t skipped = 0;
    };

    Count counts[static_cast<size_t>(MosquittoChunk::kCount)];  // by kind
    MosquittoEnd end = MosquittoEnd::kNotYet;
    uint64_t offset = 0;  // of the next chunk; at the end: of the first byte that was left

    const Count& of(MosquittoChunk kind) const { return counts[static_cast<size_t>(kind)]; }
};

struct MosquittoChunkHeader;  // mosquitto_chunk.h
struct MosquittoChunkLengths;

class MosquittoDb {
  public:
    // Reads the header and looks at up to a thousand chunks.
    explicit MosquittoDb(Bytes file);

    MosquittoFileError error() const { return error_; }

    const MosquittoForm& form() const { return form_; }

    // Takes or skips one chunk.  False: none was left, and the report says why.  Not to be called
    // where error() is one.  O(size of the chunk).
    bool step(MosquittoVisitor& visitor);

    const MosquittoReport& report() const { return report_; }

  private:
    MosquittoFileError read_header();
    bool looks_packed();
    bool looks_big_endian() const;
    bool read_header_at(uint64_t at, MosquittoChunkHeader& out) const;
    bool stands(uint64_t at) const;
    uint64_t next_chunk(const MosquittoChunkHeader& header,
                        const MosquittoChunkLengths& lengths) const;
    bool step_known(MosquittoVisitor& visitor, const MosquittoChunkHeader& header);
    bool step_unknown(MosquittoVisitor& visitor, const MosquittoChunkHeader& header);
    void skip(MosquittoVisitor& visitor, MosquittoChunk kind, MosquittoDamage why);
    bool finish(MosquittoEnd end);

    MosquittoReport::Count& count(MosquittoChunk kind) {
        return report_.counts[static_cast<size_t>(kind)];
    }

    Bytes file_;
    MosquittoForm form_;
    MosquittoReport report_;
    MosquittoFileError error_ = MosquittoFileError::kNone;
};

}  // namespace mqttd
