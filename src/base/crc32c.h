#pragma once

// CRC-32C (Castagnoli, reflected): the checksum of iSCSI, ext4 and our journal.
//
// x86-64 has an instruction for it, which is used where the processor has it; else eight tables of
// 1 KiB, eight bytes a step. Both give the same number, so a journal can move between machines.

#include "mqttd/bytes.h"

#include <cstdint>

namespace mqttd {

// The checksum of `bytes` behind those whose checksum `before` is (0: none).
uint32_t crc32c(uint32_t before, Bytes bytes);

// The same by tables: what other processors use.
uint32_t crc32c_by_tables(uint32_t before, Bytes bytes);

}  // namespace mqttd
