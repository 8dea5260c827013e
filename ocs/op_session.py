"""One run of an operation: its state, its messages and the data it shows to clients."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ocs.base import OpCode
from ocs.plain import plain, plain_or_null

__all__ = ["SESSION_STATUS_CODES", "OpSession", "StatusError"]

SESSION_STATUS_CODES = [None, "starting", "running", "stopping", "done"]
"""The life of a session; it only moves forward. The index is the op code while the session lives."""

_RANK = {status: rank for rank, status in enumerate(SESSION_STATUS_CODES) if status}

_PURGE_POLICY = {"min_age_s": 3600, "min_messages": 5, "max_messages": 10000}


class StatusError(ValueError, AssertionError):
    """A session was told to go back to an earlier status, or to one that does not exist."""


class OpSession:
    """One run of an operation.

    An operation's function gets it as its first argument. Everything here may be used from any thread.

    Args:
        session_id: unique within the agent's life.
        op_name: the operation's name.
        status: where the session starts its life.
        app: the agent.
        purge_policy: overrides how long messages are kept: ``min_age_s`` (s) and ``min_messages`` (count): younger ones
            and the last few always stay; ``max_messages`` (count): never more than this.
        cred_level: the privileges of the client that started it, 0 to 4.

    Attributes:
        data: what clients see of the operation's work: a map of plain values, NumPy scalars and arrays.
        degraded: set it while the operation runs but cannot do its work.
        success: None until done, then whether the operation succeeded.
        messages: pairs of time (unix s) and text.
        start_time: unix seconds.
        end_time: unix seconds, None while running.
    """

    def __init__(
        self,
        session_id: int,
        op_name: str,
        status: str = "starting",
        app: Any = None,
        purge_policy: dict[str, float] | None = None,
        cred_level: int = 1,
    ) -> None:
        self.session_id = session_id
        self.op_name = op_name
        self.app = app
        self.cred_level = cred_level
        self.data: Any = {}
        self.degraded = False
        self.success: bool | None = None
        self.start_time = time.time()
        self.end_time: float | None = None
        self.status: str | None = None
        self.purge_policy = {**_PURGE_POLICY, **(purge_policy or {})}
        self.messages: deque[tuple[float, str]] = deque(maxlen=int(self.purge_policy["max_messages"]))
        self._lock = threading.RLock()
        self._reported: set[str] = set()
        self._when_done: list[Callable[[OpSession], None]] = []
        self.set_status(status, timestamp=self.start_time)

    def set_status(self, status: str, timestamp: float | None = None) -> None:
        """Move the session forward; the status it already has is no move and no message.

        Args:
            status: one of `SESSION_STATUS_CODES`.
            timestamp: when it happened (unix s); now unless given.

        Raises:
            StatusError: if ``status`` is unknown or lies behind.
        """
        if status not in _RANK:
            raise StatusError(f"{status!r} is not a session status; known: {list(_RANK)}.")
        when = time.time() if timestamp is None else timestamp
        with self._lock:
            if status == self.status:
                return
            if self.status is not None and _RANK[status] < _RANK[self.status]:
                raise StatusError(f"Session of {self.op_name} is {self.status!r} and cannot go back to {status!r}.")
            self.status = status
            self.add_message(f'Status is now "{status}".', timestamp=when)
            if status == "done":
                self.end_time = when
        if status == "done":
            self._tell_waiters()

    def add_message(self, message: str, timestamp: float | None = None) -> None:
        """Add a line to what clients see of the session; it goes to the agent's log too.

        Args:
            message: a sentence for a person.
            timestamp: when it happened (unix s); now unless given.
        """
        when = time.time() if timestamp is None else timestamp
        with self._lock:
            self.messages.append((when, message))
            self._purge(when)
        if self.app is not None:
            self.app.log.info("{op}:{session} {message}", op=self.op_name, session=self.session_id, message=message)

    def purge_log(self) -> None:
        """Drop the messages that have outlived the purge policy."""
        with self._lock:
            self._purge(time.time())

    def _purge(self, now: float) -> None:
        oldest = now - self.purge_policy["min_age_s"]
        while len(self.messages) > self.purge_policy["min_messages"] and self.messages[0][0] < oldest:
            self.messages.popleft()

    @property
    def op_code(self) -> OpCode:
        """The session's state as the number that heartbeats carry."""
        with self._lock:
            if self.status == "done":
                return OpCode.SUCCEEDED if self.success else OpCode.FAILED
            if self.status == "running" and self.degraded:
                return OpCode.DEGRADED
            return OpCode(_RANK[self.status] + 1 if self.status else OpCode.NONE)

    def finish(self, success: bool, message: str) -> None:
        """End the session with its result. For the agent; an operation returns its result instead.

        Args:
            success: whether the operation did what it was asked to.
            message: the operation's last word.
        """
        with self._lock:
            if self.status == "done":
                return
            self.success = success
            if message:
                self.add_message(message)
        self.set_status("done")

    def call_when_done(self, function: Callable[["OpSession"], None]) -> Callable[[], None]:
        """Have ``function(session)`` called once the session is done, in the thread that ends it, or now if it is.

        Args:
            function: what to call.

        Returns:
            A function that takes the request back.
        """
        with self._lock:
            if self.status != "done":
                self._when_done.append(function)
                return lambda: self._forget(function)
        function(self)
        return lambda: None

    def _forget(self, function: Callable[["OpSession"], None]) -> None:
        with self._lock:
            if function in self._when_done:
                self._when_done.remove(function)

    def _tell_waiters(self) -> None:
        with self._lock:
            waiters, self._when_done = self._when_done, []
        for function in waiters:
            function(self)

    def encoded(self) -> dict[str, Any]:
        """Return the session as a client gets it.

        Returns:
            The map described in the wire protocol.

        Raises:
            NotSendableError: if ``data`` holds something that cannot be sent (an infinity, an object, bytes); names it.
        """
        return self._encoded(plain(self.data, "session.data"))

    def encoded_for_client(self) -> dict[str, Any]:
        """Return the session as `encoded` does, with null for what cannot be sent, and a message that says so, once."""
        try:
            data, reasons = plain_or_null(self.data, "session.data")
        except RuntimeError as error:  # a foreign mapping that changed while it was read
            data, reasons = {}, [f"session.data changed while it was read: {error}"]
        for reason in reasons[:10]:
            if reason not in self._reported and len(self._reported) < 100:  # noqa: PLR2004 - a bound, not a tuning
                self._reported.add(reason)
                self.add_message(f"Not shown to clients: {reason}")
        return self._encoded(data)

    def _encoded(self, data: Any) -> dict[str, Any]:
        with self._lock:
            self._purge(time.time())
            return {
                "session_id": self.session_id,
                "op_name": self.op_name,
                "op_code": int(self.op_code),
                "cred_level": int(self.cred_level),
                "status": self.status,
                "degraded": bool(self.degraded),
                "success": self.success,
                "start_time": self.start_time,
                "end_time": self.end_time,
                "data": data,
                "messages": list(self.messages),
            }
