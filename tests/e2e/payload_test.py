"""Large packets: payloads of 1 and 10 MiB, topics of 64 KiB, and the limit that cuts off only its
sender."""

import os
import subprocess
import unittest

from support import Broker
from wire import Client, publish

MIB = 1 << 20


class LargePackets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker({"max_packet_size": 16 * MIB, "max_topic_levels": 200}).start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def check_payload(self, size):
        payload = os.urandom(size)
        for published in range(3):
            for subscribed in range(3):
                with self.subTest(published=published, subscribed=subscribed):
                    with Client(self.broker.address) as reader, Client(
                        self.broker.address
                    ) as writer:
                        reader.subscribe("large", subscribed)
                        writer.publish("large", payload, published)
                        got = reader.message(timeout=20)
                        self.assertEqual(got.qos, min(published, subscribed))
                        self.assertEqual(len(got.payload), size)
                        self.assertTrue(got.payload == payload, "the payload came out changed")

    def test_a_payload_of_1_mib_arrives_whole(self):
        """At every QoS in and out, byte for byte."""
        self.check_payload(MIB)

    def test_a_payload_of_10_mib_arrives_whole(self):
        """At every QoS in and out, byte for byte."""
        self.check_payload(10 * MIB)

    def test_mosquitto_clients_carry_1_and_10_mib(self):
        """`mosquitto_pub -s` to `mosquitto_sub -N`, the file compared at the end."""
        for size in (MIB, 10 * MIB):
            payload = os.urandom(size)
            host, port = self.broker.address
            where = ["-h", host, "-p", str(port), "-t", f"file/{size}", "-q", "1"]
            with Client(self.broker.address) as keeper:
                keeper.publish(f"file/{size}", payload, 1, retain=True)
            sub = subprocess.run(
                ["mosquitto_sub", *where, "-C", "1", "-N", "-W", "20"],
                capture_output=True,
                timeout=30,
                check=True,
            )
            self.assertTrue(sub.stdout == payload, f"{len(sub.stdout)} bytes of {size}, or changed")
            pub = subprocess.run(
                ["mosquitto_pub", *where, "-s", "-r"], input=payload[::-1], timeout=30, check=True
            )
            self.assertEqual(pub.returncode, 0)
            with Client(self.broker.address) as client:
                client.subscribe(f"file/{size}", 1)
                self.assertTrue(client.message(20).payload == payload[::-1])

    def test_a_large_payload_is_kept_as_retained_and_in_a_queue(self):
        """10 MiB retained, and 10 MiB queued for an absent client, come out as they went in."""
        payload = os.urandom(10 * MIB)
        with Client(self.broker.address, "absent", clean=False) as absent:
            absent.subscribe("big/#", 1)
            absent.disconnect()
        with Client(self.broker.address) as writer:
            writer.publish("big/one", payload, 1, retain=True)
        with Client(self.broker.address) as fresh:
            fresh.subscribe("big/#", 1)
            got = fresh.message(20)
            self.assertTrue(got.retain and got.payload == payload)
        with Client(self.broker.address, "absent", clean=False) as absent:
            got = absent.message(20)
            self.assertTrue(not got.retain and got.payload == payload)

    def test_a_payload_survives_being_sent_in_crumbs(self):
        """64 KiB in pieces of 1, 2, 3, ... bytes: no cut of the stream matters."""
        payload = os.urandom(64 << 10)
        data = publish("crumbs", payload)
        with Client(self.broker.address) as reader, Client(self.broker.address) as writer:
            reader.subscribe("crumbs")
            at, step = 0, 1
            while at < len(data):
                writer.send(data[at : at + step])
                at, step = at + step, step + 1
            self.assertTrue(reader.message().payload == payload)

    def test_a_topic_of_65535_bytes_works(self):
        """Exact, with a wildcard, retained and queued: the longest name MQTT knows, in 200 levels
        at most."""
        exact = "t" * 65535
        levels = "/".join(["l" * 327] * 199 + ["l" * (65535 - 328 * 199)])
        self.assertEqual(len(levels), 65535)
        self.assertEqual(levels.count("/"), 199)
        with Client(self.broker.address) as reader, Client(self.broker.address) as writer:
            self.assertEqual(reader.subscribe([(exact, 1), ("l" * 327 + "/#", 1)]), [1, 1])
            for topic in (exact, levels):
                writer.publish(topic, b"far", 1, retain=True)
                got = reader.message()
                self.assertEqual((got.topic == topic, got.payload, got.qos), (True, b"far", 1))
            with Client(self.broker.address) as late:
                late.subscribe([(exact, 0), (levels, 0)])
                self.assertEqual({m.topic for m in late.settle()}, {exact, levels})
            for topic in (exact, levels):
                writer.publish(topic, b"", 1, retain=True)


class TheLimit(unittest.TestCase):
    def test_a_packet_above_the_limit_closes_only_its_sender(self):
        """max_packet_size counts the whole packet; one byte more ends the sender and nobody
        else."""
        limit = 4096
        with Broker({"max_packet_size": limit}) as broker:
            with Client(broker.address) as reader, Client(broker.address) as bystander:
                reader.subscribe("limit")
                room = limit - len(publish("limit", b"x" * 4000)) + 4000
                for size in (room - 1, room):
                    with Client(broker.address) as writer:
                        self.assertEqual(len(publish("limit", b"x" * size)), limit - room + size)
                        writer.publish("limit", b"x" * size)
                        self.assertTrue(writer.alive())
                        self.assertEqual(len(reader.message().payload), size)
                with Client(broker.address) as writer:
                    writer.send(publish("limit", b"x" * (room + 1)))
                    self.assertTrue(writer.closed(3))
                self.assertEqual(reader.drain(), [])
                self.assertTrue(bystander.alive())

    def test_a_length_alone_is_enough_to_be_refused(self):
        """The length field says 10 MB: the sender is closed before a byte of the body has come."""
        with Broker({"max_packet_size": 4096}) as broker, Client(broker.address) as writer:
            before = broker.rss()
            writer.send(bytes([0x30]) + b"\x80\xad\xe2\x04")
            self.assertTrue(writer.closed(3))
            self.assertLess(broker.rss() - before, MIB)


if __name__ == "__main__":
    unittest.main()
