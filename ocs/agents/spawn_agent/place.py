"""Where components are: what the router tells of them, in words and as seen from this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix
from ocs.errors import SpawnError
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost

__all__ = ["ANSWERS_WITHIN", "Directory", "Place"]

ANSWERS_WITHIN: Final = 2.0
"""How long a component may take to answer, in seconds, before it is said that it does not."""

_NOBODY_THERE: Final = "wamp.error.no_such_procedure"


class Directory(Protocol):
    """Knows where components are; see `ocs.components.locator.Locator`."""

    def find(self, component: ComponentId) -> Description | None:
        """Return where a component is; None if it is nowhere."""

    def serves(self, component: ComponentId) -> bool:
        """Tell whether a component is registered, and one that is an agent at its own address too."""

    def of_type(self, component_type: str) -> list[Description]:
        """Return all components of a type."""


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
    call: Callable[[str], "Deferred[Any]"]
    """Calls a procedure over WAMP."""
    others_are_back: Callable[[], bool] = lambda: True
    """Whether the others have had the time to register again, after the router was away."""

    async def answers(self, reactor: Any, found: Description) -> bool:
        """Tell whether a component answers: its registration alone does not say that its machine is still there.

        Args:
            reactor: keeps the time.
            found: the component.
        """
        asking: Deferred[Any] = self.call(found.uri)
        try:
            await asking.addTimeout(ANSWERS_WITHIN, reactor)
        except ApplicationError as error:
            # A refusal is an answer too: an agent's procedure, for one, wants arguments.
            return bool(error.error != _NOBODY_THERE)
        except (TransportLost, DeferredTimeout, CancelledError):
            return False
        return True

    def says_it_is(self, found: Description | None, pid: int) -> bool:
        """Tell whether a component says that it is this very process."""
        return found is not None and "pid" in found.metadata and self.is_process(found, pid)

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
        name, known = str(found.component), found.metadata
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
            str(other.component)
            for component_type in ("SequenceComponent", "Sequencer", "Service", "Machine")
            for other in self.directory.of_type(component_type)
            if other.component != component and self.says_it_is(other, pid)
        ]
        return ", ".join(found)
