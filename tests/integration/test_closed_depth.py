"""Messages of nothing but opening brackets, from those who have a key: they cost nobody else anything."""

import pytest
from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS

from ocs.router import health
from tests.harness.closed_site import ClosedSite, KeySession


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


def runs(closed):
    return health.check(closed.url, closed.realm).stage == "closed"


@pytest.mark.parametrize(
    "body", [b"[" * 900_000, b'{"procedure":"x","args":[' + b'{"a":' * 150_000, b"[" * 400_000 + b"]" * 400_000]
)
@pytest.mark.parametrize("name", ["client", "observer"])
def test_by_the_bridge(closed, name, body):
    status, answer = closed.post(body, name)
    assert (status, answer["args"]) == (400, ["the body is no JSON"])
    assert runs(closed)


CALL = {
    "json": b'[48,1,{},"observatory.fake-1",[' + b"[" * 400_000 + b"]" * 400_000 + b"]]",
    "json, open": b"[" * 900_000,
    "cbor": b"\x85\x18\x30\x01\xa0\x72observatory.fake-1\x81" + b"\x81" * 900_000 + b"\x01",
    "cbor, open": b"\x81" * 900_000,
    "msgpack": b"\x95\x30\x01\x80\xb2observatory.fake-1\x91" + b"\x91" * 900_000 + b"\x01",
}
SERIALIZERS = {"json": JsonSerializer, "cbor": CBORSerializer, "msgpack": MsgPackSerializer}


@pytest.mark.parametrize("case", CALL)
@ensureDeferred
async def test_by_a_session(closed, case):
    kind = case.partition(",")[0]
    session = KeySession(closed.realm, "client", closed.key("client"))
    factory = WampWebSocketClientFactory(lambda: session, closed.url, serializers=[SERIALIZERS[kind]()])
    trust = optionsForClientTLS("127.0.0.1", trustRoot=Certificate.loadPEM(closed.ca.read_bytes()))
    await wrapClientTLS(trust, HostnameEndpoint(reactor, "127.0.0.1", closed.port)).connect(factory)
    await session.joined
    session._transport.sendMessage(CALL[case], isBinary=kind != "json")
    await session.left
    assert runs(closed)
