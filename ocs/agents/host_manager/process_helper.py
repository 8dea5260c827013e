"""A single agent process, for those who keep one by themselves; the manager has a supervisor for its own."""

import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ocs.agents.host_manager.hosted import exit_code
from ocs.agents.host_manager.runner import Status
from ocs.supervisor import Exit, Policy, Tail

__all__ = ["AgentProcessHelper"]


class AgentProcessHelper(ProcessProtocol):
    """Starts and stops one process: SIGINT, after 10 s SIGTERM, after 5 s more SIGKILL.

    Args:
        instance_id: its name.
        cmd: the program and its arguments.
        reactor: spawns the process; the global one unless given.

    Attributes:
        instance_id: its name.
        cmd: the program and its arguments.
        output: the last lines of what it prints.
    """

    transport: Any

    def __init__(self, instance_id: str, cmd: Sequence[str], reactor: Any = None) -> None:
        super().__init__()
        self.instance_id = instance_id
        self.cmd = list(cmd)
        self.output = Tail()
        self._reactor = reactor or _global_reactor()
        self._running = False
        self._code: int | None = None
        self._signals_sent = 0
        self._next_signal: DelayedCall | None = None

    @property
    def status(self) -> Status:
        """Whether it runs, and the exit code of its last end."""
        return self._running, self._code

    def up(self) -> None:
        """Start the process, unless it runs."""
        if not self._running:
            self._running, self._code, self._signals_sent = True, None, 0
            self._reactor.spawnProcess(self, self.cmd[0], self.cmd, env=None)

    def down(self) -> None:
        """Have the process end; does nothing where that is under way, or there is none."""
        if self._running and not self._signals_sent:
            self._send_next_signal()

    def _send_next_signal(self) -> None:
        steps = Policy().stop_signals
        action, patience = steps[min(self._signals_sent, len(steps) - 1)]
        self._signals_sent += 1
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(signal.Signals(action.signum).value)
        self._next_signal = self._reactor.callLater(patience, self._send_next_signal)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Close the process's standard input: nobody types there."""
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep the last lines."""
        self.output.feed(data)

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep the last lines."""
        self.output.feed(data)

    def processExited(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Take note of the end."""
        if self._next_signal and self._next_signal.active():
            self._next_signal.cancel()
        self._code = _code_of(reason.value)
        self._running = False


def _code_of(reason: Any) -> int | None:
    if isinstance(reason, ProcessTerminated):
        return exit_code(Exit(code=reason.exitCode, signum=reason.signal))
    return 0


def _global_reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    return reactor
