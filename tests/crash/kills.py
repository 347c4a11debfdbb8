#!/usr/bin/python3
"""Kills broker, scribe, keeper or all of them at random under load, and counts what was promised.

    tests/crash/kills.py [KILLS [SEED [pages]]]     `make crash` runs it, after the simulated power cuts

Two publishers (QoS 1, QoS 2; windows of 20, sessions that stay) number their messages and know what
was acknowledged. One subscriber with a session that stays comes and goes. They are MQTT clients as
the standard wants them: after a reconnect they repeat what is open, with DUP, in order. In the end
the subscriber has to have all that was acknowledged, QoS 2 exactly once, each in its order.

With `pages` messages are large, the subscriber stays away for long, and memory is short: most of
what waits lies in the journal alone, and kills meet pages on their way out and in.
"""

import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE_S = 20
WINDOW = 20
BACKLOG = 500  # messages the subscriber may be behind
PAGES_BACKLOG = 10_000
PAGES_BYTES = 4_000  # of each message, at least
PAGES_MEMORY = 32 << 20


def field(text):
    return len(text).to_bytes(2, "big") + text


def packet(first, body):
    size = len(body)
    head = bytes([first])
    while True:
        size, digit = size >> 7, size & 127
        head += bytes([digit | (128 if size else 0)])
        if not size:
            return head + body


class Client:
    """A connection to the broker, and what of its session is the client's."""

    def __init__(self, name, port):
        self.name, self.port = name, port
        self.socket = None
        self.greeted = False
        self.buffer = b""

    def connect(self):
        self.drop()
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send(packet(0x10, field(b"MQTT") + b"\x04\x00\x00\x00" + field(self.name.encode())))

    def drop(self):
        if self.socket:
            self.socket.close()
        self.socket, self.greeted, self.buffer = None, False, b""

    def send(self, data):
        try:
            if self.socket:
                self.socket.sendall(data)
        except OSError:
            self.drop()

    def read(self):
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        self.buffer += data
        while self.socket:
            size, at, shift = 0, 1, 0
            while True:
                if at >= len(self.buffer):
                    return
                size |= (self.buffer[at] & 127) << shift
                shift += 7
                at += 1
                if not self.buffer[at - 1] & 128:
                    break
            if len(self.buffer) < at + size:
                return
            first, body = self.buffer[0], self.buffer[at : at + size]
            self.buffer = self.buffer[at + size :]
            if first >> 4 == 2:
                if body[1] != 0:  # busy: later again
                    self.drop()
                    return
                self.greeted = True
                self.begin(bool(body[0]))
            else:
                self.take(first, body)


class Publisher(Client):
    def __init__(self, qos, port):
        super().__init__(f"publisher{qos}", port)
        self.qos = qos
        self.topic = b"t/%d" % qos
        self.next = 1
        self.next_id = 1
        self.open = {}  # packet id -> [number, released]; in order
        self.acked = 0
        self.lost_session = 0
        self.backlog, self.padding = BACKLOG, b""

    def publish(self, packet_id, number, dup=0):
        body = field(self.topic) + packet_id.to_bytes(2, "big") + b"%d" % number + self.padding
        return packet(0x30 | self.qos << 1 | dup << 3, body)

    def begin(self, present):
        if not present and self.acked:
            self.lost_session += 1
        data = b""
        for packet_id, (number, released) in self.open.items():
            if released:
                data += packet(0x62, packet_id.to_bytes(2, "big"))
            else:
                data += self.publish(packet_id, number, 1)
        self.send(data)

    def fill(self, seen):
        data = b""
        while self.greeted and len(self.open) < WINDOW and self.next - seen < self.backlog:
            while self.next_id in self.open:
                self.next_id = self.next_id % 65535 + 1
            self.open[self.next_id] = [self.next, False]
            data += self.publish(self.next_id, self.next)
            self.next += 1
            self.next_id = self.next_id % 65535 + 1
        if data:
            self.send(data)

    def take(self, first, body):
        packet_id = int.from_bytes(body[:2], "big")
        kind = first >> 4
        if packet_id not in self.open:
            return
        if kind == 5:
            self.open[packet_id][1] = True
            self.send(packet(0x62, body[:2]))
        elif kind in (4, 7):
            number = self.open.pop(packet_id)[0]
            self.acked = max(self.acked, number)


class Subscriber(Client):
    def __init__(self, port):
        super().__init__("subscriber", port)
        self.seen = {1: [], 2: []}
        self.waiting = set()  # QoS 2 identifiers between PUBLISH and PUBREL
        self.lost_session = 0
        self.subscribed = False

    def begin(self, present):
        if self.subscribed and not present:
            self.lost_session += 1
        if not present:
            self.waiting.clear()
            self.send(packet(0x82, b"\0\1" + field(b"t/#") + b"\2"))

    def take(self, first, body):
        kind = first >> 4
        if kind == 9:
            self.subscribed = True
        elif kind == 6:
            self.waiting.discard(bytes(body[:2]))
            self.send(packet(0x70, body[:2]))
        elif kind == 3:
            size = int.from_bytes(body[:2], "big")
            qos = first >> 1 & 3
            packet_id, payload = bytes(body[2 + size : 4 + size]), body[4 + size :]
            if qos == 1 or packet_id not in self.waiting:
                self.seen[qos].append(int(payload.split(b" ", 1)[0]))
            if qos == 2:
                self.waiting.add(packet_id)
            self.send(packet(0x40 if qos == 1 else 0x50, packet_id))


class Broker:
    def __init__(self, folder, settings=""):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.config = os.path.join(folder, "mqttd.conf")
        self.log = os.path.join(folder, "log")
        user = "user root\n" if os.geteuid() == 0 else ""
        with open(self.config, "w", encoding="ascii") as file:
            file.write(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{user}"
                f"persistence true\npersistence_location {folder}\n"
                "max_queued_messages 0\nconnection_messages false\nmax_awaiting_rel 1000\n"
                + settings
            )
        self.process = None

    def start(self):
        binary = os.environ.get("MQTTD_BIN") or os.path.join(ROOT, "mqttd")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([binary, "-c", self.config], stdout=log, stderr=log)

    def pages(self):
        """Pages in the journal now: of all that were written, and of those that were taken back."""
        binary = os.environ.get("MQTTCHECK_BIN") or os.path.join(ROOT, "mqttcheck")
        text = subprocess.run([binary, self.folder], capture_output=True, text=True, check=False).stdout
        counts = [re.search(name + r" ([\d ]+)", text) for name in (r"\bpage", "page_taken")]
        return [int(c.group(1).replace(" ", "")) if c else 0 for c in counts]

    def helpers(self):
        """Process numbers of scribe and keeper that are there now."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii") as file:
                    text = file.read()
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    mine = self.config.encode() in file.read()
            except OSError:
                continue
            name, state = text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()[0]
            if mine and state != "Z" and name in ("mqttd-scribe", "mqttd-keeper"):
                found.setdefault(name.partition("-")[2], []).append(int(entry))
        return found

    def kill(self, what):
        helpers = self.helpers()
        pids = []
        if what in ("broker", "all"):
            pids.append(self.process.pid)
        for name in ("scribe", "keeper"):
            if what in (name, "all"):
                pids += helpers.get(name, [])
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process.pid in pids:
            self.process.wait()


class Run:
    def __init__(self, kills, seed, pages=False):
        self.dice = random.Random(seed)
        self.kills = kills
        self.pages = pages
        self.seen_pages = [0, 0]  # at most, at a time
        self.count = dict.fromkeys(("broker", "scribe", "keeper", "all"), 0)

    def play(self, folder):
        broker = Broker(folder, f"memory_limit {PAGES_MEMORY}\n" if self.pages else "")
        publishers = [Publisher(1, broker.port), Publisher(2, broker.port)]
        if self.pages:
            for publisher in publishers:
                publisher.backlog, publisher.padding = PAGES_BACKLOG, b" " * PAGES_BYTES
        subscriber = self.subscriber = Subscriber(broker.port)
        everybody = [*publishers, subscriber]
        broker.start()
        self.work(everybody, lambda: subscriber.subscribed, publish=False)
        for i in range(self.kills):
            acked = [p.acked for p in publishers]
            # Something has to get through between two kills, and then some more.
            self.work(everybody, lambda: all(p.acked > a for p, a in zip(publishers, acked)))
            away = i // 25 % 2 == 0 if self.pages else self.dice.random() < 0.3
            drains = self.pages and not away
            end = time.monotonic() + self.dice.random() * (0.12 if drains else 0.06)
            if away:
                subscriber.drop()
            self.work(everybody, lambda: time.monotonic() > end, publish=not drains,
                      absent=subscriber if away else None)
            if self.pages and i % 5 == 4:
                self.seen_pages = [max(p) for p in zip(self.seen_pages, broker.pages())]
            what = self.dice.choice(list(self.count))
            self.count[what] += 1
            broker.kill(what)
            if what in ("broker", "all"):
                for each in everybody:
                    each.drop()
                time.sleep(self.dice.choice([0, 0, 0.005, 0.05]))
                broker.start()
            if sys.stderr.isatty() and i % 10 == 9:
                print(f"\r{i + 1} kills", end="", file=sys.stderr)
        # What is open is finished, then everything has to come.
        self.work(everybody, lambda: not any(p.open for p in publishers), publish=False)
        last = {p.qos: p.next - 1 for p in publishers}
        self.work(
            everybody,
            lambda: all(s and s[-1] == last[q] for q, s in subscriber.seen.items())
            and not subscriber.waiting
            and all(each.greeted for each in everybody),  # by the last broker, which may just begin
            publish=False,
            patience=60,
        )
        for each in everybody:
            each.drop()
        broker.process.terminate()
        ended = broker.process.wait(PATIENCE_S)
        return self.judge(publishers, subscriber, ended)

    def work(self, everybody, done, publish=True, absent=None, patience=PATIENCE_S):
        until = time.monotonic() + patience
        while not done():
            if time.monotonic() > until:
                state = [(c.name, c.greeted, len(getattr(c, "open", ()))) for c in everybody]
                raise AssertionError(f"nothing moved for {patience} s: {state}")
            for each in everybody:
                if each.socket is None and each is not absent:
                    try:
                        each.connect()
                    except OSError:
                        each.drop()
                        time.sleep(0.002)
                if publish and isinstance(each, Publisher):
                    each.fill(len(self.subscriber.seen[each.qos]))
            sockets = {each.socket: each for each in everybody if each.socket}
            for readable in select.select(list(sockets), [], [], 0.01)[0]:
                if sockets[readable].socket is readable:
                    sockets[readable].read()

    def judge(self, publishers, subscriber, ended):
        missing = doubled = disordered = 0
        for publisher in publishers:
            seen = subscriber.seen[publisher.qos]
            missing += publisher.next - 1 - len(set(seen))
            if publisher.qos == 2:
                doubled += len(seen) - len(set(seen))
            first = list(dict.fromkeys(seen))
            disordered += sum(1 for a, b in zip(first, first[1:]) if b < a)
        lost = subscriber.lost_session + sum(p.lost_session for p in publishers)
        acked = sum(p.next - 1 for p in publishers)
        kills = ", ".join(f"{n} {what}" for what, n in self.count.items())
        print(
            f"{self.kills} kills ({kills}), {acked} messages acknowledged: {missing} missing, "
            f"{doubled} doubled at QoS 2, {disordered} out of order, {lost} sessions lost"
        )
        if self.pages:
            print(f"pages in the journal: up to {self.seen_pages[0]} written, {self.seen_pages[1]} taken back")
        if self.pages and self.kills >= 60 and 0 in self.seen_pages:
            print("no pages: memory was never short")
            return False
        if ended:
            print(f"at the end the broker did not end well: {ended}")
        return not (missing or doubled or disordered or lost or ended)


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory(prefix="mqttd-kills-") as folder:
        run = Run(kills, seed, "pages" in sys.argv[3:])
        try:
            fine = run.play(folder)
        except AssertionError as error:
            print(f"seed {seed}: {error}; so far {run.count}")
            fine = False
        if not fine:
            with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
                print("".join(log.readlines()[-30:]))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
