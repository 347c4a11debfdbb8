"""Hostile input: whatever comes, only its sender is closed, the broker lives, and its memory does
not grow."""

import os
import random
import struct
import unittest

from support import Broker
from wire import CONNACK, PING, Client, connect, packet, publish, string, subscribe

SEED = int(os.environ.get("MQTTD_TEST_SEED", "20261122"))
MIB = 1 << 20


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"seed {SEED}", flush=True)
        cls.random = random.Random(SEED)
        cls.broker = Broker({"connection_messages": "false", "max_packet_size": 100_000}).start()
        cls.witness = Client(cls.broker.address, "witness", keepalive=0)
        cls.witness.subscribe("witness/#", 1)
        cls.attack_once()
        cls.before = cls.broker.rss()

    @classmethod
    def tearDownClass(cls):
        cls.witness.close()
        cls.broker.stop()

    @classmethod
    def attack_once(cls):
        """Every kind of attack of this file a few times, so that pools have their working size."""
        for _ in range(20):
            with Client(cls.broker.address) as client:
                client.send(publish("warm", b"x" * 90_000)).alive()

    def tearDown(self):
        """After each attack the bystander still gets its messages, at the same connection."""
        with Client(self.broker.address) as writer:
            writer.publish("witness/still", b"here", 1)
        self.assertEqual(self.witness.message().payload, b"here")
        self.assertTrue(self.witness.alive())
        self.assertLess(self.broker.rss() - self.before, 2 * MIB, "memory has grown")

    def throw(self, data, first_connect=False):
        """Sends bytes on a connection of their own and closes it; the answer does not matter."""
        with Client(self.broker.address, handshake=False) as client:
            try:
                client.send((connect(client.id) if first_connect else b"") + data)
            except OSError:
                pass
        return None

    def refused(self, data, first_connect=True):
        """True if the connection is closed for these bytes."""
        with Client(self.broker.address, handshake=first_connect) as client:
            try:
                client.send(data)
            except OSError:
                return True
            return client.closed(2)

    def test_random_bytes_close_only_their_sender(self):
        """1000 connections of random bytes, half of them behind a good CONNECT."""
        for number in range(1000):
            self.throw(self.random.randbytes(self.random.randint(1, 300)), number % 2 == 0)

    def test_changed_packets_close_only_their_sender(self):
        """1000 connections of good packets with a few bytes changed."""
        good = [
            publish("a/b", b"x" * 20, 1),
            publish("a", b"y", 2),
            subscribe([("a/#", 1), ("+", 2)]),
            PING,
        ]
        for _ in range(1000):
            data = bytearray(b"".join(self.random.choices(good, k=4)))
            for _ in range(self.random.randint(1, 3)):
                data[self.random.randrange(len(data))] = self.random.randrange(256)
            self.throw(bytes(data), True)

    def test_truncated_packets_leave_nothing(self):
        """Every packet cut at every length, then the connection closed."""
        for whole in (
            connect("cut", will=("w", "x", 1, False), user="u"),
            publish("a/b", b"payload", 2),
            subscribe([("a/#", 1), ("b", 2)]),
        ):
            for end in range(1, len(whole)):
                self.throw(whole[:end], whole[0] != 0x10)

    def test_every_packet_type_is_refused_before_connect(self):
        """The first packet must be CONNECT, whatever the flags of another one."""
        for first in range(256):
            if first != 0x10:
                with self.subTest(first=first):
                    self.assertTrue(self.refused(bytes([first, 2, 0, 1]), first_connect=False))

    def test_a_second_connect_closes(self):
        """Protocol error [MQTT-3.1.0-2]."""
        self.assertTrue(self.refused(connect("second")))

    def test_a_length_of_five_bytes_is_cut_after_five(self):
        """FF FF FF FF ends at the fifth byte, before and after CONNECT, without memory taken."""
        for first_connect in (False, True):
            self.assertTrue(self.refused(b"\x30\xff\xff\xff\xff", first_connect))
            self.assertTrue(self.refused(b"\x10\xff\xff\xff\xff\x7f", first_connect))
            self.assertTrue(self.refused(b"\x30\x80\x80\x80\x80\x01", first_connect))

    def test_a_flood_of_ff_is_refused_at_once(self):
        """8 MiB of 0xFF are not read to their end."""
        for first_connect in (False, True):
            self.assertTrue(self.refused(b"\xff" * (8 * MIB), first_connect))

    def test_malformed_packets_close(self):
        """One of each kind of error that 3.1.1 tells to close for."""
        for name, data in {
            "QoS 3": packet(0x36, string("a") + b"\0\1x"),
            "DUP at QoS 0": packet(0x38, string("a") + b"x"),
            "packet id 0": publish("a", b"x", 1, mid=0),
            "empty topic": publish("", b"x"),
            "wildcard in a name": publish("a/#", b"x"),
            "NUL in a topic": publish("a\0b", b"x"),
            "surrogate": publish(b"\xed\xa0\x80", b"x"),
            "overlong": publish(b"\xc0\xaf", b"x"),
            "topic longer than the packet": packet(0x30, struct.pack("!H", 500) + b"abc"),
            "SUBSCRIBE flags": packet(0x80, b"\0\1" + string("a") + b"\0"),
            "SUBSCRIBE without a filter": packet(0x82, b"\0\1"),
            "SUBSCRIBE QoS 3": packet(0x82, b"\0\1" + string("a") + b"\3"),
            "SUBSCRIBE id 0": subscribe([("a", 0)], mid=0),
            "filter a#": subscribe([("a#", 0)]),
            "filter #/a": subscribe([("#/a", 0)]),
            "filter a+": subscribe([("a+/b", 0)]),
            "empty filter": subscribe([("", 0)]),
            "UNSUBSCRIBE without a filter": packet(0xA2, b"\0\1"),
            "PUBREL flags": packet(0x60, b"\0\1"),
            "PINGREQ with a body": packet(0xC0, b"x"),
            "DISCONNECT flags": packet(0xE1),
            "PUBACK too short": packet(0x40, b"\1"),
            "type 0": packet(0x00),
            "type 15": packet(0xF0),
            "CONNACK from a client": packet(0x20, b"\0\0"),
            "SUBACK from a client": packet(0x90, b"\0\1\0"),
            "PINGRESP from a client": packet(0xD0),
        }.items():
            with self.subTest(name):
                self.assertTrue(self.refused(data))

    def test_bad_connects_close(self):
        """Reserved flag, will without its flag, QoS 3 will, password without user, short and long
        bodies."""

        def with_flags(flags, tail=b""):
            return packet(0x10, string("MQTT") + bytes([4, flags, 0, 60]) + string("x") + tail)

        for name, data in {
            "reserved flag": with_flags(3),
            "will QoS without will": with_flags(2 | 8),
            "will retain without will": with_flags(2 | 32),
            "will QoS 3": with_flags(2 | 4 | 24, string("w") + string("x")),
            "password without user": with_flags(2 | 64, string("p")),
            "will topic missing": with_flags(2 | 4),
            "bytes left over": with_flags(2, b"more"),
            "wrong flags": b"\x11" + connect("x")[1:],
            "wildcard in the will topic": connect("x", will=("a/#", "x", 0, False)),
            "NUL in the client id": connect("a\0b"),
            "no protocol name": packet(0x10, b"\0\0\4\2\0\0" + string("x")),
        }.items():
            with self.subTest(name):
                self.assertTrue(self.refused(data, first_connect=False))

    def test_what_came_before_the_bad_packet_counts(self):
        """Good packets in front of a malformed one in the same segment are carried out."""
        with Client(self.broker.address) as client:
            client.send(publish("witness/before", b"good", 0) + b"\x00\x00")
            self.assertTrue(client.closed(2))
        self.assertEqual(self.witness.message().payload, b"good")

    def test_connections_come_and_go(self):
        """2000 clients that connect, subscribe, publish and vanish in every possible way."""
        for number in range(2000):
            client = Client(self.broker.address, handshake=False)
            client.send(
                connect(client.id)
                + subscribe([(f"churn/{number}/+", 1)])
                + publish(f"churn/{number}/x")
            )
            if number % 4:
                self.assertEqual(client.expect(CONNACK).body[1], 0)
            if number % 3 == 0:
                client.reset()
            elif number % 3 == 1:
                client.close()
            else:
                client.disconnect()


if __name__ == "__main__":
    unittest.main()
