"""The router's end of a connection at a closed site: who it is, and that it speaks for nobody else."""

import re
from typing import Any, Final, Protocol

from autobahn.wamp import message
from autobahn.wamp.types import Deny, SessionDetails
from crossbar.router.protocol import WampWebSocketServerProtocol
from crossbar.router.session import RouterSession
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from ocs.errors import KeysError
from ocs.keys.table import Identity
from ocs.router.admission import Admission
from ocs.router.door import JOIN_WITHIN_S, Door, Place

__all__ = ["MAX_HELLO_BYTES", "Host", "SiteConnection", "SiteSession", "place_of"]

MAX_HELLO_BYTES: Final = 16 * 1024
"""Largest message from somebody who has not shown a key, in bytes."""

_FAREWELL_S: Final = 0.5
"""Time for the last message to get out before a connection is cut, in seconds."""

_SIGNED: Final = re.compile(r"[0-9a-fA-F]{192}")
_REFUSED: Final = "wamp.error.authentication_failed"

reactor: Any = _reactor


class Host(Protocol):
    """What sessions need of the guard."""

    admission: Admission
    door: Door
    site_realm: str

    def log_line(self, line: str) -> None:
        """Write a line into the log."""


class SiteConnection(WampWebSocketServerProtocol):
    """A websocket, as crossbar's, that writes less into the log."""


class SiteSession(RouterSession):
    """A session, from the time when nobody knows yet whose it is; made by crossbar for each websocket."""

    host: Host

    identity: Identity | None = None
    public = ""
    _place: Place = ("somebody", 0)
    _has_asked = False
    _is_joined = False
    _is_leaving = False

    def onOpen(self, transport: Any) -> None:  # noqa: N802 - crossbar's name
        """Expect nothing but a short message that says who it is."""
        super().onOpen(transport)
        self._place = place_of(transport.transport)
        transport.maxFramePayloadSize = transport.maxMessagePayloadSize = MAX_HELLO_BYTES

    def onMessage(self, msg: Any) -> None:  # noqa: N802 - crossbar's name
        """Take a message, unless it is one that only a forger or another router would send."""
        if self._session_id is None:
            if self._is_leaving or (self._has_asked and isinstance(msg, message.Hello)):
                self._cut_soon()
                return
            self._has_asked = True
        if getattr(msg, "forward_for", None):
            msg.forward_for = None  # crossbar would take the name that stands there for the caller's
        if self._is_answer_for_another(msg):
            self._tell("answers a call that was made to somebody else, and is sent away")
            self._cut_soon()
            return
        super().onMessage(msg)  # type: ignore[no-untyped-call]

    def onHello(self, realm: str, details: Any) -> Any:  # noqa: N802 - crossbar's name
        """Refuse who is not in the table, before crossbar asks for a proof of the key."""
        if "cryptosign" not in (details.authmethods or ()):
            return self._ended(super().onHello(realm, details))
        extra = details.authextra if isinstance(details.authextra, dict) else {}
        try:
            self.identity = self.host.admission.admit(details.authid, extra.get("pubkey"), self._place[0])
        except KeysError as error:
            return self._refusal(str(error))
        if realm != self.host.site_realm:
            reason = f"this router has no realm but {self.host.site_realm!r}"
            return self._ended(Deny("wamp.error.no_such_realm", reason))
        self.public = str(extra["pubkey"])
        details.authmethods = ["cryptosign"]
        # Only this: the rest is for ways to join that we do not have.
        details.authextra = {name: extra[name] for name in ("pubkey", "channel_binding") if name in extra}
        return super().onHello(realm, details)

    def onAuthenticate(self, signature: Any, extra: Any) -> Any:  # noqa: N802 - crossbar's name
        """Look whether the key is its own."""
        if isinstance(signature, str) and _SIGNED.fullmatch(signature):
            answer = super().onAuthenticate(signature, extra)  # type: ignore[no-untyped-call]
            if not isinstance(answer, Deny):
                return answer
        self._tell("has not shown that the key is its own")
        return self._refusal("this signature is not that of the challenge by the key that was named")

    def onJoin(self, details: SessionDetails) -> None:  # noqa: N802 - crossbar's name
        """Take note that it has proven its key."""
        self._is_joined = True
        self.host.door.settle(self._place)
        factory = self._transport.factory  # type: ignore[union-attr]
        self._transport.maxFramePayloadSize = factory.maxFramePayloadSize  # type: ignore[union-attr]
        self._transport.maxMessagePayloadSize = factory.maxMessagePayloadSize  # type: ignore[union-attr]
        super().onJoin(details)

    def onLeave(self, details: Any) -> None:  # noqa: N802 - crossbar's name
        """Close the connection in a while, if the other end does not: nobody joins a second time by it."""
        super().onLeave(details)
        if self._is_joined and self._transport is not None:
            reactor.callLater(JOIN_WITHIN_S, self._cut)
        self._is_joined = False

    def leave_unless_good(self) -> None:
        """Send it away if it would not be let in any more."""
        if self._is_leaving or self.host.admission.is_good(self.identity, self.public):
            return
        self.host.log_line(f"{self._authid} is sent away: its key was revoked or has ended, or it has other rights now")
        self._cut_soon()
        self.leave(  # type: ignore[no-untyped-call]
            reason="wamp.close.killed", message="this key has been revoked, has ended, or has other rights"
        )

    def _is_answer_for_another(self, msg: Any) -> bool:
        """Tell whether it is an error that ends somebody else's call; crossbar looks at results alone."""
        if not isinstance(msg, message.Error) or msg.request_type != message.Invocation.MESSAGE_TYPE:
            return False
        invocation = self._router._dealer._invocations.get(msg.request) if self._router is not None else None
        return invocation is not None and invocation.callee is not self

    def _refusal(self, reason: str) -> Any:
        self._is_leaving = True
        wait = self.host.admission.delay(self._place[0])
        reactor.callLater(wait + _FAREWELL_S, self._cut)
        denial = Deny(_REFUSED, reason)
        return deferLater(reactor, wait, lambda: denial) if wait else denial

    def _ended(self, answer: Any) -> Any:
        if isinstance(answer, Deny):
            self._cut_soon()
        return answer

    def _cut_soon(self) -> None:
        if not self._is_leaving:
            self._is_leaving = True
            reactor.callLater(_FAREWELL_S, self._cut)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.transport.abortConnection()  # at once: a farewell may never be answered

    def _tell(self, what: str) -> None:
        name = self.identity.name if self.identity else ""
        self.host.admission.tell(self._place[0], f"{name} {what}", f"{self._place[0]}: {name or 'somebody'} {what}")


def place_of(transport: Any) -> Place:
    """Return where a connection comes from."""
    peer = transport.getPeer()
    return str(peer.host), int(peer.port)
