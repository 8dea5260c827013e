"""The files' table as the registrar uses it: rows behind a point, rows by their ids, many rows inserted at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, Integer, Text, bindparam, cast, column, func, insert, inspect, select
from sqlalchemy.dialects import sqlite

from ocs.agents.pysmurf_monitor.seen import Followed, key_of
from ocs.agents.pysmurf_monitor.suprsync import Base, SupRsyncFile, database_told, open_engine, writing
from ocs.agents.pysmurf_monitor.trouble import MISSING, NO_TABLE, WRONG_COLUMNS, look_at_path
from ocs.errors import DatabaseTroubleError

__all__ = ["LOOK", "FilesTable", "Inside", "OtherTableError", "Place", "Values"]

LOOK: Final = 10_000
"""So many rows at most are looked at in one go; about 2 MB, and 20 ms."""

_TRIES: Final = 5

Place = tuple[int, str]
"""A row's id and its local path."""

Values = tuple[str, str, str, str, float, int, bool, bool]
"""What is inserted, in the order of `_INSERTED`."""

_TABLE: Final = SupRsyncFile.__tablename__
_INSERTED: Final = (
    *("local_path", "local_md5sum", "archive_name", "remote_path", "timestamp"),
    *("failed_copy_attempts", "deletable", "ignore"),
)
# As text: what SQLAlchemy does for each row of many costs more than SQLite does.
_INSERT: Final = str(insert(SupRsyncFile).compile(dialect=sqlite.dialect(), column_keys=_INSERTED))

# SQLite keeps what it is given: a path may be of another type than text.
_PLACE: Final = select(SupRsyncFile.id, cast(SupRsyncFile.local_path, Text))
_FROM: Final = _PLACE.where(SupRsyncFile.id >= bindparam("first")).order_by(SupRsyncFile.id).limit(LOOK + 1)
# The ids as one text: one statement for any number of them.
_IDS: Final = func.json_each(bindparam("ids", type_=Text)).table_valued(column("value", Integer))
_BY_ID: Final = _PLACE.where(SupRsyncFile.id.in_(select(_IDS.c.value)))
_LAST: Final = select(func.max(SupRsyncFile.id))


class OtherTableError(Exception):
    """The table is not the one that was followed: replaced, made anew, emptied, or its last rows deleted."""


class Inside:
    """The table, from within a transaction that has the write lock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows_behind(self, followed: Followed) -> Sequence[Place]:
        """Return rows that are newer than those that were followed, in order, at most `LOOK`.

        Raises:
            OtherTableError: the last row that was followed is not there any more.
        """
        return _rows_behind(self._connection, followed)

    def paths_of(self, hits: Mapping[int, int]) -> set[str]:
        """Return the paths of rows; of those that are there still.

        Args:
            hits: the rows' ids, and the keys that their paths have.

        Raises:
            OtherTableError: a row has a path of another key.
        """
        if not hits:
            return set()
        rows = self._connection.execute(_BY_ID, {"ids": json.dumps(list(hits))}).all()
        if any(key_of(path) != hits[row_id] for row_id, path in rows):
            raise OtherTableError
        return {path for _, path in rows}

    def insert(self, values: list[Values]) -> None:
        """Insert rows."""
        if values:
            self._connection.exec_driver_sql(_INSERT, values)


class FilesTable:
    """The table, in a file that may come, go and be replaced. For one thread at a time.

    All methods but `close` raise `DatabaseTroubleError`, one line with the file and the remedy.

    Args:
        path: the database's file.
        create: make the file (not its folder) and the tables where they are missing.
        echo: log all statements.
        busy_timeout: how long to wait for others (s).

    Attributes:
        path: the database's file.
        inode: the number on its disk of the file that is open; 0: none is.
    """

    def __init__(self, path: Path, *, create: bool, echo: bool, busy_timeout: float) -> None:
        self.path = path
        self.inode = 0
        self._create = create
        self._echo = echo
        self._busy_timeout = busy_timeout
        self._engine: Engine | None = None

    def open(self) -> None:
        """Open it, unless the file that is there is open."""
        if self._engine is not None and self.inode == self._inode_now():
            return
        self.close()
        if plain := look_at_path(self.path, may_be_made=self._create):
            raise DatabaseTroubleError(*plain)
        engine = open_engine(self.path, create=self._create, echo=self._echo, busy_timeout=self._busy_timeout)
        try:
            with database_told(self.path):
                inode = self._connect(engine)
                self._make(engine)
        except BaseException:
            engine.dispose()
            raise
        self._engine, self.inode = engine, inode

    def _connect(self, engine: Engine) -> int:
        """Open the file; return its number, which must be the same before and after: so it is surely that file's."""
        for _ in range(_TRIES):
            before = self._inode_now()
            engine.connect().close()
            if before and before == self._inode_now():
                return before
            engine.dispose()
        raise DatabaseTroubleError(MISSING, f"{self.path} is taken away and replaced again and again: stop who does it")

    def _inode_now(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _make(self, engine: Engine) -> None:
        with engine.begin() as connection:
            there = set(inspect(connection).get_table_names())
        if self._create and not there.issuperset(Base.metadata.tables):
            with writing(engine).begin() as connection:
                Base.metadata.create_all(connection)
        elif _TABLE not in there:
            raise DatabaseTroubleError(
                NO_TABLE,
                f"{self.path} has no table {_TABLE}: let it be made (--create-table True), "
                "or give the right file (--db-path)",
            )
        self._check_columns(engine)

    def _check_columns(self, engine: Engine) -> None:
        with engine.begin() as connection:
            found = {each["name"] for each in inspect(connection).get_columns(_TABLE)}
        if lacking := [name for name in ("id", *_INSERTED) if name not in found]:
            raise DatabaseTroubleError(
                WRONG_COLUMNS,
                f"{self.path}: table {_TABLE} has no column {', '.join(lacking)}: it is of another version; "
                "give the right file (--db-path), or move it away",
            )

    def close(self) -> None:
        """Close it."""
        if self._engine is not None:
            engine, self._engine, self.inode = self._engine, None, 0
            engine.dispose()

    def last_id(self) -> int:
        """Return the highest id; 0: there are no rows."""
        with database_told(self.path), self._opened().begin() as connection:
            return connection.scalar(_LAST) or 0

    def rows_behind(self, followed: Followed) -> Sequence[Place]:
        """Return what `Inside.rows_behind` returns, without the lock."""
        with database_told(self.path), self._opened().begin() as connection:
            return _rows_behind(connection, followed)

    @contextmanager
    def transaction(self) -> Iterator[Inside]:
        """Have the write lock; all that is done in this context is done at its end, or nothing is."""
        with database_told(self.path), writing(self._opened()).begin() as connection:
            yield Inside(connection)
        if self._inode_now() != self.inode:
            raise DatabaseTroubleError(
                MISSING,
                f"{self.path} was moved away while files were being entered: they are entered in what is there now",
            )

    def _opened(self) -> Engine:
        if self._engine is None:
            self.open()
        assert self._engine is not None  # noqa: S101 - for the type checker
        return self._engine


def _rows_behind(connection: Connection, followed: Followed) -> Sequence[Place]:
    rows = connection.execute(_FROM, {"first": followed.last}).all()
    if not followed.last:
        return rows
    if not rows or rows[0][0] != followed.last or key_of(rows[0][1]) != followed.last_key:
        raise OtherTableError
    return rows[1:]
