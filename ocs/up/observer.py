"""A WAMP session that listens to all feeds of a site and tells a `SiteMonitor`."""

from collections.abc import Callable
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import ComponentConfig, SubscribeOptions
from twisted.internet.defer import Deferred

from ocs.monitor import SiteMonitor
from ocs.wamp.link import RouterLink

__all__ = ["Observer"]


class _Listener(ApplicationSession):  # type: ignore[misc]  # autobahn has no type information
    """Subscribes at every join; heartbeats match the pattern of all feeds."""

    def __init__(self, realm: str, topic: str, on_event: Callable[[Any], None]) -> None:
        super().__init__(ComponentConfig(realm, {}))
        self._topic = topic
        self._on_event = on_event

    async def onJoin(self, details: Any) -> None:  # noqa: ARG002, N802 - autobahn's form
        """Subscribe."""
        await self.subscribe(self._on_event, self._topic, SubscribeOptions(match="wildcard"))


class Observer:
    """Listens to a site from `start` until `stop`, whatever becomes of the router meanwhile.

    Args:
        reactor: connects and keeps the time.
        url: the router's WebSocket.
        realm: the WAMP realm.
        address_root: first part of the agents' addresses.
    """

    def __init__(self, reactor: Any, url: str, realm: str, address_root: str) -> None:
        self.monitor = SiteMonitor()
        self._reactor = reactor
        self._listener = _Listener(realm, f"{address_root}..feeds.", self._take)
        self._link = RouterLink(self._listener, url, realm, reactor=reactor)

    def start(self) -> None:
        """Begin to listen."""
        self._link.start()

    def stop(self) -> "Deferred[None]":
        """Leave; the Deferred fires when the connection is closed."""
        return self._link.stop()

    @property
    def joined(self) -> bool:
        """Whether it hears anything now."""
        return bool(self._listener.is_attached())

    def _take(self, *event: Any) -> None:
        self.monitor.feed(event[0] if event else None, self._reactor.seconds())
