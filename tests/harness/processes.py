"""Whether a process runs, asked in a way that a process which ends meanwhile cannot upset."""

from collections.abc import Iterable

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
