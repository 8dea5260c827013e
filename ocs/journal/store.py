"""The files of a journal: where batches of entries go, and in what order things become durable.

A segment is on the disk before the next one begins. So whatever a power cut leaves is a journal without a hole: it
lacks nothing but what came last.
"""

import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from threading import Lock

from ocs.errors import JournalError
from ocs.journal.records import HEADER, Entry
from ocs.journal.segment import Segment, find_segments, read_segment
from ocs.journal.tail import Batch, Tail, write_all

__all__ = ["Store"]

_NEW = ".new"  # suffix of a segment that is not complete yet


class Store:
    """The segments in a folder. Any thread may read; the other methods are for one at a time.

    Args:
        directory: the folder, which the caller has locked.
        checkpoint: called with the first index to come and the last there is (or -1), returns the batch with which a
            new segment begins.

    Attributes:
        queue: batches to be written, oldest first.
        repaired: what was cut off at opening, bytes.
        started: at opening, the last segment had entries of its own.

    Raises:
        JournalError: the files cannot be read.
    """

    def __init__(self, directory: Path, checkpoint: Callable[[int, int], Batch]) -> None:
        self.queue: deque[Batch] = deque()
        self.repaired = 0
        self.started = False
        self._directory = directory
        self._checkpoint = checkpoint
        self._last = -1
        self._tail: Tail | None = None
        self._abandoned: Segment | None = None
        self._folder_synced = False
        self._lock = Lock()
        try:
            for unfinished in directory.glob(f"{'[0-9]' * 20}{_NEW}"):
                unfinished.unlink()
            self._segments = find_segments(directory)
            if self._segments:
                self._open(self._segments[-1])
        except OSError as error:
            raise JournalError(f"{directory} cannot be used as a journal: {error.strerror}") from error

    def _open(self, segment: Segment) -> None:
        self._last = segment.begin - 1
        end = self._survey(segment)
        if segment.problem:
            return  # left as it is, and no more written to
        self.repaired = segment.size - end
        segment.size = end
        self._abandoned = segment
        with suppress(OSError):  # the next write tries again
            self._resume(segment)

    def _survey(self, segment: Segment) -> int:
        end = len(HEADER)
        fd = os.open(segment.path, os.O_RDONLY)
        try:
            if segment.read(fd, end, 0) != HEADER:
                segment.note("its header is damaged, or written by another version")
            for entry, end in segment.entries(fd, end, segment.size):  # noqa: B007, B020  goes on from where it was
                self.started = self.started or entry.index >= segment.begin
                self._last = max(self._last, entry.index)
        finally:
            os.close(fd)
        return end

    @property
    def last(self) -> int:
        """The highest index in the files, or -1."""
        return self._tail.last if self._tail else self._last

    @property
    def segments(self) -> list[Segment]:
        """The segments, oldest first."""
        with self._lock:
            return list(self._segments)

    @property
    def writable(self) -> bool:
        """Whether the last segment can take more, or will be able to."""
        return bool(self._tail or self._abandoned)

    # Writing.

    def write(self) -> None:
        """Hand the queue to the operating system.

        Raises:
            OSError: what was not taken is in the queue still.
        """
        while self.queue:
            if self._abandoned:
                self._resume(self._abandoned)
            self._write_first(self.queue[0])

    def _write_first(self, batch: Batch) -> None:
        if batch.begins:
            self._begin(batch)
        elif self._tail:
            self._append(self._tail, batch)
        else:
            self.queue.appendleft(self._checkpoint(batch.first, self.last))
            return
        self.queue.popleft()

    def _append(self, tail: Tail, batch: Batch) -> None:
        try:
            tail.write(batch)
        except OSError:
            if tail.broken:
                self._abandon(tail)
            raise

    def _begin(self, head: Batch) -> None:
        """Begin a segment, when the one before is on the disk."""
        self._settle()
        begin = max(self.last, self._segments[-1].begin) + 1 if self._segments else head.first
        segment = Segment(self._directory, begin, len(HEADER) + head.size)
        _create(segment.path, [HEADER, *head.parts])
        tail = Tail(segment, self.last)
        if self._tail:
            self._tail.close()
        with self._lock:
            self._tail = tail
            self._segments.append(segment)

    def sync(self) -> None:
        """Write, and return when all is on the disk.

        Raises:
            OSError: it is not; what may be missing is in the queue.
        """
        self.write()
        self._settle()

    def _settle(self) -> None:
        tail = self._tail
        if not tail:
            return
        try:
            tail.sync()
        except OSError:
            self._abandon(tail)
            raise
        if not self._folder_synced:
            _sync_folder(self._directory)
            self._folder_synced = True

    def _abandon(self, tail: Tail) -> None:
        """Take back what is not known to be on the disk, to write it again through another handle."""
        self.queue.extendleft(reversed(tail.abandon()))
        self._last = tail.last
        self._tail = None
        self._abandoned = tail.segment

    def _resume(self, segment: Segment) -> None:
        try:
            self._tail = Tail(segment, self._last)
        except FileNotFoundError:
            segment.note("deleted or cut by somebody while it was in use")
        self._abandoned = None

    # Dropping.

    def drop(self, index: int) -> int:
        """Delete the segments whose entries are all below an index, except the last segment.

        Returns:
            What was freed, bytes.

        Raises:
            OSError: a file cannot be deleted, or the last segment not be brought to the disk.
        """
        segments = self.segments
        victims = [each for each, after in pairwise(segments) if after.begin <= index]
        if victims and not self._folder_synced:
            self._settle()
        return sum(map(self._delete, victims))

    def _delete(self, segment: Segment) -> int:
        segment.path.unlink(missing_ok=True)
        with self._lock:
            self._segments.remove(segment)
        return segment.size

    def close(self) -> None:
        """Close the file that is written to; what is in the queue stays there."""
        if self._tail:
            self._last = self._tail.last
            self._tail.close()
            self._tail = None

    def delete(self) -> None:
        """Close, and delete all segments.

        Raises:
            OSError: a file cannot be deleted.
        """
        self.close()
        self.queue.clear()
        for segment in self.segments:
            self._delete(segment)

    # Reading.

    def read(self, start: int) -> Generator[Entry, None, None]:
        """Yield the entries in the files from an index on."""
        segment = self._holding(start)
        while segment:
            following = partial(self._after, segment)
            yield from read_segment(segment, start, following)
            segment = following()

    def _holding(self, index: int) -> Segment | None:
        with self._lock:
            at = bisect_right(self._segments, index, key=attrgetter("begin"))
            return self._segments[max(0, at - 1)] if self._segments else None

    def _after(self, segment: Segment) -> Segment | None:
        with self._lock:
            at = bisect_right(self._segments, segment.begin, key=attrgetter("begin"))
            return self._segments[at] if at < len(self._segments) else None


def _create(path: Path, parts: list[bytes]) -> None:
    """Make a file that has all of its content, on the disk, from the first moment on that it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it
    new = path.with_suffix(_NEW)
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, parts, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        new.rename(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _sync_folder(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
