"""Reads a file for its MD5: the file that was checked, and no other."""

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

from ocs.agents.pysmurf_monitor.roots import Roots

if TYPE_CHECKING:
    from ocs.agents.pysmurf_monitor.hashing import Item

__all__ = ["LARGE", "Reader"]

LARGE: Final = 8 << 20
"""Bytes from which on a file has its hasher for itself: some 15 ms of work."""
CHUNK: Final = 1 << 20
"""Bytes read at a time of files that are not small."""
SMALL: Final = 64 << 10
"""Bytes up to which a file is read in one piece."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

NOT_THERE: Final = "is not there"
CHANGED: Final = "has changed while it was read"


class _RefusedError(Exception):
    """The file is not for us; the text is the reason."""


class Reader:
    """Reads files, one after the other. For one thread.

    Files that follow one another are mostly in the same folder: that stays open between them, so that where it really
    is has to be looked up only once, and cannot change until the file is open.

    Args:
        roots: the folders in which files are allowed.

    Attributes:
        bytes_read: of all files; grows while a large one is read.
        stopped: set by others: what is being read is not wanted any more.
    """

    def __init__(self, roots: Roots) -> None:
        self.bytes_read = 0
        self.stopped = False
        self._roots = roots
        self._buffer = memoryview(b"")
        self._folder = ""
        self._folder_fd = -1
        self._real_folder = ""

    def read(self, item: "Item", limit: int | None = None) -> bool:
        """Find a file's MD5, or say what is wrong with it.

        Args:
            item: gets `md5` and `size`, or `trouble`, or `refused`.
            limit: leave a file alone that has more bytes.

        Returns:
            Whether that was done: False if the file is larger, or was not wanted any more.
        """
        item.trouble = item.refused = ""
        try:
            descriptor = self._open(item.announcement.path)
            try:
                return self._read_open(item, descriptor, limit)
            finally:
                os.close(descriptor)
        except _RefusedError as error:
            item.refused = str(error)
        except OSError as error:
            item.trouble, item.refused = told(error)
        except ValueError:  # a text that is no file name
            item.refused = "bad_path"
        return True

    def close(self) -> None:
        """Let go of the folder: it may be another one by the time of the next file."""
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder, self._folder_fd = "", -1

    # Opening

    def _open(self, path: str) -> int:
        if reason := self._roots.refuses(path):
            raise _RefusedError(reason)
        if b"\0" in os.fsencode(path):  # whether its folder is there or not
            raise _RefusedError("bad_path")
        folder, _, name = path.rpartition("/")
        if folder != self._folder or self._folder_fd < 0:
            self._enter(folder or "/")
        real = f"{self._real_folder}/{name}"
        self._check(real)
        try:
            return os.open(name, _FLAGS, dir_fd=self._folder_fd)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self._open_link(path)

    def _enter(self, folder: str) -> None:
        self.close()
        self._folder_fd = os.open(folder, _FOLDER_FLAGS)
        self._folder = folder
        self._real_folder = where_is(self._folder_fd, folder).rstrip("/")

    def _open_link(self, path: str) -> int:
        """Open what a link leads to, if that is where it may be."""
        target = os.path.realpath(path, strict=True)
        self._check(target)
        descriptor = os.open(target, _FLAGS)
        try:
            self._check(where_is(descriptor, target))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, real_path: str) -> None:
        if not self._roots.allows(real_path):
            raise _RefusedError("outside_roots")

    # Reading

    def _read_open(self, item: "Item", descriptor: int, limit: int | None) -> bool:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise _RefusedError("not_a_file")
        size = before.st_size
        if limit is not None and size > limit:
            return False
        md5 = self._md5_of_small(descriptor, size) if size <= SMALL else self._md5(descriptor, size)
        after = os.fstat(descriptor)
        if self.stopped:
            return False
        if not md5 or after.st_size != size or after.st_mtime_ns != before.st_mtime_ns:
            item.trouble = CHANGED
        else:
            item.md5, item.size = md5, size
        return True

    def _md5_of_small(self, descriptor: int, size: int) -> str:
        data = os.read(descriptor, size + 1)
        self.bytes_read += len(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest() if len(data) == size else ""

    def _md5(self, descriptor: int, size: int) -> str:
        if not self._buffer:
            self._buffer = memoryview(bytearray(CHUNK))
        digest, left = hashlib.md5(usedforsecurity=False), size
        # One that grows is not read for ever: it has changed.
        while left >= 0 and not self.stopped and (count := os.readv(descriptor, [self._buffer])):
            digest.update(self._buffer[:count])
            self.bytes_read += count
            left -= count
        return "" if left else digest.hexdigest()


def where_is(descriptor: int, path: str) -> str:
    """Return where an open file or folder really is.

    Args:
        descriptor: the file.
        path: by which it was opened; asked where the system does not tell.

    Raises:
        OSError: it cannot be told.
    """
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - once for each folder, and no more than a text
    except FileNotFoundError:
        return os.path.realpath(path, strict=True)
    if not real.startswith("/"):
        raise OSError(errno.ESTALE, "its file system is being taken away")
    return real


def told(error: OSError) -> tuple[str, str]:
    """Return what an error in opening or reading says: the trouble if it may pass, and the reason if it cannot."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NOT_THERE, ""
    if error.errno in (errno.ENXIO, errno.EISDIR):  # a socket, a device without a driver
        return "", "not_a_file"
    if error.errno == errno.ENAMETOOLONG:
        return "", "bad_path"
    return f"cannot be read: {error.strerror or error}", ""
