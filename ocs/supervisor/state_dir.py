"""The folder of a supervisor: its lock, its ledger, its pipes; and what an earlier supervisor has left there.

What runs is told by the ledger. If that is missing, because a full disk did not take it, a child is known by what it
prints into: it leads a session, and its standard output is one of our pipes. Of several, which is to say the child and
a daemon that it has started, the oldest is the child.
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from twisted.logger import Logger

from ocs.errors import SupervisorInUseError
from ocs.supervisor.ledger import Entry, read_ledger
from ocs.supervisor.pipe import pipe_name
from ocs.supervisor.proc import Stat, age, all_stats, open_file, signal_group, stamp

__all__ = ["StateDir"]

_LOCK_ATTEMPTS = 20
_LOCK_INTERVAL = 0.05
"""A killed supervisor's lock may be held for an instant by a child that it was just starting; in seconds."""


class StateDir:
    """The folder, locked for this process.

    Args:
        root: made if it is not there.

    Raises:
        SupervisorInUseError: another supervisor uses it.
        OSError: it cannot be made.
    """

    log = Logger()

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.pipes = self.root / "pipes"
        self.ledger = self.root / "processes.json"
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self.running: dict[str, Entry] = {}
        """What an earlier supervisor has left that runs."""
        self.ended: dict[str, Entry] = {}
        """What it has left that has ended since."""
        self._look()

    def pipe(self, name: str) -> Path:
        """Return where the pipe of a child is."""
        return self.pipes / pipe_name(name)

    def end_remains(self, entry: Entry) -> None:
        """End what a child that has ended has left in its group.

        A group is not ours by its number, which the system may have given away again, but by what it prints into.
        """
        if any(open_file(stat.pid, fd) == str(self.pipe(entry.name)) for stat in _group(entry.pid) for fd in (1, 2)):
            self.log.warn("{name}: ends what process {pid} has left behind", name=entry.name, pid=entry.pid)
            signal_group(entry.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let another supervisor use the folder."""
        self._lock.close()

    def _look(self) -> None:
        entries = read_ledger(self.ledger)
        if entries is None:
            entries = self._holders_of_pipes()
        for entry in entries:
            (self.running if entry.runs else self.ended)[entry.name] = entry
        for entry in self.ended.values():
            self.end_remains(entry)

    def _holders_of_pipes(self) -> list[Entry]:
        if not self.pipes.is_dir():
            return []
        found: dict[str, Stat] = {}
        for stat in all_stats():
            path = Path(open_file(stat.pid, 1)) if stat.pid == stat.session and stat.runs else Path()
            if path.parent == self.pipes and (path.name not in found or stat.ticks < found[path.name].ticks):
                found[path.name] = stat
        return [self._entry_of(unquote(name), stat.pid) for name, stat in found.items()]

    def _entry_of(self, name: str, pid: int) -> Entry:
        self.log.warn("{name}: process {pid} is not recorded; known by its pipe", name=name, pid=pid)
        return Entry(name, pid, stamp(pid) or "", time.time() - age(pid))

    def _take_lock(self) -> IO[str]:
        lock = (self.root / "lock").open("a+")
        for attempt in range(_LOCK_ATTEMPTS + 1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                self._refuse_if_alive(lock, last=attempt == _LOCK_ATTEMPTS)
                time.sleep(_LOCK_INTERVAL)
            except OSError as error:
                # A network file system without locks: better unlocked than not at all.
                self.log.warn("{root} cannot be locked: {reason}", root=self.root, reason=error)
                break
        _sign(lock)
        return lock

    def _refuse_if_alive(self, lock: IO[str], *, last: bool) -> None:
        lock.seek(0)
        owner = lock.read(20).strip()
        if last or (owner.isdigit() and stamp(int(owner))):
            lock.close()
            raise SupervisorInUseError(
                f"another process ({owner or 'unknown'}) looks after the children of {self.root}: end it first"
            )


def _sign(lock: IO[str]) -> None:
    # On a full disk the lock holds unsigned.
    with suppress(OSError):
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()


def _group(group: int) -> Iterator[Stat]:
    if signal_group(group, 0):
        yield from (stat for stat in all_stats() if stat.group == group and stat.runs)
