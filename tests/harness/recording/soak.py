"""A soak: faults mixed by chance over several publishers, for minutes or hours, and books that balance in the end."""

import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.recording.faults import FAULTS, Fault
from tests.harness.recording.observatory import Observatory
from tests.harness.recording.runs import Result, Run

LONGEST_S = 20.0
MOST_AT_ONCE = 2
CALM_S = 10.0
PUBLISHERS = ("ours", "ours", "ours", "published")
RETURN_S = 45.0  # within which a published agent is back after a fault
CHOICE = [fault for fault in FAULTS.values() if fault.name not in ("calm", "two-recorders")]


@dataclass
class Active:
    """A fault that is there now, until a time of the monotonic clock; `since` is of the day's."""

    fault: Fault
    until: float
    half: float | None
    since: float = field(default_factory=time.time)


def run(directory: Path, *, minutes: float, seed: int, **options: Any) -> Result:
    """Mix faults for so many minutes, then let calm return, and balance the books.

    Equal seeds give equal faults in equal order; what the processes make of them is never quite equal. `options` are
    those of `Observatory`.
    """
    seconds = minutes * 60
    options |= {"with_small_disk": True, "with_shim": True, "seed": seed}
    result = Result(Run("soak", "ours", seconds, seed))
    with Observatory(directory, "ours", publishers=PUBLISHERS, recorders=2, crossbar_timeout=300, **options) as world:
        mix(world, random.Random(seed), seconds)
        world.live(CALM_S)
        result.books, result.recovery = world.finish(timeout=180, patience=60)
        result.restarts = sum(member.restarts for member in world.members)
    return result


def mix(world: Observatory, chance: random.Random, seconds: float) -> None:
    """Let faults come and go by chance, as long as they do not touch the same thing."""
    active: list[Active] = []
    began, last = time.monotonic(), 0.0
    while (at := time.monotonic()) < began + seconds:
        if len(active) < MOST_AT_ONCE and chance.random() < 0.3:
            _begin_one(world, chance, active, at)
        for each in tuple(active):  # which it changes
            _go_on(world, each, active, at)
        if at - last > 1:
            _progress(at - began, seconds, active)
            last = at
        world.live(0.5)
    for each in tuple(active):
        _end(world, each, active)
    print(file=sys.stderr)


def _begin_one(world: Observatory, chance: random.Random, active: list[Active], at: float) -> None:
    fault = chance.choice(CHOICE)
    length = chance.uniform(1, LONGEST_S)
    touched = frozenset().union(*(each.fault.touches for each in active))
    if fault.touches & touched or "all" in touched or (active and "all" in fault.touches):
        return
    _note(world, f"{fault.name} for {length:.1f} s" if fault.lasts else fault.name)
    fault.begin(world)
    new = Active(fault, at + length, at + length / 2)
    active.append(new)
    if not fault.lasts:
        _end(world, new, active)


def _go_on(world: Observatory, each: Active, active: list[Active], at: float) -> None:
    each.fault.during(world)
    if each.half and at > each.half:
        each.half = None
        each.fault.middle(world)
    if at > each.until:
        _end(world, each, active)


def _end(world: Observatory, each: Active, active: list[Active]) -> None:
    each.fault.end(world)
    active.remove(each)
    _note(world, f"end of {each.fault.name}")
    # Nobody keeps what a published agent has sent while it or its hearers were away.
    published = [member for member in world.publishers if member.side == "published"]
    world.excuse(time.time() - each.since + 2, each.fault.name, published)
    for excuse in world.excuses[len(world.excuses) - len(published) :]:
        excuse.until += RETURN_S


def _note(world: Observatory, what: str) -> None:
    with (world.directory / "faults.log").open("a") as log:
        log.write(f"{time.time():.3f} {what}\n")


def _progress(at: float, seconds: float, active: list[Active]) -> None:
    names = ", ".join(each.fault.name for each in active) or "calm"
    print(f"\r\x1b[K{at:6.0f} of {seconds:.0f} s: {names}", end="", file=sys.stderr, flush=True)
