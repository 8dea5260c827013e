"""A TCP proxy that fails the way networks do: cut off, or gone silent with the connection left open."""

import contextlib
import selectors
import socket
import threading
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class TcpProxy:
    """Forwards every connection to a router until told otherwise.

    One thread owns all sockets; `cut`, `stall` and `resume` only set what it is to do and wake it up.

    Attributes:
        ws_url, http_url, realm: as those of the router, but through the proxy.
        port: where it listens.
    """

    def __init__(self, router: Any) -> None:
        self._target = ("127.0.0.1", int(router.port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.ws_url, self.http_url = self._through(router.ws_url), self._through(router.http_url)
        self.realm: str = router.realm
        self._peers: dict[socket.socket, socket.socket] = {}
        self._near: set[socket.socket] = set()
        self._abandoned: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._orders: list[str] = []
        self._done = threading.Condition()
        self._stalled = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="tcp-proxy")
        self._thread.start()

    def _through(self, url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._peers) // 2

    def cut(self) -> None:
        """Close every connection; new ones are taken."""
        self._order("cut")

    def stall(self) -> None:
        """Forward nothing more, in either direction, with all connections left open; new ones hang."""
        self._order("stall")

    def resume(self) -> None:
        """Forward again, starting with what was sent meanwhile."""
        self._order("resume")

    def forget(self) -> None:
        """Make what is open now half-open for ever: its ends hear nothing more, while new connections work."""
        self._order("forget")

    def abandon(self) -> None:
        """Close the ends of those who have connected, and leave the router's open: it still believes in them."""
        self._order("abandon")

    def close_abandoned(self) -> None:
        """Close the router's ends that `abandon` has left open."""
        self._order("close_abandoned")

    def close(self) -> None:
        """Close everything and end the thread."""
        self._order("close")
        self._thread.join()

    def _order(self, order: str) -> None:
        with self._done:
            self._orders.append(order)
            self._wake.send(b"!")
            assert self._done.wait_for(lambda: order not in self._orders, timeout=10), f"proxy stuck at {order!r}"

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    if self._obey():
                        return
                    break  # an order changes what is registered: select anew
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._forward(key.fileobj)  # type: ignore[arg-type]

    def _obey(self) -> bool:
        self._woken.recv(1)
        with self._done:
            order = self._orders[0]
            getattr(self, f"_do_{order}")()
            self._orders.pop(0)
            self._done.notify_all()
        return order == "close"

    def _do_cut(self) -> None:
        for link in list(self._peers):
            self._drop(link)

    def _do_stall(self) -> None:
        self._stalled = True
        for link in [*self._peers, self._listener]:
            self._unwatch(link)

    def _do_resume(self) -> None:
        self._stalled = False
        for link in [*self._peers, self._listener]:
            self._watch(link)

    def _do_forget(self) -> None:
        for link in self._peers:
            self._unwatch(link)

    def _do_abandon(self) -> None:
        for near in self._near & self._peers.keys():
            far = self._peers.pop(near)
            del self._peers[far]
            self._unwatch(near)
            self._unwatch(far)
            near.close()
            self._abandoned.append(far)
        self._near.clear()

    def _do_close_abandoned(self) -> None:
        while self._abandoned:
            self._abandoned.pop().close()

    def _do_close(self) -> None:
        self._do_cut()
        self._do_close_abandoned()
        for end in (self._listener, self._wake, self._woken):
            end.close()
        self._selector.close()

    def _watch(self, link: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.register(link, selectors.EVENT_READ)

    def _unwatch(self, link: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(link)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(30)
        near.settimeout(30)
        self._peers[near], self._peers[far] = far, near
        self._near.add(near)
        self._watch(near)
        self._watch(far)

    def _forward(self, link: socket.socket) -> None:
        if link not in self._peers:
            return
        try:
            data = link.recv(65536)
            if data:
                self._peers[link].sendall(data)
                return
        except OSError:
            pass
        self._drop(link)

    def _drop(self, link: socket.socket) -> None:
        other = self._peers.pop(link, None)
        if other is None:
            return
        self._peers.pop(other, None)
        self._near -= {link, other}
        for end in (link, other):
            self._unwatch(end)
            end.close()
