"""`$SYS`: mosquitto's names and formats, there from the first moment, and out of everybody's
way."""

import json
import os
import re
import signal
import time
import unittest

from support import Broker, run, wait_until
from wire import Client

NUMBER, LOAD = r"\d+", r"\d+\.\d\d"

# Every name, as the tables make it ("+" for a pool's size or a listener's name); written by
# `unit_tests "[.sys-names]"`.
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sys_topics.txt")) as list_file:
    ALL = set(list_file.read().splitlines())

PACKETS = (
    "connect connack publish puback pubrec pubrel pubcomp subscribe suback unsubscribe unsuback "
    "pingreq pingresp disconnect auth"
).split()

# name below $SYS/broker -> what the whole payload looks like (spec/sys-topics.md, section 1)
NAMES = {
    "version": r"mqttd version \S+",
    "uptime": r"\d+ seconds",
    "clients/total": NUMBER,
    "clients/maximum": NUMBER,
    "clients/connected": NUMBER,
    "clients/active": NUMBER,
    "clients/disconnected": NUMBER,
    "clients/inactive": NUMBER,
    "clients/expired": NUMBER,
    "connections/socket/count": NUMBER,
    "store/messages/count": NUMBER,
    "messages/stored": NUMBER,
    "store/messages/bytes": NUMBER,
    "subscriptions/count": NUMBER,
    "shared_subscriptions/count": NUMBER,
    "retained messages/count": NUMBER,
    "heap/current": NUMBER,
    "heap/maximum": NUMBER,
    "messages/received": NUMBER,
    "messages/sent": NUMBER,
    "bytes/received": NUMBER,
    "bytes/sent": NUMBER,
    "publish/messages/received": NUMBER,
    "publish/messages/sent": NUMBER,
    "publish/messages/dropped": NUMBER,
    "publish/bytes/received": NUMBER,
    "publish/bytes/sent": NUMBER,
    "packet/out/count": NUMBER,
    "packet/out/bytes": NUMBER,
    **{
        f"load/{what}/{way}/{minutes}min": LOAD
        for what in ("messages", "publish", "bytes")
        for way in ("received", "sent")
        for minutes in (1, 5, 15)
    },
    **{
        f"load/{what}/{minutes}min": LOAD
        for what in ("publish/dropped", "sockets", "connections")
        for minutes in (1, 5, 15)
    },
    **{f"mqtt/{packet}/{way}": NUMBER for packet in PACKETS for way in ("received", "sent")},
    "mqtt/publish/dropped": NUMBER,
    "network/socketconnects/total": NUMBER,
}

# The texts that are ours; all else is a number.
TEXTS = {
    "loop/turn_us/histogram": r'\{"le":\[[\d,]+\],"n":\[[\d,]+\],"sum":\d+\}',
    "slow/top": r"\[.*\]",
    "config/last_reload": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "config/last_error": r".+",
    "persist/state": r"off|reading|serving|failing",
    "persist/last_save": r"never|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}


def generic(name):
    """A name with "+" for what is a pool's or a listener's own."""
    name = re.sub(r"\Apool/\d+/", "pool/+/", name)
    return re.sub(r"\Alistener/[^/]+/", "listener/+/", name)


def below(values):
    """The same without the root."""
    return {topic.removeprefix("$SYS/broker/"): text for topic, text in values.items()}


class SysTopics(unittest.TestCase):
    def test_every_name_is_there_right_after_the_start(self):
        """The first client, connected before a second has passed, gets them all, in mosquitto's
        formats."""
        with Broker({"sys_interval": 10}) as broker:
            started = time.monotonic()
            values = broker.sys_values()
            self.assertLess(time.monotonic() - started, 1.0)
            for name, pattern in NAMES.items():
                with self.subTest(name=name):
                    text = values.get("$SYS/broker/" + name)
                    self.assertIsNotNone(text, "missing")
                    self.assertRegex(text, rf"\A(?:{pattern})\Z")
            for name, text in below(values).items():
                with self.subTest(name=name):
                    self.assertRegex(text, rf"\A(?:{NAMES.get(name) or TEXTS.get(name) or NUMBER})\Z")

    def test_they_are_those_of_the_table(self):
        """Each of the table's names is there, and nothing else."""
        with Broker({"sys_interval": 1}) as broker:
            self.assertEqual({generic(name) for name in below(broker.sys_values())}, ALL)
            time.sleep(2.1)  # and none comes later
            self.assertEqual({generic(name) for name in below(broker.sys_values())}, ALL)

    def test_each_comes_once(self):
        """One subscription, one message for each topic, all of them retained."""
        with Broker({"sys_interval": 60}) as broker, Client(broker.address) as client:
            client.subscribe("$SYS/#")
            messages = [m for m in client.settle() if m.retain]
            topics = [message.topic for message in messages]
            self.assertEqual(len(topics), len(set(topics)))
            self.assertGreaterEqual(len(topics), len(ALL))

    def test_watching_does_not_count(self):
        """Values that are watched, live and retained, are in no message counter, only in bytes."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as watcher:
            watcher.subscribe("$SYS/#")
            self.assertTrue(wait_until(lambda: int(broker.sys("sys/published")) > 900, 20, 0.5))
            values = below(broker.sys_values())
            for name in ("messages/received", "messages/sent", "bytes/received", "bytes/sent"):
                self.assertEqual(values["publish/" + name], "0")
            self.assertEqual(values["mqtt/publish/sent"], "0")
            self.assertEqual(values["publish/messages/dropped"], "0")
            self.assertEqual(values["load/publish/sent/1min"], "0.00")
            self.assertEqual(values["retained messages/count"], "0")
            self.assertEqual(values["store/messages/count"], "0")
            self.assertGreater(int(values["bytes/sent"]), 10_000)

    def test_the_loop_is_measured(self):
        """Traffic shows in the turns, the calls and the time of a publication."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as sink, Client(
            broker.address
        ) as source:
            sink.subscribe("t")
            seen = set()

            def look():
                for _ in range(200):
                    source.publish("t", b"x" * 50)
                sink.drain()
                for name, text in below(broker.sys_values()).items():
                    if text not in ("0", "0.00"):
                        seen.add(name)
                return wanted <= seen

            wanted = {
                *(f"loop/turn_us/{part}" for part in ("p50", "p99", "p999", "max")),
                *(f"latency/publish_us/{part}" for part in ("p50", "p99", "max")),
                "loop/wait_us/p50",
                "loop/events_per_turn/max",
                "io/read/bytes_per_call/avg",
                "io/writev/iov_per_call/max",
                "pool/msg/shared_ranges",
                "mem/rss",
                "fd/used",
            }
            wait_until(look, 15, 0.2)
            self.assertEqual(wanted - seen, set())
            values = below(broker.sys_values())
            histogram = json.loads(values["loop/turn_us/histogram"])
            self.assertEqual(len(histogram["n"]), len(histogram["le"]) + 1)
            self.assertEqual(histogram["n"], sorted(histogram["n"]))
            self.assertEqual(histogram["le"], sorted(histogram["le"]))
            self.assertLessEqual(histogram["n"][-1], int(values["loop/turns"]))
            # How many turns that takes is the machine's affair: on a slow one few, each with much.
            self.assertGreater(histogram["n"][-1], 0)
            self.assertEqual(json.loads(values["slow/top"]), [])

    def test_listeners_count_for_themselves(self):
        """Each has its own numbers, below its port or path; '/' is no level there."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as client:
            port = broker.address[1]
            client.publish("t", b"x" * 1000)
            least = {
                "connections": 1,
                "maximum": 2,
                "accepted": 3,
                "bytes/received": 1000,
                "bytes/sent": 1000,  # each look itself is answered with about so many
            }

            def look():
                values = below(broker.sys_values(f"$SYS/broker/listener/{port}/#"))
                return all(int(values[f"listener/{port}/{n}"]) >= m for n, m in least.items())

            self.assertTrue(wait_until(look, 6, 0.3))
            values = below(broker.sys_values(f"$SYS/broker/listener/{port}/#"))
            self.assertEqual(values[f"listener/{port}/refused/max"], "0")

    def test_a_reload_is_told(self):
        """SIGHUP: counted, and what was wrong with the file is there to be read."""
        with Broker({"sys_interval": 1}) as broker:
            self.assertEqual(broker.sys("config/last_error"), "none")
            with open(broker.config_path, encoding="utf-8") as file:
                good = file.read()

            def reload(text):
                with open(broker.config_path, "w", encoding="utf-8") as file:
                    file.write(text)
                broker.process.send_signal(signal.SIGHUP)

            reload(good + "\nno_such_key 1\n")
            self.assertEqual(broker.wait_sys("config/reloads_failed", 1), 1)
            self.assertEqual(broker.sys("config/reloads"), "0")
            self.assertIn("no_such_key", broker.sys("config/last_error"))
            reload(good)
            self.assertEqual(broker.wait_sys("config/reloads", 1), 1)
            self.assertEqual(broker.sys("config/last_error"), "none")

    def test_the_interval_changes_by_a_reload(self):
        """sys_interval 0 takes all topics away, another one brings them back, and `uptime` comes
        at its multiples."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as client:
            client.subscribe("$SYS/broker/uptime")
            client.settle()
            with open(broker.config_path, encoding="utf-8") as file:
                text = file.read()

            def reload(interval):
                with open(broker.config_path, "w", encoding="utf-8") as file:
                    file.write(text.replace("sys_interval 1", f"sys_interval {interval}"))
                broker.process.send_signal(signal.SIGHUP)

            reload(0)
            self.assertTrue(wait_until(lambda: broker.sys_values() == {}, 3, 0.1))
            client.drain()
            time.sleep(1.2)
            self.assertEqual(client.drain(), [])
            reload(2)
            self.assertTrue(wait_until(lambda: len(broker.sys_values()) >= len(ALL), 3, 0.1))
            client.message(timeout=3)  # at once
            uptimes = []
            for _ in range(3):
                uptimes.append(int(client.message(timeout=4).payload.split()[0]))
                self.assertLess(time.time() % 2, 1.3)
            self.assertEqual([b - a for a, b in zip(uptimes, uptimes[1:])], [2, 2])

    def test_aliases_say_the_same(self):
        """`clients/active`, `clients/inactive` and `messages/stored` follow their newer names."""
        with Broker({"sys_interval": 1}) as broker:
            time.sleep(1.2)
            values = broker.sys_values()
            for old, new in (
                ("clients/active", "clients/connected"),
                ("clients/inactive", "clients/disconnected"),
                ("messages/stored", "store/messages/count"),
            ):
                self.assertEqual(values["$SYS/broker/" + old], values["$SYS/broker/" + new])

    def test_mosquitto_sub_shows_them(self):
        """The command line people use to look at a broker."""
        with Broker() as broker:
            result = run("mosquitto_sub", "-p", str(broker.port), "-v", "-t", "$SYS/#", "-W", "1")
            lines = result.stdout.splitlines()
            self.assertTrue(
                any(re.match(r"\$SYS/broker/uptime \d+ seconds\Z", line) for line in lines), lines
            )
            self.assertGreater(len(lines), len(NAMES) - 5)

    def test_wildcards_do_not_see_them(self):
        """`#`, `+/#` and `+/broker/uptime` match nothing below `$SYS`, neither retained nor
        live."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as client:
            client.subscribe([("#", 0), ("+/#", 0), ("+/broker/uptime", 0)])
            deadline = time.monotonic() + 2.2
            seen = []
            while time.monotonic() < deadline:
                seen += client.drain()
                time.sleep(0.05)
            self.assertEqual([message.topic for message in seen], [])

    def test_values_follow_what_happens(self):
        """Clients, subscriptions, retained messages and publishes are counted within an
        interval."""
        with Broker({"sys_interval": 1}) as broker:
            clients = [Client(broker.address) for _ in range(5)]
            durable = Client(broker.address, "stays", clean=False)
            for number, client in enumerate(clients):
                client.subscribe(f"count/{number}")
                client.publish(f"kept/{number}", b"12345", 1, retain=True)
            durable.disconnect()
            # The client that looks is counted too.
            self.assertEqual(broker.wait_sys("clients/disconnected", 1), 1)
            values = {}
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                values = {k[len("$SYS/broker/") :]: v for k, v in broker.sys_values().items()}
                if values.get("publish/messages/received") == "5":
                    break
                time.sleep(0.3)
            self.assertEqual(values["publish/messages/received"], "5")
            self.assertEqual(values["publish/bytes/received"], "25")
            self.assertGreaterEqual(int(values["retained messages/count"]), 5)
            self.assertGreaterEqual(int(values["subscriptions/count"]), 5)
            self.assertGreaterEqual(int(values["clients/connected"]), 5)
            self.assertGreaterEqual(int(values["clients/maximum"]), 6)

    def test_only_changed_values_are_sent_each_interval(self):
        """A subscriber sees `uptime` every second, and a value that stands still only once."""
        with Broker({"sys_interval": 1}) as broker, Client(broker.address) as client:
            client.subscribe([("$SYS/broker/uptime", 0), ("$SYS/broker/version", 0)])
            client.settle()
            uptimes = [client.message(timeout=3) for _ in range(3)]
            self.assertEqual({m.topic for m in uptimes}, {"$SYS/broker/uptime"})
            self.assertFalse(any(m.retain for m in uptimes))
            seconds = [int(m.payload.split()[0]) for m in uptimes]
            self.assertEqual(seconds, sorted(set(seconds)))
            self.assertLessEqual(seconds[2] - seconds[0], 3)

    def test_interval_0_means_none(self):
        """sys_interval 0: not a single topic below `$SYS`."""
        with Broker({"sys_interval": 0}) as broker:
            self.assertEqual(broker.sys_values(), {})

    def test_a_client_cannot_publish_there(self):
        """What a client publishes below `$SYS` reaches nobody and is not kept."""
        with Broker() as broker, Client(broker.address) as watcher, Client(
            broker.address
        ) as forger:
            watcher.subscribe("$SYS/broker/uptime")
            watcher.settle()
            try:
                forger.publish("$SYS/broker/uptime", b"forged", 1, retain=True)
            except (AssertionError, OSError):
                pass  # closing the forger is an answer too
            self.assertNotIn(b"forged", [m.payload for m in watcher.drain()])
            self.assertNotEqual(broker.sys("uptime"), "forged")


if __name__ == "__main__":
    unittest.main()
