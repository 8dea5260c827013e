"""A WAMP session on a bare socket: quick, and free to send what no library would."""

import base64
import itertools
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import cbor2
import msgpack

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR = 1, 2, 3, 4, 5, 6, 8
PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, EVENT = 16, 17, 32, 33, 36
CALL, RESULT, REGISTER, REGISTERED, INVOCATION, YIELD = 48, 50, 64, 65, 68, 70

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_FEATURES: dict[str, Any] = {
    "caller": {"features": {"call_canceling": True}},
    "callee": {"features": {"call_canceling": True}},
    "publisher": {"features": {}},
}


class Form(NamedTuple):
    """How messages are written on the wire."""

    name: str
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    opcode: int


def _json_text(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


MSGPACK = Form("msgpack", msgpack.packb, lambda data: msgpack.unpackb(data, strict_map_key=False), _BINARY)
CBOR = Form("cbor", cbor2.dumps, cbor2.loads, _BINARY)
JSON = Form("json", _json_text, json.loads, _TEXT)
FORMS = (MSGPACK, CBOR, JSON)


class ClosedError(ConnectionError):
    """The router has closed the connection."""


class RawSession:
    """A session that has joined the router's realm. It blocks.

    Args:
        router: has ``port`` and ``realm``.
        form: how to write messages.
        path: of the websocket.
        timeout: how long anything of the router's may take, in seconds.
        link: a connection to the router, by TLS for one; made unless given.
        details: what HELLO says beside the usual.
        sign: answers the router's challenge.
        join: whether to say HELLO at all.

    Attributes:
        session_id: the router's number of the session.
        welcome: what it was told when it joined.
    """

    def __init__(
        self,
        router: Any,
        form: Form = MSGPACK,
        *,
        path: str = "/ws",
        timeout: float = 20.0,
        link: socket.socket | None = None,
        details: dict[str, Any] | None = None,
        sign: Callable[[str], str] | None = None,
        join: bool = True,
    ) -> None:
        self.form = form
        self.session_id = 0
        self.welcome: dict[str, Any] = {}
        self._socket = link or socket.create_connection(("127.0.0.1", router.port), timeout)
        self._socket.settimeout(timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = bytearray()
        self._numbers = itertools.count(1)
        try:
            self._shake_hands(path)
            if join:
                self._join(router.realm, details or {}, sign)
        except BaseException:
            self.close()
            raise

    def _join(self, realm: str, details: dict[str, Any], sign: Callable[[str], str] | None) -> None:
        self.send([HELLO, realm, {"roles": _FEATURES, **details}])
        answer = self.receive()
        if answer[0] == CHALLENGE and sign is not None:
            self.send([AUTHENTICATE, sign(answer[2]["challenge"]), {}])
            answer = self.receive()
        if answer[0] != WELCOME:
            raise ClosedError(f"the router refuses the session: {answer}")
        self.session_id, self.welcome = answer[1], answer[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut the connection."""
        self._socket.close()

    def _shake_hands(self, path: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        head = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": f"wamp.2.{self.form.name}",
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self._data:
            self._read()
        answer, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise ClosedError(f"no websocket: {answer[:200]!r}")
        self._data = bytearray(rest)

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionError as error:
            raise ClosedError(str(error)) from error
        if not data:
            raise ClosedError("the router has closed the connection")
        self._data += data

    def send(self, *messages: list[Any]) -> None:
        """Send messages, in one piece."""
        self.send_packed(map(self.form.pack, messages))

    def send_packed(self, payloads: Iterable[bytes]) -> None:
        """Send what has been written already, each in a frame of its own."""
        try:
            self._socket.sendall(b"".join(_frame(payload, self.form.opcode) for payload in payloads))
        except ConnectionError as error:
            raise ClosedError(str(error)) from error

    def receive(self) -> list[Any]:
        """Return the next message.

        Raises:
            ClosedError: the router has closed the connection.
            TimeoutError: it says nothing.
        """
        while True:
            opcode, payload = self._next_frame()
            if opcode in (_TEXT, _BINARY):
                message: list[Any] = self.form.unpack(payload)
                return message
            if opcode == _PING:
                self._socket.sendall(_frame(payload, _PONG))
            elif opcode == _CLOSE:
                raise ClosedError(f"the router closes: {payload[2:]!r}")

    def _next_frame(self) -> tuple[int, bytes]:
        while (found := _first_frame(self._data)) is None:
            self._read()
        opcode, begin, end = found
        payload = bytes(self._data[begin:end])
        del self._data[:end]
        return opcode, payload

    def call(self, procedure: str, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Call a procedure and return the router's whole answer; events that come meanwhile are passed over."""
        self.send([CALL, 1 << 40, {}, procedure, list(args), kwargs])
        while True:
            message = self.receive()
            if message[0] == RESULT or (message[0] == ERROR and message[1] == CALL):
                return message

    def ask(self, kind: int, *rest: Any) -> list[Any]:
        """Send a request that is no call, such as REGISTER, and return its answer.

        Args:
            kind: the message's number.
            rest: what follows the request's id.
        """
        number = next(self._numbers)
        self.send([kind, number, *rest])
        while True:
            message = self.receive()
            if message[0] == ERROR and message[1:3] == [kind, number]:
                return message
            if message[0] in (PUBLISHED, SUBSCRIBED, REGISTERED) and message[1] == number:
                return message

    def hears(self, wanted: Callable[[list[Any]], bool], seconds: float = 1.0) -> bool:
        """Tell whether a message comes within some seconds."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if wanted(self.receive()):
                    return True
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(20)
        return False

    @property
    def socket(self) -> socket.socket:
        """The connection itself."""
        return self._socket

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)


def _frame(payload: bytes, opcode: int) -> bytes:
    """Return a client's frame; its mask is null, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


def _first_frame(data: bytearray) -> tuple[int, int, int] | None:
    """Return opcode, begin and end of the payload of the first frame, or None while it is not whole."""
    if len(data) < 2:
        return None
    begin, size = 2, data[1] & 0x7F
    if size >= 126:
        length = 2 if size == 126 else 8
        if len(data) < 2 + length:
            return None
        begin, size = 2 + length, int.from_bytes(data[2 : 2 + length], "big")
    return (data[0] & 0x0F, begin, begin + size) if len(data) >= begin + size else None
