"""A bare WAMP session in the tests' own reactor, for those that speak to the router directly."""

from contextlib import asynccontextmanager
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import CBORSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet import reactor
from twisted.internet.defer import Deferred


class BareSession(ApplicationSession):
    """Tells when it has joined and when it has left."""

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self.joined: Deferred[Any] = Deferred()
        self.left: Deferred[Any] = Deferred()

    def onJoin(self, details):
        self.joined.callback(self)

    def onDisconnect(self):
        if not self.joined.called:
            self.joined.errback(ConnectionError("the router refused the session"))
        self.left.callback(None)


@asynccontextmanager
async def wamp_session(router: Any, *, max_message_bytes: int = 0):
    """Join the router's realm for the time of the context; to be used in coroutine tests of pytest-twisted.

    Messages up to `max_message_bytes` are taken, 0 for any size: autobahn's own limit, 1 MiB, is below the router's.
    """
    session = BareSession(ComponentConfig(router.realm))
    factory = WampWebSocketClientFactory(lambda: session, router.ws_url, serializers=[CBORSerializer()])
    factory.setProtocolOptions(maxFramePayloadSize=max_message_bytes, maxMessagePayloadSize=max_message_bytes)
    reactor.connectTCP("127.0.0.1", router.port, factory, timeout=10)
    await session.joined
    try:
        yield session
    finally:
        session.leave()
        await session.left
