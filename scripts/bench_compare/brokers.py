"""The brokers that are compared, each started afresh for each run, in a network namespace of its own.

A run is: namespace, broker on one core, mqttbench on the other, its JSON, everything gone again.
Without root there is no namespace; then a free port of this machine's loopback is used.
"""

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "measure"))

import harness  # noqa: E402  (cores, namespaces and mosquitto's place)
from harness import support  # noqa: E402

OUT = os.path.join(harness.ROOT, "build", "bench_compare")
RELAY = os.path.join(OUT, "relay")
START_S, STOP_S, RUN_S = 10, 10, 300

# The same for every broker that reads mosquitto's keys: nothing may be dropped for its number.
SETTINGS = {
    "allow_anonymous": "true",
    "max_inflight_messages": "0",
    "max_queued_messages": "0",
    "set_tcp_nodelay": "true",
    "connection_messages": "false",
    "log_type": "error",
}


class Failed(RuntimeError):
    """A run that gave no figures."""


def program(variable, name):
    return os.environ.get(variable) or os.path.join(harness.ROOT, name)


def build_relay():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay.cc")
    if not os.path.exists(RELAY) or os.path.getmtime(source) > os.path.getmtime(RELAY):
        os.makedirs(OUT, exist_ok=True)
        compiler = os.environ.get("CXX", "g++")
        subprocess.run([compiler, "-std=c++20", "-O2", "-Wall", "-Wextra", "-o", RELAY, source], check=True)


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.stdout or done.stderr else "?"


class Kind:
    """One of the brokers: how it is called, and how it is started on a port."""

    def __init__(self, name, command, version, extra=None):
        self.name, self.command, self.version = name, command, version
        self.extra = extra  # further settings; None = takes no configuration of ours

    def start_command(self, folder, port):
        config = os.path.join(folder, "conf")
        if self.extra is not None:
            settings = {**SETTINGS, **self.extra}
            if os.geteuid() == 0:
                settings["user"] = "root"
            with open(config, "w", encoding="ascii") as file:
                file.write("".join(f"{key} {value}\n" for key, value in settings.items()))
                file.write(f"listener {port} 127.0.0.1\n")
        return [word.replace("{port}", str(port)).replace("{conf}", config) for word in self.command]


def kinds(others):
    """mqttd first, then whoever is there to be compared with, the relay last."""
    ours = program("MQTTD_BIN", "mqttd")
    found = [Kind("mqttd", [ours, "-c", "{conf}"], first_line([ours, "--version"]), {"max_awaiting_rel": "0"})]
    mosquitto = harness.mosquitto()
    if mosquitto:
        version = first_line([mosquitto, "-h"])
        found.append(Kind("mosquitto", [mosquitto, "-c", "{conf}"], version, {"persistence": "false"}))
    for other in others:
        words = shlex.split(other)
        name = os.path.basename(words[0])
        same = sum(kind.name.split()[0] == name for kind in found)
        found.append(Kind(f"{name} {same + 1}" if same else name, words, other))
    found.append(Kind("relay", [RELAY, "{port}"], "scripts/bench_compare/relay.cc"))
    return found


@contextlib.contextmanager
def namespace():
    """The words that put a command into a fresh network namespace; none if there can be none."""
    name = f"mqttd-compare-{os.getpid()}"
    may = os.geteuid() == 0 and shutil.which("ip")
    made = may and not subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode
    if not made:
        yield []
        return
    try:
        inside = ["ip", "netns", "exec", name]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        yield inside
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def prepare():
    """In the child, before the program: all the descriptors there may be, and the core first."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    harness.goes_first()


def listens(pid, port):
    """Looked up in the process's own network namespace."""
    try:
        with open(f"/proc/{pid}/net/tcp", encoding="ascii") as file:
            return re.search(rf":{port:04X} \S+ 0A ", file.read()) is not None
    except OSError:
        return False


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(kind, inside):
    """The started broker's process and port."""
    port = 1883 if inside else support.free_port()
    with tempfile.TemporaryDirectory(prefix="mqttd-compare-") as folder:
        command = [*inside, *harness.pinned(harness.BROKER_CORE), *kind.start_command(folder, port)]
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            # A session of its own is a scheduling group of its own.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                preexec_fn=prepare,
            )
            try:
                up = support.wait_until(
                    lambda: listens(process.pid, port) or process.poll() is not None, START_S
                )
                if not up or process.poll() is not None:
                    log.seek(0)
                    raise Failed(f"{kind.name} does not listen: {log.read().strip()[-200:]}")
                yield process, port
            finally:
                stop(process)


def run(kind, arguments):
    """One measurement; mqttbench's JSON."""
    with namespace() as inside, running(kind, inside) as (process, port):
        command = [*inside, *harness.pinned(harness.LOAD_CORE), program("MQTTBENCH_BIN", "mqttbench")]
        command += [*arguments, "-p", str(port), "-b", str(process.pid), "--json", "--quiet"]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=RUN_S,
                check=False,
                start_new_session=True,
                preexec_fn=prepare,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{kind.name}: no end after {RUN_S} s") from None
        if done.returncode not in (0, 3):
            raise Failed(f"{kind.name}: {done.stderr.strip()[-200:]}")
        return json.loads(done.stdout)
