"""What keys a site needs: one for each instance of its site file, and those of who operates and looks on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from ocs.errors import KeysError
from ocs.keys.finding import CLIENT
from ocs.keys.table import Identity
from ocs.scf.model import HostConfig, InstanceConfig, SiteConfig

__all__ = [
    "DIRECTOR_CLASS",
    "OBSERVER",
    "identities_of",
    "keys_folder_of",
    "named_folder",
    "router_names",
]

OBSERVER: Final = "observer"
"""The name whose key programs take that only look on."""

DIRECTOR_CLASS: Final = "AccessDirector"

_FOLDER: Final = "keys"
_SPAWNER: Final = "SpawnAgent"
_COMPONENT_CLASSES: Final = frozenset({_SPAWNER, "SequenceManager", "SequenceComponent"})
_COMPONENTS: Final = "components"
_TAKEN: Final = {
    **dict.fromkeys((CLIENT, OBSERVER), "it is the name of people's key"),
    _COMPONENTS: "all components are below this address",
}
_SPAWNED: Final = ("sequence-manager", "seqcomp-*")
"""What a spawn agent starts without a description in the site file; these components use its key."""


def identities_of(site: SiteConfig) -> list[Identity]:
    """Return who is to have a key: each instance, and the two for people.

    Args:
        site: the site.

    Raises:
        KeysError: an instance-id cannot be a name, or is that of a key for people.
    """
    agents = [_identity(each, host) for host in site.hosts.values() for each in host.instances]
    return [*agents, Identity(CLIENT, "client"), Identity(OBSERVER, "observer")]


def _identity(instance: InstanceConfig, host: HostConfig) -> Identity:
    name, role = instance.instance_id, "director" if instance.agent_class == DIRECTOR_CLASS else "agent"
    if name in _TAKEN:
        raise KeysError(f"an instance cannot be called {name!r} at a closed site: {_TAKEN[name]}; rename it")
    return Identity(name, role, tuple(dict.fromkeys([name, *_further(instance, host)])))


def _further(instance: InstanceConfig, host: HostConfig) -> Iterator[str]:
    """Give the other addresses that an instance uses: those of components."""
    if instance.agent_class in _COMPONENT_CLASSES:
        yield _COMPONENTS
    if instance.agent_class == _SPAWNER:
        yield from _SPAWNED
    elif any(other.agent_class == _SPAWNER for other in host.instances):
        yield f"{_COMPONENTS}.Agent.OCS.{quote(instance.instance_id, safe='')}"


def router_names(site: SiteConfig) -> list[str]:
    """Return the host names and addresses by which programs of the site reach its router."""
    urls = [site.hub.wamp_server, site.hub.wamp_http]
    for host in site.hosts.values():
        urls += [host.wamp_server, host.wamp_http]
    found = (urlsplit(url).hostname for url in urls if url)
    return list(dict.fromkeys(name for name in found if name))


def keys_folder_of(site: SiteConfig, host: HostConfig | None = None) -> Path:
    """Return the folder of a site's keys: the one that its site file names, else ``keys`` beside that file.

    Args:
        site: the site.
        host: this machine's section of the file, which may name another folder.
    """
    return named_folder(site, host) or _beside(site) / _FOLDER


def named_folder(site: SiteConfig, host: HostConfig | None = None) -> Path | None:
    """Return the folder of keys that a site file names; None: it names none, so the site is open.

    Args:
        site: the site.
        host: this machine's section of the file, which may name another folder.
    """
    own = host.data.get("keys") if host is not None else None
    named = own or site.hub.data.get("keys")
    return _beside(site) / Path(str(named)).expanduser() if named else None


def _beside(site: SiteConfig) -> Path:
    return Path(site.source_file).parent if site.source_file else Path.cwd()
