"""The sessions in which a closed router's HTTP bridge calls: one for each caller, with the caller's rights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import ComponentConfig
from twisted.internet.defer import Deferred, maybeDeferred

from ocs.keys.table import Identity

__all__ = ["IDLE_S", "MAX_CALLS", "MAX_SESSIONS", "CallerSessions", "Place", "TooManyError", "has_same_rights"]

MAX_SESSIONS: Final = 200
"""How many callers may have a session at a time."""

MAX_CALLS: Final = 1000
"""How many calls of one caller may be without an answer."""

IDLE_S: Final = 60.0
"""Seconds after which a session without calls is closed."""


class Place(Protocol):
    """Where sessions are opened: the router."""

    def open_session(self, session: ApplicationSession, identity: Identity) -> None:
        """Let a session join the realm as somebody."""

    def close_session(self, session: ApplicationSession) -> None:
        """Let it leave."""


class TooManyError(Exception):
    """There are as many calls or callers as there may be."""


def has_same_rights(one: Identity, other: Identity | None) -> bool:
    """Tell whether two are the same and may do the same, be it with other keys: a new key ends nobody's call."""
    if other is None:
        return False
    return (one.name, one.role, one.instances) == (other.name, other.role, other.instances)


@dataclass(eq=False)
class _Entry:
    identity: Identity
    session: ApplicationSession
    calls: int = 0
    last_used: float = 0.0


class CallerSessions:
    """Sessions, opened when they are needed, and closed when they are idle or their owner is no longer who they were.

    Args:
        place: where they are opened.
        realm: the WAMP realm.
        clock: seconds.
    """

    def __init__(self, place: Place, realm: str, clock: Callable[[], float]) -> None:
        self._place = place
        self._realm = realm
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def call(self, identity: Identity, procedure: str, args: list[Any], kwargs: dict[str, Any]) -> "Deferred[Any]":
        """Call a procedure as somebody.

        Returns:
            What it gives.

        Raises:
            TooManyError: there are too many calls at once.
        """
        entry = self._entry(identity)
        if entry.calls >= MAX_CALLS:
            raise TooManyError(f"{identity.name} has {MAX_CALLS} calls without an answer; wait for these")
        entry.calls += 1

        def ended(result: Any) -> Any:
            entry.calls -= 1
            entry.last_used = self._clock()
            return result

        return maybeDeferred(entry.session.call, procedure, *args, **kwargs).addBoth(ended)

    def sweep(self, is_good: Callable[[Identity], bool]) -> None:
        """Close what is idle, and what belongs to nobody any more.

        Args:
            is_good: tells whether somebody may still do what they could.
        """
        oldest = self._clock() - IDLE_S
        for entry in list(self._entries.values()):
            if not is_good(entry.identity) or (not entry.calls and entry.last_used < oldest):
                self._close(entry)

    def _entry(self, identity: Identity) -> _Entry:
        entry = self._entries.get(identity.name)
        if entry is not None and not (has_same_rights(entry.identity, identity) and entry.session.is_attached()):
            self._close(entry)
            entry = None
        return entry or self._open(identity)

    def _open(self, identity: Identity) -> _Entry:
        if len(self._entries) >= MAX_SESSIONS:
            self._make_room()
        session = ApplicationSession(ComponentConfig(realm=self._realm, extra=None))
        self._place.open_session(session, identity)
        entry = self._entries[identity.name] = _Entry(identity, session, last_used=self._clock())
        return entry

    def _make_room(self) -> None:
        idle = [entry for entry in self._entries.values() if not entry.calls]
        if not idle:
            raise TooManyError(f"{MAX_SESSIONS} callers wait for answers; try again later")
        self._close(min(idle, key=lambda entry: entry.last_used))

    def _close(self, entry: _Entry) -> None:
        del self._entries[entry.identity.name]
        self._place.close_session(entry.session)
