#!/usr/bin/env python3
"""Starts the broker on a large journal: how long until the first CONNACK.

    tests/crash/start.py [STARTS [STATE...]]       (5, all of them; `make start`)

    million   100 000 sessions of ten subscriptions each, a million retained messages, a million
              queued ones (half of them in one session, five for each of the others)
    backlog   445 MB: 6 000 sessions, QoS 2, with what waits for them in messages of 256 bytes
    retained  445 MB of retained messages of 16 KiB

Each state is made once, by clients, with `sync none`. Then the broker is stopped, started and asked
STARTS times; a client that is told that the broker is busy tries again after a millisecond. Printed:
wall time from the start of the process to the CONNACK, and the processor time of broker and helpers
up to then.
"""

import glob
import os
import socket
import statistics
import sys
import threading
import time

from talk import Broker, connect_packet, field, open_client, packet, sys_value

MEGABYTES = 445
TICKS = os.sysconf("SC_CLK_TCK")


def pipelined(port, name, packets, answer_bytes):
    """Sends all packets over one connection and reads so many bytes of answers to each."""
    client = open_client(port, name)
    sent = 0

    def read():
        got = 0
        while True:
            data = client.recv(1 << 16)
            if not data:
                return
            got += len(data)
            if ended.is_set() and got >= answer_bytes * sent + 2:
                return

    ended = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    gathered = []
    size = 0
    for each in packets:
        sent += 1
        gathered.append(each)
        size += len(each)
        if size > 1 << 18:
            client.sendall(b"".join(gathered))
            gathered, size = [], 0
    ended.set()
    client.sendall(b"".join(gathered) + b"\xc0\0")
    reader.join()
    client.close()


def sessions(port, count, name, filters, qos):
    """Durable sessions that subscribe and leave; a hundred connections at a time."""
    for begin in range(0, count, 100):
        clients = []
        for i in range(begin, min(begin + 100, count)):
            client = socket.create_connection(("127.0.0.1", port))
            body = b"".join(field(text) + bytes([qos]) for text in filters(i))
            client.sendall(connect_packet(name % i, clean=False) + packet(0x82, b"\0\1" + body) +
                           b"\xe0\0")
            clients.append(client)
        for client in clients:
            while client.recv(1_000):
                pass
            client.close()


def counted(count, topic, payload):
    for i in range(count):
        yield packet(0x32, field(topic(i)) + (i % 65_535 + 1).to_bytes(2, "big") + payload)


def make_million(port):
    sessions(port, 100_000, b"session-%d",
             lambda i: [b"all"] + [b"site/%d/%d" % (i, k) for k in range(9)], 1)
    sessions(port, 1, b"behind-%d", lambda i: [b"queue/#"], 1)
    retained = (packet(0x31, field(b"state/%d/%d" % (i % 1_000, i)) + b"x" * 60)
                for i in range(1_000_000))
    pipelined(port, b"filler", retained, 0)
    pipelined(port, b"filler", counted(500_000, lambda i: b"queue/x", b"x" * 64), 4)
    pipelined(port, b"filler", counted(5, lambda i: b"all", b"x" * 64), 4)


def make_backlog(port):
    sessions(port, 6_000, b"device-%d", lambda i: [b"to/%d" % i], 2)
    payload = b"x" * 256
    done = 0
    while done < 2_000 and int(sys_value(port, "persist/bytes")) < MEGABYTES << 20:
        pipelined(port, b"filler", counted(60_000, lambda i: b"to/%d" % (i % 6_000), payload), 4)
        done += 10
        time.sleep(1.1)


def make_retained(port):
    payload = b"x" * 16_384
    count = (MEGABYTES << 20) // (len(payload) + 100)
    packets = (packet(0x31, field(b"state/%d" % i) + payload) for i in range(count))
    pipelined(port, b"filler", packets, 0)


STATES = {"million": make_million, "backlog": make_backlog, "retained": make_retained}


def processor_seconds(pid):
    """Of the process and those it made."""
    total = 0
    pids = [pid]
    for found in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(found, encoding="utf-8") as file:
                fields = file.read().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) in pids or int(found.split("/")[2]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def first_connack(port):
    """Returns when somebody is greeted."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(connect_packet(b"first"))
                answer = client.recv(4)
                if len(answer) == 4 and answer[3] == 0:
                    return
        except OSError:
            pass
        time.sleep(0.001)


def journal_bytes(broker):
    files = glob.glob(os.path.join(broker.folder, "mqttd.journal", "*"))
    return sum(os.path.getsize(path) for path in files)


def main():
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in sys.argv[2:] or STATES:
        with Broker("sync none", "max_queued_messages 0", "max_inflight_messages 1000",
                    "sys_interval 1") as broker:
            STATES[name](broker.port)
            took, used = [], []
            for _ in range(starts):
                broker.stop()
                began = time.monotonic()
                broker.start()
                first_connack(broker.port)
                took.append(time.monotonic() - began)
                used.append(processor_seconds(broker.process.pid))
            line = [line for line in broker.log().splitlines() if " read in " in line][-1]
            print(f"{name}: {journal_bytes(broker) >> 20} MB of files; {line.split(': ', 2)[-1]}")
            each = " ".join(f"{seconds:.2f}" for seconds in took)
            print(f"  first CONNACK after {statistics.median(took):.2f} s at the median ({each}), "
                  f"{statistics.median(used):.2f} s of processor", flush=True)


if __name__ == "__main__":
    main()
