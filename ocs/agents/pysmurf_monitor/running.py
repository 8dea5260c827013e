"""One run of the process: a pipeline that is watched, started anew if it ends by itself, and reported on."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ocs.agents.pysmurf_monitor.pipeline import Pipeline, last_line
from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus
from ocs.agents.pysmurf_monitor.report import (
    Counters,
    Database,
    Lost,
    Refusals,
    Snapshot,
    dropped,
    session_data,
    troubles,
)
from ocs.errors import DatabaseTroubleError

__all__ = ["Run", "Teller"]

TURN: Final = 1.0
"""How often (s) session.data is made anew."""
TEST_TURN: Final = 0.05
FIRST_RESTART: Final = 1.0
LAST_RESTART: Final = 30.0
"""Pauses (s) before a pipeline that has ended by itself is started anew."""
TELL_AGAIN: Final = 60.0
"""Trouble that comes and goes is told of once in so many seconds."""


class Teller:
    """Tells an operator of trouble as it comes, and when all of it has gone.

    Args:
        tell: takes a line.
        steady: a clock (s).
    """

    def __init__(self, tell: Callable[[str], None], steady: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._steady = steady
        self._told: dict[str, float] = {}
        self._in_trouble = False

    def report(self, wrong: dict[str, str]) -> None:
        """Take what is wrong now: a line for each kind of trouble."""
        now = self._steady()
        self._told = {kind: when for kind, when in self._told.items() if now - when < TELL_AGAIN or kind in wrong}
        for kind, line in wrong.items():
            if kind not in self._told:
                self._told[kind] = now
                self._in_trouble = True
                self._tell(line)
        if self._in_trouble and not wrong:
            self._in_trouble = False
            self._tell("all is well again")


class Run:
    """A run, in a thread of its own.

    Args:
        session: the operation's session.
        make_pipeline: makes a pipeline.
        take_extras: hands to a pipeline what did not come from the journal; waits so long (s) for it.
        counters: what has been done.
        refusals: what is refused.
        receiver: tells how receiving does.
        db_path: the transfer database, for reports.
        journal_bound: how large the journal may become, bytes.
        lost: remembers losses.
        log_failure: takes the traceback of a pipeline that has failed.
        test_mode: end when files have been processed.

    Attributes:
        pipeline: the one that works now.
    """

    def __init__(
        self,
        session: Any,
        make_pipeline: Callable[[], Pipeline],
        take_extras: Callable[[Pipeline, float], None],
        *,
        counters: Counters,
        refusals: Refusals,
        receiver: Callable[[], ReceiverStatus],
        db_path: str,
        journal_bound: int,
        lost: Lost,
        log_failure: Callable[[str], None],
        test_mode: bool = False,
    ) -> None:
        self.pipeline: Pipeline | None = None
        self._session = session
        self._make_pipeline = make_pipeline
        self._take_extras = take_extras
        self._counters = counters
        self._refusals = refusals
        self._receiver = receiver
        self._database = Database(db_path)
        self._journal_bound = journal_bound
        self._lost = lost
        self._log_failure = log_failure
        self._test_mode = test_mode
        self._teller = Teller(session.add_message)
        self._ending = threading.Event()
        self._noticed = 0

    def stop(self) -> None:
        """Have `go` return soon. Any thread."""
        self._ending.set()

    def go(self) -> tuple[bool, str]:
        """Work until told to stop; return whether all is noted, and a sentence."""
        pause, whole = FIRST_RESTART, True
        while not self._ending.is_set():
            pipeline = self._started()
            if pipeline is not None:
                whole = self._watched(pipeline)
                if not pipeline.crash:
                    break
                self._log_failure(pipeline.crash)
                self._session.add_message(
                    f"what enters files has failed, and is started again: {last_line(pipeline.crash)}"
                )
            self._ending.wait(pause)
            pause = min(2 * pause, LAST_RESTART)
        done = f"Entered {self._counters.entered} files."
        return (
            whole,
            done if whole else f"{done} Something did not end in time; it is looked at again at the next start.",
        )

    def _started(self) -> Pipeline | None:
        try:
            pipeline = self._make_pipeline()
        except DatabaseTroubleError as error:
            self._report(Snapshot(self._database, state_trouble=str(error)))
            return None
        self._noticed = 0
        pipeline.start()
        return pipeline

    def _watched(self, pipeline: Pipeline) -> bool:
        """Report on a pipeline until it is to end, or has; then see that it does. Return whether it did in time."""
        self.pipeline = pipeline
        try:
            while not (self._ending.is_set() or pipeline.crash or self._is_tested(pipeline)):
                self._report(pipeline.snapshot())
                self._wait(pipeline)
        finally:
            self.pipeline = None
            ended = pipeline.stop()
        self._report(replace(pipeline.snapshot(), queued=0) if ended else pipeline.snapshot())
        return ended

    def _wait(self, pipeline: Pipeline) -> None:
        turn = TEST_TURN if self._test_mode else TURN
        if pipeline.halted:
            self._ending.wait(turn)
        else:
            self._take_extras(pipeline, turn)

    def _is_tested(self, pipeline: Pipeline) -> bool:
        return self._test_mode and pipeline.processed > 0 and pipeline.idle

    def _report(self, snapshot: Snapshot) -> None:
        receiver = self._receiver()
        for notice in snapshot.notices[self._noticed :]:
            self._session.add_message(notice)
        self._noticed = len(snapshot.notices)
        self._database = snapshot.database
        self._session.data = session_data(self._counters, self._refusals.counts, receiver, snapshot)
        lost = dropped(self._counters, receiver)
        lately = lost if self._lost.lately(lost) else 0
        wrong = troubles(receiver, snapshot, lost=lately, journal_bound=self._journal_bound)
        self._session.degraded = bool(wrong)
        self._teller.report(wrong)
