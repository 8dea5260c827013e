"""The agent's side of access control: levels, refusals, and what is told of it."""

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from ocs.core.access_gate import AccessGate
from ocs.core.callers import Caller
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


def test_rules_that_claim_to_be_forwarded_are_refused():
    """The router of an open site believes of anybody that it speaks for the director."""
    made = gate("director:acc")
    ((heard, _, _),) = made.subscriptions(Agent(Deferred()))
    details = SimpleNamespace(publisher=1, publisher_authrole=None, forward_for=[{"session": 1}, {"session": 2}])
    assert heard([{"reset": True}, {}], details).called
    assert "not from it" in made._log.of("error")[0]


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


STRANGER, NINA = Caller(session=7), Caller(session=8, name="nina", role="client")


class Bench:
    """A gate at a clock that the test sets."""

    def __init__(self, policy="override:two,three"):
        self.now, self.log = 0.0, Log()
        self.gate = AccessGate(policy, "test-1", "TestAgent", log=self.log, steady=lambda: self.now)

    def start(self, password, caller=STRANGER, min_privs=2):
        return self.gate.check(password, min_privs, "start", "acq", caller)

    def guess(self, number, caller=STRANGER):
        return [self.start(f"guess-{n}", caller)[1] for n in range(number)]


@pytest.mark.parametrize("caller", [STRANGER, NINA])
def test_who_guesses_has_to_wait_and_is_told(caller):
    bench = Bench()
    answers = bench.guess(10, caller)
    assert ["too many" in answer for answer in answers] == [False] * 5 + [True] * 5
    assert "1 s" in answers[-1]
    assert "guess" not in str(bench.log.lines)
    assert len(bench.log.of("warn")) == 1


def test_a_right_password_opens_again_after_the_pause():
    bench = Bench()
    bench.guess(10)
    assert bench.start("two")[1]
    bench.now = 1.0
    assert bench.start("two") == (2, "")


@pytest.mark.parametrize(
    ("guesser", "other"), [(STRANGER, NINA), (NINA, STRANGER), (Caller(1, "otto", "client"), NINA)]
)
def test_others_need_not_wait(guesser, other):
    bench = Bench()
    bench.guess(10, guesser)
    assert bench.start("two", other) == (2, "")


def test_what_needs_no_password_is_not_refused_to_who_guesses():
    bench = Bench()
    bench.guess(10)
    assert bench.start("two", min_privs=1) == (1, "")


@pytest.mark.parametrize("policy", ["", "director:acc"])
def test_where_there_is_no_password_none_is_wrong(policy):
    bench = Bench(policy)
    assert not any("too many" in answer for answer in bench.guess(20))


@pytest.mark.parametrize("password", [None, "", 5, ["two"]])
def test_what_is_no_password_is_no_guess(password):
    bench = Bench()
    assert not any("too many" in bench.start(password)[1] for _ in range(20))


@pytest.mark.parametrize("caller", [None, Caller(itself=True)])
def test_the_agent_itself_does_not_guess(caller):
    assert not any("too many" in answer for answer in Bench().guess(20, caller))


def test_a_director_goes_by_its_own_rules_and_others_do_not():
    rules = [{"hashed_pass": {"hash": "none", "value": ""}, "cred_level": 2, "scope_spec": {"default": True}}]
    message = {"reset": True, "ac_version": 1, "step": 1, "rules": rules}
    for policy, level in (("director:test-1", 2), ("director:acc", 0), ("override:a,b", 1)):
        bench = Bench(policy)
        bench.gate.adopt(message, {"session_id": "1"})
        assert bench.start("")[0] == level
