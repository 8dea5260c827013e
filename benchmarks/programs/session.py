"""What the raw WAMP programs of the benchmarks share: a session over CBOR, and lines to and from the harness."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

# Before autobahn is imported, which is why its imports below stand so late.
for heavy in ("bjdata", "autobahn.flatbuffers"):
    sys.modules.setdefault(heavy, None)  # serializers that it would load, with NumPy, and nobody uses here

from autobahn.twisted.wamp import ApplicationSession  # noqa: E402
from autobahn.twisted.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.twisted.websocket import WampWebSocketClientProtocol as Protocol  # noqa: E402
from autobahn.wamp.serializer import CBORSerializer  # noqa: E402
from autobahn.wamp.types import ComponentConfig, SubscribeOptions  # noqa: E402
from twisted.internet import endpoints, reactor  # noqa: E402

__all__ = ["Protocol", "SubscribeOptions", "connect", "obey", "say"]

REALM = "test_realm"


def say(**answer):
    """Give the harness one answer."""
    sys.stdout.write("@" + json.dumps(answer) + "\n")
    sys.stdout.flush()


def obey(carry_out):
    """Call ``carry_out`` with each line of stdin, in a thread; stop the reactor when the harness closes the pipe."""

    def listen():
        for line in sys.stdin:
            carry_out(line.strip())
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=listen, daemon=True).start()


def identity():
    """What a closed site wants, of the folder $BENCH_KEYS: (the client's key, what puts TLS around an endpoint)."""
    from twisted.internet import ssl  # noqa: PLC0415 - nobody at an open site loads OpenSSL

    from ocs.keys.finding import AUTHORITY_FILE, key_path  # noqa: PLC0415 - the same
    from ocs.keys.signing import SigningKey  # noqa: PLC0415 - the same

    folder = Path(os.environ["BENCH_KEYS"])
    authority = ssl.Certificate.loadPEM((folder / AUTHORITY_FILE).read_bytes())

    def by_tls(host, endpoint):
        return endpoints.wrapClientTLS(ssl.optionsForClientTLS(host, trustRoot=authority), endpoint)

    return SigningKey.read(key_path(folder, "client")), by_tls


def new_session(url, on_join, protocol=Protocol):
    """Open a session; the coroutine ``on_join`` is called with it when it has joined."""

    key, by_tls = identity() if url.startswith("wss:") else (None, None)

    class Session(ApplicationSession):
        def onConnect(self):  # noqa: N802 - autobahn's name
            if key:
                self.join(REALM, ["cryptosign"], authid="client", authextra={"pubkey": key.public})
            else:
                super().onConnect()

        def onChallenge(self, challenge):  # noqa: N802 - autobahn's name
            return key.sign_challenge(challenge.extra["challenge"])

        async def onJoin(self, _details):  # noqa: N802 - autobahn's name
            await on_join(self)

        def onDisconnect(self):  # noqa: N802 - autobahn's name
            with contextlib.suppress(Exception):
                reactor.stop()

    factory = WampWebSocketClientFactory(
        lambda: Session(ComponentConfig(REALM)), url=url, serializers=[CBORSerializer()]
    )
    factory.protocol = protocol
    factory.setProtocolOptions(maxMessagePayloadSize=0, tcpNoDelay=True)
    endpoint = endpoints.TCP4ClientEndpoint(reactor, factory.host, factory.port)
    (by_tls(factory.host, endpoint) if by_tls else endpoint).connect(factory)


def connect(url, on_join, connections=1, protocol=Protocol):
    """Open ``connections`` sessions and run the reactor until the last is over."""
    for _ in range(connections):
        new_session(url, on_join, protocol)
    reactor.run()
