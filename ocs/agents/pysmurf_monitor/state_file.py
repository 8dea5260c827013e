"""The file in which the monitor remembers: an SQLite database of our own, set aside and made anew where it must be."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ocs.agents.pysmurf_monitor.trouble import DAMAGED, NO_TABLE, trouble_of
from ocs.errors import StateTroubleError

__all__ = ["PENDING_COLUMNS", "STATE_BYTES", "StateFile"]

STATE_BYTES: Final = 4 << 30
"""Size (bytes) beyond which the file may not grow: some ten million files put off, or a hundred million seen."""

PENDING_COLUMNS: Final = {
    "path": str,
    "pub_id": str,
    "archive_name": str,
    "remote_path": str,
    "deletable": int,
    "time": float,
    "number": int,
    "attempts": int,
    "since": float,
    "next": float,
    "reason": str,
}
"""What is kept of a file that is put off, and of which type it is."""

_VERSION: Final = 1
_PAGE: Final = 4096
_ASIDE: Final = ".damaged"
_COMPANIONS: Final = ("", "-wal", "-shm")

# "followed": how far the index `seen` follows which table. "taken": handed out since the monitor was started.
_SCHEMA: Final = (
    """CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL, db_path TEXT NOT NULL,
        inode INTEGER NOT NULL, last INTEGER NOT NULL, last_key INTEGER NOT NULL)""",
    "INSERT INTO progress VALUES (1, 0, '', 0, 0, 0)",
    "CREATE TABLE seen (key INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID",
    """CREATE TABLE pending (path TEXT NOT NULL UNIQUE, pub_id TEXT NOT NULL, archive_name TEXT NOT NULL,
        remote_path TEXT NOT NULL, deletable INTEGER NOT NULL, time REAL NOT NULL, number INTEGER NOT NULL,
        attempts INTEGER NOT NULL, since REAL NOT NULL, next REAL NOT NULL, reason TEXT NOT NULL,
        taken INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX pending_next ON pending (taken, next)",
    f"PRAGMA user_version = {_VERSION}",
)
_TABLES: Final = {"progress", "seen", "pending"}


class StateFile:
    """The file, and transactions on it. Any thread: one connection, one lock.

    A file that is damaged is set aside under a name of its own, what can be read of it is taken over, and another is
    begun. One that is taken away while it is open is written again.

    Args:
        path: where it is; its folder is made.
        most_bytes: how large it may grow.

    Attributes:
        notices: what an operator should hear of, oldest first; few, since each stands for a rare accident.

    Raises:
        StateTroubleError: the disk is full, the folder not writable, or the like.
    """

    def __init__(self, path: Path, most_bytes: int = STATE_BYTES) -> None:
        self.path = path
        self.notices: list[str] = []
        self._most_bytes = most_bytes
        self._lock = threading.RLock()
        self._inode = 0
        self._link: sqlite3.Connection | None = None
        with contextlib.suppress(_SetAsideError):
            self._begin()
        self._begin()  # a damaged one has been set aside by now

    def _begin(self) -> None:
        with self._lock, self._told():
            self._opened().execute("UPDATE pending SET taken = 0 WHERE taken = 1")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: all that is done in this context, or nothing.

        Raises:
            StateTroubleError: nothing was written; the next attempt may succeed.
        """
        with self._lock, self._told():
            link = self._opened()
            link.execute("BEGIN IMMEDIATE")
            try:
                yield link
                link.execute("COMMIT")
            finally:
                if link.in_transaction:
                    link.execute("ROLLBACK")

    def read(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            StateTroubleError: it cannot be read now.
        """
        with self._lock, self._told():
            return self._opened().execute(statement, tuple(parameters)).fetchall()

    def sync(self) -> None:
        """Have on the disk all that was written.

        Raises:
            StateTroubleError: the disk does not take it.
        """
        with self._lock, self._told():
            self._opened()
            # Not the database itself: to open that one ourselves and close it would give up SQLite's locks.
            with contextlib.suppress(FileNotFoundError):
                _sync(self.path.with_name(self.path.name + "-wal"))

    def close(self) -> None:
        """Close it; the next use opens it again."""
        with self._lock:
            if self._link is not None:
                link, self._link = self._link, None
                with contextlib.suppress(sqlite3.Error):  # what it could not tidy up the next one does
                    link.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> StateTroubleError:
        self.close()
        state, text = trouble_of(error, self.path)
        if state not in {DAMAGED, NO_TABLE}:
            return StateTroubleError(state, text)
        try:
            self._set_aside(str(error))
        except (sqlite3.Error, OSError) as another:
            self.close()
            return StateTroubleError(*trouble_of(another, self.path))
        return _SetAsideError(DAMAGED, self.notices[-1])

    # Opening it

    def _opened(self) -> sqlite3.Connection:
        if self._link is None:
            self._link = self._open()
        elif not self._is_there():
            self._link = self._rescue(self._link)
        return self._link

    def _is_there(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        link = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=64)
        try:
            self._prepare(link)
        except BaseException:
            link.close()
            raise
        self._inode = self.path.stat().st_ino
        return link

    def _prepare(self, link: sqlite3.Connection) -> None:
        # What a power cut takes with it is the end of the log: an older state, from which all is done again.
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"max_page_count = {self._most_bytes // _PAGE}"):
            link.execute(f"PRAGMA {pragma}")
        [version] = link.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise _damage(f"its version is {version}, not {_VERSION}")
        if version == 0:
            _create(link)
        tables = {name for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables != _TABLES or link.execute("SELECT count(*) FROM progress").fetchone() != (1,):
            raise _damage("parts of it are missing")

    def _rescue(self, link: sqlite3.Connection) -> sqlite3.Connection:
        """Write again what was taken away under us; what somebody else has put there counts."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path)) as new:
                link.backup(new)
            self.notices.append(f"{self.path} was taken away while it was in use: it has been written again")
        self.close()
        return self._open()

    # Damage

    def _set_aside(self, why: str) -> None:
        self.close()
        aside = self.path.with_name(self.path.name + _ASIDE)
        for companion in _COMPANIONS:
            old = self.path.with_name(self.path.name + companion)
            new = aside.with_name(aside.name + companion)
            new.unlink(missing_ok=True)
            if old.exists():
                old.rename(new)
        self._link = self._open()
        kept = _salvage(aside, self._link)
        self.notices.append(
            f"{self.path} was damaged ({why}): set aside as {aside}; {kept} files that were put off could be read; "
            "use rescan for others"
        )


class _SetAsideError(StateTroubleError):
    """The file was damaged, and another has been begun."""


def _damage(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _create(link: sqlite3.Connection) -> None:
    link.execute("BEGIN IMMEDIATE")
    try:
        for statement in _SCHEMA:
            link.execute(statement)
        link.execute("COMMIT")
    finally:
        if link.in_transaction:
            link.execute("ROLLBACK")


def _salvage(aside: Path, link: sqlite3.Connection) -> int:
    """Take over what can be read of a damaged file; return how many files that were put off."""
    names, kept = ", ".join(PENDING_COLUMNS), 0
    insert = f"INSERT OR IGNORE INTO pending ({names}) VALUES ({_marks(len(PENDING_COLUMNS))})"  # noqa: S608 - our own names
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_damaged(aside)) as old:
        for (cursor,) in old.execute("SELECT cursor FROM progress"):
            if isinstance(cursor, int) and cursor >= 0:
                link.execute("UPDATE progress SET cursor = ?", (cursor,))
        link.execute("BEGIN IMMEDIATE")
        for row in old.execute(f"SELECT {names} FROM pending NOT INDEXED"):  # noqa: S608 - our own names
            if all(map(isinstance, row, PENDING_COLUMNS.values())):
                kept += link.execute(insert, row).rowcount
    if link.in_transaction:
        link.execute("COMMIT")
    return kept


def _open_damaged(aside: Path) -> sqlite3.Connection:
    old = sqlite3.connect(aside, isolation_level=None)
    old.text_factory = _readable
    return old


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
