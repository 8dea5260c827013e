"""A file that says which processes a supervisor has started, so that the next one finds what a killed one left.

A process is known by its id and the time it began: an id alone is given away again by the system.
"""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from ocs.supervisor.process import group_is_gone, signal_group

__all__ = ["Entry", "Ledger", "end_leftovers"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One process, as it is recorded."""

    name: str
    pid: int
    created: float
    """When it began, in seconds since 1970, as psutil tells it."""
    started: float = 0.0
    """When it was started, in seconds since 1970, for people to read."""

    @property
    def runs(self) -> bool:
        """Whether this very process is still there."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class Ledger:
    """Keeps the file up to date; writes in a thread, one after the other, the latest state only.

    Args:
        reactor: lends the thread.
        path: the file.
    """

    log = Logger()

    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._path = path
        self._created: dict[int, float] = {}
        self._wanted: str | None = None
        self._writing: Deferred[None] | None = None

    def record(self, processes: Mapping[str, int]) -> None:
        """Record that these are the processes now, by name."""
        self._created = {pid: self._created.get(pid) or _created(pid) for pid in processes.values()}
        entries = [{"name": name, "pid": pid, "created": self._created[pid]} for name, pid in processes.items()]
        self._wanted = json.dumps(entries, indent=1)
        self._write()

    def written(self) -> "Deferred[None]":
        """Return a Deferred that fires when the file says what was last recorded."""
        done: Deferred[None] = Deferred()
        if self._writing is None:
            return succeed(None)
        self._writing.addBoth(lambda _result: self.written().chainDeferred(done))
        return done

    def _write(self) -> None:
        if self._writing is None and self._wanted is not None:
            text, self._wanted = self._wanted, None
            self._writing = deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), _replace_file, self._path, text
            )
            self._writing.addErrback(self._refused)
            self._writing.addCallback(self._next)

    def _refused(self, failure: Failure) -> None:
        self.log.error("cannot record the running processes: {reason}", reason=failure.value)

    def _next(self, _result: None) -> None:
        self._writing = None
        self._write()


def _created(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _replace_file(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _entries(path: Path) -> list[Entry]:
    try:
        return [
            Entry(str(item["name"]), int(item["pid"]), float(item["created"])) for item in json.loads(path.read_text())
        ]
    except (OSError, ValueError, KeyError, TypeError):
        # Absent, or cut short by a full disk: then nothing is known.
        return []


def end_leftovers(path: Path, timeout: float = 10.0) -> list[str]:
    """End what a killed supervisor has left running. Blocks.

    Args:
        path: the ledger's file.
        timeout: time between the polite signal and SIGKILL, in seconds.

    Returns:
        The names of what was running.
    """
    left = [entry for entry in _entries(path) if entry.runs]
    for entry in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(entry.pid, signal.SIGINT)
    deadline = time.monotonic() + timeout
    while any(entry.runs for entry in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    for entry in left:
        while signal_group(entry.pid, signal.SIGKILL) and not group_is_gone(entry.pid):
            time.sleep(0.05)
    return [entry.name for entry in left]
