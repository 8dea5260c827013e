"""Processes as the system tells of them: which one it is, how old it is, what is in its group.

All of it is read from ``/proc`` where there is one, which costs microseconds a process; psutil stands in elsewhere.
"""

import ctypes
import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

__all__ = [
    "Stat",
    "age",
    "all_stats",
    "become_subreaper",
    "group_is_gone",
    "open_file",
    "read_stat",
    "reap_group",
    "reap_strays",
    "signal_group",
    "stamp",
]

_PROC = Path("/proc")
_HAS_PROC = Path("/proc/self/stat").exists()
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Stat:
    """What is asked of a process."""

    pid: int
    state: str
    group: int
    session: int
    ticks: int
    """When it began, in clock ticks since the system was booted: no setting of any clock changes it."""

    @property
    def runs(self) -> bool:
        """Whether it has not ended; one that only waits to be reaped has."""
        return self.state not in "ZX"


def read_stat(pid: int) -> Stat | None:
    """Return what there is to know of a process, or None if there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        # The name, in brackets, may itself have brackets and blanks in it.
        fields = text.rpartition(")")[2].split()
        return Stat(pid, fields[0], int(fields[2]), int(fields[3]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def all_stats() -> Iterator[Stat]:
    """Yield all processes."""
    for name in os.listdir(_PROC):  # noqa: PTH208 - half the cost, of hundreds of names
        stat = read_stat(int(name)) if name.isdigit() else None
        if stat:
            yield stat


def stamp(pid: int) -> str | None:
    """Return what tells a process from any other that has had or will have its id; None if it has ended."""
    if not _HAS_PROC:
        return _psutil_stamp(pid)
    stat = read_stat(pid)
    return f"{_boot_id()}/{stat.ticks}" if stat and stat.runs else None


def age(pid: int) -> float:
    """Return how long a process has run, in seconds; 0 if that cannot be told."""
    stat = read_stat(pid)
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - stat.ticks / _TICKS) if stat else 0.0


def open_file(pid: int, descriptor: int) -> str:
    """Return what a process has open, as a path; empty if it has not, or is not ours to look at."""
    try:
        return str((_PROC / str(pid) / "fd" / str(descriptor)).readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


def signal_group(group: int, signum: int) -> bool:
    """Send a signal to a process group.

    Returns:
        Whether there is such a group.
    """
    if group <= 1:
        # For the system 0 is our own group, and 1 everybody's.
        return False
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Somebody else's processes: the number has been given away again.
        return False
    return True


def group_is_gone(group: int) -> bool:
    """Return whether no process of a group runs; one that has ended and waits to be reaped does not run."""
    if not signal_group(group, 0):
        return True
    # Somebody is there, if only dead: it has to be looked who.
    return not any(runs for _pid, member_of, runs in _members() if member_of == group)


def reap_group(group: int) -> None:
    """Reap what has ended in a group and has become our child, its own parent having gone."""
    with suppress(ChildProcessError):
        while group > 1 and os.waitpid(-group, os.WNOHANG)[0]:
            pass


def reap_strays(spare: Collection[int]) -> None:
    """Reap what descendants have left us: children in a session that is not ours, which nobody here has started.

    Args:
        spare: process ids that somebody else here will ask about.
    """
    own = os.getsid(0)
    for pid in _children():
        stat = read_stat(pid)
        if stat and not stat.runs and stat.session != own and pid not in spare:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def become_subreaper() -> bool:
    """Have all descendants whose parents end become our own children.

    Returns:
        Whether the system can do that.
    """
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


@cache
def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, task.read_text().split()))
    return found


def _members() -> Iterator[tuple[int, int, bool]]:
    if _HAS_PROC:
        yield from ((stat.pid, stat.group, stat.runs) for stat in all_stats())
        return
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            yield process.pid, os.getpgid(process.pid), process.status() != psutil.STATUS_ZOMBIE


def _psutil_stamp(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"psutil/{process.create_time():.2f}"
    except psutil.Error:
        return None
