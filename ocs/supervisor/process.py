"""One process at the edge: start it in a session of its own, signal it, learn when it and all it started are gone."""

import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOENT
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ocs.supervisor.gate import GATE_FD, Gate, gated
from ocs.supervisor.ledger import Entry, Ledger
from ocs.supervisor.pipe import Pipe
from ocs.supervisor.proc import group_is_gone, reap_group, signal_group, stamp
from ocs.supervisor.states import Exit
from ocs.supervisor.watch import Watch, forget_reaped, watch

__all__ = ["ChildProcess", "Command", "LaunchError", "Launcher", "Means", "group_is_gone", "signal_group"]

_LAUNCH_PATIENCE = 60.0
"""How long a launcher may take before a child is started plainly instead, in seconds. It may have hundreds to start,
one after the other, and knows best itself when it hangs: this is for one that does not."""

_SWEEP_INTERVAL = 0.02
_LONGEST_SWEEP_INTERVAL = 1.0
"""How often it is looked whether a killed process group has gone, at first and at last, in seconds."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a child is started."""

    name: str
    """The instance-id, or what stands for it."""
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path | None = None
    log_file: Path | None = None
    """Where all it prints is kept; None: only the last lines are."""


class LaunchError(OSError):
    """A launcher cannot start this command; it is to be started plainly."""


Launcher = Callable[[Command, int, int], Awaitable[int]]
"""Starts a command another way: given it, a descriptor for its output (1 and 2) and one of its gate, gives its pid.

The process leads a session of its own, and begins only when a byte can be read at the gate; at the gate's end it exits.
"""


@dataclass(frozen=True, slots=True)
class Means:
    """What processes are started and watched with."""

    reactor: Any
    """Spawns, reads and keeps the time."""
    ledger: Ledger | None = None
    """Where they are entered before they begin."""
    launcher: Launcher | None = None


class ChildProcess:
    """A process of a child, from its start, or from when it was taken over, to its end.

    Args:
        means: what it is started and watched with.
        pipe: takes what it prints.
        on_begun: called once, when it has been let in at its gate.
        on_exit: called once, in a later turn of the reactor, when the process and everything in its group are gone.
    """

    log = Logger()

    def __init__(self, means: Means, pipe: Pipe, on_begun: Callable[[], None], on_exit: Callable[[Exit], None]) -> None:
        self.pid: int | None = None
        self.begun = False
        """Whether it has been let in at its gate."""
        self._means = means
        self._pipe = pipe
        self._on_begun = on_begun
        self._on_exit: Callable[[Exit], None] | None = on_exit
        self._gate: Gate | None = None
        self._watch: Watch | None = None
        self._timer: DelayedCall | None = None
        self._turned_back: Exit | None = None
        self._end: Exit | None = None
        self._sweep_interval = _SWEEP_INTERVAL

    def start(self, command: Command) -> None:
        """Start the process.

        Raises:
            OSError: there is no such program or folder, or the system refused.
        """
        _check(command)
        self._pipe.open()
        if self._means.launcher:
            self._launch(command, self._means.launcher)
        else:
            self._spawn(command)

    def take_over(self, entry: Entry) -> bool:
        """Take over a process that an earlier supervisor has started.

        Returns:
            Whether it still runs.

        Raises:
            OSError: its pipe cannot be opened.
        """
        # Watched first and known second: so it cannot be another one that has got its id in between.
        self._watch = watch(self._means.reactor, entry.pid, self._leader_ended)
        try:
            runs = entry.runs
            if runs:
                self._pipe.take_over(entry.pid)
                self.pid, self.begun = entry.pid, True
        finally:
            if not self.begun:
                self._watch.stop()
        return runs

    def send(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to all of its group; one that has gone is no error."""
        if self._end is not None:
            return
        if not self.begun:
            self._turn_back(signum)
        elif not (group and signal_group(self.pid or 0, signum)):
            # Not yet in a group of its own: it has only just been started.
            self._signal(signum)

    def let_go(self) -> None:
        """Watch it no more; it runs on."""
        self._on_exit = None
        self._stop_timer()
        if self._watch:
            self._watch.stop()

    # The start: launched or spawned, entered, let in.

    def _launch(self, command: Command, launcher: Launcher) -> None:
        async def launch() -> int:
            return await launcher(command, output, gate.inner)

        output, gate = self._pipe.writing_end(), self._new_gate()
        self._timer = self._means.reactor.callLater(_LAUNCH_PATIENCE, self._launch_hangs, command, gate)
        launching = ensureDeferred(launch())
        launching.addBoth(_handed_over, output, gate)
        launching.addCallbacks(self._launched, self._not_launched, (command, gate), {}, (command, gate), {})
        launching.addErrback(self._broken)

    def _launched(self, pid: int, command: Command, gate: Gate) -> None:
        if gate is not self._gate or not gate.shut:
            # It came too late, and exits at its gate: its end is waited for only so that nothing is left of it.
            watch(self._means.reactor, pid, lambda _end: None)
            return
        self._stop_timer()
        self._watch = watch(self._means.reactor, pid, self._leader_ended)
        self._at_gate(command, pid)

    def _not_launched(self, failure: Failure, command: Command, gate: Gate) -> None:
        if gate is not self._gate or not gate.shut:
            return
        self._stop_timer()
        gate.close()
        if not failure.check(LaunchError):
            self.log.warn("{name}: started plainly: {reason}", name=command.name, reason=failure.value)
        self._spawn_instead(command)

    def _launch_hangs(self, command: Command, gate: Gate) -> None:
        self._timer = None
        gate.close()
        self.log.warn("{name}: started plainly: the launcher does not answer", name=command.name)
        self._spawn_instead(command)

    def _spawn_instead(self, command: Command) -> None:
        try:
            self._spawn(command)
        except OSError as error:
            self._timer = self._means.reactor.callLater(0, self._finish, Exit(error=in_words(error)))

    def _spawn(self, command: Command) -> None:
        forget_reaped()
        output, gate = self._pipe.writing_end(), self._new_gate()
        spawned = _Spawned(self._means.reactor, self._leader_ended)
        argv, cwd = gated(command.argv), str(command.cwd) if command.cwd else None
        try:
            with Path(os.devnull).open("rb") as nothing:
                files = {0: nothing.fileno(), 1: output, 2: output, GATE_FD: gate.inner}
                self._means.reactor.spawnProcess(spawned, argv[0], argv, dict(command.env), cwd, childFDs=files)
        except OSError:
            gate.close()
            raise
        finally:
            os.close(output)
            gate.handed_over()
        self._at_gate(command, spawned.transport.pid)

    def _new_gate(self) -> Gate:
        self._gate = Gate()
        return self._gate

    def _at_gate(self, command: Command, pid: int) -> None:
        self.pid = pid
        created = stamp(pid)
        if self._means.ledger is None or created is None:
            self._let_in()
            return
        entered = self._means.ledger.enter(Entry(command.name, pid, created, time.time()))
        entered.addCallback(lambda _result: self._let_in())
        entered.addErrback(self._broken)

    def _let_in(self) -> None:
        if self._gate and self._gate.shut and self._end is None:
            self.begun = True
            self._gate.open()
            self._on_begun()

    def _turn_back(self, signum: int) -> None:
        """End a process that waits at its gate, or is being launched: it has not begun anything."""
        self._turned_back = Exit(signum=signum)
        self._stop_timer()
        if self._gate:
            self._gate.close()
        if self.pid is None:
            self._timer = self._means.reactor.callLater(0, self._finish, self._turned_back)
        else:
            self._signal(signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        if self._watch:
            self._watch.send(signum)
        elif self.pid:
            # Our own, not reaped yet: the id is still its.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    # The end: the leader's, then its group's, then the last of its output.

    def _leader_ended(self, end: Exit) -> None:
        self._end = self._turned_back or end
        if self._gate:
            self._gate.close()
        self._sweep()

    def _sweep(self) -> None:
        pid = self.pid or 0
        self._timer = None
        reap_group(pid)
        if signal_group(pid, signal.SIGKILL) and not _emptied(pid):
            self._timer = self._means.reactor.callLater(self._sweep_interval, self._sweep)
            self._sweep_interval = min(2 * self._sweep_interval, _LONGEST_SWEEP_INTERVAL)
        else:
            self._pipe.drained().addCallback(lambda _result: self._finish(self._end or Exit(unknown=True)))

    def _finish(self, end: Exit) -> None:
        self._timer, self._end = None, end
        on_exit, self._on_exit = self._on_exit, None
        if on_exit:
            on_exit(end)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _broken(self, failure: Failure) -> None:
        self.log.failure("a process could not be started as it should be", failure)
        if not self.begun:
            self._turn_back(signal.SIGKILL)


class _Spawned(ProcessProtocol):
    """Hears from Twisted, which reaps what it has spawned itself."""

    transport: Any

    def __init__(self, reactor: Any, on_end: Callable[[Exit], None]) -> None:
        self._reactor = reactor
        self._on_end = on_end

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Pass the end on, in the next turn: Twisted may say so before it has said what the process is."""
        by, end = reason.value, Exit(code=0)
        if isinstance(by, ProcessTerminated):
            end = Exit(code=by.exitCode, signum=by.signal)
        self._reactor.callLater(0, self._on_end, end)


def in_words(error: OSError) -> str:
    """Return what an error of the system says, with what it is about."""
    reason = error.strerror or os.strerror(error.errno or 0)
    return f"{error.filename}: {reason}" if error.filename else reason


def _check(command: Command) -> None:
    """Find what the child could only say by an exit code of the shell."""
    if not shutil.which(command.argv[0], path=command.env.get("PATH")):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), command.argv[0])
    if command.cwd and not command.cwd.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(command.cwd))


def _handed_over(result: Any, output: int, gate: Gate) -> Any:
    os.close(output)
    gate.handed_over()
    return result


def _emptied(group: int) -> bool:
    reap_group(group)
    return group_is_gone(group)
