"""Who may spawn and kill: a bearer token is looked at, and a caller or a refusal comes out."""

import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from ocs.agent_service.issuer import IssuerKeys
from ocs.agent_service.key_folder import FolderKeys
from ocs.agent_service.keys import Key, KeySource
from ocs.agent_service.settings import SecuritySettings, default_key_folder
from ocs.agent_service.tokens import Identity, bearer_token, claims_fault, header_of, identity_of, verified
from ocs.errors import ForbiddenError, UnauthenticatedError

__all__ = ["Guard", "Identity"]

_ANYBODY: Final = "anonymous"


class Guard:
    """Lets callers in who have a token with the right role. ``async with guard:`` while the service runs.

    Args:
        settings: who may spawn and kill.
        keys: what tokens are checked with; None takes what ``settings`` name.
        clock: tells the time, unix s.
    """

    def __init__(
        self, settings: SecuritySettings, keys: KeySource | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._keys = keys or _source(settings, clock)

    @property
    def trouble(self) -> str:
        """Why keys for tokens cannot be had; empty where nothing is known to be wrong."""
        return getattr(self._keys, "trouble", "")

    async def start(self) -> None:
        """Fetch an issuer's keys, so that the first request need not wait; never fails for an issuer that is down.

        Raises:
            KeyFolderError: the service's own keys are missing, or open to others.
            ValueError: the issuer's address is none that may be used.
        """
        if not self.settings.no_auth:
            await self._keys.start()

    async def close(self) -> None:
        """End connections to the issuer."""
        await self._keys.close()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def authorise(self, authorization: str | Sequence[str] | None) -> Identity:
        """Tell who asks, if that one may.

        Args:
            authorization: the request's Authorization headers (all of them, since two are refused), or the one, or
                None.

        Raises:
            UnauthenticatedError: no token, or none that holds. Like the next it is an AuthorisationError, which has
                the answer's status and headers.
            ForbiddenError: a good token without the role.
        """
        if self.settings.no_auth:
            return Identity(_ANYBODY, _ANYBODY, (self.settings.role,))
        identity = await self._identify(bearer_token(authorization))
        if self.settings.role not in identity.roles:
            raise ForbiddenError(
                f"{identity.name} lacks the role {self.settings.role!r} (in {self.settings.role_claim})",
                code="insufficient_scope",
            )
        return identity

    async def _identify(self, token: str) -> Identity:
        header = header_of(token)
        key = await self._keys.find(header.kid)
        if key is None:
            raise UnauthenticatedError("the token's key is none of its issuer's; get a new token", code="invalid_token")
        return self._checked(verified(token, header, key), key)

    def _checked(self, claims: dict[str, object], key: Key) -> Identity:
        fault = claims_fault(claims, issuer=key.issuer, audience=self.settings.audience, now=self._clock())
        if fault:
            raise UnauthenticatedError(fault, code="invalid_token")
        return identity_of(claims, self.settings.role_claim)


def _source(settings: SecuritySettings, clock: Callable[[], float]) -> KeySource:
    if settings.issuer and not settings.no_auth:
        return IssuerKeys(settings.issuer, insecure=settings.insecure_issuer)
    return FolderKeys(settings.key_folder or default_key_folder(), clock=clock)
