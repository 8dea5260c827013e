"""What SQLite's errors mean to an operator: the kind of trouble, and a line with the file and the remedy."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ocs.errors import DatabaseTroubleError

__all__ = [
    "DAMAGED",
    "ERROR",
    "FULL",
    "LOCKED",
    "MISSING",
    "NO_PERMISSION",
    "NO_TABLE",
    "READ_ONLY",
    "STOPPED",
    "WRONG_COLUMNS",
    "look_at_path",
    "told",
    "trouble_of",
]

LOCKED: Final = "locked"
READ_ONLY: Final = "read-only"
MISSING: Final = "missing"
NO_TABLE: Final = "no table"
WRONG_COLUMNS: Final = "wrong columns"
FULL: Final = "full"
DAMAGED: Final = "damaged"
NO_PERMISSION: Final = "no permission"
STOPPED: Final = "stopped"
ERROR: Final = "error"

_SCARCE: Final = 1 << 16
"""With less room on the disk than this (bytes), an input/output error is a full disk in disguise."""


def trouble_of(error: BaseException, path: Path) -> tuple[str, str]:
    """Return the kind of trouble and the line for the operator.

    Args:
        error: what sqlite3 has raised, or what SQLAlchemy has made of it.
        path: the database's file.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, OSError):
        return _BY_ERRNO.get(cause.errno or 0, _input_output)(path, cause.strerror or str(cause))
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    tell = _BY_CODE.get(code, _other)
    return tell(path, str(cause))


@contextmanager
def told(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn these errors into trouble with a file.

    Raises:
        DatabaseTroubleError: one of the errors came.
    """
    try:
        yield
    except errors as error:
        raise DatabaseTroubleError(*trouble_of(error, path)) from error


def look_at_path(path: Path, *, may_be_made: bool) -> tuple[str, str] | None:
    """Return the trouble that is plain without opening the file, None if there is none.

    A file that is opened where it may not be written leaves companions behind that may not be written either, ever.

    Args:
        path: the database's file.
        may_be_made: a file that is not there is no trouble.
    """
    try:
        if path.is_dir():
            return ERROR, f"{path} is a folder: name the database's file"
        if path.exists():
            return _look_at_modes(path)
        if not path.parent.is_dir():
            return MISSING, f"the folder {path.parent} is not there: mount its disk, or make it"
    except PermissionError:
        return NO_PERMISSION, f"{path} cannot be reached by {_user()}: let this user into its folders"
    if may_be_made:
        return None if _may(path.parent, os.W_OK) else _not_writable(path, "")
    return MISSING, _MISSING.format(path=path)


def _look_at_modes(path: Path) -> tuple[str, str] | None:
    if not _may(path, os.R_OK):
        return NO_PERMISSION, f"{path} may not be read by {_user()}: change its owner or mode"
    return None if all(_may(place, os.W_OK) for place in (path, path.parent)) else _not_writable(path, "")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


_MISSING: Final = "{path} is not there: put it back, or let it be made (--create-table True)"


def _busy(path: Path, text: str) -> tuple[str, str]:
    return LOCKED, f"{path} is held by another program ({text}): see which with `fuser {path}`; tried again until then"


def _read_only(path: Path, text: str) -> tuple[str, str]:
    return _not_writable(path, text) if path.exists() else (MISSING, _MISSING.format(path=path))


def _not_writable(path: Path, text: str) -> tuple[str, str]:
    if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        return READ_ONLY, f"{path} is on a disk that is mounted read-only: mount it writable"
    files = (path.with_name(path.name + ending) for ending in ("", "-wal", "-shm"))
    for place in (*filter(Path.exists, files), path.parent):
        if not _may(place, os.W_OK):
            return READ_ONLY, f"{place} may not be written by {_user()}: change its owner or mode"
    return READ_ONLY, f"{path} cannot be written ({text}): look at its disk and at the system's log"


def _cannot_open(path: Path, text: str) -> tuple[str, str]:
    if plain := look_at_path(path, may_be_made=False):
        return plain
    return _input_output(path, text)


def _full(path: Path, _text: str) -> tuple[str, str]:
    room = _room(path)
    if room is not None and room > _SCARCE:  # a quota, or the bound that the file was given
        return FULL, f"{path} may not grow any more ({room >> 20} MiB are free on its disk): a quota, or its own bound"
    return FULL, f"the disk of {path} is full: make room"


def _input_output(path: Path, text: str) -> tuple[str, str]:
    room = _room(path)
    if room is not None and room <= _SCARCE:
        return _full(path, text)
    return ERROR, f"{path} cannot be read or written ({text}): look at its disk and at the system's log"


def _damaged(path: Path, text: str) -> tuple[str, str]:
    return DAMAGED, f"{path} is no SQLite database, or damaged ({text}): move it away, and put a copy or nothing there"


def _permission(path: Path, text: str) -> tuple[str, str]:
    return NO_PERMISSION, f"{path} may not be used by {_user()} ({text}): change its owner or mode"


def _other(path: Path, text: str) -> tuple[str, str]:
    if "no such table" in text:
        return NO_TABLE, f"{path}: {text}: let it be made (--create-table True), or give the right file (--db-path)"
    if "column" in text:
        return WRONG_COLUMNS, f"{path}: {text}: it was made for another version; give the right file (--db-path)"
    return ERROR, f"{path}: {text}"


def _constraint(path: Path, text: str) -> tuple[str, str]:
    return WRONG_COLUMNS, f"{path}: its table asks for more than we know ({text}): give the right file (--db-path)"


_BY_CODE: Final[dict[int, Callable[[Path, str], tuple[str, str]]]] = {
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_CANTOPEN: _cannot_open,
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_IOERR: _input_output,
    sqlite3.SQLITE_CORRUPT: _damaged,
    sqlite3.SQLITE_NOTADB: _damaged,
    sqlite3.SQLITE_PERM: _permission,
    sqlite3.SQLITE_AUTH: _permission,
    sqlite3.SQLITE_CONSTRAINT: _constraint,
}


_BY_ERRNO: Final[dict[int, Callable[[Path, str], tuple[str, str]]]] = {
    errno.ENOSPC: _full,
    errno.EDQUOT: _full,
    errno.EROFS: _read_only,
    errno.EACCES: _permission,
    errno.EPERM: _permission,
    errno.ENOENT: _cannot_open,
}


def _room(path: Path) -> int | None:
    """Return how much an ordinary user may still write to a file's disk (bytes); None if that cannot be told."""
    try:
        disk: Any = os.statvfs(path.parent)
    except OSError:
        return None
    return int(disk.f_bavail * disk.f_frsize)


def _user() -> str:
    return f"user {os.geteuid()}"
