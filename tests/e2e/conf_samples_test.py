"""Configuration files as they are found in the field (conf/): which of them start, and which are
refused for which keys, is in conf/expected.txt.  Debian's mosquitto, where it is installed, must
agree about the plain ones.  And what is said at the start when something is wrong around the file."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from support import Broker, free_port, is_listening, is_listening_path, program, run, wait_until
from wire import Client

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conf")
MOSQUITTO = "/usr/sbin/mosquitto"
NETWORK_KEYS = ("listener", "port")


def expectations():
    """[(file, what mosquitto does, refused keys or None)]"""
    with open(os.path.join(FOLDER, "expected.txt"), encoding="utf-8") as lines:
        rows = [re.split(r"\s*\|\s*", line.strip(), 2) for line in lines if line[0] != "#"]
    return [
        (file, mosquitto, None if ours == "starts" else ours.split()[1:])
        for file, mosquitto, ours in rows
    ]


class Samples(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mqttd-e2e-")
        os.chmod(self.folder, 0o777)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        shutil.copytree(os.path.join(FOLDER, "conf.d"), os.path.join(self.folder, "conf.d"))

    def copy(self, file):
        """The file as it is, but for the directory it includes."""
        with open(os.path.join(FOLDER, file), "rb") as source:
            text = source.read()
        path = os.path.join(self.folder, file)
        with open(path, "wb") as target:
            target.write(text.replace(b"/etc/mosquitto/conf.d", self.folder.encode() + b"/conf.d"))
        return path

    def startable(self, file):
        """A copy that any user may start beside others: free ports, paths of ours.  Returns its path
        and where it will listen."""
        places, keys = [], []

        def moved(line):
            key, value = [*line.split(None, 1), "", ""][:2]
            keys.append(key)
            if key == "listener" and value.startswith("0 "):
                places.append(os.path.join(self.folder, f"{file}.sock"))
                return f"listener 0 {places[-1]}"
            port, _, address = value.partition(" ")
            if key in NETWORK_KEYS and 0 < int(port) < 65536:
                places.append(free_port())
                return f"{key} {places[-1]}{' ' if address else ''}{address}"
            if key == "pid_file" or line.startswith("log_dest file"):
                return f"{key}{' file' if key == 'log_dest' else ''} {self.folder}/{file}.{key}"
            if key == "include_dir":
                return f"{key} {self.folder}/{file}.d"
            return "" if key == "user" else line

        def rewrite(source, target):
            with open(source, "rb") as lines:
                text = [line.rstrip("\r\n") for line in lines.read().decode().split("\n")]
            with open(target, "wb") as out:
                out.write("\r\n".join(map(moved, text)).encode())

        path = os.path.join(self.folder, file + ".moved")
        rewrite(os.path.join(FOLDER, file), path)
        if "include_dir" in keys:
            os.mkdir(os.path.join(self.folder, file + ".d"))
            for name in os.listdir(os.path.join(FOLDER, "conf.d")):
                source = os.path.join(FOLDER, "conf.d", name)
                rewrite(source, os.path.join(self.folder, file + ".d", name))
        if os.geteuid() == 0:
            with open(path, "a", encoding="utf-8") as out:
                out.write("\nuser root\n")
        return path, places

    @staticmethod
    def starts(binary, path, places):
        """True if the program listens at all places; False if it ends by itself."""

        def up():
            return bool(places) and all(
                is_listening_path(place) if isinstance(place, str) else is_listening(place)
                for place in places
            )

        process = subprocess.Popen(
            [binary, "-c", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MOSQUITTO_PERSISTENCE_LOCATION": os.path.dirname(path)},
        )
        wait_until(lambda: process.poll() is not None or up(), 5)
        started = process.poll() is None and up()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                if binary == program():
                    raise
        return started

    def test_every_file_is_answered_as_expected(self):
        """--test-config: status 0 without an error, or 3 with one error line for each key that is
        expected and for no other."""
        rows = expectations()
        self.assertEqual(
            sorted(file for file, _, _ in rows),
            sorted(name for name in os.listdir(FOLDER) if name.endswith(".conf")),
        )
        self.assertGreaterEqual(len(rows), 30)
        for file, _, refused in rows:
            with self.subTest(file):
                path = self.copy(file)
                result = run(program(), "--test-config", "-c", path)
                self.assertEqual(result.returncode, 3 if refused else 0, result.stderr)
                named = []
                with open(path, encoding="utf-8", newline="\n") as text:
                    lines = text.read().split("\n")
                for place in re.findall(re.escape(path) + r":(\d+): error: ", result.stderr):
                    key = lines[int(place) - 1].split()[0]
                    named += [] if key in named else [key]
                self.assertEqual(sorted(named), sorted(refused or []), result.stderr)
                self.assertNotRegex(result.stderr, r"unknown key '(?!#|allow|listener)")

    def test_the_plain_ones_start(self):
        """On free ports, all their listeners open."""
        for file, _, refused in expectations():
            if not refused and file not in ("empty.conf", "quiet.conf"):
                with self.subTest(file):
                    path, places = self.startable(file)
                    self.assertTrue(places)
                    self.assertTrue(self.starts(program(), path, places))

    @unittest.skipUnless(os.access(MOSQUITTO, os.X_OK), "needs mosquitto")
    def test_mosquitto_agrees_about_the_plain_ones(self):
        """What it starts with we start with, what it refuses we refuse."""
        began = time.monotonic()
        for file, mosquitto, _ in expectations():
            if mosquitto != "-" and file != "empty.conf":
                with self.subTest(file):
                    path, places = self.startable(file)
                    started = self.starts(MOSQUITTO, path, places)
                    self.assertEqual(started, mosquitto == "starts")
                    self.assertEqual(self.starts(program(), path, places), started)
        self.assertLess(time.monotonic() - began, 30)


class Surroundings(unittest.TestCase):
    """The file is fine, but not what it names."""

    def setUp(self):
        self.broker = Broker()
        self.addCleanup(shutil.rmtree, self.broker.folder, ignore_errors=True)

    def said(self, config, **more):
        """What is on standard error when it is started and, if it runs, stopped."""
        self.broker.write_config({**config})
        with open(self.broker.config_path, "a", encoding="utf-8") as file:
            file.writelines(f"{key} {value}\n" for key, value in more.items())
        process = subprocess.Popen(
            [self.broker.binary, "-c", self.broker.config_path],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: process.poll() is not None or is_listening(self.broker.port))
        if process.poll() is None:
            Client(self.broker.address).disconnect()
            process.terminate()
        _, told = process.communicate(timeout=10)
        return process.returncode, told

    def test_a_log_that_does_not_get_through_is_said_once(self):
        """A full disk and a machine without syslog: one line on standard error, and it serves."""
        status, told = self.said({"log_dest": "file /dev/full"})
        self.assertEqual((status, told.count("\n")), (0, 1), told)
        self.assertIn("/dev/full: No space left on device", told)
        if not os.path.exists("/dev/log"):
            status, told = self.said({"log_dest": "syslog"})
            self.assertEqual((status, told.count("\n")), (0, 1), told)
            self.assertIn("/dev/log", told)

    def test_a_path_of_the_wrong_kind_is_said_to_be_so(self):
        """A directory is no log file, a regular file no socket, a directory no configuration."""
        status, told = self.said({"log_dest": f"file {self.broker.folder}"})
        self.assertEqual(status, 1)
        self.assertIn("it is a directory", told)
        status, told = self.said({}, listener=f"0 {self.broker.config_path}")
        self.assertEqual(status, 1)
        self.assertIn("a file that is no socket lies there", told)
        self.assertTrue(os.path.exists(self.broker.config_path))
        for path in (self.broker.folder, "/nonexistent"):
            result = run(self.broker.binary, "-c", path)
            self.assertEqual(result.returncode, 3)
            self.assertRegex(result.stderr, "^Error: .*" + path)

    def test_what_has_no_effect_is_said(self):
        """`user` without root, a limit that is raised, a value that is set twice."""
        os.chmod(self.broker.folder, 0o755)
        self.broker.write_config({"user": "somebody", "memory_limit": 9, "sys_interval": [3, 4]})
        command = [self.broker.binary, "-c", self.broker.config_path]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: process.poll() is not None or is_listening(self.broker.port))
            process.terminate()
            told = process.communicate(timeout=10)[1]
        self.assertIn("user somebody has no effect", told)
        self.assertIn("memory_limit 9 is raised to 8388608", told)
        self.assertIn("sys_interval is already set in line", told)


if __name__ == "__main__":
    unittest.main()
