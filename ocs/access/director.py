"""What an Access Director hands out: the rules of its configuration, and those of a grant that is held."""

import logging
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from ocs.access.fields import Check, Checks, CredLevel, Record, level, levels, optional, records, seconds, text
from ocs.access.passwords import DEFAULT_HASH, HASHES, HashedPass, hasher, new_salt
from ocs.access.rules import SCOPE_CHECKS, AccessRule, ScopeSpec
from ocs.access.slow_hashes import SLOW_HASHES
from ocs.errors import AccessError

__all__ = [
    "DISTRIBUTED_HASH",
    "AccessDirectorConfig",
    "AccessPasswordItem",
    "DistributedAccessGrant",
    "GrantConfigItem",
    "director_check_config",
    "director_get_access_rules",
    "director_parse_config",
    "director_prepare",
    "director_stored_passwords",
]

DISTRIBUTED_HASH = DEFAULT_HASH
"""How passwords go over the wire where the configuration does not say. Agents of ocs 0.12.1 know none above md5,
and answer every request with an error while they hold a rule whose hash they do not know."""

LONGEST_GRANT = 86400.0
"""Longest time for which a grant may be asked where the configuration does not say, in seconds: a night and a day."""

GRANT_PASSWORD_LENGTH = 16
"""Letters and digits of a password made for a grant: 95 bits."""

_log = logging.getLogger("ocs.access")


def _password(name: str, value: Any) -> str | HashedPass:
    """Accept a string, or a map of hash and value."""
    return HashedPass.from_dict(value, name) if isinstance(value, Mapping | HashedPass) else str(text(name, value))


_OPTIONAL_PASSWORD: Check = optional(_password)


@dataclass(frozen=True)
class AccessPasswordItem(Record):
    """A rule of a password file or of the director's ``passwords``: a scope, and a password for each level."""

    default: bool = False
    agent_class: str | None = None
    instance_id: str | None = None
    password_1: str | HashedPass | None = field(default=None, repr=False)
    password_2: str | HashedPass | None = field(default=None, repr=False)
    password_3: str | HashedPass | None = field(default=None, repr=False)
    password_4: str | HashedPass | None = field(default=None, repr=False)

    checks: ClassVar[Checks] = {**SCOPE_CHECKS, **{f"password_{n}": _OPTIONAL_PASSWORD for n in range(1, 5)}}

    def get_scope_spec(self) -> ScopeSpec:
        """Return the agents that the passwords are for."""
        return ScopeSpec(self.default, self.agent_class, self.instance_id)

    def password_for(self, wanted: CredLevel) -> str | HashedPass | None:
        """Return the password of the lowest level, up to 3, that is at least the wanted one."""
        usable = (self.passwords().get(CredLevel(n)) for n in range(wanted, CredLevel.FULL + 1))
        return next((password for password in usable if password is not None), None)

    def passwords(self) -> dict[CredLevel, str | HashedPass]:
        """Return the passwords that are given, by level."""
        given = ((CredLevel(n), getattr(self, f"password_{n}")) for n in range(1, 5))
        return {each: password for each, password in given if password is not None}


@dataclass(frozen=True)
class GrantConfigItem(Record):
    """What the holder of an exclusive grant gets on some agents, and what everybody else loses there."""

    cred_level: CredLevel | None
    default: bool = False
    agent_class: str | None = None
    instance_id: str | None = None
    lockout_levels: list[CredLevel] = field(default_factory=list)

    checks: ClassVar[Checks] = {**SCOPE_CHECKS, "cred_level": optional(level), "lockout_levels": levels}

    def get_scope_spec(self) -> ScopeSpec:
        """Return the agents that the item is for."""
        return ScopeSpec(self.default, self.agent_class, self.instance_id)


@dataclass(frozen=True)
class DistributedAccessGrant(Record):
    """An exclusive access block: its name, the password that one must have to ask, and what it grants.

    Attributes:
        name: what clients ask for.
        grants: what it gives and takes, on which agents.
        password: what a client must know to ask for it: clear, or a map of hash and value; None: nothing.
        hash: how the password that is made for the holder goes over the wire; as all others unless given.
    """

    name: str
    grants: list[GrantConfigItem]
    password: str | HashedPass | None = field(default=None, repr=False)
    hash: str | None = None

    checks: ClassVar[Checks] = {
        "name": text,
        "grants": records(GrantConfigItem),
        "password": _OPTIONAL_PASSWORD,
        "hash": optional(text),
    }

    def stored_password(self) -> HashedPass:
        """Return what a client's password is held against; without one, anybody may ask."""
        if isinstance(self.password, HashedPass):
            return self.password
        return HashedPass("none", self.password or "")


@dataclass(frozen=True)
class AccessDirectorConfig(Record):
    """The director's configuration file.

    Attributes:
        passwords_block_default_hashfunc: how passwords are written in ``passwords`` where they are plain strings.
        distrib_hashfunc: how clear passwords are hashed before they go over the wire.
        passwords: who has which level where.
        exclusive_access_blocks: what can be asked for.
        longest_grant: for how long, in seconds.
    """

    passwords_block_default_hashfunc: str = "none"
    distrib_hashfunc: str = DISTRIBUTED_HASH
    passwords: list[AccessPasswordItem] = field(default_factory=list)
    exclusive_access_blocks: list[DistributedAccessGrant] = field(default_factory=list)
    longest_grant: float = LONGEST_GRANT

    checks: ClassVar[Checks] = {
        "passwords_block_default_hashfunc": text,
        "distrib_hashfunc": text,
        "passwords": records(AccessPasswordItem),
        "exclusive_access_blocks": records(DistributedAccessGrant),
        "longest_grant": seconds,
    }


def director_check_config(config: Any) -> tuple[AccessDirectorConfig, list[str]]:
    """Check the director's configuration.

    Args:
        config: what YAML made of the file; None (an empty file) gives no rules, which blocks everybody.

    Returns:
        The configuration, and what in it is legal and most likely not meant, a line each.

    Raises:
        AccessError: the configuration has a mistake; where and which.
    """
    parsed = AccessDirectorConfig.from_dict({} if config is None else config, "access director configuration")
    _check_config(parsed)
    return parsed, list(_oddities(config or {}, parsed))


def director_parse_config(config: Any) -> dict[str, Any]:
    """Check the director's configuration and make the rules that it distributes.

    Args:
        config: as in `director_check_config`.

    Returns:
        A map: ``_hashname`` and ``_hashfunc`` (what passwords are hashed with for the wire; the function takes a
        clear password), ``_rules`` (list of `AccessRule`), ``_grant_blocks`` (list of `DistributedAccessGrant`),
        ``_longest_grant`` (s).

    Raises:
        AccessError: the configuration has a mistake; where and which. Harmless oddities are warnings in the log.
    """
    parsed, oddities = director_check_config(config)
    for oddity in oddities:
        _log.warning("access director configuration: %s", oddity)
    return director_prepare(parsed, new_salt())


def director_prepare(parsed: AccessDirectorConfig, salt: bytes) -> dict[str, Any]:
    """Make the rules of a configuration; may take 30 ms a password.

    Args:
        parsed: the configuration.
        salt: what clear passwords are hashed with: one for all, so that agents with many rules hash a password once.

    Returns:
        As `director_parse_config`.
    """
    for_the_wire = partial(_hash, parsed.distrib_hashfunc, salt)
    rules = [
        AccessRule(_distributed(_stored(password, parsed), for_the_wire), each, item.get_scope_spec())
        for item in parsed.passwords
        for each, password in item.passwords().items()
    ]
    blocks = parsed.exclusive_access_blocks
    return {
        "_hashname": parsed.distrib_hashfunc,
        "_hashfunc": lambda clear: for_the_wire(clear).value,
        "_rules": rules,
        "_grant_blocks": [replace(block, hash=block.hash or parsed.distrib_hashfunc) for block in blocks],
        "_longest_grant": parsed.longest_grant,
    }


def director_stored_passwords(config: AccessDirectorConfig) -> Iterator[HashedPass]:
    """Find all passwords of a configuration, as they are stored."""
    for item in config.passwords:
        yield from (_stored(password, config) for password in item.passwords().values())
    yield from (block.stored_password() for block in config.exclusive_access_blocks)


def _hash(name: str, salt: bytes, clear: str) -> HashedPass:
    return HashedPass.create_from_value(name, clear, salt)


def _stored(password: str | HashedPass, config: AccessDirectorConfig) -> HashedPass:
    if isinstance(password, HashedPass):
        return password
    return HashedPass(config.passwords_block_default_hashfunc, password) if password else HashedPass.create_free()


def _distributed(password: HashedPass, for_the_wire: Callable[[str], HashedPass]) -> HashedPass:
    """Hash what is clear; what is free, blocked or hashed already goes out as it is."""
    return for_the_wire(password.value) if password.hash == "none" and password.value else password


def _check_config(config: AccessDirectorConfig) -> None:
    hasher(config.distrib_hashfunc)
    if config.passwords_block_default_hashfunc not in HASHES:
        raise AccessError(
            f"passwords_block_default_hashfunc is {config.passwords_block_default_hashfunc!r:.40}, "
            f"it must be one of {', '.join(HASHES)}"
        )
    names = [block.name for block in config.exclusive_access_blocks]
    for block in config.exclusive_access_blocks:
        hasher(block.hash or DISTRIBUTED_HASH)
        if names.count(block.name) > 1:
            raise AccessError(f"exclusive_access_blocks: the name {block.name!r:.80} is given more than once")


def _oddities(raw: Mapping[str, Any], config: AccessDirectorConfig) -> Iterator[str]:
    """Find what is legal and most likely not meant."""
    for key in AccessDirectorConfig.unknown_keys(raw):
        yield f"{key} is not known"
    for i, (item, data) in enumerate(zip(config.passwords, raw.get("passwords") or (), strict=True)):
        where = f"passwords[{i}]"
        yield from (f"{where}: {key} is not known" for key in _unknown(item, data))
        if item.get_scope_spec().empty:
            yield f"{where} is for no agent: give default: true, agent_class or instance_id"
        for each, password in item.passwords().items():
            stored = _stored(password, config)
            if mistake := stored.mistake():
                yield f"{where}: password_{each.value} will fit nobody: {mistake}"
            elif stored.hash in SLOW_HASHES and config.distrib_hashfunc not in SLOW_HASHES:
                yield (
                    f"{where}: password_{each.value} goes out as {stored.hash}, whatever distrib_hashfunc says; "
                    "agents of ocs 0.12.1 then answer every request with an error"
                )
    yield from _oddities_of_blocks(raw, config)


def _oddities_of_blocks(raw: Mapping[str, Any], config: AccessDirectorConfig) -> Iterator[str]:
    raws = {one.get("name"): one for one in raw.get("exclusive_access_blocks") or () if isinstance(one, Mapping)}
    for block in config.exclusive_access_blocks:
        where = f"exclusive access block {block.name!r:.80}"
        yield from (f"{where}: {key} is not known" for key in _unknown(block, raws.get(block.name)))
        for grant, data in zip(block.grants, (raws.get(block.name) or {}).get("grants") or (), strict=False):
            yield from (f"{where}: a grant has {key}, which is not known" for key in _unknown(grant, data))
        if mistake := block.stored_password().mistake():
            yield f"exclusive access block {block.name!r:.80}: its password will fit nobody: {mistake}"
        if any(grant.get_scope_spec().empty for grant in block.grants):
            yield f"exclusive access block {block.name!r:.80} has a grant that is for no agent"


def _unknown(item: Record, data: Any) -> list[str]:
    return item.unknown_keys(data) if isinstance(data, Mapping) else []


def director_get_access_rules(
    grant_def: DistributedAccessGrant, grant_owner: str | None, *, salt: bytes | None = None
) -> tuple[str, list[AccessRule]]:
    """Make a fresh password for an exclusive grant, and the rules that put it into force.

    Args:
        grant_def: the block that is granted.
        grant_owner: who holds it; those who are locked out are told.
        salt: what the password is hashed with; a fresh one unless given. With the one of all other passwords, agents
            hash what they are given once for all.

    Returns:
        The password in clear, for the holder alone, and the rules for the agents.

    Raises:
        AccessError: the block's hash is not known.
    """
    letters = string.ascii_letters + string.digits
    password = "".join(secrets.choice(letters) for _ in range(GRANT_PASSWORD_LENGTH))
    hashed = _hash(grant_def.hash or DISTRIBUTED_HASH, salt or new_salt(), password)
    rules = [
        AccessRule(hashed, grant.cred_level, grant.get_scope_spec(), grant_def.name, grant_owner, grant.lockout_levels)
        for grant in grant_def.grants
    ]
    return password, rules
