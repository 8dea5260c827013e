"""One kept-alive HTTP/1.1 connection that POSTs JSON, with a deadline over the whole of each exchange.

It speaks the small part of HTTP that a router's bridge answers with. The standard library's client would do, but
loading it costs more CPU time than the rest of a control script's imports, and parsing headers as e-mail doubles the
cost of a call.
"""

import base64
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ocs.errors import OCSError

__all__ = [
    "BrokenAnswerError",
    "DeadlineError",
    "ExchangeError",
    "HttpConnection",
    "NoAnswerError",
    "NotDeliveredError",
    "Route",
    "find_route",
]

MAX_HEAD = 64 << 10
"""The longest head of an answer that is accepted, in bytes."""

MAX_BODY = 256 << 20
"""The longest answer that is accepted, in bytes: far above what a router passes on."""

_PORTS = {"http": 80, "https": 443}
_RECEIVE = 64 << 10


class ExchangeError(OCSError):
    """A request could not be exchanged for an answer."""


class NotDeliveredError(ExchangeError):
    """The server cannot have acted on the request, since it did not get all of it."""


class NoAnswerError(ExchangeError):
    """The connection closed before the first byte of an answer: whether the server has acted is unknown."""


class DeadlineError(ExchangeError):
    """The time for the exchange is up: whether the server has acted is unknown."""


class BrokenAnswerError(ExchangeError):
    """The answer is no HTTP, or ends in the middle."""


class Route(NamedTuple):
    """Where to connect to, and how the requests begin."""

    host: str
    port: int
    head: bytes
    """The request's head, up to its Content-Length."""
    tls_name: str | None = None
    """The server's name in its certificate, where TLS is used."""
    tunnel: bytes | None = None
    """What to say first to a proxy, so that it connects us through."""
    authority: str | None = None
    """The file with the certificate of who signed the server's; None: somebody whom the system knows."""


def find_route(url: str, environ: Mapping[str, str] = os.environ) -> Route:
    """Work out how to reach a URL.

    A proxy of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``) is used as elsewhere, but never for the
    loopback interface.

    Args:
        url: ``http://`` or ``https://``; a user and password in it are sent as basic authentication.
        environ: where the proxies are looked up.

    Raises:
        ValueError: if the URL is not one; the message says what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an HTTP bridge; it looks like http://127.0.0.1:8001/call")
    port = parts.port or _PORTS[parts.scheme]
    proxy = _find_proxy(parts, environ)
    tls_name = parts.hostname if parts.scheme == "https" else None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if proxy is None:
        return Route(parts.hostname, port, _request_head(target, parts), tls_name)
    host, proxy_port = proxy.hostname or "", proxy.port or _PORTS["http"]
    permission = _authorization("Proxy-Authorization", proxy)
    if tls_name is None:
        absolute = f"http://{_host_header(parts)}{target}"
        return Route(host, proxy_port, _request_head(absolute, parts, permission))
    tunnel = f"CONNECT {parts.hostname}:{port} HTTP/1.1\r\nHost: {parts.hostname}:{port}\r\n{permission}\r\n"
    return Route(host, proxy_port, _request_head(target, parts), tls_name, tunnel.encode("latin-1"))


def _request_head(target: str, parts: SplitResult, further: str = "") -> bytes:
    fields = f"Host: {_host_header(parts)}\r\n{_authorization('Authorization', parts)}{further}"
    start = f"POST {target} HTTP/1.1\r\n{fields}Content-Type: application/json\r\n"
    return start.encode("latin-1", "replace")


def _host_header(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _authorization(field: str, parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"{field}: Basic {base64.b64encode(login.encode()).decode()}\r\n"


def _find_proxy(parts: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    name = f"{parts.scheme}_proxy"
    proxy = environ.get(name) or environ.get(name.upper())
    if not proxy or _is_loopback(parts.hostname or ""):
        return None
    # Slow to load, and rarely needed.
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: PLC0415

    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if proxy_bypass_environment(_host_header(parts), {"no": excluded}):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


class HttpConnection:
    """A connection to one server, opened when it is first needed and kept open between exchanges.

    One thread at a time may use it. An exchange that fails closes it.
    """

    def __init__(self, route: Route) -> None:
        self.last_used = 0.0
        """When the last exchange ended, on the monotonic clock."""
        self._route = route
        self._socket: socket.socket | None = None
        self._received = b""

    def __del__(self) -> None:
        self.close()

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open, and neither closed nor spoken to by the server since the last exchange."""
        return self._socket is not None and not self._received and not _is_readable(self._socket)

    def exchange(self, body: bytes, deadline: float, fields: bytes = b"") -> tuple[int, bytes]:
        """POST ``body`` and return the answer.

        Args:
            body: JSON.
            deadline: when to give up, on the monotonic clock, in seconds.
            fields: further lines of the request's head.

        Returns:
            The HTTP status code and the answer's body.

        Raises:
            ExchangeError: one of its subclasses; they say whether the server may have acted.
        """
        complete = False
        try:
            self._deliver(body, deadline, fields)
            answer = self._answer(deadline)
            complete = True
            return answer
        finally:
            if not complete:  # also after Ctrl-C: what comes next would be the answer to an older question
                self.close()
            self.last_used = time.monotonic()

    def close(self) -> None:
        """Close the connection; the next exchange opens it again."""
        sock, self._socket, self._received = self._socket, None, b""
        if sock is not None:
            sock.close()

    def _deliver(self, body: bytes, deadline: float, fields: bytes) -> None:
        try:
            sock = self._socket or self._connect(deadline)
            sock.settimeout(_left(deadline))
            sock.sendall(b"%b%bContent-Length: %d\r\n\r\n%b" % (self._route.head, fields, len(body), body))
        except TimeoutError:
            raise DeadlineError("did not take the request in time") from None
        except OSError as error:
            raise NotDeliveredError(error.strerror or str(error)) from error

    def _connect(self, deadline: float) -> socket.socket:
        sock = _open(self._route.host, self._route.port, deadline)
        self._socket = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._route.tunnel:
            self._enter_tunnel(sock, self._route.tunnel, deadline)
        if self._route.tls_name:
            self._socket = sock = _secure(sock, self._route.tls_name, self._route.authority)
        return sock

    def _enter_tunnel(self, sock: socket.socket, greeting: bytes, deadline: float) -> None:
        sock.sendall(greeting)
        try:
            status, _ = self._head(deadline)
        except NoAnswerError as error:
            raise ConnectionError("the proxy closed the connection") from error
        if status != 200:  # noqa: PLR2004 - HTTP's OK
            raise ConnectionError(f"the proxy refuses to connect us (HTTP {status})")

    def _answer(self, deadline: float) -> tuple[int, bytes]:
        status, fields = self._head(deadline)
        while status < 200:  # noqa: PLR2004 - an interim answer
            status, fields = self._head(deadline)
        body = self._body(fields, deadline)
        if fields.get(b"connection", b"").lower() == b"close":
            self.close()
        return status, body

    def _head(self, deadline: float) -> tuple[int, dict[bytes, bytes]]:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > MAX_HEAD:
                raise BrokenAnswerError("answers with an endless head")
            self._receive(deadline)
        head, self._received = self._received[:end], self._received[end + 4 :]
        return _parse_head(head)

    def _body(self, fields: dict[bytes, bytes], deadline: float) -> bytes:
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            return self._chunked_body(deadline)
        if b"content-length" in fields:
            return self._take(_size(fields[b"content-length"], 10), deadline)
        return self._body_to_the_end(deadline)

    def _chunked_body(self, deadline: float) -> bytes:
        chunks: list[bytes] = []
        total = 0
        while size := _size(self._line(deadline).partition(b";")[0], 16):
            total = _checked(total + size)
            chunks.append(self._take(size, deadline))
            self._line(deadline)
        while self._line(deadline):  # trailing fields
            pass
        return b"".join(chunks)

    def _body_to_the_end(self, deadline: float) -> bytes:
        parts, total = [self._received], len(self._received)
        while part := self._receive_some(deadline):
            parts.append(part)
            total = _checked(total + len(part))
        self.close()
        return b"".join(parts)

    def _line(self, deadline: float) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            if len(self._received) > MAX_HEAD:
                raise BrokenAnswerError("answers with an endless line")
            self._receive(deadline)
        line, self._received = self._received[:end], self._received[end + 2 :]
        return line

    def _take(self, size: int, deadline: float) -> bytes:
        parts, missing = [self._received], size - len(self._received)
        while missing > 0:
            part = self._receive_some(deadline)
            if not part:
                raise BrokenAnswerError("closed the connection in the middle of the answer")
            parts.append(part)
            missing -= len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._received = data[size:]
        return data[:size]

    def _receive(self, deadline: float) -> None:
        part = self._receive_some(deadline)
        if not part:
            if self._received:
                raise BrokenAnswerError("closed the connection in the middle of the answer")
            raise NoAnswerError("closed the connection without an answer")
        self._received += part

    def _receive_some(self, deadline: float) -> bytes:
        sock = self._socket
        if sock is None:
            return b""
        try:
            sock.settimeout(_left(deadline))
            return sock.recv(_RECEIVE)
        except TimeoutError:
            raise DeadlineError("did not answer in time") from None
        except OSError:  # a reset is an end as well
            return b""


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _open(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to the first of the host's addresses that answers.

    Raises:
        TimeoutError: if none has answered by the deadline.
        OSError: the last refusal.
    """
    refusal: OSError | None = None
    name = host.encode() if host.isascii() else host  # text would load the tables of international names
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError) or isinstance(error, TimeoutError):
                raise
            refusal = error
        else:
            return sock
    raise refusal or OSError(f"{host} has no address")


def _secure(sock: socket.socket, name: str, authority: str | None) -> socket.socket:
    import ssl  # noqa: PLC0415 - slow to load; an open site does without

    return ssl.create_default_context(cafile=authority).wrap_socket(sock, server_hostname=name)


def _parse_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    if not first.startswith(b"HTTP/1."):
        raise BrokenAnswerError("does not answer in HTTP")
    try:
        status = int(first[9:12])
    except ValueError:
        raise BrokenAnswerError("answers without a status code") from None
    fields: dict[bytes, Any] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return status, fields


def _size(digits: bytes, base: int) -> int:
    try:
        size = int(digits, base)
    except ValueError:
        raise BrokenAnswerError("answers with a length that is no number") from None
    if size < 0:
        raise BrokenAnswerError("answers with a negative length")
    return _checked(size)


def _checked(size: int) -> int:
    if size > MAX_BODY:
        raise BrokenAnswerError(f"answers with more than {MAX_BODY >> 20} MiB")
    return size
