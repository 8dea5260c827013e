"""Reading behind: a journal that another process writes, as it grows."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ocs.journal.records import HEADER, Entry, scan
from ocs.journal.segment import Segment, find_segments

__all__ = ["Follower"]

_MOST_PROBLEMS = 100
"""How many lines are kept of what was damaged: enough to see what is wrong with a disk."""

_MOST_SEARCHES = 20
"""How often one segment is read anew: what is damaged for good does not get better."""


class Follower:
    """Reads a journal that another process writes, from an index on, each entry once. Changes nothing, takes no lock.

    The writer must use each index once (so its segments begin without a head); it may be killed and started again.
    One thread at a time.

    Args:
        directory: the journal's folder, which need not be there yet.
        start: the lowest index wanted.

    Attributes:
        next_index: no entry below it will be read any more.
        missed: how many indices were dropped, or damaged, before they could be read.
        damaged: what could not be read, a line each; the first hundred.
    """

    def __init__(self, directory: Path, start: int = 0) -> None:
        self.next_index = start
        self.missed = 0
        self.damaged: list[str] = []
        self._directory = Path(directory)
        self._segment: Segment | None = None
        self._fd = -1
        self._offset = 0  # how far the segment has been read, bytes
        self._searches = 0  # how often it was read anew
        self._searched = 0  # its size then, bytes

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
        """Return entries of the segment at hand; [] when it is another one from now on; None at the journal's end."""
        entries = self._take(limit)
        if entries:
            return entries
        following = self._following()
        # The last look comes after: once there is a next segment, this one does not grow.
        entries = self._take(limit)
        if entries or following is None:
            return entries or None
        return [] if self._go_on(following) else None

    def _take(self, limit: int) -> list[Entry]:
        """Return entries of the segment at hand."""
        if self._segment is None:
            return []
        size = self._size()
        entries = self._scan(limit, size)
        if not entries and self._went_astray(size):
            self._offset = len(HEADER)
            entries = self._scan(limit, size)
        return entries

    def _scan(self, limit: int, size: int) -> list[Entry]:
        entries: list[Entry] = []
        for entry, after in scan(self._read, self._offset, size):
            self._offset = after
            if entry.index >= self.next_index:
                self.next_index = entry.index + 1
                entries.append(entry)
                if len(entries) == limit:
                    break
        return entries

    def _went_astray(self, size: int) -> bool:
        """Tell whether to read the segment anew: it does not go on here, and what was read may have been cut off.

        That is what a writer does which cannot sync what it has written; the next one then begins before this place.
        """
        if size in {self._offset, self._searched}:
            return False
        self._searches += 1
        self._searched = size
        return self._searches <= _MOST_SEARCHES

    def _read(self, size: int, offset: int) -> bytes:
        return self._segment.read(self._fd, size, offset) if self._segment else b""

    def _size(self) -> int:
        return os.fstat(self._fd).st_size

    def _following(self) -> Segment | None:
        segments = self._segments()
        if self._segment is None:
            return _holding(segments, self.next_index)
        begin = self._segment.begin
        return next((segment for segment in segments if segment.begin > begin), None)

    def _segments(self) -> list[Segment]:
        with suppress(OSError):  # the folder is not there yet, or not any more
            return find_segments(self._directory)
        return []

    def _go_on(self, following: Segment) -> bool:
        """Open the next segment and account for what lies between; tell whether the next look is worth it."""
        try:
            fd = os.open(following.path, os.O_RDONLY)
        except FileNotFoundError:
            return True  # dropped a moment ago: there is another one
        except OSError as error:
            self._note(f"{following.path}: cannot be opened: {error.strerror}")
            return False
        if following.begin > self.next_index:
            self._note_rest()
            self.missed += following.begin - self.next_index
            self.next_index = following.begin
        self.close()
        self._fd, self._segment, self._offset = fd, following, len(HEADER)
        self._searches = self._searched = 0
        return True

    def _note_rest(self) -> None:
        segment = self._segment
        if segment and self._size() > self._offset:
            self._note(segment.problem or f"{segment.path}: damaged from byte {self._offset} on")

    def _note(self, problem: str) -> None:
        if problem not in self.damaged and len(self.damaged) < _MOST_PROBLEMS:
            self.damaged.append(problem)


def _holding(segments: Sequence[Segment], index: int) -> Segment | None:
    before = [segment for segment in segments if segment.begin <= index]
    return before[-1] if before else next(iter(segments), None)
