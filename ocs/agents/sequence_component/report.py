"""A run as clients see it."""

from collections.abc import Mapping
from typing import Any

from ocs.agents.sequence_component.script import Script
from ocs.agents.sequence_component.states import Phase, RunState, StepState, Wish, progress_of

__all__ = ["last_word", "run_data", "script_data"]

_ASKED = {Wish.PAUSE: "pause", Wish.STOP: "stop", Wish.ABORT: "abort"}


def script_data(script: Script, sequencer: str) -> dict[str, Any]:
    """Return what is told of a loaded script.

    Args:
        script: the script.
        sequencer: the prefix under which it is registered.
    """
    return {
        "sequencer": sequencer,
        "script": str(script.path),
        "description": script.doc,
        "steps": [{"title": step.title, "weight": step.weight} for step in script.steps],
    }


def run_data(state: RunState, about: Mapping[str, Any], away: str | None) -> dict[str, Any]:
    """Return the ``session.data`` of a run.

    Args:
        state: the run.
        about: what does not change while it lasts.
        away: what it waits for because it is away.
    """
    current = None if state.current is None else state.steps[state.current]
    return {
        **about,
        "state": str(state.phase),
        "asked": _ASKED.get(state.wish) if state.phase in (Phase.RUNNING, Phase.CLOSING) else None,
        "pause_before": None if state.break_at is None else state.steps[state.break_at].title,
        "progress": round(progress_of(state), 4),
        "current_step": None if state.current is None else state.current + 1,
        "message": current.message if current else "",
        "waiting_for": away,
        "started": state.started,
        "ended": state.ended,
        "last_error": state.error,
        "steps": [_step_data(step) for step in state.steps],
    }


def _step_data(step: StepState) -> dict[str, Any]:
    return {
        "title": step.title,
        "weight": step.weight,
        "state": str(step.phase),
        "progress": round(step.progress, 4),
        "message": step.message,
        "started": step.started,
        "ended": step.ended,
    }


def last_word(state: RunState) -> tuple[bool, str]:
    """Return an ended run's result, as an operation returns it."""
    if state.phase is Phase.SUCCEEDED:
        return True, f"All is done, in {(state.ended or 0.0) - state.started:.1f} s."
    step = "" if state.current is None else f" at step {state.current + 1} {state.steps[state.current].title!r}"
    error = f": {state.error}" if state.error else ""
    words = {Phase.FAILED: "Failed", Phase.STOPPED: "Stopped", Phase.ABORTED: "Aborted"}
    good = state.phase is Phase.STOPPED and not state.error
    return good, f"{words.get(state.phase, str(state.phase))}{step}{error or '.'}"
