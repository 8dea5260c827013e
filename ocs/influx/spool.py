"""Lines that wait to be sent: in memory, and behind it on the disk, so that they outlive the process.

The disk is written to a few times a second; it is read from only when more waits than the memory holds, or after a
start. When a bound is hit, or the disk is damaged, the oldest go and are counted.

An entry's index is the number of its first point since the spool began, so that a hole in the indices says how many
points are missing.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ocs.errors import JournalError, JournalInUseError
from ocs.influx.spool_disk import Position, disk_trouble, end_of, keep, kept_between
from ocs.journal import Journal

__all__ = ["DISK_BYTES", "MEMORY_BYTES", "Batch", "Spool"]

DISK_BYTES: Final = 1 << 30
MEMORY_BYTES: Final = 64 << 20

_USUAL_SHARE: Final = 4
"""While the disk takes everything, so much of the memory (a quarter) is used."""

_SYNC_EVERY: Final = 5.0
"""Seconds between two times at which what was written is made to outlive a power cut."""

_BUFFERED: Final = 4 << 20
_MANY: Final = 64
"""Entries that wait to be written, a few MiB at most."""

_SEGMENT: Final = 16 << 20
_LEAST_SEGMENT: Final = 64 << 10
_OPEN_EVERY: Final = 5.0


class _Waiting(NamedTuple):
    """An entry in memory."""

    first: int
    points: int
    received: float
    body: bytes

    @property
    def end(self) -> int:
        return self.first + self.points


class Batch(NamedTuple):
    """Lines to be sent together."""

    body: bytes
    points: int
    end: int
    """The index after them."""
    received: float
    """When the oldest of them came (unix, s)."""
    origin: int
    """Which numbering the indices are of."""


class Spool:
    """Lines on their way to a database. `put` and `write` are one thread's, `next` and `done` another's.

    Args:
        folder: where to keep what waits; None: in memory alone.
        disk_bytes: how much may wait on the disk.
        memory_bytes: how much may wait in memory, where the disk takes nothing.
        clock: gives the time (unix, s).
        steady: gives a time that only goes on (s).

    Attributes:
        trouble: why nothing is written to the disk, for the operator; "" if it is, or is not meant to be.
        dropped: points that are lost, by reason: ``spool_full``, ``spool_damaged``.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        disk_bytes: int = DISK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble = ""
        self.dropped: Counter[str] = Counter()
        self._folder = folder
        self._disk_bytes = disk_bytes
        self._memory_bytes = memory_bytes
        self._usual_bytes = memory_bytes if folder is None else min(memory_bytes // _USUAL_SHARE, disk_bytes)
        self._clock = clock
        self._steady = steady
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._memory: deque[_Waiting] = deque()
        self._unwritten: deque[_Waiting] = deque()
        self._bytes = 0
        self._position = 0
        self._end = 0
        self._written = 0
        """What is below is in the journal, as far as it was not sent before."""
        self._origin = 0
        self._noted = Position(folder, steady) if folder is not None else None
        self._journal: Journal | None = None
        self._next_open = self._next_sync = 0.0
        self._oldest = 0.0  # when the oldest on the disk came, as far as known
        self._called = False
        self._wanted = memory_bytes

    # The side that has lines to send

    def open(self) -> None:
        """Open the folder, with what waits in it; if that cannot be done now, `write` tries again.

        Raises:
            JournalInUseError: another process has it.
        """
        if self._folder is None or self._journal is not None:
            return
        self._next_open = self._steady() + _OPEN_EVERY
        segment = min(_SEGMENT, max(_LEAST_SEGMENT, self._disk_bytes // 8))
        try:
            journal = Journal(self._folder, segment_bytes=segment)
            end = end_of(journal)
        except JournalInUseError:
            raise
        except (OSError, JournalError) as error:
            self.trouble = disk_trouble(self._folder, error)
            return
        with self._lock:
            self._journal = journal
            first = journal.first_index or 0
            self._renumber(max(first, self._noted.read() if self._noted else 0), end)
        self.trouble = ""

    def _renumber(self, position: int, end: int) -> None:
        """Put what is in memory behind what is on the disk."""
        self._position = position
        self._written = self._end = max(position, end)
        self._origin += 1
        renumbered = []
        for entry in self._memory:
            renumbered.append(entry._replace(first=self._end))
            self._end += entry.points
        self._memory = deque(renumbered)
        self._unwritten = deque(renumbered)

    def put(self, body: bytes, points: int) -> None:
        """Add lines; never waits for the disk.

        Args:
            body: the lines.
            points: how many there are.
        """
        with self._lock:
            entry = _Waiting(self._end, points, self._clock(), body)
            self._end = entry.end
            self._memory.append(entry)
            if self._folder is not None:
                self._unwritten.append(entry)
            self._bytes += len(body)
            self._make_room()
            if self._bytes >= self._wanted:
                self._news.notify_all()

    def _make_room(self) -> None:
        """Forget what is on the disk as well, and at the bound what is not."""
        while self._memory and self._bytes > self._usual_bytes:
            oldest = self._memory[0]
            if oldest.end > self._written or self._journal is None:
                if self._bytes <= self._memory_bytes:
                    return
                self._lose("spool_full", self._position, max(self._position, oldest.end))
                self._position = max(self._position, oldest.end)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._memory.popleft()
        self._bytes -= len(oldest.body)
        while self._unwritten and self._unwritten[0].end <= oldest.end:
            self._unwritten.popleft()

    @property
    def crowded(self) -> bool:
        """Whether so much has come since the last `write` that it should be called now."""
        return len(self._unwritten) > _MANY

    def write(self) -> None:
        """Bring to the disk what waits, and drop what need not wait any more. Call it a few times a second."""
        if self._journal is None and self._steady() >= self._next_open:
            with suppress(JournalInUseError):
                self.open()
        journal = self._journal
        if journal is None:
            return
        try:
            if self._noted is not None:
                self._noted.note(self._position)
            self._write(journal)
            self._bound(journal)
        except (OSError, JournalError) as error:
            self.trouble = disk_trouble(self._folder, error)
        else:
            self.trouble = ""

    def _write(self, journal: Journal) -> None:
        journal.write()  # what it has not got rid of yet has to go before it is given more
        while entries := self._some_unwritten():
            for entry in entries:
                keep(journal, entry.first, entry.points, entry.received, entry.body)
            with self._lock:
                while self._unwritten and self._unwritten[0].end <= entries[-1].end:
                    self._unwritten.popleft()
            journal.write()
            with self._lock:
                self._written = max(self._written, entries[-1].end)
                self._make_room()
        with self._lock:
            self._written = self._end  # by whoever puts lines: nothing has come meanwhile
        if self._steady() >= self._next_sync:
            self._next_sync = self._steady() + _SYNC_EVERY
            journal.sync()

    def _some_unwritten(self) -> list[_Waiting]:
        """Return what is to be given to the journal next; what has been sent by now is not."""
        with self._lock:
            while self._unwritten and self._unwritten[0].end <= self._position:
                self._unwritten.popleft()
            found = []
            size = 0
            for entry in self._unwritten:
                found.append(entry)
                size += len(entry.body)
                if size > _BUFFERED:
                    break
            return found

    def _bound(self, journal: Journal) -> None:
        """Delete what has been sent, and at the bound what has not."""
        if journal.segments > 1:
            journal.drop_before(self._position)
        while journal.size > self._disk_bytes:
            if journal.segments < 2:  # noqa: PLR2004 - the one written to stays
                journal.roll()
            begin = journal.begins[1]
            with self._lock:
                while self._memory and self._memory[0].first < begin:
                    self._forget_oldest()
                self._lose("spool_full", self._position, begin)
                self._position = max(self._position, begin)
            if not journal.drop_before(begin):
                return

    def _lose(self, reason: str, first: int, end: int) -> None:
        if end > first:
            self.dropped[reason] += end - first

    def close(self) -> None:
        """Make sure that what waits is on the disk, and end. Nothing may be put after that."""
        self.write()
        journal, self._journal = self._journal, None
        if journal is None:
            return
        try:
            if self._position < self._end:
                if self._noted is not None:
                    self._noted.note(self._position, at_once=True)
                journal.close()
                return
            if self._noted is not None:
                self._noted.remove()  # before the journal: what is sent twice does no harm
            journal.remove()
        except (OSError, JournalError) as error:
            self.trouble = disk_trouble(self._folder, error)

    # The side that sends

    def next(self, most_bytes: int, after: Batch | None = None) -> Batch | None:
        """Return the oldest lines that wait.

        Args:
            most_bytes: how many bytes they may have; they are one entry at least.
            after: a batch that is on its way, and whatever comes before it; what is returned follows it without a gap.

        Returns:
            The lines; None if nothing waits.
        """
        while True:
            with self._lock:
                position, origin = self._position, self._origin
                if after is not None:
                    if after.origin != origin:
                        return None
                    position = max(position, after.end)
                if position >= self._end:
                    return None
                first = self._memory[0].first if self._memory else self._end
                if first <= position:
                    return self._from_memory(position, most_bytes)
            batch = self._from_disk(position, first, most_bytes, origin)
            begin = first if batch is None else batch.end - batch.points
            if after is not None:
                return batch if begin == position else None
            self._pass_over(position, begin, origin)
            if batch is not None:
                return batch

    def _from_memory(self, position: int, most_bytes: int) -> Batch:
        found: list[bytes] = []
        size = points = 0
        oldest, end = self._memory[0].received, position
        for entry in self._memory:
            if entry.end <= position:
                continue
            if found and size + len(entry.body) >= most_bytes:
                break
            oldest = entry.received if not found else oldest
            found.append(entry.body)
            size += len(entry.body) + 1
            points += entry.points
            end = entry.end
        return Batch(b"\n".join(found), points, end, oldest, self._origin)

    def _from_disk(self, position: int, before: int, most_bytes: int, origin: int) -> Batch | None:
        """Return what the journal has between two indices; None if it has nothing there."""
        if self._journal is None:
            return None
        try:
            found = kept_between(self._journal, position, before, most_bytes)
        except OSError as error:
            self.trouble = disk_trouble(self._folder, error)
            return None
        return Batch(found.body, found.points, found.end, found.received, origin) if found else None

    def _pass_over(self, position: int, first: int, origin: int) -> None:
        """Go on behind what is missing on the disk, unless somebody has done so."""
        with self._lock:
            if self._origin == origin and self._position == position:
                self._lose("spool_damaged", position, first)
                self._position = max(position, first)

    def done(self, batch: Batch) -> None:
        """Note that a batch need not wait any more."""
        with self._lock:
            if batch.origin != self._origin:
                return  # the disk came in between: it is sent once more, which changes nothing
            self._position = max(self._position, batch.end)
            while self._memory and self._memory[0].end <= self._position:
                self._forget_oldest()

    def wait(self, seconds: float, *, most_bytes: int | None = None) -> None:
        """Wait so long, or until so much is in memory, if that matters, or `call` is called."""
        with self._news:
            self._wanted = self._memory_bytes * 2 if most_bytes is None else most_bytes
            if not self._called and self._bytes < self._wanted:
                self._news.wait(seconds)
            self._called = False

    def call(self) -> None:
        """End the sender's wait."""
        with self._news:
            self._called = True
            self._news.notify_all()

    # What there is

    @property
    def waiting(self) -> int:
        """How many points wait; some may be on the disk from an earlier run."""
        with self._lock:
            return max(0, self._end - self._position)

    @property
    def size(self) -> int:
        """How many bytes wait, on the disk or in memory; of what is on the disk, whole files count."""
        with self._lock:
            if self._position >= self._end:
                return 0
            only_memory = bool(self._memory) and self._memory[0].first <= self._position
            if only_memory or self._journal is None:
                return self._bytes
        journal = self._journal
        return journal.size if journal is not None else self._bytes

    @property
    def oldest(self) -> float | None:
        """When the oldest that waits in memory came (unix, s); None if it is not there."""
        with self._lock:
            first = self._memory[0] if self._memory else None
            return first.received if first is not None and first.first <= self._position else None
