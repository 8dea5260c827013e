"""What is weak in an Access Director's configuration, said with its remedy."""

from collections.abc import Iterator

from ocs.access.director import AccessDirectorConfig, AccessPasswordItem, DistributedAccessGrant
from ocs.access.fields import CredLevel
from ocs.access.passwords import DEFAULT_HASH, HashedPass
from ocs.access.slow_hashes import SLOW_HASHES

__all__ = ["OLD_PEERS", "director_weaknesses"]

SHORT = 8
"""Characters of a password below which guessing it is no art."""

OLD_PEERS = (
    "distrib_hashfunc is {name}: who hears the rules finds most passwords in seconds. Only agents of ocs 0.12.1 need "
    f"md5; with none of them left, take the line out ({DEFAULT_HASH})"
)
"""What is said of a short hash on the wire."""


def director_weaknesses(config: AccessDirectorConfig) -> list[str]:
    """Return what is legal and weak in a configuration, a line each; no line repeats a password."""
    return [*_of_the_wire(config), *_of_passwords(config), *_of_blocks(config)]


def _of_the_wire(config: AccessDirectorConfig) -> Iterator[str]:
    if config.distrib_hashfunc not in SLOW_HASHES:
        yield OLD_PEERS.format(name=config.distrib_hashfunc)


def _of_passwords(config: AccessDirectorConfig) -> Iterator[str]:
    for i, item in enumerate(config.passwords):
        for level, password in item.passwords().items():
            stored = _stored(password, config.passwords_block_default_hashfunc)
            yield from _of_one(f"passwords[{i}].password_{level.value}", stored, level)
    if config.passwords and not any(_lets_all_in(item) for item in config.passwords):
        yield "no rule gives everybody level 1, so that without a password nothing can be started at all"


def _of_blocks(config: AccessDirectorConfig) -> Iterator[str]:
    for block in config.exclusive_access_blocks:
        where = f"exclusive access block {block.name!r:.80}"
        if block.stored_password().free:
            yield f"{where} has no password: anybody who reaches the director may lock others out with it"
        else:
            yield from _of_one(where, block.stored_password(), CredLevel.ADVANCED)
        if not _does_something(block):
            yield f"{where} neither gives nor takes anything"


def _of_one(where: str, stored: HashedPass, level: CredLevel) -> Iterator[str]:
    if stored.free:
        if level > CredLevel.BASIC:
            yield f"{where} is empty: everybody has level {level}"
    elif stored.hash == "none":
        yield f"{where} stands in clear; put there what `ocs access hash` prints"
        if len(stored.value) < SHORT:
            yield f"{where} has fewer than {SHORT} characters"
    elif stored.hash == "md5":
        yield f"{where} is a short, unsalted hash (md5); put there what `ocs access hash` prints"


def _stored(password: str | HashedPass, default_hash: str) -> HashedPass:
    if isinstance(password, HashedPass):
        return password
    return HashedPass(default_hash, password) if password else HashedPass.create_free()


def _lets_all_in(item: AccessPasswordItem) -> bool:
    return item.default and any(password == "" for password in item.passwords().values())


def _does_something(block: DistributedAccessGrant) -> bool:
    return any(grant.cred_level or grant.lockout_levels for grant in block.grants)
