"""A closed site: keys of its own, a router that admits nobody without one, and sessions of whoever a test wants."""

import json
import socket
import ssl
import time
from contextlib import asynccontextmanager
from http.client import HTTPSConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from autobahn.twisted.websocket import WampWebSocketClientFactory
from autobahn.wamp.serializer import CBORSerializer
from autobahn.wamp.types import ComponentConfig
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS

from ocs.keys.finding import AUTHORITY_FILE, key_path
from ocs.keys.making import add, make_site
from ocs.keys.signing import SigningKey
from ocs.keys.table import Identity
from ocs.router.closed import closed_config
from ocs.router.server import Router, free_port
from tests.harness.waiting import wait_for
from tests.harness.wamp import BareSession

ROOT = "observatory"
REALM = "test_realm"

USUAL = (
    Identity("fake-1", "agent", ("fake-1",)),
    Identity("fake-2", "agent", ("fake-2",)),
    Identity("registry", "agent", ("registry",)),
    Identity("director", "director", ("director",)),
    Identity("client", "client"),
    Identity("observer", "observer"),
)


class ClosedSite:
    """Keys in a folder, and a router that is closed by them; to be used as a context.

    Attributes:
        keys: the keys folder.
        router: the router.
        hub: what the site file's hub has.
        url, http_url: the router's websocket and HTTP bridge.
        realm, root: the WAMP realm and the address root.
    """

    def __init__(self, folder: Path, identities: tuple[Identity, ...] = USUAL, *, root: str = ROOT) -> None:
        self.keys = folder / "keys"
        make_site(self.keys, identities, ["127.0.0.1"], time.time())
        self.root, self.realm = root, REALM
        self.port = free_port()
        self.hub = SimpleNamespace(
            wamp_server=f"wss://127.0.0.1:{self.port}/ws",
            wamp_http=f"https://127.0.0.1:{self.port}/call",
            wamp_realm=REALM,
            address_root=root,
        )
        self.url, self.http_url = self.hub.wamp_server, self.hub.wamp_http
        self.router = Router(closed_config(self.hub, self.keys, host="127.0.0.1"), folder / "router")

    def __enter__(self) -> Self:
        self.router.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.router.stop()

    @property
    def log(self) -> str:
        """What the router has said."""
        return self.router.log_path.read_text(errors="replace")

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.keys / AUTHORITY_FILE

    def key(self, name: str) -> SigningKey:
        """The private key of a name."""
        return SigningKey.read(key_path(self.keys, name))

    def add(self, name: str, role: str, *instances: str) -> SigningKey:
        """Admit somebody more, while the router runs, which sees it within a second: `wait_until_known`."""
        add(self.keys, Identity(name, role, instances), time.time())
        return self.key(name)

    def wait_until_known(self, name: str, key: SigningKey | None = None) -> None:
        """Wait until the router lets somebody in; asks by HTTP, since who is refused often waits for each answer."""
        token = {"Authorization": f"Bearer {(key or self.key(name)).token(self.realm, time.time())}"}
        wait_for(lambda: self.post({"procedure": "wamp.session.count"}, None, **token)[0] == 200)

    @asynccontextmanager
    async def session(self, name: str | None, *, key: SigningKey | None = None, serializer: Any = CBORSerializer):
        """Join as somebody for the time of the context; None: without a key.

        Raises (when entered):
            ConnectionError: the router refused it; its text is the router's reason.
        """
        session = KeySession(self.realm, name, key or (self.key(name) if name else None))
        await self.join(session, serializer)
        try:
            yield session
        finally:
            if session.is_attached():
                session.leave()
            await session.left

    async def join(self, session: "KeySession", serializer: Any = CBORSerializer) -> None:
        """Connect a session of a test's own, by TLS, and wait until it has joined."""
        factory = WampWebSocketClientFactory(lambda: session, self.url, serializers=[serializer()])
        trust = optionsForClientTLS("127.0.0.1", trustRoot=Certificate.loadPEM(self.ca.read_bytes()))
        await wrapClientTLS(trust, HostnameEndpoint(reactor, "127.0.0.1", self.port)).connect(factory)
        await session.joined

    def tls_socket(self) -> ssl.SSLSocket:
        """A blocking connection to the router, for those that send it bytes of their own."""
        context = ssl.create_default_context(cafile=str(self.ca))
        plain = socket.create_connection(("127.0.0.1", self.port), 10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def post(self, call: Any, name: str | None = "client", **fields: str) -> tuple[int, Any]:
        """Call by the HTTP bridge, blocking: (status, answer)."""
        link = HTTPSConnection("127.0.0.1", self.port, context=ssl.create_default_context(cafile=str(self.ca)))
        token = {"Authorization": f"Bearer {self.key(name).token(self.realm, time.time())}"} if name else {}
        try:
            link.request("POST", "/call", call if isinstance(call, bytes) else json.dumps(call), {**token, **fields})
            answer = link.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            link.close()


class KeySession(BareSession):
    """A session that shows a key."""

    def __init__(self, realm: str, name: str | None, key: SigningKey | None) -> None:
        super().__init__(ComponentConfig(realm))
        self.name = name
        self.key = key
        self.reason = ""

    def onConnect(self):
        if self.key is None:
            self.join(self.config.realm, ["anonymous"])
        else:
            self.join(self.config.realm, ["cryptosign"], authid=self.name, authextra={"pubkey": self.key.public})

    def onChallenge(self, challenge):
        return self.key.sign_challenge(challenge.extra["challenge"])

    def onLeave(self, details):
        self.reason = f"{details.reason}: {details.message}"
        self.disconnect()

    def onDisconnect(self):
        if not self.joined.called:
            self.joined.errback(ConnectionError(self.reason or "the router refused the session"))
        self.left.callback(None)
