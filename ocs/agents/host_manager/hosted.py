"""The runner of an agent that this machine runs as a process: a child of the supervisor."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import ensureDeferred

from ocs.agents.host_manager.runner import Status
from ocs.supervisor import Child, Command, Event, Exit, Supervisor

__all__ = ["HostedRunner", "exit_code"]

_NOT_STARTED = 127
_SIGNALLED = 128
"""As a shell tells them: could not be started; ended by the signal of this number above it."""


def exit_code(end: Exit | None) -> int | None:
    """Return an end as one number, as a shell would; None where nobody knows."""
    if end is None or end.unknown:
        return None
    if end.error:
        return _NOT_STARTED
    return end.code if end.signum is None else _SIGNALLED + end.signum


class HostedRunner:
    """Starts and stops one child of a supervisor.

    Args:
        supervisor: has the child; its policy does not restart.
        child: the child.
        prepare: makes its command as the files say at the time of a start.
        log: tells when that fails; the last command is used then.
    """

    def __init__(
        self, supervisor: Supervisor, child: Child, prepare: Callable[[str], Awaitable[Command]], log: Any
    ) -> None:
        self.child = child
        self._supervisor = supervisor
        self._prepare = prepare
        self._log = log
        self._start_number = 0
        self._preparing = False

    def up(self) -> None:
        """Start the process, unless there is one."""
        if self._preparing or self.child.state.alive:
            return
        self._preparing = True
        self._start_number += 1
        ensureDeferred(self._start(self._start_number)).addErrback(self._failed)

    def down(self) -> None:
        """End the process: SIGINT, then SIGTERM, then SIGKILL."""
        self._preparing = False
        self._supervisor.tell(self.child.name, Event.WISH_DOWN)

    @property
    def busy(self) -> bool:
        """Whether it is being started, and there is no process yet."""
        return self._preparing or (self.child.state.alive and self.child.pid is None)

    @property
    def status(self) -> Status:
        """Whether it runs, and the exit code of its last end."""
        if self.child.pid is not None or self.busy:
            return self.child.pid is not None, None
        return False, exit_code(self.child.state.last_exit)

    async def _start(self, number: int) -> None:
        name = self.child.name
        try:
            self._supervisor.replace_command(name, await self._prepare(name))
        except OSError as error:
            self._log.warn("{name} is started as the last time: {reason}", name=name, reason=error)
        if self._preparing and number == self._start_number:
            self._preparing = False
            self._supervisor.tell(name, Event.WISH_UP)

    def _failed(self, failure: Any) -> None:
        self._preparing = False
        self._log.error("cannot start {name}: {reason}", name=self.child.name, reason=failure.value)
