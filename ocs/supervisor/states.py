"""What to do with a child process, as a pure function: ``step(state, event, now) -> (state, actions)``.

Nothing here starts, signals or waits. Times are seconds on any clock that never runs backwards; whoever carries the
actions out calls again with ``TICK`` when ``state.due`` has come.

The life of a child::

            WISH_UP                 WISH_DOWN, RESTART
    DOWN ------------>  UP  --------------------------->  STOPPING  ---+
     ^                 |  ^                                            |
     |         EXITED  |  |  due, RESTART                      EXITED  |
     |                 v  |                                            |
     +------------  WAITING                      target down -> DOWN <-+
        WISH_DOWN                                target up   -> UP   <-+
"""

import signal
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

__all__ = [
    "Action",
    "ChildState",
    "Event",
    "Exit",
    "Phase",
    "Policy",
    "SendSignal",
    "Start",
    "Target",
    "adopted",
    "step",
]


class Target(StrEnum):
    """What the operator wants of a child."""

    UP = "up"
    DOWN = "down"


class Phase(StrEnum):
    """Where a child is in its life."""

    DOWN = "down"
    """No process, and none is to be started."""
    UP = "up"
    """The process exists and nobody has asked it to end."""
    STOPPING = "stopping"
    """The process exists and has been asked to end."""
    WAITING = "waiting"
    """The process has ended by itself; the next start is at ``due``."""


class Event(Enum):
    """What can happen to a child besides its end, which is an `Exit`."""

    WISH_UP = "wish up"
    WISH_DOWN = "wish down"
    RESTART = "restart"
    """End the process, if there is one, and start the next at once."""
    HURRY = "hurry"
    """Waste no more time on the current stop signal: send the next one."""
    TICK = "tick"
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int | None = None
    """Exit code; None if a signal ended it or it never started."""
    signum: int | None = None
    """The signal that ended it."""
    error: str = ""
    """Why it could not be started."""
    unknown: bool = False
    """It was not our own child, having been taken over from an earlier supervisor: nobody knows."""

    def __str__(self) -> str:
        """Return the end in words."""
        if self.error:
            return f"could not be started: {self.error}"
        if self.unknown:
            return "ended, nobody knows how"
        if self.signum is not None:
            return f"killed by {_name_of(self.signum)}"
        return f"exit code {self.code}"


def _name_of(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        # Real-time signals have numbers only.
        return f"signal {signum}"


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process now."""


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send a signal to the process."""

    signum: int
    group: bool = False
    """True: to everything it has started as well."""


Action = Start | SendSignal


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient to be; all times in seconds."""

    stop_signals: tuple[tuple[SendSignal, float], ...] = (
        (SendSignal(signal.SIGINT), 10.0),
        (SendSignal(signal.SIGTERM), 5.0),
        (SendSignal(signal.SIGKILL, group=True), 5.0),
    )
    """In this order, each with the time it is given; the last is repeated until the process is gone."""
    first_delay: float = 3.0
    """Before the first new start of a child that failed; doubled for each further failure."""
    longest_delay: float = 60.0
    stable_after: float = 60.0
    """A child that has run this long starts again at once, its earlier failures forgotten."""
    restarts: bool = True
    """False: an end that nobody asked for leaves the child down and wanted down; somebody else decides on it."""

    def delay(self, failures: int) -> float:
        """Return how long to wait before the start that follows ``failures`` failures in a row, in seconds."""
        if failures == 0:
            return 0.0
        return float(min(self.longest_delay, self.first_delay * 2 ** min(failures - 1, 32)))


@dataclass(frozen=True, slots=True)
class ChildState:
    """All that decides what happens next to one child."""

    phase: Phase = Phase.DOWN
    target: Target = Target.DOWN
    since: float = 0.0
    """When the phase began."""
    due: float | None = None
    """When something is to be done even if nothing happens; None: nothing is."""
    signals: int = 0
    """How many stop signals this process has had."""
    failures: int = 0
    """Ends that nobody asked for in a row, without a stable run between them."""
    starts: int = 0
    """How often it has been started in all."""
    last_exit: Exit | None = None

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self.phase in (Phase.UP, Phase.STOPPING)

    @property
    def settled(self) -> bool:
        """Whether the child is what it is wanted to be."""
        return self.phase.value == self.target.value


Decision = tuple[ChildState, tuple[Action, ...]]


def step(state: ChildState, event: Event | Exit, now: float, policy: Policy) -> Decision:
    """Decide what follows from an event.

    Args:
        state: the child as it is.
        event: what has happened; an `Exit` once the process and all it has started are gone.
        now: the present, in seconds, on the clock of ``state.since`` and ``state.due``.
        policy: how patient to be.

    Returns:
        The child as it is now, and what to do, in order. `Start` is only ever asked for when there is no process.
    """
    if isinstance(event, Exit):
        return _ended(state, event, now, policy) if state.alive else (state, ())
    match event:
        case Event.WISH_UP:
            return _wish_up(state, now)
        case Event.WISH_DOWN:
            return _wish_down(state, now, policy)
        case Event.RESTART:
            return _restart(state, now, policy)
        case Event.HURRY:
            return _next_signal(state, now, policy) if state.phase is Phase.STOPPING else (state, ())
        case Event.TICK:
            return _tick(state, now, policy)


def adopted(now: float, age: float = 0.0) -> ChildState:
    """Return the state of a child whose process has been taken over, running.

    Args:
        now: the present, in seconds, on the clock of ``state.since``.
        age: how long the process has run, in seconds.
    """
    return ChildState(Phase.UP, Target.UP, since=now - age, starts=1)


def _wish_up(state: ChildState, now: float) -> Decision:
    state = replace(state, target=Target.UP)
    return _start(state, now) if state.phase is Phase.DOWN else (state, ())


def _wish_down(state: ChildState, now: float, policy: Policy) -> Decision:
    state = replace(state, target=Target.DOWN)
    match state.phase:
        case Phase.UP:
            return _next_signal(state, now, policy)
        case Phase.WAITING:
            return replace(state, phase=Phase.DOWN, since=now, due=None), ()
        case _:
            return state, ()


def _restart(state: ChildState, now: float, policy: Policy) -> Decision:
    state = replace(state, target=Target.UP)
    match state.phase:
        case Phase.UP:
            return _next_signal(state, now, policy)
        case Phase.STOPPING:
            return state, ()
        case _:
            return _start(state, now)


def _tick(state: ChildState, now: float, policy: Policy) -> Decision:
    if state.due is None or now < state.due:
        return state, ()
    return _start(state, now) if state.phase is Phase.WAITING else _next_signal(state, now, policy)


def _start(state: ChildState, now: float) -> Decision:
    started = replace(state, phase=Phase.UP, since=now, due=None, signals=0, starts=state.starts + 1)
    return started, (Start(),)


def _next_signal(state: ChildState, now: float, policy: Policy) -> Decision:
    action, patience = policy.stop_signals[min(state.signals, len(policy.stop_signals) - 1)]
    since = state.since if state.phase is Phase.STOPPING else now
    stopping = replace(state, phase=Phase.STOPPING, since=since, due=now + patience, signals=state.signals + 1)
    return stopping, (action,)


def _ended(state: ChildState, end: Exit, now: float, policy: Policy) -> Decision:
    asked_for = state.phase is Phase.STOPPING
    if not asked_for and not policy.restarts:
        state = replace(state, target=Target.DOWN)
    stable = not end.error and now - state.since >= policy.stable_after
    failures = 0 if asked_for or stable else state.failures + 1
    gone = replace(state, phase=Phase.DOWN, since=now, due=None, signals=0, failures=failures, last_exit=end)
    if gone.target is Target.DOWN:
        return gone, ()
    delay = policy.delay(failures)
    return _start(gone, now) if delay == 0.0 else (replace(gone, phase=Phase.WAITING, due=now + delay), ())
