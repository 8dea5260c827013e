"""Where notifications arrive in tests: a real HTTP server and a real SMTP server, on free ports."""

import email
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Received:
    """What has arrived, in its order."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()

    def put(self, item: Any) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def wait_for(self, what: Any, timeout: float = 20.0) -> Any:
        """Return the first item for which `what(item)` is true, waiting for it; fails the test if none comes."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (found := [item for item in self.items if what(item)]):
                left = deadline - time.monotonic()
                assert left > 0, f"what the test waits for has not arrived; there is: {self.items}"
                self._changed.wait(left)
        return found[0]


class Webhook(Received):
    """An HTTP server. `answers`: status codes of the next answers; 204 when they are used up."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[int] = []
        self.headers: list[dict[str, str]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = hook.answers.pop(0) if hook.answers else 204
                hook.headers.append(dict(self.headers))
                if status < 300:  # before the answer: who has it finds what was sent
                    hook.put(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Keep the tests' output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    @property
    def port(self) -> int:
        return self._server.server_port

    @contextmanager
    def running(self) -> Iterator["Webhook"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class MailServer(Received):
    """An SMTP server; what arrives is an `EmailMessage`.

    Args:
        tls: its certificate; it takes mail after STARTTLS alone, then.
        login: name and password, which it asks for.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._login = login
        options: dict[str, Any] = {"tls_context": tls, "require_starttls": True} if tls else {}
        if login:
            options |= {"authenticator": self._is_known, "auth_required": True}
        self.controller = _Controller(self, hostname="127.0.0.1", port=0, **options)

    def _is_known(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        said = (given.login.decode(), given.password.decode())
        return AuthResult(success=said == self._login, handled=False)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        message: EmailMessage = email.message_from_bytes(envelope.content, policy=default)
        self.put(message)
        return "250 OK"

    @property
    def port(self) -> int:
        return int(self.controller.server.sockets[0].getsockname()[1])

    @contextmanager
    def running(self) -> Iterator["MailServer"]:
        self.controller.start()
        try:
            yield self
        finally:
            self.controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Take it as it is: the port is known only now, and aiosmtpd would connect to the one that was asked for."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()
