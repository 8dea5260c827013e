"""A call that comes as early as the earliest of those who have asked for it."""

from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall

__all__ = ["Alarm"]


class Alarm:
    """Calls a function once, at the earliest time that was asked for; then it can be set again.

    Args:
        reactor: keeps the time.
        function: what to call.
    """

    def __init__(self, reactor: Any, function: Callable[[], None]) -> None:
        self._reactor = reactor
        self._function = function
        self._call: DelayedCall | None = None

    def set(self, delay: float) -> None:
        """Have the function called in ``delay`` seconds at the latest."""
        call = self._call
        if call is not None and call.active():
            if call.getTime() <= self._reactor.seconds() + delay:
                return
            call.cancel()
        self._call = self._reactor.callLater(delay, self._function)

    def stop(self) -> None:
        """Take all requests back."""
        if self._call is not None and self._call.active():
            self._call.cancel()
