"""Who spawned what, and what it has loaded: the answer to GetAgentStatus."""

import pytest

from ocs.agent_service.status import agent_status
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


def test_components_are_with_the_agents_that_spawned_them_or_with_none():
    status = agent_status(MACHINES, COMPONENTS, SEQUENCERS)
    assert status["agentStatus"] == [
        {"agentId": {"prefix": "ESW.backup", "componentType": "Machine"}, "seqCompsStatus": []},
        {
            "agentId": {"prefix": "ESW.primary", "componentType": "Machine"},
            "seqCompsStatus": [
                {
                    "seqCompId": {"prefix": "ESW.primary_1", "componentType": "SequenceComponent"},
                    "sequencerLocation": [SEQUENCERS[0].location()],
                }
            ],
        },
    ]
    without = status["seqCompsWithoutAgent"]
    assert [each["seqCompId"]["prefix"] for each in without] == ["ESW.by_hand", "ESW.orphan"]
    assert without[0]["sequencerLocation"] == []


@pytest.mark.parametrize("word", [None, 7, "", "nonsense", [], {}])
def test_a_component_that_talks_nonsense_has_no_agent_and_no_sequencer(word):
    odd = described("SequenceComponent", "ESW.a", agentPrefix=word)
    status = agent_status([], [odd], [described("Sequencer", "ESW.b", sequenceComponent=word)])
    assert status == {
        "agentStatus": [],
        "seqCompsWithoutAgent": [{"seqCompId": odd.component.to_json(), "sequencerLocation": []}],
    }
