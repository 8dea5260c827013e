"""Connecting again and again."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

__all__ = ["Connector"]


class Connector:
    """Keeps one connection up, from `start` until `stop`: whenever it fails or is lost, the next attempt follows.

    Args:
        connect: makes one attempt; returns a Deferred of the protocol.
        delay: gives the pause before the next attempt, in seconds.
        reactor: the clock.
        on_failure: called with the reason, a sentence, when an attempt fails.
    """

    def __init__(
        self,
        connect: Callable[[], "Deferred[Any]"],
        delay: Callable[[], float],
        *,
        reactor: Any,
        on_failure: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._delay = delay
        self._reactor = reactor
        self._on_failure = on_failure
        self._running = False
        self._attempt: Deferred[Any] | None = None
        self._pause: Any = None
        self._protocol: Any = None
        self._closed: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._running = True
        self._try()

    def stop(self) -> "Deferred[None]":
        """Cut the connection and stay away.

        Returns:
            A Deferred that fires when the connection is closed.
        """
        self._running = False
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        if self._protocol is None:
            return succeed(None)
        self._closed = Deferred()
        self._protocol.transport.abortConnection()
        return self._closed

    def lost(self) -> None:
        """Take note that the connection has gone. For the protocol."""
        self._protocol = None
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.callback(None)
        self._try_later()

    def _try(self) -> None:
        self._attempt = self._connect()
        self._attempt.addCallbacks(self._made, self._failed)

    def _made(self, protocol: Any) -> None:
        self._attempt = None
        self._protocol = protocol
        if not self._running:
            protocol.transport.abortConnection()

    def _failed(self, failure: Any) -> None:
        self._attempt = None
        if self._running:
            self._on_failure((failure.getErrorMessage() or type(failure.value).__name__).rstrip("."))
        self._try_later()

    def _try_later(self) -> None:
        if self._running:
            self._pause = self._reactor.callLater(self._delay(), self._try)
