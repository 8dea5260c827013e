"""Files of a keys folder: written as a whole, changed by one program at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ocs.errors import KeysError

__all__ = ["CLOSED", "FOLDER_CLOSED", "OPEN", "locked", "new_name", "read_small", "write_whole"]

OPEN: Final = 0o644
"""Mode of what everybody may read."""
CLOSED: Final = 0o600
"""Mode of what is its owner's alone."""
FOLDER_CLOSED: Final = 0o700

_LOCK: Final = ".lock"
_LOCK_SECONDS: Final = 10.0
_LOCK_PAUSE: Final = 0.02


def read_small(path: Path, most: int, *, missing: str = "") -> tuple[bytes, int]:
    """Return what is in a file, and its mode.

    Args:
        path: the file.
        most: its largest size, in bytes: what is longer is not what it should be.
        missing: what to say where there is no such file.

    Raises:
        KeysError: it cannot be read, or is longer.
    """
    try:
        with path.open("rb") as file:
            content, mode = file.read(most + 1), os.fstat(file.fileno()).st_mode
    except FileNotFoundError as error:
        raise KeysError(missing or f"no {path}") from error
    except OSError as error:
        raise KeysError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > most:
        raise KeysError(f"{path} is longer than {most} bytes, so it is not what it should be")
    return content, mode


def new_name(path: Path) -> Path:
    """Return where a file is written before it takes its place."""
    return path.with_name(f".{path.name}.new")


def write_whole(path: Path, content: bytes, mode: int, *, place: bool = True) -> None:
    """Replace a file as a whole; its mode is right from the first byte on.

    Args:
        path: the file.
        content: what is to be in it.
        mode: its permissions.
        place: put it where it belongs; False leaves it at `new_name`.

    Raises:
        KeysError: it cannot be written.
    """
    new = new_name(path)
    try:
        with suppress(FileNotFoundError):
            new.unlink()  # of a program that was killed
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if place:
            new.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise KeysError(f"cannot write {path}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk too, so that a power cut does not bring a revoked key back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no two programs change it at a time.

    Raises:
        KeysError: it cannot be held, or another program does not let go of it.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, CLOSED)
    except OSError as error:
        raise KeysError(f"cannot change {folder}: {error.strerror}") from error
    with os.fdopen(descriptor) as lock:
        _wait_for(lock.fileno(), folder)
        yield


def _wait_for(lock: int, folder: Path) -> None:
    for _ in range(round(_LOCK_SECONDS / _LOCK_PAUSE)):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE)
    raise KeysError(f"another program has held {folder} for {_LOCK_SECONDS:g} s; is it stopped?")
