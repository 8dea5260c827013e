"""What an agent has published in this run and recorders do not have yet, as far as it is in memory.

Decisions only: what may go, what has to go to the disk, what has to be given up. No files, no threads, no WAMP; the
clocks are arguments. A message is held until all recorders have it. The memory is bounded: above its budget go first
those that are on the disk as well, then the disk is asked to take more, then the oldest are given up, and entered in
`Keep.lost`. Where there is no recorder, the last quarter of an hour is held, for one that may come.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from ocs.feeds.outbox import Parcel
from ocs.keep.lost import LostRanges
from ocs.keep.recorders import Recorders

__all__ = ["MEMORY_BYTES", "UNMET_S", "Keep", "Kept"]

MEMORY_BYTES = 16 << 20
UNMET_S = 900.0
"""How long messages are held where no recorder was ever met, in seconds."""

_IN_REPLY = 32
"""What stands around a payload in a reply, in bytes: number, time, lengths."""
_OVERHEAD = 256
"""What a message takes in memory beside its payload, in bytes."""
_HASTE = 4
"""How many times the budget the memory may grow to while the disk takes what is above it."""


class Kept(NamedTuple):
    """A message, and when it was published, unix s."""

    when: float
    parcel: Parcel


class Keep:
    """Holds the messages of this run. Any thread may add; the rest is for one at a time, each under a lock.

    Args:
        run: the run's name.
        clock: returns the time by a monotonic clock, in seconds.
        wall: returns the time of day, unix s.
        budget: how many bytes may be in memory.

    Attributes:
        recorders: who is to get them.
        lost: what was given up.
        linked: whether the router is there, so that recorders could call.
        disk_takes: whether what is above the budget is going to the disk.
        on_full: called once when the budget is passed and the disk is to take more, in whatever thread adds.
    """

    def __init__(
        self, run: str, *, clock: Callable[[], float], wall: Callable[[], float], budget: int = MEMORY_BYTES
    ) -> None:
        self.run = run
        self.recorders = Recorders()
        self.lost = LostRanges()
        self.linked = True
        self.disk_takes = False
        self.on_full: Callable[[], None] = lambda: None
        self._clock = clock
        self._wall = wall
        self._budget = budget
        self._lock = threading.Lock()
        self._held: deque[Kept] = deque()
        self._bytes = 0
        self._first = 1
        self._next = 1
        self._stored = 1
        self._on_disk: tuple[int, int] | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._full = False

    # What there is

    @property
    def size(self) -> int:
        """How many bytes are in memory."""
        return self._bytes

    @property
    def next(self) -> int:
        """The number that is given out next."""
        return self._next

    @property
    def on_disk(self) -> bool:
        """Whether some of it is on the disk."""
        return self._on_disk is not None

    @property
    def range(self) -> tuple[int, int]:
        """The first number that is kept, on the disk or in memory, and the one that is given out next."""
        with self._lock:
            return self._lowest(), self._next

    def holds(self, number: int) -> bool:
        """Tell whether a message is still kept."""
        return number >= self._lowest()

    def _lowest(self) -> int:
        return min(self._first, self._on_disk[0]) if self._on_disk else self._first

    def lost_state(self) -> tuple[list[list[Any]], int]:
        """Return what was given up, as `LostRange.encoded` does, and how often that has changed."""
        with self._lock:
            return self.lost.encoded(), self.lost.changes

    @property
    def saved(self) -> int:
        """The number below which nothing is in memory alone."""
        return max(self._stored, self._first)

    @property
    def unsaved(self) -> bool:
        """Whether there is anything that a recorder lacks, and that is in memory alone."""
        return bool(self.recorders) and self._next > self.saved

    # Messages come

    def add(self, parcel: Parcel) -> None:
        """Hold a message; its number is the next one."""
        kept = Kept(self._wall(), parcel)
        with self._lock:
            self._held.append(kept)
            self._next = parcel.number + 1
            self._bytes += len(parcel.payload) + _OVERHEAD
            if self._bytes > self._budget:
                self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._budget and self._first < self._stored:
            self._pop()
        saving = self.disk_takes and bool(self.recorders)
        limit = self._budget * _HASTE if saving else self._budget
        while self._bytes > limit and len(self._held) > 1:
            self._give_up()
        if saving and self._bytes > self._budget and not self._full:
            self._full = True
            self.on_full()

    def _pop(self) -> Kept:
        kept = self._held.popleft()
        self._bytes -= len(kept.parcel.payload) + _OVERHEAD
        self._first = kept.parcel.number + 1
        return kept

    def _give_up(self) -> None:
        kept = self._pop()
        if self.recorders:
            self._enter_lost(kept)

    def _enter_lost(self, kept: Kept) -> None:
        parcel = kept.parcel
        self.lost.add(parcel.number, kept.when, parcel.feed, parcel.samples)

    def lose(self, messages: Iterable[Kept], end: int) -> None:
        """Give up messages that have been dropped from the disk.

        Args:
            messages: those that a recorder lacks.
            end: the number below which there is nothing any more.
        """
        with self._lock:
            for kept in messages:
                self._enter_lost(kept)
            while self._held and self._first < end:
                self._pop()

    def miss(self, first: int, end: int, since: float, until: float) -> bool:
        """Enter messages of which nothing but their numbers is known; see `LostRanges.miss`."""
        with self._lock:
            return self.lost.miss(first, end, since, until)

    # Messages go

    def let_go(self) -> None:
        """Let go of what all recorders have. Call it when that, or who they are, may have changed."""
        floor = self.recorders.floor(self.run)
        if floor is None:
            return
        with self._lock:
            while self._held and self._first < floor:
                self._pop()
            self.lost.pass_over(floor)

    def acknowledge(self, name: str, every: float, have: Mapping[str, int]) -> None:
        """Note what a recorder has.

        Args:
            name: the recorder's id.
            every: how often it means to call, in seconds.
            have: of each run the number below which it has everything; beyond what was given out it counts for nothing.
        """
        recorder = self.recorders.meet(name, every, self._clock())
        recorder.have.update(have)
        if self.run in have:
            recorder.have[self.run] = min(have[self.run], self._next)
            self.let_go()

    def expire(self) -> None:
        """Let go of what is old where there is no recorder."""
        if self.recorders:
            return
        old = self._below(self._clock() - UNMET_S)
        with self._lock:
            while self._held and self._first < old:
                self._pop()

    # To the disk

    def mark(self) -> None:
        """Note the time: call it every second or so, since ages are counted between such marks."""
        now = self._clock()
        self._marks.append((now, self._next))
        while len(self._marks) > 1 and self._marks[1][0] < now - UNMET_S:
            self._marks.popleft()

    def _below(self, time: float) -> int:
        """Return a number below which all was published before a time."""
        number = 1
        for marked, following in self._marks:
            if marked > time:
                break
            number = following
        return number

    def due_below(self) -> int:
        """Return the number below which all that is in memory alone has to go to the disk now."""
        now = self._clock()
        if not self.recorders:
            return 0
        if self._full or not self.linked or self.recorders.away(now):
            return self._next
        return self._below(now - self.recorders.patience)

    def batch(self, below: int, limit: int) -> list[Kept]:
        """Return what is to be written next: messages in a row, in memory alone.

        Args:
            below: the number that ends it.
            limit: how many bytes of payload it may have; at least one message comes if there is one.
        """
        with self._lock:
            start = self.saved
            chosen: list[Kept] = []
            for kept in islice(self._held, start - self._first, max(0, below - self._first)):
                chosen.append(kept)
                limit -= len(kept.parcel.payload)
                if limit <= 0:
                    break
            return chosen

    def stored(self, on_disk: tuple[int, int] | None) -> None:
        """Note what of this run is on the disk: the first number, and the one after the last; None for nothing."""
        with self._lock:
            self._on_disk = on_disk
            if on_disk:
                self._stored = max(self._stored, on_disk[1])
            self._full = False
            if self._bytes > self._budget:
                self._make_room()

    # From memory

    def fetch(self, start: int, since: float, limit: int) -> tuple[list[Kept], int] | None:
        """Return messages in a row, from a number on.

        Args:
            start: the number.
            since: leave out what was published before, unix s.
            limit: how many bytes they may have; at least one message comes if there is one.

        Returns:
            The messages, and the number after the last one looked at; None if the disk has older ones that are wanted.
        """
        with self._lock:
            if self._on_disk and start < min(self._first, self._on_disk[1]):
                return None
            if start >= self._next:
                return [], start
            start = max(start, self._first)
            chosen: list[Kept] = []
            for kept in islice(self._held, start - self._first, None):
                if kept.when >= since:
                    limit -= weight(kept)
                    if limit < 0 and chosen:
                        break
                    chosen.append(kept)
                start = kept.parcel.number + 1
            return chosen, start


def weight(kept: Kept) -> int:
    """Return what a message takes of a reply, in bytes, at most."""
    return len(kept.parcel.payload) + _IN_REPLY
