"""From mosquitto to mqttd: what a real mosquitto left behind is there, once, and nothing is lost on
the way; and what becomes of files that are damaged, of kills, of brokers that come second."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
import unittest

import mosquitto_file
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from support import ROOT, Broker, free_port, run, wait_until
from wire import (
    CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Client, ack, connect, parse_publish, publish,
)  # fmt: skip

PERSISTENT = {"persistence": "true", "sys_interval": 0}
MESSAGES = 60


def mosquitto():
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


def check(broker):
    program = os.environ.get("MQTTCHECK_BIN") or os.path.join(ROOT, "mqttcheck")
    return run(program, broker.folder)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def is_free(folder):
    """Whether nobody has the lock of the journal in `folder`: its scribe outlives its broker."""
    try:
        with open(os.path.join(folder, "lock"), "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


class Mosquitto:
    """A real mosquitto that keeps its database in the folder of a broker that is not started yet."""

    def __init__(self, broker, **options):
        self.file = os.path.join(broker.folder, "mosquitto.db")
        self.port = free_port()
        lines = [
            f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root",
            "persistence true", f"persistence_location {broker.folder}/",
            *(f"{key} {value}" for key, value in options.items()),
        ]  # fmt: skip
        config = os.path.join(broker.folder, "mosquitto.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [mosquitto(), "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def __enter__(self):
        assert wait_until(lambda: run("mosquitto_pub", "-p", str(self.port), "-t", "x", "-n")
                          .returncode == 0)  # fmt: skip
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def publish(self, topic, payload, *options, qos=0):
        done = run("mosquitto_pub", "-p", str(self.port), "-t", topic, "-q", str(qos), "-m", payload,
                   *options)  # fmt: skip
        assert done.returncode == 0, done.stderr


class Session5(paho.Client):
    """A 5.0 client with a session that stays."""

    def __init__(self, address, client_id, expiry_s=3600):
        super().__init__(client_id, protocol=paho.MQTTv5)
        self.got = []
        self.granted = 0
        self.present = None
        self.on_message = lambda _client, _data, message: self.got.append(message)
        self.on_connect = self._connected
        self.on_subscribe = self._subscribed
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry_s
        self.connect(*address, clean_start=False, properties=properties)
        self.loop_start()
        assert wait_until(lambda: self.present is not None)

    def _connected(self, _client, _data, flags, *_):
        self.present = flags["session present"]

    def _subscribed(self, *_):
        self.granted += 1

    def subscribe_to(self, topic_filter, identifier, **options):
        properties = Properties(PacketTypes.SUBSCRIBE)
        if identifier:
            properties.SubscriptionIdentifier = identifier
        before = self.granted
        self.subscribe(topic_filter, options=SubscribeOptions(**options), properties=properties)
        assert wait_until(lambda: self.granted > before)

    def leave(self):
        self.disconnect()
        self.loop_stop()


def resume(address, client_id):
    """A 3.1.1 client whose session must be there."""
    client = Client(address, client_id, handshake=False)
    client.send(connect(client_id, clean=False))
    assert client.expect(CONNACK).body == b"\x01\x00", "no session"
    return client


@unittest.skipUnless(mosquitto(), "mosquitto is not installed")
class FromMosquitto(unittest.TestCase):
    def setUp(self):
        self.broker = Broker(PERSISTENT)
        self.addCleanup(self.end)

    def end(self):
        if self.broker.process and self.broker.process.poll() is None:
            self.broker.stop()
        shutil.rmtree(self.broker.folder, ignore_errors=True)

    def restart(self, number=signal.SIGTERM):
        self.broker.process.send_signal(number)
        self.broker.process.wait(10)
        self.broker.start()

    def told(self):
        return [line for line in self.broker.log().splitlines() if "mported" in line]

    def test_queues_come_over_in_order_and_once(self):
        """Two sessions, one of each version: all messages, in order, with what belongs to them."""
        with Mosquitto(self.broker) as old:
            with Client(old.address, "three", clean=False) as client:
                client.subscribe([("a/#", 1), ("b/#", 2)])
                client.disconnect()
            five = Session5(old.address, "five")
            five.subscribe_to("a/#", 7, qos=1)  # paho hands out QoS 2 when it is released
            five.subscribe_to("b/+", 8, qos=1, retainAsPublished=True)
            five.leave()
            for number in range(MESSAGES):
                old.publish("ab"[number % 2] + "/x", f"{number}", qos=1 + number % 3 % 2)
            old.publish("b/last", "with all", "-r", "-V", "5", "-D", "publish", "content-type", "text",
                        "-D", "publish", "user-property", "name", "value",
                        "-D", "publish", "message-expiry-interval", "5000", qos=2)  # fmt: skip
        before = digest(old.file)
        self.broker.start()
        self.assertEqual(len(self.told()), 1)
        self.assertIn(
            f"{old.file}: 2 sessions, 4 subscriptions, 1 retained message, {2 * MESSAGES + 2} queued, "
            "0 under way and 0 coming in.",
            self.told()[0],
        )
        self.assertEqual(check(self.broker).returncode, 0, check(self.broker).stdout)
        # Not before the second start, so that what was imported once is still all there.
        self.restart(signal.SIGKILL)
        wanted = ["%d" % number for number in range(MESSAGES)] + ["with all"]
        with resume(self.broker.address, "three") as client:
            got = client.messages(MESSAGES + 1)
            self.assertEqual({m.dup for m in got}, {False})
            # QoS 2 leaves when its identifier is safe, so the order is that of each level.
            levels = [1 + n % 2 * (n % 3 % 2) for n in range(MESSAGES)] + [2]
            for qos in 1, 2:
                self.assertEqual([m.payload.decode() for m in got if m.qos == qos],
                                 [text for text, level in zip(wanted, levels) if level == qos])
            self.assertEqual(client.drain(), [])
            client.disconnect()
        five = Session5(self.broker.address, "five")
        self.assertTrue(five.present)
        self.assertTrue(wait_until(lambda: len(five.got) == MESSAGES + 1))
        self.assertEqual([m.payload.decode() for m in five.got], wanted)
        numbers = [m.properties.SubscriptionIdentifier for m in five.got]
        self.assertEqual(numbers, [[7 + n % 2] for n in range(MESSAGES)] + [[8]])
        last = five.got[-1]
        self.assertTrue(last.retain)
        self.assertEqual(last.properties.ContentType, "text")
        self.assertEqual(last.properties.UserProperty, [("name", "value")])
        self.assertTrue(4900 < last.properties.MessageExpiryInterval <= 5000)
        five.leave()
        self.restart()
        with resume(self.broker.address, "three") as client:
            self.assertEqual(client.drain(), [])
            client.publish("a/new", "live", 1)  # its subscription is at work
            self.assertEqual(client.message().payload, b"live")
        self.assertEqual(len(self.told()), 1)
        self.assertEqual(digest(old.file), before)
        self.assertEqual(check(self.broker).returncode, 0)

    def test_retained_messages_come_over(self):
        """With their properties, and without what mosquitto says about itself."""
        with Mosquitto(self.broker, sys_interval=1) as old:
            for number in range(5):
                old.publish(f"kept/{number}", f"value {number}", "-r", qos=number % 3)
            old.publish("räume/küche", "21 °C", "-r")
            time.sleep(1.5)
        self.broker.start()
        with Client(self.broker.address, "new") as client:
            client.subscribe("#", 2)
            got = {m.topic: (m.payload.decode(), m.qos, m.retain) for m in client.settle()}
        wanted = {f"kept/{n}": (f"value {n}", n % 3, True) for n in range(5)}
        self.assertEqual(got, {**wanted, "räume/küche": ("21 °C", 0, True)})

    def test_flows_go_on_where_they_were(self):
        """Out at QoS 1 and 2, in at QoS 2: with their packet identifiers, and nothing twice."""
        with Mosquitto(self.broker, max_inflight_messages=2) as old:
            reader = Client(old.address, "reader", clean=False)
            reader.subscribe("in/#", 2)
            reader.disconnect()
            sender = Client(old.address, "sender", clean=False)
            sender.send(publish("in/x", b"not released", 2, mid=0x0105))
            sender.expect(PUBREC)
            one = Client(old.address, "one", clean=False)
            one.subscribe("out/1", 1)
            two = Client(old.address, "two", clean=False)
            two.subscribe("out/2", 2)
            for number in range(4):
                old.publish("out/1", f"{number}", qos=1)
                old.publish("out/2", f"{number}", qos=2)
            ones = [parse_publish(one.expect(PUBLISH)) for _ in range(2)]
            first = parse_publish(two.expect(PUBLISH))
            two.send(ack(PUBREC, first.mid))
            second = parse_publish(two.expect(PUBLISH))
            two.expect(PUBREL)
        self.broker.start()
        self.assertIn("queued, 4 under way and 1 coming in.", self.told()[0])

        one = resume(self.broker.address, "one")
        again = [one.message() for _ in range(4)]
        self.assertEqual([m.payload for m in again], [b"0", b"1", b"2", b"3"])
        self.assertEqual([m.mid for m in again[:2]], [m.mid for m in ones])
        self.assertEqual([m.dup for m in again], [True, True, False, False])

        two = resume(self.broker.address, "two")
        released = two.packet()
        self.assertEqual((released.kind, released.body), (PUBREL, first.mid.to_bytes(2, "big")))
        two.send(ack(PUBCOMP, first.mid))
        again = [two.message() for _ in range(3)]
        self.assertEqual([m.payload for m in again], [b"1", b"2", b"3"])
        self.assertEqual((again[0].mid, again[0].dup), (second.mid, True))

        # Repeated, and then released: it is passed on once.
        sender = resume(self.broker.address, "sender")
        sender.send(publish("in/x", b"not released", 2, mid=0x0105, dup=True))
        sender.expect(PUBREC)
        sender.send(ack(PUBREL, 0x0105))
        sender.expect(PUBCOMP)
        reader = resume(self.broker.address, "reader")
        self.assertEqual(reader.message().payload, b"not released")
        self.assertEqual(reader.drain(), [])

    def test_what_ended_with_its_connection_is_not_taken(self):
        with Mosquitto(self.broker) as old:
            brief = Session5(old.address, "brief", expiry_s=0)
            brief.subscribe_to("a", 0, qos=1)
            clean = Client(old.address, "clean")
            clean.subscribe("a", 1)
            old.process.send_signal(signal.SIGUSR1)
            self.assertTrue(wait_until(lambda: os.path.exists(old.file)))
            time.sleep(0.3)
            kept = old.file + ".kept"
            shutil.copyfile(old.file, kept)
            brief.leave()
        os.rename(kept, old.file)
        self.broker.start()
        self.assertIn(": 0 sessions,", self.told()[0])
        self.assertIn("1 session ended with the connection (with 1 subscription", self.told()[1])

    def test_the_file_may_have_another_name(self):
        with Mosquitto(self.broker, persistence_file="state.store") as old:
            old.publish("kept", "value", "-r")
        self.broker.write_config({**PERSISTENT, "persistence_file": "state.store"})
        self.broker.start()
        with Client(self.broker.address, "new") as client:
            client.subscribe("#", 1)
            self.assertEqual([m.payload for m in client.settle()], [b"value"])

    def test_without_persistence_nothing_is_imported(self):
        with Mosquitto(self.broker) as old:
            old.publish("kept", "value", "-r")
        self.broker.write_config({})
        self.broker.start()
        self.assertEqual(self.told(), [])
        self.assertFalse(os.path.exists(os.path.join(self.broker.folder, "mqttd.journal")))


class Files(unittest.TestCase):
    """Files that are made by hand: large, damaged, none."""

    def setUp(self):
        self.broker = Broker({**PERSISTENT, "queue_high_watermark": 1})
        self.file = os.path.join(self.broker.folder, "mosquitto.db")
        self.addCleanup(self.end)

    def end(self):
        if self.broker.process and self.broker.process.poll() is None:
            self.broker.stop()
        shutil.rmtree(self.broker.folder, ignore_errors=True)

    def write(self, *sizes):
        with open(self.file, "wb") as out:
            mosquitto_file.write(out, *sizes)

    def fails(self):
        """A start that does not come about; what it says."""
        with self.assertRaises(AssertionError) as failed:
            self.broker.start()
        self.assertIn("ended with status 1", str(failed.exception))
        return self.broker.log()

    def test_killed_at_any_moment_it_is_imported_whole(self):
        self.write(100, 500, 200)
        wanted = "100 sessions, 100 subscriptions, 50000 retained messages, 50000 queued"
        journal = os.path.join(self.broker.folder, "mqttd.journal")
        importing = os.path.join(journal, "importing")
        begun = 0
        for pause_ms in range(5, 250, 13):
            self.broker.process = subprocess.Popen(
                [self.broker.binary, "-c", self.broker.config_path],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "MOSQUITTO_PERSISTENCE_LOCATION": self.broker.folder},
            )
            time.sleep(pause_ms / 1000)
            self.broker.kill()
            self.assertTrue(wait_until(lambda: is_free(journal)))
            if os.path.exists(importing):
                begun += 1
                told = check(self.broker)
                self.assertEqual(told.returncode, 3)
                self.assertIn("is being made from a mosquitto.db", told.stderr)
        self.assertGreater(begun, 0)
        self.broker.start()
        self.assertTrue(wait_until(lambda: wanted in self.broker.log(), 10), self.broker.log())
        self.assertEqual(check(self.broker).returncode, 0, check(self.broker).stdout)
        self.assertFalse(os.path.exists(importing))
        with resume(self.broker.address, "s99") as client:
            numbers = [int(m.payload.split()[0]) for m in client.messages(500)]
        self.assertEqual(numbers, list(range(49501, 50001)))

    def test_a_second_broker_waits_and_is_refused(self):
        self.write(10, 10, 10)
        with Broker(self.broker_config(self.broker)) as first:
            second = Broker(self.broker_config(self.broker))
            try:
                with self.assertRaises(AssertionError):
                    second.start()
                self.assertIn("is in use by another broker", second.log())
            finally:
                shutil.rmtree(second.folder, ignore_errors=True)
            self.assertIn("Imported", first.log())

    def broker_config(self, broker):
        return {**PERSISTENT, "persistence_location": broker.folder}

    def test_a_file_that_was_cut_off(self):
        self.write(10, 20, 100)
        with open(self.file, "r+b") as file:
            file.truncate(os.path.getsize(self.file) - 200 * 16 - 5)  # what is retained is said last
        self.broker.start()
        log = self.broker.log()
        self.assertIn("10 sessions, 9 subscriptions, 0 retained messages, 200 queued", log)
        self.assertIn("is damaged: lost are 1 of its subscriptions.", log)
        self.assertRegex(log, r"of its last \d+ bytes nothing could be read, it was cut off there")

    def test_a_file_that_is_none(self):
        with open(self.file, "wb") as file:
            file.write(b"sqlite, or something else")
        self.broker.start()
        self.assertIn("is not a mosquitto.db. Nothing of it is imported.", self.broker.log())

    def test_what_cannot_be_opened_stops_the_start(self):
        os.mkdir(self.file)
        self.assertIn(f"Unable to read {self.file}, to import it: it is not a file.", self.fails())
        os.rmdir(self.file)
        self.broker.start()

    @unittest.skipUnless(os.geteuid() == 0, "for root only")
    def test_root_imports_as_whom_it_becomes(self):
        self.write(2, 2, 10)
        os.chmod(self.broker.folder, 0o755)
        os.chown(self.broker.folder, 65534, 65534)
        self.broker.write_config({**PERSISTENT, "user": "nobody"})
        os.chmod(self.file, 0o600)
        self.assertIn("permission denied", self.fails())
        os.chown(self.file, 65534, 65534)
        self.broker.start()
        self.assertIn("Imported", self.broker.log())
        folder = os.path.join(self.broker.folder, "mqttd.journal")
        for name in os.listdir(folder):
            self.assertEqual(os.stat(os.path.join(folder, name)).st_uid, 65534, name)


if __name__ == "__main__":
    unittest.main()
