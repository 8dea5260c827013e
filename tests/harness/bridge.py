"""A stand-in for the router's HTTP bridge, in which a test decides what comes back, byte by byte if need be."""

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

Answer = dict[str, Any] | bytes | Iterator[bytes] | None
"""A map is sent as JSON, bytes as they are, bytes one after another; None closes the connection without a word."""


class FakeBridge:
    """Serves HTTP on a free port of the loopback interface while its context lasts.

    Attributes:
        requests: what came, decoded.
        heads: the heads of the requests.
        connections: how many connections there have been.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer], *, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.tls = tls
        self.requests: list[dict[str, Any]] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.bridge = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fake-bridge")

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/call"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.close_connections()
        self._server.server_close()
        self._thread.join()

    def close_connections(self) -> None:
        """Close what is open, as a router that ends does."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(self, connection: socket.socket) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self._open.add(connection)
        stream = connection.makefile("rb")
        try:
            while (head := _read_head(stream)) and self._answer_one(connection, stream, head):
                pass
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            stream.close()

    def _answer_one(self, connection: socket.socket, stream: Any, head: bytes) -> bool:
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        request = json.loads(stream.read(length))
        self.heads.append(head)
        self.requests.append(request)
        answer = self.answer(request)
        if answer is None:
            return False
        for part in _parts(answer):
            connection.sendall(part)
        return True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    bridge: FakeBridge


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        bridge, connection = self.server.bridge, self.request  # type: ignore[attr-defined]
        if bridge.tls is None:
            bridge.serve(connection)
            return
        with contextlib.suppress(OSError), bridge.tls.wrap_socket(connection, server_side=True) as secure:
            bridge.serve(secure)


def _read_head(stream: Any) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head


def _parts(answer: Any) -> Iterator[bytes]:
    if isinstance(answer, dict):
        answer = http_answer(json.dumps(answer).encode())
    yield from [answer] if isinstance(answer, bytes) else answer


def http_answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return an answer with its length in the head."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def result(value: Any) -> dict[str, Any]:
    """Return what the bridge sends for a call's result."""
    return {"args": [value]}


def session(op_name: str = "count", number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a session as an agent sends it."""
    base = {
        "session_id": number,
        "op_name": op_name,
        "op_code": 3,
        "status": "running",
        "degraded": False,
        "success": None,
        "start_time": 1000.0 + number,
        "end_time": None,
        "data": {},
        "messages": [[1000.0 + number, 'Status is now "running".']],
    }
    return {**base, **changes}
