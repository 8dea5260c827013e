"""The end of a process, whoever its parent is: by its pidfd, or by looking twice a second where there is none.

How it ended is known of our own children only: those that we, or on our behalf a launcher, have started.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.base import DelayedCall
from twisted.internet.process import reapProcessHandlers
from twisted.python.failure import Failure

from ocs.supervisor.proc import stamp
from ocs.supervisor.states import Exit

__all__ = ["PidfdWatch", "PollWatch", "Watch", "forget_reaped", "reap", "watch"]

_LOOK_INTERVAL = 0.5
"""How often it is looked whether a process has ended, where nothing tells, in seconds."""


class Watch(Protocol):
    """Who waits for the end of one process."""

    def send(self, signum: int) -> None:
        """Send a signal to it, and never to another of the same id; one that has gone is no error."""

    def stop(self) -> None:
        """Wait no more."""


def watch(reactor: Any, pid: int, on_end: Callable[[Exit], None]) -> Watch:
    """Wait for the end of a process.

    Args:
        reactor: reads, and keeps the time.
        pid: the process; one that has already ended is no error.
        on_end: called once, in a later turn of the reactor.
    """
    try:
        return PidfdWatch(reactor, pid, on_end)
    except (OSError, AttributeError):
        # No such process, or no such system; in either case looking will tell.
        return PollWatch(reactor, pid, on_end)


class PidfdWatch:
    """Waits by a descriptor that can be read when the process has ended.

    Raises:
        OSError: there is no such process, or no room for a descriptor.
    """

    def __init__(self, reactor: Any, pid: int, on_end: Callable[[Exit], None]) -> None:
        self._fd = os.pidfd_open(pid)
        self._pid = pid
        self._reactor = reactor
        self._on_end = on_end
        reactor.addReader(self)

    def send(self, signum: int) -> None:
        """Send a signal to the process."""
        if self._fd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signum)

    def stop(self) -> None:
        """Wait no more."""
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        """Return the descriptor, for the reactor."""
        return self._fd

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Take note of the end."""
        self.stop()
        self._on_end(reap(self._pid))

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Stop with the reactor."""
        self.stop()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """Return what the reactor calls this in its log."""
        return f"process {self._pid}"


class PollWatch:
    """Waits by looking."""

    def __init__(self, reactor: Any, pid: int, on_end: Callable[[Exit], None]) -> None:
        self._pid = pid
        self._stamp = stamp(pid)
        self._reactor = reactor
        self._on_end = on_end
        self._next: DelayedCall | None = reactor.callLater(0 if self._stamp is None else _LOOK_INTERVAL, self._look)

    def send(self, signum: int) -> None:
        """Send a signal to the process."""
        if self._runs():
            with suppress(ProcessLookupError):
                os.kill(self._pid, signum)

    def stop(self) -> None:
        """Wait no more."""
        if self._next:
            self._next.cancel()
            self._next = None

    def _runs(self) -> bool:
        return self._stamp is not None and stamp(self._pid) == self._stamp

    def _look(self) -> None:
        if self._runs():
            self._next = self._reactor.callLater(_LOOK_INTERVAL, self._look)
            return
        self._next = None
        self._on_end(reap(self._pid))


def reap(pid: int) -> Exit:
    """Return how a process has ended, and free its id if it is our child."""
    try:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return Exit(unknown=True)
    if info is None:
        return Exit(unknown=True)
    return Exit(code=info.si_status) if info.si_code == os.CLD_EXITED else Exit(signum=info.si_status)


def forget_reaped() -> None:
    """Have Twisted wait no more for what others have reaped, such as a `Watch` on what Twisted had spawned.

    It would wait forever, and could not start the process that is given the same id again, months later.
    """
    for pid in list(reapProcessHandlers):
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            reapProcessHandlers.pop(pid, None)
