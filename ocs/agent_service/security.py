"""Who may spawn and kill: a bearer token is looked at, and a caller or a refusal comes out."""

from collections.abc import Sequence
from dataclasses import dataclass

from ocs.agent_service.settings import SecuritySettings

__all__ = ["Guard", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    subject: str
    name: str
    roles: tuple[str, ...] = ()


class Guard:
    """Lets callers in. Use as ``async with guard:`` while the service runs."""

    def __init__(self, settings: SecuritySettings) -> None:
        self.settings = settings

    async def start(self) -> None:
        """Fetch an issuer's keys, so that the first request need not wait; never fails for an issuer that is down."""

    async def close(self) -> None:
        """End connections to the issuer."""

    async def authorise(self, authorization: str | Sequence[str] | None) -> Identity:
        """Tell who asks.

        Args:
            authorization: the request's Authorization headers (all of them: two are refused), or the one, or None.

        Raises:
            UnauthenticatedError: no token, or none that holds.
            ForbiddenError: a good token without the role. Both are AuthorisationError, which has the answer's status and headers.
        """
        raise NotImplementedError
