"""The barebones agent on a real router."""

import pytest

from tests.harness.waiting import wait_for


@pytest.fixture
def agent(site, run_agent):
    site.add_instance("BarebonesAgent", "bare-1")
    return run_agent("bare-1")


def test_counts_from_the_start(agent):
    wait_for(lambda: agent.call(".ops", "status", "count")[2].get("data", {}).get("value", 0) >= 2)


def test_prints(agent):
    agent.call(".ops", "start", "print", {"text": "a line of its own"})
    _, _, session = agent.call(".ops", "wait", "print", None, 5.0)
    assert (session["success"], session["data"]["text"]) == (True, "a line of its own")
    assert "a line of its own" in agent.output


def test_count_stops_and_starts_again_from_0(agent):
    wait_for(lambda: agent.call(".ops", "status", "count")[2].get("data"))
    agent.call(".ops", "stop", "count")
    assert agent.call(".ops", "wait", "count", None, 2.0)[0] == 0
    assert agent.call(".ops", "start", "count")[0] == 0
    data = wait_for(lambda: agent.call(".ops", "status", "count")[2]["data"])
    assert data["value"] == 1


def test_ends_on_sigint_with_0(agent):
    assert agent.stop() == 0
