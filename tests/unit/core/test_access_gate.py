"""The agent's side of access control: levels, refusals, and what is told of it."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from ocs.core.access_gate import AccessGate
from ocs.errors import AccessError
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost
from tests.harness.fakes import Log


def gate(policy):
    return AccessGate(policy, "test-1", "TestAgent", log=Log(), clock=lambda: 1000.0)


@pytest.mark.parametrize("policy", [None, "", "none"])
@pytest.mark.parametrize("min_privs", [1, 2, 3, 4])
def test_without_a_policy_everybody_may_do_everything_at_level_one(policy, min_privs):
    assert gate(policy).check("whatever", min_privs, "start", "acq") == (1, "")
    assert gate(policy).own_level == 1


@pytest.mark.parametrize(("password", "level"), [("two", 2), ("three", 3), ("", 1), (None, 1), ("no", 1), (3, 1)])
@pytest.mark.parametrize("min_privs", [1, 2, 3, 4])
def test_the_override_policy_gives_a_password_its_level(password, level, min_privs):
    found, refusal = gate("override:two,three").check(password, min_privs, "start", "acq")
    assert found == level
    assert bool(refusal) is (level < min_privs)


def test_a_refusal_names_the_action_the_operation_and_both_levels():
    _, refusal = gate("override:two,three").check("", 3, "abort", "acq")
    assert "abort" in refusal
    assert '"acq"' in refusal
    assert "3-FULL" in refusal
    assert "1-BASIC" in refusal


def test_a_refusal_does_not_tell_the_password():
    assert "secret-guess" not in gate("override:two,three").check("secret-guess", 3, "start", "acq")[1]


def test_with_a_director_everybody_is_blocked_until_rules_have_come():
    made = gate("director:acc")
    assert made.check("", 1, "start", "acq")[0] == 0
    assert made.check("", 1, "start", "acq")[1]
    assert made.own_level == 4


@pytest.mark.parametrize("policy", ["override:", "override:one", "nonsense"])
def test_a_policy_with_a_mistake_is_an_error(policy):
    with pytest.raises(AccessError):
        gate(policy)


@pytest.mark.parametrize(
    ("policy", "shown"), [("", "none"), ("override:a,b", "override"), ("director:acc", "director")]
)
def test_get_api_tells_the_policy_but_no_password(policy, shown):
    encoded = gate(policy).encoded()
    assert encoded["policy"] == shown
    assert encoded["version"] == 1
    assert encoded["update_timestamp"] == 1000.0
    assert set(encoded) >= {"update_count", "step"}


class Agent:
    agent_address, instance_id, class_name = "observatory.test-1", "test-1", "TestAgent"

    def __init__(self, answer):
        self.calls, self._answer = [], answer

    def call(self, *args):
        self.calls.append(args)
        return self._answer


def test_the_director_is_asked_for_the_rules():
    agent = Agent(Deferred())
    gate("director:acc").poll(agent)
    assert agent.calls == [("observatory.acc.agent_poll", "test-1", "TestAgent")]
    ((_, topic, options),) = gate("director:acc").subscriptions(agent)
    assert topic == "observatory.acc.feeds.controls"
    assert options == {"details": True}


@pytest.mark.parametrize("policy", ["", "override:a,b"])
def test_without_a_director_nobody_is_asked(policy):
    agent = Agent(succeed(None))
    assert gate(policy).poll(agent).result is None
    assert gate(policy).subscriptions(agent) == []
    assert agent.calls == []


@pytest.mark.parametrize("error", [ApplicationError("wamp.error.no_such_procedure"), TransportLost()])
def test_a_director_that_is_away_is_a_line_in_the_log(error):
    made = gate("director:acc")
    assert made.poll(Agent(fail(error))).result is None
    assert "acc" in made._log.of("warn")[0]
