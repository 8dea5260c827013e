"""Recording: what it costs to get samples from the wire into .g3 files, and whether all of them get there."""

import shutil
import time
from functools import partial

from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost

__all__ = ["CASES"]

MODULE, KIND, INSTANCE = "ocs.agents.aggregator.agent", "AggregatorAgent", "aggregator"
MILLION = 1e6
AT_WORK = 0.01  # CPU seconds in a tenth of a second


def record(shape, bench, side):
    """Record a load, stop, and count what is in the files.

    ``shape`` is (channels, samples per message, messages a second).
    """
    data = bench.directory / f"data-{side}"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    with (
        bench.agent(side, MODULE, KIND, INSTANCE, "--initial-state", "record", "--data-dir", data) as agent,
        bench.program("load", bench.ws_url, *shape) as load,
    ):
        load.answer()
        wait_until_recording(bench)
        cost = Cost(recorder=agent.pid, router=bench.router_pid, load=load.pid)
        sent = load.ask(f"run {5 if bench.quick else 10}", timeout=120)
        lag = settle(agent, bench) - sent["ended"]
        router = cost.cpu("router")
        stop(bench)
        cpu, peak = cost.cpu("recorder"), agent.peak()
        exit_time = agent.stop(20)
    with bench.program("count_g3", data) as counter:
        found = counter.answer(120)
    return {
        "cpu": cpu / sent["samples"] * MILLION,
        "router": router / sent["samples"] * MILLION,
        "lag": max(0.0, lag),
        "peak": peak,
        "lost": sent["samples"] - found["samples"],
        "exit": exit_time,
        "size": found["bytes"] / found["samples"] if found["samples"] else None,
        "load": sent["late"],
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


def case(name, title, shape, cpu_targets, quick_rounds=0):
    """A case of a load."""
    return Case(
        f"aggregator {name}",
        title,
        partial(record, shape),
        (
            Figure("cpu", "recorder CPU (s/M samples)", cpu_targets),
            Figure("router", "router CPU (s/M samples)"),
            Figure("lag", "behind at the end (s)", (Target(2, ratio=False),)),
            Figure("peak", "peak memory (MiB)", (Target(200, ratio=False),)),
            Figure("lost", "samples lost", (Target(0, ratio=False),)),
            Figure("exit", "SIGTERM to exit (s)", (Target(2, ratio=False),)),
            Figure("size", "bytes per sample on disk"),
        ),
        rounds=2,
        quick_rounds=quick_rounds,
    )


CPU = (Target(0.30, ratio=False),)
CASES = (
    case("200k", "200,000 samples/s (20 channels x 50)", (20, 50, 200), CPU, quick_rounds=1),
    case("1M", "1,000,000 samples/s (20 channels x 50)", (20, 50, 1000), CPU),
    case("small", "1,000 messages/s (10 channels x 1)", (10, 1, 1000), (Target(0.7),)),
)
