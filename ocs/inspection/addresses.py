"""Addresses: those of the router, and what agents' addresses are made of."""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from ocs.inspection.problems import Keys, Problem, error, warning
from ocs.scf.model import HostConfig, SiteConfig
from ocs.scf.survey import Described

__all__ = ["check_addresses", "check_names"]

_SCHEMES = {"wamp_server": ("ws", "wss"), "wamp_http": ("http", "https")}
_LIKE = {"wamp_server": "ws://127.0.0.1:8001/ws", "wamp_http": "http://127.0.0.1:8001/call"}

_PART = re.compile(r"[^\s.#]+")
"""What a router takes for one part of an address."""

_LONGEST_ID = 200
"""Characters of an instance-id: files are named after it."""


def check_addresses(site: SiteConfig) -> Iterator[Problem]:
    """Look at where the hub and each host say that the router is."""
    yield from _check_urls(vars(site.hub), ("hub",))
    for name, host in site.hosts.items():
        yield from _check_urls(vars(host), ("hosts", name))
    yield from _check_reach(site)
    root = site.hub.address_root
    if root is not None and not all(_PART.fullmatch(part) for part in root.split(".")):
        yield error(f"'{root}' cannot begin an address: words joined by dots, without blanks and #", _ROOT)


_ROOT: Keys = ("hub", "address_root")


def _check_urls(values: Mapping[str, Any], place: Keys) -> Iterator[Problem]:
    for key, schemes in _SCHEMES.items():
        url = values[key]
        complaint = _complaint(url, schemes) if url else ""
        if complaint:
            yield error(f"{key}: '{url}' {complaint}; it looks like {_LIKE[key]}", (*place, key))


def _complaint(url: str, schemes: tuple[str, ...]) -> str:
    """Return what is wrong with a URL; nothing if nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        return f"is no URL ({problem})"
    if parts.scheme not in schemes:
        return f"has to begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not parts.hostname or any(char.isspace() for char in url):
        return "names no host" if not parts.hostname else "has a blank in it"
    return "has the port 0" if port == 0 else ""


def _check_reach(site: SiteConfig) -> Iterator[Problem]:
    """Warn of hosts that look for the router on themselves, where it is the business of another host."""
    if not any(host.crossbar is not None for host in site.hosts.values()):
        return
    for key in _SCHEMES:
        url = getattr(site.hub, key)
        if not url or not _is_loopback(url):
            continue
        for name, host in site.hosts.items():
            if host.crossbar is None and not getattr(host, key) and _is_apart(host):
                message = f"host '{name}' looks for the router on itself ({key} is {url}), and another host has it: "
                yield warning(f"{message}put that host's name in hub, or a {key} here", ("hosts", name))


def _is_apart(host: HostConfig) -> bool:
    return any(instance.manage != "ignore" for instance in host.instances)


def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a host name, or nothing that is a URL
        return False


def check_names(instances: Iterable[Described]) -> Iterator[Problem]:
    """Look at instance-ids: an address has to be made of them, and names of files."""
    for one in instances:
        name, keys = one.instance.instance_id, (*one.keys, "instance-id")
        if len(name) > _LONGEST_ID:
            yield error(f"an instance-id of {len(name)} characters is too long; {_LONGEST_ID} are the most", keys)
        elif "/" in name or not all(_PART.fullmatch(part) for part in name.split(".")):
            yield error(f"'{name}' cannot be an instance-id: take letters, digits, - and _", keys)
        elif "." in name:
            yield warning(f"'{name}': a dot makes two parts of an address, and patterns such as ..feeds miss it", keys)
