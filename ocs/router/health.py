"""Whether a router answers: by TCP, by HTTP, and as a WAMP router that has the realm.

Plain sockets with a deadline, no Twisted: a program asks before it has a reactor.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import ssl

__all__ = [
    "Health",
    "HttpAnswer",
    "Link",
    "RefusedError",
    "answers_http",
    "ask_http",
    "check",
    "hello",
    "port_is_open",
    "websocket_url",
]

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_MAX_REPLY = 64 * 1024
_TEXT, _CLOSE, _PING = 0x1, 0x8, 0x9
_ASKS_FOR_KEY = "wamp.error.no_auth_method"
_HELLO, _WELCOME, _ABORT, _GOODBYE = 1, 2, 3, 6


@dataclass(frozen=True)
class Health:
    """What became of asking a router.

    Attributes:
        ok: it serves the realm that was asked for.
        stage: how far the asking came: ``tcp``, ``websocket``, ``realm``, ``joined``, or ``closed`` at a router that
            admits nobody without a key.
        message: one line for a person: what is wrong and what to do.
        seconds: how long it took, in seconds.
        details: what the router said of itself, such as its version.
    """

    ok: bool
    stage: str
    message: str
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpAnswer:
    """What became of asking for a page.

    Attributes:
        status: the HTTP status code.
        date: the time on the other end, in unix s; None: it does not tell.
    """

    status: int
    date: float | None


def port_is_open(host: str, port: int, timeout: float = 1.0) -> bool:
    """Tell whether anything listens at a TCP port.

    Args:
        host: name or address.
        port: TCP port.
        timeout: in seconds.
    """
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


def answers_http(url: str, timeout: float = 1.0) -> int | None:
    """Ask for a page, and return the HTTP status code, or None where nothing that speaks HTTP answers.

    Args:
        url: an ``http://`` or ``https://`` URL.
        timeout: in seconds, for each step of the exchange.
    """
    answer = ask_http(url, timeout)
    return answer.status if answer else None


def ask_http(url: str, timeout: float = 1.0) -> HttpAnswer | None:
    """Ask for a page; None where nothing that speaks HTTP answers.

    Args:
        url: an ``http://`` or ``https://`` URL.
        timeout: in seconds, for each step of the exchange.
    """
    try:
        link = _http_link(urlsplit(url), timeout)
    except (ValueError, http.client.HTTPException):  # no URL at all
        return None
    try:
        link.request("GET", urlsplit(url).path or "/")
        answer = link.getresponse()
        return HttpAnswer(answer.status, _unix_time(answer.headers["Date"]))
    except (OSError, UnicodeError, http.client.HTTPException):  # UnicodeError: no host can have such a name
        return None
    finally:
        link.close()


def _http_link(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=_any_certificate())
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _unix_time(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None


def check(url: str, realm: str, timeout: float = 5.0) -> Health:
    """Ask the router at ``url`` for a session in ``realm``, as a stranger, and leave again.

    A closed router does its work by refusing; whether its certificate is good is for those to check who have keys.

    Args:
        url: the websocket URL, as ``wamp_server`` in the site config.
        realm: the WAMP realm, as ``wamp_realm``.
        timeout: for the whole of it, in seconds.

    Returns:
        What became of it; never raises for a router that is absent, silent or something else.
    """
    started = time.monotonic()
    stage = "tcp"
    try:
        parts = websocket_url(url)
        with contextlib.closing(Link(parts, started + timeout)) as link:
            stage = "websocket"
            link.handshake()
            stage = "realm"
            answer = hello(link, realm)
    except RefusedError as error:
        return Health(False, stage, str(error), time.monotonic() - started)
    except UnicodeError:
        return Health(False, stage, f"{url!r} is no URL of a router: no host can have such a name")
    except OSError as error:
        return Health(False, stage, _trouble(url, stage, error, timeout), time.monotonic() - started)
    return _verdict(url, realm, answer, time.monotonic() - started)


def _trouble(url: str, stage: str, error: OSError, timeout: float) -> str:
    if stage == "tcp":
        reason = error.strerror or str(error) or f"no answer within {timeout:g} s"
        return f"no router at {url} ({reason}): start one, with `ocs up` or `ocs-local-support start crossbar`"
    if isinstance(error, TimeoutError):
        return f"what listens at {url} gave no answer within {timeout:g} s: it may be stuck, or no router"
    return f"what listens at {url} broke off the connection ({error.strerror or error}): it may be no router"


def _verdict(url: str, realm: str, answer: list[Any], seconds: float) -> Health:
    if answer[0] == _WELCOME:
        details = {key: answer[2].get(key) for key in ("x_cb_node", "authrole", "realm")}
        return Health(True, "joined", f"router at {url} serves realm {realm!r}", seconds, details)
    error = str(answer[2]) if len(answer) > 2 else "no reason given"  # noqa: PLR2004 - ABORT is [3, details, reason]
    if error == _ASKS_FOR_KEY:
        return Health(True, "closed", f"router at {url} is closed: it admits those with a key alone", seconds)
    if error == "wamp.error.no_such_realm":
        text = f"the router at {url} has no realm {realm!r}: compare wamp_realm in the site file with the router's"
    else:
        text = f"the router at {url} refuses a session in realm {realm!r}: {error}"
    return Health(False, "realm", text, seconds)


def hello(link: "Link", realm: str) -> list[Any]:
    """Say HELLO for ``realm`` over an open websocket and return the router's answer, WELCOME or ABORT."""
    link.send([_HELLO, realm, {"roles": {"caller": {}}, "authmethods": ["anonymous"]}])
    answer = link.receive()
    if not isinstance(answer, list) or not answer or answer[0] not in (_WELCOME, _ABORT):
        raise RefusedError(f"what listens at {link.url} speaks websocket but not WAMP: is the path right?")
    if answer[0] == _WELCOME:
        link.send([_GOODBYE, {}, "wamp.close.normal"])
        link.receive()
    return answer


class RefusedError(Exception):
    """The other end answered, but not as a router of ours would."""


def websocket_url(url: str) -> SplitResult:
    """Take a router's URL apart.

    Raises:
        RefusedError: it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("ws", "wss") and parts.hostname and parts.port
    except ValueError:
        usable = None
    if not usable:
        raise RefusedError(f"{url!r} is no URL of a router; it looks like ws://127.0.0.1:8001/ws")
    return parts


class Link:
    """A websocket that speaks WAMP in JSON: just enough to say HELLO.

    Args:
        parts: the router's URL.
        deadline: by the steady clock, in seconds, when all has to be over.

    Raises:
        OSError: nobody answers; so do the methods.
        RefusedError: somebody else does; so do the methods.
    """

    def __init__(self, parts: SplitResult, deadline: float) -> None:
        self.url = parts.geturl()
        self._parts = parts
        self._deadline = deadline
        self._buffer = b""
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), self._remaining())
        if parts.scheme == "wss":
            self._socket = _with_tls(self._socket, parts.hostname or "")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _remaining(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _more(self) -> None:
        self._socket.settimeout(self._remaining())
        data = self._socket.recv(8192)
        if not data:
            raise ConnectionError("closed")
        self._buffer += data
        if len(self._buffer) > _MAX_REPLY:
            raise RefusedError(f"what listens at {self.url} answers at a length that no router does")

    def handshake(self) -> None:
        """Turn the connection into a websocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(_handshake_request(self._parts, key))
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        if lines[0].split(" ")[1:2] != ["101"]:
            raise RefusedError(f"what listens at {self.url} is no websocket ({lines[0][:60]!r}): is the path right?")
        if _accept_key(key) not in head.decode("latin-1"):
            raise RefusedError(f"what listens at {self.url} answers the websocket handshake wrongly")

    def send(self, message: list[Any]) -> None:
        """Send a message."""
        self._socket.sendall(_frame(_TEXT, json.dumps(message).encode()))

    def receive(self) -> Any:
        """Return the next message; pings, which a router may send first, are passed over."""
        while True:
            kind, payload = self._frame()
            if kind == _CLOSE:
                raise ConnectionError("closed")
            if kind != _PING:
                return self._decoded(payload)

    def _decoded(self, payload: bytes) -> Any:
        try:
            return json.loads(payload)
        except ValueError as error:
            raise RefusedError(
                f"what listens at {self.url} speaks websocket but not WAMP: is the path right?"
            ) from error

    def _frame(self) -> tuple[int, bytes]:
        while (split := _split_frame(self._buffer)) is None:
            self._more()
        kind, payload, self._buffer = split
        return kind, payload


def _with_tls(plain: socket.socket, host: str) -> socket.socket:
    try:
        return _any_certificate().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _any_certificate() -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415 - slow to load; for closed sites alone

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _handshake_request(parts: SplitResult, key: str) -> bytes:
    lines = (
        f"GET {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Protocol: wamp.2.json",
        "Sec-WebSocket-Version: 13",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def _accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def _frame(kind: int, payload: bytes) -> bytes:
    """Pack one whole message as a masked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)  # noqa: PLR2004 - RFC 6455
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([0x80 | kind]) + length + mask + masked


def _split_frame(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    """Take one frame off the front of ``buffer``: (kind, payload, the rest), or None while it is not all there."""
    if len(buffer) < 2:  # noqa: PLR2004 - the two bytes that tell the length
        return None
    size, start = buffer[1] & 0x7F, 2
    for code, layout in ((126, "!H"), (127, "!Q")):
        if size == code:
            start = 2 + struct.calcsize(layout)
            if len(buffer) < start:
                return None
            size = struct.unpack(layout, buffer[2:start])[0]
            break
    if len(buffer) < start + size:
        return None
    return buffer[0] & 0x0F, buffer[start : start + size], buffer[start + size :]
