"""Who writes a journal: one process at a time."""

import os
from contextlib import suppress
from errno import EWOULDBLOCK
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from ocs.errors import JournalError, JournalInUseError

__all__ = ["FolderLock"]


class FolderLock:
    """Makes a folder and holds it, by a file `lock` in it, until released or until the process ends.

    Args:
        directory: the folder.

    Raises:
        JournalInUseError: another process, or this one, holds it already.
        JournalError: the folder cannot be made or written to.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lock"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._fd = self._take()
        except OSError as error:
            raise JournalError(f"{directory} cannot be used for a journal: {error.strerror}") from error

    def _take(self) -> int:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(fd)
            except BaseException:
                os.close(fd)
                raise
            if self._is_there(fd):
                return fd
            os.close(fd)  # whoever had it has removed it meanwhile

    def _lock(self, fd: int) -> None:
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except OSError as error:
            if error.errno != EWOULDBLOCK:
                raise
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            raise JournalInUseError(
                f"{self.path.parent} is in use by {f'process {holder}' if holder else 'another process'}: "
                "stop it, or give this one a folder of its own"
            ) from error
        with suppress(OSError):  # the number is for the message above alone; a full disk has no room for it
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def _is_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(fd))
        except FileNotFoundError:
            return False

    def release(self, *, remove: bool = False) -> None:
        """Let others have the folder.

        Args:
            remove: delete the lock's file.
        """
        if self._fd >= 0:
            if remove:
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1
