"""One file of a journal, as it is read.

A segment's name says its `begin`: all entries in the segments before it have a lower index. So a reader finds its
segment, and who drops old ones knows what they hold, without a look into any of them.
"""

import logging
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from threading import Lock

from ocs.errors import JournalError
from ocs.journal.records import HEADER, Entry, scan

__all__ = ["Segment", "find_segments", "read_journal", "read_segment"]

_MARK_EVERY = 256 << 10  # bytes
_NAME = re.compile(r"[0-9]{20}\.journal")
_log = logging.getLogger(__name__)


class Segment:
    """A file of a journal.

    Args:
        directory: the journal's folder.
        begin: the number in its name.
        size: how far it may be read, bytes.

    Attributes:
        path: the file.
        begin: see above.
        size: see above; grows while the segment is written to.
        problem: what is wrong with it, one line, or empty.
    """

    def __init__(self, directory: Path, begin: int, size: int = 0) -> None:
        self.path = directory / f"{begin:020d}.journal"
        self.begin = begin
        self.size = size
        self.problem = ""
        self._marks: list[tuple[int, int]] = []
        self._next_mark = len(HEADER) + _MARK_EVERY
        self._lock = Lock()

    def mark(self, index: int, offset: int) -> None:
        """Remember that an entry begins at an offset, if none near before it is remembered."""
        if offset < self._next_mark:
            return
        with self._lock:
            if offset >= self._next_mark:
                self._marks.append((index, offset))
                self._next_mark = offset + _MARK_EVERY

    def forget(self, size: int) -> None:
        """Take back what is beyond an offset: it is going to be written again."""
        with self._lock:
            self.size = size
            self._marks = [mark for mark in self._marks if mark[1] < size]
            self._next_mark = (self._marks[-1][1] if self._marks else len(HEADER)) + _MARK_EVERY

    def offset_for(self, start: int) -> int:
        """Return an offset, bytes, before which there is no entry with this index or a higher one."""
        marks = self._marks
        before = bisect_left(marks, (start,))
        return marks[before - 1][1] if before else len(HEADER)

    def entries(self, fd: int, offset: int, end: int) -> Iterator[tuple[Entry, int]]:
        """Yield each whole entry between two offsets and where it ends, up to the first that is not whole."""
        for entry, after in scan(partial(self.read, fd), offset, end):
            self.mark(entry.index, offset)
            yield entry, after
            offset = after

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Return bytes of the file; what cannot be read is noted, and there is less then."""
        try:
            return os.pread(fd, size, offset)
        except OSError as error:
            self.note(f"cannot be read at byte {offset}: {error.strerror}")
            return b""

    def note(self, problem: str) -> None:
        """Remember what is wrong with it, unless something else is already."""
        self.problem = self.problem or f"{self.path}: {problem}"


def find_segments(directory: Path) -> list[Segment]:
    """Return the segments in a folder, oldest first; files of other names are none.

    Raises:
        OSError: the folder cannot be read.
    """
    segments = []
    with os.scandir(directory) as found:
        for file in found:
            if _NAME.fullmatch(file.name) and file.is_file():
                with suppress(FileNotFoundError):  # dropped meanwhile
                    segments.append(Segment(directory, int(file.name[:20]), file.stat().st_size))
    return sorted(segments, key=attrgetter("begin"))


def read_segment(segment: Segment, start: int, following: Callable[[], Segment | None]) -> Iterator[Entry]:
    """Yield what is whole in a segment, and what is appended to it while it is read.

    Args:
        segment: the segment.
        start: the lowest index wanted.
        following: returns the next segment, if there is one by now. What this one has from that one's `begin` on has
            been written again there.
    """
    try:
        fd = os.open(segment.path, os.O_RDONLY)
    except FileNotFoundError:
        return  # dropped meanwhile
    try:
        yield from _read_on(segment, fd, start, following)
    finally:
        os.close(fd)


def _read_on(segment: Segment, fd: int, start: int, following: Callable[[], Segment | None]) -> Iterator[Entry]:
    offset = segment.offset_for(start)
    while True:
        after = following()  # asked for before the size: once there is a next segment, this one does not grow
        end = segment.size
        if offset >= end:
            if after or not following():
                return
            continue
        for entry, offset in segment.entries(fd, offset, end):  # noqa: B007, B020  goes on from where it was
            if after and entry.index >= after.begin:
                return
            if entry.index >= start:
                yield entry
        if offset < end:
            if end <= segment.size:  # else what was there is being written again
                segment.note(f"damaged from byte {offset} on")
            return


def read_journal(directory: Path) -> Iterator[Entry]:
    """Yield all entries of a journal, which another program may be writing to; changes nothing.

    Args:
        directory: its folder.

    Raises:
        JournalError: the folder cannot be read.
    """
    try:
        segments = find_segments(directory)
    except OSError as error:
        raise JournalError(f"{directory} cannot be read as a journal: {error.strerror}") from error
    for segment, following in zip_longest(segments, segments[1:]):
        yield from read_segment(segment, 0, partial(_same, following))
        if segment.problem and following:  # at the end of the last one somebody may be writing
            _log.warning("%s", segment.problem)


def _same(segment: Segment | None) -> Segment | None:
    return segment
