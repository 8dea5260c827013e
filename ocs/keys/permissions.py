"""What each role may do at a closed site."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ocs.keys.table import OWN_ADDRESS_ROLES, ROLES, Identity

__all__ = ["META_CALLS", "META_TOPICS", "ROLES", "may", "may_record"]

META_CALLS: Final = (
    "wamp.registration.get",
    "wamp.registration.list",
    "wamp.registration.list_callees",
    "wamp.registration.match",
    "wamp.session.count",
    "wamp.session.get",
    "wamp.session.list",
)
"""Questions to the router itself that anybody may ask: what is registered and by whom, who is connected. An agent tells
by them whether a message came from the session that it claims to be, and where components are. Those that change
something stay shut."""

META_TOPICS: Final = (
    "wamp.registration.on_create",
    "wamp.registration.on_delete",
    "wamp.session.on_join",
    "wamp.session.on_leave",
)
"""What the router tells by itself: sessions and procedures that come and go."""

_CALLERS: Final = frozenset({"agent", "director", "client"})
_LONGEST: Final = 1000
_PART: Final = re.compile(r"[^\s#]+")


def may(
    identity: Identity,
    action: str,
    uri: str,
    *,
    root: str,
    match: str = "exact",
    directors: Collection[str] = frozenset(),
) -> bool:
    """Tell whether somebody may do something.

    Args:
        identity: who.
        action: ``call``, ``register``, ``publish`` or ``subscribe``; nobody may do anything else.
        uri: the procedure, topic, or pattern of topics.
        root: the site's address root.
        match: how the URI is meant: ``exact``, ``prefix`` or ``wildcard``. Patterns are for subscriptions alone: with
            one, a procedure of somebody else could be taken.
        directors: the instance-ids of the access directors.
    """
    decide = _DECISIONS.get(action)
    if decide is None or len(uri) > _LONGEST or not uri.isprintable():
        return False
    return decide(identity, uri, root, match, directors)


def may_record(role: str) -> bool:
    """Tell whether a role may ask agents to keep data for it, and to let go of them: a recorder is an agent."""
    return role in OWN_ADDRESS_ROLES


def _may_call(identity: Identity, uri: str, root: str, match: str, directors: Collection[str]) -> bool:
    if match != "exact":
        return False
    if uri in META_CALLS:
        return True
    if identity.role not in _CALLERS or not _is_below(uri, root):
        return False
    polls = any(uri == f"{root}.{director}.agent_poll" for director in directors)
    return identity.role in OWN_ADDRESS_ROLES or not polls


def _may_use_address(identity: Identity, uri: str, root: str, match: str, _directors: Collection[str]) -> bool:
    """Tell whether a procedure or topic is somebody's own: register and publish."""
    if match != "exact" or identity.role not in OWN_ADDRESS_ROLES or not _is_below(uri, root):
        return False
    return any(_is_of(uri, f"{root}.{instance}") for instance in identity.instances)


def _is_of(uri: str, address: str) -> bool:
    """Tell whether a URI is an address or below it; one that ends with a star stands for all that begin so."""
    if address.endswith("*"):
        return uri.startswith(address[:-1])
    return uri == address or uri.startswith(f"{address}.")


def _may_subscribe(identity: Identity, uri: str, root: str, match: str, directors: Collection[str]) -> bool:
    if match == "exact":
        return uri in META_TOPICS or _may_hear(identity, uri, root, directors)
    # With the dot: a prefix of the bare root would match a neighbour too whose root begins alike. A pattern may meet a
    # director's rules; these are published to those alone who may have them.
    return match in ("prefix", "wildcard") and uri.startswith(f"{root}.") and _parts_fit(uri, may_be_empty=True)


def _may_hear(identity: Identity, uri: str, root: str, directors: Collection[str]) -> bool:
    if not _is_below(uri, root):
        return False
    controls = any(uri == f"{root}.{director}.feeds.controls" for director in directors)
    return identity.role in OWN_ADDRESS_ROLES or not controls


def _is_below(uri: str, root: str) -> bool:
    return uri.startswith(f"{root}.") and _parts_fit(uri, may_be_empty=False)


def _parts_fit(uri: str, *, may_be_empty: bool) -> bool:
    return all(_PART.fullmatch(part) or (may_be_empty and not part) for part in uri.split("."))


_DECISIONS: Final[Mapping[str, Callable[[Identity, str, str, str, Collection[str]], bool]]] = {
    "call": _may_call,
    "register": _may_use_address,
    "publish": _may_use_address,
    "subscribe": _may_subscribe,
}
