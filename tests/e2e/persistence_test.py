"""What survives: restarts, kills, damage; and what stops a start."""

import glob
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from support import ROOT, Broker, run, wait_until
from wire import PUBACK, Client, publish

PERSISTENT = {"persistence": "true", "sys_interval": 1}


def sub(broker, *words, wait="1"):
    """What mosquitto_sub prints."""
    place = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-W", wait, "-v"]
    return run(*place, *words).stdout.splitlines()


def pub(broker, *words):
    done = run("mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), *words)
    assert done.returncode == 0, done.stderr


def files(broker):
    return sorted(glob.glob(os.path.join(broker.folder, "mqttd.journal", "*.log")))


class Restart(unittest.TestCase):
    def setUp(self):
        self.broker = Broker(PERSISTENT).start()
        self.addCleanup(self.end)

    def end(self):
        if self.broker.process.poll() is None:
            self.broker.stop()

    def restart(self, number=signal.SIGTERM):
        self.broker.process.send_signal(number)
        self.broker.process.wait(10)
        self.broker.start()

    def fill(self):
        run("mosquitto_sub", "-h", "127.0.0.1", "-p", str(self.broker.port), "-E", "-c", "-i", "s",
            "-q", "2", "-t", "q/#")
        for qos in "12":
            pub(self.broker, "-q", qos, "-t", f"q/{qos}", "-m", f"at {qos}")
        pub(self.broker, "-r", "-t", "kept", "-m", "value")

    def check(self):
        self.assertEqual(sub(self.broker, "-t", "kept", "-C", "1"), ["kept value"])
        got = sub(self.broker, "-c", "-i", "s", "-q", "2", "-t", "q/#", "-C", "2")
        self.assertEqual(sorted(got), ["q/1 at 1", "q/2 at 2"])

    def test_after_an_orderly_end(self):
        """Session, subscription, queue and retained message are there again."""
        self.fill()
        self.restart()
        self.check()
        told = "1 sessions, 1 subscriptions, 1 retained messages, 2 queued"
        self.assertIn(told, self.broker.log())
        self.restart()
        self.assertEqual(sub(self.broker, "-c", "-i", "s", "-q", "2", "-t", "q/#"), [])

    def test_after_a_kill(self):
        self.fill()
        self.restart(signal.SIGKILL)
        self.check()

    def test_damage_is_skipped_and_told(self):
        """A byte in the middle is wrong: what does not depend on it is there, the rest is named."""
        self.fill()
        self.restart()  # so that what comes before is known to have been safe
        self.assertTrue(wait_until(lambda: self.broker.log().count(" read in ") == 2, 5))
        self.assertTrue(wait_until(lambda: len(files(self.broker)) >= 2, 5))
        self.broker.process.send_signal(signal.SIGKILL)
        self.broker.process.wait(10)
        with open(files(self.broker)[0], "r+b") as file:
            data = file.read(4096)
            at = data.index(b"value")
            file.seek(at)
            file.write(b"VALUE")
        self.broker.start()
        self.assertTrue(wait_until(lambda: "damaged in 1 places" in self.broker.log(), 5))
        self.assertEqual(sub(self.broker, "-t", "kept"), [])
        got = sub(self.broker, "-c", "-i", "s", "-q", "2", "-t", "q/#", "-C", "2")
        self.assertEqual(sorted(got), ["q/1 at 1", "q/2 at 2"])

    def test_a_dead_scribe_is_replaced(self):
        self.fill()
        for _ in range(3):
            found = run("pgrep", "-x", "mqttd-scribe").stdout.split()
            mine = [pid for pid in found if self.is_mine(pid)]
            self.assertEqual(len(mine), 1)
            os.kill(int(mine[0]), signal.SIGKILL)
            pub(self.broker, "-q", "1", "-r", "-t", "kept", "-m", "value")
        self.assertIn("the scribe of the journal ended", self.broker.log())
        self.restart(signal.SIGKILL)
        self.check()

    def test_a_scribe_that_stands_still_stops_nobody_else(self):
        """For five seconds nothing is written, and the ring fills: only who needs it waits."""
        found = run("pgrep", "-x", "mqttd-scribe").stdout.split()
        scribe = int(next(pid for pid in found if self.is_mine(pid)))
        count, text = 300, b"x" * 100_000
        with Client(self.broker.address, "away", clean=False) as away:
            away.subscribe("kept", qos=1)

        def write():
            writer.sock.settimeout(30)
            writer.send(b"".join(publish("kept", text, 1, mid=i + 1) for i in range(count)))

        with Client(self.broker.address, "writer") as writer, \
                Client(self.broker.address, "live") as live:
            live.subscribe("live", qos=0)
            writing = threading.Thread(target=write)
            os.kill(scribe, signal.SIGSTOP)
            try:
                writing.start()
                until, longest = time.monotonic() + 5, 0.0
                while time.monotonic() < until:
                    began = time.monotonic()
                    live.publish("live", b"0")
                    live.message()
                    longest = max(longest, time.monotonic() - began)
                    time.sleep(0.01)
                self.assertFalse(writer.readable(0))  # nothing was acknowledged
                self.assertTrue(writing.is_alive())  # its link is not read any more
            finally:
                os.kill(scribe, signal.SIGCONT)
            writing.join(30)
            for i in range(count):
                got = writer.expect(PUBACK, 30)
                self.assertEqual(int.from_bytes(got.body[:2], "big"), i + 1)
        self.assertLess(longest, 1.0)  # as far as a busy machine lets it
        self.restart(signal.SIGKILL)
        self.assertTrue(wait_until(lambda: f"{count} queued" in self.broker.log(), 10))

    def is_mine(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return self.broker.config_path.encode() in file.read()
        except OSError:
            return False

    def test_a_dead_keeper_is_replaced_and_leaves_nothing(self):
        def children():
            return [line.split() for line in
                    run("ps", "-o", "pid=,stat=,comm=", "--ppid", str(self.broker.pid))
                    .stdout.splitlines()]

        for _ in range(3):
            (pid, _, name), = children()
            self.assertEqual(name, "mqttd-keeper")
            os.kill(int(pid), signal.SIGKILL)
            self.assertTrue(wait_until(lambda: [c[0] for c in children()] not in ([pid], []), 5))
            self.assertEqual([c[1][0] for c in children()], ["S"])  # and no zombie
            pub(self.broker, "-q", "1", "-r", "-t", "kept", "-m", "value")
        self.fill()
        self.restart(signal.SIGKILL)
        self.check()

    def test_usr1_and_the_values_below_sys(self):
        self.fill()
        self.broker.process.send_signal(signal.SIGUSR1)
        self.assertTrue(wait_until(lambda: int(self.broker.sys("persist/bytes") or 0) > 0, 5))
        self.assertEqual(self.broker.sys("persist/state"), "serving")
        self.assertTrue(wait_until(lambda: self.broker.sys("persist/log_lag") == "0", 5))

        def publishing_shows(name, low, high):
            pub(self.broker, "-q", "1", "-r", "-t", "kept", "-m", "value")
            return low <= int(self.broker.sys(name)) <= high

        self.assertTrue(wait_until(lambda: publishing_shows("persist/fsync_us/p99", 1, 5_000_000), 9))
        self.assertLess(int(self.broker.sys("persist/save_ms")), 10_000)


class Loop(unittest.TestCase):
    def test_after_start_no_file_is_touched_by_the_loop(self):
        """Under load the loop's system calls are those of sockets and events."""
        # $SYS looks into /proc, which is no disk.
        with Broker({**PERSISTENT, "sys_interval": 0}) as broker:
            self.look(broker)

    def look(self, broker):
        pid = str(broker.pid)
        with Client(broker.address, "writer", clean=False) as writer, subprocess.Popen(
            ["strace", "-c", "-p", pid, "-o", os.path.join(broker.folder, "calls")],
            stderr=subprocess.DEVNULL,
        ) as trace:
            time.sleep(0.5)  # until it is attached
            for i in range(200):
                writer.publish(f"r/{i % 7}", b"x" * 500, qos=1, retain=True)
            self.assertTrue(writer.alive())
            trace.send_signal(signal.SIGINT)
            trace.wait(10)
        with open(os.path.join(broker.folder, "calls"), encoding="ascii") as file:
            calls = {line.split()[-1] for line in file if line[:1] == " " and "total" not in line}
        self.assertIn("epoll_wait", calls)
        files_only = {"open", "openat", "fsync", "fdatasync", "sync_file_range", "pread64",
                      "pwrite64", "rename", "renameat", "unlink", "unlinkat", "stat", "fallocate"}
        self.assertEqual(calls & files_only, set())


class Backlog(unittest.TestCase):
    """More waits than memory has room for."""

    COUNT = 60_000
    SIZE = 1_000

    def fill(self, broker):
        with Client(broker.address, "away", clean=False) as away:
            away.subscribe("q", qos=1)
        text = b"x" * (self.SIZE - 8)
        with Client(broker.address, "writer") as writer:
            for begin in range(0, self.COUNT, 500):
                some = range(begin, begin + 500)
                writer.send(b"".join(publish("q", b"%08d" % i + text, 1, mid=i % 60_000 + 1)
                                     for i in some))
                for _ in some:
                    writer.expect(PUBACK)

    def test_it_is_there_after_a_kill_and_comes_in_order(self):
        settings = {**PERSISTENT, "memory_limit": 32 << 20, "max_queued_messages": 0,
                    "max_inflight_messages": 1000}
        with Broker(settings) as broker:
            self.fill(broker)

            def paged():
                value = sub(broker, "-t", "$SYS/broker/persist/paged/messages", "-C", "1")
                return int(value[0].split()[1]) if value else 0

            self.assertTrue(wait_until(lambda: paged() > self.COUNT // 2, 10))
            broker.process.kill()
            broker.process.wait(10)
            broker.start()
            self.assertTrue(wait_until(lambda: f"{self.COUNT} queued" in broker.log(), 20))
            with Client(broker.address, "away", clean=False) as away:
                for number in range(self.COUNT):
                    got = away.message(timeout=20)
                    self.assertEqual(int(got.payload[:8]), number)
            self.assertNotIn("Error:", broker.log())


class Kills(unittest.TestCase):
    def test_what_was_acknowledged_survives(self):
        """A dozen kills of broker, scribe, keeper and all of them; `make crash` makes a thousand."""
        done = run(sys.executable, os.path.join(ROOT, "tests/crash/kills.py"), "12", timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(": 0 missing, 0 doubled at QoS 2, 0 out of order, 0 sessions lost", done.stdout)


class Refusals(unittest.TestCase):
    def start(self, broker, **environment):
        """Runs a broker that is not to come up; what it says."""
        with open(broker.log_path, "ab") as log:
            status = subprocess.run(
                [broker.binary, "-c", broker.config_path],
                stdout=log,
                stderr=log,
                timeout=30,
                check=False,
                env={**os.environ, **environment},
            ).returncode
        self.assertEqual(status, 1)
        return broker.log()

    def test_a_second_broker_on_the_directory(self):
        with Broker(PERSISTENT) as first:
            second = Broker({**PERSISTENT, "persistence_location": first.folder})
            told = self.start(second)
            self.assertRegex(told, r"The journal in .*mqttd\.journal is in use by another broker")
            pub(first, "-q", "1", "-r", "-t", "a", "-m", "b")

    def test_a_location_that_is_not_there(self):
        broker = Broker({**PERSISTENT, "persistence_location": "/no/such/place"})
        self.assertIn("Unable to make the directory of the journal, /no/such/place/mqttd.journal: "
                      "there is no such directory.", self.start(broker))

    def test_a_journal_of_another_version(self):
        broker = Broker(PERSISTENT)
        with broker:
            pub(broker, "-q", "1", "-r", "-t", "a", "-m", "b")
            broker.process.send_signal(signal.SIGTERM)
            broker.process.wait(10)
            sys.path.insert(0, os.path.join(ROOT, "tests/crash"))
            import head  # noqa: the forger of file heads

            head.set_version(files(broker)[0], 99)
            self.assertIn("is of another version of its format",
                          self.start(broker, MOSQUITTO_PERSISTENCE_LOCATION=broker.folder))
            head.set_version(files(broker)[0], 1)
            broker.start()
            self.assertEqual(sub(broker, "-t", "a", "-C", "1"), ["a b"])


if __name__ == "__main__":
    unittest.main()
