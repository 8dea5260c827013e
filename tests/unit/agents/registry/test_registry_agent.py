"""The registry's operations, without a router: a mock for the agent, a clock that is stepped."""

from unittest.mock import MagicMock

import pytest
from twisted.internet.task import Clock

from ocs.agents.registry.agent import FEED, SLICE, Registry, make_parser
from ocs.ocs_agent import OCSAgent, OpSession
from ocs.presence.roster import Moment

WALL = 1_790_000_000.0


def beat(name, **codes):
    return [codes, {"agent_address": f"observatory.{name}", "agent_class": "A"}]


class Harness:
    """A registry on a clock, what it published, and a way to start its process."""

    def __init__(self, wait_time=30.0):
        self.clock = Clock()
        self.agent = MagicMock(agent_address="observatory.registry", class_name="RegistryAgent", sessions={})
        args = MagicMock(address_root="observatory", wait_time=wait_time)
        self.registry = Registry(self.agent, args, reactor=self.clock, now=self.now)
        subscribed = self.agent.subscribe_on_start.call_args
        self.hear, self.topic = subscribed.args
        self.options = subscribed.kwargs["options"]
        self.session = OpSession(1, "main", app=MagicMock())

    def now(self):
        return Moment(WALL + self.clock.seconds(), self.clock.seconds())

    def start(self):
        return self.registry.main(self.session, {"test_mode": False})

    def published(self, name):
        """The codes published for one block, oldest first."""
        block = f"observatory_{name}"
        messages = [call.args[1] for call in self.agent.publish_to_feed.call_args_list if call.args[0] == FEED]
        return [message["data"][block] for message in messages if message["block_name"] == block]

    def advance(self, seconds):
        for _ in range(seconds):
            self.clock.advance(1)


@pytest.fixture
def harness():
    return Harness()


def test_listens_to_all_heartbeats(harness):
    assert (harness.topic, harness.options) == ("observatory..feeds.heartbeat", {"match": "wildcard"})


def test_registers_its_feed(harness):
    call = harness.agent.register_feed.call_args
    assert call.args == ("agent_operations",)
    assert call.kwargs["record"] is True
    assert call.kwargs["agg_params"] == {"frame_length": 60}


def test_works_on_an_agent_made_of_mocks():
    site_args = MagicMock(log_dir=None, access_policy=None)
    agent = OCSAgent(MagicMock(), site_args, address="test.address")
    registry = Registry(agent, MagicMock(wait_time=30.0, address_root="test"))
    result = registry.main(OpSession(1, "main", app=MagicMock()), {"test_mode": True})
    assert result.result == (True, "Main loop has ended.")


def test_shows_the_agents_that_were_heard(harness):
    harness.start()
    harness.hear(beat("a", acq=3))
    assert harness.session.data["observatory.a"] == {
        "expired": False,
        "time_expired": None,
        "last_updated": WALL,
        "op_codes": {"acq": 3},
        "agent_class": "A",
        "agent_address": "observatory.a",
    }


def test_lists_itself_since_the_router_does_not_send_its_heartbeats_back(harness):
    harness.agent.sessions = {"main": harness.session, "register_agent": None}
    harness.start()
    assert harness.session.data["observatory.registry"]["op_codes"] == {"main": 2, "register_agent": 1}


def test_a_change_is_published_at_once(harness):
    harness.start()
    harness.hear(beat("a", acq=3))
    harness.hear(beat("a", acq=3))
    harness.hear(beat("a", acq=5))
    assert harness.published("a_acq") == [3, 5]


def test_all_codes_are_published_every_wait_time():
    harness = Harness(wait_time=10.0)
    harness.start()
    for _ in range(25):
        harness.hear(beat("a", acq=3))
        harness.advance(1)
    assert harness.published("a_acq") == [3, 3, 3]


def test_an_agent_that_falls_silent_is_expired_and_published_as_such(harness):
    harness.start()
    harness.hear(beat("a", acq=3))
    harness.advance(6)
    record = harness.session.data["observatory.a"]
    assert (record["expired"], record["time_expired"]) == (True, WALL + 5)
    assert harness.published("a_acq") == [3, 7]


def test_what_was_heard_before_main_started_is_published_when_it_does(harness):
    harness.hear(beat("a", acq=3))
    assert harness.published("a_acq") == []
    harness.start()
    assert harness.published("a_acq") == [3]


def test_stop_ends_main_at_once(harness):
    result = harness.start()
    harness.registry.stop_main(harness.session, None)
    assert result.result == (True, "Main loop has ended.")
    assert harness.clock.getDelayedCalls() == []


def test_the_session_that_has_ended_no_longer_changes(harness):
    harness.start()
    harness.hear(beat("a", acq=3))
    harness.registry.stop_main(harness.session, None)
    harness.hear(beat("a", acq=5))
    assert harness.session.data["observatory.a"]["op_codes"] == {"acq": 3}


def test_stop_of_what_does_not_run_says_so(harness):
    assert harness.registry.stop_main(harness.session, None)[0] is False


def test_main_can_run_again(harness):
    harness.start()
    harness.registry.stop_main(harness.session, None)
    harness.session = OpSession(2, "main", app=MagicMock())
    harness.start()
    harness.hear(beat("a", acq=3))
    assert harness.published("a_acq") == [3]


def test_many_agents_are_dealt_with_in_slices_between_which_the_reactor_has_its_turn(harness):
    for i in range(2 * SLICE + 1):
        harness.hear(beat(f"a{i}", acq=3))
    harness.start()
    assert harness.agent.publish_to_feed.call_count == SLICE
    harness.clock.advance(0)
    assert harness.agent.publish_to_feed.call_count == 2 * SLICE + 1


def test_malformed_heartbeats_are_told_once_a_minute(harness):
    harness.start()
    for _ in range(1000):
        harness.hear("nonsense")
    harness.advance(60)
    harness.hear("nonsense")
    told = [text for _, text in harness.session.messages if "malformed" in text]
    assert len(told) == 2
    assert "1001 so far" in told[1]


def test_summary_counts(harness):
    harness.start()
    harness.hear(beat("a", acq=3))
    harness.hear("nonsense")
    harness.advance(6)
    session = OpSession(2, "summary", app=MagicMock())
    assert harness.registry.summary(session, None) == (True, "2 agents, 1 of them expired.")
    assert (session.data["malformed"], session.data["expired"]) == (1, 1)


def test_register_agent_warns_and_succeeds(harness):
    assert harness.registry.register_agent(OpSession(2, "register_agent", app=MagicMock()), None)[0] is True
    harness.agent.log.warn.assert_called_once()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_wait_time_must_be_a_positive_number(text, capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--wait-time", text])
    assert "--wait-time" in capsys.readouterr().err


def test_wait_time_defaults_to_30_s():
    assert make_parser().parse_args([]).wait_time == 30.0
