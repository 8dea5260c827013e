"""Runs: an observatory, a fault for some time, and what the books say afterwards."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.recording.books import Books
from tests.harness.recording.disk import CannotTest
from tests.harness.recording.faults import FAULTS, Fault
from tests.harness.recording.observatory import POLL_S, Observatory

BEFORE_S = 2.0  # of ordinary running before the fault
RETURN_S = 40.0  # after it, for everybody to be back; a silent connection is noticed after 25
SPARE_S = 90  # that an agent looks for the router beyond the time of the fault


@dataclass(frozen=True)
class Run:
    """What to do: which fault, to whose recording, for how many seconds, with agents of which sides (none: two own)."""

    fault: str
    side: str
    seconds: float
    seed: int = 0
    publishers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "-".join([self.fault, self.side, f"{self.seconds:g}", *self.publishers])


@dataclass
class Result:
    """What came of a run.

    Attributes:
        books: the balance of each archive.
        recovery: seconds from the publishers' end until the books balanced, or nothing changed any more.
        restarts: how often a process had to be started again since it had ended by itself.
        gone: of how many feeds nothing came any more after the fault.
        trouble: why there is no result; skipped: why there could be none on this machine.
    """

    run: Run
    books: list[Books] = field(default_factory=list)
    recovery: float = 0.0
    restarts: int = 0
    gone: int = 0
    trouble: str = ""
    skipped: str = ""

    @property
    def balanced(self) -> bool:
        return bool(self.books) and all(each.balanced for each in self.books) and not self.trouble

    def report(self) -> str:
        """Say in a few lines what came of it."""
        what = self.skipped or self.trouble or ("balanced" if self.balanced else "NOT BALANCED")
        head = (
            f"{self.run.name}: {what}; recovery {self.recovery:.1f} s, restarts {self.restarts}, feeds gone {self.gone}"
        )
        return "\n".join([head, *(each.report() for each in self.books)])

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.run),
            "balanced": self.balanced,
            "books": [each.as_json() for each in self.books],
            "recovery": self.recovery,
            "restarts": self.restarts,
            "gone": self.gone,
            "trouble": self.trouble,
            "skipped": self.skipped,
        }


def do(run: Run, directory: Path, **options: Any) -> Result:
    """Make a run in a folder of its own, which is left for a look."""
    fault = FAULTS[run.fault]
    result = Result(run)
    options = {
        "crossbar_timeout": int(2 * run.seconds + SPARE_S),
        "seed": run.seed,
        "publishers": run.publishers,
        **fault.needs,
        **options,
    }
    try:
        with Observatory(directory, run.side, **options) as world:
            world.live(BEFORE_S)
            suffer(world, fault, run.seconds)
            result.gone = _until_all_is_back(world)
            result.books, result.recovery = world.finish()
            result.restarts = sum(member.restarts for member in world.members)
    except CannotTest as error:
        result.skipped = str(error)
    except Exception as error:
        # Anything at all: the other runs are to go on, and whoever reads the table is to know.
        result.trouble = f"{type(error).__name__}: {error}"
    return result


def _until_all_is_back(world: Observatory) -> int:
    """Let time pass until samples of every feed are recorded again, and return of how many they are not."""
    ended = time.time()
    deadline = time.monotonic() + RETURN_S
    while (silent := world.silent_since(ended)) and time.monotonic() < deadline:
        world.live(4 * POLL_S)
    return len(silent)


def suffer(world: Observatory, fault: Fault, seconds: float) -> None:
    """Let a fault come and go."""
    fault.begin(world)
    if fault.lasts:
        _last(world, fault, seconds / 2)
        fault.middle(world)
        _last(world, fault, seconds / 2)
    fault.end(world)


def _last(world: Observatory, fault: Fault, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        fault.during(world)
        world.live(min(left, POLL_S))


def do_all(
    runs: Iterable[Run], directory: Path, *, parallel: int = 4, told: Callable[[Result], None] = lambda _: None,
    **options: Any,
) -> list[Result]:  # fmt: skip
    """Make several runs, some at a time.

    Args:
        runs: which.
        directory: each has a folder of its own in it.
        parallel: how many at a time; each has a router, an aggregator and two agents.
        told: takes each result when it is there.
        options: for each observatory.
    """

    def one(run: Run) -> Result:
        result = do(run, directory / run.name, **options)
        told(result)
        return result

    with ThreadPoolExecutor(parallel, thread_name_prefix="run") as pool:
        return list(pool.map(one, runs))
