"""What becomes of a process that ends without having been asked to: it is started again, later and later.

What to do is decided by `after_end`, which knows no clock; `Restarter` carries it out.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ocs.scf.checks import PROCESS_RESTARTS

__all__ = ["LONGEST_PAUSE", "STEADY_AFTER", "Decision", "Restarter", "after_end", "check_policy"]

LONGEST_PAUSE = 60.0
"""Longest pause before a process is started again, in seconds; the first is 1 s, each further one twice as long."""
STEADY_AFTER = 600.0
"""A run of this length, in seconds, was no part of a row of failures: the pauses begin anew after it."""

_DOUBLINGS = 6
"""2**6 s is beyond the longest pause already."""


class Decision(NamedTuple):
    """What follows the end of a run."""

    times: int
    """The number of the restart in its row; 0: it is not started again."""
    pause: float
    """Seconds until then."""

    def __str__(self) -> str:
        """Return it as the session tells it."""
        return f"Starts again in {self.pause:g} s ({_ordinal(self.times)} time)." if self.times else ""


NO_RESTART = Decision(0, 0.0)


def after_end(policy: str, times: int, *, success: bool, asked: bool, ran_for: float) -> Decision:
    """Decide what follows the end of a run.

    Args:
        policy: one of `PROCESS_RESTARTS`.
        times: how often in a row the process has been started again before this run.
        success: how the run ended.
        asked: whether somebody wanted it to end.
        ran_for: how long it ran, in seconds.
    """
    if asked or policy == "never" or (success and policy != "always"):
        return NO_RESTART
    times = 0 if ran_for >= STEADY_AFTER else times
    return Decision(times + 1, min(LONGEST_PAUSE, 2.0 ** min(times, _DOUBLINGS)))


def check_policy(policy: str) -> str:
    """Return the policy.

    Raises:
        ValueError: there is no such policy.
    """
    if policy not in PROCESS_RESTARTS:
        raise ValueError(f"restart={policy!r} is none of: {', '.join(PROCESS_RESTARTS)}.")
    return policy


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


@dataclass(slots=True, eq=False)
class _Run:
    """A run of a process that may have to be started again."""

    params: dict[str, Any] | None
    cred_level: int
    began: float
    times: int
    waiting: bool = False
    timer: Any = None


class Restarter:
    """Starts processes again.

    Runs are noted and restarts cancelled from any thread; a restart itself happens in the reactor's.

    Args:
        reactor: the clock.
        start: starts a process: called with its name, parameters, credential level and which restart in a row it is.
    """

    def __init__(self, reactor: Any, start: Callable[[str, dict[str, Any] | None, int, int], None]) -> None:
        self._reactor = reactor
        self._start = start
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def began(self, name: str, params: dict[str, Any] | None, cred_level: int, times: int) -> None:
        """Note that a run begins; a restart that was to come is cancelled.

        Args:
            name: the process.
            params: with what it is to be started again.
            cred_level: the privileges it is to have then.
            times: 0: somebody has started it; else which restart in a row this is.
        """
        self.cancel(name)
        kept = dict(params) if isinstance(params, dict) else params
        with self._lock:
            self._runs[name] = _Run(kept, cred_level, self._reactor.seconds(), times)

    def ended(self, name: str, policy: str, *, success: bool, asked: bool) -> Decision:
        """Note that a run has ended, and arrange for the next one; in the reactor's thread.

        Args:
            name: the process.
            policy: its policy.
            success: how the run ended.
            asked: whether somebody wanted it to end.
        """
        with self._lock:
            run = self._runs.get(name)
            if run is None:
                return NO_RESTART
            lasted = self._reactor.seconds() - run.began
            decision = after_end(policy, run.times, success=success, asked=asked, ran_for=lasted)
            if not decision.times:
                del self._runs[name]
                return decision
            run.times, run.waiting = decision.times, True
            run.timer = self._reactor.callLater(decision.pause, self._due, name, run)
        return decision

    def _due(self, name: str, run: _Run) -> None:
        with self._lock:
            if self._runs.get(name) is not run or not run.waiting:
                return  # cancelled by another thread, whose message to the timer is still on its way
            del self._runs[name]
        self._start(name, run.params, run.cred_level, run.times)

    def cancel(self, name: str) -> bool:
        """Let a process be; return whether it was to be started again."""
        with self._lock:
            run = self._runs.get(name)
            if run is None or not run.waiting:
                return False
            del self._runs[name]
        self._reactor.callFromThread(_end_timer, run.timer)
        return True

    def cancel_all(self) -> None:
        """Start nothing again any more."""
        for name in list(self._runs):
            self.cancel(name)


def _end_timer(timer: Any) -> None:
    if timer.active():
        timer.cancel()
