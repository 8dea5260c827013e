"""Asking a router how it is, against listeners that are none."""

import socket
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.router import health

WELCOME_101 = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: "


@pytest.fixture
def listener():
    """Serve one connection with a function of the socket."""
    opened = []

    def serve(behave: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))

        def run():
            link, _ = server.accept()
            with link:
                behave(link)

        thread = threading.Thread(target=run)
        thread.start()
        opened.append((server, thread))
        return f"ws://127.0.0.1:{server.getsockname()[1]}/ws"

    yield serve
    for server, thread in opened:
        thread.join(5)
        server.close()


def read_head(link: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += link.recv(4096)
    return head


def accept(link: socket.socket) -> None:
    head = read_head(link).decode()
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    link.sendall(WELCOME_101 + health._accept_key(key).encode() + b"\r\n\r\n")


def test_the_key_is_answered_as_in_the_standard_s_example():
    assert health._accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_nothing_there(unused_port):
    found = health.check(f"ws://127.0.0.1:{unused_port}/ws", "realm")
    assert (found.ok, found.stage) == (False, "tcp")
    assert "ocs up" in found.message


def test_a_web_server_is_no_router(listener):
    def behave(link):
        read_head(link)
        link.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")

    found = health.check(listener(behave), "realm")
    assert found.stage == "websocket"
    assert "404" in found.message


def test_a_silent_listener_costs_no_more_than_the_deadline(listener):
    found = health.check(listener(lambda link: link.recv(4096) and link.recv(1)), "realm", timeout=0.2)
    assert (found.ok, found.stage) == (False, "websocket")
    assert found.seconds < 2
    assert "0.2 s" in found.message


def test_a_listener_that_hangs_up(listener):
    found = health.check(listener(read_head), "realm")
    assert not found.ok
    assert "no router" in found.message


def test_a_websocket_without_wamp(listener):
    def behave(link):
        accept(link)
        link.recv(4096)
        link.sendall(bytes([0x81, 5]) + b"hello")

    found = health.check(listener(behave), "realm")
    assert found.stage == "realm"
    assert "not WAMP" in found.message


def test_a_listener_that_never_stops_talking(listener):
    def behave(link):
        read_head(link)
        try:
            for _ in range(1000):
                link.sendall(b"x" * 10_000)
        except OSError:
            pass

    assert "length" in health.check(listener(behave), "realm").message


@pytest.mark.parametrize("url", ["http://x:1/ws", "ws://", "nonsense", "ws://host:port/ws", f"ws://{'x' * 70}:1/ws"])
def test_a_url_that_is_none_is_an_answer_not_an_error(url):
    assert "no URL of a router" in health.check(url, "realm").message


@pytest.mark.parametrize("url", ["", "http://host:port/", f"http://{'x' * 70}/", "http://a b/", "http://127.0.0.1:1/"])
def test_a_page_that_cannot_be_asked_for_has_no_status(url):
    assert health.answers_http(url) is None


def test_the_missing_realm_is_named():
    found = health._verdict("ws://x", "wrong", [3, {}, "wamp.error.no_such_realm"], 0.1)
    assert not found.ok
    assert "'wrong'" in found.message


@given(st.binary(max_size=70_000), st.binary(max_size=10))
def test_frames_come_apart_as_they_were_put_together(payload, rest):
    size = len(payload)
    if size < 126:
        head = bytes([0x81, size])
    elif size < 65536:
        head = b"\x81\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x81\x7f" + size.to_bytes(8, "big")
    assert health._split_frame(head + payload + rest) == (1, payload, rest)


@given(st.integers(min_value=0, max_value=300))
def test_half_a_frame_is_waited_for(size):
    payload = b"p" * size
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    whole = head + payload
    assert all(health._split_frame(whole[:cut]) is None for cut in range(len(whole)))


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
