"""What reading the file anew would do to what runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocs.inspection.managers import MANAGER_CLASS
from ocs.scf.changes import Change, changes
from ocs.scf.model import HostConfig, InstanceConfig, SiteConfig

__all__ = ["HostChange", "compare_hosts", "compare_sites", "compare_with_running", "managed", "running_instances"]


@dataclass(frozen=True, slots=True)
class HostChange:
    """A change, and where."""

    host: str
    change: Change
    before: str = ""
    """Who had the instance: ``host`` or ``docker``; empty: nobody, or nobody knows."""
    after: str = ""
    """Who is to have it."""

    @property
    def effect(self) -> str:
        """What a HostManager will do, in words."""
        change = self.change
        if change.kind == "added":
            return "would be added"
        if change.kind == "removed":
            return "would be ended and forgotten"
        if self.before != self.after:
            return f"would be ended, and started by {self.after}"
        if change.restart_required:
            return f"needs a restart ({', '.join(change.what)})"
        return f"is kept as it runs ({', '.join(change.what)})"


def managed(host: HostConfig | None) -> list[InstanceConfig]:
    """Return the instances of a host that a HostManager keeps."""
    instances = host.instances if host is not None else []
    return [one for one in instances if one.manage != "ignore" and one.agent_class != MANAGER_CLASS]


def compare_sites(old: SiteConfig, new: SiteConfig) -> list[HostChange]:
    """Return what leads from one reading of a site to another, host by host."""
    names = dict.fromkeys([*new.hosts, *old.hosts])
    return [change for name in names for change in compare_hosts(name, old.hosts.get(name), new.hosts.get(name))]


def compare_hosts(name: str, old: HostConfig | None, new: HostConfig | None) -> list[HostChange]:
    """Return what leads from one reading of a host to another; None: it is not in that reading."""
    before, after = managed(old), managed(new)
    return [_on_host(name, change, _runners(before), _runners(after)) for change in changes(before, after)]


def _on_host(name: str, change: Change, before: Mapping[str, str], after: Mapping[str, str]) -> HostChange:
    instance_id = change.instance_id
    return HostChange(name, change, before.get(instance_id, ""), after.get(instance_id, ""))


def _runners(instances: Iterable[InstanceConfig]) -> dict[str, str]:
    return {one.instance_id: one.manage.partition("/")[0] for one in instances}


def compare_with_running(name: str, host: HostConfig, child_states: Sequence[Mapping[str, Any]]) -> list[HostChange]:
    """Return what a reload would change, going by what a HostManager says of itself.

    Args:
        name: of the host.
        host: as it would be read.
        child_states: of the running HostManager. They do not have the arguments of instances, so that a change of
            these alone is not found.
    """
    running = running_instances(child_states)
    after = managed(host)
    found = [_compare_one(running.get(one.instance_id), one) for one in after]
    found += [Change("removed", gone) for gone in running if gone not in _runners(after)]
    before = {instance_id: str(state["management"]) for instance_id, state in running.items()}
    return [_on_host(name, change, before, _runners(after)) for change in found if change is not None]


def running_instances(child_states: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the instances that a HostManager keeps, by instance-id."""
    return {str(state.get("instance_id")): state for state in child_states if _is_instance(state)}


def _is_instance(state: Mapping[str, Any]) -> bool:
    """Tell an instance from what is being ended anyway, and from services that no instance claims."""
    return state.get("management") in ("host", "docker") and not str(state.get("agent_class")).startswith("[")


def _compare_one(state: Mapping[str, Any] | None, instance: InstanceConfig) -> Change | None:
    if state is None:
        return Change("added", instance.instance_id)
    pairs = {
        "agent-class": (str(state.get("agent_class")).partition("[")[0], instance.agent_class),
        "manage": (state.get("management"), instance.manage.partition("/")[0]),
        "start-level": (state.get("start_level", instance.start_level), instance.start_level),
        "restart": (state.get("restart", instance.restart), instance.restart),
    }
    what = tuple(key for key, (old, new) in pairs.items() if old != new)
    return Change("changed", instance.instance_id, what) if what else None
