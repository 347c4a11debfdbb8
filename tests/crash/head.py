"""Changes the version in the head of a journal file, with the checksum it then needs."""

import struct

POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def set_version(path, version):
    with open(path, "r+b") as file:
        head = bytearray(file.read(64))
        assert struct.unpack_from("<I", head, 60)[0] == crc32c(head[:60]), "not a head as we know it"
        struct.pack_into("<I", head, 8, version)
        struct.pack_into("<I", head, 60, crc32c(head[:60]))
        file.seek(0)
        file.write(head)
