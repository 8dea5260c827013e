"""Carries out for a set of children what `ocs.supervisor.states` decides."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import process as twisted_process
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults, succeed
from twisted.logger import Logger

from ocs.supervisor.child import Child, PastRun
from ocs.supervisor.ledger import Entry, Ledger
from ocs.supervisor.output import ChildOutput, LogFile
from ocs.supervisor.pipe import Pipe, PipeRoom
from ocs.supervisor.proc import age, become_subreaper, reap_strays
from ocs.supervisor.process import ChildProcess, Command, Launcher, Means, in_words
from ocs.supervisor.state_dir import StateDir
from ocs.supervisor.states import Action, Event, Exit, Phase, Policy, SendSignal, Start, adopted, step

__all__ = ["Supervisor"]

_WRITERS = 4
"""How many threads write log files at most: a disk that hangs leaves the others to do their work."""

_STRAYS_INTERVAL = 30.0
"""How often what has become our child by its parent's death is looked for and reaped, in seconds."""


class Supervisor:
    """Keeps children as they are wanted: starts them, starts them again when they die, ends them.

    Args:
        reactor: spawns, keeps the time and lends threads. Its clock should be one that never is set:
            ``reactor.seconds = time.monotonic``.
        policy: how patient to be with children that are given none of their own.
        on_change: called with a child whenever its phase, its target or its process has changed.
        state_dir: where the ledger and the pipes are; None: no child outlives this process.
        launcher: starts children faster than plainly; None: all are started plainly.

    Raises:
        SupervisorInUseError: another supervisor uses ``state_dir``.
        OSError: ``state_dir`` cannot be made.
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
        self._room = PipeRoom()
        self._writers = DeferredSemaphore(_WRITERS)
        self._state_dir = StateDir(state_dir) if state_dir else None
        self._leftovers = dict(self._state_dir.running) if self._state_dir else {}
        self._ledger = Ledger(reactor, self._state_dir.ledger, self._leftovers) if self._state_dir else None
        self._means = Means(reactor, self._ledger, launcher)
        self._strays: DelayedCall | None = None
        self._reaps = launcher is not None and become_subreaper()
        self._released: Deferred[None] | None = None

    @property
    def trouble(self) -> str:
        """Why children would not be found again by the next supervisor as they should be; empty while all is well."""
        return self._ledger.trouble if self._ledger else ""

    def add(self, command: Command, policy: Policy | None = None) -> Child:
        """Take a child under supervision; it stays down until it is wanted up, or adopted.

        Args:
            command: how it is started.
            policy: how patient to be with it; None: as with all.

        Raises:
            ValueError: there is one of that name already.
        """
        if command.name in self.children:
            raise ValueError(f"{command.name} is supervised already")
        output = ChildOutput(self._reactor, _log_file(command), writers=self._writers)
        child = Child(command, output, policy or self._policy)
        path = self._state_dir.pipe(command.name) if self._state_dir else None
        child.pipe = Pipe(self._reactor, path, output, self._room)
        self.children[command.name] = child
        self._remember(child)
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
        if child.pipe:
            child.pipe.close(remove=name not in self._leftovers)

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
        return dict(self._leftovers)

    def adopt(self, name: str) -> bool:
        """Take over the process that an earlier supervisor has left for a child; it is wanted up.

        Returns:
            Whether there is one; False if it has ended meanwhile, which is then in the child's history.

        Raises:
            KeyError: there is no child of that name.
            ValueError: the child has a process already.
            OSError: there is no room for its descriptors; it can be tried again.
        """
        child = self.children[name]
        if child.state.alive:
            raise ValueError(f"{name} is {child.state.phase}: only what is down can be adopted")
        taken = self._take_over(child)
        if taken:
            self._changed(child)
        return taken

    def release(self) -> "Deferred[None]":
        """Let go of all children: they run on, for the next supervisor to adopt. Nothing is started or ended after.

        Returns:
            A Deferred that fires when those that were being started run, all that has been read of them is on disk, and
            another supervisor can use the folder.
        """
        self._released = self._released or Deferred()
        for child in self.children.values():
            _cancel(child.timer)
        done: Deferred[None] = Deferred()
        self._released.addCallback(lambda _result: done.callback(None))
        self._let_go_of_all()
        return done

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
            A Deferred that fires when they are gone and what they printed is on disk; at once after `release`.

        Raises:
            KeyError: there is no child of such a name.
        """
        children = [self.children[name] for name in (self.children if names is None else names)]
        if self._released:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._waiters.append((children, done))
        for child in children:
            self._dispatch(child, Event.WISH_DOWN)
        self._tell_waiters()
        return done

    def _dispatch(self, child: Child, event: Event | Exit) -> None:
        if self._released:
            return
        before = child.state
        child.state, actions = step(before, event, self._reactor.seconds(), child.policy)
        self._set_timer(child)
        for action in actions:
            self._act(child, action)
        if (before.phase, before.target, before.starts) != (child.state.phase, child.state.target, child.state.starts):
            self._changed(child)
        self._tell_waiters()

    def _changed(self, child: Child) -> None:
        try:
            self._on_change(child)
        except Exception:
            # What others do about a change is theirs: a child is not to suffer from it.
            self.log.failure("telling of a change of {name} failed", name=child.name)

    def _set_timer(self, child: Child) -> None:
        _cancel(child.timer)
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
        try:
            # What nobody has adopted, but is there, is taken over: never a second copy.
            if child.name not in self._leftovers or not self._take_over(child):
                self._start_anew(child)
        except OSError as error:
            # Decided in the next turn of the reactor, like any other end.
            self._reactor.callLater(0, self._gone, child, Exit(error=in_words(error)))

    def _start_anew(self, child: Child) -> None:
        child.output.log_to(_log_file(child.command))
        child.begin_run(time.time())
        child.process = self._new_process(child)
        child.process.start(child.command)

    def _new_process(self, child: Child) -> ChildProcess:
        assert child.pipe  # noqa: S101 - `add` has made it; only tests make children otherwise
        return ChildProcess(self._means, child.pipe, lambda: self._begun(child), lambda end: self._gone(child, end))

    def _begun(self, child: Child) -> None:
        child.output.note(f"{child.name}: started as process {child.pid}, start number {child.state.starts}")
        if self._reaps and not self._strays:
            self._strays = self._reactor.callLater(_STRAYS_INTERVAL, self._reap_strays)
        if self._means.launcher:
            # Its process id is known only now.
            self._changed(child)
        self._let_go_of_all()

    def _gone(self, child: Child, end: Exit) -> None:
        child.end_run(end, time.time())
        if self._ledger and child.name not in self._leftovers:
            self._ledger.strike(child.name)
        self._dispatch(child, end)
        self._let_go_of_all()

    def _take_over(self, child: Child) -> bool:
        entry, process = self._leftovers.get(child.name), self._new_process(child)
        taken = entry is not None and process.take_over(entry)
        self._leftovers.pop(child.name, None)
        if entry is None or not taken:
            self._has_ended(child, entry)
            return False
        child.begin_run(entry.started)
        child.process, child.adopted = process, True
        child.state = adopted(self._reactor.seconds(), age(entry.pid))
        child.output.recall().addBoth(lambda _result: self._listen(child, entry))
        return True

    def _listen(self, child: Child, entry: Entry) -> None:
        child.first_line = child.output.tail.count
        child.output.note(f"{child.name}: taken over as process {entry.pid}")
        if child.pipe and not self._released:
            child.pipe.read()

    def _remember(self, child: Child) -> None:
        """Enter in the history what has ended while no supervisor was there."""
        self._has_ended(child, self._state_dir.ended.pop(child.name, None) if self._state_dir else None)

    def _has_ended(self, child: Child, entry: Entry | None) -> None:
        if entry and self._state_dir:
            self._state_dir.end_remains(entry)
            child.history.append(PastRun(entry.started, time.time(), Exit(unknown=True), ()))

    def _let_go_of_all(self) -> None:
        """Let go, when that has been asked for and none is being started."""
        if not self._released or self._released.called:
            return
        if any(child.process and not child.process.begun and child.state.alive for child in self.children.values()):
            return
        for child in self.children.values():
            if child.process:
                child.process.let_go()
            if child.pipe:
                child.pipe.close()
        _cancel(self._strays)
        drained: Deferred[Any] = gatherResults([child.output.drained() for child in self.children.values()])
        written: Deferred[Any] = self._ledger.written() if self._ledger else succeed(None)
        gatherResults([drained, written]).addBoth(self._close)

    def _close(self, _result: Any) -> None:
        if self._released and not self._released.called:
            if self._ledger:
                self._ledger.close()
            if self._state_dir:
                self._state_dir.close()
            self._leftovers.clear()
            self._released.callback(None)

    def _reap_strays(self) -> None:
        self._strays = None
        ours = {child.pid for child in self.children.values() if child.pid}
        reap_strays(ours | set(twisted_process.reapProcessHandlers))
        if ours:
            self._strays = self._reactor.callLater(_STRAYS_INTERVAL, self._reap_strays)

    def _tell_waiters(self) -> None:
        over = [waiter for waiter in self._waiters if not any(child.state.alive for child in waiter[0])]
        self._waiters = [waiter for waiter in self._waiters if waiter not in over]
        for children, done in over:
            _when_drained(children, done)


def _log_file(command: Command) -> LogFile | None:
    return LogFile(command.log_file) if command.log_file else None


def _cancel(call: DelayedCall | None) -> None:
    if call and call.active():
        call.cancel()


def _when_drained(children: list[Child], done: "Deferred[None]") -> None:
    gatherResults([child.output.drained() for child in children]).addCallback(lambda _results: done.callback(None))
