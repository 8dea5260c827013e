"""What the descriptions of components come to: the situation to decide from, and the status that is told."""

from collections.abc import Iterable, Sequence
from typing import Any

from ocs.agents.sequence_manager.choosing import Situation
from ocs.components.description import Description
from ocs.components.names import Prefix

__all__ = ["agent_status", "situation_of"]


def situation_of(
    machines: Iterable[Description], components: Iterable[Description], sequencers: Iterable[Description]
) -> Situation:
    """Return the situation.

    Args:
        machines: the SpawnAgents.
        components: the sequence components.
        sequencers: the sequencers.
    """
    return Situation(
        frozenset(machine.component.prefix for machine in machines),
        {each.component.prefix: _prefix(each, "agentPrefix") for each in components},
        {each.component.prefix: _prefix(each, "sequenceComponent") for each in sequencers},
    )


def _prefix(description: Description, key: str) -> Prefix | None:
    """Return a prefix that a component says of itself; None where it says none that is one."""
    try:
        return Prefix.parse(description.metadata[key])
    except (KeyError, ValueError, TypeError, AttributeError):  # metadata are somebody else's words
        return None


def agent_status(
    machines: Iterable[Description], components: Iterable[Description], sequencers: Sequence[Description]
) -> dict[str, Any]:
    """Return the SpawnAgents with their sequence components and what these have loaded, as `GetAgentStatus` does.

    Args:
        machines: the SpawnAgents.
        components: the sequence components.
        sequencers: the sequencers.
    """
    locations = {_prefix(each, "sequenceComponent"): each.location() for each in sequencers}
    told: dict[Prefix | None, list[dict[str, Any]]] = {}
    known = sorted(machine.component for machine in machines)
    prefixes = {machine.prefix for machine in known}
    for each in sorted(components, key=lambda description: description.component):
        agent = _prefix(each, "agentPrefix")
        place = locations.get(each.component.prefix)
        entry = {"seqCompId": each.component.to_json(), "sequencerLocation": [] if place is None else [place]}
        told.setdefault(agent if agent in prefixes else None, []).append(entry)
    return {
        "agentStatus": [
            {"agentId": machine.to_json(), "seqCompsStatus": told.get(machine.prefix, [])} for machine in known
        ],
        "seqCompsWithoutAgent": told.get(None, []),
    }
