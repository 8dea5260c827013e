"""What the director leaves to its next run: the grants that are held. Passwords are in it as hashes only."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from ocs.access.grants import Grant
from ocs.errors import AccessError

__all__ = ["GrantsFile", "grants_text", "read_grants", "write_grants"]

_VERSION = 1
_CLOSED = 0o600
_MAX_BYTES = 16 * 1024 * 1024


def grants_text(grants: Iterable[Grant]) -> str:
    """Return the text of the file."""
    return json.dumps({"version": _VERSION, "grants": [grant.to_dict() for grant in grants]}, indent=1)


def write_grants(path: Path, text: str) -> None:
    """Put the text in the place of the file, whole or not at all, for its owner alone. Blocks.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()  # of a run that was killed
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _CLOSED), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the name on the disk too, so that a power cut does not bring a released grant back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_grants(path: Path | None) -> tuple[list[Grant], str | None]:
    """Return the grants in the file, and what is wrong with it, if anything is. Blocks."""
    if path is None:
        return [], None
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        return [Grant.from_dict(entry, f"grant {i}") for i, entry in enumerate(found["grants"])], None
    except FileNotFoundError:
        return [], None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AccessError) as error:
        return [], f"{path} cannot be read, no grant of an earlier run is kept: {error}"


class GrantsFile:
    """Writes the file, one writing at a time, the latest text last.

    Args:
        path: the file; None: nothing is kept.
        in_thread: runs a function that blocks; returns a Deferred of what it returns.

    Attributes:
        trouble: why the latest could not be written; None: it is on the disk.
    """

    def __init__(self, path: Path | None, in_thread: Callable[..., "Deferred[Any]"]) -> None:
        self.path = path
        self.trouble: str | None = None
        self._in_thread = in_thread
        self._wanted: str | None = None
        self._waiting: list[Deferred[None]] = []
        self._writing = False

    def save(self, text: str) -> "Deferred[None]":
        """Write the text; the Deferred fires when it, or a later one, has been tried, never with a failure."""
        if self.path is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._wanted = text
        self._waiting.append(done)
        if not self._writing:
            self._writing = True
            self._write(self.path)
        return done

    @inlineCallbacks
    def _write(self, path: Path) -> Any:
        while self._wanted is not None:
            text, self._wanted = self._wanted, None
            waiting, self._waiting = self._waiting, []
            try:
                yield self._in_thread(write_grants, path, text)
                self.trouble = None
            except OSError as error:
                self.trouble = f"grants cannot be kept for a restart: {path}: {error.strerror}"
            for done in waiting:
                done.callback(None)
        self._writing = False
