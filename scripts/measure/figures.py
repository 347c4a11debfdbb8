"""The figures themselves, one function each.  What is asked of them stands beside each row."""

import os
import re
import resource
import shutil
import signal
import subprocess
import time

from harness import Load, Table, broker, median, mosquitto, noise_s, settled_rss, support
from wire import publish

TOPIC = "bench/one"
PAYLOAD = 64
WINDOW = 4000  # messages the publisher may be ahead: 312 KB, below every buffer and limit


def wire_size(payload):
    return len(publish(TOPIC, b"x" * payload))


# ---- a ----

BURST = 200_000
IO_CALLS = {
    "reads": ("read", "readv", "recv", "recvfrom", "recvmsg"),
    "writes": ("write", "writev", "send", "sendto", "sendmsg"),
}
MEMORY_CALLS = ("brk", "mmap", "munmap", "mremap", "madvise")


def parse_strace(path):
    """{call: count} from the table of `strace -c`."""
    with open(path, encoding="ascii") as file:
        rows = [line.split() for line in file]
    return {
        row[-1]: int(row[3]) for row in rows if len(row) >= 5 and re.fullmatch(r"[\d.]+", row[0])
    }


def traced_burst(broker_, load, count):
    report = os.path.join(broker_.folder, "strace")
    tracer = subprocess.Popen(
        ["strace", "-c", "-f", "-o", report, "-p", str(broker_.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        attached = tracer.stderr.readline()
        if "attached" not in attached:
            raise RuntimeError(f"strace: {attached.strip()}")
        result = load.ask(count)
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()
    return result, parse_strace(report)


def system_calls():
    Table.title(
        f"a  system calls over {BURST} messages of {PAYLOAD} bytes, QoS 0, 1:1"
    )
    if not shutil.which("strace"):
        raise RuntimeError("strace is missing")
    file = subprocess.run(["ldd", support.program()], capture_output=True, text=True, check=False)
    linkage = (file.stdout + file.stderr).strip().splitlines()[0].strip()
    static = "statically linked" in linkage or "not a dynamic" in linkage
    Table.row("ldd", "static" if static else "dynamic", "static", static)
    with broker() as b, Load(b, "pair", TOPIC, PAYLOAD, WINDOW) as load:
        load.ask(BURST)  # steady state: pools and kernel buffers have grown
        (sent, received, wrong, _), calls = traced_burst(b, load, BURST)
        Table.row(
            "received of sent",
            f"{received} of {sent}",
            "all, unchanged",
            received == sent and not wrong,
        )
        Table.row("futex", calls.get("futex", 0), "0", calls.get("futex", 0) == 0)
        changes = calls.get("epoll_ctl", 0)
        Table.row("epoll_ctl after accept", changes, "at most 1 per client", changes <= 2)
        for name, members in IO_CALLS.items():
            count = sum(calls.get(member, 0) for member in members)
            rate = sent / count if count else float("inf")
            Table.row(
                f"messages per call, {name}",
                f"{rate:.0f} ({count} calls)",
                "more than 50",
                rate > 50,
            )
        memory = sum(calls.get(member, 0) for member in MEMORY_CALLS)
        Table.row(", ".join(MEMORY_CALLS), memory, "0", memory == 0)
        waits = sum(calls.get(name, 0) for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2"))
        Table.row("waits", waits)
        Table.row("all calls", str(sum(count for name, count in calls.items() if name != "total")))


# ---- b ----

IDLE = 15_000
IDLE_S = 10


def idle_subscribers():
    Table.title(f"b  {IDLE} idle subscribers with one subscription each")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = -(-IDLE // max(1, hard - 200)) + 1
    with broker() as b:
        before = settled_rss(b)
        loads = []
        try:
            for number in range(processes):
                loads.append(Load(b, "hold", IDLE // processes, f"idle/{number}"))
            grown = settled_rss(b) - before
            cpu = b.cpu_s()
            time.sleep(IDLE_S)
            busy = (b.cpu_s() - cpu) / IDLE_S
            clients = IDLE // processes * processes
            Table.row("processor time", f"{busy:.3%} of a core", "under 1 %", busy < 0.01)
            Table.row(
                "RSS growth per client",
                f"{grown / clients:.0f} bytes",
                "under 512 bytes",
                grown / clients < 512,
            )
            Table.row("RSS before, growth", f"{before >> 10} KiB, {grown >> 10} KiB")
            alive = support.Client(b.address).alive()
            Table.row("still serving", alive, "True", alive)
        finally:
            for load in loads:
                load.stop()


# ---- c ----

PAIRS = 5
MESSAGES = 500_000


def one_to_one(binary):
    """Processor microseconds of the broker per message, and messages per second."""
    config = {"max_queued_messages": 100_000} if support.is_foreign(binary) else {}
    with broker(binary, **config) as b, Load(b, "pair", TOPIC, PAYLOAD, WINDOW) as load:
        load.ask(MESSAGES // 10)
        before = b.cpu_s()
        sent, received, wrong, took_us = load.ask(MESSAGES)
        spent = b.cpu_s() - before
        if received != sent or wrong:
            raise RuntimeError(
                f"{os.path.basename(binary)}: {received} of {sent} arrived, {wrong} wrong bytes"
            )
        return spent / sent * 1e6, sent / took_us * 1e6


def cpu_per_message():
    Table.title(
        f"c  processor time per message, 1:1, {PAYLOAD} bytes, QoS 0, {PAIRS} pairs of {MESSAGES}"
    )
    rival = mosquitto()
    if not rival:
        raise RuntimeError("mosquitto is missing (scripts/deps rivals)")
    ours, theirs = [], []
    for _ in range(PAIRS):
        ours.append(one_to_one(support.program()))
        theirs.append(one_to_one(rival))
    for name, results in (("ours", ours), ("mosquitto", theirs)):
        cost = median([r[0] for r in results])
        rate = median([r[1] for r in results])
        spread = f"{min(r[0] for r in results):.3f}-{max(r[0] for r in results):.3f}"
        Table.row(f"{name}: µs per message, median ({spread})", f"{cost:.3f}")
        Table.row(f"{name}: messages per second, median", f"{rate:,.0f}")
    ratio = median([t[0] / o[0] for o, t in zip(ours, theirs)])
    Table.row("mosquitto ÷ ours, median of the pairs", f"{ratio:.1f}", "at least 20", ratio >= 20)


# ---- d ----

FANS = 9_000
FLOOD_MS = 5_000
PING_US = 500


def ping_row(what, numbers, target_us=None, which="p99"):
    count, p50, p99, p999, most = numbers
    text = f"{p50} / {p99} / {p999} / {most}"
    if target_us is None:
        Table.row(f"{what}: p50 / p99 / p99.9 / max µs", text, f"{count} pings")
    else:
        met = (p99 if which == "p99" else most) < target_us
        target = f"{which} under {target_us} µs"
        Table.row(f"{what}: p50 / p99 / p99.9 / max µs", text, target, met)


def noise_row(broker_, before):
    waited, stolen = (now - then for now, then in zip(noise_s(broker_), before))
    text = f"{waited * 1e3:.0f} ms, {stolen * 1e3:.0f} ms"
    Table.row("the broker waited for its core, the host took", text, "noise, not ours")
    return waited + stolen


def turns_row(broker_):
    values = broker_.sys_values("$SYS/broker/loop/turn_us/+")
    text = " / ".join(
        values.get(f"$SYS/broker/loop/turn_us/{name}", "-")
        for name in ("p50", "p99", "p999", "max")
    )
    Table.row("the broker's own turns: p50 / p99 / p99.9 / max µs", text, "of the last interval")


def fan_out():
    Table.title(
        f"d  {FANS} subscribers of one topic, one publisher at full rate for {FLOOD_MS // 1000} s"
    )
    with broker(sys_interval=FLOOD_MS // 1000) as b, Load(b, "sink", FANS, TOPIC, PAYLOAD) as sink:
        with Load(b, "ping", PING_US) as ping, Load(b, "flood", TOPIC, PAYLOAD) as flood:
            time.sleep(1)
            ping_row("before", ping.ask("report"))
            before, cpu, noise = b.rss(), b.cpu_s(), noise_s(b)
            flood.tell(FLOOD_MS)
            time.sleep(FLOOD_MS / 1000 - 0.1)
            during = ping.ask("report")
            sent = int(flood.answer())
            ping_row("during", during, 5000)
            Table.row("pings answered", during[0], "more than 100", during[0] > 100)
            time.sleep(1)
            _, total, least, most, wrong = sink.ask("report")
            size = wire_size(PAYLOAD)
            Table.row("published, delivered", f"{sent}, {total // size}")
            Table.row("delivered to the least, to the most", f"{least // size}, {most // size}")
            Table.row("changed bytes", wrong, "0", wrong == 0)
            Table.row(
                "RSS growth",
                f"{(b.rss() - before) >> 10} KiB",
                f"{b.cpu_s() - cpu:.1f} s of processor",
            )
            noise_row(b, noise)
            turns_row(b)


# ---- e ----

CROWD = 1_000
ROUNDS = 5
CROWD_MESSAGES = 20_000
CROWD_PAYLOAD = 256
OUTBOX = 262_144


def crowd_run(stopped):
    """One broker, CROWD subscribers, of which one is a process of its own, stopped or not."""
    size = wire_size(CROWD_PAYLOAD)
    with broker(sys_interval=1, outbox_bytes_max=OUTBOX) as b:
        with Load(b, "sink", CROWD - 2, TOPIC, CROWD_PAYLOAD) as crowd:
            with Load(b, "sink", 1, TOPIC, CROWD_PAYLOAD, 65536) as lone:
                with Load(b, "pair", TOPIC, CROWD_PAYLOAD, 500) as pair:
                    pair.ask(1000)
                    time.sleep(0.3)
                    crowd.ask("report")
                    lone.ask("report")
                    before, cpu = b.rss(), b.cpu_s()
                    if stopped:
                        lone.process.send_signal(signal.SIGSTOP)
                    try:
                        sent, received, wrong, took_us = pair.ask(CROWD_MESSAGES)
                        grown, cpu = b.rss() - before, b.cpu_s() - cpu
                    finally:
                        lone.process.send_signal(signal.SIGCONT)
                    time.sleep(1.5)
                    total = crowd.ask("report")
                    got = lone.ask("report")
                    lost = (
                        (CROWD - 2) * sent
                        - total[1] // size
                        + sent
                        - got[1] // size
                        + sent
                        - received
                    )
                    dropped = b.wait_sys("publish/messages/dropped", lost, 3)
                    return {
                        "rate": sent / took_us * 1e6,
                        "others lost": (CROWD - 2) * sent - total[1] // size + sent - received,
                        "lone lost": sent - got[1] // size,
                        "dropped": dropped,
                        "grown": grown,
                        "cpu": cpu,
                        "wrong": wrong + total[4] + got[4],
                    }


def stopped_subscriber():
    Table.title(
        f"e  {CROWD} subscribers, one stopped, {CROWD_MESSAGES} messages of {CROWD_PAYLOAD} bytes"
    )
    free, held = [], []
    for _ in range(ROUNDS):
        free.append(crowd_run(False))
        held.append(crowd_run(True))
    with_all, with_one = median([r["rate"] for r in free]), median([r["rate"] for r in held])
    change = with_one / with_all - 1
    for what, rate, runs in (("all reading", with_all, free), ("one stopped", with_one, held)):
        spread = f"{min(r['rate'] for r in runs):,.0f}-{max(r['rate'] for r in runs):,.0f}"
        cpu = median([r["cpu"] for r in runs])
        Table.row(
            f"messages per second to each, {what} ({spread})",
            f"{rate:,.0f}",
            f"{cpu:.2f} s of processor",
        )
    Table.row("change", f"{change:+.1%}", "at least -5 %", change >= -0.05)
    for index, run in enumerate(held):
        lost = run["others lost"] + run["lone lost"]
        Table.row(
            f"run {index + 1}: lost by the stopped one, by the others",
            f"{run['lone lost']}, {run['others lost']}",
            "some, none",
            run["lone lost"] > 0 and run["others lost"] == 0,
        )
        Table.row(
            f"run {index + 1}: dropped says $SYS, really lost",
            f"{run['dropped']}, {lost}",
            "equal",
            run["dropped"] == lost,
        )
    most = max(run["grown"] for run in held)
    bound = OUTBOX + (1 << 20)
    Table.row(
        "RSS growth while stopped, most",
        f"{most >> 10} KiB",
        f"within {bound >> 10} KiB",
        most <= bound,
    )
    wrong = sum(run["wrong"] for run in free + held)
    Table.row("changed bytes", wrong, "0", wrong == 0)
    lost_free = sum(run["others lost"] + run["lone lost"] for run in free)
    Table.row("lost while all were reading", lost_free, "0", lost_free == 0)


# ---- f ----

HOARD = 1_000_000
HOARD_FOREIGN = 10_000  # mosquitto needs quadratic time for more
HOARD_ROUNDS = 3
HOARD_TRIES = 12
HOARD_NOISE_S = 0.15  # of what the host took: a round with more says nothing about 5 ms
WATCH_S = 3


def hoard_round(broker_, ping, count):
    """One client subscribes and leaves.  The longest wait of a ping while it left, in
    microseconds; None if the host took so much of the cores that it would be measured."""
    started = time.monotonic()
    ping.ask("report")
    with Load(broker_, "hoard", count) as hoard:
        ping_row(f"while it subscribes ({time.monotonic() - started:.1f} s)", ping.ask("report"))
        time.sleep(0.5)
        ping.ask("report")
        cpu, noise = broker_.cpu_s(), noise_s(broker_)
        hoard.tell("leave")
        hoard.answer()
        time.sleep(WATCH_S)
        during = ping.ask("report")
        ping_row(f"while it leaves ({broker_.cpu_s() - cpu:.2f} s of processor)", during)
        quiet = noise_row(broker_, noise) <= HOARD_NOISE_S
    return during[-1] if quiet else None


def leaving_hoarder():
    count = HOARD_FOREIGN if support.is_foreign(support.program()) else HOARD
    Table.title(f"f  a clean-session client with {count} subscriptions leaves")
    with broker(sys_interval=1) as b, Load(b, "ping", PING_US) as ping:
        time.sleep(1)
        ping_row("nobody else", ping.ask("report"))
        quiet, tries = [], 0
        while len(quiet) < HOARD_ROUNDS and tries < HOARD_TRIES:
            tries += 1
            longest = hoard_round(b, ping, count)
            if longest is not None:
                quiet.append(longest)
        what = f"longest wait while it leaves, median of {len(quiet)} quiet rounds of {tries}"
        text = f"{median(quiet)} µs" if quiet else "the machine was never quiet"
        Table.row(what, text, "under 5000 µs", bool(quiet) and median(quiet) < 5000)
        Table.row("RSS", f"{b.rss() >> 20} MiB")
        support.wait_until(lambda: b.sys("subscriptions/count") == "0", 15, 0.5)
        left = b.sys("subscriptions/count")
        Table.row("subscriptions left", left, "0", left == "0")


# ---- g ----

SPEECHES = {  # and a topic for each, of the same length
    "3.1.1": "bench/one",
    "5.0": "bench/two",
    "5.0+user": "bench/six",
}
SPEECH_ROUNDS = 15
SPEECH_MESSAGES = 1_000_000
SPEECH_MESSAGES_FOREIGN = 100_000


def burst_cost(broker_, load, count):
    """Processor microseconds of the broker per message."""
    before = broker_.cpu_s()
    sent, received, wrong, _ = load.ask(count)
    spent = broker_.cpu_s() - before
    if received != sent or wrong:
        raise RuntimeError(f"{received} of {sent} arrived, {wrong} wrong bytes")
    return spent / sent * 1e6


def versions():
    """One broker and a pair of clients for each; what differs from round to round meets all."""
    foreign = support.is_foreign(support.program())
    count = SPEECH_MESSAGES_FOREIGN if foreign else SPEECH_MESSAGES
    Table.title(
        f"g  processor time per message by version, 1:1, {PAYLOAD} bytes, QoS 0, "
        f"{SPEECH_ROUNDS} rounds of {count}"
    )
    config = {"max_queued_messages": 100_000} if foreign else {}
    loads, costs = {}, {speech: [] for speech in SPEECHES}
    with broker(**config) as b:
        try:
            for speech, topic in SPEECHES.items():
                loads[speech] = Load(b, "pair", topic, PAYLOAD, WINDOW, speech)
                burst_cost(b, loads[speech], count // 10)
            noise = noise_s(b)
            for number in range(SPEECH_ROUNDS):
                first = number % len(SPEECHES)  # everybody is first, and behind everybody, as often
                order = list(SPEECHES)[first:] + list(SPEECHES)[:first]
                for speech in order if number % 2 else reversed(order):
                    costs[speech].append(burst_cost(b, loads[speech], count))
            for speech, ours in costs.items():
                spread = f"{min(ours):.3f}-{max(ours):.3f}"
                Table.row(f"{speech}: µs per message, median ({spread})", f"{median(ours):.3f}")
            for speech, target in (("5.0", 1.10), ("5.0+user", None)):
                ratios = sorted(v / old for v, old in zip(costs[speech], costs["3.1.1"]))
                quarter = len(ratios) // 4
                text = f"{ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f}"
                ratio = median(ratios)
                Table.row(
                    f"{speech} ÷ 3.1.1, median (middle half {text})",
                    f"{ratio:.3f}",
                    f"at most {target:.2f}" if target else "",
                    ratio <= target if target else None,
                )
            noise_row(b, noise)
        finally:
            for load in loads.values():
                load.stop()
