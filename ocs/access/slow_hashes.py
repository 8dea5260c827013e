"""Salted hashes that are slow on purpose, Argon2id and scrypt, and a memory that makes them quick the second time."""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections import OrderedDict
from functools import lru_cache
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple, Protocol

__all__ = ["SLOW_HASHES", "SlowHash", "check_slow", "hash_slow", "is_remembered", "new_salt", "read_slow"]

SALT_BYTES = 16
KEY_BYTES = 32

ARGON2_MEMORY_KIB = 19 * 1024
"""Cost of our Argon2id hashes: 2 passes over 19 MiB, some 30 ms, once for each password and salt (OWASP's least)."""
ARGON2_PASSES = 2
ARGON2_LANES = 1

SCRYPT_LOG2_N = 14
"""Cost of our scrypt hashes: 2**14 rounds of 1 KiB take 16 MiB and some 30 ms."""
SCRYPT_R = 8
SCRYPT_P = 1

MAX_MEMORY = 64 * 1024 * 1024
"""A hash that would need more memory than this to check, in bytes, never matches: one rule must not stop an agent."""
MAX_PASSES = 4
MAX_LANES = 4

AT_A_TIME = 2
"""How many keys are derived at a time: what a flood of passwords costs is 2 cores and 128 MiB at the most."""

REMEMBERED_KEYS = 256
"""How many derived keys are kept, so that the next call with the same password costs nothing."""


class SlowHash(Protocol):
    """What a value says: the cost, the salt, and the key to compare with."""

    @property
    def salt(self) -> bytes:
        """What makes the same password give another key elsewhere."""

    @property
    def key(self) -> bytes:
        """The key that the password has to give."""

    def derive(self, clear: bytes) -> bytes:
        """Return the key that a password gives; this takes its time."""

    def without_key(self) -> "SlowHash":
        """Return the same with an empty key of the same length: rules that share a salt share the derivation."""


class _Argon2(NamedTuple):
    memory_kib: int
    passes: int
    lanes: int
    salt: bytes
    key: bytes

    def derive(self, clear: bytes) -> bytes:
        from argon2.low_level import Type, hash_secret_raw  # noqa: PLC0415 - loaded only where there are such passwords

        return hash_secret_raw(clear, self.salt, self.passes, self.memory_kib, self.lanes, len(self.key), Type.ID)

    def without_key(self) -> "_Argon2":
        return self._replace(key=bytes(len(self.key)))

    def encoded(self, key: bytes) -> str:
        cost = f"m={self.memory_kib},t={self.passes},p={self.lanes}"
        return f"$argon2id$v=19${cost}${_bare(self.salt)}${_bare(key)}"


class _Scrypt(NamedTuple):
    log2_n: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def derive(self, clear: bytes) -> bytes:
        return hashlib.scrypt(
            clear, salt=self.salt, n=1 << self.log2_n, r=self.r, p=self.p, maxmem=2 * MAX_MEMORY, dklen=len(self.key)
        )

    def without_key(self) -> "_Scrypt":
        return self._replace(key=bytes(len(self.key)))

    def encoded(self, key: bytes) -> str:
        salted, made = (b64encode(part).decode() for part in (self.salt, key))
        return f"ln={self.log2_n},r={self.r},p={self.p}${salted}${made}"


_ARGON2_VALUE = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,128})\$([A-Za-z0-9+/]{22,88})", re.ASCII
)
_SCRYPT_VALUE = re.compile(
    r"ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([A-Za-z0-9+/]{8,128}={0,2})\$([A-Za-z0-9+/]{20,88}={0,2})", re.ASCII
)


def _bare(content: bytes) -> str:
    """Encode in base64 without padding, as such strings have it."""
    return b64encode(content).decode().rstrip("=")


def _unbare(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def _read_argon2(value: str) -> _Argon2 | None:
    found = _ARGON2_VALUE.fullmatch(value)
    if found is None:
        return None
    memory, passes, lanes = (int(number) for number in found.group(1, 2, 3))
    affordable = 8 * lanes <= memory <= MAX_MEMORY // 1024 and 0 < passes <= MAX_PASSES and 0 < lanes <= MAX_LANES
    return _Argon2(memory, passes, lanes, _unbare(found[4]), _unbare(found[5])) if affordable else None


def _read_scrypt(value: str) -> _Scrypt | None:
    found = _SCRYPT_VALUE.fullmatch(value)
    if found is None:
        return None
    log2_n, r, p = (int(number) for number in found.group(1, 2, 3))
    affordable = log2_n > 0 and 0 < p <= MAX_LANES and 0 < 128 * r * (1 << log2_n) <= MAX_MEMORY
    return _Scrypt(log2_n, r, p, b64decode(found[4]), b64decode(found[5])) if affordable else None


_READERS = {"argon2id": _read_argon2, "scrypt": _read_scrypt}

SLOW_HASHES = tuple(_READERS)
"""Names of the hashes of this module; the first is the one that we prefer."""


@lru_cache(maxsize=REMEMBERED_KEYS)
def read_slow(name: str, value: str) -> SlowHash | None:
    """Read a value; None where the hash is not one of these, or the value malformed or too costly."""
    reader = _READERS.get(name)
    try:
        return reader(value) if reader else None
    except ValueError:
        return None


class _RememberedKeys:
    """Derived keys by password and salt: a bounded memory, safe to use from any thread.

    Passwords themselves are not kept, but a digest under a secret that dies with the process.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._keys: OrderedDict[tuple[bytes, SlowHash], bytes] = OrderedDict()
        self._lock = Lock()
        self._deriving = BoundedSemaphore(AT_A_TIME)

    def __contains__(self, asked: tuple[bytes, SlowHash]) -> bool:
        return self._name(*asked) in self._keys

    def get(self, clear: bytes, how: SlowHash) -> bytes:
        name = self._name(clear, how)
        known = self._find(name)
        if known is not None:
            return known
        with self._deriving:  # not under the lock: who needs no derivation need not wait for one
            derived = self._find(name) or how.derive(clear)
        self._keep(name, derived)
        return derived

    def _find(self, name: tuple[bytes, SlowHash]) -> bytes | None:
        with self._lock:
            known = self._keys.get(name)
            if known is not None:
                self._keys.move_to_end(name)
            return known

    def _keep(self, name: tuple[bytes, SlowHash], derived: bytes) -> None:
        with self._lock:
            self._keys[name] = derived
            while len(self._keys) > self._size:
                self._keys.popitem(last=False)

    def _name(self, clear: bytes, how: SlowHash) -> tuple[bytes, SlowHash]:
        return hashlib.blake2b(clear, key=self._secret).digest(), how.without_key()


_remembered = _RememberedKeys(REMEMBERED_KEYS)


def new_salt() -> bytes:
    """Return a fresh random salt."""
    return secrets.token_bytes(SALT_BYTES)


def hash_slow(name: str, clear: bytes, salt: bytes | None = None) -> str:
    """Hash a password.

    Args:
        name: one of `SLOW_HASHES`.
        clear: the password.
        salt: the salt; a fresh one unless given.
    """
    how: Any
    if name == "argon2id":
        how = _Argon2(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, salt or new_salt(), bytes(KEY_BYTES))
    else:
        how = _Scrypt(SCRYPT_LOG2_N, SCRYPT_R, SCRYPT_P, salt or new_salt(), bytes(KEY_BYTES))
    return str(how.encoded(_remembered.get(clear, how)))


def check_slow(how: SlowHash, clear: bytes) -> bool:
    """Tell whether a password is the one of a hash, in a time that does not depend on where they differ."""
    return hmac.compare_digest(_remembered.get(clear, how), how.key)


def is_remembered(how: SlowHash, clear: bytes) -> bool:
    """Tell whether the password was judged lately, so that judging it again takes no time."""
    return (clear, how) in _remembered
