"""A log on the disk, in segments, to which entries are appended."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from ocs.errors import JournalError, JournalValueError
from ocs.journal.lock import FolderLock
from ocs.journal.records import HEADER, Entry, Part, encode
from ocs.journal.store import Store
from ocs.journal.tail import Batch

__all__ = ["Journal"]

_BATCH_BYTES = 256 << 10

Head = Callable[[], Iterable[tuple[int, bytes]]]


class Journal:
    """Entries on the disk, in the order in which they were appended.

    Any thread may call any method. `append` and the properties never wait for the disk, the other methods do.

    Args:
        directory: the journal's folder, which is made; it belongs to the one journal that has it open.
        segment_bytes: a new file begins when the last one would become larger.
        head: returns (kind, body) of the entries with which each segment is to begin: whatever a reader needs to
            make sense of a segment without those before it. They get the index of the entry before the segment.
            Called within `append`, before the entry is in, or within `roll`; it must not wait for another thread.

    Raises:
        JournalInUseError: somebody else has the journal open.
        JournalError: the folder cannot be made, read or written to.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = 16 << 20, head: Head | None = None) -> None:
        self._directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._head: Head = head or tuple
        self._memory = RLock()  # over what append changes; never held while the disk works
        self._disk = RLock()  # over the store, except reading
        self._buffer: list[Batch] = []
        self._batch: Batch | None = None  # the last of the buffer, if it takes more
        self._closed = False
        self._folder = FolderLock(self._directory)
        try:
            self._store = Store(self._directory, self._checkpoint)
        except BaseException:
            self._folder.release()
            raise
        self._last = self._store.last
        self._fresh = self._store.writable and not self._store.started  # the segment has no entries beyond its head
        self._planned = self._store.segments[-1].size if self._store.writable else segment_bytes  # without the batch
        self._room = -1  # how much the batch takes before something has to be decided, bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Appending.

    def append(self, index: int, kind: int, *parts: Part) -> None:
        """Add an entry; it is in memory until `write`.

        Args:
            index: its place, not below that of the entry before.
            kind: 0 to 255, what the caller means by it.
            parts: the body, in pieces.

        Raises:
            JournalValueError: the index is below the last one, or a value out of its range.
            JournalError: the journal is closed.
        """
        pieces, size = encode(index, kind, parts)
        with self._memory:
            batch = self._batch if size <= self._room else None
            if batch is None or index < self._last:
                batch = self._batch_for(index, size)
            batch.parts += pieces
            batch.size += size
            batch.last = self._last = index
            self._room -= size

    def _batch_for(self, index: int, size: int) -> Batch:
        if index < self._last:
            raise JournalValueError(f"index {index} comes after {self._last}: a journal's indices do not go down")
        if self._closed:
            raise _closed(self._directory)
        if self._batch and self._batch.size >= _BATCH_BYTES:
            self._end_batch()
        if not self._fresh and self._planned_bytes() + size > self._segment_bytes:
            self._plan_segment(index)
        batch = self._batch
        if batch is None:
            batch = self._batch = Batch(index)
            self._buffer.append(batch)
        self._fresh = False
        self._room = min(_BATCH_BYTES - batch.size, self._segment_bytes - self._planned_bytes())
        return batch

    def _planned_bytes(self) -> int:
        return self._planned + (self._batch.size if self._batch else 0)

    def _end_batch(self) -> None:
        self._planned = self._planned_bytes()
        self._batch = None
        self._room = -1

    def _plan_segment(self, index: int) -> None:
        batch = self._checkpoint(index, self._last)
        self._end_batch()
        self._buffer.append(batch)
        self._planned = len(HEADER) + batch.size
        self._fresh = True

    def _checkpoint(self, first: int, last: int) -> Batch:
        batch = Batch(first, begins=True)
        index = last if last >= 0 else max(0, first - 1)
        for kind, body in self._head():
            pieces, size = encode(index, kind, [body])
            batch.parts += pieces
            batch.size += size
        return batch

    # Bringing it to the disk.

    def write(self) -> None:
        """Hand what was appended to the operating system: a crash of this process costs nothing then.

        Raises:
            OSError: it was not taken, or not all. Nothing is lost: the files end with a whole entry, the rest stays
                in memory, and the next call tries again.
            JournalError: the journal is closed.
        """
        with self._writing() as store:
            store.write()

    def sync(self) -> None:
        """Write, and return when all that was appended is on the disk: a power cut costs nothing then.

        What was written stays in memory until it has been synced, at most a segment's worth.

        Raises:
            OSError: as for `write`.
            JournalError: the journal is closed.
        """
        with self._writing() as store:
            store.sync()

    def roll(self) -> None:
        """Begin a new segment now, unless the last has nothing beyond its head, so that the others can be dropped.

        Raises:
            OSError: as for `write`.
            JournalError: the journal is closed.
        """
        with self._memory:
            if not self._fresh and self._last >= 0:
                self._plan_segment(self._last + 1)
        self.write()

    def drop_before(self, index: int) -> int:
        """Delete the segments whose entries are all below an index; the one that is written to stays.

        The oldest go first, and none before the one written to is on the disk.

        Args:
            index: the lowest that is still needed.

        Returns:
            What was freed, bytes.

        Raises:
            OSError: a file could not be deleted; a later call tries again.
            JournalError: the journal is closed.
        """
        with self._writing() as store:
            return store.drop(index)

    @contextmanager
    def _writing(self) -> Iterator[Store]:
        with self._disk:
            if self._closed:
                raise _closed(self._directory)
            self._hand_over()
            yield self._store

    def _hand_over(self) -> None:
        with self._memory:
            self._store.queue.extend(self._buffer)
            self._buffer = []
            self._end_batch()

    # Reading.

    def read(self, start: int = 0) -> Generator[Entry, None, None]:
        """Yield what has been written, oldest first, up to the end that is found; also while more is appended.

        What is damaged is left out, to the end of its segment, and noted in `damaged`. Works on a closed journal too.
        A file is open from the first entry that is taken to the last; close the generator to be done earlier.

        Args:
            start: the lowest index wanted.
        """
        return self._store.read(start)

    # What there is.

    @property
    def first_index(self) -> int | None:
        """No entry is below it; None if there are no entries, or only those of a head."""
        with self._memory:
            segments = self._store.segments
            if self._fresh and len(segments) < 2:  # noqa: PLR2004  one segment, and it is fresh
                return None
            if segments:
                return segments[0].begin
            waiting = [*self._store.queue, *self._buffer]
            return waiting[0].first if waiting else None

    @property
    def last_index(self) -> int | None:
        """The highest index ever appended, also if its entry has been dropped; None if there was none."""
        return self._last if self._last >= 0 else None

    @property
    def size(self) -> int:
        """What the segments have on the disk, bytes."""
        return sum(segment.size for segment in self._store.segments)

    @property
    def buffered(self) -> int:
        """What waits in memory to be written, bytes."""
        with self._memory:
            return sum(batch.size for batch in [*self._store.queue, *self._buffer])

    @property
    def segments(self) -> int:
        """How many files there are."""
        return len(self._store.segments)

    @property
    def begins(self) -> list[int]:
        """For each file, oldest first, a number: no index in it is below (but its head's), all in those before are."""
        return [segment.begin for segment in self._store.segments]

    @property
    def repaired(self) -> int:
        """What was cut off the end at opening, since it had not been written whole, bytes."""
        return self._store.repaired

    @property
    def damaged(self) -> list[str]:
        """What has been found damaged by now in the segments that there are, a line each."""
        return [segment.problem for segment in self._store.segments if segment.problem]

    # Ending.

    def close(self) -> None:
        """Sync, and let others have the folder. The second call does nothing.

        Raises:
            OSError: what was not on the disk is lost; all else is done.
        """
        with self._disk:
            if self._closed:
                return
            try:
                self.sync()
            finally:
                self._end()

    def remove(self) -> None:
        """Close, and delete all that belongs to the journal; the folder too, if nothing else is in it.

        Raises:
            OSError: a file cannot be deleted.
            JournalError: the journal is closed: it may be somebody else's by now.
        """
        with self._writing() as store:
            self._closed = True
            try:
                store.delete()
            finally:
                self._folder.release(remove=True)
            with suppress(OSError):
                self._directory.rmdir()

    def _end(self) -> None:
        self._closed = True
        self._store.close()
        self._folder.release()


def _closed(directory: Path) -> JournalError:
    return JournalError(f"the journal in {directory} is closed")
