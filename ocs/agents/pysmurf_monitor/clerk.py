"""From the hashers on: what is hashed is entered, and what has become of each file is noted, in turns with pauses."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.lookup import Lookup
from ocs.agents.pysmurf_monitor.registrar import MOST, Registrar
from ocs.agents.pysmurf_monitor.report import OK, Counters, Database, Refusals
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.work import Postponed, Work
from ocs.errors import DatabaseTroubleError, StateTroubleError

__all__ = ["Attempts", "Clerk", "pause_after"]

IDLE: Final = 1.0
"""How long (s) to wait for news at most."""
PAUSE: Final = 0.2
"""Between two turns (s): what comes meanwhile shares a transaction."""
SHORTEST_PAUSE: Final = 0.05
"""The same while much waits: others have their turn."""
LONGEST_PAUSE: Final = 5.0
FIRST_ATTEMPT: Final = 0.5
LAST_ATTEMPT: Final = 30.0
"""Pauses between attempts while a database is in trouble (s): the first, then twice as long each, up to this."""
AGE: Final = 5.0
"""A file that has been in work for longer (s) is put off on the disk, so that the cursor can pass it."""
AGED_AGAIN: Final = 60.0
"""When to look again (s) at a file that has been put off while it is worked on."""
NOTE_EVERY: Final = 1.0
"""How often (s) the cursor is noted, if nothing else is."""
DROP_EVERY: Final = 5.0
"""How often (s) the journal's part below the cursor is let go."""
LOOK_EVERY: Final = 30.0
"""How often (s) to look whether the database is there, if nothing is entered."""
GROWING: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
AFTERWARDS: Final = 600.0
GIVE_UP: Final = 30 * 86_400.0
"""A file that could not be entered for so long (s) is given up."""

STOPPED: Final = "the monitor was stopped"


def pause_after(attempts: int) -> float:
    """Return how long (s) a file is left alone after so many attempts, at least one."""
    return GROWING[attempts - 1] if attempts <= len(GROWING) else AFTERWARDS


class Attempts:
    """When to try again what is in trouble: soon at first, then less and less often.

    Args:
        steady: a clock (s).
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._pause = 0.0
        self._next = float("-inf")

    @property
    def due(self) -> bool:
        """Whether to try."""
        return self._steady() >= self._next

    def failed(self) -> None:
        """Note that the attempt failed."""
        self._pause = min(LAST_ATTEMPT, self._pause * 2 or FIRST_ATTEMPT)
        self._next = self._steady() + self._pause

    def succeeded(self) -> None:
        """Note that it did not."""
        self._pause, self._next = 0.0, float("-inf")


class Clerk:
    """Enters what is hashed, and notes what has become of everything. Its `run` has a thread of its own.

    Args:
        work: keeps account.
        state: is synced before the journal is let go.
        registrar: enters and notes.
        lookup: tells which files are in the table, as far as that can be told.
        db_path: the transfer database, for reports.
        on_cursor: called with the index below which the journal may go.
        counters: what has been done.
        refusals: what is refused.
        clock: the time of day (unix s).
        steady: another clock (s).

    Attributes:
        database: how the transfer database does.
        state_trouble: what is wrong with the state file, or "".
        processed: how many files have been dealt with, whatever became of them.
    """

    def __init__(
        self,
        work: Work,
        state: State,
        registrar: Registrar,
        lookup: Lookup,
        *,
        db_path: str,
        on_cursor: Callable[[int], None],
        counters: Counters,
        refusals: Refusals,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = Database(db_path, since=clock())
        self.state_trouble = ""
        self.processed = 0
        self._work = work
        self._state = state
        self._registrar = registrar
        self._lookup = lookup
        self._on_cursor = on_cursor
        self._counters = counters
        self._refusals = refusals
        self._clock = clock
        self._steady = steady
        self._to_enter: list[Item] = []
        self._done: list[Item] = []
        self._put_off: list[tuple[Item, float]] = []
        self._aside: list[tuple[Item, float]] = []
        self._entering = Attempts(steady)
        self._noting = Attempts(steady)
        self._cursor = state.cursor
        self._dropped = self._cursor
        self._noted_at = self._dropped_at = steady()
        self._entered_at = float("-inf")
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._abandoned = False

    # The thread

    def stop(self, deadline: float) -> None:
        """Have `run` enter what is hashed, note everything and return. Any thread.

        Args:
            deadline: the latest time, by the steady clock, at which it begins another transaction.
        """
        self._deadline = deadline
        self._ending.set()
        self._work.wake()

    def abandon(self) -> None:
        """Have `run` note nothing more: somebody else goes on from what has been noted. Any thread."""
        self._abandoned = True

    def run(self) -> None:
        """Take turns until told to stop; then enter and note what there is."""
        while not self._ending.is_set():
            took = self.turn()
            shortest = SHORTEST_PAUSE if self._work.has_hashed else PAUSE
            self._ending.wait(min(max(shortest, took), LONGEST_PAUSE))
            if not self._ending.is_set():
                self._work.wait_for_news(IDLE)
        self._finish()

    def _finish(self) -> None:
        while self._work.has_hashed and not self.database_trouble and not self.state_trouble:
            if self._steady() >= self._deadline:
                break
            self.turn()
        now = self._clock()
        self._aside += [(_copied(item, STOPPED), now) for item in self._work.extras]
        self._note(at_once=True)

    def turn(self) -> float:
        """Enter and note what there is, once; return how long (s) the transaction took."""
        if self.state_trouble:
            self._note()
            return 0.0
        self._collect(self._work.take_hashed(MOST - len(self._to_enter)))
        took = self._enter()
        self._work.settle(self._finished)
        self._set_aside()
        self._note()
        self._let_go()
        return took

    # What hashers have found

    def _collect(self, items: Iterable[Item]) -> None:
        troubled: list[Item] = []
        for item in items:
            if item.refused:
                self._refuse(item, item.refused)
            elif item.trouble:
                troubled.append(item)
            else:
                self._counters.hashed += 1
                self._counters.hashed_bytes += item.size
                self._to_enter.append(item)
        if troubled:
            self._judge(troubled)

    def _judge(self, troubled: list[Item]) -> None:
        """Put off what cannot be read, but what is in the table: it may have been moved on and deleted since."""
        there = self._lookup([item.announcement.path for item in troubled])
        for item in troubled:
            if item.announcement.path in there:
                self._counters.known += 1
                self._done.append(item)
            else:
                self._try_later(item)

    def _refuse(self, item: Item, reason: str) -> None:
        self._refusals.add(reason, sample=item.announcement.path)
        self._done.append(item)

    def _try_later(self, item: Item) -> None:
        now = self._clock()
        if now - item.since > GIVE_UP:
            self._refuse(item, "given_up")
        else:
            item.attempt += 1
            self._put_off.append((item, now + pause_after(item.attempt)))

    # Entering

    @property
    def ready(self) -> bool:
        """Whether the database was usable when it was last looked at, and so was the state file."""
        return self._entered_at > float("-inf") and self.database.state == OK and not self.state_trouble

    @property
    def database_trouble(self) -> str:
        """Why nothing can be entered, or ""."""
        return "" if self.database.state == OK else f"the database: {self.database.state}"

    def _enter(self) -> float:
        """Enter what is hashed, or look at the database now and then; return how long that took (s)."""
        look = self.database_trouble or self._steady() - self._entered_at > LOOK_EVERY
        if not self._entering.due or not (self._to_enter or look):
            return 0.0
        began = self._steady()
        try:
            self._enter_batch() if self._to_enter else self._registrar.check()
        except StateTroubleError as error:
            self._state_fails(error)
        except DatabaseTroubleError as error:
            self._database_fails(error)
        else:
            self._database_works()
            return self._steady() - began
        return 0.0

    def _enter_batch(self) -> None:
        batch = self._to_enter
        result = self._registrar.enter(batch)
        self._to_enter = []
        self._counters.entered += result.entered
        self._counters.known += result.known
        if result.entered:
            self._counters.last_entered = {"path": batch[-1].announcement.path, "time": self._clock()}
        for item in result.refused:
            self._refusals.add("not_enterable", sample=item.announcement.path)
        self._done += batch

    def _database_works(self) -> None:
        self._entering.succeeded()
        self._entered_at = self._steady()
        if self.database_trouble:
            self.database = Database(self.database.path, since=self._clock())
            self._work.due_at(self._clock())

    def _database_fails(self, error: DatabaseTroubleError) -> None:
        self._entering.failed()
        same = error.state == self.database.state
        since = self.database.since if same else self._clock()
        self.database = Database(self.database.path, error.state, error.text, since)

    # Noting

    def _set_aside(self) -> None:
        """Put off what has been in work for long, and what nobody has looked at."""
        postponed: list[Postponed] = self._work.take_postponed()
        self._aside += [(_copied(item, why), moment) for item, why, moment in postponed]
        later = self._clock() + AGED_AGAIN
        why = self.database_trouble or "is being worked on"
        self._aside += [(_copied(item, why), later) for item in self._work.take_aged(AGE, MOST)]

    @property
    def _finished(self) -> list[Item]:
        return [*self._done, *(item for item, _ in self._put_off)]

    def _note(self, *, at_once: bool = False) -> None:
        """Note what has become of files, and how far everything is; later if that fails."""
        finished = self._finished
        cursor = self._work.cursor
        put_off = [*self._put_off, *self._aside]
        if self._abandoned or not (at_once or self._is_due(cursor, bool(finished or put_off))):
            return
        try:
            self._registrar.note(cursor=cursor, done=self._done, put_off=put_off)
        except DatabaseTroubleError as error:
            self._state_fails(error)
            return
        self._noting.succeeded()
        self.state_trouble = ""
        self._cursor, self._noted_at = cursor, self._steady()
        self._done, self._put_off, self._aside = [], [], []
        self.processed += len(finished)
        self._work.release(finished)
        if put_off:
            self._work.due_at(min(moment for _, moment in put_off))

    def _is_due(self, cursor: int, anything: bool) -> bool:
        moved = cursor != self._cursor and self._steady() - self._noted_at >= NOTE_EVERY
        return self._noting.due and (anything or moved or bool(self.state_trouble))

    def _state_fails(self, error: DatabaseTroubleError) -> None:
        self._noting.failed()
        self.state_trouble = str(error)

    def _let_go(self) -> None:
        """Let the journal go below the cursor, now and then."""
        if self._cursor == self._dropped or self._steady() - self._dropped_at < DROP_EVERY:
            return
        self._dropped_at = self._steady()
        try:
            self._state.sync()
        except DatabaseTroubleError as error:
            self._state_fails(error)
            return
        self._dropped = self._cursor
        self._on_cursor(self._cursor)


def _copied(item: Item, trouble: str) -> Item:
    """Return what is to be noted of an item that somebody may be working on."""
    copy = Item(item.announcement, item.index, attempt=item.attempt, since=item.since)
    copy.trouble = trouble
    return copy
