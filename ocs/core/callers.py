"""Who calls an agent, as the router tells."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ocs.keys.permissions import ROLES

__all__ = ["BRIDGE_ROLE", "ITSELF", "Caller", "caller_of"]

BRIDGE_ROLE = "bridge"
"""What an open site's router calls those who come by HTTP; it does not know who they are."""


@dataclass(frozen=True)
class Caller:
    """Who has made a request.

    Attributes:
        session: the WAMP session that the request came by; None where the router does not tell, or where the agent
            itself has made it.
        name: whose key was proved; None where the router has seen none.
        role: what the key is for, one of `ROLES`; None where the router has seen no key.
        level: the credential level that the password gave; None as long as it has not been judged.
        bridged: whether the request came by the HTTP bridge of an open site.
        itself: whether it is the agent that asks.
    """

    session: int | None = None
    name: str | None = None
    role: str | None = None
    level: int | None = None
    bridged: bool = False
    itself: bool = False


ITSELF = Caller(itself=True)
"""The agent itself."""


def caller_of(details: Any) -> Caller:
    """Return who has made a call.

    Args:
        details: autobahn's `CallDetails`, or None for a call from within the agent.
    """
    if details is None:
        return ITSELF
    return _known(details.caller, details.caller_authid, details.caller_authrole)


@lru_cache(256)  # the same few, again and again
def _known(session: int | None, name: str | None, role: str | None) -> Caller:
    if role in ROLES:
        return Caller(session, name, role)
    return Caller(session, bridged=role == BRIDGE_ROLE)
