"""Reading the director's configuration file."""

import json
import stat
from pathlib import Path
from typing import Any

import yaml

from ocs.access.director import DistributedAccessGrant, director_check_config, director_prepare
from ocs.access.grants import MAX_NAME
from ocs.access.passwords import HashedPass
from ocs.access.rules import AccessRule
from ocs.errors import AccessError

__all__ = ["MAX_RULES", "Config", "may_be_read_by_others", "read_config", "read_yaml"]

MAX_BYTES = 4 * 1024 * 1024
"""Largest file that is read."""

MAX_RULES = 2500
"""Most rules, with those of all grants: more do not fit into one message of the size that every router takes."""


MAX_MESSAGE_BYTES = 950_000
"""Most that rules may take in a message; routers with default settings take 1 MiB."""

_HASH_LENGTH = 97


class Config:
    """A configuration, made ready for use.

    Args:
        parsed: what `director_prepare` returned.
        oddities: what is legal in it and most likely not meant.

    Attributes:
        rules: who has which level where.
        blocks: what may be asked for, by name.
        hash_name: how clear passwords go over the wire.
        longest_grant: longest time for which a grant is given, in seconds.
    """

    def __init__(self, parsed: dict[str, Any], oddities: list[str]) -> None:
        self.rules: list[AccessRule] = parsed["_rules"]
        self.blocks: dict[str, DistributedAccessGrant] = {block.name: block for block in parsed["_grant_blocks"]}
        self.hash_name: str = parsed["_hashname"]
        self.longest_grant: float = parsed["_longest_grant"]
        self.oddities = oddities


def read_config(path: Path, salt: bytes) -> Config:
    """Read the file and hash its passwords. Blocks.

    Args:
        path: the file.
        salt: what passwords are hashed with.

    Raises:
        AccessError: it cannot be read, or has a mistake in it; passwords are not repeated.
    """
    raw = read_yaml(path)
    try:
        parsed, oddities = director_check_config(raw)
        config = Config(director_prepare(parsed, salt), oddities)
    except AccessError as error:
        raise AccessError(f"{path}: {error}") from None
    _require_room(config, path)
    return config


def _require_room(config: Config, path: Path) -> None:
    """Refuse what would not fit into one message while all grants are held."""
    rules = [*config.rules, *(rule for block in config.blocks.values() for rule in _rules_of(block))]
    if len(rules) > MAX_RULES:
        raise AccessError(f"{path}: {len(rules)} rules with those of all grants, {MAX_RULES} is the most; use patterns")
    size = len(json.dumps([rule.to_dict() for rule in rules]))
    if size > MAX_MESSAGE_BYTES:
        raise AccessError(f"{path}: its rules take {size} bytes, {MAX_MESSAGE_BYTES} is the most; use shorter patterns")


def _rules_of(block: DistributedAccessGrant) -> list[AccessRule]:
    """Return rules as long as those of a grant will be."""
    hashed, owner = HashedPass("argon2id", "x" * _HASH_LENGTH), "x" * MAX_NAME
    return [
        AccessRule(hashed, grant.cred_level, grant.get_scope_spec(), block.name, owner, grant.lockout_levels)
        for grant in block.grants
    ]


def read_yaml(path: Path) -> Any:
    """Return what YAML makes of the file. Blocks.

    Raises:
        AccessError: it cannot be read, or is no YAML; where, but not what: the line may hold a password.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AccessError(f"cannot read {path}: {error.strerror}; name the file with --config-file") from None
    if len(content) > MAX_BYTES:
        raise AccessError(f"{path} is longer than {MAX_BYTES} bytes, so it is no access director's configuration")
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise AccessError(f"{path} is not YAML{place}") from None


def may_be_read_by_others(path: Path) -> bool:
    """Tell whether everybody on this host can read the passwords."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
