"""Waiting for an operation's end that may be hours away, in slices, over restarts of the router.

A single call that stays open for hours is lost when anything between the two ends is restarted, without either noticing
soon. Decisions only: the clients make the calls and do the sleeping.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ocs.base import ResponseCode
from ocs.clients.call_errors import is_agent_away, may_pass
from ocs.errors import ControlClientError

__all__ = ["ABSENCE", "OUTAGE", "SLICE", "Patience"]

SLICE = 25.0
"""The longest single call of a wait, in seconds: less than proxies and firewalls let pass in silence."""

OUTAGE = 60.0
"""How long a wait that has begun goes on without a router, in seconds: time enough to restart it."""

ABSENCE = 20.0
"""How long it goes on without the agent, where there is a router, in seconds: agents come back within some 5 s."""

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 2.0


class Patience:
    """Decides how one wait goes on.

    Args:
        timeout: seconds to wait in total; None waits for the end.
        now: the time on any steady clock, in seconds.
        session: the one to wait for, where it is known; else the first call, which waits for nothing, tells.
    """

    def __init__(self, timeout: float | None, now: float, session: Mapping[str, Any] | None = None) -> None:
        self._end = None if timeout is None or timeout < 0 else now + timeout
        self._at_once = timeout is not None and timeout < 0
        self._watched = _identity(session) if session and session.get("start_time") is not None else None
        self._trouble: tuple[bool, float] | None = None
        self._delay = _FIRST_DELAY

    def slice(self, now: float) -> float:
        """Return the timeout of the next call, in seconds; negative where it is not to wait at all."""
        if self._at_once or self._watched is None:
            return -1.0
        return SLICE if self._end is None else max(0.0, min(SLICE, self._end - now))

    def judge(self, reply: Sequence[Any], now: float) -> list[Any] | None:
        """Return what the wait ends with after this reply, or None where it goes on.

        Args:
            reply: ``[code, message, session]``.
            now: the time.
        """
        code, session = reply[0], reply[2] or {}
        identity = _identity(session)
        if code != ResponseCode.ERROR and self._watched not in (None, identity):
            return [int(ResponseCode.ERROR), self._lost(session), session]
        if code != ResponseCode.TIMEOUT or self._at_once or (self._end is not None and now >= self._end):
            return list(reply)
        self._watched, self._trouble, self._delay = identity, None, _FIRST_DELAY
        return None

    def delay(self, error: ControlClientError, now: float) -> float | None:
        """Return how long to sleep before the next attempt when a call has failed, in seconds.

        Args:
            error: what the call raised.
            now: the time.

        Returns:
            None where the wait is to fail: it had not begun, it is over, the outage lasts too long, or it is none.
        """
        agent_only = is_agent_away(error)
        if not may_pass(error) or self._watched is None or (self._end is not None and now >= self._end):
            return None
        if self._trouble is None or self._trouble[0] != agent_only:
            self._trouble = (agent_only, now)
        if now - self._trouble[1] >= (ABSENCE if agent_only else OUTAGE):
            return None
        delay, self._delay = self._delay, min(self._delay * 1.6, _LONGEST_DELAY)
        return delay

    def _lost(self, session: Any) -> str:
        number = self._watched[0] if self._watched else None
        current = session.get("session_id")
        what = "the agent has been restarted" if current is None else f"session {current} has begun since"
        return f"Session {number} has ended while it was waited for, its outcome is unknown: {what}."


def _identity(session: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what tells a session from all others, also from those of an agent's earlier life."""
    return session.get("session_id"), session.get("start_time")
