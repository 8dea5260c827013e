"""From the journal on: each datagram becomes a file to be hashed, a message for a feed, or a refusal."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol

from ocs.agents.pysmurf_monitor.arrivals import unpack_arrival
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement, FeedMessage, RefusedError, parse
from ocs.agents.pysmurf_monitor.report import Counters, Refusals
from ocs.agents.pysmurf_monitor.state import Pending, State
from ocs.agents.pysmurf_monitor.work import Work
from ocs.errors import DatabaseTroubleError
from ocs.journal.follower import Follower
from ocs.journal.records import Entry

__all__ = ["BATCH", "Arrived", "Dispatcher", "Sink", "retaken", "sort_out"]

BATCH = 500
"""So many datagrams are read, or files taken up again, at a time: about 20 ms of work."""
PATIENCE = 2.0
"""How long (s) reading waits for the hashers; then what comes is put off, so that feeds go on."""
LOOK = 5.0
"""How long (s) without a look at what is due, at most."""
IDLE = 1.0
"""How long (s) to wait for news at most."""
HELD_AGAIN = 60.0
"""When a file that is due is being worked on still, how much later (s) it is due again."""
BUSY = "waits for its turn"
STILL = "is still being worked on"

Arrived = tuple[FeedMessage, float]
"""A message for a feed, and when it came (unix s)."""


class Sorted(NamedTuple):
    """What a batch of datagrams is made of."""

    items: list[Item]
    messages: list[Arrived]
    first_message: int
    ignored: int


def sort_out(entries: Iterable[Entry], refusals: Refusals) -> Sorted:
    """Decide what each datagram is, in order; what is refused is counted.

    Args:
        entries: of the journal.
        refusals: counts.
    """
    items: list[Item] = []
    messages: list[Arrived] = []
    first, ignored = -1, 0
    for entry in entries:
        sample, sender = bytes(entry.body), ""
        try:
            arrival = unpack_arrival(sample)
            sample, sender = arrival.data, f"{arrival.host}:{arrival.port}"
            found = parse(arrival.data)
        except RefusedError as error:
            refusals.add(error.reason, error.detail, sample, sender)
        except Exception as error:  # whatever anybody may send, the next datagram is looked at
            refusals.add("unreadable", f"{type(error).__name__}: {error}", sample, sender)
        else:
            if isinstance(found, Announcement):
                items.append(Item(found, entry.index, since=arrival.time))
            elif found is None:
                ignored += 1
            else:
                first = entry.index if first < 0 else first
                messages.append((found, arrival.time))
    return Sorted(items, messages, first, ignored)


def retaken(pending: Pending) -> Item:
    """Return what was put off as what is to be hashed."""
    return Item(pending.announcement, pending.index, attempt=pending.attempts, since=pending.since)


class Sink(Protocol):
    """Takes files to be hashed; never waits."""

    def put(self, items: Iterable[Item]) -> None:
        """Take files."""


class Dispatcher:
    """Follows the journal, and takes up again what is due. Its `run` has a thread of its own.

    Args:
        follower: reads the journal.
        state: has what was put off.
        work: keeps account.
        hashers: take files.
        publish: takes messages, in order, and calls the function it is given when they are published; any thread.
        trouble: says why nothing can be entered now, or "".
        halted: tells that nothing can be remembered now, so that nothing is to be read.
        counters: what has been done.
        refusals: what is refused.
        clock: the time of day (unix s).
        steady: another clock (s).
    """

    def __init__(
        self,
        follower: Follower,
        state: State,
        work: Work,
        hashers: Sink,
        *,
        publish: Callable[[Sequence[Arrived], Callable[[], None]], None],
        trouble: Callable[[], str],
        halted: Callable[[], bool],
        counters: Counters,
        refusals: Refusals,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state_trouble = ""
        self._follower = follower
        self._state = state
        self._work = work
        self._hashers = hashers
        self._publish = publish
        self._trouble = trouble
        self._halted = halted
        self._counters = counters
        self._refusals = refusals
        self._clock = clock
        self._steady = steady
        self._news = threading.Event()
        self._ending = False
        self._full = False
        self._looked = float("-inf")

    def news(self) -> None:
        """Say that there is more in the journal. Any thread."""
        self._news.set()

    def stop(self) -> None:
        """Have `run` return soon. Any thread."""
        self._ending = True
        self._news.set()

    def run(self) -> None:
        """Dispatch until told to stop."""
        with closing(self._follower):
            while not self._ending:
                self._news.clear()
                if not self.turn() and not self._ending:
                    self._news.wait(self._until_due())

    def _until_due(self) -> float:
        return min(IDLE, max(0.01, self._work.next_due - self._clock()))

    def turn(self) -> bool:
        """Take one batch from the journal, and one of what is due; return whether there was any."""
        if self._halted():
            return False
        room = self._room()
        took = self._take_entries(room)
        retook = self._take_due(min(room - took, BATCH)) if room > BATCH else 0
        return bool(took or retook)

    def _room(self) -> int:
        """Return for how many files there is room; while that is little, wait, but not twice."""
        if self._trouble():
            return 0
        room = self._work.wait_for_room(0.0 if self._full else PATIENCE, BATCH)
        self._full = room < BATCH
        return room

    def _take_entries(self, room: int) -> int:
        missed = self._follower.missed
        entries = self._follower.read(BATCH)
        self._counters.missed += self._follower.missed - missed
        if not entries:
            return 0
        items, messages, first, ignored = sort_out(entries, self._refusals)
        self._counters.announced += len(items)
        self._counters.ignored += ignored
        if messages:
            self._work.send(first, len(messages))
            self._publish(messages, self._work.sent)
        self._hand_over(items, room, self._follower.next_index)
        return len(entries)

    def _hand_over(self, items: list[Item], room: int, read: int) -> None:
        now, later = items[:room], items[room:]
        self._work.admit(now, later[0].index if later else read)
        self._hashers.put(now)
        if later:
            self._work.postpone(self._put_off(later), read)

    def _put_off(self, items: Iterable[Item]) -> list[tuple[Item, str, float]]:
        why, now = self._trouble() or BUSY, self._clock()
        return [(item, why, now) for item in items]

    def offer(self, announcements: Iterable[Announcement]) -> None:
        """Take in files that are not from the journal. Any thread."""
        now = self._clock()
        items = [Item(announcement, since=now) for announcement in announcements]
        self._counters.announced += len(items)
        if self._trouble() or self._work.wait_for_room(0.0, len(items)) < len(items):
            self._work.postpone(self._put_off(items))
        else:
            self._work.admit_extras(items)
            self._hashers.put(items)

    def _take_due(self, limit: int) -> int:
        if self._clock() < self._work.next_due and self._steady() < self._looked + LOOK:
            return 0
        try:
            due = self._due(limit)
        except DatabaseTroubleError as error:
            self.state_trouble = str(error)
            return 0
        self.state_trouble = ""
        held = [item for item in due if self._work.is_held(item.announcement.path)]
        free = [item for item in due if not self._work.is_held(item.announcement.path)] if held else due
        self._work.admit(free)
        self._hashers.put(free)
        if held:
            self._work.postpone([(item, STILL, self._clock() + HELD_AGAIN) for item in held])
        return len(free)

    def _due(self, limit: int) -> list[Item]:
        self._looked = self._steady()
        self._work.next_due = float("inf")
        due = self._state.due(self._clock(), limit)
        if len(due) == limit:
            self._work.due_at(self._clock())
        elif (following := self._state.next_due()) is not None:
            self._work.due_at(following)
        return [retaken(pending) for pending in due]
