"""The guard of a closed router: a part of its worker that admits those with a key, and gives each role its rights.

Crossbar starts it before it listens, so that nobody is let in, or refused, by what is not there yet.
"""

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, SessionDetails
from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource

from ocs.errors import KeysError
from ocs.keys.table import ROLES, Identity
from ocs.router.admission import Admission
from ocs.router.bridge import Bridge, Tokens
from ocs.router.bridge_sessions import CallerSessions, has_same_rights
from ocs.router.door import Door
from ocs.router.every_python.sitecustomize import MOST_NESTED
from ocs.router.listening import Nothing, take_over
from ocs.router.site_role import SiteRole
from ocs.router.site_session import SiteConnection, SiteSession
from ocs.router.strangers import BoundedLog

__all__ = ["Guard", "authenticator", "bridge", "nothing"]

LOOK_EVERY_S: Final = 1.0
"""How often the table is looked at, in seconds: within this time a revoked key is of no use."""

reactor: Any = _reactor
_log = Logger()


class Guard(ApplicationSession):  # type: ignore[misc]
    """Crossbar's component; there is one in a worker.

    Its ``extra`` is ``{"folder": keys folder, "root": address root}``.
    """

    present: "Guard | None" = None

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self.site_realm = str(config.realm)
        self.admission = Admission(Path(config.extra["folder"]), time.time, self.log_line)
        self.door = Door(time.monotonic)
        self.tokens = Tokens(lambda: self.admission.table, self.site_realm, time.time)
        self.callers = CallerSessions(self, self.site_realm, reactor.seconds)
        self._root = str(config.extra["root"])

    def onJoin(self, _details: SessionDetails) -> None:  # noqa: N802 - autobahn's name
        """Take over the router's roles and sessions, and the port that is opened next."""
        sys.setrecursionlimit(MOST_NESTED)  # also where crossbar was not started by us, and libraries have raised it
        self._router = self._transport._router
        self._worker = self._router._factory.worker
        for role in ROLES:
            self._router.add_role(SiteRole(self._router, role, lambda: self.admission.table, self._root))
        SiteSession.host = self
        SiteSession.log = SiteConnection.log = BoundedLog(lambda about, line: self.admission.tell("", about, line))
        self._worker._router_session_factory.session = SiteSession
        take_over(self)
        Guard.present = self
        LoopingCall(self._look).start(LOOK_EVERY_S, now=False)

    def log_line(self, line: str) -> None:
        """Write a line into the router's log."""
        _log.warn("{line}", line=line)

    def open_session(self, session: ApplicationSession, identity: Identity) -> None:
        """Let a session of the HTTP bridge join as somebody."""
        self._worker._router_session_factory.add(
            session, self._router, authid=identity.name, authrole=identity.role, authextra={}
        )

    def close_session(self, session: ApplicationSession) -> None:
        """Let it leave; who waits for an answer there gets none."""
        self._worker._router_session_factory.remove(session)
        session._errback_outstanding_requests(
            ApplicationError("wamp.error.canceled", "the caller's key was revoked, or has other rights now")
        )

    def _look(self) -> None:
        self._try(self.admission.refresh)
        self._try(self.door.sweep)
        table = self.admission.table
        self._try(self.callers.sweep, lambda each: has_same_rights(each, table.identities.get(each.name)))
        for session in list(self._router._session_id_to_session.values()):
            if isinstance(session, SiteSession):
                self._try(session.leave_unless_good)

    def _try(self, look: Callable[..., object], *arguments: object) -> None:
        try:
            look(*arguments)
        except Exception as error:  # the others have to be looked at all the same, and in a second again
            where = traceback.format_tb(error.__traceback__)[-1].strip().splitlines()[0]
            self.admission.tell("", where, f"the guard failed: {type(error).__name__}: {error} ({where})")


def authenticator(_config: Mapping[str, Any], _controller: object) -> Any:
    """Return what crossbar asks for the key of somebody; it checks the signature itself."""
    return _principal


def _principal(_realm: str, authid: str, details: Mapping[str, Any]) -> dict[str, Any]:
    guard = Guard.present
    if guard is None:
        raise ApplicationError("wamp.error.authentication_failed", "the router is starting; try again")
    identity = guard.admission.table.identities[authid]  # `SiteSession.onHello` has admitted it
    public = details["authextra"]["pubkey"]
    return {"realm": guard.site_realm, "authid": identity.name, "role": identity.role, "pubkey": public, "extra": {}}


def bridge(_extra: Mapping[str, Any]) -> Resource:
    """Return the HTTP bridge, which crossbar puts into its pages."""
    guard = Guard.present
    if guard is None:
        raise KeysError("the bridge of a closed router needs its guard")
    return Bridge(guard.tokens.identify, guard.callers)


def nothing(_extra: Mapping[str, Any]) -> Resource:
    """Return the page of all paths at which there is none."""
    return Nothing()  # type: ignore[no-untyped-call]
