"""Carries out for a set of children what `ocs.supervisor.states` decides."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger

from ocs.supervisor.ledger import Entry
from ocs.supervisor.output import ChildOutput, LogFile
from ocs.supervisor.process import ChildProcess, Command, Launcher
from ocs.supervisor.states import Action, ChildState, Event, Exit, Phase, Policy, SendSignal, Start, step

__all__ = ["Child", "PastRun", "Supervisor"]


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
    timer: DelayedCall | None = None
    history: deque[PastRun] = field(default_factory=lambda: deque(maxlen=10))
    """The last runs, the newest last."""
    started: float | None = None
    """When the process was started, in seconds since 1970; None while there is none."""
    adopted: bool = False
    """Whether the process was started by an earlier supervisor."""
    ready: bool = False
    """Whether this process does its work: set by whoever can tell, cleared at every start."""

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


class Supervisor:
    """Keeps children as they are wanted: starts them, starts them again when they die, ends them.

    Args:
        reactor: spawns, keeps the time and lends threads.
        policy: how patient to be with children that are given none of their own.
        on_change: called with a child whenever its phase, its target or its process has changed.
        state_dir: where the ledger and the pipes are; None: no child outlives this process.
        launcher: starts children faster than plainly; None: all are started plainly.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        policy: Policy | None = None,
        on_change: Callable[[Child], None] | None = None,
        state_dir: Path | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self.children: dict[str, Child] = {}
        self._reactor = reactor
        self._policy = policy or Policy()
        self._on_change = on_change or (lambda _child: None)
        self._waiters: list[tuple[list[Child], Deferred[None]]] = []

    def add(self, command: Command, policy: Policy | None = None) -> Child:
        """Take a child under supervision; it stays down until it is wanted up.

        Args:
            command: how it is started.
            policy: how patient to be with it; None: as with all.

        Raises:
            ValueError: there is one of that name already.
        """
        if command.name in self.children:
            raise ValueError(f"{command.name} is supervised already")
        log = LogFile(command.log_file) if command.log_file else None
        child = Child(command, ChildOutput(self._reactor, log), policy or self._policy)
        self.children[command.name] = child
        return child

    def remove(self, name: str) -> None:
        """Forget a child that is down.

        Raises:
            KeyError: there is no child of that name.
            ValueError: it is not down.
        """
        child = self.children[name]
        if child.state.phase is not Phase.DOWN:
            raise ValueError(f"{name} is {child.state.phase}: it can be removed when it is down")
        del self.children[name]

    def replace_command(self, name: str, command: Command) -> None:
        """Start a child another way from its next start on.

        Raises:
            KeyError: there is no child of that name.
            ValueError: the command has another name.
        """
        if command.name != name:
            raise ValueError(f"a command for {name} is called {command.name}")
        self.children[name].command = command

    def leftovers(self) -> dict[str, Entry]:
        """Return by name what an earlier supervisor has left running and nobody has adopted."""
        return {}

    def adopt(self, name: str) -> bool:
        """Take over the process that an earlier supervisor has left for a child.

        Returns:
            Whether there is one; False if it has ended meanwhile.

        Raises:
            KeyError: there is no child of that name.
        """
        return self.children[name].state.alive

    def release(self) -> "Deferred[None]":
        """Let go of all children: they run on, for the next supervisor to adopt."""
        return succeed(None)

    def tell(self, name: str, event: Event) -> None:
        """Tell one child of a wish: `Event.WISH_UP`, `Event.WISH_DOWN`, `Event.RESTART` or `Event.HURRY`.

        Raises:
            KeyError: there is no child of that name.
        """
        self._dispatch(self.children[name], event)

    def hurry(self) -> None:
        """Send the next stop signal to all that are stopping."""
        for child in self.children.values():
            self._dispatch(child, Event.HURRY)

    def stop(self, names: Iterable[str] | None = None) -> "Deferred[None]":
        """Want children down.

        Args:
            names: which ones; None: all.

        Returns:
            A Deferred that fires when they are gone and what they printed is on disk.

        Raises:
            KeyError: there is no child of such a name.
        """
        children = [self.children[name] for name in (self.children if names is None else names)]
        done: Deferred[None] = Deferred()
        self._waiters.append((children, done))
        for child in children:
            self._dispatch(child, Event.WISH_DOWN)
        self._tell_waiters()
        return done

    def _dispatch(self, child: Child, event: Event | Exit) -> None:
        before = child.state
        child.state, actions = step(before, event, self._reactor.seconds(), child.policy)
        self._set_timer(child)
        for action in actions:
            self._act(child, action)
        if (before.phase, before.target, before.starts) != (child.state.phase, child.state.target, child.state.starts):
            self._on_change(child)
        self._tell_waiters()

    def _set_timer(self, child: Child) -> None:
        if child.timer and child.timer.active():
            child.timer.cancel()
        due = child.state.due
        delay = None if due is None else max(0.0, due - self._reactor.seconds())
        child.timer = None if delay is None else self._reactor.callLater(delay, self._dispatch, child, Event.TICK)

    def _act(self, child: Child, action: Action) -> None:
        match action:
            case Start():
                self._start(child)
            case SendSignal(signum, group):
                if child.process:
                    child.process.send(signum, group=group)

    def _start(self, child: Child) -> None:
        def gone(end: Exit) -> None:
            child.output.note(f"{child.name}: {end}")
            child.history.append(
                PastRun(child.started or time.time(), time.time(), end, tuple(child.output.tail.lines()[-20:]))
            )
            child.process, child.started = None, None
            self._dispatch(child, end)

        child.ready = False
        child.started = time.time()
        child.process = ChildProcess(self._reactor, child.output, gone)
        try:
            child.process.start(child.command)
        except OSError as error:
            # Decided in the next turn of the reactor, like any other end.
            self._reactor.callLater(0, gone, Exit(error=os.strerror(error.errno or 0)))
            return
        child.output.note(f"{child.name}: started as process {child.pid}, start number {child.state.starts}")

    def _tell_waiters(self) -> None:
        over = [waiter for waiter in self._waiters if not any(child.state.alive for child in waiter[0])]
        self._waiters = [waiter for waiter in self._waiters if waiter not in over]
        for children, done in over:
            _when_drained(children, done)


def _when_drained(children: list[Child], done: "Deferred[None]") -> None:
    def drained(_results: list[None]) -> None:
        done.callback(None)

    gatherResults([child.output.drained() for child in children]).addCallback(drained)
