"""An OpenID Connect issuer in a thread, as far as the agent service looks at one: it can rotate keys and hang."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ocs.agent_service.keys import jwk_of

AUDIENCE = "ocs-agent-service"


def new_key(algorithm="ES256", bits=2048):
    """Make a private key."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, bits)
    return ec.generate_private_key(ec.SECP256R1())


def claims_of(issuer, now, **changes):
    """Return the claims of a good token; a change of None leaves a claim out."""
    good = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "observer",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "realm_access": {"roles": ["esw-user"]},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(private, claims, *, kid=None, **header):
    """Return a token signed with a key, whose name is its thumbprint unless another is given."""
    public = jwk_of(private.public_key())
    return jwt.encode(claims, private, algorithm=public["alg"], headers={"kid": kid or public["kid"], **header})


class FakeIssuer:
    """Use as ``with FakeIssuer() as issuer:``.

    Attributes:
        keys: the published set; to be changed at will.
        asked: the paths that were asked for.
        hold: while it is clear no request is answered.
        document: changes of the discovery document.
        status: of all answers.
    """

    def __init__(self):
        self.private = new_key()
        self.keys = [jwk_of(self.private.public_key())]
        self.asked = []
        self.hold = threading.Event()
        self.hold.set()
        self.document = {}
        self.status = 200
        self.body = None

    def __enter__(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append(self.path)
                owner.hold.wait(30)
                content = owner.answer(self.path)
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", f"{owner.url}/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            def handle(self):
                with suppress(OSError):  # who asked has gone
                    super().handle()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # so that closing waits for them
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path):
        if self.body is not None:
            return self.body
        if path.endswith("openid-configuration"):
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.document}).encode()
        return json.dumps({"keys": self.keys}).encode()

    def rotate(self):
        """Publish another key instead of those before; returns it."""
        self.private = new_key()
        self.keys = [jwk_of(self.private.public_key())]
        return self.private
