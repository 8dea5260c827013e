"""Who spawned which sequence component, and what that has loaded: the answer to ``GetAgentStatus``."""

from collections.abc import Iterable
from typing import Any

from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix

__all__ = ["agent_status"]


def agent_status(
    machines: Iterable[Description], components: Iterable[Description], sequencers: Iterable[Description]
) -> dict[str, Any]:
    """Return the SpawnAgents with their sequence components, all by name.

    Args:
        machines: the SpawnAgents.
        components: the sequence components. One whose SpawnAgent is not there is among those without.
        sequencers: what sequence components have loaded.

    Returns:
        ``agentStatus`` and ``seqCompsWithoutAgent``, as they stand in the answer.
    """
    agents: dict[Prefix, list[dict[str, Any]]] = {each.prefix: [] for each in sorted(_ids(machines))}
    alone: list[dict[str, Any]] = []
    loaded = {each.metadata_prefix("sequenceComponent"): each for each in sequencers}
    for each in sorted(components, key=lambda description: description.component):
        agent = each.metadata_prefix("agentPrefix")
        place = alone if agent is None else agents.get(agent, alone)
        place.append(_component_status(each.component, loaded.get(each.component.prefix)))
    return {
        "agentStatus": [
            {"agentId": ComponentId(prefix, "Machine").to_json(), "seqCompsStatus": found}
            for prefix, found in agents.items()
        ],
        "seqCompsWithoutAgent": alone,
    }


def _ids(descriptions: Iterable[Description]) -> list[ComponentId]:
    return [each.component for each in descriptions]


def _component_status(component: ComponentId, sequencer: Description | None) -> dict[str, Any]:
    return {
        "seqCompId": component.to_json(),
        "sequencerLocation": [] if sequencer is None else [sequencer.location()],
    }
