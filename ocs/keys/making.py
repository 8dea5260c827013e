"""Keys are made, taken into the table, replaced and taken out; a program that is killed in between does no harm."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ocs.errors import KeysError
from ocs.keys.certificates import certify, take_given
from ocs.keys.files import CLOSED, FOLDER_CLOSED, locked, new_name, write_whole
from ocs.keys.finding import PRIVATE_FOLDER, key_path
from ocs.keys.signing import SigningKey
from ocs.keys.table import TABLE_FILE, Identity, PublicKey, SiteTable

__all__ = ["DAY", "Given", "Made", "add", "make_site", "revoke", "rotate"]

DAY: Final = 86400.0
"""How long a replaced key is still good unless told otherwise, in s: time to take the new one to its machine."""

_SEED_BYTES: Final = 32


@dataclass(frozen=True)
class Given:
    """A certificate of somebody else's making.

    Args:
        certificate: PEM, with those between it and the authority.
        key: its private key.
        authority: that of the authority; None: one that the system knows.
    """

    certificate: Path
    key: Path
    authority: Path | None = None


@dataclass(frozen=True)
class Made:
    """What has been made.

    Args:
        names: who has got a key.
        kept: who had one already.
        widened: who has got further instances.
        differing: who has another role than wanted, each as a sentence.
        certificate: whether the router has got a new certificate.
    """

    names: tuple[str, ...]
    kept: tuple[str, ...]
    widened: tuple[str, ...]
    differing: tuple[str, ...]
    certificate: bool


def make_site(
    folder: Path, identities: Iterable[Identity], names: Sequence[str], now: float, given: Given | None = None
) -> Made:
    """Make what is missing of a site's keys; what is there stays.

    Args:
        folder: the keys folder, which is made where it is missing.
        identities: who is to have a key; their own `keys` do not count.
        names: host names and addresses by which programs reach the router.
        now: unix s.
        given: the router's certificate, where it is not to be made.

    Raises:
        KeysError: a file is broken, or cannot be written, or a key of somebody is there who may not connect.
    """
    wanted = {each.name: each for each in identities}
    _make_folder(folder)
    with locked(folder):
        table = _settled(folder, SiteTable.read(folder) if (folder / TABLE_FILE).exists() else SiteTable())
        new = [each for name, each in wanted.items() if name not in table.identities]
        for each in new:
            _require_free(folder, each.name)
        certificate = _certify(folder, names, now, given)
        full = _with_new(folder, _with_widened(table, wanted), new, now)
        if full != table or not (folder / TABLE_FILE).exists():
            full.write(folder)
        _settled(folder, full)
    return _made(table, full, wanted, certificate=certificate)


def _with_new(folder: Path, table: SiteTable, new: Iterable[Identity], now: float) -> SiteTable:
    for each in new:
        key = PublicKey(_key_beside(folder, each.name).public)
        table = table.put(replace(each, keys=(key,), made=now))
    return table


def _with_widened(table: SiteTable, wanted: Mapping[str, Identity]) -> SiteTable:
    for name, each in wanted.items():
        known = table.identities.get(name)
        if known is not None and known.role == each.role:
            instances = tuple(dict.fromkeys((*known.instances, *each.instances)))
            table = table.put(replace(known, instances=instances))
    return table


def _made(before: SiteTable, after: SiteTable, wanted: Mapping[str, Identity], *, certificate: bool) -> Made:
    known = {name: each for name, each in before.identities.items() if name in wanted}
    return Made(
        names=tuple(name for name in wanted if name not in known),
        kept=tuple(known),
        widened=tuple(name for name, each in known.items() if after.identities[name] != each),
        differing=tuple(
            _differing(each, wanted[name]) for name, each in known.items() if each.role != wanted[name].role
        ),
        certificate=certificate,
    )


def _differing(known: Identity, wanted: Identity) -> str:
    return (
        f"{known.name} has the role {known.role}, not {wanted.role}: `ocs keys revoke {known.name}`, then "
        "`ocs keys init` change that"
    )


def add(folder: Path, identity: Identity, now: float) -> Path:
    """Make a key for somebody who has none.

    Args:
        folder: the keys folder.
        identity: who; its own `keys` do not count.
        now: unix s.

    Returns:
        The file of the private key.

    Raises:
        KeysError: there is such a one already, or a file cannot be read or written.
    """

    def added(table: SiteTable) -> SiteTable:
        if identity.name in table.identities:
            raise KeysError(f"{identity.name} has a key already; `ocs keys rotate {identity.name}` makes a new one")
        _require_free(folder, identity.name)
        key = _key_beside(folder, identity.name)
        return table.put(replace(identity, keys=(PublicKey(key.public),), made=now))

    _change(folder, added)
    return key_path(folder, identity.name)


def rotate(folder: Path, name: str, now: float, grace: float = DAY) -> Path:
    """Make a new key for somebody; the ones before are good for a while yet.

    Args:
        folder: the keys folder.
        name: whose.
        now: unix s.
        grace: how long the ones before are good, in s.

    Returns:
        The file of the new private key.

    Raises:
        KeysError: there is no such name, or a file cannot be read or written.
    """

    def rotated(table: SiteTable) -> SiteTable:
        identity = _known(table, name)
        end = now + grace
        before = [PublicKey(key.public, end if key.until is None else min(key.until, end)) for key in identity.keys]
        new = _key_beside(folder, name)
        return table.put(replace(identity, keys=(PublicKey(new.public), *(key for key in before if key.holds(now)))))

    _change(folder, rotated)
    return key_path(folder, name)


def revoke(folder: Path, name: str) -> Identity:
    """Take somebody out of the table, so that the router admits him no more and closes his connections.

    Args:
        folder: the keys folder.
        name: who.

    Returns:
        Who it was.

    Raises:
        KeysError: there is no such name, or a file cannot be read or written.
    """
    gone: list[Identity] = []

    def revoked(table: SiteTable) -> SiteTable:
        gone.append(_known(table, name))
        return table.without(name)

    _change(folder, revoked)
    try:
        key_path(folder, name).unlink(missing_ok=True)
    except OSError as error:
        raise KeysError(f"{name} is revoked, but its key cannot be deleted: {error.strerror}") from error
    return gone[0]


def _change(folder: Path, change: Callable[[SiteTable], SiteTable]) -> None:
    """Change the table; new keys that the change has left beside their places are put there once it is written."""
    SiteTable.read(folder)  # says what is missing before a lock file is made
    with locked(folder):
        table = _settled(folder, SiteTable.read(folder))
        changed = change(table)
        changed.write(folder)
        _settled(folder, changed)


def _settled(folder: Path, table: SiteTable) -> SiteTable:
    """Put new keys that are in the table in their places, and delete others: a program was killed between the two."""
    for path in (folder / PRIVATE_FOLDER).glob(".*.key.new"):
        name = path.name.removeprefix(".").removesuffix(".key.new")
        if _is_in(table, name, path):
            _place(folder, name)
        else:
            path.unlink(missing_ok=True)
    return table


def _is_in(table: SiteTable, name: str, path: Path) -> bool:
    try:
        public = SigningKey.read(path, name).public
    except KeysError:
        return False
    identity = table.identities.get(name)
    return identity is not None and any(key.public == public for key in identity.keys)


def _place(folder: Path, name: str) -> None:
    path = key_path(folder, name)
    try:
        new_name(path).replace(path)
    except OSError as error:
        raise KeysError(f"cannot write {path}: {error.strerror}") from error


def _key_beside(folder: Path, name: str) -> SigningKey:
    """Make a key, and leave it beside its place: it belongs there once the table has it."""
    key = SigningKey(os.urandom(_SEED_BYTES), name)
    lines = [f"# private key of {name}: whoever has it may connect in this name", f"# public: {key.public}"]
    text = "\n".join([*lines, key.seed.hex(), ""])
    write_whole(key_path(folder, name), text.encode(), CLOSED, place=False)
    return key


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (folder / PRIVATE_FOLDER).mkdir(mode=FOLDER_CLOSED, exist_ok=True)
    except OSError as error:
        raise KeysError(f"cannot make {folder}: {error.strerror}; give another folder with --keys") from error


def _require_free(folder: Path, name: str) -> None:
    path = key_path(folder, name)
    if path.exists():
        raise KeysError(
            f"{path} is there, but {name} may not connect: was it revoked? Delete or move the file, then try again"
        )


def _certify(folder: Path, names: Sequence[str], now: float, given: Given | None) -> bool:
    if given is None:
        return certify(folder, names, now)
    take_given(folder, given.certificate, given.key, given.authority)
    return True


def _known(table: SiteTable, name: str) -> Identity:
    if name not in table.identities:
        known = ", ".join(sorted(table.identities)) or "nobody"
        raise KeysError(f"no {name!r:.60} in {TABLE_FILE}; it has: {known}")
    return table.identities[name]
