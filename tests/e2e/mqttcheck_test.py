"""mqttcheck against journals that the real broker wrote: what it says of them, of damaged ones, of
one that is being written; and a copy on which a broker starts."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from support import ROOT, Broker, run

from wire import Client, publish

RAW = bytes(range(128, 256)) * 4


def program():
    return os.environ.get("MQTTCHECK_BIN") or os.path.join(ROOT, "mqttcheck")


def check(*arguments):
    return run(program(), *arguments)


def lines(*arguments):
    done = check(*arguments)
    return [json.loads(line) for line in done.stdout.splitlines()], done


def listing(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            found[name] = (os.stat(path).st_mtime_ns, file.read())
    return found


def kept(location):
    """What a broker on it tells clients: queue, window and retained messages."""
    with Broker({"persistence": "true", "persistence_location": location}) as broker:
        with Client(broker.address, "away", clean=False) as client:
            assert client.session_present
            queued = [(m.topic, m.payload, m.qos) for m in client.settle()]
            client.publish("back/1", b"", qos=1)
        with Client(broker.address, "reader") as reader:
            reader.subscribe("#")
            retained = sorted((m.topic, m.payload) for m in reader.settle())
    return queued, retained


class Check(unittest.TestCase):
    """One journal for all: made once, copied before it is changed."""

    @classmethod
    def setUpClass(cls):
        cls.location = tempfile.mkdtemp(prefix="mqttd-e2e-")
        cls.journal = os.path.join(cls.location, "mqttd.journal")
        broker = Broker({"persistence": "true", "persistence_location": cls.location})
        with broker:
            with Client(broker.address, "away", clean=False) as client:
                client.subscribe([("q/#", 1), ("exact/+", 2)])
                client.disconnect()
            with Client(broker.address, "writer", clean=False) as writer:
                for number in range(20):
                    writer.publish(f"q/{number}", f"text {number}", qos=1)
                writer.publish("exact/1", RAW, qos=2)
                writer.publish("r/1", "kept", qos=1, retain=True)
                writer.publish("r/2", RAW, qos=1, retain=True)
                writer.publish("r/3", "gone", qos=1, retain=True)
                writer.publish("r/3", "", qos=1, retain=True)
                writer.send(publish("q/half", "never released", qos=2, mid=77))
                writer.expect(5)
                cls.running = check(cls.location)
        cls.before = listing(cls.journal)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.location, ignore_errors=True)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mqttd-e2e-")

    def tearDown(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.assertEqual(listing(self.journal), self.before, "the journal was touched")

    def copy(self):
        location = os.path.join(self.folder, "copy")
        shutil.copytree(self.journal, os.path.join(location, "mqttd.journal"))
        return location

    def test_sound(self):
        for path in (self.location, self.location + "/", self.journal):
            done = check(path)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
            self.assertIn(f"{self.journal}: sound.", done.stdout)
            self.assertRegex(done.stdout, r"sessions +2: 0 connected at the end, 2 away")
            self.assertRegex(done.stdout, r"subscriptions +2\n")
            self.assertRegex(done.stdout, r"retained +2\n")
            self.assertRegex(done.stdout, r"queued +21\n")
            self.assertRegex(done.stdout, r"inbound +1\n")

    def test_running(self):
        """It was asked while the broker served: the same, with a word about that."""
        self.assertEqual(self.running.returncode, 0, self.running.stdout)
        self.assertEqual(len(self.running.stderr.splitlines()), 1)
        self.assertIn("a broker writes this journal (process ", self.running.stderr)
        self.assertRegex(self.running.stdout, r"sessions +2: 1 connected at the end, 1 away")

    def test_records_and_state(self):
        records, done = lines("--json", self.location)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        kinds = {record["type"] for record in records}
        wanted = {"start", "batch", "session", "subscribed", "message", "deliveries", "retained"}
        self.assertLessEqual(wanted | {"cleared", "inbound", "away"}, kinds)
        positions = [record["position"] for record in records]
        self.assertEqual(positions, sorted(set(positions)))
        raw = next(r for r in records if r.get("topic") == "exact/1")
        self.assertEqual(base64.b64decode(raw["payload_base64"]), RAW[:64])
        self.assertEqual(raw["payload_bytes"], len(RAW))

        state, done = lines("--state", "--payload", "1000", self.journal)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        of = {}
        for line in state:
            of.setdefault(line["kind"], []).append(line)
        self.assertEqual({s["client_id"] for s in of["session"]}, {"away", "writer"})
        self.assertEqual({s["filter"]: s["qos"] for s in of["subscription"]}, {"q/#": 1, "exact/+": 2})
        texts = [q.get("payload") for q in of["queued"]]
        self.assertEqual(texts, [f"text {n}" for n in range(20)] + [None])
        self.assertEqual(base64.b64decode(of["queued"][-1]["payload_base64"]), RAW)
        self.assertEqual({r["topic"] for r in of["retained"]}, {"r/1", "r/2"})
        self.assertEqual([(i["packet_id"], i["topic"]) for i in of["inbound"]], [(77, "q/half")])

        stats = check("--stats", self.location)
        self.assertEqual(stats.returncode, 0)
        self.assertRegex(stats.stdout, r"message +2\d +")
        self.assertIn('"away", away', stats.stdout)

    def test_damage_and_repair(self):
        """A byte in the middle: it says what is lost, and the copy has the rest."""
        location = self.copy()
        records, _ = lines("--json", self.location)
        victim = next(r["position"] for r in records if r.get("payload") == "text 7")
        path = os.path.join(location, "mqttd.journal", "0000000000000000.log")
        with open(path, "r+b") as file:
            file.seek(victim + 20)
            byte = file.read(1)
            file.seek(victim + 20)
            file.write(bytes([byte[0] ^ 1]))
        done = check(location)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("damaged.", done.stdout)
        self.assertIn(f"at position {victim} (0000000000000000.log+{victim})", done.stdout)
        self.assertIn("1 delivery of messages that are not there", done.stdout)
        self.assertEqual(check("--json", location).returncode, 1)

        mended = os.path.join(self.folder, "mended")
        os.mkdir(mended)
        out = os.path.join(mended, "mqttd.journal")
        done = check("--repair", out, location)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("ended 1 delivery without a message", done.stdout)
        self.assertEqual(check(mended).returncode, 0)
        told = kept(mended)
        self.assertEqual(told, kept(location))
        self.assertEqual(len(told[0]), 20)
        self.assertEqual(check(mended).returncode, 0)  # and after a life of the broker

        again = check("--repair", out, location)
        self.assertEqual(again.returncode, 3)
        self.assertIn("is not empty", again.stderr)

    def test_refused(self):
        for arguments in ((), ("a", "b"), ("--nothing", "a"), ("--repair",)):
            self.assertEqual(check(*arguments).returncode, 2, arguments)
        nothing = check(self.folder + "/none")
        self.assertEqual(nothing.returncode, 3)
        self.assertIn("there is no such directory", nothing.stderr)
        self.assertEqual(check(self.folder).returncode, 3)
        self.assertIn("holds no journal", check(self.folder).stderr)
        location = self.copy()
        other = os.path.join(self.folder, "other")
        self.assertEqual(check("--repair", other, location).returncode, 0)
        shutil.copy(os.path.join(other, "0000000000000001.log"), location + "/mqttd.journal")
        mixed = check(location)
        self.assertEqual(mixed.returncode, 3)
        self.assertIn("files of more than one journal", mixed.stderr)
        full = subprocess.run(
            [program(), "--json", self.location],
            stdout=open("/dev/full", "wb"),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.assertEqual(full.returncode, 3)
        self.assertIn("usage: mqttcheck", check("--help").stdout)
        self.assertRegex(check("--version").stdout, r"mqttcheck version \d")


if __name__ == "__main__":
    unittest.main()
