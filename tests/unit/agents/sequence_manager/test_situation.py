"""What the descriptions of components come to."""

import pytest

from ocs.agents.sequence_manager.situation import situation_of
from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix


def described(kind, prefix, **metadata):
    return Description(ComponentId(Prefix.parse(prefix), kind), f"root.components.{kind}.{prefix}", metadata)


MACHINES = [described("Machine", "ESW.primary"), described("Machine", "ESW.backup")]
COMPONENTS = [
    described("SequenceComponent", "ESW.primary_1", agentPrefix="ESW.primary"),
    described("SequenceComponent", "ESW.by_hand"),
    described("SequenceComponent", "ESW.orphan", agentPrefix="ESW.gone"),
]
SEQUENCERS = [described("Sequencer", "ESW.dark", sequenceComponent="ESW.primary_1")]


def test_the_situation_has_who_started_what_and_what_is_where():
    found = situation_of(MACHINES, COMPONENTS, SEQUENCERS)
    assert sorted(map(str, found.agents)) == ["ESW.backup", "ESW.primary"]
    assert {str(key): value and str(value) for key, value in found.components.items()} == {
        "ESW.primary_1": "ESW.primary",
        "ESW.by_hand": None,
        "ESW.orphan": "ESW.gone",
    }
    assert {str(key): str(value) for key, value in found.sequencers.items()} == {"ESW.dark": "ESW.primary_1"}


@pytest.mark.parametrize("word", [None, 7, "", "nonsense", []])
def test_a_component_that_talks_nonsense_is_nobodys(word):
    found = situation_of([], [described("SequenceComponent", "ESW.a", agentPrefix=word)], [])
    assert found.components == {Prefix("ESW", "a"): None}
