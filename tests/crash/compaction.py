#!/usr/bin/env python3
"""Rewrites a large state while clients talk: what a round costs those who are served meanwhile.

    tests/crash/compaction.py [MEGABYTES [ROUNDS]]          (2048, 1; `make compaction`)

A broker with so many megabytes of retained messages gets them published anew until its journal is
rewritten ROUNDS times. A client pings all the while, every two milliseconds; another publishes at
QoS 1 with a window of one. Printed: how long PINGRESP and PUBACK took, and the turns of the loop as
`$SYS` tells them, before the rounds and during them.
"""

import multiprocessing
import select
import sys
import threading
import time

from talk import Broker, field, open_client, packet, sys_value

SIZE = 4_000  # bytes of a retained message


def publish_all(port, megabytes, begin=b"a"):
    """Every topic once, each with a new payload; returns when the broker has taken all.  In a process
    of its own, so that the askers do not wait for the interpreter."""
    filler = multiprocessing.Process(target=fill, args=(port, megabytes, begin))
    filler.start()
    filler.join()


def fill(port, megabytes, begin):
    client = open_client(port, b"filler")
    text = begin * SIZE
    gathered = b""
    for i in range(megabytes * 1_048_576 // SIZE):
        gathered += packet(0x31, field(b"state/%d/%d" % (i % 1000, i)) + text)
        if len(gathered) > 1 << 20:
            client.sendall(gathered)
            gathered = b""
    client.sendall(gathered + b"\xc0\0")
    client.recv(2)
    client.close()


class Asker(threading.Thread):
    """Sends a packet and waits for its answer, again and again; keeps the milliseconds."""

    def __init__(self, port, name, question, pause):
        super().__init__(daemon=True)
        self.client = open_client(port, name)
        self.question, self.pause = question, pause
        self.took, self.ends = [], False

    def run(self):
        while not self.ends:
            began = time.perf_counter()
            self.client.sendall(self.question)
            select.select([self.client], [], [])
            self.client.recv(100)
            self.took.append((time.perf_counter() - began) * 1000)
            time.sleep(self.pause)

    def take(self):
        took, self.took = sorted(self.took), []
        return took


def row(name, took):
    at = lambda part: took[min(int(len(took) * part), len(took) - 1)]
    print(f"  {name:28} {len(took):8} {at(.5):9.2f} {at(.99):9.2f} {at(.999):9.2f} {took[-1]:9.2f}")


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with Broker(f"memory_limit {(megabytes * 2 + 512) << 20}", "sys_interval 1") as broker:
        port = broker.port
        publish_all(port, megabytes)
        ping = Asker(port, b"ping", b"\xc0\0", 0.002)
        publish = Asker(port, b"publish", packet(0x32, field(b"live") + b"\0\1x"), 0.002)
        ping.start(), publish.start()
        print(f"{megabytes} MB of retained messages; milliseconds")
        print(f"  {'':28} {'answers':>8} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9}")
        time.sleep(3)
        row("PINGRESP, nothing else", ping.take()), row("PUBACK, nothing else", publish.take())
        before = int(sys_value(port, "persist/rounds"))
        letter, largest = 0, 0
        while int(sys_value(port, "persist/rounds")) < before + rounds and letter < 40:
            publish_all(port, megabytes // 8, b"bcdefghi"[letter % 8:letter % 8 + 1])
            letter += 1
            largest = max(largest, int(sys_value(port, "persist/bytes")))
        row("PINGRESP, all written anew", ping.take()), row("PUBACK, all written anew", publish.take())
        turns, began = [], time.time()
        while time.time() - began < 60:  # the round goes on, and then its files go
            turns.append([int(sys_value(port, f"loop/turn_us/{name}")) for name in ("p999", "max")])
            now = int(sys_value(port, "persist/bytes"))
            largest = max(largest, now)
            if now < largest * 3 // 4:
                break
        print(f"  the round took {time.time() - began:.1f} s more; "
              f"journal before {largest >> 20} MB, after {now >> 20} MB")
        time.sleep(2)
        row("PINGRESP, during the round", ping.take()), row("PUBACK, during the round", publish.take())
        print(f"  turns of the loop meanwhile: p99.9 at most {max(t[0] for t in turns) / 1000:.2f}, "
              f"longest {max(t[1] for t in turns) / 1000:.2f}")
        ping.ends = publish.ends = True


if __name__ == "__main__":
    main()
