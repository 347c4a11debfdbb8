"""Starts the real broker for a test, and makes sure that nothing of it is left behind.

    with Broker({"sys_interval": 1}) as broker:
        Client(broker.address)

The binary is the one named by MQTTD_BIN (scripts/run_tests sets it) or MQTTD, else ./mqttd at the
root of the checkout.  A config is a dict; a list as a value repeats its key.  Without `listeners`
there is one, on a free port of 127.0.0.1.  Leaving the `with` block sends SIGTERM, and the exit status must
be 0 with no listening socket and no socket file left.
"""

import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from wire import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_S = 10.0
STOP_S = 10.0


def program():
    return os.environ.get("MQTTD_BIN") or os.environ.get("MQTTD") or os.path.join(ROOT, "mqttd")


def is_foreign(path):
    """Another broker, started only to see that the tests themselves can pass and fail."""
    return os.path.basename(path) == "mosquitto"


# Keys that mosquitto does not read.
OUR_KEYS = {
    "connect_timeout", "max_clientid_len", "max_topic_levels", "max_topic_len", "await_rel_timeout",
    "unack_retry_interval", "max_awaiting_rel", "backlog", "sndbuf", "recbuf", "tcp_defer_accept",
    "outbox_bytes_max", "memory_limit", "accept_batch", "unix_mode", "retain_max_messages",
    "retain_max_payload", "retain_max_age", "tcp_user_timeout", "rate_limit", "max_client_rate",
    "listener_access",
}  # fmt: skip


def free_port(host="127.0.0.1"):
    """A port nobody listens on, below the range from which clients get theirs."""
    for _ in range(1000):
        port = random.randint(11000, 31000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def is_listening(port):
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        if os.path.exists(table):
            with open(table, encoding="ascii") as lines:
                if any(re.search(rf":{port:04X} \S+ 0A ", line) for line in lines):
                    return True
    return False


def is_listening_path(path):
    with open("/proc/self/net/unix", encoding="utf-8", errors="replace") as lines:
        return any(line.rstrip().endswith(" " + path) and " 00010000 " in line for line in lines)


def wait_until(condition, timeout=5.0, step=0.01):
    """Waits for a condition that another process makes true.  Returns its last value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(step)
    return value


def process_cpu_s(pid):
    """Processor time of a process so far: exact where the kernel says so, else in ticks."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except (OSError, IndexError, ValueError):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


class Broker:
    def __init__(
        self, config=None, listeners=None, arguments=(), files=None, prefix=(), binary=None
    ):
        """`files` sets RLIMIT_NOFILE, `prefix` goes before the command (taskset, strace)."""
        self.binary = binary or program()
        self.folder = tempfile.mkdtemp(prefix="mqttd-e2e-")
        self.files = files
        self.prefix = list(prefix)
        self.arguments = list(arguments)
        self.listeners = listeners or [{"listener": f"{free_port()} 127.0.0.1"}]
        self.config_path = os.path.join(self.folder, "mqttd.conf")
        self.log_path = os.path.join(self.folder, "log")
        self.process = None
        self.write_config(config or {})

    def write_config(self, config):
        common = {"allow_anonymous": "true", "log_dest": "stderr"}
        if os.geteuid() == 0:
            common["user"] = "root"  # so that it may remove what it made in our folder
        blocks = [{**common, **config}, *self.listeners]
        lines = []
        for key, value in (item for block in blocks for item in block.items()):
            if not (is_foreign(self.binary) and key in OUR_KEYS):
                lines += [f"{key} {one}" for one in (value if isinstance(value, list) else [value])]
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    # ---- Where it is ----

    def addresses(self):
        """One per listener: (host, port), or the path of a Unix socket."""
        words = [block["listener"].split() for block in self.listeners]
        return [
            w[1] if w[0] == "0" else (w[1] if len(w) > 1 else "127.0.0.1", int(w[0])) for w in words
        ]

    @property
    def address(self):
        return self.addresses()[0]

    @property
    def port(self):
        return self.address[1]

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def cpu_s(self):
        return process_cpu_s(self.pid)

    def rss(self):
        return process_rss(self.pid)

    # ---- Life ----

    def start(self):
        def limit_files():
            if self.files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

        command = [*self.prefix, self.binary, "-c", self.config_path, *self.arguments]
        # What is persistent stays in our folder unless the configuration says otherwise.
        environment = dict(os.environ)
        with open(self.config_path, encoding="utf-8") as file:
            if "\npersistence_location " not in file.read():
                environment["MOSQUITTO_PERSISTENCE_LOCATION"] = self.folder
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=limit_files,
                env=environment,
            )
        if not wait_until(lambda: self.is_up() or self.process.poll() is not None, START_S):
            self.kill()
            raise AssertionError(f"not listening after {START_S} s; its log:\n{self.log()}")
        if self.process.poll() is not None:
            raise AssertionError(
                f"ended with status {self.process.returncode}; its log:\n{self.log()}"
            )
        return self

    def is_up(self):
        return all(
            is_listening_path(a) if isinstance(a, str) else is_listening(a[1])
            for a in self.addresses()
        )

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """SIGTERM: it must end by itself, with status 0, and leave nothing."""
        try:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the broker had ended by itself, status {self.process.returncode}; "
                    f"its log:\n{self.log()}"
                )
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"still running {STOP_S} s after SIGTERM") from None
            assert status == 0, f"exit status {status} after SIGTERM; its log:\n{self.log()}"
            for address in self.addresses():
                if isinstance(address, str):
                    left = is_listening_path(address) or os.path.exists(address)
                else:
                    left = is_listening(address[1])
                assert not left, f"{address} is left behind"
        finally:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- What it says about itself ----

    def sys_values(self, topic_filter="$SYS/#"):
        """The retained $SYS messages that match: {topic: text}."""
        with Client(self.address, f"sys-{random.getrandbits(48):x}") as client:
            client.subscribe(topic_filter)
            return {message.topic: message.payload.decode() for message in client.settle()}

    def sys(self, name):
        return self.sys_values("$SYS/broker/" + name).get("$SYS/broker/" + name)

    def wait_sys(self, name, wanted, timeout=4.0):
        """Waits until a number below $SYS/broker is `wanted`; returns the last one seen."""

        def look():
            text = self.sys(name)
            return text is not None and int(text) == wanted

        wait_until(look, timeout, 0.1)
        return int(self.sys(name) or -1)


def run(*command, timeout=20):
    """A program to its end.  Its output is text."""
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
