"""The guard of a closed router: a part of its worker that admits those with a key, and gives each role its rights.

Crossbar starts it before it listens, so that nobody is let in, or refused, by what is not there yet.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, Deny, SessionDetails
from crossbar.router.session import RouterSession
from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource

from ocs.errors import KeysError
from ocs.keys.table import ROLES, Identity
from ocs.router.admission import Admission
from ocs.router.bridge import Bridge, Tokens
from ocs.router.bridge_request import request_factory
from ocs.router.bridge_sessions import CallerSessions
from ocs.router.site_role import SiteRole

__all__ = ["Guard", "authenticator", "bridge"]

LOOK_EVERY_S: Final = 1.0
"""How often the table is looked at, in seconds: within this time a revoked key is of no use."""

JOIN_WITHIN_S: Final = 10.0
"""How long a connection may take to show its key, in seconds."""

FAREWELL_S: Final = 0.2
"""Time for the reason to arrive at one who is sent away, in seconds; it can do nothing any more by then."""

MOST_UNKNOWN: Final = 200
"""How many connections may be without having shown a key, at a time."""

reactor: Any = _reactor
_log = Logger()


class Guard(ApplicationSession):  # type: ignore[misc]
    """Crossbar's component; there is one in a worker.

    Its ``extra`` is ``{"folder": keys folder, "root": address root}``.
    """

    present: "Guard | None" = None

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self.admission = Admission(Path(config.extra["folder"]), time.time, _tell)
        self._root = str(config.extra["root"])
        self.tokens = Tokens(lambda: self.admission.table, str(config.realm), time.time)
        self.callers = CallerSessions(self, str(config.realm), reactor.seconds)

    def onJoin(self, _details: SessionDetails) -> None:  # noqa: N802 - autobahn's name
        """Take over the router's roles and sessions."""
        self._router = self._transport._router
        self._worker = self._router._factory.worker
        for role in ROLES:
            self._router.add_role(SiteRole(self._router, role, lambda: self.admission.table, self._root))
        self._worker._router_session_factory.session = SiteSession
        Guard.present = self
        LoopingCall(self._look).start(LOOK_EVERY_S, now=False)

    def open_session(self, session: ApplicationSession, identity: Identity) -> None:
        """Let a session of the HTTP bridge join as somebody."""
        self._worker._router_session_factory.add(
            session, self._router, authid=identity.name, authrole=identity.role, authextra={}
        )

    def close_session(self, session: ApplicationSession) -> None:
        """Let it leave."""
        self._worker._router_session_factory.remove(session)

    def _look(self) -> None:
        self.admission.refresh()
        self.callers.sweep(lambda identity: self.admission.table.identities.get(identity.name) == identity)
        for session in list(self._router._session_id_to_session.values()):
            if isinstance(session, SiteSession):
                session.leave_unless(self.admission)
        for transport in self._worker.transports.values():
            _bound_requests(transport, self.tokens)


def _bound_requests(transport: Any, tokens: Tokens) -> None:
    site = transport._transport_factory
    if not getattr(site, "is_bounded", False):
        site.requestFactory = request_factory(tokens.identify)
        site.is_bounded = True


def _tell(line: str) -> None:
    _log.warn("{line}", line=line)


class SiteSession(RouterSession):
    """The router's end of a connection."""

    unknown = 0
    """How many have not shown a key yet."""

    identity: Identity | None = None
    public = ""
    _deadline: Any = None

    def onOpen(self, transport: Any) -> None:  # noqa: N802 - crossbar's name
        """Give a new connection some time to show a key."""
        super().onOpen(transport)
        SiteSession.unknown += 1
        self._deadline = reactor.callLater(JOIN_WITHIN_S, self._too_late)
        if SiteSession.unknown > MOST_UNKNOWN:
            self._too_late()

    def onClose(self, wasClean: bool) -> None:  # noqa: N802, N803 - crossbar's names
        """Take note that it is gone."""
        self._settle()
        super().onClose(wasClean)  # type: ignore[no-untyped-call]

    def onHello(self, realm: str, details: Any) -> Any:  # noqa: N802 - crossbar's name
        """Refuse who is not in the table, before crossbar asks for a proof of the key."""
        extra = details.authextra if isinstance(details.authextra, dict) else {}
        guard = Guard.present
        if guard is None or "cryptosign" not in (details.authmethods or ()):
            return super().onHello(realm, details)
        try:
            self.identity = guard.admission.admit(details.authid, extra.get("pubkey"), self._address())
        except KeysError as error:
            return Deny("wamp.error.authentication_failed", str(error))
        self.public = str(extra["pubkey"])
        details.authmethods = ["cryptosign"]
        return super().onHello(realm, details)

    def onJoin(self, details: SessionDetails) -> None:  # noqa: N802 - crossbar's name
        """Take note that it has proven its key."""
        self._settle()
        super().onJoin(details)

    def leave_unless(self, admission: Admission) -> None:
        """Send it away if it would not be let in any more."""
        if not admission.is_good(self.identity, self.public):
            _tell(f"{self._authid} is sent away: its key was revoked or has ended, or it has other rights now")
            self.leave(  # type: ignore[no-untyped-call]
                reason="wamp.close.killed", message="this key has been revoked, has ended, or has other rights"
            )
            reactor.callLater(FAREWELL_S, self._cut)

    def _settle(self) -> None:
        if self._deadline is not None:
            SiteSession.unknown -= 1
            if self._deadline.active():
                self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._settle()
        self._cut()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.dropConnection(abort=True)  # at once, without a farewell that may not be answered

    def _address(self) -> str:
        peer = str(getattr(self._transport, "peer", ""))  # such as tcp4:192.0.2.7:40312
        return peer.partition(":")[2].rpartition(":")[0] or "somebody"


def authenticator(_config: Mapping[str, Any], _controller: object) -> Any:
    """Return what crossbar asks for the key of somebody; it checks the signature itself."""
    return _principal


def _principal(realm: str, authid: str, details: Mapping[str, Any]) -> dict[str, Any]:
    guard = Guard.present
    if guard is None:
        raise ApplicationError("wamp.error.authentication_failed", "the router is starting; try again")
    identity = guard.admission.table.identities[authid]  # `SiteSession.onHello` has admitted it
    public = details["authextra"]["pubkey"]
    return {"realm": realm, "authid": identity.name, "role": identity.role, "pubkey": public, "extra": {}}


def bridge(_extra: Mapping[str, Any]) -> Resource:
    """Return the HTTP bridge, which crossbar puts into its pages."""
    guard = Guard.present
    if guard is None:
        raise KeysError("the bridge of a closed router needs its guard")
    return Bridge(guard.tokens.identify, guard.callers)
