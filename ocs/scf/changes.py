"""What differs between two readings of a site: which instances have come, gone, or been described otherwise."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ocs.scf.model import HostConfig, HubConfig, InstanceConfig

__all__ = ["Change", "changes"]


@dataclass(frozen=True, slots=True)
class Change:
    """One instance that two readings do not agree on.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        instance_id: the instance.
        what: the keys that differ, as the site file spells them: of the instance (``agent-class``, ``arguments``,
            ``manage``, ``start-level``, ``restart``), and those of its host and hub that it runs with
            (``wamp_server``, ``wamp_realm``, ``address_root``, ``access_policy``, ``log-dir``, ``state-dir``,
            ``crossbar_timeout``). Empty unless ``kind`` is ``changed``.
    """

    kind: str
    instance_id: str
    what: tuple[str, ...] = ()

    @property
    def restart_required(self) -> bool:
        """Whether what already runs has to be started anew for the new reading to count."""
        return not _READ_BY_THE_MANAGER.issuperset(self.what)


_READ_BY_THE_MANAGER = frozenset({"manage", "start-level", "restart"})

_OF_THE_INSTANCE: Mapping[str, Callable[[InstanceConfig], Any]] = {
    "agent-class": lambda instance: instance.agent_class,
    "arguments": lambda instance: instance.arguments,
    "manage": lambda instance: instance.manage,
    "start-level": lambda instance: instance.start_level,
    "restart": lambda instance: instance.restart,
}

_OF_ITS_SITE: Mapping[str, Callable[[HostConfig, HubConfig], Any]] = {
    "wamp_server": lambda host, hub: host.wamp_server or hub.wamp_server,
    "wamp_realm": lambda host, hub: host.wamp_realm or hub.wamp_realm,
    "address_root": lambda _host, hub: hub.address_root,
    "access_policy": lambda _host, hub: hub.access_policy,
    "log-dir": lambda host, _hub: host.log_dir,
    "state-dir": lambda host, _hub: host.state_dir,
    "crossbar_timeout": lambda host, _hub: host.crossbar_timeout,
}


def changes(old: Iterable[InstanceConfig], new: Iterable[InstanceConfig]) -> list[Change]:
    """Return what leads from one reading to another.

    Args:
        old: the instances of one host, as they were.
        new: the instances of the same host, as they are to be.

    Returns:
        A change for each instance that differs: those of ``new`` in its order, then those that are gone. Instances that
        know their host and site are compared by what these say for them, too.
    """
    before = {instance.instance_id: instance for instance in old}
    after = {instance.instance_id: instance for instance in new}
    found = [_compare(before.get(name), instance) for name, instance in after.items()]
    gone = [Change("removed", name) for name in before if name not in after]
    return [change for change in found if change is not None] + gone


def _compare(old: InstanceConfig | None, new: InstanceConfig) -> Change | None:
    if old is None:
        return Change("added", new.instance_id)
    what = [key for key, read in _OF_THE_INSTANCE.items() if read(old) != read(new)]
    what += _differing_site(old.parent, new.parent)
    return Change("changed", new.instance_id, tuple(what)) if what else None


def _differing_site(old: Any, new: Any) -> list[str]:
    if not (isinstance(old, HostConfig) and isinstance(new, HostConfig)):
        return []
    hubs = _hub(old), _hub(new)
    return [key for key, read in _OF_ITS_SITE.items() if read(old, hubs[0]) != read(new, hubs[1])]


def _hub(host: HostConfig) -> HubConfig:
    return host.parent.hub if host.parent is not None else HubConfig({})
