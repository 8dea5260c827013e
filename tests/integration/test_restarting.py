"""A process that crashes is started again by its agent, when the site says so."""

import time
from pathlib import Path

import pytest

from ocs.base import ERROR, OK, OpCode

SCRIPT = Path(__file__).parents[1] / "harness" / "crashing_agent.py"


@pytest.fixture
def device(tmp_path):
    return tmp_path / "device"


@pytest.fixture
def start(site, run_agent, device):
    def start(*arguments):
        site.add_instance("CrashingAgent", "crash-1", ["--device", str(device), *arguments])
        return run_agent("crash-1", "--agent", str(SCRIPT))

    return start


def status(agent):
    return agent.call(".ops", "status", "acq")[2]


def texts(session):
    return [text for _, text in session["messages"]]


def wait_for(agent, reached, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not reached(session := status(agent)):
        assert time.monotonic() < deadline, f"still: {session}"
        time.sleep(0.05)
    return session


def test_it_comes_back_with_its_parameters_once_the_device_is_there(start, device):
    agent = start("--restart-process", "acq")
    failed = wait_for(agent, lambda session: session["op_code"] == OpCode.FAILED)
    assert any(text.startswith("CRASH: FileNotFoundError") for text in texts(failed))
    assert any(text.startswith("Starts again in ") for text in texts(failed))
    device.write_text("21.5")
    running = wait_for(agent, lambda session: session["op_code"] == OpCode.RUNNING and session["data"])
    assert running["data"] == {"read": "21.5", "params": {"rate": 3}}
    assert running["session_id"] > failed["session_id"]


def test_a_stop_by_anybody_ends_it_while_it_waits_and_while_it_runs(start, device):
    agent = start("--restart-process=acq=always")
    waiting = wait_for(agent, lambda session: any("(2nd time)" in text for text in texts(session)))
    code, message, _ = agent.call(".ops", "stop", "acq")
    assert (code, message) == (OK, 'Process "acq" will not start again.')
    assert agent.call(".ops", "stop", "acq")[0] == ERROR
    assert status(agent)["session_id"] == waiting["session_id"]

    device.write_text("21.5")
    assert agent.call(".ops", "start", "acq")[0] == OK
    wait_for(agent, lambda session: session["op_code"] == OpCode.RUNNING)
    assert agent.call(".ops", "stop", "acq")[0] == OK
    ended = agent.call(".ops", "wait", "acq", None, 10)[2]
    assert ended["op_code"] == OpCode.SUCCEEDED
    assert not any("again in" in text for text in texts(ended))


def test_without_being_told_to_nothing_is_started_again_and_an_agent_that_waits_ends_at_once(start):
    agent = start()
    failed = wait_for(agent, lambda session: session["op_code"] == OpCode.FAILED)
    assert not any("again" in text for text in texts(failed))
    assert agent.stop() == 0
    agent = start("--restart-process", "acq", "--restart-process", "stray=always")
    wait_for(agent, lambda session: any("Starts again" in text for text in texts(session)))
    assert agent.stop() == 0
    assert "--restart-process names stray, which is no process of this agent; it has: acq" in agent.output


def test_a_policy_that_is_none_is_told_in_one_line(start, run_agent, site, device):
    site.add_instance("CrashingAgent", "crash-1", ["--device", str(device), "--restart-process=acq=often"])
    agent = run_agent("crash-1", "--agent", str(SCRIPT), wait=False)
    assert agent.process.wait(20) == 2
    assert "argument --restart-process" in agent.output
    assert "Traceback" not in agent.output
