"""The life of one run of a sequence, as a pure state machine: what happens, and what operators ask for.

A run goes from ``running`` (to ``paused`` and back) to ``closing``, where what the script wants at its end is done, and
to one of four ends. What operators ask for is a wish until the script comes to a point where it can be granted: between
two steps, or wherever a step asks (`at_point`).
"""

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ocs.errors import SequenceError

__all__ = [
    "ENDS",
    "Phase",
    "RunState",
    "StepPhase",
    "StepState",
    "Verdict",
    "Wish",
    "ask_abort",
    "ask_pause",
    "ask_resume",
    "ask_stop",
    "at_point",
    "begin",
    "close",
    "end_step",
    "finish",
    "hold",
    "let_go",
    "next_step",
    "progress_of",
    "report_progress",
    "start_step",
]


class Phase(enum.StrEnum):
    """Where a run is in its life."""

    RUNNING = "running"
    PAUSED = "paused"
    CLOSING = "closing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    ABORTED = "aborted"


ENDS = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED, Phase.ABORTED})


class Wish(enum.StrEnum):
    """What the operator wants of the run, each stronger than the one before."""

    GO = "go"
    PAUSE = "pause"
    STOP = "stop"
    ABORT = "abort"


class Verdict(enum.Enum):
    """What a script is told at a point where it asks."""

    GO = "go"
    WAIT = "wait"
    END = "end"


class StepPhase(enum.StrEnum):
    """Where a step is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class StepState:
    """One step of the run; times in unix seconds."""

    title: str
    weight: float
    phase: StepPhase = StepPhase.WAITING
    progress: float = 0.0
    message: str = ""
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class RunState:
    """A run; times in unix seconds."""

    steps: tuple[StepState, ...]
    phase: Phase
    started: float
    wish: Wish = Wish.GO
    break_at: int | None = None
    """The step before which the run is to pause."""
    current: int | None = None
    """The step that runs, or ran last."""
    error: str | None = None
    ended: float | None = None

    @property
    def in_step(self) -> bool:
        """Whether a step is being carried out."""
        return self.current is not None and self.steps[self.current].phase is StepPhase.RUNNING


def begin(steps: Iterable[tuple[str, float]], now: float, *, first: int = 0) -> RunState:
    """Return a run at its beginning.

    Args:
        steps: title and weight of each.
        now: the time (unix s).
        first: the step to begin with; those before are skipped.
    """
    made = (
        StepState(title, weight, StepPhase.SKIPPED if number < first else StepPhase.WAITING)
        for number, (title, weight) in enumerate(steps)
    )
    return RunState(tuple(made), Phase.RUNNING, now)


def next_step(state: RunState) -> int | None:
    """Return the next step to run, None where none is left."""
    return next((n for n, step in enumerate(state.steps) if step.phase is StepPhase.WAITING), None)


def at_point(state: RunState) -> Verdict:
    """Return what the script is to do at a point where it asks, or between two steps."""
    if state.wish is Wish.ABORT:
        return Verdict.END
    if state.phase is Phase.CLOSING:
        return Verdict.GO
    if state.wish is Wish.STOP:
        return Verdict.GO if state.in_step and state.phase is Phase.RUNNING else Verdict.END
    return Verdict.WAIT if _is_held(state) or state.wish is Wish.PAUSE else Verdict.GO


def hold(state: RunState) -> RunState:
    """Return the state while the script waits; a wait before a step is from then on a pause as any other."""
    return replace(state, phase=Phase.PAUSED, wish=Wish.PAUSE, break_at=None if _is_held(state) else state.break_at)


def _is_held(state: RunState) -> bool:
    """Whether the run is at the step that it is to pause before."""
    return not state.in_step and state.break_at is not None and state.break_at == next_step(state)


def let_go(state: RunState) -> RunState:
    """Return the state once the script goes on, or to its end."""
    return replace(state, phase=Phase.RUNNING)


def start_step(state: RunState, number: int, now: float) -> RunState:
    """Return the state when a step begins."""
    begun = replace(_with_step(state, number, phase=StepPhase.RUNNING, started=now), current=number)
    return replace(begun, break_at=None) if state.break_at == number else begun


def report_progress(state: RunState, fraction: float, message: str) -> RunState:
    """Return the state with what the running step tells of itself; without one, the state as it is.

    Args:
        state: the state.
        fraction: from 0 to 1; what is beyond is cut, what is no number is taken for no news.
        message: for a person; none leaves the last one.
    """
    if not state.in_step or state.current is None:
        return state
    step = state.steps[state.current]
    share = step.progress if math.isnan(fraction) else min(1.0, max(0.0, fraction))
    return _with_step(state, state.current, progress=share, message=message or step.message)


def end_step(state: RunState, phase: StepPhase, now: float, error: str | None = None) -> RunState:
    """Return the state when the running step has ended.

    Args:
        state: the state.
        phase: how it ended.
        now: the time (unix s).
        error: what went wrong, in one line.
    """
    if not state.in_step or state.current is None:
        return state if error is None else replace(state, error=error)
    step = state.steps[state.current]
    share = 1.0 if phase is StepPhase.DONE else step.progress
    ended = _with_step(state, state.current, phase=phase, ended=now, progress=share)
    return ended if error is None else replace(ended, error=error)


def close(state: RunState) -> RunState:
    """Return the state when what is to be done at the end begins; another abort is needed to interrupt that."""
    return replace(state, phase=Phase.CLOSING, wish=Wish.GO, break_at=None)


def finish(state: RunState, end: Phase, now: float, error: str | None = None) -> RunState:
    """Return the state at the run's end.

    Args:
        state: the state.
        end: how it ended.
        now: the time (unix s).
        error: what went wrong; an earlier error is kept before it.
    """
    told = "; ".join(text for text in (state.error, error) if text) or None
    return replace(state, phase=end, wish=Wish.GO, break_at=None, ended=now, error=told)


def progress_of(state: RunState) -> float:
    """Return how far the run has come, from 0 to 1; steps that are skipped do not count."""
    counted = [step for step in state.steps if step.phase is not StepPhase.SKIPPED]
    whole = math.fsum(step.weight for step in counted)
    return min(1.0, math.fsum(step.weight * step.progress for step in counted) / whole) if whole else 1.0


def ask_pause(state: RunState, before: int | None = None) -> RunState:
    """Return the state with the wish to pause.

    Args:
        state: the state.
        before: the step before which to pause; None: wherever the script asks next.

    Raises:
        SequenceError: the run cannot be paused any more, or the step lies behind.
    """
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or state.wish in (Wish.STOP, Wish.ABORT):
        raise SequenceError(f"The sequence cannot be paused: it is {_told(state)}")
    if before is None:
        return replace(state, wish=Wish.PAUSE)
    if state.steps[before].phase is not StepPhase.WAITING:
        step = state.steps[before]
        raise SequenceError(f"The sequence cannot pause before step {step.title!r}: that is {step.phase}")
    return replace(state, break_at=before)


def ask_resume(state: RunState) -> RunState:
    """Return the state with all wishes to pause taken back.

    Raises:
        SequenceError: there are none.
    """
    waits = state.wish is Wish.PAUSE or (state.wish is Wish.GO and state.break_at is not None)
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or not waits:
        raise SequenceError(f"There is nothing to resume: the sequence is {_told(state)}")
    # Of a pause in force, a step to pause before later stays.
    return replace(state, wish=Wish.GO, break_at=state.break_at if state.wish is Wish.PAUSE else None)


def ask_stop(state: RunState) -> RunState:
    """Return the state with the wish to end after the step that runs; at once where none does, or it is paused.

    Raises:
        SequenceError: the run is ending already.
    """
    if state.phase not in (Phase.RUNNING, Phase.PAUSED) or state.wish in (Wish.STOP, Wish.ABORT):
        raise SequenceError(f"The sequence cannot be stopped: it is {_told(state)}")
    return replace(state, wish=Wish.STOP)


def ask_abort(state: RunState) -> RunState:
    """Return the state with the wish to end wherever the script asks next.

    Raises:
        SequenceError: the run has ended, or is being aborted already.
    """
    if state.phase in ENDS or state.wish is Wish.ABORT:
        raise SequenceError(f"The sequence cannot be aborted: it is {_told(state)}")
    return replace(state, wish=Wish.ABORT)


def _told(state: RunState) -> str:
    ending = {Wish.STOP: "stopping", Wish.ABORT: "being aborted"}
    return ending.get(state.wish, str(state.phase))


def _with_step(state: RunState, number: int, **changes: object) -> RunState:
    steps = list(state.steps)
    steps[number] = replace(steps[number], **changes)  # type: ignore[arg-type]
    return replace(state, steps=tuple(steps))
