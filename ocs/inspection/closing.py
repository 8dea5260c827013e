"""What a closed site needs beside its keys: addresses with TLS, and on each machine the keys of what runs there."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ocs.errors import KeysError
from ocs.inspection.problems import Keys, Problem, error
from ocs.keys.finding import key_path
from ocs.scf.model import HostConfig, HubConfig, SiteConfig
from ocs.scf.survey import Described
from ocs.site_config import keys_folder

__all__ = ["check_keys_here", "check_tls"]

_WITH_TLS = {"ws://": "wss://", "http://": "https://"}


def check_tls(site: SiteConfig) -> Iterator[Problem]:
    """Look at whether those who have keys reach the router by TLS: a closed router takes nothing else.

    Args:
        site: the site; an open one is passed over.
    """
    if site.hub.keys:
        yield from _without_tls(site.hub, ("hub",))
    for name, host in site.hosts.items():
        if host.keys or site.hub.keys:
            yield from _without_tls(host, ("hosts", name))


def _without_tls(section: HubConfig | HostConfig, place: Keys) -> Iterator[Problem]:
    for key in ("wamp_server", "wamp_http"):
        url = getattr(section, key) or ""
        for plain, closed in _WITH_TLS.items():
            if url.startswith(plain):
                message = f"{key}: the site is closed by keys, and its router takes TLS alone: write {closed}"
                yield error(f"{message}{url.removeprefix(plain)}", (*place, key))


def check_keys_here(site: SiteConfig, host: HostConfig, instances: Iterable[Described]) -> Iterator[Problem]:
    """Look for the keys of what this machine runs; what is wrong with those that are there `ocs keys check` tells.

    Args:
        site: the site; an open one is passed over.
        host: this machine's section of it.
        instances: those that this machine runs.
    """
    named = keys_folder(site, host)
    if named is None:
        return
    place = ("hosts", str(host.name), "keys") if host.keys else ("hub", "keys")
    if not os.path.isdir(named):  # noqa: PTH112 - of one that may not be looked at, too
        yield error(f"no folder {named}; `ocs keys init` makes it, on the router's machine", place)
        return
    for one in instances:
        if not any(str(word).startswith("--key-file") for word in one.instance.arguments):
            yield from _key_of(one, Path(named))


def _key_of(one: Described, folder: Path) -> Iterator[Problem]:
    try:
        path = key_path(folder, one.instance.instance_id)
        missing = not path.exists()
    except KeysError as mistake:
        yield error(str(mistake), (*one.keys, "instance-id"))
    except OSError:  # it is of another account
        return
    else:
        if missing:
            remedy = "`ocs keys init` on the router's machine makes it; copy it here"
            yield error(f"no key {path}, without which the router refuses it: {remedy}", one.keys)
