"""Who is alive: the registry's logic, stepped by hand."""

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ocs.presence.heartbeat import MalformedHeartbeatError
from ocs.presence.roster import Moment, RegisteredAgent, Roster

TIMEOUT = 5.0
WALL = 1_790_000_000.0
MANY = 1_000_000
FEED = {"agent_address": "observatory.a", "agent_class": "A"}


def at(seconds):
    return Moment(WALL + seconds, 100.0 + seconds)


def beat(name, **codes):
    return [codes, {"agent_address": f"observatory.{name}", "agent_class": "A"}]


@pytest.fixture
def roster():
    return Roster(TIMEOUT)


def tick_until(roster, seconds, step=1.0):
    """Tick, and return who expired."""
    expired, now = [], 0.0
    while now <= seconds:
        expired += roster.expire_silent(at(now), MANY)
        now += step
    return expired


class TestRegisteredAgent:
    """One entry."""

    def test_begins_alive(self):
        agent = RegisteredAgent(FEED)
        assert (agent.expired, agent.time_expired, agent.op_codes) == (False, None, {})
        assert agent.last_updated == pytest.approx(time.time(), abs=5)

    def test_encoded_has_the_keys_of_the_contract(self):
        assert RegisteredAgent(FEED, now=1.5).encoded() == {
            "expired": False,
            "time_expired": None,
            "last_updated": 1.5,
            "op_codes": {},
            "agent_class": "A",
            "agent_address": "observatory.a",
        }

    def test_encoded_is_a_copy(self):
        agent = RegisteredAgent(FEED)
        agent.refresh({"acq": 3})
        agent.encoded()["op_codes"]["acq"] = 9
        assert agent.op_codes == {"acq": 3}

    def test_expiry_sets_every_code_to_7(self):
        agent = RegisteredAgent(FEED)
        agent.refresh({"acq": 3, "init": 5})
        agent.expire(42.0)
        assert (agent.expired, agent.time_expired, agent.op_codes) == (True, 42.0, {"acq": 7, "init": 7})

    def test_the_first_expiry_stays(self):
        agent = RegisteredAgent(FEED)
        agent.expire(42.0)
        agent.expire(43.0)
        assert agent.time_expired == 42.0

    def test_a_heartbeat_revives(self):
        agent = RegisteredAgent(FEED)
        agent.expire()
        agent.refresh({"acq": 3})
        assert (agent.expired, agent.time_expired, agent.op_codes) == (False, None, {"acq": 3})

    def test_refresh_without_codes_leaves_them(self):
        agent = RegisteredAgent(FEED)
        agent.refresh({"acq": 3})
        agent.refresh()
        assert agent.op_codes == {"acq": 3}


class TestHear:
    """Taking in heartbeats."""

    def test_a_new_agent_is_news(self, roster):
        agent = roster.hear(beat("a", acq=3), at(0))
        assert agent is roster.agents["observatory.a"]
        assert agent.op_codes == {"acq": 3}

    def test_the_same_codes_again_are_none(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        assert roster.hear(beat("a", acq=3), at(1)) is None
        assert roster.agents["observatory.a"].last_updated == WALL + 1

    def test_a_changed_code_is_news(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        assert roster.hear(beat("a", acq=5), at(1)).op_codes == {"acq": 5}

    def test_an_operation_that_is_gone_is_dropped(self, roster):
        roster.hear(beat("a", acq=3, init=1), at(0))
        assert roster.hear(beat("a", acq=3), at(1)).op_codes == {"acq": 3}

    def test_the_records_follow_without_being_rebuilt(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        record = roster.records["observatory.a"]
        roster.hear(beat("a", acq=5), at(1))
        assert record == roster.agents["observatory.a"].encoded()

    @pytest.mark.parametrize("event", [None, [], [{"acq": "x"}, {"agent_address": "observatory.a"}]])
    def test_a_malformed_one_is_counted_and_changes_nothing(self, roster, event):
        roster.hear(beat("a", acq=3), at(0))
        before = roster.agents["observatory.a"].encoded()
        with pytest.raises(MalformedHeartbeatError):
            roster.hear(event, at(1))
        assert roster.malformed == 1
        assert roster.agents["observatory.a"].encoded() == before

    def test_a_malformed_one_keeps_nobody_alive(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        with pytest.raises(MalformedHeartbeatError):
            roster.hear([{"acq": "x"}, {"agent_address": "observatory.a"}], at(4))
        assert [agent.agent_address for agent in tick_until(roster, 6)] == ["observatory.a"]


class TestExpiry:
    """Falling silent."""

    def test_after_the_timeout_and_not_before(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        assert tick_until(roster, TIMEOUT) == []
        assert roster.expire_silent(at(TIMEOUT + 0.01), MANY)

    def test_time_expired_is_the_moment_the_timeout_ran_out(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        (agent,) = tick_until(roster, 7, step=3.5)
        assert agent.time_expired == pytest.approx(WALL + TIMEOUT)

    def test_an_expired_agent_expires_once(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        assert len(tick_until(roster, 60)) == 1

    def test_who_comes_back_is_news_and_can_expire_again(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        tick_until(roster, 8)
        assert roster.hear(beat("a", acq=3), at(8)) is not None
        roster.expire_silent(at(11), MANY)
        (agent,) = roster.expire_silent(at(14), MANY)
        assert agent.time_expired == pytest.approx(WALL + 13)

    def test_no_more_than_the_limit_at_once(self, roster):
        for i in range(5):
            roster.hear(beat(f"a{i}", acq=3), at(0))
        tick_until(roster, 5)
        assert [len(roster.expire_silent(at(6), 2)) for _ in range(4)] == [2, 2, 1, 0]

    def test_the_wall_clock_may_be_set(self, roster):
        """An hour forward by NTP kills nobody."""
        roster.hear(beat("a", acq=3), at(0))
        assert roster.expire_silent(Moment(WALL + 3601, 101.0), MANY) == []

    def test_a_registry_that_slept_gives_everybody_the_timeout_anew(self, roster):
        roster.hear(beat("a", acq=3), at(0))
        assert roster.expire_silent(at(3600), MANY) == []
        roster.expire_silent(at(3603), MANY)
        (agent,) = roster.expire_silent(at(3606), MANY)
        assert agent.time_expired == pytest.approx(WALL + 3605)


class TestPublication:
    """Who is due to be published."""

    def test_due_after_the_wait_time(self, roster):
        agent = roster.hear(beat("a", acq=3), at(0))
        roster.published(agent, at(0))
        assert roster.due(at(30), 30.0, MANY) == []
        assert roster.due(at(30.1), 30.0, MANY) == [agent]

    def test_all_again(self, roster):
        agents = [roster.hear(beat(name, acq=3), at(0)) for name in "abc"]
        roster.published(agents[0], at(0))
        roster.publish_all_again()
        assert {agent.agent_address for agent in roster.due(at(0), 30.0, MANY)} == {
            agent.agent_address for agent in agents
        }

    def test_published_agents_are_no_longer_due_whatever_the_wait_time(self, roster):
        agent = roster.hear(beat("a", acq=3), at(0))
        roster.published(agent, at(0))
        assert roster.due(at(0), 1e-9, MANY) == []


class TestBounds:
    """A publisher of made-up addresses."""

    def test_the_agent_that_expired_first_makes_room(self):
        roster = Roster(TIMEOUT, max_agents=2)
        roster.published(roster.hear(beat("a", acq=3), at(0)), at(0))
        tick_until(roster, 3)
        roster.hear(beat("b", acq=3), at(3))
        roster.expire_silent(at(6), MANY)
        roster.expire_silent(at(9), MANY)
        roster.hear(beat("c", acq=3), at(9))
        assert list(roster.agents) == list(roster.records) == ["observatory.b", "observatory.c"]
        assert roster.due(at(60), 1.0, MANY) == []
        assert roster.forgotten == 1

    def test_with_all_alive_a_new_one_is_refused_and_counted(self):
        roster = Roster(TIMEOUT, max_agents=1)
        roster.hear(beat("a", acq=3), at(0))
        assert roster.hear(beat("b", acq=3), at(0)) is None
        assert list(roster.agents) == ["observatory.a"]
        assert roster.counts()["refused"] == 1


NAMES = st.sampled_from(["a", "b", "c", "d"])
CODES = st.dictionaries(st.sampled_from(["acq", "init"]), st.integers(1, 8))


class RosterMachine(RuleBasedStateMachine):
    """Any order of heartbeats and ticks, against a model that looks at everything every time."""

    def __init__(self):
        super().__init__()
        self.roster = Roster(TIMEOUT)
        self.seconds = 0.0
        self.heard = {}
        self.codes = {}
        self.expired_at = {}
        self.roster.expire_silent(at(0), MANY)

    @rule(name=NAMES, codes=CODES)
    def heartbeat(self, name, codes):
        news = self.roster.hear(beat(name, **codes), at(self.seconds))
        assert (news is not None) == (name in self.expired_at or self.codes.get(name) != codes)
        self.heard[name], self.codes[name] = self.seconds, codes
        self.expired_at.pop(name, None)

    @rule(delay=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]))
    def time_passes(self, delay):
        self.seconds += delay
        self.roster.expire_silent(at(self.seconds), MANY)
        for name, heard in self.heard.items():
            if self.seconds - heard > TIMEOUT:
                self.expired_at.setdefault(name, WALL + heard + TIMEOUT)

    @invariant()
    def entries_are_those_of_the_model(self):
        assert self.roster.agents.keys() == self.roster.records.keys()
        for name, codes in self.codes.items():
            record = self.roster.records[f"observatory.{name}"]
            expired = name in self.expired_at
            assert record["expired"] == expired
            assert record["last_updated"] == WALL + self.heard[name]
            assert record["op_codes"] == (dict.fromkeys(codes, 7) if expired else codes)
            assert record["time_expired"] == (pytest.approx(self.expired_at[name]) if expired else None)


RosterMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRosterMachine = RosterMachine.TestCase


def test_an_expired_agent_can_be_forgotten_and_one_that_is_alive_cannot():
    roster = Roster(5)
    roster.hear(({"acq": 3}, {"agent_address": "observatory.old", "agent_class": "A"}), Moment(100, 0))
    assert not roster.forget("observatory.old")
    roster.hear(({"acq": 3}, {"agent_address": "observatory.new", "agent_class": "A"}), Moment(104, 4))
    roster.hear(({"acq": 3}, {"agent_address": "observatory.new", "agent_class": "A"}), Moment(107, 7))
    assert [agent.agent_address for agent in roster.expire_silent(Moment(108, 8), 10)] == ["observatory.old"]
    assert roster.forget("observatory.old")
    assert list(roster.agents) == list(roster.records) == ["observatory.new"]
    assert roster.counts()["expired"] == 0
