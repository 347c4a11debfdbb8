"""Retained messages: kept, replaced, removed, limited in number, size and age, and handed out in
full."""

import time
import unittest

from support import Broker
from wire import PUBACK, UNSUBACK, Client, publish, unsubscribe

LIMIT = 5


def kept(broker, topic_filter="#"):
    """What a new subscriber is given: {topic: payload}."""
    with Client(broker.address) as client:
        client.subscribe(topic_filter)
        got = client.settle()
        assert all(message.retain for message in got)
        assert len({message.topic for message in got}) == len(got), "a topic came twice"
        return {message.topic: message.payload for message in got}


class Retained(unittest.TestCase):
    def test_the_number_has_a_limit_and_replacing_is_always_allowed(self):
        """limit-1, limit: all kept; limit+1: the new topic is delivered but not kept, and
        counted."""
        with Broker({"sys_interval": 1, "retain_max_messages": LIMIT}) as broker:
            with Client(broker.address) as watcher, Client(broker.address) as writer:
                watcher.subscribe("n/#")
                for number in range(1, LIMIT + 2):
                    writer.publish(f"n/{number}", b"first", 1, retain=True)
                    self.assertEqual(watcher.message().payload, b"first")
                    self.assertEqual(len(kept(broker)), min(number, LIMIT))
                self.assertEqual(broker.wait_sys("retain/refused/count", 1), 1)
                writer.publish("n/1", b"second", 1, retain=True)
                writer.publish("n/2", b"", 1, retain=True)
                writer.publish("n/new", b"in its place", 1, retain=True)
                expected = {f"n/{number}": b"first" for number in range(3, LIMIT + 1)}
                expected |= {"n/1": b"second", "n/new": b"in its place"}
                self.assertEqual(kept(broker), expected)

    def test_the_payload_has_a_limit(self):
        """retain_max_payload: kept below it; from it on delivered live only."""
        limit = 100
        with Broker({"sys_interval": 1, "retain_max_payload": limit}) as broker:
            with Client(broker.address) as watcher, Client(broker.address) as writer:
                watcher.subscribe("p/#")
                for size in (limit - 1, limit, limit + 1):
                    writer.publish(f"p/{size}", b"x" * size, 1, retain=True)
                    self.assertEqual(len(watcher.message().payload), size)
                self.assertEqual(set(kept(broker)), {f"p/{limit - 1}"})
                self.assertEqual(broker.wait_sys("retain/refused/size", 2), 2)

    def test_age_ends_it(self):
        """retain_max_age 1: there at once, gone after two seconds."""
        with Broker({"retain_max_age": 1}) as broker, Client(broker.address) as writer:
            writer.publish("aging", b"x", 1, retain=True)
            self.assertEqual(kept(broker), {"aging": b"x"})
            time.sleep(2.1)
            self.assertEqual(kept(broker), {})

    def test_it_can_be_switched_off(self):
        """retain_available false: who publishes a retained message is closed, others are not."""
        with Broker({"retain_available": "false"}) as broker, Client(broker.address) as bystander:
            with Client(broker.address) as writer:
                writer.send(publish("off", b"x", 0, retain=True))
                self.assertTrue(writer.closed(3))
            self.assertEqual(kept(broker), {})
            self.assertTrue(bystander.alive())

    def test_wildcards_find_exactly_what_they_match(self):
        """`+`, `#`, both, the parent level, and `$` topics only where they are named."""
        topics = ("a", "a/b", "a/b/c", "a//c", "b/b/c", "/", "a/b/c/d")
        with Broker() as broker, Client(broker.address) as writer:
            for topic in topics:
                writer.publish(topic, topic, 1, retain=True)
            for topic_filter, expected in {
                "a": {"a"},
                "a/#": {"a", "a/b", "a/b/c", "a//c", "a/b/c/d"},
                "a/+/c": {"a/b/c", "a//c"},
                "+/b/#": {"a/b", "a/b/c", "b/b/c", "a/b/c/d"},
                "+": {"a"},
                "/+": {"/"},
                "#": set(topics),
            }.items():
                with self.subTest(filter=topic_filter):
                    self.assertEqual(set(kept(broker, topic_filter)), expected)

    def test_a_second_subscribe_gets_them_again_and_live_ones_have_no_flag(self):
        """Every SUBSCRIBE hands out the retained messages; what is published later is not
        marked."""
        with Broker() as broker, Client(broker.address) as client:
            client.publish("twice", b"x", 1, retain=True)
            for _ in range(2):
                client.subscribe("twice", 1)
                self.assertEqual([(m.payload, m.retain) for m in client.settle()], [(b"x", True)])
            client.publish("twice", b"y", 1, retain=True)
            self.assertEqual([(m.payload, m.retain) for m in client.settle()], [(b"y", False)])
            client.send(unsubscribe(["twice"])).expect(UNSUBACK)
            client.publish("twice", b"z", 1)
            self.assertEqual(client.settle(), [])

    def test_many_are_handed_out_in_full_whatever_the_queue(self):
        """20 000 retained messages to a client with a queue of 10: each once, and others are
        served."""
        count = 20_000
        with Broker({"max_queued_messages": 10}) as broker, Client(broker.address) as writer:
            for qos in (0, 1):
                for first in range(0, count, 1000):
                    numbers = range(first, first + 1000)
                    packets = (
                        publish(f"m/{n % 100}/{n}", str(n), qos, True, 1 + n) for n in numbers
                    )
                    writer.send(b"".join(packets))
                    for _ in numbers if qos else ():
                        writer.expect(PUBACK)
                writer.drain()
                with self.subTest(qos=qos), Client(broker.address) as reader:
                    reader.subscribe("m/#", 1)
                    self.assertTrue(writer.alive())
                    got = reader.settle()
                    self.assertEqual({m.qos for m in got}, {qos})
                    self.assertEqual(sorted(int(m.payload) for m in got), list(range(count)))


if __name__ == "__main__":
    unittest.main()
