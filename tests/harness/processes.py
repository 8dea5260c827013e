"""Whether a process runs, asked in a way that a process which ends meanwhile cannot upset."""

from collections.abc import Iterable
from pathlib import Path

import psutil


def runs(process: psutil.Process | int) -> bool:
    """Return whether a process runs; one that has ended and waits to be collected does not."""
    try:
        asked = psutil.Process(process) if isinstance(process, int) else process
        return asked.is_running() and asked.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that run."""
    return [process for process in processes if runs(process)]


def catches(pid: int, signum: int) -> bool:
    """Return whether a process has a handler for a signal: from then on it ends as it should, not by it."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["SigCgt"], 16) >> (signum - 1) & 1)
