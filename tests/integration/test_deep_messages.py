"""Messages nested deeper than any stack: they cost their sender the connection, and the router nothing."""

import autobahn.twisted  # noqa: F401 - chooses the reactor for what follows
import pytest
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import ComponentConfig
from pytest_twisted import ensureDeferred
from twisted.internet import reactor

from tests.harness.closed_site import ClosedSite
from tests.harness.wamp import BareSession, wamp_session

DEPTH = 1_000_000
DEEP = {
    "json": (JsonSerializer, b"[48, 1, {}, " + b"[" * DEPTH, False),
    "json-maps": (JsonSerializer, b"[48, 1, {}, " + b'{"a":' * DEPTH, False),
    "cbor": (CBORSerializer, b"\x81" * DEPTH, True),
    "msgpack": (MsgPackSerializer, b"\x91" * DEPTH, True),
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


@pytest.mark.parametrize(("serializer", "payload", "binary"), DEEP.values(), ids=DEEP)
@ensureDeferred
async def test_an_open_router_lives_on(router, serializer, payload, binary):
    sender = BareSession(ComponentConfig(router.realm))
    factory = WampWebSocketClientFactory(lambda: sender, router.ws_url, serializers=[serializer()])
    async with wamp_session(router) as other:
        reactor.connectTCP("127.0.0.1", router.port, factory, timeout=10)
        await sender.joined
        sender._transport.sendMessage(payload, binary)
        await sender.left.addTimeout(10, reactor)
        assert await other.call("wamp.session.count")


@pytest.mark.parametrize(("serializer", "payload", "binary"), DEEP.values(), ids=DEEP)
@ensureDeferred
async def test_a_closed_router_lives_on(closed, serializer, payload, binary):
    async with closed.session("client") as other:
        async with closed.session("observer", serializer=serializer) as session:
            session._transport.sendMessage(payload, binary)
            await session.left.addTimeout(10, reactor)
        assert await other.call("wamp.session.count")


@pytest.mark.parametrize("body", ["[" * 500_000, '{"procedure":' * 50_000])
def test_a_closed_router_lives_on_after_a_call_by_http(closed, body):
    assert closed.post(body.encode())[0] == 400
    assert closed.post({"procedure": "wamp.session.count"})[0] == 200
