"""The port of a closed router: crossbar's own, which counts strangers and keeps nothing of what they send."""

from typing import Any, Protocol

from crossbar.common.twisted import endpoint
from crossbar.common.twisted.endpoint import MaxConnectionsFactory, _CountedConnection
from crossbar.router.protocol import WampWebSocketServerFactory
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import Resource
from twisted.web.server import Request

from ocs.keys.table import Identity
from ocs.router.bridge import Tokens
from ocs.router.bridge_request import CallRequest, request_factory
from ocs.router.door import Door
from ocs.router.site_session import SiteConnection, place_of

__all__ = ["Nothing", "SitePort", "take_over"]


class Host(Protocol):
    """What the port needs of the guard."""

    door: Door
    tokens: Tokens


class _Connection(_CountedConnection):
    """A connection, from before its first byte to its end."""

    factory: "SitePort"

    def makeConnection(self, transport: Any) -> None:  # noqa: N802 - Twisted's name
        """Begin."""
        self._place = place_of(transport)
        self.factory.host.door.arrive(self._place, transport.abortConnection)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted's name
        """End."""
        self.factory.host.door.settle(self._place)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class SitePort(MaxConnectionsFactory):
    """What crossbar puts between its port and its pages; it knows each connection."""

    protocol: Any = _Connection
    host: Host

    def __init__(self, wrapped: Any, *arguments: Any) -> None:
        super().__init__(wrapped, *arguments)  # type: ignore[no-untyped-call]
        site = wrapped
        while hasattr(site, "wrappedFactory"):  # TLS
            site = site.wrappedFactory
        site.requestFactory = self._make_request
        # HTTP/2 would be a second way in, with streams and bodies that nobody here counts.
        site.acceptableProtocols = lambda: [b"http/1.1"]

    def _make_request(self, *arguments: Any, **keywords: Any) -> CallRequest:
        request = request_factory(self.host.tokens.identify)(*arguments, **keywords)

        def identify(token: str) -> Identity:
            identity = self.host.tokens.identify(token)
            self.host.door.settle(place_of(request.channel))
            return identity

        request.identify = identify
        return request


class Nothing(Resource):
    """The answer where there is no page; crossbar's own tells where it is installed."""

    def getChild(self, _path: bytes, _request: Request) -> Resource:  # noqa: N802 - Twisted's name
        """Return the same for all paths."""
        return self

    def render(self, request: Request) -> bytes:
        """Answer."""
        request.setResponseCode(404)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"" if request.method == b"HEAD" else b"nothing here\n"


def take_over(host: Host) -> None:
    """Make crossbar use such ports, and quiet websockets, from now on.

    Args:
        host: knows the connections and the tokens.
    """
    SitePort.host = host
    endpoint.MaxConnectionsFactory = SitePort  # type: ignore[misc]
    WampWebSocketServerFactory.protocol = SiteConnection
    server.version = b"ocs"  # crossbar's tells its version
