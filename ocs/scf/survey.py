"""Everything that is wrong with a site config, where reading it stops at the first mistake."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from ocs.scf import keys
from ocs.scf.checks import ConfigMistakeError, mapping
from ocs.scf.model import HostConfig, HubConfig, InstanceConfig, SiteConfig, refuse_too_many, shared_ids

__all__ = ["Described", "Survey", "nearest", "survey"]

_Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """One instance that has no mistake in it, and where it is described."""

    host: HostConfig
    number: int
    """Its place in the host's list, from 0."""
    instance: InstanceConfig

    @property
    def keys(self) -> _Keys:
        """What leads to it from the top of the file."""
        return ("hosts", str(self.host.name), "agent-instances", self.number)


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        mistakes: for each of which the site would be refused.
        unknown: keys that mean nothing to ocs.
        site: of all that has no mistake in it; without mistakes, the site.
        instances: those of ``site``.
    """

    mistakes: tuple[ConfigMistakeError, ...]
    unknown: tuple[ConfigMistakeError, ...]
    site: SiteConfig
    instances: tuple[Described, ...]


def survey(data: Any) -> Survey:
    """Look at everything that ``data``, the meaning of a site config file, says.

    Args:
        data: anything at all; a site config is a mapping.
    """
    surveyor = _Surveyor()
    surveyor.look_at_site(data)
    return Survey(tuple(surveyor.mistakes), tuple(surveyor.unknown), surveyor.site, tuple(surveyor.instances))


class _Surveyor:
    """Collects; every ``look_at`` returns what of its part is right, None where nothing is."""

    def __init__(self) -> None:
        self.mistakes: list[ConfigMistakeError] = []
        self.unknown: list[ConfigMistakeError] = []
        self.site = SiteConfig()
        self.instances: list[Described] = []

    def look_at_site(self, data: Any) -> None:
        good = self._look_at(data, "a site config", keys.SITE_KEYS, ())
        if "hub" in good:
            hub = self._look_at(good["hub"] or {}, "hub", keys.HUB_KEYS, ("hub",))
            self.site.hub = HubConfig.from_dict(hub, self.site)
        hosts = {str(name): host for name, host in (good.get("hosts") or {}).items()}
        if self._tried(lambda: refuse_too_many(hosts), ()):
            for name, host in hosts.items():
                self._look_at_host(name, host)
        placed = [(str(one.host.name), one.number, one.instance) for one in self.instances]
        self.mistakes += shared_ids(placed)

    def _look_at_host(self, name: str, data: Any) -> None:
        place = ("hosts", name)
        good = self._look_at(data, "a host", keys.HOST_KEYS, place)
        if good.get("crossbar") is not None:
            crossbar = self._look_at(good["crossbar"], "crossbar", keys.CROSSBAR_KEYS, (*place, "crossbar"))
            good = {**good, "crossbar": crossbar}
        entries = good.get("agent-instances") or []
        host = HostConfig.from_dict({**good, "agent-instances": []}, self.site, name)
        self.site.hosts[name] = host
        for number, entry in enumerate(entries):
            self._look_at_instance(host, number, entry)

    def _look_at_instance(self, host: HostConfig, number: int, data: Any) -> None:
        place = ("hosts", str(host.name), "agent-instances", number)
        before = len(self.mistakes)
        good = self._look_at(data, "an instance", keys.INSTANCE_KEYS, place)
        if len(self.mistakes) == before:
            instance = InstanceConfig.from_dict(good, host)
            host.instances.append(instance)
            self.instances.append(Described(host, number, instance))

    def _look_at(self, data: Any, what: str, readers: Mapping[str, keys.Reader], place: _Keys) -> dict[str, Any]:
        """Note what is wrong with a mapping; return those of its keys that are right."""
        if not self._tried(lambda: mapping(data, what), place):
            return {}
        self.unknown += _unknown_keys(data, readers, place)
        good = {key for key, read in readers.items() if self._tried(partial(read, data, key), place)}
        return {key: data[key] for key in readers if key in good and key in data}

    def _tried(self, read: Callable[[], Any], place: _Keys) -> bool:
        """Return whether ``read`` finds no mistake; note the one it finds."""
        try:
            read()
        except ConfigMistakeError as mistake:
            self.mistakes.append(mistake.below(*place))
            return False
        return True


def _unknown_keys(data: Mapping[str, Any], known: Iterable[str], place: _Keys) -> Iterator[ConfigMistakeError]:
    known = tuple(known)
    for key in data:
        name = str(key)
        if name in known or name.startswith(("x-", ".")):  # the places where people keep what they refer to
            continue
        meant = nearest(name, known)
        hint = f"did you mean '{meant}'?" if meant else f"known here: {', '.join(known)}"
        yield ConfigMistakeError(f"means nothing to ocs; {hint}", (*place, name))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what was probably meant by ``name``; None where nothing is near."""
    spelled = {word.lower().replace("_", "-"): word for word in known}
    found = get_close_matches(name[:100].lower().replace("_", "-"), spelled, n=1, cutoff=0.7)
    return spelled[found[0]] if found else None
