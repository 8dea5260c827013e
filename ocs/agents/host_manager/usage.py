"""What processes and the machine use: processor, memory, disk."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from twisted.internet.threads import deferToThreadPool

__all__ = ["HostUsage", "Usage", "UsageMeter", "UsageWatch"]

LOOK_EVERY = 10.0
"""How often processor and memory are looked at, in seconds."""


class Usage(NamedTuple):
    """What a process uses, with all that it has started."""

    cpu_percent: float | None
    """Of one core, since the last look; None at the first."""
    memory_bytes: int | None
    """Resident memory."""
    cpu_seconds: float | None = None
    """Of processor time, since they were started; what has ended counts no more."""


class HostUsage(NamedTuple):
    """What the machine uses."""

    load: float
    memory_bytes: int
    memory_used_bytes: int
    disk_free_bytes: int | None

    def encoded(self, name: str) -> dict[str, Any]:
        """Return it as clients see it."""
        return {"name": name, **self._asdict()}


class UsageMeter:
    """Looks at processes again and again. Blocks; belongs to one thread at a time.

    Args:
        folder: tells which disk's room counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: dict[int, tuple[float, float]] = {}

    def look(self, pids: Iterable[int]) -> tuple[Mapping[int, Usage], HostUsage]:
        """Return what these processes, and the machine, use."""
        now = time.monotonic()
        spent = {pid: found for pid in pids if (found := _spent(pid))}
        usage = {
            pid: Usage(self._percent(pid, cpu, now), memory, round(cpu, 2)) for pid, (cpu, memory) in spent.items()
        }
        self._before = {pid: (cpu, now) for pid, (cpu, _memory) in spent.items()}
        return usage, self._host()

    def _percent(self, pid: int, cpu: float, now: float) -> float | None:
        if pid not in self._before:
            return None
        cpu_before, then = self._before[pid]
        return round(max(0.0, 100.0 * (cpu - cpu_before) / max(now - then, 1e-3)), 1)

    def _host(self) -> HostUsage:
        memory = psutil.virtual_memory()
        return HostUsage(
            round(os.getloadavg()[0], 2), int(memory.total), int(memory.total - memory.available), _free(self._folder)
        )


def _spent(pid: int) -> tuple[float, int] | None:
    """Return the processor time, s, and memory, bytes, of a process with all that it has started."""
    family = [found for each in _family(pid) if (found := _spent_alone(each))]
    return (sum(cpu for cpu, _memory in family), sum(memory for _cpu, memory in family)) if family else None


def _spent_alone(pid: int) -> tuple[float, int] | None:
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, int(process.memory_info().rss)
    except psutil.Error:
        return None  # it has ended meanwhile


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        with suppress(OSError, ValueError):
            waiting += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
    return found


def _free(folder: Path) -> int | None:
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    try:
        return int(psutil.disk_usage(str(there)).free)
    except OSError:
        return None


class UsageWatch:
    """Has a meter look now and then, in a thread. For the reactor's thread.

    Args:
        reactor: keeps the time and lends the thread.
        folder: tells which disk's room counts.
        log: tells when it cannot be done.
    """

    def __init__(self, reactor: Any, folder: Path, log: Any) -> None:
        self.processes: Mapping[int, Usage] = {}
        """By process id, as of the last look."""
        self.host: HostUsage | None = None
        self._reactor = reactor
        self._meter = UsageMeter(folder)
        self._log = log
        self._looking = False
        self._looked = float("-inf")

    def look(self, pids: Iterable[int]) -> None:
        """Have it looked at these processes, unless that has been done just now."""
        if self._looking or self._reactor.seconds() - self._looked < LOOK_EVERY:
            return
        self._looking, self._looked = True, self._reactor.seconds()
        pool = self._reactor.getThreadPool()
        looking = deferToThreadPool(self._reactor, pool, self._meter.look, list(pids))
        looking.addCallbacks(self._take, self._failed)

    def _take(self, found: tuple[Mapping[int, Usage], HostUsage]) -> None:
        self._looking = False
        self.processes, self.host = found

    def _failed(self, failure: Any) -> None:
        self._looking = False
        self._log.debug("cannot look at what processes use: {why}", why=failure.value)
