"""The way of an announcement, from the journal to the table, without the network: threads, and how they end."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ocs.agents.pysmurf_monitor.clerk import Clerk
from ocs.agents.pysmurf_monitor.dispatcher import Arrived, Dispatcher
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.lookup import Rows, rows_of
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.report import SHOWN, Counters, Refusals, Snapshot
from ocs.agents.pysmurf_monitor.state import Pending, State
from ocs.agents.pysmurf_monitor.work import Work
from ocs.errors import DatabaseTroubleError
from ocs.journal.follower import Follower

__all__ = ["HasherPool", "Pipeline", "last_line"]

STOP_DISPATCHER = 1.0
STOP_HASHERS = 0.5
STOP_MESSAGES = 0.5
STOP_CLERK = 1.5
STOP_INTERRUPTED = 0.5
"""How long (s) each gets to end; together less than the five seconds that a process has for it."""
SLOW = 5.0
"""A file whose hashing takes longer (s) is shown in session.data."""


class HasherPool(Protocol):
    """What the pipeline asks of hashers."""

    @property
    def busy(self) -> Sequence[tuple[Item, float]]:
        """What is being hashed, and since when (steady clock, s)."""

    def put(self, items: Iterable[Item]) -> None:
        """Take files; never waits."""

    def stop(self, timeout: float) -> None:
        """End, in so many seconds at most."""


class Pipeline:
    """Dispatcher, hashers and clerk, working together.

    Args:
        journal: the journal's folder.
        state: what is remembered; closed at the end.
        registrar: enters and notes; closed at the end.
        make_hashers: makes hashers that call the function it is given with what is finished.
        publish: takes feed messages, each with the time of its arrival, in order, and calls the function given when
            they are published; any thread.
        db_path: the transfer database, for reports.
        on_cursor: called, in any thread, with the index below which the journal may go.
        counters: what has been done.
        refusals: what is refused.
        clock: the time of day (unix s).
        steady: another clock (s).

    Attributes:
        crash: the traceback if one of the threads has ended in an unforeseen way.
        ending: it has been told to stop.
    """

    def __init__(
        self,
        journal: Path,
        state: State,
        registrar: Registrar,
        make_hashers: Callable[[Callable[[list[Item]], None]], HasherPool],
        publish: Callable[[Sequence[Arrived], Callable[[], None]], None],
        *,
        db_path: str,
        on_cursor: Callable[[int], None],
        counters: Counters,
        refusals: Refusals,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.crash = ""
        self.ending = False
        self._state = state
        self._registrar = registrar
        self._db_path = db_path
        self._steady = steady
        self._work = Work(state.cursor, steady)
        common: Any = {"counters": counters, "refusals": refusals, "clock": clock, "steady": steady}
        lookup = partial(rows_of, db_path, state)
        self._clerk = Clerk(self._work, state, registrar, lookup, db_path=db_path, on_cursor=on_cursor, **common)
        self._hashers = make_hashers(self._work.finish)
        self._dispatcher = Dispatcher(
            Follower(journal, state.cursor),
            state,
            self._work,
            self._hashers,
            publish=publish,
            trouble=lambda: self._clerk.database_trouble,
            halted=lambda: bool(self._clerk.state_trouble),
            **common,
        )
        self._threads = [self._thread("dispatcher", self._dispatcher.run), self._thread("clerk", self._keep_books)]

    def _thread(self, name: str, function: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._guarded, args=(function,), name=f"pysmurf-{name}", daemon=True)

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # a bug, or a library's: it must show, and be started anew, rather than end in silence
            self.crash = traceback.format_exc()

    def _keep_books(self) -> None:
        try:
            self._clerk.run()
        finally:
            self._registrar.close()
            self._state.close()

    # Running

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def news(self) -> None:
        """Say that there is more in the journal. Any thread; never waits."""
        self._dispatcher.news()

    def put(self, announcements: Sequence[Announcement]) -> None:
        """Take in files that are not from the journal; put off on the disk while there is no room. Any thread.

        Args:
            announcements: a thousand at most.
        """
        self._dispatcher.offer(announcements)

    def wait_for_room(self, timeout: float, wanted: int) -> bool:
        """Wait until so many files would be taken in at once; return whether they would."""
        if not self._clerk.ready:
            time.sleep(timeout)
            return False
        return self._work.wait_for_room(timeout, wanted) >= wanted

    def rows(self, paths: Sequence[str]) -> Rows:
        """Return those of some files that are in the table, with their remote paths. Any thread."""
        return rows_of(self._db_path, self._state, paths)

    @property
    def halted(self) -> bool:
        """Whether nothing can be remembered now, so that nothing is to be put in."""
        return bool(self._clerk.state_trouble)

    @property
    def idle(self) -> bool:
        """Whether nothing is in work."""
        return self._work.idle

    @property
    def processed(self) -> int:
        """How many files have been dealt with since the start, whatever became of them."""
        return self._clerk.processed

    def snapshot(self) -> Snapshot:
        """Return how it is going."""
        trouble = self._clerk.state_trouble or self._dispatcher.state_trouble
        count, pending = self._pending()
        since = self._steady() - SLOW
        return Snapshot(
            database=self._clerk.database,
            queued=self._work.count,
            pending_count=count,
            pending=pending,
            slow=[item.announcement.path for item, began in self._hashers.busy if began < since],
            state_trouble=last_line(self.crash) or trouble,
            notices=tuple(self._state.notices),
        )

    def _pending(self) -> tuple[int, Sequence[Pending]]:
        try:
            return self._state.pending_count, self._state.pending_list(SHOWN)
        except DatabaseTroubleError:  # which the clerk meets too, and tells of
            return 0, ()

    # Ending

    def stop(self) -> bool:
        """Enter what is hashed, note everything, and end; what is left is done at the next start.

        Returns:
            Whether all ended in time; what did not will end by itself.
        """
        self.ending = True
        self._dispatcher.stop()
        dispatcher, clerk = self._threads
        _join(dispatcher, STOP_DISPATCHER)
        self._hashers.stop(STOP_HASHERS)
        self._work.wait_for_messages(STOP_MESSAGES)
        self._clerk.stop(self._steady() + STOP_CLERK / 2)
        _join(clerk, STOP_CLERK)
        if clerk.is_alive():
            self._registrar.interrupt()
            _join(clerk, STOP_INTERRUPTED)
        self._clerk.abandon()
        self._work.close()
        _join(dispatcher, STOP_INTERRUPTED)
        return not any(thread.is_alive() for thread in self._threads)


def last_line(trace: str) -> str:
    """Return what a traceback says at its end."""
    return trace.strip().rpartition("\n")[2]


def _join(thread: threading.Thread, timeout: float) -> None:
    if thread.is_alive():
        thread.join(timeout)
