"""The agent service's own keys: a folder with one private key, and the public ones that tokens are checked with.

`private.pem` signs, and is its owner's alone; `public.json` is a published set (JWK) with a few notes of ours for each
key. A service needs only the latter, so that the former may be on another machine.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ocs.agent_service.keys import Key, jwk_of, keys_of
from ocs.agent_service.settings import DEFAULT_AUDIENCE, DEFAULT_ROLE_CLAIM
from ocs.agent_service.tokens import LEEWAY
from ocs.errors import KeyFolderError, UnauthenticatedError

__all__ = ["ISSUER", "MOST_SECONDS", "FolderKeys", "KeyFolder", "Order"]

ISSUER: Final = "ocs-agent-service"
MOST_SECONDS: Final = 90 * 86400.0
"""The longest that a token may hold, since there is no way to call back a single one."""

_PRIVATE: Final = "private.pem"
_PUBLIC: Final = "public.json"
_LOCK: Final = ".lock"
_OURS: Final = {_PRIVATE, _PUBLIC, _LOCK, f".{_PRIVATE}.new", f".{_PUBLIC}.new"}
_LOCK_SECONDS: Final = 10.0
_LOCK_PAUSE: Final = 0.02
_TIMES: Final = ("last_exp", "until")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Order:
    """What a token is to say.

    Attributes:
        subject: the account that it speaks for.
        seconds: how long it holds.
        roles: what it may do.
        audience: whom it is for.
        role_claim: where the roles stand, with dots between the names.
    """

    subject: str
    seconds: float
    roles: Sequence[str]
    audience: str = DEFAULT_AUDIENCE
    role_claim: str = DEFAULT_ROLE_CLAIM


class KeyFolder:
    """One folder of keys. Several programs may use it at once: changes are made under a lock, and each is whole.

    Args:
        path: where it is.
        clock: tells the time, unix s.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock

    def create(self, algorithm: str = "ES256", *, force: bool = False) -> str:
        """Make the key pair, and return its name.

        Args:
            algorithm: how tokens are going to be signed, ES256 or RS256.
            force: replace what is there, so that all tokens end at once.

        Raises:
            KeyFolderError: there are keys, or they cannot be written.
        """
        with self._locked(make=True):
            if not force and (self._private_path.exists() or self._public_path.exists()):
                raise KeyFolderError(
                    f"{self.path} has keys; --rotate makes new ones and lets tokens run out, --force ends all tokens"
                )
            self._claim_folder()
            return self._put(_new_key(algorithm), [])

    def rotate(self, algorithm: str | None = None) -> str:
        """Make a new key pair, and return its name; old tokens hold until they expire.

        Args:
            algorithm: how tokens are going to be signed; None: as before.

        Raises:
            KeyFolderError: there are no keys, or they are open to others, or cannot be written.
        """
        with self._locked():
            old = self._private()
            entries = self._entries()
            if algorithm is None:
                algorithm = str(jwk_of(old.public_key())["alg"])
            signed = [entry for entry in self._alive(entries) if "last_exp" in entry]
            return self._put(_new_key(algorithm), [{"until": entry["last_exp"], **entry} for entry in signed])

    def issue(self, order: Order) -> str:
        """Return a token.

        Raises:
            KeyFolderError: there are no keys, or they are open to others; or the token would hold for too long.
        """
        if not 0 < order.seconds <= MOST_SECONDS:
            raise KeyFolderError(f"a token holds for at most {MOST_SECONDS / 86400:.0f} days")
        with self._locked():
            private, entries = self._private(), self._entries()
            kid, algorithm = _named(private)
            claims = _claims(order, self._clock())
            if not self._remember(entries, kid, claims["exp"]):
                raise KeyFolderError(f"{_PRIVATE} and {_PUBLIC} in {self.path} do not belong together; init --force")
        return jwt.encode(claims, private, algorithm=algorithm, headers={"kid": kid})

    def published(self) -> list[dict[str, Any]]:
        """Return the public keys that hold.

        Raises:
            KeyFolderError: there are none, or others can change them.
        """
        self._check_folder()
        return self._alive(self._entries())

    @property
    def stamp(self) -> tuple[int, ...]:
        """What changes with the public keys; empty if there are none."""
        try:
            found = self._public_path.stat()
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    @property
    def _private_path(self) -> Path:
        return self.path / _PRIVATE

    @property
    def _public_path(self) -> Path:
        return self.path / _PUBLIC

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[None]:
        """Hold the folder, so that no two programs change it; also gives what the system refuses in one line."""
        try:
            if make:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor) as lock:
                self._wait_for(lock.fileno())
                yield
        except OSError as error:
            raise KeyFolderError(f"{error.filename or self.path}: {error.strerror}") from error

    def _wait_for(self, lock: int) -> None:
        """Lock a file. Others hold it while they make a key, which takes a second at most."""
        for _ in range(round(_LOCK_SECONDS / _LOCK_PAUSE)):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(_LOCK_PAUSE)
        raise KeyFolderError(f"another program has held {self.path} for {_LOCK_SECONDS:g} s; is it stopped?")

    def _claim_folder(self) -> None:
        """Close the folder to others; refuses one that is used for something else, which has to stay open."""
        strange = sorted(entry.name for entry in self.path.iterdir() if entry.name not in _OURS)
        if strange:
            raise KeyFolderError(f"{self.path} has other files ({strange[0]}); keys need a folder of their own")
        self.path.chmod(0o700)

    def _check_folder(self) -> None:
        """Refuse a folder in which others than its owner could put a key of theirs."""
        try:
            mode = self.path.stat().st_mode | (self._public_path.stat().st_mode if self._public_path.exists() else 0)
        except OSError as error:
            raise KeyFolderError(
                f"no keys in {self.path}: {error.strerror}; `ocs-agent-service init` makes them"
            ) from error
        if mode & _OTHERS_WRITE:
            raise KeyFolderError(f"others can write in {self.path}, and so forge tokens; chmod 700 {self.path}")

    def _private(self) -> _PrivateKey:
        path = self._private_path
        try:
            if path.stat().st_mode & _OTHERS:
                raise KeyFolderError(f"others can read {path}, and so forge tokens; chmod 600, then init --force")
            key = load_pem_private_key(path.read_bytes(), None)
        except FileNotFoundError as error:
            raise KeyFolderError(f"no {path}; `ocs-agent-service init` makes it") from error
        except (ValueError, TypeError) as error:
            raise KeyFolderError(f"{path} holds no private key") from error
        if not isinstance(key, _PrivateKey):
            raise KeyFolderError(f"{path} holds a key of another kind than RSA or EC")
        return key

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]]
        path = self._public_path
        try:
            found = json.loads(path.read_text())
            entries = found["keys"]
            keys_of(found, ISSUER)
            entries = [{**entry, **{name: float(entry[name]) for name in _TIMES if name in entry}} for entry in entries]
        except FileNotFoundError as error:
            raise KeyFolderError(f"no {path}; `ocs-agent-service init` makes it") from error
        except OSError as error:
            raise KeyFolderError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise KeyFolderError(f"{path} holds no set of public keys; init --force makes a new one") from error
        return entries

    def _alive(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the keys of which a token may still hold."""
        return [entry for entry in entries if entry.get("until", self._clock()) + LEEWAY > self._clock()]

    def _remember(self, entries: list[dict[str, Any]], kid: str, exp: float) -> bool:
        """Note until when tokens of a key are going to hold; tells whether the key is among the public ones."""
        known = [entry for entry in entries if entry.get("kid") == kid]
        for entry in known:
            entry.pop("until", None)  # there if a rotation was broken off before it had put its new key in place
            entry["last_exp"] = max(exp, entry.get("last_exp", 0))
            _write(self._public_path, _json(entries), 0o644)
        return bool(known)

    def _put(self, private: _PrivateKey, others: list[dict[str, Any]]) -> str:
        # The public one first: a crash in between leaves a key too many, never tokens that nobody can check.
        entry = {**jwk_of(private.public_key()), "created": int(self._clock())}
        _write(self._public_path, _json([entry, *others]), 0o644)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(self._private_path, pem, 0o600)
        return str(entry["kid"])


class FolderKeys:
    """The public keys of a folder, read anew when they change, so that a rotation holds at once.

    Args:
        path: the folder.
        clock: tells the time, unix s.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = KeyFolder(path, clock)
        self._stamp: tuple[int, ...] = ()
        self._keys: dict[str, Key] = {}
        self._until: dict[str, float] = {}
        self._clock = clock

    async def start(self) -> None:
        """Read the keys.

        Raises:
            KeyFolderError: there are none, or others can change them.
        """
        self._read()

    async def find(self, kid: str) -> Key | None:
        """Return the key of this name; None if there is none.

        Raises:
            UnauthenticatedError: the keys cannot be read.
        """
        if not self._stamp or self._folder.stamp != self._stamp:
            try:
                self._read()
            except KeyFolderError as error:
                raise UnauthenticatedError(f"the service cannot read its keys: {error}", retry_after=10) from error
        return None if self._until.get(kid, self._clock()) + LEEWAY <= self._clock() else self._keys.get(kid)

    async def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> None:
        stamp = self._folder.stamp
        entries = self._folder.published()
        self._keys = keys_of({"keys": entries}, ISSUER)
        self._until = {entry["kid"]: entry["until"] for entry in entries if "until" in entry}
        self._stamp = stamp


def _new_key(algorithm: str) -> _PrivateKey:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP256R1())


def _named(private: _PrivateKey) -> tuple[str, str]:
    entry = jwk_of(private.public_key())
    return str(entry["kid"]), str(entry["alg"])


def _claims(order: Order, now: float) -> dict[str, Any]:
    roles: Any = list(order.roles)
    for name in reversed(order.role_claim.split(".")):
        roles = {name: roles}
    times = {"iat": int(now), "nbf": int(now), "exp": int(now + order.seconds)}
    return {**roles, "iss": ISSUER, "aud": order.audience, "sub": order.subject, **times}


def _json(entries: list[dict[str, Any]]) -> bytes:
    return (json.dumps({"keys": entries}, indent=2) + "\n").encode()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file as a whole; its mode is right from the first byte on."""
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()  # of a program that was killed
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
