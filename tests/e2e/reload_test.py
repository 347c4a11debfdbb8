"""SIGHUP: a good file is put in force without dropping anybody, a bad one changes nothing.  And
SIGRTMIN, which only opens the log again."""

import os
import signal
import time
import unittest

from support import Broker, free_port, is_listening, wait_until
from wire import Client, connect, open_socket

DONE = "Configuration reloaded"
REFUSED = "the configuration was not reloaded"
BASE = {"log_type": ["error", "warning", "notice"], "max_queued_messages": 3}


def kept_for_absent(broker, name, sent=8):
    """How many of `sent` messages a session that was away finds waiting."""
    with Client(broker.address, name, clean=False) as client:
        client.subscribe(name, 1)
        client.disconnect()
    with Client(broker.address) as publisher:
        for number in range(sent):
            publisher.publish(name, str(number), 1)
        publisher.disconnect()
    with Client(broker.address, name, clean=False) as client:
        found = len(client.settle())
        client.disconnect()
    return found


class Reload(unittest.TestCase):
    def setUp(self):
        self.broker = Broker()
        self.addCleanup(self.broker.kill)

    def start(self, config=None, listeners=None):
        if listeners:
            self.broker.listeners = listeners
        self.broker.write_config({**BASE, **(config or {})})
        self.broker.start()
        return self.broker

    def hang_up(self, word=DONE):
        """Sends SIGHUP and waits for its line in the log; what was logged since."""
        before = len(self.broker.log())
        os.kill(self.broker.pid, signal.SIGHUP)
        self.assertTrue(wait_until(lambda: word in self.broker.log()[before:]), self.broker.log())
        return self.broker.log()[before:]

    def write(self, **config):
        self.broker.write_config({**BASE, **config})

    def test_busy_poll_spins_after_input_and_only_then(self):
        """It takes the core for so long after the last input; a reload switches it on and off."""

        def spent(broker):
            """Processor time in the half second after a ping."""
            client.drain()
            before = broker.cpu_s()
            time.sleep(0.5)
            return broker.cpu_s() - before

        broker = self.start()
        with Client(broker.address, "stays") as client:
            self.assertLess(spent(broker), 0.05)
            self.write(busy_poll=1_000_000)  # the longest there is
            self.assertNotIn("busy_poll", self.hang_up())  # no restart
            # All of it, were this machine ours alone.
            self.assertTrue(wait_until(lambda: spent(broker) > 0.1, 10, 0))
            self.assertTrue(wait_until(lambda: self.idles(broker), 5, 0))
            self.write(busy_poll=0)
            self.hang_up()
            self.assertLess(spent(broker), 0.05)
            self.write(busy_poll=1_000_001)
            self.assertIn("busy_poll", self.hang_up(REFUSED))

    @staticmethod
    def idles(broker):
        before = broker.cpu_s()
        time.sleep(0.3)
        return broker.cpu_s() - before < 0.02

    def test_a_good_file_is_put_in_force(self):
        """max_queued_messages, sys_interval and log_type change; a client stays connected with its
        subscription."""
        broker = self.start({"sys_interval": 1, "max_inflight_messages": 1})
        stays = Client(broker.address, "stays")
        stays.subscribe("here", 1)
        self.assertEqual(kept_for_absent(broker, "away-1"), 3)
        self.assertNotIn("away-1 1 away-1", broker.log())
        uptime = broker.sys("uptime")
        self.assertTrue(wait_until(lambda: broker.sys("uptime") != uptime, 4, 0.1))

        self.write(
            max_queued_messages=5,
            max_inflight_messages=1,
            sys_interval=600,
            log_type=["notice", "subscribe"],
        )
        told = self.hang_up()
        self.assertNotIn("restart", told)
        self.assertEqual(kept_for_absent(broker, "away-2"), 5)
        self.assertIn("away-2 1 away-2", broker.log())
        time.sleep(1.2)  # the tick that was due
        uptime = broker.sys("uptime")
        time.sleep(1.5)
        self.assertEqual(broker.sys("uptime"), uptime)

        with Client(broker.address) as publisher:
            publisher.publish("here", b"still", 1)
        self.assertEqual(stays.message().payload, b"still")
        broker.stop()

    def test_a_bad_file_changes_nothing(self):
        """Every error is in the log with its line; limits, log and clients stay; the next good file
        is taken."""
        broker = self.start({"max_inflight_messages": 1})
        stays = Client(broker.address, "stays")
        stays.subscribe("here", 1)
        self.write(
            max_queued_messages=7, max_inflight_messages=1, log_type="none", nonsense=1, sys_qos=3
        )
        told = self.hang_up(REFUSED)
        lines = open(broker.config_path, encoding="utf-8").read().splitlines()
        for key in ("nonsense 1", "sys_qos 3"):
            number = lines.index(key) + 1
            self.assertEqual(told.count(f"mqttd.conf:{number}: error: "), 1, told)
        self.assertEqual(kept_for_absent(broker, "away-1"), 3)
        with Client(broker.address) as publisher:
            publisher.publish("here", b"still", 1)
        self.assertEqual(stays.message().payload, b"still")

        os.unlink(broker.config_path)
        self.assertIn("there is no such file", self.hang_up(REFUSED))
        self.write(log_dest="file /no/such/folder/log")
        self.assertIn("Unable to open the log file", self.hang_up(REFUSED))

        self.write(max_queued_messages=7, max_inflight_messages=1)
        self.hang_up()
        self.assertEqual(kept_for_absent(broker, "away-2"), 7)
        self.assertTrue(stays.alive())
        broker.stop()

    def test_what_needs_a_restart_is_named(self):
        """One line per key; the listener that is gone from the file is served on, the new one is
        not opened, and what else the file says is in force."""
        port, other = free_port(), free_port()
        broker = self.start(listeners=[{"listener": f"{port} 127.0.0.1"}])
        old = Client(broker.address, "old")
        broker.listeners = [{"listener": f"{other} 127.0.0.1"}]
        self.write(memory_limit=99_000_000, max_inflight_messages=1, max_queued_messages=5)
        told = self.hang_up()
        broker.listeners = [{"listener": f"{port} 127.0.0.1"}]
        for what in ("memory_limit", f"listener {port} 127.0.0.1 is gone", f"listener {other} 127"):
            self.assertEqual(told.count(what), 1, told)
        self.assertEqual(told.count("that needs a restart"), 3, told)
        self.assertFalse(is_listening(other))
        self.assertTrue(old.alive())
        self.assertEqual(kept_for_absent(broker, "away"), 5)

        self.write(backlog=7)
        self.assertIn(f"backlog of listener {port} 127.0.0.1 has changed", self.hang_up())
        broker.stop()

    def test_caps_and_access_of_a_listener_change(self):
        """max_connections and listener_access hold for whoever comes next; who is in stays."""
        port = free_port()
        broker = self.start(listeners=[{"listener": f"{port} 127.0.0.1", "max_connections": 1}])
        first = Client(broker.address, "first")
        with self.assertRaises((AssertionError, OSError)):
            Client(broker.address, "second")
        broker.listeners[0]["max_connections"] = 2
        self.write()
        self.hang_up()
        second = Client(broker.address, "second")
        broker.listeners[0]["listener_access"] = ["deny 127.0.0.0/8", "allow all"]
        self.write()
        self.hang_up()
        with self.assertRaises((AssertionError, OSError)):
            Client(broker.address, "third")
        self.assertTrue(first.alive() and second.alive())
        second.disconnect()
        del broker.listeners[0]["listener_access"]
        broker.listeners[0]["listener_allow_anonymous"] = "false"
        self.write()
        self.hang_up()
        refused = open_socket(broker.address)
        refused.sendall(connect("anonymous"))
        self.assertEqual(refused.recv(4), b"\x20\x02\x00\x05")
        refused.close()
        broker.stop()

    def test_include_dir_is_read_again(self):
        """A file dropped into conf.d is taken at SIGHUP; one with an error is refused by its name."""
        folder = os.path.join(self.broker.folder, "conf.d")
        os.mkdir(folder)

        def drop(name, text):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)

        broker = self.start({"include_dir": folder, "max_inflight_messages": 1})
        self.assertEqual(kept_for_absent(broker, "away-1"), 3)
        drop("limits.conf", "max_queued_messages 5\n")
        self.hang_up()
        self.assertEqual(kept_for_absent(broker, "away-2"), 5)
        drop("wrong.conf", "\nmax_queued_messages many\n")
        self.assertIn("wrong.conf:2: error: ", self.hang_up(REFUSED))
        self.assertEqual(kept_for_absent(broker, "away-3"), 5)
        broker.stop()

    def test_the_log_moves_with_the_file(self):
        """Another log_dest takes over between two lines."""
        broker = self.start()
        path = os.path.join(broker.folder, "other.log")
        self.write(log_dest=f"file {path}", log_timestamp="false")
        os.kill(broker.pid, signal.SIGHUP)

        def text():
            return open(path, encoding="utf-8").read() if os.path.exists(path) else ""

        self.assertTrue(wait_until(lambda: DONE in text()))
        self.assertTrue(any(line.startswith(DONE) for line in text().splitlines()), text())
        broker.stop()

    def test_a_moved_log_is_opened_again(self):
        """After `mv log log.1`, SIGRTMIN and SIGHUP each begin a new file under the old name."""
        path = os.path.join(self.broker.folder, "file.log")
        broker = self.start({"log_dest": f"file {path}"})
        self.assertTrue(wait_until(lambda: os.path.exists(path)))
        for number, name in ((signal.SIGRTMIN, "one"), (signal.SIGHUP, "two")):
            os.rename(path, f"{path}.{name}")
            os.kill(broker.pid, number)
            self.assertTrue(wait_until(lambda: os.path.exists(path)), name)
        os.kill(broker.pid, signal.SIGUSR1)
        self.assertTrue(
            wait_until(lambda: "persistence" in open(path, encoding="utf-8").read()),
            "the new file is not written",
        )
        broker.stop()


if __name__ == "__main__":
    unittest.main()
