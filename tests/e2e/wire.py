"""A small MQTT 3.x client that shows the bytes: it sends what it is told and hides nothing.

    with Client(broker.address, "id") as client:   # CONNECT, and CONNACK 0 expected
        client.subscribe("a/#", 1)
        client.send(publish("a/b", b"x"))          # or any bytes at all
        message = client.message()                 # Message(topic, payload, qos, retain, dup, mid)

`drain` is how a test shows that something did not come: it sends PINGREQ and returns every message
that arrived before the PINGRESP, so nothing waits for a while and hopes.
"""

import collections
import itertools
import select
import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

TIMEOUT_S = 5.0

Packet = collections.namedtuple("Packet", "kind flags body")
Message = collections.namedtuple("Message", "topic payload qos retain dup mid")

_numbers = itertools.count(1)


def as_bytes(text):
    return text.encode() if isinstance(text, str) else bytes(text)


def string(text):
    data = as_bytes(text)
    return struct.pack("!H", len(data)) + data


def varint(number):
    out = bytearray()
    while True:
        out.append((number & 0x7F) | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def packet(first, body=b""):
    return bytes([first]) + varint(len(body)) + body


def connect(client_id, clean=True, keepalive=60, level=4, will=None, name=None, user=None):
    flags = 2 if clean else 0
    payload = string(client_id)
    if will:
        topic, message, qos, retain = will
        flags |= 4 | qos << 3 | (32 if retain else 0)
        payload += string(topic) + string(message)
    if user is not None:
        flags |= 128
        payload += string(user)
    name = name or ("MQIsdp" if level == 3 else "MQTT")
    return packet(
        0x10, string(name) + bytes([level, flags]) + struct.pack("!H", keepalive) + payload
    )


def publish(topic, payload=b"", qos=0, retain=False, mid=1, dup=False):
    first = 0x30 | (8 if dup else 0) | qos << 1 | int(retain)
    number = struct.pack("!H", mid) if qos else b""
    return packet(first, string(topic) + number + as_bytes(payload))


def ack(kind, mid):
    return packet(kind << 4 | (2 if kind == PUBREL else 0), struct.pack("!H", mid))


def subscribe(filters, mid=1):
    return packet(
        0x82, struct.pack("!H", mid) + b"".join(string(f) + bytes([q]) for f, q in filters)
    )


def unsubscribe(filters, mid=1):
    return packet(0xA2, struct.pack("!H", mid) + b"".join(string(f) for f in filters))


PING = packet(0xC0)
BYE = packet(0xE0)


def open_socket(address, receive_buffer=None):
    """`address` is (host, port), of either family, or the path of a Unix socket."""
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT_S)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Client:
    def __init__(self, address, client_id=None, handshake=True, receive_buffer=None, **options):
        self.id = client_id if client_id is not None else f"client-{next(_numbers)}"
        self.sock = open_socket(address, receive_buffer)
        self.data = bytearray()
        self.session_present = None
        self.early = collections.deque()  # messages that came while something else was awaited
        if handshake:
            self.send(connect(self.id, **options))
            connack = self.expect(CONNACK)
            if connack.body[1] != 0:
                raise AssertionError(f"CONNECT of {self.id!r} refused with code {connack.body[1]}")
            self.session_present = bool(connack.body[0] & 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if hasattr(self, "sock"):
            self.sock.close()

    # ---- Bytes ----

    def send(self, data):
        self.sock.sendall(data)
        return self

    def close(self):
        """Closes without DISCONNECT."""
        self.sock.close()

    def reset(self):
        """Closes so that the broker gets a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def disconnect(self):
        """Says DISCONNECT and waits for the broker to close, so that it has happened."""
        self.send(BYE)
        closed = self.closed()
        self.sock.close()
        return closed

    def closed(self, timeout=TIMEOUT_S):
        """True if the broker closes within `timeout`; what it sends before is dropped."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                if not self.sock.recv(65536):
                    return True
            except socket.timeout:
                return False
            except OSError:
                return True
        return False

    def readable(self, timeout):
        return bool(self.data) or bool(select.select([self.sock], [], [], timeout)[0])

    def packet(self, timeout=TIMEOUT_S):
        """The next packet, or None where the broker closed."""
        deadline = time.monotonic() + timeout
        while (found := self._whole_packet()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.id}: no packet within {timeout} s")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 20)
            except socket.timeout:
                continue
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.data += data
        return found

    def _whole_packet(self):
        length = 0
        for used in range(1, min(len(self.data), 5)):
            byte = self.data[used]
            length |= (byte & 0x7F) << 7 * (used - 1)
            if byte < 0x80:
                end = used + 1 + length
                if len(self.data) < end:
                    return None
                first, body = self.data[0], bytes(self.data[used + 1 : end])
                del self.data[:end]
                return Packet(first >> 4, first & 15, body)
        return None

    # ---- Packets ----

    def expect(self, kind, timeout=TIMEOUT_S):
        """The next packet of this kind; messages that come before it are kept for `message`."""
        while True:
            got = self.packet(timeout)
            if got is None:
                raise AssertionError(f"{self.id}: closed, where packet type {kind} was expected")
            if got.kind == kind:
                return got
            if got.kind != PUBLISH:
                raise AssertionError(f"{self.id}: {got}, where packet type {kind} was expected")
            self.early.append(got)

    def subscribe(self, filters, qos=0):
        """One filter, or a list of (filter, qos).  Returns the codes of the SUBACK."""
        filters = [(filters, qos)] if isinstance(filters, (str, bytes)) else filters
        self.send(subscribe(filters))
        return list(self.expect(SUBACK).body[2:])

    def publish(self, topic, payload=b"", qos=0, retain=False, mid=1):
        """Publishes and goes through the whole handshake of its QoS."""
        self.send(publish(topic, payload, qos, retain, mid))
        if qos == 1:
            self.expect(PUBACK)
        elif qos == 2:
            self.expect(PUBREC)
            self.send(ack(PUBREL, mid))
            self.expect(PUBCOMP)
        return self

    def message(self, timeout=TIMEOUT_S, acknowledge=True):
        """The next PUBLISH, acknowledged to the end."""
        got = self.early.popleft() if self.early else self.expect(PUBLISH, timeout)
        found = parse_publish(got)
        if acknowledge and found.qos == 1:
            self.send(ack(PUBACK, found.mid))
        elif acknowledge and found.qos == 2:
            self.send(ack(PUBREC, found.mid))
            self.expect(PUBREL)
            self.send(ack(PUBCOMP, found.mid))
        return found

    def messages(self, count, timeout=TIMEOUT_S):
        return [self.message(timeout) for _ in range(count)]

    def drain(self, timeout=TIMEOUT_S, acknowledge=True):
        """Every message that comes before the answer to a ping sent now."""
        self.send(PING)
        found = []
        while True:
            got = self.early.popleft() if self.early else self.packet(timeout)
            if got is None:
                raise AssertionError(f"{self.id}: closed while draining")
            if got.kind == PINGRESP:
                return found
            if got.kind == PUBLISH:
                found.append(parse_publish(got))
                if acknowledge and found[-1].qos:
                    self.send(ack(PUBACK if found[-1].qos == 1 else PUBREC, found[-1].mid))
            elif got.kind == PUBREL:
                self.send(ack(PUBCOMP, struct.unpack("!H", got.body)[0]))

    def settle(self):
        """Every message until nothing comes any more: retained ones may be handed out in slices."""
        found, empty = [], 0
        while empty < 3:
            fresh = self.drain()
            found += fresh
            empty = 0 if fresh else empty + 1
            time.sleep(0 if fresh else 0.01)
        return found

    def alive(self):
        """True if the broker still answers this client."""
        try:
            self.drain()
            return True
        except (AssertionError, OSError):
            return False


def parse_publish(got):
    size = struct.unpack_from("!H", got.body)[0]
    topic, rest = got.body[2 : 2 + size], got.body[2 + size :]
    qos = got.flags >> 1 & 3
    mid = struct.unpack_from("!H", rest)[0] if qos else 0
    return Message(
        topic.decode(errors="replace"),
        rest[2:] if qos else rest,
        qos,
        bool(got.flags & 1),
        bool(got.flags & 8),
        mid,
    )
