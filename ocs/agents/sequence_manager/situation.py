"""What the descriptions of components come to: the situation to decide from."""

from collections.abc import Iterable

from ocs.agents.sequence_manager.choosing import Situation
from ocs.components.description import Description

__all__ = ["situation_of"]


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
        {each.component.prefix: each.metadata_prefix("agentPrefix") for each in components},
        {each.component.prefix: each.metadata_prefix("sequenceComponent") for each in sequencers},
    )
