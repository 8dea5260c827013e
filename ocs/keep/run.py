"""One run of an agent on the disk: its messages in a journal, and the list of what it lost."""

import json
import math
import os
import shutil
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from ocs.errors import JournalError
from ocs.feeds.outbox import Parcel
from ocs.journal import Entry, Journal
from ocs.keep.lost import LostRanges
from ocs.keep.memory import Kept

__all__ = ["SEGMENT_BYTES", "RunOnDisk", "write_json"]

SEGMENT_BYTES = 16 << 20

_MESSAGE = 1
"""The kind of a journal's entry that is a message."""
_HEAD = struct.Struct("<dIH")
"""Before the payload: when (unix s), number of samples, length of the topic, which follows."""


class RunOnDisk:
    """What is on the disk of one run. For one thread at a time.

    Args:
        folder: the run's own folder, named like the run; it is made when there is something to write.
        segment_bytes: how much goes into one file.

    Attributes:
        name: the run.
        lost: what was given up, as far as it was noted here.

    Raises:
        JournalInUseError: another process that lives writes to it.
        JournalError: it cannot be read.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.name = folder.name
        self.folder = folder
        self.lost = LostRanges(_read_lost(folder / "lost.json"))
        self._lost_saved = self.lost.changes
        self._segment_bytes = segment_bytes
        self._journal: Journal | None = None
        self._writing = False
        self._end = 0
        self._unsynced = False
        self._synced_at = -math.inf
        if folder.is_dir():
            self._open()
            self.rest()

    def _open(self) -> Journal:
        if self._journal is None or not self._writing:
            self._journal = Journal(self.folder, segment_bytes=self._segment_bytes)
            self._writing = True
            self._end = 1 + (self._journal.last_index or 0)
        return self._journal

    def rest(self) -> None:
        """Close the journal; it can still be read, and is opened again when there is something to write."""
        if self._journal is not None and self._writing:
            self._writing = False
            self._unsynced = False
            with suppress(OSError, JournalError):  # what is not on the disk is in memory still
                self._journal.close()

    # What there is

    @property
    def range(self) -> tuple[int, int] | None:
        """The first number that may be there, and the one after the last; None if there is nothing."""
        first = self._journal.first_index if self._journal else None
        return None if first is None or first >= self._end else (first, self._end)

    @property
    def size(self) -> int:
        """How much it takes on the disk, in bytes."""
        return self._journal.size if self._journal else 0

    @property
    def damaged(self) -> list[str]:
        """What has been found damaged, a line each."""
        return self._journal.damaged if self._journal else []

    @property
    def age(self) -> float:
        """How long nothing was written, in seconds."""
        with suppress(OSError):
            return time.time() - max(entry.stat().st_mtime for entry in (self.folder, *self.folder.iterdir()))
        return 0.0

    def read(self, start: int) -> Iterator[Kept]:
        """Yield the messages from a number on.

        Raises:
            OSError: they cannot be read.
        """
        if self._journal is not None:
            with closing(self._journal.read(start)) as entries:
                yield from map(_message, entries)

    # More and less

    def append(self, messages: Sequence[Kept]) -> None:
        """Write messages: they survive this process, and by the next `sync` that is due the power too.

        Raises:
            OSError: the disk takes nothing, or not all; `range` tells what it has.
            JournalError: the folder cannot be used.
        """
        journal = self._open()
        for when, (topic, payload, samples, number) in messages:
            if number < self._end:
                continue
            name = topic.encode()
            journal.append(number, _MESSAGE, _HEAD.pack(when, samples, len(name)), name, payload)
        try:
            journal.write()
        except OSError:
            # What waits in the journal would be written later, and may have been given up by then.
            self.rest()
            self._end = max((kept.parcel.number + 1 for kept in self.read(self._end)), default=self._end)
            raise
        self._end = max(self._end, messages[-1].parcel.number + 1)
        self._unsynced = True

    @property
    def unsynced(self) -> bool:
        """Whether something is written that the power could take."""
        return self._unsynced

    def sync(self, *, pause: float) -> None:
        """Bring what is written to the disk, unless that has just been done.

        Args:
            pause: how long ago it was done last, at least, in seconds.

        Raises:
            OSError: the disk does not take it.
        """
        if self._journal is None or not self._writing:
            self._unsynced = False
        elif self._unsynced and time.monotonic() - self._synced_at >= pause:
            self._journal.sync()
            self._unsynced = False
            self._synced_at = time.monotonic()

    def drop_before(self, floor: int) -> None:
        """Delete what lies wholly below a number: whole files, or everything.

        Raises:
            OSError: it cannot be deleted.
        """
        if self._journal is None:
            return
        if floor >= self._end:
            self._empty()
        elif len(begins := self._journal.begins) > 1 and begins[1] <= floor:
            writing = self._writing
            self._open().drop_before(floor)
            if not writing:
                self.rest()

    def drop_oldest(self) -> list[Kept]:
        """Delete the oldest file, of a run that nobody writes to also the last; return what was in it.

        Raises:
            OSError: it cannot be deleted.
        """
        begins = self._journal.begins if self._journal else []
        if len(begins) > 1:
            cut = begins[1]
        elif begins and not self._writing:
            cut = self._end
        else:
            return []
        gone = list(takewhile(lambda kept: kept.parcel.number < cut, self.read(0)))
        self.drop_before(cut)
        return gone

    def give_up(self, messages: Iterable[Kept]) -> None:
        """Enter messages in the list of what is lost."""
        for when, parcel in messages:
            self.lost.add(parcel.number, when, parcel.feed, parcel.samples)

    def save_lost(self, lost: list[list[Any]] | None = None, changes: int | None = None) -> None:
        """Write the list of what is lost, if it has changed.

        Args:
            lost: the list, of a run that keeps it elsewhere.
            changes: the number of its changes.

        Raises:
            OSError: it cannot be written.
        """
        ranges = self.lost.encoded() if lost is None else lost
        changes = self.lost.changes if changes is None else changes
        if changes == self._lost_saved:
            return
        if ranges:
            write_json(self.folder / "lost.json", ranges)
        else:
            (self.folder / "lost.json").unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it
                self.folder.rmdir()
        self._lost_saved = changes

    def _empty(self) -> None:
        journal = self._open()
        self._journal, self._writing = None, False
        journal.remove()

    def delete(self) -> None:
        """Delete all of it."""
        self.rest()
        self._journal = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _message(entry: Entry) -> Kept:
    when, samples, length = _HEAD.unpack_from(entry.body)
    topic_end = _HEAD.size + length
    topic = entry.body[_HEAD.size : topic_end].decode()
    return Kept(when, Parcel(topic, entry.body[topic_end:], samples, entry.index))


def _read_lost(path: Path) -> list[list[Any]]:
    try:
        return LostRanges(json.loads(path.read_bytes())).encoded()
    except (OSError, ValueError, TypeError):
        return []


def write_json(path: Path, value: Any) -> None:
    """Write a file so that it is there whole, or as it was before.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(json.dumps(value))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
