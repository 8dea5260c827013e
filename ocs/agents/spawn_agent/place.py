"""Where components are: what the router tells of them, in words and as seen from this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix
from ocs.errors import SpawnError

__all__ = ["Directory", "Place", "named", "where"]


class Directory(Protocol):
    """Knows where components are; see `ocs.components.locator.Locator`."""

    def find(self, component: ComponentId) -> Description | None:
        """Return where a component is; None if it is nowhere."""

    def of_type(self, component_type: str) -> list[Description]:
        """Return all components of a type."""


def named(component: ComponentId) -> str:
    """Return a component as operators call it."""
    return f"{component.component_type} {component.prefix}"


def where(found: Description) -> str:
    """Return in words where a component is."""
    known = found.metadata
    words = [
        f"on {known['host']}" if known.get("host") else "",
        f"process {known['pid']}" if known.get("pid") else "",
        f"started by {known['agentPrefix']}" if known.get("agentPrefix") else "",
    ]
    return ", ".join(word for word in words if word) or found.uri


@dataclass(frozen=True)
class Place:
    """One spawn agent's place among the components."""

    prefix: Prefix
    """The spawn agent's own."""
    host: str
    """What components of this machine say is theirs."""
    directory: Directory
    is_complete: Callable[[], bool]
    """Whether all that is registered is known."""

    def is_process(self, found: Description | None, pid: int | None) -> bool:
        """Tell whether a component is this very process; one that does not say which it is counts as any."""
        if found is None:
            return False
        return bool(found.metadata.get("pid", pid) == pid and found.metadata.get("host", self.host) == self.host)

    def pid_here(self, found: Description) -> int:
        """Return the process of a component, for one who is to kill it.

        Raises:
            SpawnError: it is another machine's, another spawn agent's, or nobody knows.
        """
        name, known = named(found.component), found.metadata
        host, pid = known.get("host"), known.get("pid")
        if host and host != self.host:
            raise SpawnError(f"{name} is on another machine: on {host}, and this is {self.host}")
        if other := self._other_agent(known):
            raise SpawnError(f"{name} was started by another spawn agent: ask {other} to kill it, not {self.prefix}")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 1:
            raise SpawnError(f"{name} does not say which process it is: it has no pid that could be killed")
        return pid

    def _other_agent(self, known: Mapping[str, Any]) -> str:
        prefix = str(known.get("agentPrefix") or "")
        others = [str(machine.component.prefix) for machine in self.directory.of_type("Machine")]
        return prefix if prefix != str(self.prefix) and prefix in others else ""

    def also_as(self, pid: int, component: ComponentId) -> str:
        """Return in words what else a process has registered as; empty if as nothing."""
        found = [
            named(other.component)
            for component_type in ("SequenceComponent", "Sequencer", "Service", "Machine")
            for other in self.directory.of_type(component_type)
            if other.component != component and other.metadata.get("pid") == pid and self.is_process(other, pid)
        ]
        return ", ".join(found)
