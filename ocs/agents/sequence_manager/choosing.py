"""What a configuration or a provision comes to, from what is there now: pure decisions over what the router knows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ocs.agents.sequence_manager.obs_modes import ObsMode, ObsModes, SequencerWanted
from ocs.components.names import Prefix

__all__ = [
    "ProvisionPlan",
    "Situation",
    "Unassigned",
    "assign",
    "component_names",
    "conflicts",
    "mode_states",
    "plan_provision",
    "resource_states",
]

FALLBACK = "ESW"
"""Sequence components of this subsystem take sequencers of any."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the router knows."""

    agents: frozenset[Prefix] = frozenset()
    """The SpawnAgents."""
    components: Mapping[Prefix, Prefix | None] = field(default_factory=dict)
    """Each sequence component, and the SpawnAgent that started it; None: nobody."""
    sequencers: Mapping[Prefix, Prefix | None] = field(default_factory=dict)
    """Each sequencer, and the sequence component that it is in; None: unknown."""

    def idle(self) -> list[Prefix]:
        """Return the sequence components that have nothing loaded, in order."""
        busy = set(self.sequencers.values())
        return sorted(prefix for prefix in self.components if prefix not in busy)

    def loaded_in(self, component: Prefix) -> Prefix | None:
        """Return the sequencer that a sequence component has loaded."""
        return next((sequencer for sequencer, place in self.sequencers.items() if place == component), None)

    def of_mode(self, mode: str) -> list[Prefix]:
        """Return the sequencers that there are of an observing mode, in order."""
        return sorted(prefix for prefix in self.sequencers if prefix.name == mode)


def conflicts(wanted: ObsMode, modes: ObsModes, situation: Situation) -> dict[str, list[str]]:
    """Return the resources that a mode needs and others hold.

    A mode holds its resources as long as one of its sequencers is there.

    Args:
        wanted: the mode that is to be configured.
        modes: all that are known.
        situation: what there is.

    Returns:
        Resource → the modes that hold it.
    """
    holders: dict[str, list[str]] = {}
    for other in modes.values():
        if other.name != wanted.name and situation.of_mode(other.name):
            for resource in set(wanted.resources).intersection(other.resources):
                holders.setdefault(resource, []).append(other.name)
    return holders


@dataclass(frozen=True, slots=True)
class Unassigned:
    """Sequencers for which there is no idle sequence component."""

    sequencers: tuple[SequencerWanted, ...]


def assign(wanted: Iterable[SequencerWanted], idle: Collection[Prefix]) -> dict[SequencerWanted, Prefix] | Unassigned:
    """Choose a sequence component for each sequencer: one of its own subsystem, else one of ESW.

    Args:
        wanted: the sequencers.
        idle: the sequence components to choose from.
    """
    left, chosen, rest = sorted(idle), {}, []
    for sequencer in wanted:
        own = next((prefix for prefix in left if prefix.subsystem == sequencer.prefix.subsystem), None)
        if own is None:
            rest.append(sequencer)
        else:
            chosen[sequencer] = own
            left.remove(own)
    spare = [prefix for prefix in left if prefix.subsystem == FALLBACK]
    if len(rest) > len(spare):
        return Unassigned(tuple(rest[len(spare) :]))
    return {**chosen, **dict(zip(rest, spare, strict=False))}


@dataclass(frozen=True, slots=True)
class ProvisionPlan:
    """What is to be done for a provision."""

    spawn: Mapping[Prefix, Sequence[str]]
    """SpawnAgent → names of sequence components to be spawned there."""
    kill: Sequence[Prefix]
    kept: Sequence[Prefix]
    busy: Mapping[Prefix, Prefix]
    """Sequence components that are too many and have a sequencer loaded: they stay."""
    unknown: Sequence[Prefix]
    """SpawnAgents that are not there."""


def plan_provision(wanted: Mapping[Prefix, int], situation: Situation, *, force: bool = False) -> ProvisionPlan:
    """Return what is to be killed and spawned so that each SpawnAgent has as many sequence components as wanted.

    Idle ones are killed first, those with the highest names before others; those with a sequencer only where forced.
    Agents that are not named keep what they have.

    Args:
        wanted: SpawnAgent → how many.
        situation: what there is.
        force: kill those with a sequencer too.
    """
    spawn: dict[Prefix, Sequence[str]] = {}
    kill: list[Prefix] = []
    kept: list[Prefix] = []
    busy: dict[Prefix, Prefix] = {}
    for agent, number in sorted(wanted.items()):
        own = _in_order(prefix for prefix, by in situation.components.items() if by == agent)
        occupied = [prefix for prefix in own if situation.loaded_in(prefix)]
        by_worth = [*occupied, *(prefix for prefix in own if prefix not in occupied)]
        kept += by_worth[:number]
        for prefix in by_worth[number:]:
            sequencer = situation.loaded_in(prefix)
            if sequencer is None or force:
                kill.append(prefix)
            else:
                busy[prefix] = sequencer
        if agent in situation.agents and number > len(own):
            spawn[agent] = component_names(agent, number - len(own), situation.components)
    unknown = [agent for agent, number in sorted(wanted.items()) if agent not in situation.agents and number]
    return ProvisionPlan(spawn, kill, kept, busy, unknown)


def component_names(agent: Prefix, number: int, taken: Collection[Prefix]) -> list[str]:
    """Return names for new sequence components of a SpawnAgent: its own, numbered, as far as they are free."""
    free = (name for n in count(1) if Prefix(agent.subsystem, name := f"{agent.name}_{n}") not in taken)
    return [next(free) for _ in range(number)]


def _in_order(prefixes: Iterable[Prefix]) -> list[Prefix]:
    """Sort so that number 10 comes after 9."""
    return sorted(prefixes, key=lambda prefix: (prefix.subsystem, len(prefix.name), prefix.name))


def mode_states(modes: ObsModes, situation: Situation) -> dict[str, dict[str, Any]]:
    """Return what is told of each mode: whether it is configured, can be, or what keeps it from that."""
    return {name: _mode_state(mode, modes, situation) for name, mode in modes.items()}


def _mode_state(mode: ObsMode, modes: ObsModes, situation: Situation) -> dict[str, Any]:
    missing = [each for each in mode.sequencers if each.prefix not in situation.sequencers]
    held = conflicts(mode, modes, situation)
    choice = assign(missing, situation.idle())
    lacking = [str(each.prefix) for each in choice.sequencers] if isinstance(choice, Unassigned) else []
    if not missing:
        state = "configured"
    elif len(missing) < len(mode.sequencers):
        state = "in part"
    else:
        state = "blocked" if held or lacking else "configurable"
    return {
        "state": state,
        "resources": list(mode.resources),
        "sequencers": [str(each.prefix) for each in mode.sequencers],
        "missing": [str(each.prefix) for each in missing],
        "resources_held": held,
        "no_component_for": lacking,
    }


def resource_states(modes: ObsModes, situation: Situation) -> list[dict[str, Any]]:
    """Return each resource that a mode knows, and the modes that hold it now."""
    names = sorted({resource for mode in modes.values() for resource in mode.resources})
    active = [mode for mode in modes.values() if situation.of_mode(mode.name)]
    return [{"resource": name, "held_by": [mode.name for mode in active if name in mode.resources]} for name in names]
