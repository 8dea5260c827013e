"""One run of an operation: its state, its messages and the data it shows to clients."""

import threading
import time
from collections.abc import Callable
from typing import Any

from ocs.base import OpCode
from ocs.plain import plain, plain_or_null, sendable_text

__all__ = ["SESSION_STATUS_CODES", "OpSession", "StatusError"]

SESSION_STATUS_CODES = [None, "starting", "running", "stopping", "done"]
"""The life of a session; it only moves forward."""

_RANK = {status: rank for rank, status in enumerate(SESSION_STATUS_CODES) if status}

_OVERTAKEN = {("stopping", "running"), ("done", "stopping")}
"""Moves that come too late and are ignored: of an operation's own code, or its stopper's, that did not know yet."""

_DATA_ROOM = 8 << 20
"""How much of ``data`` is shown to clients, in bytes: a router drops the connection over a reply that is too large."""

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
        quiet: keep its messages out of the agent's log, but for the last word of a failure.

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
        quiet: bool = False,
    ) -> None:
        self._quiet = quiet
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
        self.messages: list[tuple[float, str]] = []
        self._lock = threading.RLock()
        self._end_claimed = False
        self._reported: set[str] = set()
        self._when_done: list[Callable[[OpSession], None]] = []
        self.set_status(status, timestamp=self.start_time)

    def set_status(self, status: str, timestamp: float | None = None) -> None:
        """Move the session forward; the status it already has is no move and no message.

        ``running`` after a stop request has come in, and ``stopping`` after the operation has ended, are moves that
        something else has overtaken: they are ignored.

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
            if status == self.status or (self.status, status) in _OVERTAKEN:
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
        now = time.time()
        message = sendable_text(str(message))
        with self._lock:
            self.messages.append((now if timestamp is None else timestamp, message))
            self._purge(now)
        if self.app is not None and not self._quiet:
            self.app.log.info("{op}:{session} {message}", op=self.op_name, session=self.session_id, message=message)

    def purge_log(self) -> None:
        """Drop the messages that have outlived the purge policy."""
        with self._lock:
            self._purge(time.time())

    def _purge(self, now: float) -> None:
        policy, messages = self.purge_policy, self.messages
        count, oldest = len(messages), now - policy["min_age_s"]
        gone = max(0, count - int(policy["max_messages"]))
        while count - gone > policy["min_messages"] and messages[gone][0] < oldest:
            gone += 1
        del messages[:gone]

    @property
    def op_code(self) -> OpCode:
        """The session's state as the number that heartbeats carry."""
        with self._lock:
            if self.status == "done":
                return OpCode.SUCCEEDED if self.success else OpCode.FAILED
            if self.status == "running" and self.degraded:
                return OpCode.DEGRADED
            return OpCode(_RANK[self.status] + 1 if self.status else OpCode.NONE)

    def claim_end(self) -> bool:
        """Take the right to have the operation stopped. For the agent.

        Returns:
            False if somebody else has it, or the session is stopping or done already.
        """
        with self._lock:
            claimed = not self._end_claimed and self.status not in ("stopping", "done")
            self._end_claimed = self._end_claimed or claimed
            return claimed

    def release_end(self) -> None:
        """Give the right back, since the stopping function refused."""
        with self._lock:
            self._end_claimed = False

    @property
    def ending(self) -> bool:
        """Whether the operation has been asked to stop and has not refused."""
        with self._lock:
            return self._end_claimed or self.status == "stopping"

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
            self._quiet = self._quiet and success
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
            data, reasons = plain_or_null(self.data, "session.data", _DATA_ROOM)
        except Exception as error:  # foreign objects, which other threads may be changing
            data, reasons = {}, [f"session.data cannot be read: {error}"]
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
