"""mqttbench: each mode for a moment against the real broker, and against brokers that do not keep
what they promise."""

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import threading
import unittest

from support import ROOT, Broker, free_port, run

from wire import CONNECT, PUBLISH, SUBSCRIBE, packet

SETTINGS = {
    "max_inflight_messages": 0,
    "max_queued_messages": 0,
    "max_awaiting_rel": 0,
    "connection_messages": "false",
}
QUICK = ("-t", "1", "--warmup", "50")


def program():
    return os.environ.get("MQTTBENCH_BIN") or os.path.join(ROOT, "mqttbench")


def bench(port, *arguments, timeout=40):
    return run(program(), *arguments, "-p", str(port), timeout=timeout)


class Modes(unittest.TestCase):
    """One broker for all; what a mode leaves behind would show in the next."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(SETTINGS).start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def measured(self, *arguments):
        """The JSON of a run that went well, with the broker's account in every phase."""
        done = bench(
            self.broker.port, *arguments, "--json", "-b", str(self.broker.pid), "--patience", "10"
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stderr, "")
        result = json.loads(done.stdout)
        for phase in result["phases"]:
            self.assertGreater(phase["count"], 0, phase)
            self.assertGreater(phase["seconds"], 0, phase)
            self.assertIn("broker_cpu_us_each", phase)
        return result

    def phases(self, result):
        return [phase["name"] for phase in result["phases"]]

    def test_throughput_at_every_qos_and_protocol(self):
        for protocol in ("3.1", "3.1.1", "5.0"):
            for qos in ("0", "1", "2"):
                with self.subTest(protocol=protocol, qos=qos):
                    result = self.measured(
                        "-V", protocol, "-q", qos, "-n", "2000", "--warmup", "0"
                    )
                    self.assertEqual(result["phases"][0]["count"], 2000)
                    self.assertEqual(result["phases"][0]["published"], 2000)
                    self.assertEqual(result["lost"], 0)

    def test_throughput_for_a_time(self):
        result = self.measured(*QUICK)
        self.assertEqual(self.phases(result), ["throughput"])
        self.assertGreater(result["latency_us"]["p50"], 0)
        self.assertGreaterEqual(result["latency_us"]["max"], result["latency_us"]["p99"])

    def test_every_layout_delivers_what_it_should(self):
        layouts = {
            "shared": (("-P", "3", "-S", "5"), 5),
            "pairs": (("-P", "5", "-S", "5", "-l", "pairs"), 1),
            "more subscribers than topics": (("-P", "2", "-S", "6", "-l", "pairs"), 3),
            "wildcard": (("-P", "3", "-S", "4", "-l", "wildcard", "--filters", "40"), 1),
            "uneven wildcard": (("-P", "3", "-S", "4", "-l", "wildcard", "--filters", "41"), 1),
            "group": (("-P", "2", "-S", "6", "-l", "group", "--groups", "2"), 2),
        }
        for name, (arguments, receivers) in layouts.items():
            for qos in ("0", "1"):
                with self.subTest(layout=name, qos=qos):
                    result = self.measured(*arguments, "-q", qos, "-n", "1200", "--warmup", "0")
                    self.assertEqual(result["phases"][0]["count"], 1200 * receivers)

    def test_one_message_at_a_time_and_payloads_of_all_sizes(self):
        for size in ("8", "15", "16", "127", "128", "5000", "300000"):
            with self.subTest(size=size):
                result = self.measured("-s", size, "-i", "1", "-n", "20", "--warmup", "0")
                self.assertEqual(result["phases"][0]["count"], 20)

    def test_latency(self):
        for extra in ((), ("--sleep",), ("-P", "3", "-S", "2")):
            with self.subTest(extra=extra):
                result = self.measured("latency", "-r", "2000", *QUICK, *extra)
                self.assertAlmostEqual(result["phases"][0]["published"], 2000, delta=100)
                self.assertGreater(result["latency_us"]["p50"], 1)
                self.assertGreater(result["latency_us"]["samples"], 1900)

    def test_growth(self):
        result = self.measured("growth", *QUICK, "--bystanders", "60", "--other-filters", "500")
        self.assertEqual(self.phases(result), ["alone", "among bystanders"])
        self.assertGreater(result["facts"]["cpu_growth"], 0)

    def test_connect(self):
        result = self.measured("connect", "-t", "1")
        self.assertGreater(result["phases"][0]["count"], 50)

    def test_reconnect(self):
        result = self.measured("reconnect", "-N", "150")
        self.assertEqual(self.phases(result), ["create", "come back", "discard"])
        self.assertEqual(result["facts"]["sessions_present"], 150)

    def test_idle(self):
        result = self.measured("idle", "-N", "300", "-t", "1")
        self.assertEqual(self.phases(result), ["open", "hold"])
        self.assertEqual([phase["count"] for phase in result["phases"]], [300, 300])
        self.assertIn("bytes_per_client", result["facts"])

    def test_backlog(self):
        for protocol, qos in (("3.1.1", "1"), ("5.0", "2")):
            with self.subTest(protocol=protocol, qos=qos):
                result = self.measured(
                    "backlog", "-V", protocol, "-q", qos, "-n", "3000", "-P", "3"
                )
                self.assertEqual(self.phases(result), ["store", "drain"])
                self.assertEqual([phase["count"] for phase in result["phases"]], [3000, 3000])

    def test_retained(self):
        for qos in ("0", "1"):
            with self.subTest(qos=qos):
                result = self.measured("retained", "-n", "3000", "-q", qos)
                self.assertEqual(self.phases(result), ["store", "replay", "remove"])
                self.assertEqual(result["phases"][1]["count"], 3000)

    def test_the_table_says_the_same_to_people(self):
        done = bench(self.broker.port, "-n", "1000", "--warmup", "0", "-b", str(self.broker.pid))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("broker CPU s", done.stdout)
        self.assertIn("nothing lost, doubled or out of order", done.stdout)

    def test_an_interrupt_ends_a_phase_and_still_reports(self):
        command = [program(), "-t", "60", "-p", str(self.broker.port), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            with self.assertRaises(subprocess.TimeoutExpired):
                process.wait(1.2)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=10)
            self.assertIn(process.returncode, (0, 3))  # what was under way counts as lost
            self.assertGreater(json.loads(output)["phases"][0]["count"], 0)


class Usage(unittest.TestCase):
    def test_help_and_version(self):
        self.assertIn("usage: mqttbench [MODE] [options]", run(program(), "--help").stdout)
        self.assertRegex(run(program(), "--version").stdout, r"^mqttbench version \d+\.\d+")

    def test_bad_options_get_a_sentence_and_status_2(self):
        for words in (["--bogus"], ["-q", "3"], ["sprint"], ["-p"], ["idle", "--qos", "1"]):
            with self.subTest(words=words):
                done = run(program(), *words)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, "")
                self.assertRegex(done.stderr, r"^mqttbench: .+\nTry 'mqttbench --help'\.\n$")

    def test_nobody_at_the_port_is_status_1(self):
        done = bench(free_port())
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot connect to 127.0.0.1", done.stderr)

    def test_a_process_that_is_not_there_is_status_1(self):
        done = run(program(), "-b", "4194000")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no process 4194000", done.stderr)

    def test_a_refusal_is_named(self):
        listener = {"listener": f"{free_port()} 127.0.0.1", "max_connections": 1}
        with Broker(SETTINGS, [listener]) as broker:
            done = bench(broker.port)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "refused a client|closed a connection|broke off")


class FaultyBroker:
    """Answers, subscribes and passes QoS 0 on, but for what `fault` makes of the messages."""

    def __init__(self, fault):
        self.fault, self.count, self.held = fault, 0, None
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.input, self.subscribers, self.ended = {}, [], False
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join(5)
        for connection in [self.listener, *self.input]:
            connection.close()

    def serve(self):
        while not self.ended:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.input[connection] = b""
                    self.selector.register(connection, selectors.EVENT_READ)
                else:
                    self.read(key.fileobj)

    def read(self, connection):
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(connection)
            return
        self.input[connection] += data
        while (whole := self.whole(self.input[connection])) is not None:
            taken, self.input[connection] = (
                self.input[connection][:whole],
                self.input[connection][whole:],
            )
            self.packet(connection, taken)

    @staticmethod
    def whole(data):
        """The bytes of the first packet; lengths of two bytes at most are used here."""
        if len(data) < 3:
            return 2 if data == bytes([0xE0, 0]) else None
        length, header = data[1] & 0x7F, 2
        if data[1] & 0x80:
            length, header = length | data[2] << 7, 3
        return header + length if len(data) >= header + length else None

    def packet(self, connection, data):
        kind = data[0] >> 4
        if kind == CONNECT:
            connection.sendall(packet(0x20, b"\0\0"))
        elif kind == SUBSCRIBE:
            self.subscribers.append(connection)
            connection.sendall(packet(0x90, data[2:4] + b"\0"))
        elif kind == PUBLISH:
            out = b"".join(self.fault(self, data))
            for subscriber in self.subscribers:
                try:
                    subscriber.sendall(out)
                except OSError:
                    pass


def every_tenth(broker):
    broker.count += 1
    return broker.count % 10 == 0


def honest(_, data):
    return [data]


def loses(broker, data):
    return [] if every_tenth(broker) else [data]


def doubles(broker, data):
    return [data, data] if every_tenth(broker) else [data]


def swaps(broker, data):
    """Every tenth message comes after its successor."""
    if every_tenth(broker):
        broker.held = data
        return []
    held, broker.held = broker.held, None
    return [data] if held is None else [data, held]


def alters(broker, data):
    """Another publisher's number in the mark: the last two bytes of its first word."""
    if not every_tenth(broker):
        return [data]
    topic = struct.unpack("!H", data[2:4])[0]
    at = 4 + topic + 6
    return [data[:at] + b"\xff\xff" + data[at + 2 :]]


class Faults(unittest.TestCase):
    """A load generator that does not see a fault is worse than none."""

    def faults(self, fault, *arguments):
        with FaultyBroker(fault) as broker:
            done = bench(
                broker.port, "-n", "995", "--warmup", "0", "--patience", "1", "--json", *arguments
            )
        result = json.loads(done.stdout)
        names = ("lost", "duplicates", "disordered", "foreign")
        return done.returncode, *(result[name] for name in names)

    def test_an_honest_broker_has_no_fault(self):
        self.assertEqual(self.faults(honest), (0, 0, 0, 0, 0))

    def test_loss_is_counted_and_the_status_is_3(self):
        self.assertEqual(self.faults(loses), (3, 99, 0, 0, 0))

    def test_copies_are_counted_and_the_status_is_3(self):
        self.assertEqual(self.faults(doubles), (3, 0, 99, 0, 0))

    def test_disorder_is_counted_and_the_status_is_3(self):
        self.assertEqual(self.faults(swaps), (3, 0, 0, 99, 0))

    def test_what_is_not_of_the_run_is_counted_and_the_status_is_3(self):
        self.assertEqual(self.faults(alters), (3, 99, 0, 0, 99))

    def test_a_loss_shows_in_the_table_too(self):
        with FaultyBroker(loses) as broker:
            done = bench(broker.port, "-n", "100", "--warmup", "0", "--patience", "1")
        self.assertEqual(done.returncode, 3)
        self.assertIn("10 lost", done.stdout)

    def test_a_real_broker_that_forgets_its_queue_is_told(self):
        """max_queued_messages drops by name; mqttbench must see every one of them."""
        with Broker({**SETTINGS, "max_queued_messages": 100}) as broker:
            done = bench(broker.port, "backlog", "-n", "500", "--patience", "1", "--json")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(json.loads(done.stdout)["lost"], 400)


if __name__ == "__main__":
    unittest.main()
