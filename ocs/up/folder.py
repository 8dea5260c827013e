"""The data folder of `ocs up`: data, agents' state, logs, the router's files, the site file; one user at a time."""

import fcntl
import os
import shlex
from pathlib import Path
from typing import IO

from ocs.errors import DataFolderError

__all__ = ["DataFolder", "shown_path"]


class DataFolder:
    """The folders of one run, made and locked on `open`.

    Args:
        root: the data folder; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.logs = self.root / "logs"
        self.router = self.root / "router"
        self.recorded = self.root / "hk"
        self.state = self.root / "state"
        self.keys = self.root / "keys"
        self.site_file = self.root / "site.yaml"
        self.ledger = self.root / "processes.json"
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Make the folders and take the lock, which the system frees when this process ends, however it ends.

        Raises:
            DataFolderError: a folder cannot be made or written to, or another `ocs up` uses it.
        """
        try:
            for folder in (self.root, self.logs, self.router, self.recorded, self.state):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.root / "up.lock").open("a+")
        except OSError as error:
            raise DataFolderError(self._not_usable(error)) from error
        self._take_lock(self._lock)
        for folder in (self.logs, self.router, self.recorded, self.state):
            if not os.access(folder, os.W_OK | os.X_OK):
                self.close()
                raise DataFolderError(f"cannot write to {folder}: give me the right to, or choose another --data-dir")

    def close(self) -> None:
        """Give the folder free."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def _take_lock(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read(20).strip()
            self.close()
            raise DataFolderError(
                f"another `ocs up` (pid {owner or 'unknown'}) uses {self.root}: stop it, or choose another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()

    def _not_usable(self, error: OSError) -> str:
        return f"cannot use {error.filename or self.root}: {error.strerror}; choose another folder with --data-dir"


def shown_path(path: Path) -> str:
    """Return a path as one would type it here: relative if it is below the current folder, quoted for a shell."""
    here = Path.cwd()
    path = path.relative_to(here) if path.is_relative_to(here) else path
    return shlex.quote(str(path))
