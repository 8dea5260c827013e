"""What each request comes to: which SpawnAgent is called, and with what."""

import asyncio
import os
import socket

import pytest

from ocs.agent_service.handling import Handling
from ocs.agent_service.models import EXAMPLES, request_of
from ocs.agent_service.status import agent_status
from tests.harness.fake_location import FakeLocation, description

SPAWNED, KILLED = {"_type": "Spawned"}, {"_type": "Killed"}


@pytest.fixture
def location():
    made = FakeLocation()
    for name, host in (("machine1", "h1"), ("machine2", "h2")):
        made.add_machine(f"ESW.{name}", host)
        made.answers[f"observatory.{name}.spawn"] = SPAWNED
        made.answers[f"observatory.{name}.kill"] = KILLED
    return made


@pytest.fixture
def answer(location):
    import json

    handling = Handling(location)
    return lambda request: asyncio.run(handling.answer(request_of(json.dumps(request).encode())))


def kill(prefix, kind="SequenceComponent"):
    return {"_type": "KillComponent", "componentId": {"prefix": prefix, "componentType": kind}}


@pytest.mark.parametrize(
    ("kind", "procedure", "asked"),
    [
        ("SpawnSequenceComponent", "spawn", {"kind": "SequenceComponent", "componentName": "primary"}),
        (
            "SpawnSequenceManager",
            "spawn",
            {"kind": "SequenceManager", "obsModeConfigPath": "/site/obs-modes.yaml", "isConfigLocal": True},
        ),
        ("SpawnAgent", "spawn", {"kind": "Agent", "instanceId": "thermometer-1"}),
        ("SpawnContainers", "containers", {"hostConfigPath": "/site/machine1.yaml", "isConfigLocal": True}),
    ],
)
def test_the_machine_is_asked_in_its_own_words(location, answer, kind, procedure, asked):
    done = {"_type": "Completed", "res": {"ESW.primary": SPAWNED}} if procedure == "containers" else SPAWNED
    location.answers["observatory.machine1.containers"] = done
    assert answer(EXAMPLES[kind]) == done
    assert location.calls == [(f"observatory.machine1.{procedure}", asked)]


def test_a_version_is_passed_on_and_a_null_is_none(location, answer):
    answer({**EXAMPLES["SpawnSequenceComponent"], "version": "0.13"})
    answer({**EXAMPLES["SpawnSequenceComponent"], "version": None})
    assert [asked.get("version", "none") for _, asked in location.calls] == ["0.13", "none"]


def test_a_subsystem_in_any_case_is_the_same(location, answer):
    assert answer({**EXAMPLES["SpawnSequenceComponent"], "agentPrefix": "esw.machine1"}) == SPAWNED


def test_a_machine_that_is_not_there(location, answer):
    said = answer({**EXAMPLES["SpawnAgent"], "agentPrefix": "ESW.machine3"})
    assert said == {
        "_type": "Failed",
        "msg": "there is no SpawnAgent ESW.machine3; there are: ESW.machine1, ESW.machine2",
    }


def test_no_machine_at_all(location, answer):
    location.drop("ESW.machine1", "Machine")
    location.drop("ESW.machine2", "Machine")
    assert answer(EXAMPLES["SpawnAgent"])["msg"] == "there is no SpawnAgent ESW.machine1; there is none at all"


class TestKill:
    def test_who_has_spawned_it_is_asked(self, location, answer):
        location.add("ESW.primary", host="h1", pid=5, agentPrefix="ESW.machine2")
        assert answer(kill("ESW.primary")) == KILLED
        asked = {"prefix": "ESW.primary", "componentType": "SequenceComponent"}
        assert location.calls == [("observatory.machine2.kill", asked)]

    @pytest.mark.parametrize("more", [{}, {"agentPrefix": "ESW.gone"}])
    def test_else_one_of_the_same_machine(self, location, answer, more):
        location.add("ESW.primary", host="h2", pid=5, **more)
        assert answer(kill("ESW.primary")) == KILLED
        assert location.calls[0][0] == "observatory.machine2.kill"

    @pytest.mark.parametrize(
        ("metadata", "said"),
        [
            ({}, "it does not say on which machine it is"),
            ({"host": "h3"}, "no SpawnAgent is on its machine h3"),
            (
                {"host": "h3", "agentPrefix": "ESW.machine3"},
                "its SpawnAgent ESW.machine3 has gone, and no SpawnAgent is on its machine h3",
            ),
        ],
    )
    def test_else_nobody(self, location, answer, metadata, said):
        location.add("ESW.primary", **metadata)
        assert answer(kill("ESW.primary")) == {
            "_type": "Failed",
            "msg": f"SequenceComponent ESW.primary cannot be killed: {said}; there are: ESW.machine1, ESW.machine2",
        }
        assert location.calls == []

    def test_what_is_not_registered(self, location, answer):
        assert answer(kill("ESW.primary"))["msg"] == "SequenceComponent ESW.primary is not registered"

    def test_another_type_is_another_component(self, location, answer):
        location.add("ESW.primary", host="h1", pid=5)
        assert answer(kill("ESW.primary", "Sequencer"))["msg"] == "Sequencer ESW.primary is not registered"

    def test_no_spawn_agent_is_asked_to_kill_itself(self, location, answer):
        said = answer(kill("ESW.machine1", "Machine"))["msg"]
        assert "no other SpawnAgent is on its machine h1" in said
        assert location.calls == []

    def test_the_service_does_not_kill_itself(self, location, answer):
        location.add("ESW.agent_service", "Service", pid=os.getpid(), host=socket.gethostname())
        assert "it does not kill itself" in answer(kill("ESW.agent_service", "Service"))["msg"]


class TestWhileNotAllIsKnown:
    @pytest.fixture(autouse=True)
    def incomplete(self, location):
        location.complete = False

    def test_status_is_an_error_of_location(self, location, answer):
        location.trouble = "not allowed"
        assert answer(EXAMPLES["GetAgentStatus"]) == {
            "_type": "LocationServiceError", "reason": "what is registered is not known: not allowed"
        }  # fmt: skip

    def test_nothing_is_changed(self, location, answer):
        assert answer(EXAMPLES["SpawnAgent"])["_type"] == "Failed"
        assert location.calls == []


class TestStatus:
    def seq_comp(self, name):
        return {"prefix": name, "componentType": "SequenceComponent"}

    def test_components_are_with_who_has_spawned_them(self, location, answer):
        location.add("ESW.b", agentPrefix="ESW.machine1")
        location.add("ESW.a", agentPrefix="esw.machine1")
        location.add("ESW.by_hand", host="h1")
        location.add("ESW.orphan", agentPrefix="ESW.gone")
        told = answer(EXAMPLES["GetAgentStatus"])
        assert [each["agentId"]["prefix"] for each in told["agentStatus"]] == ["ESW.machine1", "ESW.machine2"]
        assert [each["seqCompId"] for each in told["agentStatus"][0]["seqCompsStatus"]] == [
            self.seq_comp("ESW.a"), self.seq_comp("ESW.b")
        ]  # fmt: skip
        alone = [each["seqCompId"]["prefix"] for each in told["seqCompsWithoutAgent"]]
        assert alone == ["ESW.by_hand", "ESW.orphan"]

    def test_a_sequencer_is_where_its_component_is(self, location, answer):
        location.add("ESW.a", agentPrefix="ESW.machine1")
        location.add("TCS.dark", "Sequencer", sequenceComponent="ESW.a", pid=7)
        told = answer(EXAMPLES["GetAgentStatus"])["agentStatus"][0]["seqCompsStatus"][0]
        assert told["sequencerLocation"] == [
            {
                "_type": "WampLocation",
                "connection": {"prefix": "TCS.dark", "componentType": "Sequencer", "connectionType": "wamp"},
                "uri": "observatory.components.Sequencer.TCS.dark",
                "metadata": {"sequenceComponent": "ESW.a", "pid": 7},
            }
        ]

    @pytest.mark.parametrize("said", [None, 7, "", "nonsense", ["ESW.machine1"], {"a": 1}])
    def test_nonsense_in_metadata_is_passed_over(self, said):
        told = agent_status(
            [description("ESW.machine1", "Machine")],
            [description("ESW.a", agentPrefix=said)],
            [description("ESW.dark", "Sequencer", sequenceComponent=said)],
        )
        assert told["seqCompsWithoutAgent"] == [{"seqCompId": self.seq_comp("ESW.a"), "sequencerLocation": []}]

    def test_it_follows_what_comes_and_goes(self, location, answer):
        location.add("ESW.a")
        assert _names(answer({"_type": "GetAgentStatus"})) == ["ESW.a"]
        location.add("ESW.b")
        assert _names(answer({"_type": "GetAgentStatus"})) == ["ESW.a", "ESW.b"]
        location.drop("ESW.a")
        assert _names(answer({"_type": "GetAgentStatus"})) == ["ESW.b"]


def _names(status):
    return [each["seqCompId"]["prefix"] for each in status["seqCompsWithoutAgent"]]
