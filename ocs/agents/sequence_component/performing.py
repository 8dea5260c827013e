"""Carrying out a script: its steps one after the other, and what it wants done at its end, whatever happens."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from ocs.agents.sequence_component.conductor import Conductor
from ocs.agents.sequence_component.remote import Calls, RemoteAgent, connect
from ocs.agents.sequence_component.script import Script, describe_error
from ocs.agents.sequence_component.states import Phase, StepPhase, Wish, next_step
from ocs.sequence import SequenceEnd

__all__ = ["ScriptRun", "perform"]

_PATIENCE = 300.0


class ScriptRun:
    """What a script's functions are given: a `ocs.sequence.Run`.

    Args:
        conductor: the run.
        session: the agent whose WAMP session calls other agents.
        address_root: the first part of all agents' addresses.
        params: what the run was started with.
        obs_mode: what the script was loaded for.
        log: takes lines for people.
    """

    def __init__(
        self,
        conductor: Conductor,
        session: Any,
        address_root: str,
        *,
        params: Mapping[str, Any],
        obs_mode: str,
        log: Callable[[str], None],
    ) -> None:
        self.params = params
        self.obs_mode = obs_mode
        self._conductor = conductor
        self._session = session
        self._root = address_root
        self._log = log

    def agent(
        self,
        instance_id: str,
        privs: str | int | None = None,
        *,
        check: bool = True,
        patience: float | None = _PATIENCE,
    ) -> RemoteAgent:
        """Return a client of an agent; see `ocs.sequence.Run.agent`."""
        calls = Calls(self._session, f"{self._root}.{instance_id}", self._conductor, patience)
        return connect(calls, privs, check=check)

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the step has come; see `ocs.sequence.Run.progress`."""
        self._conductor.report(float(fraction), str(message))
        self._conductor.point()

    def log(self, message: str) -> None:
        """Add a line to the session's messages."""
        self._log(str(message))
        self._conductor.point()

    def sleep(self, seconds: float) -> None:
        """Wait; see `ocs.sequence.Run.sleep`.

        Raises:
            ValueError: that is no length of time.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"sleep takes a number of seconds, not {seconds!r}")
        self._conductor.sleep(seconds)

    def check(self) -> None:
        """Go on, wait, or end."""
        self._conductor.point()


def perform(script: Script, conductor: Conductor, run: ScriptRun) -> None:
    """Carry out a script; the conductor's state tells how it went.

    Args:
        script: the script.
        conductor: the run, at its beginning.
        run: what its functions are given.
    """
    end = _steps(script, conductor, run)
    wish = conductor.close()
    troubles = [trouble for closing in script.closings if (trouble := _closing(script, closing, run))]
    if end is Phase.ABORTED and wish is Wish.STOP:
        end = Phase.STOPPED
    if troubles and end is Phase.SUCCEEDED:
        end = Phase.FAILED
    conductor.finish(end, "; ".join(troubles) or None)


def _steps(script: Script, conductor: Conductor, run: ScriptRun) -> Phase:
    """Carry out the steps; return how that ended."""
    try:
        while (number := next_step(conductor.state)) is not None:
            conductor.point()
            conductor.start_step(number)
            script.steps[number].function(run)
            conductor.end_step(StepPhase.DONE)
    except SequenceEnd:
        conductor.end_step(StepPhase.INTERRUPTED)
        return Phase.ABORTED
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # a script is somebody else's code
        conductor.end_step(StepPhase.FAILED, describe_error(error, script.path))
        return Phase.FAILED
    return Phase.SUCCEEDED


def _closing(script: Script, closing: Any, run: ScriptRun) -> str | None:
    """Do one thing that is to be done at the end; return what went wrong with it."""
    try:
        closing.function(run)
    except SequenceEnd:
        return f"{closing.title!r} at the end was aborted"
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # as above
        return f"at the end: {describe_error(error, script.path)}"
    return None
