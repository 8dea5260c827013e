"""The recorder's journal: what has been taken in, up to the moment when it is in a file that is on the disk.

Every message is entered before it is sorted, and the place of every frame before it is written. After a crash the two
together tell which messages are in no file. The design is in docs/decisions/0005-lossless-recording.md.
"""

import contextlib
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgpack

from ocs.agents.aggregator.inbox import FORGET, Event, Item, Kind
from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.recovery import Announced, Cut, Layouts
from ocs.agents.aggregator.streams import Key, stream_of
from ocs.agents.aggregator.writer import PlacedFrame
from ocs.journal import Entry, Journal
from ocs.wamp.frames import read_event

__all__ = ["MAX_BYTES", "Ledger", "journal_folder", "read_message"]

MAX_BYTES: Final = 128 << 20
"""Size of the journal (bytes) beyond which frames are written before their time."""

_SEGMENT: Final = 8 << 20
"""Size of a segment (bytes), which is deleted as a whole."""

_BY_HAND: Final = 1 << 62
"""Segment size at which the journal never begins one by itself: here it is done right after a `sync`, so that the state
at a segment's head says no more than what is in the segments before."""

_SYNC_EVERY: Final = 0.5
"""Seconds within which what was entered is brought to the disk."""


def journal_folder(data_dir: str | os.PathLike[str], address: str) -> Path:
    """Return where the recorder of that address has its journal for a data folder."""
    return Path(data_dir) / ".journal" / address


def read_message(kind: int, body: bytes) -> Event:
    """Return the feed's event that is in an entry.

    Args:
        kind: the entry's kind, `Kind.MESSAGE` or above.
        body: its body.

    Raises:
        ValueError: there is none.
    """
    args = read_event(kind - Kind.MESSAGE, body)
    try:
        [[data, feed]] = args
    except (TypeError, ValueError):
        raise ValueError("a message that is no pair of data and envelope") from None
    if not isinstance(feed, dict):
        raise ValueError("a message without an envelope")  # noqa: TRY004 - what is wrong is in the bytes
    return data, feed


class Recovered(NamedTuple):
    """A message of the journal."""

    number: int
    """Its number there."""
    event: Event


class Ledger:
    """The journal of one recorder for one data folder. For one thread only.

    Opening it looks at the files that were being written, and cuts those that end in the middle of a frame. Then
    `recover` is to be run through once, before anything is added.

    Args:
        folder: where the journal is.
        data_dir: the data folder; the files' paths are kept relative to it.
        clock: gives the time (unix, s).
        timer: gives a time that nobody sets (s).

    Attributes:
        recorder_id: by which agents know the recorder.
        since: when it began to record (unix, s).
        framed: provider → number of the last message that is in a file, as found at opening.
        repairs: what was found torn or damaged at opening.
        away_since: when an earlier run of the recorder last wrote (unix, s), None if there was none.

    Raises:
        OSError: the disk does not take it.
        JournalError: the folder cannot be used; JournalInUseError: since another process has it.
    """

    def __init__(
        self,
        folder: Path,
        data_dir: str | os.PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recorder_id = uuid.uuid4().hex
        self.since = clock()
        self._base = Path(data_dir)
        self._timer = timer
        self._positions: dict[Key, int] = {}
        self._safe: dict[Key, int] = {}
        self._news: dict[Key, int] = {}
        self._next = 1
        self._grown = 0
        self._synced_at = timer()
        self._dirty = self._closed = False
        self._ends: deque[int] = deque()
        """For each segment but the last, the number of the first message behind it."""
        self.away_since = _last_written(folder)
        self._journal = Journal(folder, segment_bytes=_BY_HAND, head=self._head)
        try:
            self.framed, cuts = self._read_marks().settle(self._base)
        except BaseException:
            self._journal.close()
            raise
        self._next = (self._journal.last_index or 0) + 1
        self.repairs = [*_cut_notes(cuts, clock()), *self._damage_notes(folder, clock())]
        if self._journal.last_index is None:
            self._append(Kind.STATE, self._state())

    def _damage_notes(self, folder: Path, now: float) -> Iterator[Note]:
        if self._journal.repaired:
            yield Note("repaired", str(folder), None, now, 0, f"{self._journal.repaired} bytes of a torn end cut off")
        for problem in self._journal.damaged:
            yield Note("lost", str(folder), None, now, 0, f"the journal is damaged: {problem}")

    # Reading it again

    def _read_marks(self) -> Layouts:
        """Read everything but the messages."""
        layouts = Layouts()
        for entry in self._journal.read():
            if entry.kind == Kind.STATE:
                self._restore(entry)
            elif entry.kind == Kind.FRAME:
                layouts.add(Announced.unpacked(entry.body))
            elif entry.kind == Kind.POSITION:
                agent, session_id, number = msgpack.unpackb(entry.body)
                self._advance((agent, session_id), number)
        return layouts

    def _restore(self, entry: Entry) -> None:
        state = msgpack.unpackb(entry.body)
        self.recorder_id, self.since = state["recorder"], state["since"]
        for agent, session_id, number in state["positions"]:
            self._advance((agent, session_id), number)

    def recover(self) -> Iterator[Recovered]:
        """Read the messages, those that are in files too; afterwards `positions` is complete.

        Yields:
            The messages that can be read, oldest first.
        """
        for entry in self._journal.read():
            if entry.kind >= Kind.MESSAGE:
                with contextlib.suppress(ValueError):  # it was of no use when it came, and is of none now
                    yield Recovered(entry.index, self._read_again(entry))
        self._safe = dict(self._positions)
        with contextlib.suppress(OSError):  # then the next `sync` will see to it
            self.roll()

    def _read_again(self, entry: Entry) -> Event:
        event = read_message(entry.kind, entry.body)
        if stream := stream_of(event[1]):
            self._advance(stream[0], stream[1] + 1)
        return event

    @property
    def positions(self) -> dict[Key, int]:
        """For each stream the next number that is wanted."""
        return dict(self._positions)

    def _advance(self, key: Key, number: int) -> None:
        if number == FORGET:
            self._positions.pop(key, None)
        elif number > self._positions.get(key, 0):
            self._positions[key] = number

    def _state(self) -> bytes:
        state = {
            "recorder": self.recorder_id,
            "since": self.since,
            "positions": [[*key, number] for key, number in self._safe.items()],
        }
        packed: bytes = msgpack.packb(state)
        return packed

    def _head(self) -> Iterable[tuple[int, bytes]]:
        """Return what a segment begins with: the state as of the last `sync`; what is not on the disk yet follows."""
        return [(Kind.STATE, self._state())]

    # Keeping it

    def add(self, item: Item) -> int:
        """Enter what has been taken in.

        Returns:
            Its number in the journal.
        """
        number = self._append(item.kind, item.body)
        if item.stream is not None and item.next == FORGET:
            self._forget(item.stream)
        elif item.stream is not None:
            self._positions[item.stream] = self._news[item.stream] = item.next
        return number

    def _forget(self, key: Key) -> None:
        for numbers in (self._positions, self._safe, self._news):
            numbers.pop(key, None)

    def _append(self, kind: int, body: bytes) -> int:
        number = self._next
        self._journal.append(number, kind, body)
        self._next = number + 1
        self._grown += len(body)
        self._dirty = True
        return number

    def announce(self, frames: Sequence[PlacedFrame]) -> None:
        """Enter where frames are going to be, and bring that and all messages to the disk.

        Raises:
            OSError: the disk does not take it: the frames must not be written.
        """
        for path, offset, frame in frames:
            place = os.path.relpath(path, self._base)
            self._append(Kind.FRAME, Announced.of(place, offset, frame.content, frame.source, frame.last).packed())
        self.sync()

    def sync(self) -> None:
        """Bring everything to the disk.

        Raises:
            OSError: the disk does not take it; what was added stays in memory, for the next time.
        """
        self._journal.sync()
        self._synced_at, self._dirty = self._timer(), False
        self._safe.update(self._news)
        if self._grown > _SEGMENT:
            self.roll()

    def roll(self) -> None:
        """Begin a new segment. What was added before must have been brought to the disk.

        Raises:
            OSError: the disk does not take it.
        """
        self._journal.roll()
        self._ends.append(self._next)
        self._grown = 0

    def sync_if_due(self, *, again: bool = False) -> None:
        """Hand everything to the system, and to the disk if there is something that has waited long enough.

        Args:
            again: it failed before: find out whether the disk takes it now.

        Raises:
            OSError: the disk does not take it.
        """
        if again or (self._dirty and self._timer() - self._synced_at >= _SYNC_EVERY):
            self.sync()
        else:
            self._journal.write()

    def news(self) -> dict[Key, int]:
        """Return the streams of which more has come to the disk since the last call, with the next number wanted."""
        if self._dirty:
            return {}
        news, self._news = self._news, {}
        return news

    # Its size

    @property
    def size(self) -> int:
        """How much of the disk it takes (bytes)."""
        return self._journal.size

    def can_release(self, number: int) -> bool:
        """Tell whether a segment ends before a message."""
        return bool(self._ends) and self._ends[0] <= number

    @property
    def middle(self) -> int:
        """A message's number halfway between the oldest and the newest."""
        return ((self._journal.first_index or 0) + self._next) // 2

    @property
    def next_index(self) -> int:
        """The number that the next message gets."""
        return self._next

    def release(self, number: int) -> None:
        """Delete what is older than a message, so far as segments end there: it is in files that are on the disk.

        Raises:
            OSError: the disk does not take it.
        """
        self._journal.drop_before(number)
        while self.can_release(number):
            self._ends.popleft()

    def close(self, *, empty: bool = False, remove: bool = False) -> None:
        """Close it. The second call does nothing.

        Args:
            empty: every message is in a file that is on the disk: only the state of the streams is kept.
            remove: keep nothing: whoever opens it again is another recorder.

        Raises:
            OSError: the disk does not take it.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.sync()
            if empty:
                self.roll()
                self._journal.drop_before(self._next)
        finally:
            if remove:
                self._journal.remove()
            else:
                self._journal.close()


def _cut_notes(cuts: Iterable[Cut], now: float) -> Iterator[Note]:
    for path, size in cuts:
        yield Note("repaired", path, None, now, 0, f"{size} bytes of a frame that was not written whole cut off")


def _last_written(folder: Path) -> float | None:
    """Return when a journal was last written to (unix, s), None if there is none."""
    with contextlib.suppress(OSError):
        return max((path.stat().st_mtime for path in folder.glob("*.journal")), default=None)
    return None
