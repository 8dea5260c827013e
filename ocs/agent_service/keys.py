"""Public keys that tokens are checked with, as issuers publish them (JWK, RFC 7517), and who provides them."""

import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

__all__ = ["ALGORITHMS", "Key", "KeySource", "PublicKey", "base64url", "jwk_of", "keys_of", "thumbprint"]

PublicKey = RSAPublicKey | EllipticCurvePublicKey

ALGORITHMS: Final = ("ES256", "RS256")
"""How tokens may be signed. Nothing with a shared secret, and nothing unsigned."""

_MOST_KEYS: Final = 100
"""Looked at in one published set. Issuers have two or three; more would only cost time."""
_LEAST_RSA_BITS: Final = 2048
_IDENTIFYING: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, bound to one way of signing: a token that names the key has to be signed in this way.

    Attributes:
        kid: its name.
        algorithm: one of `ALGORITHMS`.
        public: the key itself.
        issuer: whose it is; what a token's ``iss`` has to be.
    """

    kid: str
    algorithm: str
    public: PublicKey
    issuer: str


class KeySource(Protocol):
    """Knows the keys of one issuer, at every moment."""

    async def start(self) -> None:
        """Make ready; an issuer that is away is no error yet."""

    async def find(self, kid: str) -> Key | None:
        """Return the key of this name; None if the issuer has none.

        Raises:
            UnauthenticatedError: it cannot be told, and why; ``retry_after`` says when to ask again.
        """

    async def close(self) -> None:
        """End what is open."""


def keys_of(published: Any, issuer: str) -> dict[str, Key]:
    """Return the keys of a published set that tokens may be checked with, by name.

    Keys of other kinds and for other purposes are passed over, as RFC 7517 has it.

    Raises:
        ValueError: it is no set of keys.
    """
    entries = published.get("keys") if isinstance(published, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list 'keys'")  # noqa: TRY004 - as any other document that is none
    found = (_key(entry, issuer) for entry in entries[:_MOST_KEYS] if isinstance(entry, Mapping))
    return {key.kid: key for key in found if key is not None}


def _key(entry: Mapping[str, Any], issuer: str) -> Key | None:
    kid, algorithm = entry.get("kid"), _algorithm(entry)
    if not isinstance(kid, str) or algorithm is None:
        return None
    try:
        public = _public(entry)
    except Exception as error:  # foreign code, which reads what came from the network; one bad key spoils no other
        _log.warning("key %.80r of %s is passed over: %s", kid, issuer, error)
        return None
    return Key(kid, algorithm, public, issuer)


def _algorithm(entry: Mapping[str, Any]) -> str | None:
    """Return how tokens of this key are signed; None if in no way that counts."""
    kind = (entry.get("kty"), entry.get("crv"))
    fits = "RS256" if kind == ("RSA", None) else "ES256" if kind == ("EC", "P-256") else None
    operations = entry.get("key_ops", ["verify"])
    checks = isinstance(operations, list) and "verify" in operations and entry.get("use", "sig") == "sig"
    return fits if checks and entry.get("alg", fits) == fits else None


def _public(entry: Mapping[str, Any]) -> PublicKey:
    if "d" in entry:
        raise ValueError("its private part is published, so anybody can sign with it")
    algorithm = RSAAlgorithm if entry["kty"] == "RSA" else ECAlgorithm
    key = algorithm.from_jwk(dict(entry))
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise ValueError(f"its {key.key_size} bits are less than {_LEAST_RSA_BITS}")
    if not isinstance(key, PublicKey):
        raise TypeError("it is no public key")
    return key


def jwk_of(public: PublicKey) -> dict[str, Any]:
    """Return a public key as issuers publish it, named by its thumbprint."""
    if isinstance(public, RSAPublicKey):
        told = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        told = ECAlgorithm.to_jwk(public, as_dict=True)
    entry = {name: told[name] for name in _IDENTIFYING[told["kty"]]}
    signs = "RS256" if told["kty"] == "RSA" else "ES256"
    return {**entry, "kid": thumbprint(entry), "alg": signs, "use": "sig"}


def thumbprint(entry: Mapping[str, Any]) -> str:
    """Return the name that a key has by itself (RFC 7638)."""
    identifying = {name: entry[name] for name in _IDENTIFYING[entry["kty"]]}
    return base64url(hashlib.sha256(json.dumps(identifying, sort_keys=True, separators=(",", ":")).encode()).digest())


def base64url(data: bytes) -> str:
    """Return bytes as JWTs have them: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
