"""Passwords as they are stored and sent: clear, blocked, short MD5 (what the published agents know), slow hashes."""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self, TypeGuard

from ocs.access.fields import Checks, Record, text
from ocs.access.slow_hashes import SLOW_HASHES, SlowHash, check_slow, hash_slow, is_remembered, new_salt, read_slow
from ocs.errors import AccessError

__all__ = ["DEFAULT_HASH", "HASHES", "MAX_PASSWORD", "HashedPass", "hasher", "is_password", "new_salt"]

DEFAULT_HASH = "argon2id"
"""What we make by ourselves, where nobody asks for another."""

MAX_PASSWORD = 1024
"""Characters of the longest password; a longer one never matches, so that hashing what strangers send costs little."""

MD5_DIGITS = 16
"""Length of the part of an MD5 that is kept, in hex digits."""


def _bytes(clear: str) -> bytes:
    return clear.encode("utf-8", "surrogatepass")


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(_bytes(a), _bytes(b))


def _hash_none(clear: str, _salt: bytes | None = None) -> str:
    return clear


def _hash_md5(clear: str, _salt: bytes | None = None) -> str:
    # Fixed by the protocol; it hides a password from a glance, no more.
    return hashlib.md5(_bytes(clear), usedforsecurity=False).hexdigest()[:MD5_DIGITS]


def _hash_slow(name: str, clear: str, salt: bytes | None = None) -> str:
    return hash_slow(name, _bytes(clear), salt)


def _check_none(clear: str, value: str) -> bool:
    return _same(clear, value)


def _check_md5(clear: str, value: str) -> bool:
    return _same(_hash_md5(clear), value)


def _check_slow(name: str, clear: str, value: str) -> bool:
    how = read_slow(name, value)
    return how is not None and check_slow(how, _bytes(clear))


_HASHERS: dict[str, Callable[[str, bytes | None], str]] = {
    "none": _hash_none,
    "md5": _hash_md5,
    **{name: partial(_hash_slow, name) for name in SLOW_HASHES},
}
_CHECKS: dict[str, Callable[[str, str], bool]] = {
    "none": _check_none,
    "md5": _check_md5,
    **{name: partial(_check_slow, name) for name in SLOW_HASHES},
}

HASHES = (*_HASHERS, "blocked")
"""Names of the hashes that we understand."""


def hasher(name: str) -> Callable[[str, bytes | None], str]:
    """Return the function that hashes a clear password, with a salt or None for a fresh one.

    Raises:
        AccessError: no such hash, or one that takes no password.
    """
    if name in _HASHERS:
        return _HASHERS[name]
    raise AccessError(f"hash {name!r:.40} cannot be made from a password; use one of {', '.join(_HASHERS)}")


def is_password(value: Any) -> TypeGuard[str]:
    """Tell whether something can be a password at all: text, and not too much of it."""
    return isinstance(value, str) and len(value) <= MAX_PASSWORD


@dataclass(frozen=True)
class HashedPass(Record):
    """A password in the form that rules carry; the value is kept out of logs and tracebacks.

    Attributes:
        hash: ``none`` (the value is the password; an empty one lets anybody in), ``blocked`` (lets nobody in), ``md5``
            (first 16 hex digits of the password's MD5), ``argon2id`` (``$argon2id$v=19$m=..,t=..,p=..$salt$key``, as
            everybody writes it), ``scrypt`` (``ln=14,r=8,p=1$salt$key``, base64). One that is not known lets nobody in.
        value: the password after hashing.
    """

    hash: str
    value: str = field(default="", repr=False)

    checks: ClassVar[Checks] = {"hash": text, "value": text}

    @property
    def free(self) -> bool:
        """Whether any password will do."""
        return self.hash == "none" and not self.value

    def check(self, value: Any) -> bool:
        """Tell whether a clear password is the stored one, in a time that does not depend on where they differ.

        Args:
            value: the password; None counts as an empty one, anything else that is no `is_password` never matches.
        """
        if self.free:
            return True
        clear = "" if value is None else value
        check = _CHECKS.get(self.hash)
        return check is not None and is_password(clear) and check(clear, self.value)

    @property
    def salt(self) -> bytes | None:
        """The salt that is in the value; None where there is none."""
        how = self._slow()
        return how.salt if how else None

    def is_slow(self, value: Any) -> bool:
        """Tell whether `check` would take some 30 ms: too long for a reactor, to be done in a thread."""
        clear = "" if value is None else value
        how = self._slow()
        return how is not None and is_password(clear) and not is_remembered(how, _bytes(clear))

    def mistake(self) -> str:
        """Return why no password can ever match, where that cannot have been meant; else an empty string."""
        if self.hash not in HASHES:
            return f"hash {self.hash!r:.40} is not known (known: {', '.join(HASHES)})"
        if self.hash == "md5" and not re.fullmatch(f"[0-9a-f]{{{MD5_DIGITS}}}", self.value):
            return f"an md5 value has {MD5_DIGITS} lower-case hex digits"
        if self.hash in SLOW_HASHES and self._slow() is None:
            return f"the {self.hash} value is malformed or too costly"
        return ""

    def _slow(self) -> SlowHash | None:
        return read_slow(self.hash, self.value) if self.hash in SLOW_HASHES else None

    @classmethod
    def create_blocked(cls) -> Self:
        """Return one that lets nobody in."""
        return cls("blocked")

    @classmethod
    def create_free(cls) -> Self:
        """Return one that lets anybody in, with or without a password."""
        return cls("none")

    @classmethod
    def create_from_value(cls, hash: str, clear_text: str, salt: bytes | None = None) -> Self:  # noqa: A002 - the name is the contract's
        """Hash a clear password.

        Args:
            hash: one of `HASHES` but ``blocked``.
            clear_text: the password.
            salt: what a slow hash is salted with; a fresh one unless given.

        Raises:
            AccessError: no such hash, or one that takes no password; or the password is too long.
        """
        if not is_password(clear_text):
            raise AccessError(f"the password has more than {MAX_PASSWORD} characters")
        return cls(hash, hasher(hash)(clear_text, salt))

    @classmethod
    def create(cls, clear_text: str) -> Self:
        """Hash a clear password in the way that we prefer, with a salt of its own."""
        return cls.create_from_value(DEFAULT_HASH, clear_text)
