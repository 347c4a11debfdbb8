"""Writes a mosquitto.db (version 6, as x86-64 has it) of any size, faster than a mosquitto would.

    tests/e2e/mosquitto_file.py FILE [SESSIONS [MESSAGES [PAYLOAD]]]

Each of SESSIONS durable sessions `s<n>` has one subscription `q/<n>/#` and MESSAGES messages of QoS 1
in its queue; as many messages again are retained, below `r/`.
"""

import struct
import sys

HEADER = b"\0\xb5\0mosquitto db" + struct.pack(">II", 0, 6)
CONFIG, MESSAGE, CLIENT_MESSAGE, RETAINED, SUBSCRIPTION, CLIENT = range(1, 7)
NEVER = 0xFFFFFFFF
QUEUED = 11


def chunk(kind, fixed, *texts):
    body = fixed + b"".join(texts)
    return struct.pack(">II", kind, len(body)) + body


def config(last_id):
    return chunk(CONFIG, struct.pack("<QBB6x", last_id, 1, 8))


def message(store_id, topic, payload, qos=1, retain=0, expires=0, source=b"source"):
    fixed = struct.pack("<QQ", store_id, expires) + struct.pack(
        ">IHHHHHBB", len(payload), 0, len(source), 0, len(topic), 1883, qos, retain
    )
    return chunk(MESSAGE, fixed, source, topic, payload)


def client(client_id, interval=NEVER, expires=0):
    fixed = struct.pack("<Q", expires) + struct.pack(">IHHHH4x", interval, 0, len(client_id), 1883, 0)
    return chunk(CLIENT, fixed, client_id)


def client_message(client_id, store_id, packet_id, qos=1, state=QUEUED, dup=0, outgoing=1):
    fixed = struct.pack("<Q", store_id) + struct.pack(
        ">HHBBBB", packet_id, len(client_id), qos, state, dup, outgoing
    )
    return chunk(CLIENT_MESSAGE, fixed, client_id)


def subscription(client_id, topic_filter, qos=1):
    fixed = struct.pack(">IHHBB2x", 0, len(client_id), len(topic_filter), qos, 0)
    return chunk(SUBSCRIPTION, fixed, client_id, topic_filter)


def retained(store_id):
    return chunk(RETAINED, struct.pack("<Q", store_id))


def write(file, sessions, messages, payload_size):
    count = sessions * messages
    file.write(HEADER + config(2 * count))
    payload = b"p" * payload_size
    for store_id in range(2 * count, count, -1):
        file.write(message(store_id, b"r/%d" % store_id, payload, retain=1))
    for store_id in range(count, 0, -1):
        number = (store_id - 1) // messages
        file.write(message(store_id, b"q/%d/x" % number, b"%d " % store_id + payload))
    for number in range(sessions):
        name = b"s%d" % number
        file.write(client(name))
        first = number * messages + 1
        for place in range(messages):
            file.write(client_message(name, first + place, place % 65535 + 1))
    for number in range(sessions):
        file.write(subscription(b"s%d" % number, b"q/%d/#" % number))
    for store_id in range(count + 1, 2 * count + 1):
        file.write(retained(store_id))


if __name__ == "__main__":
    sizes = [int(word) for word in sys.argv[2:]] + [1000, 500, 200][len(sys.argv) - 2 :]
    with open(sys.argv[1], "wb") as out:
        write(out, *sizes)
