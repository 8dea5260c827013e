"""Who has been heard since it was started."""

import time

import pytest

from ocs.agents.host_manager.readiness import Readiness

ADDRESS = "observatory.a"


class Agent:
    """Remembers the subscriptions."""

    def __init__(self):
        self.handlers = {}

    def subscribe(self, handler, topic):
        assert topic not in self.handlers
        self.handlers[topic] = handler

    def unsubscribe(self, topic):
        self.handlers.pop(topic, None)


class Listening:
    def __init__(self):
        self.agent, self.heard = Agent(), []
        self.readiness = Readiness(self.agent, "observatory", self.heard.append)

    def beat(self, session_id, address=ADDRESS):
        handler = self.agent.handlers.get("observatory.a.feeds.heartbeat")
        envelope = {"agent_address": address, "feed_name": "heartbeat", "session_id": str(session_id)}
        if handler:
            handler([{}, envelope])


@pytest.fixture
def listening():
    return Listening()


def test_the_first_heartbeat_of_a_new_session_makes_ready_and_ends_the_listening(listening):
    listening.readiness.expect("a")
    listening.beat(time.time())
    assert listening.heard == ["a"]
    assert listening.agent.handlers == {}
    assert not listening.readiness.expects("a")


def test_a_heartbeat_of_the_run_before_counts_for_nothing(listening):
    listening.readiness.expect("a")
    listening.beat(time.time() - 100)
    assert listening.heard == []
    listening.beat(time.time())
    assert listening.heard == ["a"]


def test_what_was_taken_over_may_have_begun_long_ago(listening):
    listening.readiness.expect("a", started=time.time() - 1000)
    listening.beat(time.time() - 999)
    assert listening.heard == ["a"]


def test_of_what_was_found_running_any_heartbeat_counts(listening):
    listening.readiness.expect("a", started=0.0)
    listening.beat(3)
    assert listening.heard == ["a"]


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_between_start_and_session_does_not_matter(listening, monkeypatch, step):
    listening.readiness.expect("a")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    listening.beat(time.time())
    assert listening.heard == ["a"]


def test_a_clock_that_is_set_forth_between_session_and_heartbeat_does_not_matter(listening, monkeypatch):
    listening.readiness.expect("a")
    session, real = time.time(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    listening.beat(session)
    assert listening.heard == ["a"]


def test_a_session_that_is_no_time_counts(listening):
    listening.readiness.expect("a")
    listening.beat("run-7")
    assert listening.heard == ["a"]


def test_a_start_expected_anew_listens_once(listening):
    listening.readiness.expect("a")
    listening.readiness.expect("a")
    assert len(listening.agent.handlers) == 1


def test_what_is_forgotten_is_not_heard(listening):
    listening.readiness.expect("a")
    handler = listening.agent.handlers["observatory.a.feeds.heartbeat"]
    listening.readiness.forget_all()
    handler([{}, {"agent_address": ADDRESS, "feed_name": "heartbeat", "session_id": "1e12"}])
    assert listening.heard == []


@pytest.mark.parametrize("event", [None, [], "x", [{}, {}], [{}, {"agent_address": 3}]])
def test_what_is_no_heartbeat_does_no_harm(listening, event):
    listening.readiness.expect("a")
    listening.agent.handlers["observatory.a.feeds.heartbeat"](event)
    assert listening.heard == []
