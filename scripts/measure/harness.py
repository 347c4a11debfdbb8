"""What the measurements share: the broker on core 0, the load on core 1, and how a row is printed.

Everything runs in a network namespace of its own where that is possible (root): no filter rules of
other programs, no foreign connections.  Processor time is taken from the kernel's account of the
broker's process, so it does not depend on what else the machine does; wall times do.
"""

import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import support  # noqa: E402  (the tests' way to start a broker, and to read its $SYS)

OUT = os.path.join(ROOT, "build", "measure")
LOAD = os.path.join(OUT, "load")
BROKER_CORE, LOAD_CORE = "0", "1"
NAMESPACE = f"mqttd-measure-{os.getpid()}"


def build():
    sources = [os.path.join(ROOT, "scripts", "measure", name) for name in ("load.cc", "client.h")]
    if not os.path.exists(LOAD) or any(
        os.path.getmtime(s) > os.path.getmtime(LOAD) for s in sources
    ):
        os.makedirs(OUT, exist_ok=True)
        compiler = os.environ.get("CXX", "g++")
        subprocess.run(
            [compiler, "-std=c++20", "-O2", "-Wall", "-Wextra", "-o", LOAD, sources[0]], check=True
        )


def in_own_namespace():
    """Runs this program again inside a fresh network namespace; returns its status, or None if it
    may not."""
    if os.environ.get("MQTTD_MEASURE_INSIDE") or os.geteuid() != 0 or not shutil.which("ip"):
        return None
    if (
        subprocess.run(
            ["ip", "netns", "add", NAMESPACE], capture_output=True, check=False
        ).returncode
        != 0
    ):
        return None
    try:
        inside = ["ip", "netns", "exec", NAMESPACE]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        environment = dict(os.environ, MQTTD_MEASURE_INSIDE="1")
        # A session of its own is a scheduling group of its own, see goes_first.
        child = subprocess.Popen(
            [*inside, sys.executable, *sys.argv], env=environment, start_new_session=True
        )
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()  # it ends what it started, see ends_cleanly
                child.wait(30)
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False)


def goes_first():
    """Where the kernel shares the processor between sessions, asks for most of it: less noise."""
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("-20")
    except OSError:
        pass


def ends_cleanly():
    """SIGTERM unwinds the `with` blocks, so that brokers and load generators end too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def pinned(core):
    return ["taskset", "-c", core] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


def noise_s(broker_):
    """What others took so far while something of ours could have run: how long the broker waited
    for its core, and how long a virtual machine's host did not run the cores."""
    with open(f"/proc/{broker_.pid}/schedstat", encoding="ascii") as file:
        waited = int(file.read().split()[1]) / 1e9
    with open("/proc/stat", encoding="ascii") as file:
        stolen = int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    return waited, stolen


def mosquitto():
    """The path of Debian's broker, to compare with, or None."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")


def broker(binary=None, **config):
    """A started broker on core 0; stop it with `with` or `.stop()`."""
    settings = {"log_type": ["error", "warning"], "connection_messages": "false", **config}
    return support.Broker(settings, prefix=pinned(BROKER_CORE), binary=binary).start()


class Load:
    """One load generator on core 1, connected and ready when the constructor returns."""

    def __init__(self, broker_, mode, *arguments, timeout=120):
        host, port = broker_.address
        command = [*pinned(LOAD_CORE), LOAD, mode, host, str(port), *(str(a) for a in arguments)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.note = self.answer(timeout)
        if not self.note.startswith("ready"):
            raise RuntimeError(f"load {mode}: {self.note or 'ended'}")

    def answer(self, timeout=120):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise RuntimeError("load: no answer")
        return self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ask(self, line, timeout=120):
        """One command, and the numbers of its answer."""
        self.tell(line)
        return [int(word) for word in self.answer(timeout).split()]

    def stop(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Table:
    """Rows of `what | measured | target | verdict`; remembers whether a target was missed."""

    missed = 0

    @staticmethod
    def title(text):
        print(f"\n{text}", flush=True)

    @classmethod
    def row(cls, what, measured, target="", met=None):
        verdict = "" if met is None else ("met" if met else "MISSED")
        cls.missed += met is False
        print(f"  {what:<52} {measured:>24}   {target:<28} {verdict}".rstrip(), flush=True)


def median(values):
    return statistics.median(values)


def settled_rss(broker_, tries=20):
    """Resident bytes once they have stopped moving."""
    last = broker_.rss()
    for _ in range(tries):
        time.sleep(0.2)
        now = broker_.rss()
        if now == last:
            return now
        last = now
    return last
