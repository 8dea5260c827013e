"""One connection to an HTTP server, kept alive from request to request, for one thread; another may cut it off."""

import http.client
import socket
import ssl
import threading
from contextlib import suppress
from typing import Final

from ocs.errors import DatabaseAwayError
from ocs.influx.server import Reply, Request, Server

__all__ = ["Link"]

TIMEOUT: Final = 15.0
"""Seconds without an answer after which a server counts as away."""

_MOST: Final = 64 << 10
"""Bytes of an answer that are looked at."""


class Link:
    """A connection to a server, made when it is needed.

    Args:
        server: the server.
        timeout: how long to wait for it (s).
    """

    def __init__(self, server: Server, *, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._aborted = False

    def ask(self, request: Request) -> Reply:
        """Send a request and return the answer. It may be sent twice: what we ask for may be done twice.

        Raises:
            DatabaseAwayError: there is no answer.
        """
        kept = self._connection is not None
        try:
            try:
                return self._ask(request)
            except (OSError, http.client.HTTPException):
                self.close()
                if not kept or self._aborted:
                    raise
                return self._ask(request)  # the server had ended a connection that nobody had used for a while
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise DatabaseAwayError(self._server.host, self._server.port, _why(error)) from error

    def _ask(self, request: Request) -> Reply:
        connection = self._connect()
        connection.request(request.method, request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        body = answer.read(_MOST)
        if answer.will_close or not answer.isclosed():
            self.close()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def _connect(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._aborted:
                raise ConnectionAbortedError("ended")
            if self._connection is None:
                self._connection = self._new()
            connection = self._connection
        if connection.sock is None:
            connection.connect()
        return connection

    def _new(self) -> http.client.HTTPConnection:
        server = self._server
        if server.tls:
            return http.client.HTTPSConnection(
                server.host, server.port, timeout=self._timeout, context=_context(verify=server.verify)
            )
        return http.client.HTTPConnection(server.host, server.port, timeout=self._timeout)

    def close(self) -> None:
        """End the connection; the next request makes another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Make a request that is under way fail at once, and all later ones. Any thread may do that."""
        with self._lock:
            self._aborted = True
            connection = self._connection
        if connection is not None and (sock := connection.sock) is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: Exception) -> str:
    if isinstance(error, ValueError):  # whose text may be a secret
        return "the request has what none may have; look at the host, the path and the credentials"
    if isinstance(error, TimeoutError):
        return "no answer"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)
