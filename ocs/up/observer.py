"""A WAMP session that listens to all feeds of a site, tells a `SiteMonitor`, and asks the site's HostManager."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import Error
from autobahn.wamp.types import ComponentConfig, SubscribeOptions
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater

from ocs.keys.finding import CLIENT, find_keys
from ocs.monitor import SiteMonitor
from ocs.up.managed import ManagerReport
from ocs.wamp.admission import no_keys
from ocs.wamp.link import RouterLink

__all__ = ["ManagerWatch", "Observer"]

_ANSWER_TIME = 5.0
"""How long a manager may take to answer, in seconds."""

_BRISK, _CALM = 0.25, 1.0
"""Time between two questions, in seconds: while something is on its way, and else."""


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
        keys: the site's keys folder; empty: the site is open.
    """

    def __init__(self, reactor: Any, url: str, realm: str, address_root: str, keys: str = "") -> None:
        self.monitor = SiteMonitor()
        self._reactor = reactor
        self._listener = _Listener(realm, f"{address_root}..feeds.", self._take)
        finder = partial(find_keys, keys, [CLIENT]) if keys else no_keys
        self._link = RouterLink(self._listener, url, realm, reactor=reactor, keys=finder)

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

    async def session_data(self, address: str, operation: str) -> Mapping[str, Any] | None:
        """Return what a running operation of an agent says, or None if nothing can be had: no router, agent or session.

        Args:
            address: the agent's.
            operation: its process or task.
        """
        if not self.joined:
            return None
        try:
            asking = self._listener.call(f"{address}.ops", "status", operation)
            answer = await asking.addTimeout(_ANSWER_TIME, self._reactor)
        except (Error, defer.TimeoutError):
            return None
        session = answer[2] if isinstance(answer, list | tuple) and len(answer) > 2 else None  # noqa: PLR2004 - code, message, session
        if not isinstance(session, Mapping) or session.get("status") not in ("starting", "running", "stopping"):
            return None
        data = session.get("data")
        return data if isinstance(data, Mapping) else None

    def _take(self, *event: Any) -> None:
        self.monitor.feed(event[0] if event else None, self._reactor.seconds())


class ManagerWatch:
    """Asks a HostManager again and again how its instances do.

    Args:
        reactor: keeps the time.
        observer: asks.
        address: the manager's.
        on_report: called with each answer.
    """

    def __init__(
        self, reactor: Any, observer: Observer, address: str, on_report: Callable[[ManagerReport], None]
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._address = address
        self._on_report = on_report
        self._asking: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._asking = ensureDeferred(self._ask())
        self._asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stop(self) -> None:
        """Ask no more."""
        if self._asking:
            self._asking.cancel()

    async def _ask(self) -> None:
        while True:
            data = await self._observer.session_data(self._address, "manager")
            settled = False
            if data is not None:
                report = ManagerReport.of(data, self._reactor.seconds(), time.time())
                settled = report.settled
                self._on_report(report)
            # Where nobody answers, what was told last stands.
            await deferLater(self._reactor, _CALM if settled else _BRISK)
