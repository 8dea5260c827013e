"""What an agent answers: the actions of its operations, for those who may."""

from typing import Any

from twisted.internet.defer import Deferred

from ocs.audit.masking import Masked, mask
from ocs.base import ERROR, OK
from ocs.core.access_gate import AccessGate
from ocs.core.audit import Auditing
from ocs.core.callers import ITSELF, Caller
from ocs.core.operations import Operations, Reply

__all__ = ["Answering"]


class Answering(Auditing):
    """The part of an agent that answers calls of its operations."""

    operations: Operations
    access: AccessGate

    def start(self, op_name: str, params: dict[str, Any] | None = None, password: Any = None) -> Reply:
        """Start an operation.

        Args:
            op_name: the operation.
            params: its parameters.
            password: gives the caller its credential level.

        Returns:
            Code, message and session map: OK as soon as the operation is scheduled.
        """
        return self.judge("start", op_name, params, password, ITSELF)

    def stop(self, op_name: str, params: dict[str, Any] | None = None, password: Any = None) -> Reply:
        """Stop a process.

        Args:
            op_name: the process.
            params: handed to its stopping function.
            password: gives the caller its credential level.

        Returns:
            Code, message and session map: OK once the request is handed over.
        """
        return self.judge("stop", op_name, params, password, ITSELF)

    def abort(self, op_name: str, params: dict[str, Any] | None = None, password: Any = None) -> Reply:
        """Abort a task.

        Args:
            op_name: the task.
            params: handed to its aborting function.
            password: gives the caller its credential level.

        Returns:
            Code, message and session map: OK once the request is handed over.
        """
        return self.judge("abort", op_name, params, password, ITSELF)

    def judge(self, action: str, op_name: Any, params: Any, password: Any, caller: Caller) -> Reply:
        """Answer a request to start or end an operation, from whomever.

        Args:
            action: ``start``, ``stop`` or ``abort``.
            op_name: the operation.
            params: its parameters.
            password: gives the caller its credential level.
            caller: who asks.

        Returns:
            Code, message and session map.
        """
        masked = mask(params)  # now: the operation, which gets them, may change them
        op = self.operations.find(op_name)
        if op is None:
            level, reply = None, self.operations.unknown(op_name)
        else:
            level, refusal = self.access.check(password, op.min_privs, action, op_name, caller)
            reply = (ERROR, refusal, {}) if refusal else self._act(action, op_name, params, level)
        self._note(action, op_name, caller, masked, reply, level)
        return reply

    def act_itself(self, action: str, op_name: str, params: dict[str, Any] | None = None) -> Reply:
        """Start or end an operation because the agent itself wants it: at its start, at its end.

        Args:
            action: ``start``, ``stop`` or ``abort``.
            op_name: the operation.
            params: its parameters.

        Returns:
            Code, message and session map.
        """
        masked = mask(params)
        reply = self._act(action, op_name, params, self.access.own_level)
        self._note(action, op_name, ITSELF, masked, reply, self.access.own_level)
        return reply

    def _started_again(self, op_name: str, params: Any, reply: Reply) -> None:
        self._note("start", op_name, ITSELF, mask(params), reply, self.access.own_level)

    def _act(self, action: str, op_name: str, params: Any, level: int) -> Reply:
        if action == "start":
            return self.operations.start(op_name, params, level)
        return self.operations.end_early(op_name, action, params)

    def _note(self, action: str, op_name: Any, caller: Caller, masked: Masked, reply: Reply, level: int | None) -> None:
        code, message, session = reply
        session_id = session.get("session_id") if code == OK else None
        self._trail.note(action, op_name, caller, masked, code, message, session_id, level)

    def status(self, op_name: str, params: dict[str, Any] | None = None, password: Any = None) -> Reply:  # noqa: ARG002 - one form for all actions
        """Return an operation's current or last session.

        Args:
            op_name: the operation.
            params: not used.
            password: not used.

        Returns:
            Code, message and session map.
        """
        return self.operations.status(op_name)

    def wait(self, op_name: str, timeout: float | None = None, password: Any = None) -> "Deferred[Reply]":  # noqa: ARG002 - one form for all actions
        """Wait until an operation has ended.

        Args:
            op_name: the operation.
            timeout: seconds; None waits to the end, a negative one answers at once.
            password: not used.

        Returns:
            A Deferred of code, message and session map: OK when it has ended, TIMEOUT when the time is up.
        """
        return self.operations.wait(op_name, timeout)
