"""Recording: what it costs to get samples from the wire into .g3 files, and whether all of them get there."""

import contextlib
import shutil
import signal
import time
from functools import partial

from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost
from benchmarks.sides import both_sides

__all__ = [
    "ARRAYS",
    "CASES",
    "MILLION",
    "SMALL",
    "empty_folder",
    "recorded_agent",
    "recorder",
    "settle",
    "wait_until_recording",
]

MODULE, KIND, INSTANCE = "ocs.agents.aggregator.agent", "AggregatorAgent", "aggregator"
PUBLISHER = "load"
MILLION = 1e6
AT_WORK = 0.01  # CPU seconds in a tenth of a second


@contextlib.contextmanager
def raw_load(bench, shape):
    """A load without numbers, from no agent of either side."""
    with bench.program("load", bench.ws_url, *shape) as load:
        load.answer()
        yield load


@contextlib.contextmanager
def recorded_agent(bench, side, shape, *options):
    """An agent of a side that publishes when it is asked to, and remembers no recorder of an earlier measurement."""
    shutil.rmtree(bench.state, ignore_errors=True)
    shape = ("--shape", *shape, *options)
    with bench.agent(side, "recorded_agent.py", "RecordedAgent", PUBLISHER, *shape) as load:
        yield load


def numbered_load(bench, shape):
    """An agent of ours, whoever records it: it numbers its messages, and keeps them until a recorder has them."""
    ours, _ = both_sides()
    return recorded_agent(bench, ours, shape)


def recorder(bench, side, data):
    """An aggregator that records from its start."""
    return bench.agent(side, MODULE, KIND, INSTANCE, "--initial-state", "record", "--data-dir", data)


def empty_folder(bench, side):
    """A folder for a recorder's files, with nothing in it."""
    data = bench.directory / f"data-{side}"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    return data


def count(bench, data):
    """What is in the files."""
    with bench.program("count_g3", data) as counter:
        return counter.answer(120)


def record(shape, source, bench, side):
    """Record a load, stop, and count what is in the files.

    ``shape`` is (channels, samples per message, messages a second).
    """
    data = empty_folder(bench, side)
    with recorder(bench, side, data) as agent, source(bench, shape) as load:
        wait_until_recording(bench)
        cost = Cost(recorder=agent.pid, router=bench.router_pid, load=load.pid)
        sent = load.ask(f"run {5 if bench.quick else 10}", timeout=120)
        lag = settle(agent, bench) - sent["ended"]
        router, publisher = cost.cpu("router"), cost.cpu("load")
        stop(bench)
        cpu, peak = cost.cpu("recorder"), agent.peak()
        exit_time = agent.stop(20)
    found = count(bench, data)
    return {
        "cpu": cpu / sent["samples"] * MILLION,
        "router": router / sent["samples"] * MILLION,
        "publisher": publisher / sent["samples"] * MILLION,
        "lag": max(0.0, lag),
        "peak": peak,
        "lost": sent["samples"] - found["samples"] + found["twice"],
        "twice": found["twice"],
        "exit": exit_time,
        "size": found["bytes"] / found["samples"] if found["samples"] else None,
        "load": sent["late"],
    }


def end_midway(shape, by, bench, side):
    """End the recorder in the middle of a load by a signal, start it again at once, and count what is in the files.

    ``shape`` is (channels, samples per message, messages a second).
    """
    data, seconds = empty_folder(bench, side), 8 if bench.quick else 20
    rate = shape[0] * shape[1] * shape[2]
    with numbered_load(bench, shape) as load:
        with recorder(bench, side, data) as agent:
            wait_until_recording(bench)
            load.say(f"run {seconds}")
            time.sleep(seconds / 2)
            began = time.time()
            exit_time = agent.stop(20, by)
        written = count(bench, data)["samples"]
        with recorder(bench, side, data) as agent:
            sent = load.answer(120)
            settle(agent, bench)
            stop(bench)
            agent.stop(20)
    found = count(bench, data)
    return {
        "exit": exit_time,
        "unwritten": max(0.0, began - sent["began"] - written / rate),
        "lost": (sent["samples"] - found["samples"] + found["twice"]) / rate,
        "twice": found["twice"],
    }


def session(bench, action="status"):
    """The recording process's session; empty if the aggregator does not answer in time."""
    try:
        return bench.operation(INSTANCE, action, "record", timeout=5)
    except NO_ANSWER:
        return {}


def wait_until_recording(bench, timeout=10.0):
    """Wait until the process runs, so that nothing of the load comes too early."""
    deadline = time.time() + timeout
    while session(bench).get("status") != "running" and time.time() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)  # a published one takes this long from saying so to doing so


def settle(agent, bench, timeout=30.0):
    """Wait until the recorder has dealt with all that was sent; returns when it last worked.

    It is at work while it, or the router that it gets its events from, uses more than a tenth of a core.
    """
    deadline, worked = time.time() + timeout, time.time()
    while time.time() < deadline and time.time() - worked < 1.0:
        before = agent.cpu(), bench.router_cpu()
        time.sleep(0.1)
        if agent.cpu() - before[0] > AT_WORK or bench.router_cpu() - before[1] > AT_WORK:
            worked = time.time()
    return worked


def stop(bench, timeout=20.0):
    """End the recording by its operation, which writes what is held."""
    session(bench, "stop")
    deadline = time.time() + timeout
    while session(bench).get("status") != "done" and time.time() < deadline:
        time.sleep(0.1)


NONE, TWO_SECONDS = (Target(0, ratio=False),), (Target(2, ratio=False),)


def case(name, title, shape, cpu_targets, source=raw_load, quick_rounds=0):
    """A case of a load."""
    of_an_agent = (Figure("publisher", "publisher CPU (s/M samples)"), Figure("twice", "samples twice", NONE))
    return Case(
        f"aggregator {name}",
        title,
        partial(record, shape, source),
        (
            Figure("cpu", "recorder CPU (s/M samples)", cpu_targets),
            Figure("router", "router CPU (s/M samples)"),
            Figure("lag", "behind at the end (s)", TWO_SECONDS),
            Figure("peak", "peak memory (MiB)", (Target(200, ratio=False),)),
            Figure("lost", "samples lost", NONE),
            *(of_an_agent if source is numbered_load else ()),
            Figure("exit", "SIGTERM to exit (s)", TWO_SECONDS),
            Figure("size", "bytes per sample on disk"),
        ),
        rounds=2,
        quick_rounds=quick_rounds,
    )


def ending(name, title, by, unwritten=()):
    """A case of a recorder that ends in the middle of 200,000 samples a second."""
    return Case(
        f"aggregator {name}",
        title,
        partial(end_midway, ARRAYS, by),
        (
            Figure("exit", "signal to exit (s)", TWO_SECONDS),
            Figure("unwritten", "in no file at its exit (s of data)", unwritten),
            Figure("lost", "lost in the end (s of data)", NONE),
            Figure("twice", "samples twice", NONE),
        ),
        rounds=1,
        quick_rounds=0,
    )


ARRAYS, MANY, SMALL = (20, 50, 200), (20, 50, 1000), (10, 1, 1000)
CPU, LESS = (Target(0.30, ratio=False),), (Target(0.7),)
CASES = (
    case("200k", "200,000 samples/s (20 channels x 50)", ARRAYS, CPU, quick_rounds=1),
    case("1M", "1,000,000 samples/s (20 channels x 50)", MANY, CPU),
    case("small", "1,000 messages/s (10 channels x 1)", SMALL, LESS),
    case("numbered 200k", "200,000 samples/s of an agent of ours (20 channels x 50)", ARRAYS, CPU, numbered_load),
    case("numbered 1M", "1,000,000 samples/s of the same (20 channels x 50)", MANY, CPU, numbered_load),
    case("numbered small", "1,000 messages/s of an agent of ours (10 channels x 1)", SMALL, LESS, numbered_load),
    ending("term", "SIGTERM at 200,000 samples/s, started again at once", signal.SIGTERM, (Target(0.2, ratio=False),)),
    ending("kill", "SIGKILL at 200,000 samples/s, started again at once", signal.SIGKILL),
)
