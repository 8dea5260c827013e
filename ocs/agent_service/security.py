"""Who may spawn and kill: a bearer token is looked at, and a caller or a refusal comes out."""

from collections.abc import Sequence
from dataclasses import dataclass

from ocs.agent_service.settings import SecuritySettings
from ocs.errors import OCSError

__all__ = ["AuthorisationError", "Forbidden", "Guard", "Identity", "Unauthenticated"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    subject: str
    name: str
    roles: tuple[str, ...] = ()


class AuthorisationError(OCSError):
    """A request is not let in; ``status`` and ``headers`` are those of the answer, the text is one line for a person."""

    status: int
    headers: dict[str, str]


class Unauthenticated(AuthorisationError):  # noqa: N818 - the name of the answer
    """Nobody can tell who asks: 401."""

    status = 401


class Forbidden(AuthorisationError):  # noqa: N818 - the name of the answer
    """Who asks is known, and lacks the role: 403."""

    status = 403


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
            Unauthenticated: no token, or none that holds.
            Forbidden: a good token without the role.
        """
        raise NotImplementedError
