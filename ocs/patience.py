"""Waiting for an operation's end that may be hours away, in slices, over restarts of the router.

A single call that stays open for hours is lost when anything between the two ends is restarted, without either noticing
soon. Decisions only: the clients make the calls and do the sleeping.
"""

from collections.abc import Sequence
from typing import Any

from ocs.base import ResponseCode

__all__ = ["OUTAGE", "SLICE", "Patience"]

SLICE = 25.0
"""The longest single call of a wait, in seconds: less than proxies and firewalls let pass in silence."""

OUTAGE = 60.0
"""How long a wait that has begun goes on without router or agent, in seconds: time enough to restart either."""

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 2.0


class Patience:
    """Decides how one wait goes on.

    Args:
        timeout: seconds to wait in total; None waits for the end.
        now: the time on any steady clock, in seconds.
    """

    def __init__(self, timeout: float | None, now: float) -> None:
        self._end = None if timeout is None or timeout < 0 else now + timeout
        self._at_once = timeout is not None and timeout < 0
        self._watched: tuple[Any, Any] | None = None
        self._trouble_since: float | None = None
        self._delay = _FIRST_DELAY

    def slice(self, now: float) -> float:
        """Return the timeout of the next call, in seconds; negative where the wait is not to wait at all."""
        if self._at_once:
            return -1.0
        return SLICE if self._end is None else max(0.0, min(SLICE, self._end - now))

    def judge(self, reply: Sequence[Any], now: float) -> list[Any] | None:
        """Return what the wait ends with after this reply, or None where it goes on.

        Args:
            reply: ``[code, message, session]``.
            now: the time.
        """
        code, session = reply[0], reply[2] or {}
        identity = (session.get("session_id"), session.get("start_time"))
        if code != ResponseCode.ERROR and self._watched not in (None, identity):
            return [int(ResponseCode.ERROR), self._lost(session), session]
        if code != ResponseCode.TIMEOUT or self._at_once or (self._end is not None and now >= self._end):
            return list(reply)
        self._watched, self._trouble_since, self._delay = identity, None, _FIRST_DELAY
        return None

    def delay(self, now: float) -> float | None:
        """Return how long to sleep before the next attempt when a call has failed, in seconds.

        Args:
            now: the time.

        Returns:
            None where the wait is to fail: it had not begun, it is over, or the outage lasts too long.
        """
        if self._watched is None or (self._end is not None and now >= self._end):
            return None
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since >= OUTAGE:
            return None
        delay, self._delay = self._delay, min(self._delay * 1.6, _LONGEST_DELAY)
        return delay

    def _lost(self, session: Any) -> str:
        number = self._watched[0] if self._watched else None
        current = session.get("session_id")
        what = "the agent has been restarted" if current is None else f"session {current} has begun since"
        return f"Session {number} has ended while it was waited for, its outcome is unknown: {what}."
