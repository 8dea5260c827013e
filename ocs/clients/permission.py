"""What a client shows to the HTTP bridge of a closed router: a token, made anew before the last one ends."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an open site pays nothing for keys
    from ocs.keys.signing import SigningKey

__all__ = ["Permission"]

_HOLDS = 300.0
"""How long a token holds, in seconds."""

_RENEW_AFTER = 120.0
"""The age at which a token is replaced, in seconds; the rest is for a call on its way, and for clocks that differ."""


class Permission:
    """Makes the line of a request's head that carries the token.

    Args:
        key: the key to sign with; None: the site is open, and there is nothing to show.
        realm: the WAMP realm, which tokens are for.
    """

    def __init__(self, key: "SigningKey | None", realm: str) -> None:
        self._key = key
        self._realm = realm
        self._made = float("-inf")
        self._line = b""

    def fields(self) -> bytes:
        """Return the line, or nothing at an open site."""
        if self._key is None:
            return b""
        now = time.time()
        if not 0 <= now - self._made < _RENEW_AFTER:
            self._line = f"Authorization: Bearer {self._key.token(self._realm, now, _HOLDS)}\r\n".encode("ascii")
            self._made = now
        return self._line
