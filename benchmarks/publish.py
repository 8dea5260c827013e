"""Publishing: what an agent's own thread can push through its feeds, and what of it reaches a subscriber.

The speed of the publisher is ``samples / (wall + after - generating)``: the wall time from the first call until the
reactor has dealt with the last, plus the CPU that the process still spends until everything has arrived, less what
making the messages costs by itself. So work that is put off counts as work. The rate end to end runs to the arrival of
the last sample at a subscriber that does no more than keep the bytes.
"""

import time
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost
from benchmarks.sides import OURS

__all__ = ["CASES"]

INSTANCE = "publisher"
MILLION = 1e6


@dataclass(frozen=True)
class Load:
    """What is published.

    Args:
        shape: ``single``, ``arrays`` or ``numpy``, see ``programs/publishing_agent.py``.
        feed: ``unbuffered`` or ``buffered`` (1 s).
        count: messages in a burst.
        bursts: how many bursts.
        pause: seconds after a burst; if not 0, one message more closes the run.
        per_message: samples in a message.
        rate: messages a second; 0 for as many as there can be.
        quiet: seconds without a message after which nothing more is expected.
        patience: seconds after which one stops to wait.
    """

    shape: str
    feed: str
    count: int
    bursts: int = 1
    pause: float = 0
    per_message: int = 1
    rate: float = 0
    quiet: float = 2.0
    patience: float = 60.0

    @property
    def samples(self):
        """How many samples there are in all."""
        return (self.count * self.bursts + bool(self.pause)) * self.per_message

    @property
    def params(self):
        """The parameters of the process."""
        keys = ("shape", "feed", "count", "bursts", "pause", "rate")
        return {key: getattr(self, key) for key in keys}


def run(load, bench, side):
    """Have a fresh agent publish the load and count what arrives; returns figures of all kinds."""
    with (
        bench.agent(side, "publishing_agent.py", "PublishingAgent", INSTANCE) as agent,
        bench.program("receiver", bench.ws_url, f"observatory.{INSTANCE}.feeds.{load.feed}") as receiver,
    ):
        receiver.answer()
        cost = Cost(agent=agent.pid, router=bench.router_pid)
        bench.operation(INSTANCE, "start", "publish", params=load.params)
        deaf = wait_for_silence(load, bench, receiver)
        agent_cpu, router_cpu = cost.cpu("agent"), cost.cpu("router")
        count = receiver.ask("count", timeout=120)
        told = told_by_agent(bench)
        arrived = count["distinct"] or count["values"]
        return {
            **rates(load, told, agent_cpu, arrived, count),
            "router": router_cpu / load.samples * MILLION,
            "peak": agent.peak(),
            "lost": load.samples - arrived,
            "twice": count["values"] - arrived,
            "done": count["last"] - told["started"] if told and arrived == load.samples else None,
            "deaf": deaf,
        }


def wait_for_silence(load, bench, receiver):
    """Wait until the process has ended and messages no longer come.

    Returns:
        for how long, at worst, the agent did not answer, in seconds.
    """
    began = changed = answered = time.time()
    before, done, deaf = None, False, 0.0
    patience = load.patience / 2 if bench.quick else load.patience
    while time.time() - began < patience and not (done and time.time() - changed > load.quiet):
        progress = receiver.ask("progress")["messages"]
        if progress != before:
            before, changed = progress, time.time()
        try:
            done = done or bench.operation(INSTANCE, "status", "publish", timeout=0.5)["status"] == "done"
            answered = time.time()
        except NO_ANSWER:
            changed = time.time()
        deaf = max(deaf, time.time() - answered)
        time.sleep(0.1)
    return deaf


def told_by_agent(bench):
    """The figures that the process left; none if the agent no longer answers."""
    try:
        data = bench.operation(INSTANCE, "status", "publish", timeout=2)["data"]
    except NO_ANSWER:
        return {}
    return data if "wall" in data else {}


def rates(load, told, agent_cpu, arrived, count):
    """Samples per second of the publisher and end to end, and the publisher's CPU seconds per million samples."""
    keys = ("rate", "end_to_end", "cpu")
    if not told or not arrived:
        return dict.fromkeys(keys)
    generating = told["generating"]
    busy = told["wall"] + max(0.0, agent_cpu - told["cpu"] - generating) - generating
    pauses = load.pause * load.bursts
    return {
        "rate": load.samples / busy,
        "end_to_end": arrived / (count["last"] - told["started"] - pauses),
        "cpu": (agent_cpu - 2 * generating) / load.samples * MILLION,
    }


def figures(*targets, peak=()):
    """The figures of a case; ``targets`` are those of the publisher's speed."""
    return (
        Figure("rate", "publisher (samples/s)", targets),
        Figure("cpu", "publisher CPU (s/M samples)"),
        Figure("end_to_end", "end to end (samples/s)"),
        Figure("router", "router CPU (s/M samples)"),
        Figure("peak", "peak memory (MiB)", peak),
        Figure("lost", "samples lost", (Target(0, ratio=False),)),
        Figure("twice", "samples twice", (Target(0, ratio=False),)),
    )


def case(name, title, load, shown, **kwargs):
    """A case that publishes ``load``."""
    return Case(name, title, partial(run, load), shown, **kwargs)


UNDER_200_MIB = (Target(200, ratio=False),)
ARRAYS = {"count": 1000, "per_message": 10_000}

CASES = (
    case(
        "publish unbuffered",
        "40,000 one-sample messages, no buffer",
        Load("single", "unbuffered", 40_000),
        figures(Target(1.5, most=False)),
    ),
    case(
        "publish paced",
        "1,000 one-sample messages a second for 5 s, no buffer",
        Load("single", "unbuffered", 5_000, rate=1000),
        (
            Figure("cpu", "publisher CPU (s/M samples)"),
            Figure("router", "router CPU (s/M samples)"),
            Figure("lost", "samples lost", (Target(0, ratio=False),)),
        ),
        rounds=2,
        quick_rounds=0,
    ),
    case(
        "publish buffered",
        "4 bursts of 50,000 one-sample messages, 1 s buffer",
        Load("single", "buffered", 50_000, bursts=4, pause=1.2),
        figures(Target(5, most=False)),
    ),
    case(
        "publish arrays",
        "1,000 messages of 100 channels x 100 samples, lists",
        Load("arrays", "unbuffered", **ARRAYS),
        figures(Target(2, most=False), peak=UNDER_200_MIB),
    ),
    case(
        "publish numpy",
        "the same as NumPy arrays",
        Load("numpy", "unbuffered", **ARRAYS),
        figures(peak=UNDER_200_MIB),
        quick_rounds=0,
        sides=(OURS,),
    ),
    case(
        "publish burst",
        "150,000 samples at once into a 1 s buffer; given 20 s",
        Load("single", "buffered", 150_000, pause=1.5, patience=20.0),
        (
            Figure("done", "all received after (s)", (Target(5, ratio=False),)),
            Figure("deaf", "agent did not answer for (s)", (Target(1, ratio=False),)),
            Figure("lost", "samples lost", (Target(0, ratio=False),)),
            Figure("peak", "peak memory (MiB)"),
        ),
        rounds=1,
    ),
)
