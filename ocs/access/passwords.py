"""Passwords as they are stored and sent: clear, blocked, short MD5 (what the published agents know) and scrypt."""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar, NamedTuple, Self

from ocs.access.fields import Checks, Record, text
from ocs.errors import AccessError

__all__ = ["DEFAULT_HASH", "HASHES", "HashedPass", "hasher", "new_salt"]

DEFAULT_HASH = "scrypt"
"""What we make by ourselves, where nobody asks for another."""

MD5_DIGITS = 16
"""Length of the part of an MD5 that is kept, in hex digits."""

SALT_BYTES = 16
KEY_BYTES = 32

SCRYPT_LOG2_N = 14
"""Cost of our scrypt hashes: 2**14 rounds of 1 KiB take 16 MiB and some 30 ms, once for each password and salt."""

SCRYPT_R = 8
SCRYPT_P = 1

SCRYPT_MAX_MEMORY = 64 * 1024 * 1024
"""A hash that would need more memory than this to check, in bytes, never matches: one rule must not stop an agent."""

SCRYPT_MAX_P = 4

REMEMBERED_KEYS = 256
"""How many derived keys are kept, so that the next call with the same password costs nothing."""


class _Scrypt(NamedTuple):
    """What an scrypt value says: the cost, the salt, and the key to compare with."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def derive(self, clear: str) -> bytes:
        return hashlib.scrypt(
            _bytes(clear),
            salt=self.salt,
            n=1 << self.log2_n,
            r=self.r,
            p=self.p,
            maxmem=2 * SCRYPT_MAX_MEMORY,
            dklen=len(self.key),
        )


_SCRYPT_VALUE = re.compile(
    r"ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([A-Za-z0-9+/]{8,128}={0,2})\$([A-Za-z0-9+/]{20,88}={0,2})", re.ASCII
)


@lru_cache(maxsize=REMEMBERED_KEYS)
def _read_scrypt(value: str) -> _Scrypt | None:
    """Read an scrypt value; None where it is malformed or too costly."""
    found = _SCRYPT_VALUE.fullmatch(value)
    if found is None:
        return None
    log2_n, r, p = (int(number) for number in found.group(1, 2, 3))
    affordable = log2_n > 0 and 0 < p <= SCRYPT_MAX_P and 0 < 128 * r * (1 << log2_n) <= SCRYPT_MAX_MEMORY
    try:
        return _Scrypt(log2_n, r, p, b64decode(found.group(4)), b64decode(found.group(5))) if affordable else None
    except ValueError:
        return None


class _RememberedKeys:
    """Derived keys by password and salt: a bounded memory, safe to use from any thread.

    Passwords themselves are not kept, but a digest under a secret that dies with the process.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._keys: OrderedDict[tuple[bytes, _Scrypt], bytes] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, asked: tuple[str, _Scrypt]) -> bool:
        return self._name(*asked) in self._keys

    def get(self, clear: str, how: _Scrypt) -> bytes:
        name = self._name(clear, how)
        with self._lock:
            known = self._keys.get(name)
            if known is not None:
                self._keys.move_to_end(name)
                return known
        derived = how.derive(clear)  # outside the lock: others need not wait for it
        with self._lock:
            self._keys[name] = derived
            while len(self._keys) > self._size:
                self._keys.popitem(last=False)
        return derived

    def _name(self, clear: str, how: _Scrypt) -> tuple[bytes, _Scrypt]:
        # The expected key is left out: rules that share a salt share the derivation.
        return hashlib.blake2b(_bytes(clear), key=self._secret).digest(), how._replace(key=bytes(len(how.key)))


_remembered = _RememberedKeys(REMEMBERED_KEYS)


def _bytes(clear: str) -> bytes:
    return clear.encode("utf-8", "surrogatepass")


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(_bytes(a), _bytes(b))


def new_salt() -> bytes:
    """Return a fresh random salt."""
    return secrets.token_bytes(SALT_BYTES)


def _hash_none(clear: str, _salt: bytes | None = None) -> str:
    return clear


def _hash_md5(clear: str, _salt: bytes | None = None) -> str:
    # Fixed by the protocol; it hides a password from a glance, no more.
    return hashlib.md5(_bytes(clear), usedforsecurity=False).hexdigest()[:MD5_DIGITS]


def _hash_scrypt(clear: str, salt: bytes | None = None) -> str:
    how = _Scrypt(SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P, salt or new_salt(), bytes(KEY_BYTES))
    salted, key = (b64encode(part).decode() for part in (how.salt, _remembered.get(clear, how)))
    return f"ln={how.log2_n},r={how.r},p={how.p}${salted}${key}"


def _check_none(clear: str, value: str) -> bool:
    return _same(clear, value)


def _check_md5(clear: str, value: str) -> bool:
    return _same(_hash_md5(clear), value)


def _check_scrypt(clear: str, value: str) -> bool:
    how = _read_scrypt(value)
    return how is not None and hmac.compare_digest(_remembered.get(clear, how), how.key)


_HASHERS: dict[str, Callable[[str, bytes | None], str]] = {
    "none": _hash_none,
    "md5": _hash_md5,
    "scrypt": _hash_scrypt,
}
_CHECKS: dict[str, Callable[[str, str], bool]] = {"none": _check_none, "md5": _check_md5, "scrypt": _check_scrypt}

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


@dataclass(frozen=True)
class HashedPass(Record):
    """A password in the form that rules carry; the value is kept out of logs and tracebacks.

    Attributes:
        hash: ``none`` (the value is the password; an empty one lets anybody in), ``blocked`` (lets nobody in), ``md5``
            (first 16 hex digits of the password's MD5), ``scrypt`` (``ln=14,r=8,p=1$salt$key``, base64).
            One that is not known lets nobody in.
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
            value: the password; None counts as an empty one, anything else but text never matches.
        """
        if self.free:
            return True
        clear = "" if value is None else value
        check = _CHECKS.get(self.hash)
        return check is not None and isinstance(clear, str) and check(clear, self.value)

    def is_slow(self, value: Any) -> bool:
        """Tell whether `check` would take some 30 ms: too long for a reactor, to be done in a thread."""
        clear = "" if value is None else value
        how = _read_scrypt(self.value) if self.hash == "scrypt" else None
        return how is not None and isinstance(clear, str) and (clear, how) not in _remembered

    def mistake(self) -> str:
        """Return why no password can ever match, where that cannot have been meant; else an empty string."""
        if self.hash not in HASHES:
            return f"hash {self.hash!r:.40} is not known (known: {', '.join(HASHES)})"
        if self.hash == "md5" and not re.fullmatch(f"[0-9a-f]{{{MD5_DIGITS}}}", self.value):
            return f"an md5 value has {MD5_DIGITS} lower-case hex digits"
        if self.hash == "scrypt" and _read_scrypt(self.value) is None:
            return "the scrypt value is malformed or too costly"
        return ""

    @classmethod
    def create_blocked(cls) -> Self:
        """Return one that lets nobody in."""
        return cls("blocked")

    @classmethod
    def create_free(cls) -> Self:
        """Return one that lets anybody in, with or without a password."""
        return cls("none")

    @classmethod
    def create_from_value(cls, hash: str, clear_text: str) -> Self:  # noqa: A002 - the name is the contract's
        """Hash a clear password.

        Raises:
            AccessError: no such hash, or one that takes no password.
        """
        return cls(hash, hasher(hash)(clear_text, None))

    @classmethod
    def create(cls, clear_text: str) -> Self:
        """Hash a clear password in the way that we prefer, with a salt of its own."""
        return cls.create_from_value(DEFAULT_HASH, clear_text)
