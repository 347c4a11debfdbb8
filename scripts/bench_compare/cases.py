"""The standard set of measurements: what is run, which figures come out, and what is asked of them.

A figure's target is one or more of
    rival  at least so many times less (a cost) or more (a rate) than mosquitto
    relay  at most so many times what the relay needs
    most   at most so much, whatever others need
"""

import dataclasses
from typing import Callable, Optional


@dataclasses.dataclass
class Figure:
    name: str
    unit: str
    pick: Callable  # mqttbench's JSON -> number, or None
    rival: Optional[float] = None
    relay: Optional[float] = None
    most: Optional[float] = None
    more_is_better: bool = False


@dataclasses.dataclass
class Case:
    letter: str
    title: str
    arguments: list
    figures: list
    relay: bool = False  # does it make sense through the relay
    timed: bool = True  # takes --seconds
    repeats: int = 0  # more than usual


def phase(name, key):
    def pick(result):
        for one in result["phases"]:
            if one["name"] == name:
                return one.get(key)
        return None

    return pick


def fact(key):
    return lambda result: result["facts"].get(key)


def latency(key):
    return lambda result: result.get("latency_us", {}).get(key)


def cost(name="throughput", label="CPU s per million", **targets):
    """Seconds per million are microseconds each."""
    return Figure(label, "s", phase(name, "broker_cpu_us_each"), **targets)


def rate(name="throughput", label="a second"):
    return Figure(label, "/s", phase(name, "per_second"), more_is_better=True)


def stream(**targets):
    return [cost(**targets), rate(), Figure("p99 under load", "us", latency("p99"))]


def percentiles(**targets):
    return [
        Figure("p50", "us", latency("p50"), **targets),
        Figure("p99", "us", latency("p99")),
        Figure("p99.9", "us", latency("p99_9")),
    ]


PAIRS = ["-P", "500", "-S", "500", "-l", "pairs"]
WILD = ["-P", "100", "-S", "1", "-l", "wildcard", "--filters", "10000", "-i", "100"]
WAIT = ["latency", "-r", "10k"]

CASES = [
    Case("A", "1:1, QoS 0", [], stream(rival=80, relay=1.5), relay=True),
    Case("A5", "1:1, QoS 0, MQTT 5.0", ["-V", "5.0"], stream(rival=80, relay=1.5), relay=True),
    Case("B", "1:1, QoS 1, window 256", ["-q", "1", "-w", "256"], stream(rival=28)),
    Case("C", "1:1, QoS 2, window 256", ["-q", "2", "-w", "256"], stream(rival=30)),
    Case("D", "1:1000, QoS 0", ["-S", "1000", "-i", "100"], stream(rival=75, relay=2), relay=True),
    Case(
        "D1",
        "1:1000, QoS 0, one at a time",
        ["-S", "1000", "-i", "1"],
        stream(rival=2.1, relay=1.15),
        relay=True,
    ),
    Case(
        "E",
        "1000:1, QoS 0, 20 in flight each",
        ["-P", "1000", "-i", "20"],
        stream(rival=22, relay=1.7),
        relay=True,
    ),
    Case(
        "F",
        "500 pairs, QoS 0, 20 in flight each",
        [*PAIRS, "-i", "20"],
        stream(rival=28, relay=1.7),
        relay=True,
    ),
    Case(
        "F1",
        "500 pairs, QoS 0, one in flight each",
        [*PAIRS, "-i", "1"],
        stream(rival=1.75, relay=1.15),
        relay=True,
    ),
    Case("G", "1:100, QoS 1", ["-S", "100", "-q", "1"], stream(rival=40)),
    # Margins within the noise of three runs get five.
    Case(
        "H",
        "1:1, QoS 0, 16 KiB",
        ["-s", "16384"],
        stream(rival=2, relay=0.85),
        relay=True,
        repeats=5,
    ),
    Case("I", "100 publishers, 10 000 filters a/+/N/#", WILD, stream(rival=28), repeats=5),
    Case(
        "J",
        "10 000 messages a second, QoS 0",
        WAIT,
        [*percentiles(relay=1.1), cost("latency", relay=1.15)],
        relay=True,
        repeats=5,
    ),
    # The relay acknowledges nothing: it carries the same messages at QoS 0, see relayed().
    Case(
        "J1",
        "10 000 messages a second, QoS 1",
        [*WAIT, "-q", "1"],
        [*percentiles(relay=1.1), cost("latency")],
        relay=True,
        repeats=5,
    ),
    Case(
        "K",
        "10 000 idle clients",
        ["idle", "-N", "10000"],
        [
            Figure("memory per client", "bytes", fact("bytes_per_client"), most=512),
            cost("open", "CPU s per million connects", rival=1.3),
            rate("open", "connects a second"),
            Figure("CPU while idle", "%", fact("idle_cpu_share")),
        ],
    ),
    Case(
        "L",
        "connect, CONNACK, DISCONNECT, close",
        ["connect"],
        [cost("connect", "CPU s per million", rival=1.5), rate("connect")],
        repeats=5,
    ),
    Case(
        "M",
        "QoS 1 backlog of an absent client",
        ["backlog", "-n", "200k"],
        [
            Figure("memory per message", "bytes", fact("bytes_per_queued_message"), most=200),
            cost("store", "CPU s per million, in", rival=8),
            cost("drain", "CPU s per million, out", rival=6),
        ],
        timed=False,
    ),
    Case(
        "N",
        "100 000 retained messages",
        ["retained", "-n", "100k"],
        [
            Figure("memory per message", "bytes", fact("bytes_per_retained_message"), most=200),
            cost("store", "CPU s per million, stored", rival=8),
            cost("replay", "CPU s per million, replayed", most=1.0),
        ],
        timed=False,
    ),
]


def relayed(arguments):
    """What goes through the relay: the same without acknowledgements."""
    if "-q" not in arguments:
        return arguments
    at = arguments.index("-q")
    return [*arguments[:at], *arguments[at + 2 :]]
