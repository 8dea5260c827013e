"""The table of a closed site: who may connect, in which role, and with which public keys."""

import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from ocs.errors import KeysError
from ocs.keys.files import OPEN, read_small, write_whole

__all__ = ["OWN_ADDRESS_ROLES", "ROLES", "TABLE_FILE", "Identity", "PublicKey", "SiteTable", "require_name"]

ROLES: Final = ("agent", "director", "client", "observer")
"""What one may be at a closed site; `ocs.keys.permissions` says what each may do."""

OWN_ADDRESS_ROLES: Final = frozenset({"agent", "director"})
"""Who has addresses of its own."""

TABLE_FILE: Final = "site.json"

_VERSION: Final = 1
_MOST_BYTES: Final = 4 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PUBLIC: Final = re.compile(r"[0-9a-f]{64}")
_INSTANCE: Final = re.compile(r"[^\s.#*]+(\.[^\s.#*]+)*\*?")
_LONGEST_INSTANCE: Final = 300
_END_OF_TIME: Final = 1e12


def require_name(name: object) -> str:
    """Return a name that an identity can have: it is a file's name too.

    Raises:
        KeysError: it is none.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise KeysError(f"{_shown(name)} cannot be a name: letters, digits and ._- (100 at most, a letter or digit first)")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key.

    Args:
        public: an Ed25519 key, as 64 hex digits in lower case.
        until: when it ends, unix s; None: it does not.

    Raises:
        KeysError: it is none.
    """

    public: str
    until: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.public, str) or not _PUBLIC.fullmatch(self.public):
            raise KeysError(f"{_shown(self.public)} is no public key: 64 hex digits in lower case")
        if self.until is not None and not _is_time(self.until):
            raise KeysError(f"{_shown(self.until)} is no time at which a key ends: unix seconds, or null")

    def holds(self, now: float) -> bool:
        """Tell whether it has not ended at ``now``, unix s."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Identity:
    """One who may connect.

    Args:
        name: letters, digits and ``._-``.
        role: one of `ROLES`.
        instances: the instance-ids whose addresses are its own; agents and directors have some. One with dots in it
            stands for a longer address, such as that of a component, and one that ends with a star for all that begin
            so: ``seqcomp-*``.
        keys: its public keys.
        made: when it was made, unix s.

    Raises:
        KeysError: one of them cannot be.
    """

    name: str
    role: str
    instances: tuple[str, ...] = ()
    keys: tuple[PublicKey, ...] = ()
    made: float = 0.0

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.role not in ROLES:
            raise KeysError(f"{self.name}: {_shown(self.role)} is no role; roles: {', '.join(ROLES)}")
        for instance in self.instances:
            self._require_instance(instance)
        if self.instances and self.role not in OWN_ADDRESS_ROLES:
            raise KeysError(f"{self.name}: a {self.role} has no instances; agents and directors have")
        if not _is_time(self.made):
            raise KeysError(f"{self.name}: {_shown(self.made)} is no time: unix seconds")

    def _require_instance(self, instance: object) -> None:
        fits = isinstance(instance, str) and len(instance) <= _LONGEST_INSTANCE and instance.isprintable()
        if not fits or not _INSTANCE.fullmatch(str(instance)):
            raise KeysError(f"{self.name}: {_shown(instance)} cannot be an instance-id")

    def has_key(self, public: str, now: float) -> bool:
        """Tell whether a public key is its own and has not ended at ``now``, unix s."""
        return any(key.public == public and key.holds(now) for key in self.keys)


@dataclass(frozen=True)
class SiteTable:
    """Who may connect to a site.

    Args:
        identities: by name.
    """

    identities: Mapping[str, Identity] = field(default_factory=dict)

    @cached_property
    def directors(self) -> frozenset[str]:
        """The instance-ids of all directors."""
        found = (each.instances for each in self.identities.values() if each.role == "director")
        return frozenset(instance for instances in found for instance in instances)

    def admit(self, name: str, public: str, now: float) -> Identity:
        """Return who connects.

        Args:
            name: who it claims to be.
            public: the public key that it has, in hex; that it has the private one is for the caller to check.
            now: unix s.

        Raises:
            KeysError: nobody who may connect. It is the same sentence in all cases, so that it tells no stranger which
                names there are.
        """
        identity = self.identities.get(name)
        if identity is None or not identity.has_key(public, now):
            raise KeysError(
                f"{_shown(name)} may not connect with this key: unknown, ended or revoked; "
                "`ocs keys list` in the router's keys folder shows who may"
            )
        return identity

    @classmethod
    def read(cls, folder: Path) -> "SiteTable":
        """Return the table of a keys folder.

        Raises:
            KeysError: there is none, it has a mistake in it, or any account of the machine could write it.
        """
        path = folder / TABLE_FILE
        content, mode = read_small(
            path, _MOST_BYTES, missing=f"no {path}: it says who may connect; `ocs keys init` makes it, for the router"
        )
        if mode & stat.S_IWOTH:
            raise KeysError(f"every account can write {path}, and so admit itself; chmod 644 {path}")
        try:
            return _from_json(json.loads(content))
        except KeysError as error:
            raise KeysError(f"{path}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise KeysError(f"{path} is no JSON: {error}") from None

    def write(self, folder: Path) -> None:
        """Write the table into a keys folder, as a whole: a reader sees the old one or the new one.

        Raises:
            KeysError: it cannot be written.
        """
        identities = {name: _to_json(self.identities[name]) for name in sorted(self.identities)}
        text = json.dumps({"version": _VERSION, "identities": identities}, indent=2) + "\n"
        write_whole(folder / TABLE_FILE, text.encode(), OPEN)

    def put(self, identity: Identity) -> "SiteTable":
        """Return a table that has this identity, in place of one of the same name."""
        return SiteTable({**self.identities, identity.name: identity})

    def without(self, name: str) -> "SiteTable":
        """Return a table that has nobody of this name."""
        return SiteTable({other: each for other, each in self.identities.items() if other != name})


def _from_json(value: Any) -> SiteTable:
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        raise KeysError(f"it is no table of version {_VERSION}")
    identities = value.get("identities")
    if not isinstance(identities, dict):
        raise KeysError("'identities' has to be a map of names")
    return SiteTable({name: _identity(name, entry) for name, entry in identities.items()})


def _identity(name: str, entry: Any) -> Identity:
    require_name(name)
    if not isinstance(entry, dict):
        raise KeysError(f"{name} has to be a map")
    role, made = entry.get("role"), entry.get("made", 0.0)
    instances = _list(name, "instances", entry.get("instances") or _own(name, role))
    keys = tuple(_key(name, one) for one in _list(name, "keys", entry.get("keys", [])))
    return Identity(name, cast("str", role), tuple(instances), keys, made)


def _own(name: str, role: Any) -> list[str]:
    return [name] if role in ("agent", "director") else []


def _key(name: str, entry: Any) -> PublicKey:
    if not isinstance(entry, dict):
        raise KeysError(f"{name}: a key has to be a map of 'public' and 'until'")
    try:
        return PublicKey(cast("str", entry.get("public")), entry.get("until"))
    except KeysError as error:
        raise KeysError(f"{name}: {error}") from None


def _list(name: str, key: str, value: Any) -> Iterable[Any]:
    if not isinstance(value, list):
        raise KeysError(f"{name}: '{key}' has to be a list")
    return value


def _to_json(identity: Identity) -> dict[str, Any]:
    keys = [{"public": key.public, "until": key.until} for key in identity.keys]
    return {"role": identity.role, "instances": list(identity.instances), "keys": keys, "made": identity.made}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


def _shown(value: object) -> str:
    return f"{value!r:.60}"
