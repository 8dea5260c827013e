"""What a spool has on the disk: entries of lines in a journal, and a note of how far their sending is."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ocs.journal import Entry, Journal

__all__ = ["Kept", "Position", "disk_trouble", "end_of", "keep", "kept_between"]

_HEAD: Final = struct.Struct("<Id")
_LINES: Final = 1
"""The kind of the journal's entries."""

_NOTE_EVERY: Final = 1.0
"""Seconds between two notes of how far the sending is; after a kill, what was sent since the last is sent again."""


class Kept(NamedTuple):
    """Lines that a journal has, of entries that follow each other without a gap."""

    body: bytes
    points: int
    end: int
    """The index after them."""
    received: float
    """When the oldest of them came (unix, s)."""


class Position:
    """A note of how far the sending is, in a file beside the journal.

    Args:
        folder: where that is.
        steady: gives a time that only goes on (s).
    """

    def __init__(self, folder: Path, steady: Callable[[], float]) -> None:
        self._path = folder / "position"
        self._steady = steady
        self._noted = -1
        self._next = 0.0

    def read(self) -> int:
        """Return what was noted last; 0 if nothing was, or it cannot be read."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return 0

    def note(self, position: int, *, at_once: bool = False) -> None:
        """Note a position, once a second, unless it must be now.

        Raises:
            OSError: the disk takes nothing.
        """
        now = self._steady()
        if position == self._noted or not (at_once or now >= self._next):
            return
        new = self._path.with_suffix(".new")
        new.write_text(f"{position}\n")
        new.replace(self._path)
        self._noted = position
        self._next = now + _NOTE_EVERY

    def remove(self) -> None:
        """Forget what was noted."""
        self._path.unlink(missing_ok=True)


def keep(journal: Journal, first: int, points: int, received: float, body: bytes) -> None:
    """Append lines to a journal.

    Args:
        journal: the journal.
        first: the index of the first point.
        points: how many there are.
        received: when they came (unix, s).
        body: the lines.
    """
    journal.append(first, _LINES, _HEAD.pack(points, received), body)


def kept_between(journal: Journal, first: int, before: int, most_bytes: int) -> Kept | None:
    """Return the oldest lines that a journal has between two indices, up to a gap.

    Args:
        journal: the journal.
        first: the lowest index that is wanted.
        before: the lowest that is not wanted any more.
        most_bytes: how many bytes they may have; they are one entry at least.

    Returns:
        The lines; None if there are none.

    Raises:
        OSError: the disk cannot be read.
    """
    found: list[Entry] = []
    size = end = 0
    entries = journal.read(first)
    try:
        for entry in entries:
            size += len(entry.body)
            if entry.index >= before or (found and (size > most_bytes or entry.index != end)):
                break
            found.append(entry)
            end = entry.index + _points(entry)
    except OSError:
        if not found:
            raise
    finally:
        entries.close()
    if not found:
        return None
    body = b"\n".join(entry.body[_HEAD.size :] for entry in found)
    return Kept(body, end - found[0].index, end, _HEAD.unpack_from(found[0].body)[1])


def end_of(journal: Journal) -> int:
    """Return the index after a journal's last entry."""
    last = journal.last_index
    if last is None:
        return 0
    entries = [entry for entry in journal.read(last) if entry.index == last]
    return last + (_points(entries[-1]) if entries else 1)


def _points(entry: Entry) -> int:
    count: int = _HEAD.unpack_from(entry.body)[0]
    return count


def disk_trouble(folder: Path | None, error: Exception) -> str:
    """Say what is wrong with a spool's disk."""
    why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return f"the spool in {folder} cannot be written: {why}; what waits is kept in memory"
