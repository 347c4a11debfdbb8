"""The command line: `-d`, the pid file, signals, exit statuses, and what a bad configuration is
told."""

import os
import signal
import subprocess
import time
import unittest

from support import STOP_S, Broker, free_port, is_listening, process_cpu_s, run, wait_until
from wire import Client

UNKNOWN = "no_such_key_at_all"


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Workplace(unittest.TestCase):
    """A folder with a config file, and `self.broker` only as its description: it is started by
    hand."""

    def setUp(self):
        self.pid_file = None
        self.broker = Broker()
        self.pid_file = os.path.join(self.broker.folder, "pid")
        self.broker.write_config({"pid_file": self.pid_file})
        self.addCleanup(subprocess.run, ["rm", "-rf", self.broker.folder], check=False)
        self.addCleanup(self.end_daemon)

    def read_pid(self):
        try:
            with open(self.pid_file, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def end_daemon(self):
        pid = self.read_pid()
        if pid and is_running(pid):
            os.kill(pid, signal.SIGKILL)

    def start_daemon(self, redirect=None):
        """The exit status of the parent, and how long it took."""
        started = time.monotonic()
        with open(redirect or os.devnull, "ab") as log:
            status = subprocess.run(
                [self.broker.binary, "-d", "-c", self.broker.config_path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=20,
                check=False,
            ).returncode
        return status, time.monotonic() - started

    def stop_daemon(self, number=signal.SIGTERM):
        pid = self.read_pid()
        os.kill(pid, number)
        self.assertTrue(
            wait_until(lambda: not is_running(pid), STOP_S), "still running after the signal"
        )

    def config(self, text):
        path = os.path.join(self.broker.folder, "bad.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Daemon(Workplace):
    def test_the_parent_returns_when_the_daemon_listens(self):
        """Exit status 0 means served: the very next connect works; pid file and session are the
        daemon's."""
        status, took = self.start_daemon()
        self.assertEqual(status, 0)
        self.assertLess(took, 3)
        self.assertTrue(Client(self.broker.address).alive())
        pid = self.read_pid()
        self.assertTrue(is_running(pid))
        self.assertEqual(os.getsid(pid), pid)
        self.stop_daemon()
        self.assertFalse(os.path.exists(self.pid_file), "the pid file is left behind")
        self.assertFalse(is_listening(self.broker.port))

    def test_sigint_stops_it_too(self):
        """SIGINT is SIGTERM: pid file removed, port free, and it can be started again at once."""
        for _ in range(2):
            self.assertEqual(self.start_daemon()[0], 0)
            with Client(self.broker.address) as client:
                self.stop_daemon(signal.SIGINT)
                self.assertTrue(client.closed())
            self.assertFalse(os.path.exists(self.pid_file))

    def test_a_redirected_log_is_kept(self):
        """`mqttd -d -c F > log 2>&1` logs into that file, connects included, also after the
        fork."""
        log = os.path.join(self.broker.folder, "redirected")
        self.assertEqual(self.start_daemon(log)[0], 0)
        Client(self.broker.address, "seen-in-the-log").disconnect()

        def text():
            with open(log, encoding="utf-8", errors="replace") as file:
                return file.read()

        self.assertTrue(wait_until(lambda: "seen-in-the-log" in text(), 3), text())
        self.stop_daemon()

    def test_a_port_in_use_is_told_by_the_parent(self):
        """Status 1 and one clear line from `-d`; no pid file, no process, and the first broker
        lives."""
        with Broker() as first:
            self.broker.listeners = first.listeners
            self.broker.write_config({"pid_file": self.pid_file})
            result = run(self.broker.binary, "-d", "-c", self.broker.config_path)
            self.assertEqual(result.returncode, 1)
            told = [line for line in result.stderr.splitlines() if "rror" in line]
            self.assertEqual(len(told), 1, result.stderr)
            self.assertIn(str(first.port), told[0])
            self.assertIn("in use", told[0])
            self.assertFalse(os.path.exists(self.pid_file))
            self.assertTrue(Client(first.address).alive())

    def test_a_bad_configuration_is_told_before_the_fork(self):
        """`-d` with an unknown key: status 3 and the place, nothing started."""
        path = self.config(f"listener {self.broker.port} 127.0.0.1\n{UNKNOWN} 1\n")
        result = run(self.broker.binary, "-d", "-c", path)
        self.assertEqual(result.returncode, 3)
        self.assertIn("bad.conf:2", result.stderr)
        self.assertFalse(is_listening(self.broker.port))

    def test_an_idle_broker_costs_nothing(self):
        """With one idle client, well under 1 % of a core over 2 s."""
        self.assertEqual(self.start_daemon()[0], 0)
        with Client(self.broker.address):
            pid = self.read_pid()
            before = process_cpu_s(pid)
            time.sleep(2)
            self.assertLess(process_cpu_s(pid) - before, 0.02)
        self.stop_daemon()

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_root_is_dropped_after_binding(self):
        """`user nobody` and a port below 1024: bound as root, served as nobody."""
        port = next(p for p in range(700, 1000) if not is_listening(p))
        with Broker({"user": "nobody"}, [{"listener": f"{port} 127.0.0.1"}]) as broker:
            with open(f"/proc/{broker.pid}/status", encoding="ascii") as file:
                ids = dict(line.split(":", 1) for line in file if line[:3] in ("Uid", "Gid", "Gro"))
            self.assertNotIn("0", ids["Uid"].split())
            self.assertNotIn("0", ids["Gid"].split())
            self.assertNotIn("0", ids["Groups"].split())
            self.assertTrue(Client(broker.address).alive())


class Configuration(Workplace):
    def test_every_error_is_told_with_its_place(self):
        """Three errors in one file: status 3, and each line number named once in one run."""
        path = self.config(
            f"listener {self.broker.port} 127.0.0.1\n{UNKNOWN} 1\n# fine\n"
            "max_inflight_messages many\n"
            "allow_anonymous perhaps\nmax_keepalive 10\n"
        )
        for arguments in (["-c", path], ["-c", path, "--test-config"]):
            result = run(self.broker.binary, *arguments)
            self.assertEqual(result.returncode, 3, result.stderr)
            for line, value in ((2, UNKNOWN), (4, "many"), (5, "perhaps")):
                found = [text for text in result.stderr.splitlines() if f"bad.conf:{line}:" in text]
                self.assertEqual(len(found), 1, result.stderr)
                self.assertIn(value, found[0])
            for line in (1, 3, 6):
                self.assertNotIn(f"bad.conf:{line}:", result.stderr)

    def test_a_feature_that_is_not_built_stops_the_start(self):
        """A TLS key is never ignored; a key at the value that switches its feature off is
        accepted."""
        refused = self.config(f"listener {self.broker.port} 127.0.0.1\ncertfile /tmp/x.pem\n")
        result = run(self.broker.binary, "-c", refused, "--test-config")
        self.assertEqual(result.returncode, 3)
        self.assertIn("bad.conf:2", result.stderr)
        accepted = self.config(
            "persistence false\nper_listener_settings false\nmax_inflight_bytes 0\n"
        )
        self.assertEqual(run(self.broker.binary, "-c", accepted, "--test-config").returncode, 0)

    def test_test_config_starts_nothing(self):
        """A good file is status 0, without listening and without a pid file; a missing one is
        status 3."""
        result = run(self.broker.binary, "--test-config", "-c", self.broker.config_path)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertFalse(os.path.exists(self.pid_file))
        missing = run(self.broker.binary, "--test-config", "-c", self.broker.config_path + ".not")
        self.assertEqual(missing.returncode, 3)
        self.assertIn("mqttd.conf.not", missing.stderr)

    def test_the_command_line_answers(self):
        """-h and --version print and end with 0; an unknown flag or a flag without its value is
        status 3."""
        binary = self.broker.binary
        for flag in ("-h", "--help", "--version"):
            result = run(binary, flag)
            self.assertEqual(result.returncode, 0, flag)
            self.assertIn("mqttd", result.stdout, flag)
        for arguments in (["--no-such-flag"], ["-c"], ["-p", "0"], ["-p", "x"], ["stray"]):
            result = run(binary, *arguments)
            self.assertEqual(result.returncode, 3, arguments)
            self.assertNotEqual(result.stderr.strip(), "", arguments)

    def started(self, *arguments, config=True):
        """A broker in the foreground; returns once its port listens.  Its output goes to a file."""
        out = os.path.join(self.broker.folder, "out")
        with open(out, "ab") as log:
            process = subprocess.Popen(
                [
                    self.broker.binary,
                    *(["-c", self.broker.config_path] if config else []),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(lambda: process.poll() is None and process.kill())
        self.assertTrue(
            wait_until(lambda: is_listening(self.broker.port) or process.poll() is not None)
        )

        def finish():
            process.terminate()
            self.assertEqual(process.wait(STOP_S), 0)
            with open(out, encoding="utf-8", errors="replace") as file:
                return file.read()

        return finish

    def test_p_serves_this_machine_without_a_file(self):
        """`mqttd -p N`: anonymous clients on loopback, both families, and no other address."""
        finish = self.started("-p", str(self.broker.port), config=False)
        self.assertTrue(Client(("127.0.0.1", self.broker.port)).alive())
        self.assertTrue(Client(("::1", self.broker.port)).alive())
        with self.assertRaises(OSError):
            Client(("127.0.0.5", self.broker.port))
        finish()

    def test_verbose_and_quiet(self):
        """-v logs what the file does not ask for, -q nothing at all, and -q beats -v."""
        sizes = {}
        for arguments in ((), ("-v",), ("-q",), ("-v", "-q")):
            open(os.path.join(self.broker.folder, "out"), "w", encoding="ascii").close()
            finish = self.started(*arguments)
            with Client(self.broker.address, "who-is-this") as client:
                client.subscribe("some/filter", 1)
                client.disconnect()
            sizes[arguments] = text = finish()
            self.assertEqual("some/filter" in text, arguments == ("-v",), text)
        self.assertIn("who-is-this", sizes[()])
        self.assertEqual((sizes[("-q",)], sizes[("-v", "-q")]), ("", ""))


if __name__ == "__main__":
    unittest.main()
