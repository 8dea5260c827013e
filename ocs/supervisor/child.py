"""One instance under supervision, and what has become of its earlier runs."""

from collections import deque
from dataclasses import dataclass, field

from twisted.internet.base import DelayedCall

from ocs.supervisor.output import ChildOutput
from ocs.supervisor.pipe import Pipe
from ocs.supervisor.process import ChildProcess, Command
from ocs.supervisor.states import ChildState, Exit, Policy

__all__ = ["Child", "PastRun"]

_LAST_LINES = 20
"""How many lines are kept of a run that is over."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run of a child that is over; times in seconds since 1970."""

    started: float
    ended: float
    end: Exit
    last_lines: tuple[str, ...]
    """The last of what it printed."""


@dataclass(eq=False)
class Child:
    """One instance under supervision; belongs to the reactor's thread, to be read by anybody in it."""

    command: Command
    output: ChildOutput
    policy: Policy = field(default_factory=Policy)
    state: ChildState = field(default_factory=ChildState)
    process: ChildProcess | None = None
    pipe: Pipe | None = None
    timer: DelayedCall | None = None
    history: deque[PastRun] = field(default_factory=lambda: deque(maxlen=10))
    """The last runs, the newest last."""
    started: float | None = None
    """When the process was started, in seconds since 1970; None while there is none."""
    adopted: bool = False
    """Whether the process was started by an earlier supervisor."""
    ready: bool = False
    """Whether this process does its work: set by whoever can tell, cleared at every start."""
    first_line: int = 0
    """How many lines had been printed before this run."""

    @property
    def name(self) -> str:
        """The instance-id."""
        return self.command.name

    @property
    def pid(self) -> int | None:
        """Process id, or None while there is no process."""
        return self.process.pid if self.process else None

    @property
    def restarts(self) -> int:
        """How often it has been started after the first time."""
        return max(0, self.state.starts - 1)

    def begin_run(self, started: float) -> None:
        """Forget what was so of the run before."""
        self.ready = self.adopted = False
        self.started = started
        self.first_line = self.output.tail.count

    def end_run(self, end: Exit, ended: float) -> None:
        """Remember the run that is over; there is no process any more."""
        self.output.note(f"{self.name}: {end}")
        since = max(self.first_line, self.output.tail.count - _LAST_LINES)
        lines, _position = self.output.read_since(since, _LAST_LINES)
        self.history.append(PastRun(self.started or ended, ended, end, tuple(lines)))
        self.process = self.started = None
