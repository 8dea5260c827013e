"""The tests' own tools: a watch that notices what is left, a link that fails as told."""

import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.harness import leaks
from tests.harness.proxy import TcpProxy


def test_a_process_that_is_left_is_named_and_ended():
    before = leaks.snapshot()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (left,) = leaks.left_behind(before, grace=0.05)
    assert str(child.pid) in left
    assert "time.sleep" in left
    assert child.wait(5) == -9


def test_a_thread_that_is_left_is_named():
    before = leaks.snapshot()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    assert leaks.left_behind(before, grace=0.05) == ["thread forgotten"]
    end.set()
    thread.join()


def test_what_is_on_its_way_out_is_waited_for():
    before = leaks.snapshot()
    thread = threading.Timer(0.1, lambda: None)
    thread.start()
    assert leaks.left_behind(before) == []


@pytest.fixture
def echo():
    """A server that sends back what it gets, as the router that a proxy is put before."""
    server = socket.create_server(("127.0.0.1", 0))
    links = []

    def serve():
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            links.append(link)
            threading.Thread(target=answer, args=(link,)).start()

    def answer(link):
        try:
            while data := link.recv(4096):
                link.sendall(data)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    port = server.getsockname()[1]
    yield SimpleNamespace(
        port=port, ws_url=f"ws://127.0.0.1:{port}/ws", http_url=f"http://127.0.0.1:{port}/call", realm="r"
    )
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()
    for link in links:
        link.close()


@pytest.fixture
def proxy(echo):
    proxy = TcpProxy(echo)
    yield proxy
    proxy.close()


@pytest.fixture
def link(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as link:
        assert exchange(link, b"hello") == b"hello"
        yield link


def exchange(link, data):
    link.sendall(data)
    return link.recv(4096)


def test_the_proxy_gives_the_router_s_urls_with_its_own_port(proxy):
    assert proxy.ws_url == f"ws://127.0.0.1:{proxy.port}/ws"
    assert proxy.http_url == f"http://127.0.0.1:{proxy.port}/call"


def test_a_cut_link_ends_and_a_new_one_works(proxy, link):
    proxy.cut()
    assert link.recv(10) == b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        assert exchange(again, b"back") == b"back"


def test_a_stalled_link_stays_open_and_delivers_when_resumed(proxy, link):
    proxy.stall()
    link.sendall(b"late")
    link.settimeout(0.1)
    with pytest.raises(TimeoutError):
        link.recv(10)
    proxy.resume()
    link.settimeout(5)
    assert link.recv(10) == b"late"


def test_a_forgotten_link_is_half_open_while_new_ones_work(proxy, link):
    proxy.forget()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        assert exchange(again, b"new") == b"new"
    link.sendall(b"lost")
    link.settimeout(0.1)
    with pytest.raises(TimeoutError):
        link.recv(10)
