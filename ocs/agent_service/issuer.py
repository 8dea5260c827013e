"""The keys of an OpenID Connect issuer (Keycloak and the like), as its discovery document names them.

They are fetched by one task at a time, with a deadline; a request waits for it only if there is no other way to answer.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from ocs.agent_service.keys import Key, keys_of
from ocs.agent_service.settings import is_loopback
from ocs.errors import IssuerError, UnauthenticatedError

__all__ = ["DEADLINE", "FRESH", "STALE", "UNKNOWN_KEY_PAUSE", "IssuerKeys", "Known", "Step", "decide", "require_url"]

DEADLINE: Final = 5.0
"""How long (s) a fetch takes at most, both documents together. An operator waits for it."""
FRESH: Final = 600.0
"""How long (s) keys are used without another look: what an issuer has withdrawn is out after this at the latest."""
STALE: Final = 12 * 3600.0
"""How long (s) keys are used while the issuer is away: a night. Tokens expire by themselves long before."""
UNKNOWN_KEY_PAUSE: Final = 30.0
"""Between two fetches (s), so that made-up key names do not make us flood the issuer."""
RETRY: Final = 5.0
"""Between two fetches (s) while there are no keys at all."""
_MOST_BYTES: Final = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an issuer.

    Attributes:
        keys: the last that it published, by name.
        fetched: when that was, s on a clock that is never set; None: never.
        tried: when a fetch was begun last; None: never.
        trouble: why that failed; empty if it did not.
    """

    keys: dict[str, Key] = field(default_factory=dict)
    fetched: float | None = None
    tried: float | None = None
    trouble: str = ""


class Step(Enum):
    """What to do for a request."""

    USE = auto()
    """Take the key that is known."""
    USE_AND_FETCH = auto()
    """Take it, and let the keys be fetched meanwhile."""
    FETCH = auto()
    """Nothing can be said before the keys have been fetched."""
    REFUSE = auto()
    """The same, but it was tried too short a time ago."""


def decide(known: Known, kid: str, now: float) -> Step:
    """Return what to do for a token that names the key ``kid``, at ``now`` (s, as in ``known``)."""
    age = _age(known.fetched, now)
    waited = _age(known.tried, now)
    if age >= STALE:
        return Step.FETCH if waited >= RETRY else Step.REFUSE
    if kid not in known.keys:
        return Step.FETCH if waited >= UNKNOWN_KEY_PAUSE else Step.REFUSE
    return Step.USE_AND_FETCH if age >= FRESH and waited >= UNKNOWN_KEY_PAUSE else Step.USE


def pause_left(known: Known, now: float) -> float:
    """Return after how many seconds the issuer is going to be asked again."""
    pause = RETRY if _age(known.fetched, now) >= STALE else UNKNOWN_KEY_PAUSE
    return max(0.0, pause - _age(known.tried, now))


def _age(moment: float | None, now: float) -> float:
    return float("inf") if moment is None else now - moment


class IssuerKeys:
    """The keys of one issuer, fetched when they are needed and not more often.

    Args:
        issuer: its URL, below which ``.well-known/openid-configuration`` is.
        insecure: it may speak plain http on the network too.
        clock: a clock that is never set, s.
        deadline: how long (s) a fetch takes at most.

    Raises:
        IssuerError: the URL may not be used.
    """

    def __init__(
        self,
        issuer: str,
        *,
        insecure: bool = False,
        clock: Callable[[], float] = time.monotonic,
        deadline: float = DEADLINE,
    ) -> None:
        require_url(issuer, insecure=insecure)
        self._issuer = issuer
        self._insecure = insecure
        self._clock = clock
        self._deadline = deadline
        self._known = Known()
        self._fetching: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why the last fetch has failed; empty if it did not."""
        return self._known.trouble

    async def start(self) -> None:
        """Begin to fetch the keys."""
        self._begin()

    async def find(self, kid: str) -> Key | None:
        """Return the key of this name; None if the issuer has none.

        Raises:
            UnauthenticatedError: it cannot be told, since the issuer does not answer or was asked just now.
        """
        step = decide(self._known, kid, self._clock())
        if step is Step.USE:
            return self._known.keys[kid]
        if step is Step.USE_AND_FETCH:
            self._begin()
            return self._known.keys[kid]
        if step is Step.FETCH or self._fetching is not None:
            await asyncio.shield(self._begin())  # ends in time by itself; others may wait for it too
            if not self._known.trouble:
                return self._known.keys.get(kid)
        raise self._refusal()

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            with suppress(asyncio.CancelledError):
                await self._fetching

    def _refusal(self) -> UnauthenticatedError:
        left = pause_left(self._known, self._clock())
        again = f"asked again in {max(1, round(left))} s"
        if self._known.trouble:
            return UnauthenticatedError(
                f"tokens cannot be checked: {self._known.trouble}; it is {again}", retry_after=left
            )
        return UnauthenticatedError(
            f"the token's key is not among those of {self._issuer}, which is {again}",
            code="invalid_token",
            retry_after=left,
        )

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._known = replace(self._known, tried=self._clock())
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        before = self._known.trouble
        try:
            keys = await fetch(self._issuer, insecure=self._insecure, deadline=self._deadline)
        except IssuerError as error:
            self._known = replace(self._known, trouble=str(error))
            if str(error) != before:
                _log.error("%s", error)
            return
        self._known = replace(self._known, keys=keys, fetched=self._clock(), trouble="")
        if before:
            _log.info("the issuer %s answers again", self._issuer)
        if not keys:
            _log.error("the issuer %s publishes no key for RS256 or ES256", self._issuer)


async def fetch(issuer: str, *, insecure: bool = False, deadline: float = DEADLINE) -> dict[str, Key]:
    """Return the keys that an issuer publishes, by name.

    Args:
        issuer: its URL.
        insecure: keys may come in plain http from the network too.
        deadline: how long (s) it may take.

    Raises:
        IssuerError: they cannot be had; the text says why in one line.
    """
    local = is_loopback(urlsplit(issuer).hostname or "")
    try:
        async with asyncio.timeout(deadline), httpx.AsyncClient(timeout=deadline, trust_env=not local) as client:
            return await _fetch_with(client, issuer, insecure=insecure)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise IssuerError(f"the issuer {issuer} does not answer within {deadline:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise IssuerError(f"the issuer {issuer} gives no keys: {_one_line(error)}") from error


async def _fetch_with(client: httpx.AsyncClient, issuer: str, *, insecure: bool) -> dict[str, Key]:
    document = await _get(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    named, keys_url = document.get("issuer"), document.get("jwks_uri")
    if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
        raise IssuerError(f"the issuer {issuer} calls itself {named!r:.200}; give that as --issuer")
    if not isinstance(keys_url, str):
        raise IssuerError(f"the issuer {issuer} does not say where its keys are (jwks_uri)")
    require_url(keys_url, insecure=insecure)
    return keys_of(await _get(client, keys_url), named)


async def _get(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    content = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{url} answers with status {response.status_code}")
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > _MOST_BYTES:
                raise ValueError(f"{url} answers with more than {_MOST_BYTES} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")  # noqa: TRY004 - told like any other bad answer
    return found


def require_url(url: str, *, insecure: bool = False) -> None:
    """Refuse a URL that keys may not come from.

    Args:
        url: of an issuer, or of its keys.
        insecure: plain http from the network will do.

    Raises:
        IssuerError: it is none, or anybody on the network could answer in its place.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise IssuerError(f"{url!r:.200} is no URL: {error}") from error
    if parts.scheme not in ("https", "http") or not host:
        raise IssuerError(f"{url!r:.200} is no URL such as https://sso.example.org/realms/observatory")
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        raise IssuerError(f"{url:.200} is plain http, where anybody in between can forge keys; use https")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
