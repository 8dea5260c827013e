"""What is in a token, and what is wrong with it; pure functions over what a caller has sent."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from ocs.agent_service.keys import ALGORITHMS, Key
from ocs.errors import UnauthenticatedError

__all__ = ["LEEWAY", "Header", "Identity", "bearer_token", "claims_fault", "header_of", "identity_of", "verified"]

LEEWAY: Final = 30.0
"""How far (s) the clocks of issuer and service may differ."""
LONGEST: Final = 16384
"""Of a token, in characters. Keycloak's have 1 to 4 thousand; more than this web servers refuse by themselves."""
_LONGEST_NAME: Final = 200
_LATEST: Final = 1e12
"""A time (unix s) beyond which nothing is one: the year 33658."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        subject: the account, as its issuer names it: one line of at most 200 characters.
        name: what people call it.
        roles: what it may do.
    """

    subject: str
    name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of its own signature; to be believed only as far as it names a key."""

    algorithm: str
    kid: str


def bearer_token(authorization: str | Sequence[str] | None) -> str:
    """Return the token of a request.

    Args:
        authorization: its Authorization headers.

    Raises:
        UnauthenticatedError: there is no single one.
    """
    headers = [authorization] if isinstance(authorization, str) else list(authorization or ())
    if not headers:
        raise UnauthenticatedError("this needs a token: send the header 'Authorization: Bearer TOKEN'")
    if len(headers) > 1:
        raise UnauthenticatedError(f"{len(headers)} Authorization headers; send one")
    scheme, _, token = headers[0].strip(" \t").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("only bearer tokens count: send the header 'Authorization: Bearer TOKEN'")
    return token.strip(" ")


def header_of(token: str) -> Header:
    """Return what a token says of its signature.

    Raises:
        UnauthenticatedError: it is no token of a kind that counts.
    """
    if len(token) > LONGEST:
        raise _invalid(f"the token is longer than {LONGEST} characters")
    if not _TOKEN.fullmatch(token):
        raise _invalid("the token is no JWT: three parts with dots between them")
    header = _object(_decoded(token.partition(".")[0]), "header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise _invalid(f"the token is signed with {algorithm!r:.40}, and only {' and '.join(ALGORITHMS)} count")
    if "crit" in header:
        raise _invalid("the token asks for extensions (crit), and there are none")
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_NAME:
        raise _invalid("the token does not name its key (kid)")
    return Header(algorithm, kid)


def verified(token: str, header: Header, key: Key) -> dict[str, Any]:
    """Return a token's claims, whose signature is good.

    Raises:
        UnauthenticatedError: the signature is not that of ``key``, in the one way in which this key signs.
    """
    if header.algorithm != key.algorithm:
        raise _invalid(f"the token is signed with {header.algorithm}, and its key signs with {key.algorithm}")
    try:
        payload = jwt.PyJWS(algorithms=list(ALGORITHMS)).decode(token, key.public, algorithms=[key.algorithm])
    except Exception as error:  # foreign code over hostile input; its words help nobody
        raise _invalid("the token's signature is wrong") from error
    return _object(payload, "payload")


def claims_fault(claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> str | None:
    """Return what is wrong with the claims of a token with a good signature; None if nothing is.

    Args:
        claims: the token's.
        issuer: who has to have issued it.
        audience: whom it has to be for.
        now: the time, unix s.
    """
    if claims.get("iss") != issuer:
        return f"the token was issued by {_shown(claims.get('iss'))}, not by {issuer!r} (iss)"
    said = claims.get("aud")
    if audience not in (said if isinstance(said, list) else [said]):
        return f"the token is for {_shown(said)}, not for {audience!r} (aud)"
    return _time_fault(claims, now)


def _time_fault(claims: Mapping[str, Any], now: float) -> str | None:
    wrong = [name for name in ("exp", "nbf", "iat") if name in claims and not _is_time(claims[name])]
    if wrong or "exp" not in claims:
        return f"the token has no time in {(wrong or ['exp'])[0]!r}"
    if (ago := now - claims["exp"]) >= LEEWAY:
        return f"the token has expired {_span(ago)} ago (exp); get a new one"
    if (early := max(claims.get(name, now) for name in ("nbf", "iat")) - now) > LEEWAY:
        return f"the token holds only in {_span(early)} (nbf, iat); are the clocks right?"
    return None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LATEST


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min" if seconds < 36000 else _hours(seconds)  # noqa: PLR2004 - ten of the smaller unit


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds < 1e9 else "decades"  # noqa: PLR2004 - 30 years


def identity_of(claims: Mapping[str, Any], role_claim: str) -> Identity:
    """Return whom a good token speaks for.

    Raises:
        UnauthenticatedError: it names nobody.
    """
    names = [claims.get(name) for name in ("sub", "preferred_username", "client_id", "azp", "name")]
    named = [_one_line(name) for name in names if isinstance(name, str) and name.strip()]
    if not named:
        raise _invalid("the token names nobody (sub)")
    called = claims.get("preferred_username")
    name = _one_line(called) if isinstance(called, str) and called.strip() else named[0]
    return Identity(named[0], name, roles_at(claims, role_claim))


def roles_at(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the roles at a place among claims: a list of words, or words with spaces between, as in ``scope``.

    Args:
        claims: a token's.
        path: names with dots between. A claim whose own name has dots in it (``https://site/roles``) is found too.
    """
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(word for word in words if isinstance(word, str))


def _invalid(message: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, code="invalid_token")


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return b""


def _object(text: bytes, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _invalid(f"the token's {place} is no JSON object")
    return found


def _shown(value: Any) -> str:
    return "nobody" if value is None else _one_line(json.dumps(value))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_NAME]
