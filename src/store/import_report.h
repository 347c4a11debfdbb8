#pragma once

// What the import of a mosquitto.db came to.  Plain numbers: it lies in memory that processes
// share.

#include "store/mosquitto_db.h"

#include <cstdint>

namespace mqttd {

// Why something that the file holds undamaged was left out.
enum class ImportLeft : uint8_t {
    kExpired,    // deliveries and retained messages whose message has expired
    kTooLarge,   // the same, of a message larger than max_packet_size
    kStatus,     // retained messages below $SYS: the other broker's
    kNoMessage,  // deliveries and retained messages whose message the file does not hold
    kNoSession,  // subscriptions and messages of sessions that the file does not hold
    kOdd,        // what does not fit together: said twice, or in a state that cannot be
    kCount,
};

// Sessions that were not taken, and what went with them.
struct ImportGone {
    uint64_t sessions = 0;
    uint64_t subscriptions = 0;
    uint64_t messages = 0;
};

struct ImportReport {
    bool ran = false;  // there was a file, and no journal yet

    // Of the file.
    uint64_t bytes = 0;       // its size
    uint64_t unreadable = 0;  // of these, at its end: the disk did not give them
    MosquittoFileError file_error = MosquittoFileError::kNone;
    MosquittoEnd end = MosquittoEnd::kNotYet;
    uint64_t offset = 0;  // of the first byte that was left
    uint64_t damaged[static_cast<size_t>(MosquittoChunk::kCount)] = {};

    // Taken.
    uint64_t sessions = 0;
    uint64_t subscriptions = 0;
    uint64_t retained = 0;
    uint64_t queued = 0;
    uint64_t under_way = 0;
    uint64_t inbound = 0;  // QoS 2 messages that wait for PUBREL

    // Left out.
    ImportGone ended;    // with their connection
    ImportGone expired;  // while they were away
    uint64_t left[static_cast<size_t>(ImportLeft::kCount)] = {};

    uint64_t& of(ImportLeft why) { return left[static_cast<size_t>(why)]; }

    uint64_t of(ImportLeft why) const { return left[static_cast<size_t>(why)]; }

    uint64_t damaged_chunks() const {
        uint64_t sum = 0;
        for (const uint64_t count : damaged)
            sum += count;
        return sum;
    }
};

}  // namespace mqttd
