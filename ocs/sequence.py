"""What a sequence script is written with: its steps, what is done at its end, and the run that the steps are given.

from ocs.sequence import Run, at_end, step

@step("Cool down", weight=3)
def cool_down(run: Run) -> None:
    run.agent("fake-1").acq.start()
    for done in range(10):
        run.progress(done / 10, f"minute {done}")
        run.sleep(60)

@at_end
def stop(run: Run) -> None:
    run.agent("fake-1").acq.stop(check=False)
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload

from ocs.errors import SequenceScriptError

__all__ = ["Closing", "Declarations", "Run", "SequenceEnd", "Step", "at_end", "declaring", "step"]

_F = TypeVar("_F", bound=Callable[["Run"], Any])


class SequenceEnd(BaseException):
    """Raised in a script where it was aborted; no `Exception`, so that a script's own ``except`` lets it pass."""


class Run(Protocol):
    """One run of a sequence, as its steps see it.

    Every method is a point where the sequence can be paused or aborted: it returns when the run goes on, and raises
    `SequenceEnd` when it does not.
    """

    @property
    def params(self) -> Mapping[str, Any]:
        """What the run was started with."""

    @property
    def obs_mode(self) -> str:
        """The observing mode that the script was loaded for."""

    def agent(
        self, instance_id: str, privs: str | int | None = None, *, check: bool = True, patience: float | None = 300.0
    ) -> Any:
        """Return a client of an agent, with an attribute for each of its operations, as `ocs.ocs_client.OCSClient`.

        Args:
            instance_id: the agent.
            privs: a password, or a level from 1 to 3 that is looked up in the password file.
            check: raise an `ocs.errors.OperationError` when a request or an operation fails.
            patience: how long to wait for the agent whenever it is away, in seconds; None as long as it takes. The
                sequence is degraded meanwhile.
        """

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the step has come.

        Args:
            fraction: from 0 to 1.
            message: what is being done, for a person.
        """

    def log(self, message: str) -> None:
        """Add a line to the messages of the sequencer's session."""

    def sleep(self, seconds: float) -> None:
        """Wait. A pause stops the clock; an abort ends the wait."""

    def check(self) -> None:
        """Go on, wait while the sequence is paused, or end where it is aborted: for loops that do nothing else."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sequence."""

    title: str
    weight: float
    """Its share of the whole, relative to the other steps'."""
    function: Callable[[Run], Any]


@dataclass(frozen=True, slots=True)
class Closing:
    """What is done at the end of a run, however it ends."""

    title: str
    function: Callable[[Run], Any]


@dataclass(slots=True)
class Declarations:
    """The steps that a script has declared, in their order."""

    steps: list[Step] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)


_declared: ContextVar[Declarations | None] = ContextVar("ocs_sequence_declarations", default=None)


@contextmanager
def declaring() -> Iterator[Declarations]:
    """Collect what is declared while the context lasts."""
    found = Declarations()
    token = _declared.set(found)
    try:
        yield found
    finally:
        _declared.reset(token)


def step(title: str | None = None, *, weight: float = 1.0) -> Callable[[_F], _F]:
    """Declare a function as the script's next step.

    Args:
        title: what operators see; unique in the script. The function's name unless given.
        weight: its share of the whole, relative to the other steps'; the expected seconds, for example.

    Raises:
        SequenceScriptError: (where it is applied) the title is taken, or the weight is no number above 0.
    """
    if callable(title):
        raise SequenceScriptError("@step needs parentheses: @step() or @step('title')")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
        raise SequenceScriptError(f"a step's weight must be a number above 0, not {weight!r}")

    def declare(function: _F) -> _F:
        found = _declared.get()
        if found is not None:
            name = title if title is not None else _title_of(function)
            _refuse_title(name, found)
            found.steps.append(Step(name, float(weight), function))
        return function

    return declare


@overload
def at_end(function: _F) -> _F: ...


@overload
def at_end(function: str | None = None) -> Callable[[_F], _F]: ...


def at_end(function: Any = None) -> Any:
    """Declare a function that is called when a run ends: done, failed, stopped or aborted; the last declared first.

    Args:
        function: the function, or what operators are to see in place of its name.
    """
    if not callable(function):
        return lambda decorated: _declare_end(decorated, function)
    return _declare_end(function, None)


def _declare_end(function: _F, title: str | None) -> _F:
    found = _declared.get()
    if found is not None:
        found.closings.insert(0, Closing(title or _title_of(function), function))
    return function


def _title_of(function: Any) -> str:
    inner = getattr(function, "func", function)  # a functools.partial
    return str(getattr(inner, "__name__", "step")).replace("_", " ").strip()


def _refuse_title(title: Any, found: Declarations) -> None:
    if not isinstance(title, str) or not title.strip():
        raise SequenceScriptError(f"a step's title must be text, not {title!r}")
    if any(other.title == title for other in found.steps):
        raise SequenceScriptError(f"there are two steps with the title {title!r}: give each its own")
