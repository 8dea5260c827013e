"""A file that says which processes a supervisor has started, so that the next one finds what a killed one left.

A process is known by its id and by when it began, in ticks of a given boot of the system: an id alone is given away
again, and a time of day depends on a clock that may be set.

The file is on the disk before a child begins. On a disk that takes nothing more children are started all the same,
since an agent that does not run is worse; the file is then removed, because one that is not true is worse than none,
and the next supervisor finds the children by their pipes (`ocs.supervisor.state_dir`).
"""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from ocs.supervisor.proc import group_is_gone, signal_group, stamp

__all__ = ["Entry", "Ledger", "end_leftovers", "read_ledger"]

_PATIENCE = 5.0
"""How long a child waits at its gate for a disk that does not answer, in seconds."""

_RETRY_INTERVAL = 10.0
"""When a disk that has refused the file is asked again, in seconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One process, as it is recorded."""

    name: str
    pid: int
    created: str
    """Which process of that id it is: `ocs.supervisor.proc.stamp`."""
    started: float = 0.0
    """When it was started, in seconds since 1970, for people to read."""

    @property
    def runs(self) -> bool:
        """Whether this very process is still there."""
        return bool(self.created) and stamp(self.pid) == self.created


class Ledger:
    """Keeps the file up to date; writes in a thread, one after the other, the latest state only.

    Args:
        reactor: lends the thread, and keeps the time.
        path: the file.
        entries: what is in it.
    """

    log = Logger()

    def __init__(self, reactor: Any, path: Path, entries: Mapping[str, Entry] | None = None) -> None:
        self.trouble = ""
        """Why the file does not say what it should; empty while it does."""
        self._reactor = reactor
        self._path = path
        self._entries = dict(entries or {})
        self._changed = False
        self._writing: Deferred[None] | None = None
        self._waiting: list[_Waiter] = []
        self._soon: DelayedCall | None = None

    def enter(self, entry: Entry) -> "Deferred[None]":
        """Record a process.

        Returns:
            A Deferred that fires when it is on the disk, or the disk has refused it or not answered in 5 s: see
            `trouble`. It never fails.
        """
        self._entries[entry.name] = entry
        waiter = _Waiter(self._reactor, self._too_slow)
        self._waiting.append(waiter)
        self._change()
        return waiter.done

    def strike(self, name: str) -> None:
        """Record that there is no process of that name any more."""
        if self._entries.pop(name, None):
            self._change()

    def record(self, processes: Mapping[str, int]) -> None:
        """Record that these are the processes now, ids by name, for one who keeps them without a gate."""
        known = {(entry.name, entry.pid): entry for entry in self._entries.values()}
        self._entries = {
            name: known.get((name, pid)) or Entry(name, pid, stamp(pid) or "", time.time())
            for name, pid in processes.items()
        }
        self._change()

    def written(self) -> "Deferred[None]":
        """Return a Deferred that fires when the file says what was last recorded, or the disk has refused it."""
        if self._changed and self._writing is None:
            self._write()
        if self._writing is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._writing.addCallback(lambda _result: done.callback(None) if self.trouble else self._also_written(done))
        return done

    def close(self) -> None:
        """Ask the disk no more."""
        self._plan(None)

    def _also_written(self, done: "Deferred[None]") -> None:
        self.written().chainDeferred(done)

    def _change(self) -> None:
        self._changed = True
        if self._writing is None:
            # In the reactor's next turn: many children started at once are one write.
            self._plan(0.0)

    def _plan(self, delay: float | None) -> None:
        if self._soon and self._soon.active():
            self._soon.cancel()
        self._soon = None if delay is None else self._reactor.callLater(delay, self._write)

    def _write(self) -> None:
        if self._writing is not None or not self._changed:
            return
        self._plan(None)
        self._changed = False
        text = json.dumps([asdict(entry) for entry in self._entries.values()], indent=1)
        waiting, self._waiting = self._waiting, []
        pool = self._reactor.getThreadPool()
        self._writing = deferToThreadPool(self._reactor, pool, _replace_file, self._path, text)
        self._writing.addCallbacks(self._accepted, self._refused)
        self._writing.addCallback(self._next, waiting)

    def _accepted(self, _result: None) -> None:
        if self.trouble:
            self.log.info("the running processes are recorded again in {path}", path=self._path)
        self.trouble = ""

    def _refused(self, failure: Failure) -> None:
        self._tell(f"cannot record the running processes in {self._path}: {failure.value}")
        self._changed = True

    def _too_slow(self) -> None:
        self._tell(f"cannot record the running processes in {self._path}: no answer from the disk in {_PATIENCE:g} s")

    def _tell(self, trouble: str) -> None:
        if not self.trouble:
            self.log.error("{trouble}; children run nevertheless", trouble=trouble)
        self.trouble = trouble

    def _next(self, _result: None, written: "list[_Waiter]") -> None:
        self._writing = None
        for waiter in written:
            waiter.finish()
        if self._changed:
            self._plan(_RETRY_INTERVAL if self.trouble and not self._waiting else 0.0)


class _Waiter:
    """One child at its gate."""

    def __init__(self, reactor: Any, too_slow: Any) -> None:
        self.done: Deferred[None] = Deferred()
        self._too_slow = too_slow
        self._timer: DelayedCall | None = reactor.callLater(_PATIENCE, self._expired)

    def finish(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self.done.callback(None)

    def _expired(self) -> None:
        self._timer = None
        self._too_slow()
        self.done.callback(None)


def _replace_file(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync_folder(path.parent)
    except OSError:
        for untrue in (new, path):
            with suppress(OSError):
                untrue.unlink()
        raise


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_ledger(path: Path) -> list[Entry] | None:
    """Return what a ledger says; None if there is none, or none that can be read."""
    try:
        return [
            Entry(str(item["name"]), int(item["pid"]), str(item["created"]), float(item.get("started", 0.0)))
            for item in json.loads(path.read_text())
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def end_leftovers(path: Path, timeout: float = 10.0) -> list[str]:
    """End what a killed supervisor has left running. Blocks.

    Args:
        path: the ledger's file.
        timeout: time between the polite signal and SIGKILL, in seconds.

    Returns:
        The names of what was running.
    """
    left = [entry for entry in read_ledger(path) or [] if entry.runs]
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
