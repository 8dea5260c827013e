"""A private key of a closed site: what is signed with it, and how tokens made with it are checked."""

import binascii
import json
import logging
import math
import re
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from ocs.errors import KeysError
from ocs.keys.files import read_small
from ocs.keys.table import Identity, SiteTable, require_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["LONGEST_VALIDITY", "SigningKey", "verify_token"]

LONGEST_VALIDITY: Final = 3600.0
"""The longest that a token may hold, in s: a single one cannot be called back, only the key that made it."""

_LEEWAY: Final = 60.0
"""How far two machines' clocks may be apart, in s."""
_LONGEST_TOKEN: Final = 2048
_LONGEST_FILE: Final = 4096
_CHALLENGE: Final = re.compile(r"[0-9a-fA-F]{64}")
_SEED: Final = re.compile(r"[0-9a-fA-F]{64}")
_SEED_BYTES: Final = 32
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

_log = logging.getLogger("ocs.keys")


@dataclass(frozen=True)
class SigningKey:
    """A private key.

    Args:
        seed: the 32 bytes of an Ed25519 key.
        name: whose it is.
        path: the file that it came from, or None.

    Raises:
        KeysError: it is none.
    """

    seed: bytes = field(repr=False)
    name: str
    path: Path | None = None

    def __post_init__(self) -> None:
        require_name(self.name)
        if len(self.seed) != _SEED_BYTES:
            raise KeysError(f"the key of {self.name} has {len(self.seed)} bytes; a key has {_SEED_BYTES}")

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> "SigningKey":
        """Return the key in a file.

        Args:
            path: the file.
            name: whose it is; None: the file has its owner's name, as ``fake-1.key``.

        Raises:
            KeysError: it cannot be read, or holds no key.
        """
        missing = f"no key file {path}; copy it from the keys folder in which `ocs keys init` made it"
        content, mode = read_small(path, _LONGEST_FILE, missing=missing)
        seed = _seed(content, path)
        if mode & stat.S_IRWXO:
            _log.warning("every account of this machine can use the key %s; chmod 600 %s", path, path)
        return cls(seed, name or path.stem, path)

    @property
    def public(self) -> str:
        """The public key, in hex."""
        return self._private().public_key().public_bytes_raw().hex()

    def sign_challenge(self, challenge_hex: str) -> str:
        """Answer a router's challenge of WAMP-cryptosign, without channel binding.

        Args:
            challenge_hex: the 32 bytes of the challenge, in hex. Nothing of another length is signed: else a false
                router could have a token signed, which is longer.

        Returns:
            Signature and challenge, in hex.

        Raises:
            KeysError: it is no challenge.
        """
        if not isinstance(challenge_hex, str) or not _CHALLENGE.fullmatch(challenge_hex):
            raise KeysError("the router's challenge is not 32 bytes in hex; is it a router of WAMP-cryptosign?")
        challenge = bytes.fromhex(challenge_hex)
        return self._private().sign(challenge).hex() + challenge.hex()

    def token(self, audience: str, now: float, seconds: float = 300) -> str:
        """Return a token for the HTTP bridge: a JWT, signed with this key.

        Args:
            audience: whom it is for: the realm.
            now: unix s.
            seconds: how long it holds; an hour at most.

        Raises:
            KeysError: it would hold for too long, or not at all.
        """
        if not 1 <= seconds <= LONGEST_VALIDITY:
            raise KeysError(f"a token holds for 1 to {LONGEST_VALIDITY:g} s, not {seconds:g}")
        issued = int(now)
        claims = {"sub": self.name, "aud": audience, "iat": issued, "exp": issued + int(seconds), "key": self.public}
        signed = f"{_encoded({'alg': 'EdDSA', 'typ': 'JWT'})}.{_encoded(claims)}"
        return f"{signed}.{_base64url(self._private().sign(signed.encode()))}"

    def _private(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - for closed sites alone
            Ed25519PrivateKey,
        )

        return Ed25519PrivateKey.from_private_bytes(self.seed)


def _seed(content: bytes, path: Path) -> bytes:
    try:
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        lines = []
    words = [line for line in lines if line and not line.startswith("#")]
    if len(words) != 1 or not _SEED.fullmatch(words[0]):
        raise KeysError(f"{path} holds no key: one line of 64 hex digits; copy it anew, or `ocs keys rotate`")
    return bytes.fromhex(words[0])


def verify_token(token: str, table: SiteTable, audience: str, now: float) -> Identity:
    """Return who made a token.

    Args:
        token: as it came.
        table: who may connect.
        audience: whom it has to be for: the realm.
        now: unix s.

    Raises:
        KeysError: it is none that holds; the sentence is for whoever sent it.
    """
    if len(token) > _LONGEST_TOKEN:
        raise KeysError(f"the token is longer than {_LONGEST_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 3 or not all(_BASE64URL.fullmatch(part) for part in parts):  # noqa: PLR2004 - as a JWT has
        raise KeysError("the token is no JWT")
    header, claims = _object(parts[0]), _object(parts[1])
    if header.get("alg") != "EdDSA" or "crit" in header:
        raise KeysError("the token is not signed with EdDSA")
    _check_times(claims, now)
    if claims.get("aud") != audience:
        raise KeysError("the token is for another realm")
    name, public = claims.get("sub"), claims.get("key")
    if not isinstance(name, str) or not isinstance(public, str):
        raise KeysError("the token does not say who made it, with which key: 'sub' and 'key'")
    identity = table.admit(name, public, now)
    if not _is_signed(f"{parts[0]}.{parts[1]}".encode(), _bytes(parts[2]), public):
        raise KeysError("the token's signature is wrong")
    return identity


def _check_times(claims: dict[str, Any], now: float) -> None:
    issued, end = claims.get("iat"), claims.get("exp")
    if not _is_time(issued) or not _is_time(end):
        raise KeysError("the token does not say from when until when it holds: 'iat' and 'exp'")
    if not 0 < end - issued <= LONGEST_VALIDITY:
        raise KeysError(f"the token holds for more than {LONGEST_VALIDITY:g} s, or not at all")
    if now + _LEEWAY < issued:
        raise KeysError("the token is from the future; set the clocks")
    if now - _LEEWAY >= end:
        raise KeysError("the token has ended; make a new one")


def _is_time(value: object) -> TypeGuard[float]:
    # As a range: comparing finds it out for integers of any length, which math.isfinite refuses.
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_signed(signed: bytes, signature: bytes, public: str) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - for closed sites alone
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _encoded(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise KeysError("the token is no JWT") from None


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise KeysError("the token is no JWT")
    return value
