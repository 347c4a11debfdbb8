#pragma once

// One chunk of a mosquitto.db: how long it is, and what it says.  For mosquitto_db.cc only.
//
// Fixed parts, offset:size on x86-64 (B big-endian, M the machine's order); texts follow in the
// order of their lengths, where not said otherwise:
//
//     config          0:8 last store id M · 8:1 shutdown · 9:1 size of a store id · 6 padding
//     message         0:8 store id M · 8:8 expiry M · 16:4 payload length B · 20:2 packet id B
//                     22:2 source id length B · 24:2 source user length B · 26:2 topic length B
//                     28:2 source port B · 30:1 QoS · 31:1 retain
//                     texts: source id, source user, topic name, payload, properties
//     client message  0:8 store id M · 8:2 packet id B · 10:2 client id length B · 12:1 QoS
//                     13:1 state · 14:1 retain (high nibble), DUP (low) · 15:1 direction
//                     texts: client id, properties
//     retained        0:8 store id M
//     subscription    0:4 identifier B · 4:2 client id length B · 6:2 filter length B · 8:1 QoS
//                     9:1 options · 2 padding
//     client          0:8 expiry M · 8:4 expiry interval B · 12:2 last packet id B
//                     14:2 client id length B; version 6: 16:2 port B · 18:2 user length B
//                     4 padding (none on i386)
//
// Properties are there only if there are any, and then behind their length as on the wire.

#include "mqttd/bytes.h"

#include "store/mosquitto_db.h"

#include <cstdint>

namespace mqttd {

struct MosquittoChunkHeader {
    static constexpr uint32_t kSize = 8;

    uint32_t type = 0;
    uint32_t length = 0;  // of what follows the header

    MosquittoChunk kind() const {
        constexpr auto kEnd = static_cast<uint32_t>(MosquittoChunk::kCount);
        return type < kEnd ? static_cast<MosquittoChunk>(type) : MosquittoChunk::kUnknown;
    }
};

// `at` holds at least MosquittoChunkHeader::kSize bytes.
MosquittoChunkHeader read_chunk_header(Bytes at);

// The lengths a chunk may have by what is in it: without and with properties, where it may have
// some; else both are the same.  0: the file ends too early to say.
struct MosquittoChunkLengths {
    uint64_t bare = 0;
    uint64_t full = 0;

    bool have(uint64_t length) const { return length != 0 && (length == bare || length == full); }
};

// `rest` is what follows the header, up to the end of the file.
MosquittoChunkLengths mosquitto_chunk_lengths(MosquittoChunk kind, Bytes rest, MosquittoForm form);

// Whether these bytes are properties of a PUBLISH behind their length.
bool is_property_block(Bytes bytes);

// For which order its 64-bit numbers speak: how many for big-endian, less those for little-endian.
int big_endian_votes(MosquittoChunk kind, Bytes chunk);

// Whether store ids are as large as ours.  `config` may be cut anywhere.
bool mosquitto_id_size_known(Bytes config);

// Decodes a chunk of a known kind whose lengths agree, and hands it to `visitor` if nothing is
// wrong with it.
MosquittoDamage take_chunk(MosquittoChunk kind,
                           Bytes chunk,
                           MosquittoForm form,
                           MosquittoVisitor& visitor);

}  // namespace mqttd
