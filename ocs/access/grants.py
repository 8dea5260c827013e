"""Exclusive access as the director keeps it: who holds which grant, until when, and what becomes of a request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar, Final, Literal, NamedTuple

from ocs.access.director import DistributedAccessGrant
from ocs.access.fields import Checks, Record, optional, records, text
from ocs.access.passwords import MAX_PASSWORD
from ocs.access.rules import AccessRule
from ocs.errors import AccessError

__all__ = [
    "ACTIONS",
    "GRANT_TIME",
    "MAX_NAME",
    "Change",
    "Grant",
    "GrantRequest",
    "check_password",
    "decide",
    "read_request",
    "without_expired",
]

ACTIONS: Final = ("acquire", "renew", "release")

GRANT_TIME = 60.0
"""How long a grant lasts where the request does not say, in seconds."""

MAX_NAME = 200
"""Characters of a grant's or a grantee's name."""

Action = Literal["acquire", "renew", "release"]


def _instant(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 and isfinite(value):  # noqa: PLR2004 - the year 33658
        return float(value)
    raise AccessError(f"{name} is {value!r:.40}, it must be a time in unix seconds")


def _name(name: str, value: Any) -> str:
    found = text(name, value)
    if not found or len(found) > MAX_NAME or not found.isprintable():
        raise AccessError(f"{name} is {found!r:.40}, it must be 1 to {MAX_NAME} printable characters")
    return found


@dataclass(frozen=True)
class Grant(Record):
    """A grant that is held.

    Attributes:
        name: the block of the configuration.
        grantee: who says that he holds it; those who are locked out are told.
        holder: his name as the router vouches for it; None at an open site.
        expire_at: when it ends, unix seconds.
        rules: what agents go by; they hold the hash of the password, the password itself is kept nowhere.
    """

    name: str
    grantee: str | None
    holder: str | None
    expire_at: float
    rules: list[AccessRule]

    checks: ClassVar[Checks] = {
        "name": _name,
        "grantee": optional(_name),
        "holder": optional(_name),
        "expire_at": _instant,
        "rules": records(AccessRule),
    }

    def encoded(self) -> dict[str, Any]:
        """Return what everybody may see: no hashes."""
        rules = [{key: value for key, value in rule.to_dict().items() if key != "hashed_pass"} for rule in self.rules]
        return {"name": self.name, "expire_at": self.expire_at, "grantee": self.grantee, "rules": rules}


@dataclass(frozen=True)
class GrantRequest(Record):
    """A request as it has come, every field of it checked.

    Attributes:
        grant_name: the block of the configuration.
        action: what is wanted.
        password: the block's.
        expire_at: when it is to end, unix seconds; None: `GRANT_TIME` from now.
        grantee: who asks.
        strict: with False, one's own grant may be acquired anew, with a new password.
    """

    grant_name: str
    action: Action
    password: str
    expire_at: float | None
    grantee: str | None
    strict: bool

    checks: ClassVar[Checks] = {"grant_name": _name, "expire_at": optional(_instant), "grantee": optional(_name)}


def read_request(
    grant_name: Any, password: Any, action: Any, expire_at: Any, grantee: Any, strict: Any
) -> GrantRequest:
    """Check the arguments of ``request_exclusive``.

    Raises:
        AccessError: which of them is wrong; a password is not repeated.
    """
    if grant_name is None:
        raise AccessError("grant_name is missing")
    if action not in ACTIONS:
        # What it is instead is not repeated: a password, if somebody has mixed up the order.
        raise AccessError(f"action is none of {', '.join(ACTIONS)}")
    given = "" if password is None else text("password", password)
    if len(given) > MAX_PASSWORD:
        raise AccessError(f"password is longer than {MAX_PASSWORD} characters")
    if strict is not None and not isinstance(strict, bool):
        raise AccessError(f"strict is {strict!r:.40}, it must be true or false")
    return GrantRequest(grant_name, action, given, expire_at, grantee or None, strict is not False)


def check_password(block: DistributedAccessGrant, password: str) -> bool:
    """Tell whether a password is the one that a block asks for; may take some 30 ms."""
    return block.stored_password().check(password)


class Change(NamedTuple):
    """What becomes of a request."""

    grant: Grant | None
    """The grant from now on; None: nobody holds it."""
    answer: dict[str, Any]
    """The answer, but for the director's step."""
    new_rules: bool
    """Whether agents have to hear of it."""


def decide(
    request: GrantRequest,
    held: Grant | None,
    *,
    holder: str | None,
    now: float,
    longest: float,
    rules: tuple[str, list[AccessRule]] | None = None,
) -> Change:
    """Decide on a request whose password is right.

    Args:
        request: what is wanted.
        held: the grant as it is held; one that has expired counts as not held.
        holder: who asks, as the router vouches for it; None at an open site.
        now: unix seconds.
        longest: longest time for which a grant is given, in seconds.
        rules: for ``acquire``: a fresh password and its rules.

    Raises:
        AccessError: it is refused; why.
    """
    held = held if held is not None and held.expire_at > now else None
    if request.action == "acquire":
        _require_free(request, held, holder, now)
        return _acquired(request, holder, _end(request, now, longest), rules or ("", []))
    ours = _own(request, held, holder)
    if request.action == "release":
        return Change(None, {"message": "grant released", "grant_name": ours.name}, new_rules=True)
    longer = replace(ours, expire_at=_end(request, now, longest))
    answer = {"message": "grant renewed", "grant_name": ours.name, "expire_at": longer.expire_at}
    return Change(longer, answer, new_rules=False)


def _require_free(request: GrantRequest, held: Grant | None, holder: str | None, now: float) -> None:
    if held is not None and (request.strict or not _is_own(request, held, holder)):
        raise AccessError(
            f"grant {held.name!r} is held already, by {held.grantee or 'nobody named'}, for another "
            f"{held.expire_at - now:.0f} s; it has to be released first"
        )


def _acquired(request: GrantRequest, holder: str | None, end: float, fresh: tuple[str, list[AccessRule]]) -> Change:
    password, rules = fresh
    grant = Grant(request.grant_name, request.grantee, holder, end, rules)
    answer = {"message": "grant acquired", "grant_name": grant.name, "expire_at": end, "password": password}
    return Change(grant, answer, new_rules=True)


def _end(request: GrantRequest, now: float, longest: float) -> float:
    end = now + min(GRANT_TIME, longest) if request.expire_at is None else request.expire_at
    if end <= now:
        raise AccessError(f"expire_at is {now - end:.1f} s ago; give a time to come, in unix seconds")
    if end > now + longest:
        raise AccessError(f"expire_at is {end - now:.0f} s from now; a grant lasts {longest:g} s at most: renew it")
    return end


def _own(request: GrantRequest, held: Grant | None, holder: str | None) -> Grant:
    if held is None:
        raise AccessError(f"grant {request.grant_name!r} is not held, so there is nothing to {request.action}")
    if not _is_own(request, held, holder):
        by = held.grantee or "nobody named"
        raise AccessError(f"grant {held.name!r} is held by {by}; only the holder may {request.action} it")
    return held


def _is_own(request: GrantRequest, held: Grant, holder: str | None) -> bool:
    """Tell whether who asks is the holder: by name where the router vouches, and as he calls himself."""
    return held.holder == holder and held.grantee == request.grantee


def without_expired(held: Mapping[str, Grant], now: float) -> dict[str, Grant]:
    """Return the grants that last."""
    return {name: grant for name, grant in held.items() if grant.expire_at > now}
