"""The link to the router: connecting, staying joined, coming back, giving up."""

import random
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from ocs.wamp.admission import KeyFinder, no_keys, require_tls, show_key, trust_root
from ocs.wamp.connector import Connector
from ocs.wamp.lean_autobahn import ApplicationSession, CloseDetails, SessionDetails
from ocs.wamp.transport import TransportFactory

__all__ = ["RouterLink", "reconnect_delay", "within"]

_SHORTEST_DELAY, _LONGEST_DELAY = 0.2, 5.0
"""Between attempts to reach the router, in seconds."""

_GOODBYE = 1.0
"""How long the router gets to answer our goodbye, in seconds."""


def reconnect_delay(
    attempt: int, longest: float = _LONGEST_DELAY, *, jitter: Callable[[], float] = random.random
) -> float:
    """Return how long to wait before a further attempt to reach the router.

    Args:
        attempt: how many attempts have failed in a row, from 0.
        longest: the longest delay, in seconds.
        jitter: gives a number from 0 to 1; spreads the agents of a site over time.

    Returns:
        Seconds: 0.2 growing to ``longest``, give or take a quarter within these bounds.
    """
    grown = min(longest, _SHORTEST_DELAY * 1.6 ** min(attempt, 20))
    low, high = max(_SHORTEST_DELAY, 0.75 * grown), min(longest, 1.25 * grown)
    return low + (high - low) * jitter()


class RouterLink:
    """Keeps one session connected to the router, from `start` until `stop`.

    The session object stays the same over all connections; autobahn calls its ``onJoin`` and ``onLeave`` each time.

    Args:
        session: the session.
        url: the router's WebSocket, as in ``ws://127.0.0.1:8001/ws``.
        realm: the WAMP realm.
        reactor: the reactor to connect by.
        hears_others: whether the session takes what others publish. CBOR is the favourite then: MessagePack
            has no integers beyond 64 bits, and a router that cannot deliver one to us may keep the whole event from
            others too.
        timeout: give up after so many seconds in a row without having joined; 0 never gives up.
        on_give_up: called once, with the last reason, when the time is up.
        longest_delay: attempts are never further apart, in seconds.
        keys: finds the key to show; at an open site there is none.

    Raises:
        KeysError: at a closed site there is no key, or what TLS takes is not installed.
    """

    def __init__(
        self,
        session: ApplicationSession,
        url: str,
        realm: str,
        *,
        reactor: Any,
        hears_others: bool = True,
        timeout: float = 0,
        on_give_up: Callable[[str], None] | None = None,
        longest_delay: float = _LONGEST_DELAY,
        keys: KeyFinder = no_keys,
    ) -> None:
        show_key(session, realm, keys)
        require_tls(url)
        self.session = session
        self.url = url
        self.realm = realm
        self.last_error = "no router answered"
        self._reactor = reactor
        self._hears_others = hears_others
        self._timeout = timeout
        self._on_give_up = on_give_up
        self._longest_delay = longest_delay
        self._keys = keys
        self._give_up: Any = None
        self._connector: Connector | None = None
        self._attempts = 0
        session.on("join", self._joined)
        session.on("leave", self._left)
        session.on("disconnect", self._disconnected)

    def start(self) -> None:
        """Begin to connect, and reconnect whenever the connection is lost."""
        self._wait_for_join()
        factory = TransportFactory(self.session, self.url, hears_others=self._hears_others)
        endpoint = _endpoint(self._reactor, factory, self._keys)
        self._connector = Connector(
            lambda: endpoint.connect(factory), self._next_delay, reactor=self._reactor, on_failure=self._trouble
        )
        factory.on_lost = self._connector.lost
        factory.on_refused = self._trouble
        self._connector.start()

    @inlineCallbacks
    def stop(self) -> "Generator[Deferred[Any], Any, None]":
        """Leave the realm, close the connection and stay away.

        Returns:
            A Deferred that fires when the connection is closed; a router that does not answer is cut off after 1 s.
        """
        self._cancel_give_up()
        connector, self._connector = self._connector, None
        if connector is None:
            return
        if self.session.is_attached():
            gone: Deferred[None] = Deferred()
            self.session.on("disconnect", lambda *_, **__: None if gone.called else gone.callback(None))
            self.session.leave()
            yield within(self._reactor, gone, _GOODBYE)
        yield connector.stop()

    def _next_delay(self) -> float:
        """Count attempts since the last join, not failed connections: a router that refuses us is not hammered."""
        self._attempts += 1
        return reconnect_delay(self._attempts - 1, self._longest_delay)

    def _trouble(self, why: str) -> None:
        """Keep the reason, and log the first of a row of failures; the rest would say the same."""
        self.last_error = why
        if self._attempts == 0:
            self.session.log.warn("no router at {url}: {why}; trying again", url=self.url, why=why)

    def _joined(self, _session: ApplicationSession, _details: SessionDetails) -> None:
        self._attempts = 0
        self._cancel_give_up()

    def _left(self, _session: ApplicationSession, details: CloseDetails) -> None:
        if details.reason in (CloseDetails.REASON_TRANSPORT_LOST, "wamp.close.normal"):
            return
        why = _explained(details)
        if why != self.last_error:  # it tries again and again, and is told of once
            self.session.log.warn("the router at {url}: {why}", url=self.url, why=why)
        self.last_error = why

    def _disconnected(self, _session: ApplicationSession, was_clean: bool = False) -> None:  # noqa: ARG002 - autobahn's form
        if self._connector is not None:
            self._wait_for_join()

    def _wait_for_join(self) -> None:
        if self._timeout > 0 and self._give_up is None:
            self._give_up = self._reactor.callLater(self._timeout, self._time_is_up)

    def _time_is_up(self) -> None:
        self._give_up = None
        if self._on_give_up is not None:
            self._on_give_up(self.last_error)

    def _cancel_give_up(self) -> None:
        call, self._give_up = self._give_up, None
        if call is not None and call.active():
            call.cancel()


def _explained(details: CloseDetails) -> str:
    if details.reason != "wamp.error.no_auth_method":
        return str(details.message or details.reason)
    return (
        "it does not take our way of joining: either it is closed and we have no key (--site-keys, $OCS_KEYS, the "
        "site config file's 'keys'), or it is open and we show one"
    )


def _endpoint(reactor: Any, factory: TransportFactory, keys: KeyFinder) -> Any:
    endpoint: Any = HostnameEndpoint(reactor, factory.host, factory.port, timeout=5)
    if not factory.isSecure:
        return endpoint
    from twisted.internet.ssl import optionsForClientTLS  # noqa: PLC0415 - TLS only where the site uses it

    return wrapClientTLS(optionsForClientTLS(factory.host, trustRoot=trust_root(keys())), endpoint)


def within(reactor: Any, wanted: "Deferred[Any]", seconds: float) -> "Deferred[None]":
    """Return a Deferred that fires when ``wanted`` does, or after ``seconds``; never with a failure."""
    done: Deferred[None] = Deferred()

    def finish(_result: Any) -> None:
        if timer.active():
            timer.cancel()
        if not done.called:
            done.callback(None)

    timer = reactor.callLater(seconds, finish, None)
    wanted.addBoth(finish)
    return done
