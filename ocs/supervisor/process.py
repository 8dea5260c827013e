"""One process at the edge: start it in a session of its own, signal it, learn when it and all it started are gone."""

import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.base import DelayedCall
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ocs.supervisor.output import ChildOutput
from ocs.supervisor.states import Exit

__all__ = ["ChildProcess", "Command", "LaunchError", "Launcher", "group_is_gone", "signal_group"]

_OUTPUT_GRACE = 1.0
"""Time for the last output after a process has ended, in seconds: a descendant in another group may hold the pipe."""

_SWEEP_INTERVAL = 0.02
"""How often it is looked whether a killed process group has gone, in seconds."""

_PYTHON_SETSID = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"


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
"""Starts a command another way: given it, a descriptor for its output (1 and 2) and one of its gate, gives its process id.

The process has a session of its own, and begins only when a byte can be read at the gate; at the gate's end it exits.
"""


class ChildProcess(ProcessProtocol):
    """A running child.

    Args:
        reactor: spawns, reads and keeps the time.
        output: takes what the child prints.
        on_exit: called once, when the process and everything in its group are gone.
    """

    transport: Any

    def __init__(self, reactor: Any, output: ChildOutput, on_exit: Callable[[Exit], None]) -> None:
        self.pid: int | None = None
        self._reactor = reactor
        self._output = output
        self._on_exit: Callable[[Exit], None] | None = on_exit
        self._exit: Exit | None = None
        self._closed = False
        self._grace: DelayedCall | None = None

    def start(self, command: Command) -> None:
        """Start the process.

        Raises:
            OSError: the system refused.
        """
        argv = [*_session_prefix(), *command.argv]
        path = str(command.cwd) if command.cwd else None
        with Path(os.devnull).open("rb") as nothing:
            self._reactor.spawnProcess(
                self, argv[0], argv, dict(command.env), path, childFDs={0: nothing.fileno(), 1: "r", 2: "r"}
            )

    def send(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to all of its group; one that has gone is no error."""
        if self.pid is None or self._exit is not None:
            return
        if not (group and signal_group(self.pid, signum)):
            # Not yet in a group of its own: it has only just been started.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Take note of the process."""
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: ARG002, N802, N803 - Twisted's names
        """Take output; make the child wait if the disk cannot follow."""
        self._output.write(data)
        if self._output.is_full():
            self.transport.pauseProducing()
            self._output.when_not_full(self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.transport.resumeProducing()

    def processExited(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """End what the process has left behind in its group."""
        self._exit = _exit_of(reason)
        self._sweep()

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Take note that all output has been read."""
        self._closed = True
        if self._grace and self._grace.active():
            self._grace.cancel()
            self._finish()

    def _sweep(self) -> None:
        pid = self.pid or 0
        if signal_group(pid, signal.SIGKILL) and not group_is_gone(pid):
            self._reactor.callLater(_SWEEP_INTERVAL, self._sweep)
        elif self._closed:
            self._finish()
        else:
            self._grace = self._reactor.callLater(_OUTPUT_GRACE, self._give_up_output)

    def _give_up_output(self) -> None:
        if self._output.is_full():
            self._grace = self._reactor.callLater(_OUTPUT_GRACE, self._give_up_output)
            return
        self.transport.loseConnection()
        self._finish()

    def _finish(self) -> None:
        on_exit, self._on_exit = self._on_exit, None
        if on_exit and self._exit:
            on_exit(self._exit)


def signal_group(group: int, signum: int) -> bool:
    """Send a signal to a process group.

    Returns:
        Whether there is such a group.
    """
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Somebody else's processes: the number has been given away again.
        return False
    return True


def group_is_gone(group: int) -> bool:
    """Return whether no process of a group runs; one that has ended and waits to be reaped does not run."""
    return not any(_runs_in(process, group) for process in psutil.process_iter())


def _runs_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, PermissionError, psutil.Error):
        return False


def _exit_of(reason: Failure) -> Exit:
    if isinstance(reason.value, ProcessTerminated):
        return Exit(code=reason.value.exitCode, signum=reason.value.signal)
    return Exit(code=0)


def _session_prefix() -> tuple[str, ...]:
    """Return what makes the command behind it the leader of its own session, with the same process id."""
    setsid = shutil.which("setsid")
    return (setsid,) if setsid else (sys.executable, "-I", "-S", "-c", _PYTHON_SETSID)
