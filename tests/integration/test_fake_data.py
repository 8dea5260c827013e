"""The fake data agent on a real router."""

import pytest

from tests.harness.waiting import wait_for


@pytest.fixture
def start(site, run_agent):
    def run(*arguments):
        site.add_instance("FakeDataAgent", "fake-1", list(arguments))
        return run_agent("fake-1")

    return run


def status(agent, name):
    return agent.call(".ops", "status", name)[2]


def test_acq_mode_starts_both_processes(start):
    agent = start("--mode", "acq", "--num-channels", "3")
    data = wait_for(lambda: status(agent, "acq").get("data"))
    assert list(data["fields"]) == ["channel_00", "channel_01", "channel_02"]
    assert wait_for(lambda: status(agent, "count").get("data", {}).get("counter"))


def test_acq_stops_within_a_second(start):
    agent = start("--mode", "acq")
    wait_for(lambda: status(agent, "acq").get("status") == "running")
    agent.call(".ops", "stop", "acq")
    code, _, session = agent.call(".ops", "wait", "acq", None, 1.0)
    assert (code, session["success"]) == (0, True)


def test_degradation_shows_in_the_op_code(start):
    agent = start()
    agent.call(".ops", "start", "acq", {"degradation_period": 0.5})
    wait_for(lambda: status(agent, "acq").get("op_code") == 8)
    wait_for(lambda: status(agent, "acq").get("op_code") == 3)


def test_a_bad_parameter_is_refused_by_name(start):
    agent = start()
    code, message, session = agent.call(".ops", "start", "delay_task", {"delay": -1})
    assert (code, session) == (-1, {})
    assert "delay" in message


def test_delay_task_can_be_aborted(start):
    agent = start()
    agent.call(".ops", "start", "delay_task", {"delay": 60})
    wait_for(lambda: status(agent, "delay_task").get("status") == "running")
    agent.call(".ops", "abort", "delay_task")
    code, _, session = agent.call(".ops", "wait", "delay_task", None, 2.0)
    assert (code, session["success"]) == (0, False)


def test_min_privs_of_delay_task_is_2_under_an_access_policy(start):
    api = start("--access-policy", "override:pw-two,pw-three").call("", "get_api")
    privs = {name: info["min_privs"] for name, _, info in api["tasks"]}
    assert privs == {"delay_task": 2, "set_heartbeat": 1}


def test_min_privs_of_delay_task_is_1_without(start):
    api = start().call("", "get_api")
    assert {name: info["min_privs"] for name, _, info in api["tasks"]} == {"delay_task": 1, "set_heartbeat": 1}


def test_ends_on_sigint_with_0_while_acquiring(start):
    agent = start("--mode", "acq")
    wait_for(lambda: status(agent, "acq").get("data"))
    assert agent.stop() == 0
