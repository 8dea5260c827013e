"""What is wrong with a keys folder, and with the table beside the site file."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ocs.errors import KeysError
from ocs.keys.certificates import AUTHORITY_KEY_FILE, RENEW_BEFORE, SERVER_FILE, SERVER_KEY_FILE, Certificate
from ocs.keys.finding import AUTHORITY_FILE, PRIVATE_FOLDER, key_path
from ocs.keys.signing import SigningKey
from ocs.keys.site import identities_of, router_names
from ocs.keys.table import OWN_ADDRESS_ROLES, TABLE_FILE, Identity, SiteTable
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["ERROR", "NOTE", "WARNING", "Finding", "check_folder", "shown_time"]

ERROR: Final = "error"
"""Something will not work, or is not safe."""
WARNING: Final = "warning"
"""Something is probably not as it was meant, or soon will not work."""
NOTE: Final = "note"
"""Something that one may want to know."""

_SOON: Final = 86400.0


@dataclass(frozen=True)
class Finding:
    """One thing that is to be told.

    Args:
        level: `ERROR`, `WARNING` or `NOTE`.
        message: what is wrong with what, and the remedy, in one line.
    """

    level: str
    message: str


def check_folder(
    folder: Path, now: float, site: SiteConfig | None = None, host: HostConfig | None = None
) -> list[Finding]:
    """Return what is wrong with a keys folder, be it the router's or one that has a machine's own keys alone.

    Args:
        folder: the folder.
        now: unix s.
        site: the site, where there is a site file.
        host: this machine's section of it, where there is one.
    """
    if not folder.is_dir():
        return [Finding(ERROR, f"no folder {folder}; `ocs keys init` makes it, on the router's machine")]
    is_routers = (folder / TABLE_FILE).exists()
    table, found = _table(folder) if is_routers else (None, [Finding(NOTE, _not_the_routers(folder))])
    found += _open_secrets(folder)
    found += _private_keys(folder, table, now)
    found += _certificate(folder, site, now) if is_routers else _authority(folder)
    if site is not None and table is not None:
        found += _beside_site(table, site)
    if host is not None and not is_routers:
        found += _missing_here(folder, host)
    return found


def shown_time(at: float) -> str:
    """Return a time as a person reads it, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _not_the_routers(folder: Path) -> str:
    return f"{folder} has no {TABLE_FILE}: it is not the router's own, so what is checked is what is here"


def _table(folder: Path) -> tuple[SiteTable | None, list[Finding]]:
    try:
        return SiteTable.read(folder), []
    except KeysError as error:
        return None, [Finding(ERROR, str(error))]


def _open_secrets(folder: Path) -> Iterator[Finding]:
    named = [folder / AUTHORITY_KEY_FILE, folder / SERVER_KEY_FILE]
    for path in (*named, *sorted((folder / PRIVATE_FOLDER).glob("*.key"))):
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding(ERROR, f"{path} can be used by other accounts; chmod 600 {path}")
    for path, mode in ((folder / TABLE_FILE, 0o644), (folder, 0o755)):
        if path.exists() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield Finding(ERROR, f"other accounts can write {path}, and so admit themselves; chmod {mode:o} {path}")


def _private_keys(folder: Path, table: SiteTable | None, now: float) -> Iterator[Finding]:
    for path in sorted((folder / PRIVATE_FOLDER).glob("*.key")):
        try:
            key = SigningKey.read(path)
        except KeysError as error:
            yield Finding(ERROR, str(error))
            continue
        if table is not None:
            yield from _compared(path, key.public, table.identities.get(path.stem), now)


def _compared(path: Path, public: str, identity: Identity | None, now: float) -> Iterator[Finding]:
    if identity is None:
        yield Finding(ERROR, f"{path} is of nobody who may connect: delete it")
        return
    known = next((key for key in identity.keys if key.public == public), None)
    if known is None or not known.holds(now):
        yield Finding(
            ERROR, f"{path} is not the key that the router admits: copy it anew, or `ocs keys rotate {path.stem}`"
        )
    elif known.until is not None and known.until - now < _SOON:
        yield Finding(WARNING, f"{path} ends {shown_time(known.until)}: it has been replaced; copy the new one here")


def _certificate(folder: Path, site: SiteConfig | None, now: float) -> Iterator[Finding]:
    path = folder / SERVER_FILE
    try:
        found = Certificate.read(folder)
    except KeysError as error:
        yield Finding(ERROR, str(error))
        return
    if found is None:
        yield Finding(ERROR, f"no {path}: the router cannot start; `ocs keys init` makes it")
        return
    remedy = "`ocs keys init`" if found.is_own else "`ocs keys init --cert FILE --cert-key FILE`"
    if found.until - now < RENEW_BEFORE:
        level, ends = (ERROR, "ended") if found.until <= now else (WARNING, "ends")
        yield Finding(level, f"{path} {ends} {shown_time(found.until)}: {remedy}, then restart the router")
    lacking = found.lacks(router_names(site)) if site is not None else ()
    if lacking:
        names = ", ".join(lacking)
        yield Finding(ERROR, f"{path} is not for {names}, by which the site file has the router: {remedy}")


def _authority(folder: Path) -> Iterator[Finding]:
    if not (folder / AUTHORITY_FILE).exists():
        path = folder / AUTHORITY_FILE
        yield Finding(
            NOTE, f"no {path}: programs take the router's certificate only if this system knows its authority"
        )


def _beside_site(table: SiteTable, site: SiteConfig) -> Iterator[Finding]:
    try:
        wanted = {each.name: each for each in identities_of(site)}
    except KeysError as error:
        yield Finding(ERROR, str(error))
        return
    for name, each in wanted.items():
        yield from _beside_wanted(table.identities.get(name), each)
    spare = [
        each.name for each in table.identities.values() if each.role in OWN_ADDRESS_ROLES and each.name not in wanted
    ]
    for name in sorted(spare):
        yield Finding(WARNING, f"{name} may connect, and is no instance of the site file: `ocs keys revoke {name}`?")


def _beside_wanted(known: Identity | None, wanted: Identity) -> Iterator[Finding]:
    if known is None:
        level = ERROR if wanted.role in OWN_ADDRESS_ROLES else NOTE
        yield Finding(level, f"{wanted.name} has no key; `ocs keys init` makes it")
    elif known.role != wanted.role:
        yield Finding(
            ERROR, f"{known.name} has the role {known.role}, and needs {wanted.role}: `ocs keys init` says how"
        )
    elif missing := _without(wanted.instances, known.instances):
        yield Finding(ERROR, f"{known.name} may not use {', '.join(missing)}; `ocs keys init` mends that")


def _without(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    there = set(known)
    return [each for each in wanted if each not in there]


def _missing_here(folder: Path, host: HostConfig) -> Iterator[Finding]:
    for instance in host.instances:
        path = key_path(folder, instance.instance_id)
        if not path.exists():
            yield Finding(
                ERROR, f"no {path}: copy it from the router's keys folder, or {instance.instance_id} cannot connect"
            )
