"""An operation as its agent has registered it: what starts it, what ends it early, and who may use it."""

from collections.abc import Callable
from typing import Any

from ocs.core.restarting import check_policy
from ocs.op_session import OpSession
from ocs.params import describe_params

__all__ = ["AgentOp", "AgentProcess", "AgentTask", "OpFunction"]

OpFunction = Callable[[OpSession, Any], Any]


class AgentOp:
    """An operation as registered: what starts it, and what ends it early.

    Args:
        launcher: called ``(session, params)``; returns ``(ok, message)``.
        ender: called ``(session, params)`` to stop or abort it; None where that is not possible.
        blocking: whether the launcher runs in a thread of its own, or in the reactor.
        ender_blocking: the same for the ender; None takes the value of ``blocking``.
        min_privs: the least credential level that may use it, 1 to 4.
    """

    op_type = ""
    verb = ""
    quiet = False
    """Whether its sessions are kept out of the agent's log."""

    def __init__(
        self,
        launcher: OpFunction,
        ender: OpFunction | None,
        blocking: bool | None,
        ender_blocking: bool | None,
        min_privs: int,
    ) -> None:
        self.launcher = launcher
        self.ender = ender
        self.blocking = bool(blocking)
        self.ender_blocking = self.blocking if ender_blocking is None else bool(ender_blocking)
        self.min_privs = max(1, int(min_privs))
        self.docstring = launcher.__doc__

    def encoded(self) -> dict[str, Any]:
        """Return what `get_api` tells of the operation."""
        info = {
            "blocking": self.blocking,
            "docstring": self.docstring,
            "op_type": self.op_type,
            "min_privs": self.min_privs,
        }
        params = describe_params(self.launcher)
        return info if params is None else {**info, "params": params}


class AgentTask(AgentOp):
    """An operation that ends by itself."""

    op_type = "task"
    verb = "abort"

    def __init__(
        self,
        launcher: OpFunction,
        blocking: bool | None = None,
        aborter: OpFunction | None = None,
        aborter_blocking: bool | None = None,
        min_privs: int = 1,
        *,
        quiet: bool = False,
    ) -> None:
        super().__init__(launcher, aborter, blocking, aborter_blocking, min_privs)
        self.quiet = quiet

    @property
    def aborter(self) -> OpFunction | None:
        """The function that aborts it."""
        return self.ender

    def encoded(self) -> dict[str, Any]:
        """Return what `get_api` tells of the task."""
        return {**super().encoded(), "abortable": self.ender is not None}


class AgentProcess(AgentOp):
    """An operation that runs until it is stopped."""

    op_type = "process"
    verb = "stop"

    def __init__(
        self,
        launcher: OpFunction,
        stopper: OpFunction | None,
        blocking: bool | None = None,
        stopper_blocking: bool | None = None,
        min_privs: int = 1,
        *,
        restart: str = "never",
    ) -> None:
        super().__init__(launcher, stopper, blocking, stopper_blocking, min_privs)
        self.restart = check_policy(restart)

    @property
    def stopper(self) -> OpFunction | None:
        """The function that stops it."""
        return self.ender

    def encoded(self) -> dict[str, Any]:
        """Return what `get_api` tells of the process."""
        info = super().encoded()
        return info if self.restart == "never" else {**info, "restart": self.restart}
