"""The end of an agent: soon, clean, and with nothing lost, whatever runs at the time."""

import signal
import time

import pytest

from tests.harness.listener import Listener
from tests.harness.processes import catches
from tests.harness.prove import ops, start_proving
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def prove(site, run_agent):
    return lambda *arguments, **keywords: start_proving(run_agent, site, *arguments, **keywords)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_hundred_blocking_processes_end_within_five_seconds(prove, how):
    agent = prove("--processes", "100")
    for n in range(100):
        ops(agent, "start", f"loop_{n:03}")
    wait_for(lambda: all(ops(agent, "status", f"loop_{n:03}")[2]["status"] == "running" for n in (0, 50, 99)))
    began = time.monotonic()
    assert agent.stop(how) == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in agent.output


def test_a_hundred_processes_end_though_the_signal_comes_while_they_start(prove):
    agent = prove("--processes", "100")
    for n in range(100):
        ops(agent, "start", f"loop_{n:03}")
    began = time.monotonic()
    assert agent.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5


def test_a_process_that_does_not_stop_delays_the_end_by_seconds_only(prove):
    agent = prove("--deaf")
    wait_for(lambda: ops(agent, "status", "deaf")[2].get("status") == "running")
    began = time.monotonic()
    assert agent.stop(signal.SIGTERM, timeout=15) == 0
    assert time.monotonic() - began < 9
    assert "deaf" in agent.output.splitlines()[-1] or "did not stop: deaf" in agent.output


def test_a_second_signal_does_not_cut_the_end_short(prove, router, tmp_path):
    with Listener(router, "observatory.prove-1.feeds.never", tmp_path) as never:
        agent = prove("--startup", "--deaf")
        wait_for(lambda: ops(agent, "status", "count")[2]["data"].get("n", 0) > 10)
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        agent.process.send_signal(signal.SIGINT)
        assert agent.stop(signal.SIGTERM, timeout=15) == 0
        assert wait_for(lambda: never.column("last", "n"))


def test_an_idle_agent_ends_at_once(prove):
    agent = prove()
    began = time.monotonic()
    assert agent.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 1.5


def test_an_agent_without_a_router_ends_at_once(make_site, run_agent, router):
    site = make_site(router)
    site.hub["wamp_server"] = "ws://127.0.0.1:9/ws"
    agent = start_proving(run_agent, site, "--crossbar-timeout", "0", wait=False)
    wait_for(lambda: catches(agent.process.pid, signal.SIGTERM))
    assert agent.process.poll() is None
    began = time.monotonic()
    assert agent.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 2


def test_the_address_is_free_at_once_for_the_next(prove):
    for _ in range(3):
        agent = prove()
        assert agent.stop(signal.SIGTERM) == 0
        assert "held by another" not in agent.output


def test_killed_without_warning_it_can_be_started_again(prove):
    first = prove("--startup")
    first.kill()
    second = prove("--startup")
    assert wait_for(lambda: ops(second, "status", "count")[2].get("status") == "running")
