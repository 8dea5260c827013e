"""The barebones agent's operations, without a router."""

import threading
from unittest.mock import MagicMock

import pytest

from ocs.agents.barebones.agent import BarebonesAgent, add_agent_args
from ocs.agents.barebones.counter import Counter
from ocs.ocs_agent import OCSAgent, OpSession


@pytest.fixture
def agent():
    """An OCSAgent as agent authors make it in their tests."""
    made = OCSAgent(MagicMock(), MagicMock(log_dir=None, access_policy=None), address="test.address")
    made.publish_to_feed = MagicMock()
    return made


@pytest.fixture
def barebones(agent):
    return BarebonesAgent(agent)


def new_session(name):
    return OpSession(1, name, app=MagicMock())


def test_counter_counts():
    counter = Counter()
    assert [counter.read() for _ in range(3)] == [1, 2, 3]


def test_count_shows_and_publishes_the_number(agent, barebones):
    session = new_session("count")
    assert barebones.count(session, {"test_mode": True}) == (True, "Counted to 1.")
    assert session.data["value"] == 1
    agent.publish_to_feed.assert_called_once_with(
        "feed_name", {"block_name": "count", "timestamp": session.data["timestamp"], "data": {"value": 1}}
    )


def test_stop_ends_count_without_waiting_for_the_second(barebones):
    session, results = new_session("count"), []
    thread = threading.Thread(target=lambda: results.append(barebones.count(session, None)))
    thread.start()
    session.set_status("stopping")
    barebones.stop_count(session, None)
    thread.join(5)
    assert results[0][0] is True


def test_print_prints_and_shows_the_text(barebones):
    session = new_session("print")
    assert barebones.print(session, {"text": "hi"})[0] is True
    assert session.data["text"] == "hi"


def test_print_prints_hello_world_unless_told_otherwise(barebones):
    session = new_session("print")
    barebones.print(session, None)
    assert session.data["text"] == "hello world"


@pytest.mark.timeout(30)
def test_a_lock_that_is_held_is_named(barebones, monkeypatch):
    monkeypatch.setattr(barebones.lock, "acquire", lambda **_: False)
    barebones.lock.job = "calibrate"
    assert barebones.print(new_session("print"), None) == (False, "Could not print: calibrate holds the lock.")


def test_a_count_that_cannot_have_the_lock_is_degraded(barebones, monkeypatch):
    session = new_session("count")
    monkeypatch.setattr(barebones.lock, "acquire", lambda **_: False)
    barebones.count(session, {"test_mode": True})
    assert session.degraded is True


def test_counts_at_once_unless_idle():
    assert add_agent_args().parse_args([]).mode == "count"
    assert add_agent_args().parse_args(["--mode", "idle"]).mode == "idle"
