"""What each request comes to: which SpawnAgent it is for, and what that is asked."""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ocs.agent_service.location import Location
from ocs.agent_service.machines import CONTAINERS, KILL, SPAWN, Answer, Machines, Procedure, failed
from ocs.agent_service.models import (
    GetAgentStatus,
    KillComponent,
    Request,
    SpawnAgent,
    SpawnContainers,
    SpawnSequenceComponent,
    SpawnSequenceManager,
)
from ocs.agent_service.status import agent_status
from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix
from ocs.errors import LocationError

__all__ = ["Handling"]

KNOWN_WITHIN: Final = 2.0
"""How long a request waits until it is known what is registered, in seconds."""


class Handling:
    """Answers requests that are well-formed and allowed.

    Args:
        location: knows what is there.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._machines = Machines(location)
        self._told: Answer | None = None
        location.on_change(self._forget)
        self._handlers: Mapping[type, Callable[[Any], Awaitable[Answer]]] = {
            SpawnSequenceManager: self._spawn_sequence_manager,
            SpawnSequenceComponent: self._spawn_sequence_component,
            SpawnAgent: self._spawn_agent,
            SpawnContainers: self._spawn_containers,
            KillComponent: self._kill_component,
        }

    async def answer(self, request: Request) -> Answer:
        """Do what is asked for.

        Args:
            request: any of them.

        Returns:
            The answer, as JSON has it.
        """
        try:
            await self._know()
            if isinstance(request, GetAgentStatus):
                return self._status()
            return await self._handlers[type(request)](request)
        except LocationError as error:
            told = isinstance(request, GetAgentStatus)
            return {"_type": "LocationServiceError", "reason": str(error)} if told else failed(str(error))

    async def _know(self) -> None:
        if not await self._location.ready(KNOWN_WITHIN):
            why = self._location.trouble or "the router has not told all of it yet"
            raise LocationError(f"what is registered is not known: {why}")

    def _status(self) -> Answer:
        """Return the status; it is made again only when a component has come or gone."""
        if self._told is None:
            kinds = ("Machine", "SequenceComponent", "Sequencer")
            self._told = {"_type": "Success", **agent_status(*(self._location.of_type(kind) for kind in kinds))}
        return self._told

    def _forget(self) -> None:
        self._told = None

    # Spawning

    async def _spawn_sequence_component(self, request: SpawnSequenceComponent) -> Answer:
        prefix = f"{Prefix.parse(request.agentPrefix).subsystem}.{request.componentName}"
        wanted = {"kind": "SequenceComponent", "componentName": request.componentName}
        return await self._spawn(request, wanted, f"SequenceComponent {prefix}")

    async def _spawn_sequence_manager(self, request: SpawnSequenceManager) -> Answer:
        path = {"obsModeConfigPath": request.obsModeConfigPath, "isConfigLocal": request.isConfigLocal}
        return await self._spawn(request, {"kind": "SequenceManager", **path}, "the sequence manager")

    async def _spawn_agent(self, request: SpawnAgent) -> Answer:
        wanted = {"kind": "Agent", "instanceId": request.instanceId}
        return await self._spawn(request, wanted, f"the agent {request.instanceId}")

    async def _spawn_containers(self, request: SpawnContainers) -> Answer:
        wanted = {"hostConfigPath": request.hostConfigPath, "isConfigLocal": request.isConfigLocal}
        return await self._ask(request.agentPrefix, CONTAINERS, wanted, f"all that {request.hostConfigPath} lists")

    async def _spawn(self, request: Any, wanted: dict[str, Any], what: str) -> Answer:
        version = {} if request.version is None else {"version": request.version}
        return await self._ask(request.agentPrefix, SPAWN, {**wanted, **version}, what)

    async def _ask(self, agent: str, procedure: Procedure, wanted: dict[str, Any], what: str) -> Answer:
        machine = self._location.find(ComponentId(Prefix.parse(agent), "Machine"))
        if machine is None:
            return failed(f"there is no SpawnAgent {agent}; there {self._who()}")
        return await self._machines.ask(machine, procedure, wanted, what)

    def _who(self) -> str:
        names = [str(machine.component.prefix) for machine in self._location.of_type("Machine")]
        return f"are: {', '.join(names)}" if names else "is none at all"

    # Killing

    async def _kill_component(self, request: KillComponent) -> Answer:
        component = request.componentId.component()
        found = self._location.find(component)
        if found is None:
            return failed(f"{component} is not registered")
        if _is_this_process(found):
            return failed(f"{component} is the agent service that was asked; it does not kill itself")
        machine = self._machine_of(found)
        if machine is None:
            return failed(f"{component} cannot be killed: {self._why_none(found)}; there {self._who()}")
        return await self._machines.ask(machine, KILL, component.to_json(), str(component))

    def _machine_of(self, found: Description) -> Description | None:
        """Return the SpawnAgent that can kill a component: the one that has started it, else one of its host."""
        others = [machine for machine in self._location.of_type("Machine") if machine.component != found.component]
        parent = [machine for machine in others if str(machine.component.prefix) == found.metadata.get("agentPrefix")]
        host = found.metadata.get("host")
        same_host = [machine for machine in others if host and machine.metadata.get("host") == host]
        return next(iter([*parent, *same_host]), None)

    def _why_none(self, found: Description) -> str:
        parent, host = found.metadata.get("agentPrefix"), found.metadata.get("host")
        gone = f"its SpawnAgent {parent} has gone, and " if parent else ""
        other = "other " if found.component.component_type == "Machine" else ""
        place = f"no {other}SpawnAgent is on its machine {host}" if host else "it does not say on which machine it is"
        return f"{gone}{place}"


def _is_this_process(found: Description) -> bool:
    return found.metadata.get("pid") == os.getpid() and found.metadata.get("host") == socket.gethostname()
