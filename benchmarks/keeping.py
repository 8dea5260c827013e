"""Keeping: what it costs an agent that what it publishes is numbered, and kept until recorders have it."""

import time
from functools import partial

from benchmarks.aggregator import (
    ARRAYS,
    MILLION,
    SMALL,
    empty_folder,
    recorded_agent,
    recorder,
    settle,
    wait_until_recording,
)
from benchmarks.case import Case, Figure
from benchmarks.processes import Cost

__all__ = ["CASES"]

AWAY = 4.0  # seconds after which a recorder that called every second is missed


def keep(shape, bench, side):
    """Have an agent publish while nobody records, while a recorder does, and when that has gone.

    ``shape`` is (channels, samples per message, messages a second). All of it is of ``side``.
    """
    with recorded_agent(bench, side, shape, "--not-recorded") as load:
        excluded = publish(bench, load)
    with recorded_agent(bench, side, shape) as load:
        alone = publish(bench, load)
        with recorder(bench, side, empty_folder(bench, side)) as agent:
            wait_until_recording(bench)
            recorded = publish(bench, load)
            settle(agent, bench)
            before = load.memory()[0]
            agent.stop(20)
        time.sleep(AWAY)
        away = publish(bench, load)
        on_disk = sum(path.stat().st_size for path in bench.state.rglob("*") if path.is_file())
        return {
            "excluded": excluded,
            "alone": alone,
            "recorded": recorded,
            "away": away,
            "before": before,
            "peak": load.peak(),
            "spilled": on_disk / 2**20,
        }


def publish(bench, load):
    """CPU seconds per million samples of a process that publishes, with what it has to do after."""
    cost = Cost(load=load.pid)
    sent = load.ask(f"run {5 if bench.quick else 10}", timeout=120)
    time.sleep(2)  # what goes to the disk goes in batches
    return cost.cpu("load") / sent["samples"] * MILLION


def case(name, title, shape):
    """A case of a load."""
    return Case(
        f"keeping {name}",
        title,
        partial(keep, shape),
        (
            Figure("excluded", "not for recorders: CPU (s/M samples)"),
            Figure("alone", "no recorder: CPU (s/M samples)"),
            Figure("recorded", "recorded: CPU (s/M samples)"),
            Figure("away", "recorder away: CPU (s/M samples)"),
            Figure("before", "memory after being recorded (MiB)"),
            Figure("peak", "peak memory (MiB)"),
            Figure("spilled", "on disk for an absent recorder (MiB)"),
        ),
        rounds=1,
        quick_rounds=0,
    )


CASES = (
    case("200k", "publisher of 200,000 samples/s (20 channels x 50)", ARRAYS),
    case("small", "publisher of 1,000 messages/s (10 channels x 1)", SMALL),
)
