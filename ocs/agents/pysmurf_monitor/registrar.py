"""Enters files into the transfer database, each once, and notes what it has done.

Two rules make it so. Whatever inserts holds the write lock from before it has looked until it has inserted. And the
index of what is there follows the table: within the lock come first the rows that are newer than it, whoever has added
them, a run of ours that was killed, another monitor, or anybody else.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ocs.agents.pysmurf_monitor.seen import Followed, Learned, key_of
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.suprsync import BUSY_TIMEOUT
from ocs.agents.pysmurf_monitor.table import LOOK, FilesTable, OtherTableError, Place, Values
from ocs.agents.pysmurf_monitor.trouble import ERROR, STOPPED
from ocs.errors import DatabaseTroubleError

if TYPE_CHECKING:
    from ocs.agents.pysmurf_monitor.hashing import Item

__all__ = ["MOST", "Entered", "Registrar"]

MOST: Final = 2000
"""So many files at most are to be entered at a time: some 20 ms with the write lock."""

_ATTEMPTS: Final = 10
"""So often at most, in one call, others may change the table, or add more rows than one look takes, while we look."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What came of a batch; each of its files is counted in one of these."""

    entered: int
    """Rows that were added."""
    known: int
    """Files that the table had already, or that were in the batch twice."""
    refused: "tuple[Item, ...]" = ()
    """What can never be entered, since its path is no text: the file name is not UTF-8."""


class Registrar:
    """Enters files. For one thread at a time; that may be another one than made it.

    Nothing is opened before the first use, and everything anew after any trouble.

    Args:
        db_path: the transfer database.
        state: what we remember.
        create_table: make the file (not its folder) and the tables where they are missing.
        echo: log all statements.
        busy_timeout: how long to wait for others (s).
        now: gives the time (unix, s).

    Attributes:
        looked_at: while a table that others have filled is read through: (id reached, last id); otherwise None.
            Any thread may look.
    """

    def __init__(
        self,
        db_path: Path,
        state: State,
        *,
        create_table: bool = True,
        echo: bool = False,
        busy_timeout: float = BUSY_TIMEOUT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.looked_at: tuple[int, int] | None = None
        self._table = FilesTable(db_path, create=create_table, echo=echo, busy_timeout=busy_timeout)
        self._state = state
        self._now = now
        self._interrupted = threading.Event()
        self._learned: Learned | None = None

    def check(self) -> None:
        """Find out whether files could be entered; makes what may be made, and looks at what others have entered.

        Raises:
            DatabaseTroubleError: as `enter`.
        """
        self.enter(())
        if self._learned is not None:
            self._state.learn(self._learned)
            self._learned = None

    def enter(self, items: "Sequence[Item]") -> Entered:
        """Enter files that the table does not have, in one transaction.

        Args:
            items: files with their MD5; not more than `MOST`.

        Raises:
            DatabaseTroubleError: nothing was entered now; or, if the trouble came with the end of the transaction, all
                was, and the next call finds it there. Its `state` is one of those in `trouble`.
            StateTroubleError: the same, of the state file.
        """
        fit = [item for item in items if _is_text(item)]
        refused = tuple(item for item in items if not _is_text(item)) if len(fit) < len(items) else ()
        with self._trouble_closes():
            entered = self._enter({item.announcement.path: item for item in fit})
        return Entered(entered, len(fit) - entered, refused)

    def note(self, *, cursor: int, done: "Sequence[Item]", put_off: "Sequence[tuple[Item, float]]") -> None:
        """Note in one transaction of the state file what has been come to.

        Args:
            cursor: the journal index below which everything is done with.
            done: files that have been entered or were known, and those that are refused for good.
            put_off: files that are to be tried again, each with when (unix, s); `Item.trouble` says why.

        Raises:
            StateTroubleError: nothing was noted; call it again with the same.
        """
        paths = [item.announcement.path for item in done]
        self._state.note(cursor=cursor, done=paths, put_off=put_off, learned=self._learned)
        self._learned = None

    def interrupt(self) -> None:
        """Break off a long look at the table, for good: it raises `DatabaseTroubleError`, "stopped". Any thread."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the database."""
        self._table.close()

    @contextmanager
    def _trouble_closes(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._table.close()
            raise
        finally:
            self.looked_at = None

    # Entering

    def _enter(self, items: "dict[str, Item]") -> int:
        keys = [key_of(path) for path in items]
        for _ in range(_ATTEMPTS):
            self._table.open()
            followed = self._follow()
            hits = {row_id: key for key, row_id in self._state.find(keys)} if keys else {}
            try:
                return self._insert(items, followed, hits)
            except _TooManyNewError:
                continue
            except OtherTableError:
                self._forget()
        raise DatabaseTroubleError(ERROR, f"{self._table.path} is changed so fast by others that it cannot be followed")

    def _insert(self, items: "dict[str, Item]", followed: Followed, hits: dict[int, int]) -> int:
        """Insert in one transaction what is not there; `hits` are rows that have perhaps some of these paths."""
        with self._table.transaction() as inside:
            newer = inside.rows_behind(followed)
            if len(newer) >= LOOK:
                raise _TooManyNewError
            there = inside.paths_of(hits)
            there.update(path for _, path in newer)
            now = self._now()
            values = [_values(item, now) for path, item in items.items() if path not in there]
            inside.insert(values)
        self._learned = _learned(newer, followed) if newer else None
        return len(values)

    # Following the table

    def _follow(self) -> Followed:
        """Let the index come near the end of the table, a piece at a time, without any lock."""
        followed = self._state.followed
        if (followed.db_path, followed.inode) != (str(self._table.path), self._table.inode):
            followed = self._forget()
        while (end := self._table.last_id()) - followed.last >= LOOK:
            self.looked_at = (followed.last, end)
            if self._interrupted.is_set():
                raise DatabaseTroubleError(STOPPED, f"stopped while {self._table.path} was being read")
            followed = self._follow_piece(followed)
        return followed

    def _follow_piece(self, followed: Followed) -> Followed:
        try:
            rows = self._table.rows_behind(followed)
        except OtherTableError:
            return self._forget()
        if not rows:  # ids of 10,000 and more were given, and their rows deleted
            return followed
        learned = _learned(rows, followed)
        self._state.learn(learned)
        return learned.followed

    def _forget(self) -> Followed:
        followed = Followed(str(self._table.path), self._table.inode)
        self._state.forget(followed)
        return followed


class _TooManyNewError(Exception):
    """Others have added more rows than one look can take."""


def _learned(rows: Sequence[Place], followed: Followed) -> Learned:
    known = [(key_of(path), row_id) for row_id, path in rows]
    key, last = known[-1]
    return Learned(known, followed._replace(last=last, last_key=key))


def _is_text(item: "Item") -> bool:
    it = item.announcement
    try:
        f"{it.path}{it.remote_path}{it.archive_name}{item.md5}".encode()
    except UnicodeEncodeError:
        return False
    return True


def _values(item: "Item", now: float) -> Values:
    it = item.announcement
    return it.path, item.md5, it.archive_name, it.remote_path, now, 0, it.deletable, False
