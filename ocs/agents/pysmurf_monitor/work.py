"""What is on its way from the journal to the table, and how far the cursor may go."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ocs.agents.pysmurf_monitor.hashing import Item

__all__ = ["MOST_IN_WORK", "Postponed", "Work"]

MOST_IN_WORK = 10_000
"""So many files at most are being hashed, or wait for that or for the table; about 10 MB."""
MOST_POSTPONED = 5_000
"""So many files at most wait to be noted as pending."""
MOST_MESSAGES = 2_000
"""So many feed messages at most are on their way to the reactor."""

Postponed = tuple[Item, str, float]
"""A file to be put off: the item, why, and when it is to be taken up again (unix s)."""


class Work:
    """Keeps account of files and messages between being read from the journal and being done with. Any thread.

    The dispatcher admits, hashers finish, the clerk takes what is finished and settles it. The cursor stays below
    every journal index that is neither settled nor published.

    Args:
        begin: the journal index from which on the dispatcher reads.
        steady: a clock, in seconds.

    Attributes:
        closed: nobody is to wait any more.
        next_due: when something is to be taken up again, at the earliest (unix s).
    """

    def __init__(self, begin: int, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._news = threading.Condition(self._lock)
        self._read = begin
        self._open: dict[int, Item] = {}
        self._batches: deque[tuple[float, int]] = deque()
        self._messages: deque[tuple[int, int]] = deque()
        self._messages_waiting = 0
        self._extras: dict[int, Item] = {}
        self._held: dict[str, Item] = {}
        self._hashed: deque[Item] = deque()
        self._postponed: deque[Postponed] = deque()
        self._count = 0
        self._woken = False
        self.closed = False
        self.next_due = float("-inf")

    # The dispatcher's side

    def wait_for_room(self, timeout: float, wanted: int = 1) -> int:
        """Wait until more files can be taken in.

        Args:
            timeout: how long to wait (s).
            wanted: for how many files.

        Returns:
            How many can be taken in: 0 if the time was not enough.
        """
        with self._lock:
            self._room.wait_for(lambda: self.closed or self._free() >= wanted, timeout)
            return max(0, self._free())

    def _free(self) -> int:
        return MOST_IN_WORK - self._count

    def admit(self, items: Sequence[Item], read: int | None = None) -> None:
        """Take files in.

        Args:
            items: the files.
            read: they came from the journal, which has been read up to here; None for those from elsewhere.
        """
        with self._lock:
            self._count += len(items)
            if read is not None:
                self._open.update((item.index, item) for item in items)
                self._note_read(read)

    def admit_extras(self, items: Sequence[Item]) -> None:
        """Take files in that nobody else remembers."""
        with self._lock:
            self._count += len(items)
            self._extras.update((id(item), item) for item in items)

    def postpone(self, postponed: Sequence[Postponed], read: int | None = None) -> None:
        """Have files put off without having been looked at.

        Args:
            postponed: the files.
            read: as for `admit`; the dispatcher then waits while many are waiting to be put off.
        """
        with self._lock:
            self._postponed.extend(postponed)
            if read is not None:
                self._open.update((item.index, item) for item, _, _ in postponed)
                self._note_read(read)
            self._tell()
            if read is not None:
                self._room.wait_for(lambda: self.closed or len(self._postponed) <= MOST_POSTPONED)

    def _note_read(self, read: int) -> None:
        self._read = max(self._read, read)
        self._batches.append((self._steady(), self._read))

    def send(self, first: int, count: int) -> None:
        """Note that messages are on their way to the reactor; waits while many are.

        Args:
            first: the journal index of the first of them.
            count: how many they are.
        """
        with self._lock:
            self._room.wait_for(lambda: self.closed or self._messages_waiting < MOST_MESSAGES)
            self._messages.append((first, count))
            self._messages_waiting += count

    def sent(self) -> None:
        """Note that the oldest batch of messages has been published."""
        with self._lock:
            _, count = self._messages.popleft()
            self._messages_waiting -= count
            self._room.notify_all()

    def wait_for_messages(self, timeout: float) -> None:
        """Wait until all messages have been published, for so long (s) at most."""
        with self._lock:
            self._room.wait_for(lambda: not self._messages, timeout)

    def due_at(self, moment: float) -> None:
        """Note that something is to be taken up again at a time (unix s)."""
        with self._lock:
            self.next_due = min(self.next_due, moment)

    def is_held(self, path: str) -> bool:
        """Tell whether a file that has been put off is still being worked on."""
        return path in self._held

    # The hashers' side

    def finish(self, items: Iterable[Item]) -> None:
        """Take files that hashers have done with."""
        with self._lock:
            self._hashed.extend(items)
            self._tell()

    # The clerk's side

    def wait_for_news(self, timeout: float) -> None:
        """Wait until something is hashed or postponed, or somebody calls `wake`."""
        with self._lock:
            self._news.wait_for(lambda: self._woken, timeout)
            self._woken = False

    def _tell(self) -> None:
        self._woken = True
        self._news.notify_all()

    def wake(self) -> None:
        """Have the clerk look."""
        with self._lock:
            self._tell()

    def take_hashed(self, limit: int) -> list[Item]:
        """Return files that have been hashed, at most so many."""
        with self._lock:
            items = [self._hashed.popleft() for _ in range(min(limit, len(self._hashed)))]
            self._woken = self._woken or bool(self._hashed)
            return items

    def take_postponed(self) -> list[Postponed]:
        """Return files that are to be put off; the cursor may pass them from now on."""
        with self._lock:
            taken = list(self._postponed)
            self._postponed.clear()
            for item, _, _ in taken:
                self._open.pop(item.index, None)
            self._room.notify_all()
            return taken

    @property
    def has_hashed(self) -> bool:
        """Whether something is hashed that nobody has taken."""
        return bool(self._hashed)

    def take_aged(self, age: float, limit: int) -> list[Item]:
        """Return files from the journal that have been in work for longer, to be put off while work goes on.

        Args:
            age: how long (s).
            limit: how many at most; the cursor may pass them from now on.
        """
        with self._lock:
            bound = self._aged_bound(self._steady() - age)
            aged = list(
                itertools.takewhile(lambda item: item.index < bound, itertools.islice(self._open.values(), limit))
            )
            for item in aged:
                self._open.pop(item.index)
                self._held[item.announcement.path] = item
            return aged

    def _aged_bound(self, before: float) -> int:
        bound = -1
        while self._batches and self._batches[0][0] <= before:
            bound = self._batches.popleft()[1]
        if bound >= 0:
            self._batches.appendleft((before, bound))
        return bound

    def settle(self, items: Iterable[Item]) -> None:
        """Let the cursor pass files: what has become of them is about to be noted."""
        with self._lock:
            for item in items:
                if item.index >= 0:
                    self._open.pop(item.index, None)

    def release(self, items: Sequence[Item]) -> None:
        """Forget files whose fate has been noted."""
        with self._lock:
            self._count -= len(items)
            for item in items:
                self._extras.pop(id(item), None)
                if self._held:
                    self._held.pop(item.announcement.path, None)
            self._room.notify_all()

    @property
    def cursor(self) -> int:
        """The journal index below which everything is done with."""
        with self._lock:
            cursor = next(iter(self._open), self._read)
            return min(cursor, self._messages[0][0]) if self._messages else cursor

    # Looking on

    @property
    def count(self) -> int:
        """How many files are in work."""
        return self._count

    @property
    def extras(self) -> list[Item]:
        """Files in work that nobody else remembers."""
        with self._lock:
            return list(self._extras.values())

    @property
    def idle(self) -> bool:
        """Whether nothing is in work."""
        with self._lock:
            return not (self._count or self._postponed or self._messages)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._lock:
            self.closed = True
            self._room.notify_all()
            self._tell()
