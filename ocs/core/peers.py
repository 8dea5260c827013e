"""Where callers are: the other end of their connections, as the router knows it."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred  # noqa: A004 - Twisted's name

from ocs.wamp.lean_autobahn import ApplicationError, TransportLost

__all__ = ["BRIDGE", "Peers"]

BRIDGE: Final = "HTTP bridge"
"""What is told of where somebody is who came by HTTP: the router does not know more."""


_REMEMBERED: Final = 1000
"""WAMP sessions whose address is remembered."""
_ASKED: Final = 20
"""WAMP sessions that are asked for at a time; of more that come just then no address is known."""
_PATIENCE: Final = 2.0
"""Seconds that the router gets for an answer."""
_SHUT: Final = ("wamp.error.not_authorized", "wamp.error.no_such_procedure")
"""What a router says that will not tell."""

Then = Callable[[str | None], None]


class Peers:
    """Asks the router, once for each WAMP session. For the reactor's thread.

    Args:
        call: calls a procedure, as autobahn does.
        reactor: the clock.
    """

    def __init__(self, call: Callable[..., "Deferred[Any]"], reactor: Any) -> None:
        self._call = call
        self._reactor = reactor
        self._known: OrderedDict[int, str | None] = OrderedDict()
        self._asked: dict[int, list[Then]] = {}
        self._shut = False

    def known(self, session: int | None) -> str | None:
        """Return the address of a session that has been asked for before; from any thread."""
        return self._known.get(session) if session is not None else None

    def find(self, session: int, then: Then) -> None:
        """Call ``then(address)``: at once where it is known, else when the router has answered.

        Args:
            session: the WAMP session.
            then: gets an address such as ``tcp4:192.0.2.7:40312``, or None where there is none to be had.
        """
        if session in self._known:
            self._known.move_to_end(session)
            then(self._known[session])
        elif session in self._asked:
            self._asked[session].append(then)
        elif self._shut or len(self._asked) >= _ASKED:
            then(None)
        else:
            self._asked[session] = [then]
            asked = maybeDeferred(self._call, "wamp.session.get", session)
            asked.addTimeout(_PATIENCE, self._reactor)
            asked.addCallbacks(_address, self._no_answer).addCallback(self._answered, session)

    def give_up(self) -> None:
        """Wait for no answer any more."""
        for session in list(self._asked):
            self._answered(None, session)

    def _no_answer(self, failure: Any) -> None:
        failure.trap(ApplicationError, TransportLost, TimeoutError)
        self._shut = self._shut or getattr(failure.value, "error", "") in _SHUT

    def _answered(self, address: str | None, session: int) -> None:
        self._known[session] = address
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        for then in self._asked.pop(session, ()):
            then(address)


def _address(details: Any) -> str | None:
    transport = details.get("transport") if isinstance(details, dict) else None
    if not isinstance(transport, dict):
        return None
    if transport.get("channel_type") == "function":  # a session within the router: a closed one's HTTP bridge
        return BRIDGE
    peer = transport.get("peer")
    return peer if isinstance(peer, str) and len(peer) < 100 else None  # noqa: PLR2004 - an address, no more
