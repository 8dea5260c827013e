"""Holds the state of one run between the script's thread, which asks at each point, and operators, who have wishes.

The state is changed under a lock, by the functions of `states`; whoever waits is told of every change.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ocs.agents.sequence_component import states
from ocs.agents.sequence_component.states import ENDS, Phase, RunState, StepPhase, Verdict, Wish
from ocs.errors import SequenceError
from ocs.sequence import SequenceEnd

__all__ = ["Conductor"]

_T = TypeVar("_T")
Clock = Callable[[], float]


class Conductor:
    """One run of a sequence.

    Args:
        state: the run at its beginning.
        on_change: called with each new state and what the run waits for (None: nothing), from any thread, one call at a
            time.
        wall: reads the time of day (unix s).
        steady: reads a clock that nobody sets (s).
    """

    def __init__(
        self,
        state: RunState,
        on_change: Callable[[RunState, str | None], None],
        *,
        wall: Clock = time.time,
        steady: Clock = time.monotonic,
    ) -> None:
        self._state = state
        self._on_change = on_change
        self._wall = wall
        self._steady = steady
        self._changed = threading.Condition(threading.RLock())
        self._away: str | None = None
        on_change(state, None)

    @property
    def state(self) -> RunState:
        """The state now."""
        with self._changed:
            return self._state

    # What operators ask for, from any thread

    def pause(self, before: int | None = None) -> None:
        """Have the script wait where it asks next, or before a step.

        Raises:
            SequenceError: it cannot be paused any more, or the step lies behind.
        """
        self._apply(lambda state: states.ask_pause(state, before))

    def resume(self) -> None:
        """Have the script go on.

        Raises:
            SequenceError: it is not paused.
        """
        self._apply(states.ask_resume)

    def stop(self) -> None:
        """Have the run end after the step that is being carried out.

        Raises:
            SequenceError: it is ending already.
        """
        self._apply(states.ask_stop)

    def abort(self) -> None:
        """Have the run end where the script asks next.

        Raises:
            SequenceError: it has ended, or is being aborted.
        """
        self._apply(states.ask_abort)

    def wait_for(self, reached: Callable[[RunState], bool], timeout: float) -> bool:
        """Wait until the state is as wanted, ``timeout`` seconds at most; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: reached(self._state) or self._state.phase in ENDS, timeout)

    # The script's thread

    def start_step(self, number: int) -> None:
        """Note that a step begins."""
        self._apply(lambda state: states.start_step(state, number, self._wall()))

    def end_step(self, phase: StepPhase, error: str | None = None) -> None:
        """Note how a step has ended."""
        self._apply(lambda state: states.end_step(state, phase, self._wall(), error))

    def close(self) -> Wish:
        """Note that what is done at the end begins; return the wish that was in force."""
        with self._changed:
            wish = self._state.wish
            self._apply(states.close)
            return wish

    def finish(self, end: Phase, error: str | None = None) -> None:
        """Note that the run has ended."""
        self._apply(lambda state: states.finish(state, end, self._wall(), error))

    def report(self, fraction: float, message: str) -> None:
        """Note how far the step has come."""
        self._apply(lambda state: states.report_progress(state, fraction, message))

    def point(self) -> None:
        """Return when the run goes on.

        Raises:
            SequenceEnd: it does not.
        """
        with self._changed:
            while True:
                verdict = states.at_point(self._state)
                if verdict is Verdict.END:
                    raise SequenceEnd
                if verdict is Verdict.GO:
                    break
                self._wait_paused()

    def _wait_paused(self) -> None:
        if self._state.phase is not Phase.PAUSED:
            self._apply(states.hold)
        self._changed.wait()
        if states.at_point(self._state) is Verdict.GO:
            self._apply(states.let_go)

    def sleep(self, seconds: float) -> None:
        """Wait; the time for which the run is paused does not count.

        Raises:
            SequenceEnd: the run is ended meanwhile.
        """
        left = seconds
        while True:
            self.point()
            if left <= 0:
                return
            began = self._steady()
            with self._changed:
                self._changed.wait_for(self._is_wanted_elsewhere, left)
            left -= self._steady() - began

    def await_reply(self, future: "Future[_T]") -> _T:
        """Wait for what somebody else does; a pause lets it come first, an abort does not.

        Raises:
            SequenceEnd: the run is aborted meanwhile; the future is cancelled.
        """
        future.add_done_callback(self._wake)
        with self._changed:
            self._changed.wait_for(lambda: future.done() or self._state.wish is Wish.ABORT)
        if future.done():
            return future.result()
        future.cancel()
        raise SequenceEnd

    def set_away(self, what: str | None) -> None:
        """Note what the run waits for because it is away; None: nothing."""
        with self._changed:
            if what != self._away:
                self._away = what
                self._on_change(self._state, what)

    def _is_wanted_elsewhere(self) -> bool:
        return states.at_point(self._state) is not Verdict.GO

    def _wake(self, _future: "Future[Any]") -> None:
        with self._changed:
            self._changed.notify_all()

    def _apply(self, change: Callable[[RunState], RunState]) -> None:
        with self._changed:
            if self._state.phase in ENDS:
                raise SequenceError(f"The sequence has ended: it {_ENDED[self._state.phase]}")
            self._state = change(self._state)
            self._on_change(self._state, self._away)
            self._changed.notify_all()


_ENDED = {
    Phase.SUCCEEDED: "succeeded",
    Phase.FAILED: "failed",
    Phase.STOPPED: "was stopped",
    Phase.ABORTED: "was aborted",
}
