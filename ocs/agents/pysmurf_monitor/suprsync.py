"""The transfer database that is shared with the SupRsync agents: its tables, and a small manager for scripts.

The tables are theirs; other programs read and write them at the same time. So: write-ahead log, short transactions that
take the write lock at their beginning, a busy timeout.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from ocs.agents.pysmurf_monitor.trouble import look_at_path, told
from ocs.errors import DatabaseLibraryError, DatabaseTroubleError

try:
    from sqlalchemy import Engine, Float, ForeignKey, Pool, QueuePool, create_engine, event, func, select
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
except ImportError as error:
    raise DatabaseLibraryError.because(error) from error

__all__ = [
    "BUSY_TIMEOUT",
    "Base",
    "SupRsyncFile",
    "SupRsyncFilesManager",
    "TimecodeDir",
    "database_told",
    "open_engine",
]

BUSY_TIMEOUT: Final = 5.0
"""So long (s) we wait for others who are writing; they are expected to write for much less than a second."""

_IMMEDIATE: Final = {"ocs_begin": "BEGIN IMMEDIATE"}
_decoded: Final[Callable[[bytes], str]] = lambda text: text.decode(errors="surrogateescape")  # noqa: E731 - a constant


class Base(DeclarativeBase):
    """What the two tables have in common: a float is FLOAT, which later SQLAlchemy would call DOUBLE."""

    type_annotation_map: ClassVar[Any] = {float: Float()}


class SupRsyncFile(Base):
    """A file that is to be copied to where it is kept, and may then be removed here.

    Attributes:
        id: the row's number.
        local_path: where the file is.
        local_md5sum: MD5 of its contents, in hexadecimal digits.
        archive_name: the archive it belongs to, such as "smurf" or "timestreams".
        remote_path: where it is going to be, below the archive's remote folder.
        timestamp: when the row was added (unix, s).
        remote_md5sum: MD5 of the copy, once there is one.
        copied: when it was copied (unix, s).
        removed: when it was removed here (unix, s).
        failed_copy_attempts: how often copying has failed.
        deletable: it may be removed here once it has been copied.
        ignore: it is not to be copied any more.
    """

    __tablename__ = "supersync_v0"

    id: Mapped[int] = mapped_column(primary_key=True)
    local_path: Mapped[str]
    local_md5sum: Mapped[str]
    archive_name: Mapped[str]
    remote_path: Mapped[str]
    timestamp: Mapped[float]
    remote_md5sum: Mapped[str | None]
    copied: Mapped[float | None]
    removed: Mapped[float | None]
    failed_copy_attempts: Mapped[int | None] = mapped_column(default=0)
    deletable: Mapped[bool | None] = mapped_column(default=True)
    ignore: Mapped[bool | None] = mapped_column(default=False)


class TimecodeDir(Base):
    """How far a folder of one timecode (five digits of the time) of an archive has come.

    Attributes:
        id: the row's number.
        timecode: the five digits.
        archive_name: the archive.
        completed: no more files are going to be added.
        synced: all its files have been copied.
        finalized: the file that says so has been copied too.
        finalize_file_id: that file.
    """

    __tablename__ = "timecode_dirs_v0"

    id: Mapped[int] = mapped_column(primary_key=True)
    timecode: Mapped[int]
    archive_name: Mapped[str]
    completed: Mapped[bool | None] = mapped_column(default=False)
    synced: Mapped[bool | None] = mapped_column(default=False)
    finalized: Mapped[bool | None] = mapped_column(default=False)
    finalize_file_id: Mapped[int | None] = mapped_column(ForeignKey("supersync_v0.id"))


def open_engine(
    path: Path,
    *,
    create: bool = True,
    echo: bool = False,
    busy_timeout: float = BUSY_TIMEOUT,
    pool: type[Pool] = QueuePool,
) -> Engine:
    """Return an engine for the database; nothing is opened yet.

    Transactions are SQLite's own. One that is going to write has the execution options of `writing`, so that it has the
    write lock from its beginning, or waits for it.

    Args:
        path: the database's file.
        create: make the file if it is not there.
        echo: log all statements.
        busy_timeout: how long to wait for others (s).
        pool: what keeps connections.
    """
    mode = "rwc" if create else "rw"
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # Without isolation level the module begins nothing by itself; we do, below. Any thread may close it.
        return sqlite3.connect(address, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=pool, echo=echo)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def writing(engine: Engine) -> Engine:
    """Return the engine for transactions that write."""
    return engine.execution_options(**_IMMEDIATE)


def _prepare(link: sqlite3.Connection, _record: Any) -> None:
    link.text_factory = _decoded  # a path of another program need not be text
    if link.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        return
    try:
        link.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        return  # locked or read-only: whether we can write is told by writing


def _begin(connection: Any) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("ocs_begin", "BEGIN"))


def database_told(path: Path) -> AbstractContextManager[None]:
    """Return a context in which SQLite's errors become `DatabaseTroubleError`, which names the file and the remedy."""
    return told(path, sqlite3.Error, DBAPIError, OSError)


class SupRsyncFilesManager:
    """Adds files to the database; for scripts. The monitor itself goes by batches: `registrar.Registrar`.

    Args:
        db_path: the database's file; its folder must be there.
        create_all: make file and tables if they are not there.
        echo: log all statements.

    Attributes:
        db_path: the database's file.
        Session: makes SQLAlchemy sessions on it.

    Raises:
        DatabaseTroubleError: it cannot be used, and why.
    """

    def __init__(self, db_path: str | Path, create_all: bool = True, echo: bool = False) -> None:
        self.db_path = Path(db_path)
        if plain := look_at_path(self.db_path, may_be_made=create_all):
            raise DatabaseTroubleError(*plain)
        self._engine = open_engine(self.db_path, create=create_all, echo=echo)
        self.Session = sessionmaker(self._engine, expire_on_commit=False)
        self._writing = sessionmaker(writing(self._engine), expire_on_commit=False)
        if create_all:
            with database_told(self.db_path):
                Base.metadata.create_all(self._engine)

    def create_file(
        self,
        local_path: str | Path,
        remote_path: str | Path,
        archive_name: str,
        local_md5sum: str | None = None,
        timestamp: float | None = None,
        deletable: bool = True,
    ) -> SupRsyncFile:
        """Enter a file. One that is there already, by its local path, is not entered again nor changed.

        Args:
            local_path: where the file is.
            remote_path: where it is going to be, below the archive's remote folder.
            archive_name: the archive.
            local_md5sum: MD5 in hexadecimal digits; the file is read if it is not given.
            timestamp: time of entering (unix, s); default now.
            deletable: the file may be removed here once it has been copied.

        Returns:
            The row, as it is in the database, detached from it.

        Raises:
            DatabaseTroubleError: the database cannot be used now, and why.
            OSError: the file cannot be read.
        """
        file = SupRsyncFile(
            local_path=str(local_path),
            remote_path=str(remote_path),
            archive_name=archive_name,
            local_md5sum=_md5(local_path) if local_md5sum is None else local_md5sum,
            timestamp=time.time() if timestamp is None else timestamp,
            deletable=deletable,
        )
        with database_told(self.db_path):
            return self._enter(file)

    def _enter(self, file: SupRsyncFile) -> SupRsyncFile:
        # The table has no index: it is read through before the lock is taken, and only what has come since, within.
        with self.Session() as session:
            last = session.scalar(select(func.max(SupRsyncFile.id))) or 0
            if known := self._known(session, file.local_path, 0):
                return known
        with self._writing.begin() as session:
            if known := self._known(session, file.local_path, last):
                return known
            session.add(file)
        return file

    def _known(self, session: Session, path: str, after: int) -> SupRsyncFile | None:
        wanted = select(SupRsyncFile).where(SupRsyncFile.local_path == path, SupRsyncFile.id > after)
        return session.scalar(wanted.order_by(SupRsyncFile.id).limit(1))

    def close(self) -> None:
        """Close it."""
        self._engine.dispose()


def _md5(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
