"""Waiting for something to become true, which is looked at again whenever something has happened."""

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")

__all__ = ["Bell"]


class Bell:
    """Rung when something has happened; belongs to the reactor's thread.

    Args:
        reactor: keeps the time.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiters: list[Deferred[None]] = []

    def ring(self, *_args: Any) -> None:
        """Have all who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def until(self, answer: Callable[[], T], deadline: float) -> T:
        """Wait until a question has an answer that counts as true.

        Args:
            answer: asked at once, whenever the bell is rung, and at the deadline.
            deadline: when to wait no more, on the reactor's clock.

        Returns:
            The last answer: one that counts as true, or that of the deadline.
        """
        while not (found := answer()) and (left := deadline - self._reactor.seconds()) > 0:
            await self._next_ring(left)
        return found

    async def _next_ring(self, longest: float) -> None:
        rung: Deferred[None] = Deferred()
        self._waiters.append(rung)
        timer = self._reactor.callLater(longest, self._time_is_up, rung)
        await rung
        if timer.active():
            timer.cancel()

    def _time_is_up(self, rung: "Deferred[None]") -> None:
        self._waiters.remove(rung)
        rung.callback(None)
