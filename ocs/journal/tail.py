"""The segment that is written to.

What has been written stays in memory until it has been synced: a disk may take bytes and report only at the sync
that it has lost them (a full network disk does).
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from errno import ENOENT

from ocs.journal.segment import Segment

__all__ = ["Batch", "Tail", "write_all"]

_JOIN_BYTES = 512 << 10
_IOV_MAX = 1024  # what Linux takes in one call


class Batch:
    """Entries that are written together, or not at all.

    Attributes:
        first: the index of the first entry.
        last: the index of the last one.
        parts: the records, in pieces.
        size: their length, bytes.
        begins: a new segment begins with it; it has nothing but the head.
    """

    __slots__ = ("begins", "first", "last", "parts", "size")

    def __init__(self, first: int, *, begins: bool = False) -> None:
        self.first = self.last = first
        self.parts: list[bytes] = []
        self.size = 0
        self.begins = begins


class Tail:
    """Writes to the end of a segment's file.

    Args:
        segment: the segment; its file is cut to its size.
        last: the highest index before and in it.

    Attributes:
        broken: the file could not be cut after a write that failed; all there is to do is to `abandon` it.

    Raises:
        FileNotFoundError: the file is not there any more, or has become shorter than it was.
        OSError: it cannot be opened or cut.
    """

    def __init__(self, segment: Segment, last: int) -> None:
        self.segment = segment
        self.last = last
        self.broken = False
        self._dirty = True  # what is there may be from a process that did not come to its sync
        self._synced = (segment.size, last)
        self._unsynced: list[Batch] = []
        self._fd = os.open(segment.path, os.O_RDWR)
        try:
            self._prepare()
        except OSError:
            os.close(self._fd)
            raise

    def _prepare(self) -> None:
        size = self.segment.size
        if os.fstat(self._fd).st_size < size:
            raise FileNotFoundError(ENOENT, "somebody has cut the file", str(self.segment.path))
        os.ftruncate(self._fd, size)

    def write(self, batch: Batch) -> None:
        """Hand a batch to the operating system.

        Raises:
            OSError: it was not taken; the file ends as before, or the tail is `broken`.
        """
        segment = self.segment
        parts = batch.parts if batch.size > _JOIN_BYTES else [b"".join(batch.parts)]
        self._dirty = True
        try:
            write_all(self._fd, parts, segment.size)
        except OSError:
            self._cut()
            raise
        segment.mark(batch.first, segment.size)
        self.last = batch.last
        self._unsynced.append(batch)
        segment.size += batch.size

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self.segment.size)
        except OSError:
            self.broken = True

    def sync(self) -> None:
        """Return when all that was written is on the disk.

        Raises:
            OSError: it is not known what is; all there is to do is to `abandon` it.
        """
        if not self._dirty:
            return
        if not os.fstat(self._fd).st_nlink:
            raise FileNotFoundError(ENOENT, "somebody has deleted the file", str(self.segment.path))
        os.fdatasync(self._fd)
        self._dirty = False
        self._synced = (self.segment.size, self.last)
        self._unsynced = []

    def abandon(self) -> list[Batch]:
        """Close the file, go back to what was synced, and return what has to be written again."""
        self.close()
        size, self.last = self._synced
        self.segment.forget(size)
        return self._unsynced

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._fd)


def write_all(fd: int, parts: Sequence[bytes | memoryview], offset: int) -> None:
    """Write parts one behind the other at an offset, however few bytes the system takes at a time.

    Raises:
        OSError: it has not taken all.
    """
    left = list(parts)
    while left:
        taken = os.pwritev(fd, left[:_IOV_MAX], offset)
        offset += taken
        done = 0
        while done < len(left) and taken >= len(left[done]):
            taken -= len(left[done])
            done += 1
        del left[:done]
        if taken:
            left[0] = memoryview(left[0])[taken:]
