"""What processes and the machine use: processor, memory, disk. Blocks: for a thread."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

__all__ = ["HostUsage", "Usage", "UsageMeter"]


class Usage(NamedTuple):
    """What one process uses."""

    cpu_percent: float | None
    """Of one core, since the last look; None at the first."""
    memory_bytes: int | None
    """Resident memory."""


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
    """Looks at processes again and again; belongs to one thread at a time.

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
        usage = {pid: Usage(self._percent(pid, cpu, now), memory) for pid, (cpu, memory) in spent.items()}
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
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return times.user + times.system, int(process.memory_info().rss)
    except psutil.Error:
        return None  # it has ended meanwhile


def _free(folder: Path) -> int | None:
    try:
        return int(psutil.disk_usage(str(folder)).free)
    except OSError:
        return None
