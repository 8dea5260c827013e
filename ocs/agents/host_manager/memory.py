"""What a killed manager leaves to the next one: the targets that people have set; and who may use its folder."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from ocs.agents.host_manager.instances import TARGETS
from ocs.errors import OCSError

__all__ = ["FolderInUseError", "FolderLock", "Targets"]


class FolderInUseError(OCSError):
    """Another manager uses the folder, and with it the processes named there."""


class FolderLock:
    """Keeps a second manager of the same name out, for as long as this process lives.

    Args:
        path: the lock's file; its folder is made.

    Raises:
        FolderInUseError: another process has it.
        OSError: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise FolderInUseError(f"{path.parent} is in use by process {holder}, a manager of this name") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


class Targets:
    """The targets that are not the site config file's, on the disk. For the reactor's thread; a thread writes.

    Args:
        reactor: lends the thread.
        path: the file; None: nothing is remembered.
        log: tells when the disk refuses.
    """

    def __init__(self, reactor: Any, path: Path | None, log: Any) -> None:
        self._reactor = reactor
        self._path = path
        self._log = log
        self._written: Mapping[str, str] = {}
        self._wanted: Mapping[str, str] | None = None
        self._writing: Deferred[None] | None = None

    @classmethod
    def load(cls, path: Path | None) -> dict[str, str]:
        """Return what an earlier manager left, by instance-id. Blocks."""
        try:
            found = json.loads(path.read_text()) if path else {}
        except (OSError, ValueError):
            return {}  # none was left, or a full disk cut it short: then the site config file's count
        if not isinstance(found, dict):
            return {}
        return {str(name): target for name, target in found.items() if target in TARGETS}

    def remember(self, targets: Mapping[str, str]) -> None:
        """Have these on the disk, soon."""
        if self._path is not None and targets != (self._written if self._wanted is None else self._wanted):
            self._wanted = dict(targets)
            self._write()

    def written(self) -> "Deferred[Any]":
        """Return a Deferred that fires when the disk has what is to be remembered."""
        if self._writing is None:
            return succeed(None)
        done: Deferred[Any] = Deferred()
        self._writing.addBoth(lambda _result: self.written().chainDeferred(done))
        return done

    def _write(self) -> None:
        if self._writing is not None or self._wanted is None:
            return
        self._written, self._wanted = self._wanted, None
        if self._path is None:
            return
        work = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _replace, self._path, self._written)
        work.addErrback(lambda failure: self._log.warn("cannot remember targets: {why}", why=failure.value))
        self._writing = work
        work.addCallback(self._next)

    def _next(self, _result: Any) -> None:
        self._writing = None
        self._write()


def _replace(path: Path, targets: Mapping[str, str]) -> None:
    if not targets:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        json.dump(dict(targets), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
