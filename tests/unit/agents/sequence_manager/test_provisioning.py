"""Carrying out a provision."""

import threading

import pytest

from ocs.agents.sequence_manager.choosing import ProvisionPlan
from ocs.agents.sequence_manager.provisioning import carry_out, checked_counts, summary
from ocs.components.names import Prefix
from ocs.errors import OCSError
from ocs.params import ParamError

AGENT = Prefix("ESW", "primary")


class Service:
    """Remembers what it was asked for, and refuses some of it."""

    def __init__(self, refused=(), failing=()):
        self.asked = []
        self._failing = failing
        self._refused = refused
        self._lock = threading.Lock()

    def spawn_sequence_component(self, agent_prefix, name):
        return self._ask(("spawn", agent_prefix, name), name)

    def kill_component(self, component_id):
        return self._ask(("kill", str(component_id.prefix), component_id.component_type), component_id.prefix.name)

    def _ask(self, what, name):
        with self._lock:
            self.asked.append(what)
        if name in self._refused:
            raise OCSError(f"{name} will not")
        return {"_type": "Failed", "msg": f"{name} has ended"} if name in self._failing else {"_type": "Spawned"}


def plan(**changes):
    parts = {"spawn": {}, "kill": [], "kept": [], "busy": {}, "unknown": [], **changes}
    return ProvisionPlan(**parts)


def test_it_kills_before_it_spawns():
    service = Service()
    carry_out(plan(spawn={AGENT: ["p_1", "p_2"]}, kill=[Prefix("ESW", "p_9")]), service)
    assert service.asked[0] == ("kill", "ESW.p_9", "SequenceComponent")
    assert sorted(service.asked[1:]) == [("spawn", "ESW.primary", "p_1"), ("spawn", "ESW.primary", "p_2")]


def test_each_is_told_of_and_a_failure_stops_nothing_else():
    results = carry_out(plan(spawn={AGENT: ["p_1", "p_2"]}, kept=[Prefix("ESW", "p_3")]), Service(refused=["p_1"]))
    assert {each["component"]: each["ok"] for each in results} == {
        "ESW.p_1": False,
        "ESW.p_2": True,
        "ESW.p_3": True,
    }
    assert summary(results) == (False, "1 spawned, 0 killed, 1 kept. ESW.p_1: cannot spawn: p_1 will not")


def test_what_is_busy_or_unknown_is_a_failure():
    busy = {Prefix("ESW", "p_1"): Prefix("ESW", "dark")}
    good, message = summary(carry_out(plan(busy=busy, unknown=[Prefix("ESW", "gone")]), Service()))
    assert not good
    assert "ESW.dark" in message
    assert "no SpawnAgent" in message


def test_nothing_to_do_is_a_success():
    assert summary(carry_out(plan(), Service())) == (True, "0 spawned, 0 killed, 0 kept.")


def test_counts_are_by_prefix():
    assert checked_counts({"esw.primary": 2}) == {AGENT: 2}


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        [],
        {"primary": 1},
        {"ESW.primary": -1},
        {"ESW.primary": True},
        {"ESW.primary": 1.5},
        {"ESW.primary": 10**6},
        {7: 1},
    ],
)
def test_what_is_no_configuration_is_refused(config):
    with pytest.raises(ParamError, match="config"):
        checked_counts(config)


def test_an_answer_that_it_failed_is_a_failure():
    results = carry_out(plan(spawn={AGENT: ["p_1", "p_2"]}), Service(failing=["p_1"]))
    assert [(each["ok"], each["message"]) for each in results] == [(False, "p_1 has ended"), (True, "")]
