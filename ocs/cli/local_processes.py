"""Processes of this machine, as programs that start and stop them see them."""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ocs.cli.readable import printable

__all__ = ["last_line", "lock_owner", "process_runs", "systemd_unit", "until"]

_LOOK_EVERY: Final = 0.1
"""Time between two looks at what is being waited for, in s."""

_LAST_BYTES: Final = 20_000


def lock_owner(path: Path) -> int | None:
    """Return the process that holds a lock file with its id in it; None where nobody does."""
    try:
        with path.open() as lock:
            owner = lock.read(20).strip()
            return int(owner) if owner.isdigit() and _is_held(lock.fileno()) else None
    except OSError:
        return None


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def process_runs(pid: int) -> bool:
    """Return whether there is such a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def systemd_unit(pid: int) -> str | None:
    """Return the systemd service that a process belongs to, where it is not the one that we belong to ourselves."""
    unit = _service(pid)
    return unit if unit != _service(os.getpid()) else None


def _service(pid: int) -> str | None:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    names = (line.rpartition("/")[2] for line in lines)
    return next((name for name in names if name.endswith(".service")), None)


def last_line(log: Path) -> str:
    """Return the last line of a file, for a message."""
    try:
        data = log.read_bytes()[-_LAST_BYTES:]
    except OSError:
        return "no output"
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return printable(lines[-1], 400) if lines else "it printed nothing"


def until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until a condition holds, for so many seconds at most; returns whether it does."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True
