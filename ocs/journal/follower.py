"""Reading behind: a journal that another process writes, as it grows."""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ocs.journal.records import HEADER, Entry, scan
from ocs.journal.segment import Segment, find_segments

__all__ = ["Follower"]

_MOST_PROBLEMS = 100
"""How many lines are kept of what was damaged: enough to see what is wrong with a disk."""


class Follower:
    """Reads a journal that another process writes, from an index on, each entry once. Changes nothing, takes no lock.

    The writer must use each index once; it may be killed and started again. One thread at a time.

    Args:
        directory: the journal's folder, which need not be there yet.
        start: the lowest index wanted.

    Attributes:
        next_index: no entry below it will be read any more.
        missed: how many indices had been dropped before they could be read.
        damaged: what could not be read, a line each; the first hundred.
    """

    def __init__(self, directory: Path, start: int = 0) -> None:
        self.next_index = start
        self.missed = 0
        self.damaged: list[str] = []
        self._directory = Path(directory)
        self._segment: Segment | None = None
        self._fd = -1
        self._offset = 0

    def read(self, limit: int = 1000) -> list[Entry]:
        """Return what is there by now, in order; [] if nothing is new, which is cheap to ask.

        Args:
            limit: how many entries at most.
        """
        entries: list[Entry] = []
        while len(entries) < limit:
            found = self._read_on(limit - len(entries))
            if found is None:
                break
            entries += found
        return entries

    def close(self) -> None:
        """Close the file that is being read. A later `read` goes on where this one was."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._segment = None

    def _read_on(self, limit: int) -> list[Entry] | None:
        """Return entries of the segment at hand, or None at the end of the journal; between, go on to the next."""
        entries = self._take(limit)
        if entries:
            return entries
        following = self._following()
        # Asked for before the last look: once there is a next segment, this one does not grow.
        entries = self._take(limit)
        if entries:
            return entries
        if following is None:
            return None
        self._go_on(following)
        return []

    def _take(self, limit: int) -> list[Entry]:
        if self._segment is None:
            return []
        end = os.fstat(self._fd).st_size
        entries: list[Entry] = []
        if end < self._offset + len(HEADER):
            return entries
        for entry, after in scan(partial(self._segment.read, self._fd), self._offset, end):
            self._offset = after
            if entry.index < self.next_index:
                continue
            self.next_index = entry.index + 1
            entries.append(entry)
            if len(entries) == limit:
                break
        return entries

    def _following(self) -> Segment | None:
        segments = self._segments()
        if self._segment is None or not os.fstat(self._fd).st_nlink:
            return _holding(segments, self.next_index)
        begin = self._segment.begin
        return next((segment for segment in segments if segment.begin > begin), None)

    def _segments(self) -> list[Segment]:
        with suppress(OSError):  # the folder is not there yet, or not any more
            return find_segments(self._directory)
        return []

    def _go_on(self, following: Segment) -> None:
        """Open the next segment, and account for what lies between."""
        self._note_rest()
        self.close()
        with suppress(FileNotFoundError):  # dropped a moment ago: the next look finds the one after
            self._fd = os.open(following.path, os.O_RDONLY)
            self._segment = following
            self._offset = len(HEADER)
            self.missed += max(0, following.begin - self.next_index)
            self.next_index = max(self.next_index, following.begin)

    def _note_rest(self) -> None:
        """Note what is wrong with the segment at hand."""


def _holding(segments: Sequence[Segment], index: int) -> Segment | None:
    before = [segment for segment in segments if segment.begin <= index]
    return before[-1] if before else next(iter(segments), None)
