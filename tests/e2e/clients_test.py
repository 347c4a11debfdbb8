"""The clients people really use: mosquitto_pub, mosquitto_sub and Paho for Python."""

import subprocess
import time
import unittest

import paho.mqtt.client as paho

from support import Broker, wait_until
from wire import CONNACK, Client, connect

VERSIONS = ("mqttv31", "mqttv311")
TIMEOUT_S = 10


def mosquitto_pub(broker, *arguments, stdin=None):
    host, port = broker.address
    return subprocess.run(
        ["mosquitto_pub", "-h", host, "-p", str(port), *arguments],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )


class MosquittoSub:
    """mosquitto_sub, subscribed when the constructor returns.  Messages read as `qos retain topic
    payload`."""

    def __init__(self, broker, *arguments):
        host, port = broker.address
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", "-h", host, "-p", str(port)]
            + ["-W", str(TIMEOUT_S), "-F", "got %q %r %t %p", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen = []
        for line in self.process.stdout:
            self.seen.append(line)
            if line.startswith("Subscribed"):
                return
        raise AssertionError(f"mosquitto_sub did not subscribe: {''.join(self.seen)}")

    def message(self):
        for line in self.process.stdout:
            if line.startswith("got "):
                return line[4:].rstrip("\n")
        return None

    def ended(self):
        """The exit status, once it has printed all it has to print."""
        for _ in self.process.stdout:
            pass
        return self.process.wait(TIMEOUT_S)

    def stop(self):
        # Not SIGTERM: its handler may wait for a lock that the interrupted code holds.
        self.process.kill()
        self.process.stdout.close()
        self.process.wait(TIMEOUT_S)


class Paho:
    """A Paho client with its own network thread, connected when the constructor returns."""

    def __init__(self, broker, client_id, clean=True, protocol=paho.MQTTv311, will=None):
        self.messages, self.acknowledged, self.flags = [], [], None
        self.client = paho.Client(client_id, clean_session=clean, protocol=protocol)
        self.client.on_message = lambda _c, _u, message: self.messages.append(message)
        self.client.on_subscribe = lambda _c, _u, mid, _codes: self.acknowledged.append(mid)
        self.client.on_connect = self._connected
        if will:
            self.client.will_set(*will)
        self.client.connect(*broker.address, keepalive=60)
        self.client.loop_start()
        assert wait_until(lambda: self.flags is not None, TIMEOUT_S), "Paho: no CONNACK"

    def _connected(self, _client, _userdata, flags, code):
        self.flags = {**flags, "code": code}

    def subscribe(self, *filters):
        _, mid = self.client.subscribe(list(filters))
        assert wait_until(lambda: mid in self.acknowledged, TIMEOUT_S), "Paho: no SUBACK"

    def publish(self, *arguments, **options):
        self.client.publish(*arguments, **options).wait_for_publish(TIMEOUT_S)

    def wait(self, count):
        wait_until(lambda: len(self.messages) >= count, TIMEOUT_S)
        return [(m.topic, m.payload, m.qos, bool(m.retain)) for m in self.messages]

    def vanish(self):
        """Breaks the connection without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


class MosquittoClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def sub(self, *arguments):
        subscriber = MosquittoSub(self.broker, *arguments)
        self.addCleanup(subscriber.stop)
        return subscriber

    def test_every_qos_meets_every_qos_in_both_versions(self):
        """A message arrives at the lower of the publisher's and the subscriber's QoS, with 3.1 and
        3.1.1."""
        for version in VERSIONS:
            for subscribed in range(3):
                topic = f"q/{version}/{subscribed}"
                subscriber = self.sub("-V", version, "-q", str(subscribed), "-C", "3", "-t", topic)
                for published in range(3):
                    with self.subTest(version=version, published=published, subscribed=subscribed):
                        mosquitto_pub(
                            self.broker,
                            "-V",
                            version,
                            "-q",
                            str(published),
                            "-t",
                            topic,
                            "-m",
                            f"m{published}",
                        )
                        expected = f"{min(published, subscribed)} 0 {topic} m{published}"
                        self.assertEqual(subscriber.message(), expected)
                self.assertEqual(subscriber.ended(), 0)

    def test_many_lines_keep_their_order(self):
        """1000 lines through `mosquitto_pub -l` come out in the order they went in, at each QoS."""
        lines = [f"line {number}" for number in range(1000)]
        for qos in "012":
            subscriber = self.sub("-q", qos, "-t", f"order/{qos}", "-C", "1000")
            mosquitto_pub(
                self.broker, "-q", qos, "-t", f"order/{qos}", "-l", stdin="\n".join(lines).encode()
            )
            got = [subscriber.message().split(" ", 3)[3] for _ in lines]
            self.assertEqual(got, lines)
            self.assertEqual(subscriber.ended(), 0)

    def test_a_retained_message_comes_with_the_retain_flag(self):
        """Kept for later subscribers, replaced by the next one, removed by an empty one."""
        mosquitto_pub(self.broker, "-r", "-t", "kept/a", "-m", "first")
        mosquitto_pub(self.broker, "-r", "-q", "1", "-t", "kept/a", "-m", "second")
        subscriber = self.sub("-q", "1", "-t", "kept/#", "-C", "1")
        self.assertEqual(subscriber.message(), "1 1 kept/a second")
        mosquitto_pub(self.broker, "-r", "-n", "-t", "kept/a")
        with Client(self.broker.address) as client:
            client.subscribe("kept/#")
            self.assertEqual(client.settle(), [])

    def test_the_will_of_a_killed_client_is_published(self):
        """SIGKILL leaves no DISCONNECT behind, so the will goes out, here retained at QoS 1."""
        watcher = self.sub("-q", "2", "-t", "wills/killed", "-C", "1")
        dying = self.sub(
            *("-t", "nothing", "--will-topic", "wills/killed", "--will-payload", "gone"),
            *("--will-qos", "1", "--will-retain"),
        )
        dying.process.kill()
        self.assertEqual(watcher.message(), "1 0 wills/killed gone")
        with Client(self.broker.address) as client:
            client.subscribe("wills/killed", 1)
            self.assertTrue(client.message().retain)

    def test_wildcards_match_by_level(self):
        """`+` is one level, `#` the rest and the parent, `$` topics are for nobody who did not
        ask."""
        with Client(self.broker.address) as client:
            client.subscribe([("w/+/c", 0), ("x/#", 0), ("+/y", 0)])
            for topic in ("w/b/c", "w/b/d", "w/c", "w//c", "x", "x/1/2", "/y", "a/y", "a/b/y"):
                mosquitto_pub(self.broker, "-t", topic, "-m", "-")
            topics = [message.topic for message in client.drain()]
        self.assertEqual(topics, ["w/b/c", "w//c", "x", "x/1/2", "/y", "a/y"])

    def test_a_refused_client_is_told_why(self):
        """An unknown protocol level is code 1; an empty id is code 2 in 3.1, and in 3.1.1 unless
        clean."""
        for options, code in (
            ({"level": 2}, 1),
            ({"level": 4, "name": "MQIsdp"}, 1),
            ({"level": 3}, 2),
            ({"level": 4, "clean": False}, 2),
            ({"level": 4}, 0),
        ):
            with self.subTest(**options), Client(
                self.broker.address, "", handshake=False
            ) as client:
                client.send(connect("", **options))
                self.assertEqual(client.expect(CONNACK).body, bytes([0, code]))
                self.assertEqual(client.closed(0.5), code != 0)


class PahoClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def paho(self, *arguments, **options):
        client = Paho(self.broker, *arguments, **options)
        self.addCleanup(client.leave)
        return client

    def test_every_qos_meets_every_qos_in_both_versions(self):
        """The nine pairs of QoS, for 3.1 and 3.1.1, each exactly once."""
        for protocol in (paho.MQTTv31, paho.MQTTv311):
            subscriber = self.paho(f"matrix-sub-{protocol}", protocol=protocol)
            publisher = self.paho(f"matrix-pub-{protocol}", protocol=protocol)
            subscriber.subscribe(*((f"m{protocol}/{qos}", qos) for qos in range(3)))
            expected = set()
            for subscribed in range(3):
                for published in range(3):
                    body = f"{published}".encode()
                    publisher.publish(f"m{protocol}/{subscribed}", body, published)
                    expected.add(
                        (f"m{protocol}/{subscribed}", body, min(published, subscribed), False)
                    )
            got = subscriber.wait(9)
            self.assertEqual(len(got), 9)
            self.assertEqual(set(got), expected)

    def test_a_durable_session_gets_what_it_missed(self):
        """Queued at QoS 1 and 2 while away, in order, with the session reported as present."""
        first = self.paho("durable", clean=False)
        self.assertEqual(first.flags["session present"], 0)
        first.subscribe(("missed/#", 2))
        first.leave()
        publisher = self.paho("durable-pub")
        for number in range(50):
            publisher.publish("missed/x", str(number), qos=1 + number % 2)
        again = self.paho("durable", clean=False)
        self.assertEqual(again.flags["session present"], 1)
        got = again.wait(50)
        for qos in (1, 2):
            numbers = [int(payload) for _, payload, got_qos, _ in got if got_qos == qos]
            self.assertEqual(numbers, [n for n in range(50) if 1 + n % 2 == qos])
        again.leave()
        clean = self.paho("durable", clean=True)
        self.assertEqual(clean.flags["session present"], 0)

    def test_no_will_after_disconnect(self):
        """DISCONNECT takes the will back; a broken connection publishes it."""
        watcher = self.paho("will-watcher")
        watcher.subscribe(("wills/paho/#", 2))
        self.paho("polite", will=("wills/paho/polite", b"x", 1, False)).leave()
        self.paho("rude", will=("wills/paho/rude", b"y", 2, False)).vanish()
        self.assertEqual(watcher.wait(1), [("wills/paho/rude", b"y", 2, False)])

    def test_a_second_client_with_the_same_id_takes_over(self):
        """The old connection is closed and its will sent; the new one keeps the session."""
        watcher = self.paho("takeover-watcher")
        watcher.subscribe(("wills/taken", 1))
        old = Client(
            self.broker.address, "twin", clean=False, will=("wills/taken", "old", 1, False)
        )
        old.subscribe("to/twin", 1)
        new = Client(self.broker.address, "twin", clean=False)
        self.assertTrue(new.session_present)
        self.assertTrue(old.closed())
        self.assertEqual(watcher.wait(1), [("wills/taken", b"old", 1, False)])
        self.paho("takeover-pub").publish("to/twin", b"for the new one", 1)
        self.assertEqual(new.message().payload, b"for the new one")
        new.disconnect()

    def test_dollar_topics_are_not_seen_by_wildcards(self):
        """A subscriber of `#` and `+/+` gets what clients publish and nothing below `$`."""
        everything = self.paho("everything")
        everything.subscribe(("#", 0), ("+/broker/#", 0))
        publisher = self.paho("dollar-pub")
        publisher.publish("$other/x", b"hidden", 1)
        publisher.publish("seen/x", b"shown", 1)
        time.sleep(0.2)
        topics = {topic for topic, *_ in everything.wait(1)}
        self.assertEqual({t for t in topics if t.startswith("$")}, set())
        self.assertIn("seen/x", topics)


if __name__ == "__main__":
    unittest.main()
