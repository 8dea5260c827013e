"""The link to the router: cut, half-open, away for a while or for good. Operations go on, and nothing is lost."""

import signal
import subprocess
import sys
import time

import pytest

from tests.harness.agents import bridge_call
from tests.harness.listener import Listener
from tests.harness.prove import SCRIPT, look, ops, start_proving
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def behind(make_site, run_agent):
    """Start the proving agent of a site behind a router or proxy."""

    def run(router, *arguments, **keywords):
        site = make_site(router, name=keywords.pop("name", "site"))
        return start_proving(run_agent, site, *arguments, **keywords)

    return run


@pytest.fixture
def counting(behind, tcp_proxy):
    """An agent that counts and publishes, behind a proxy."""
    agent = behind(tcp_proxy, "--startup", "--crossbar-timeout", "30")
    wait_for(lambda: ops(agent, "status", "count")[2].get("data", {}).get("n", 0) > 10)
    return agent


def counted(agent):
    """How far the process has counted; LookupError while the agent cannot be reached."""
    return ops(agent, "status", "count")[2]["data"]["n"]


def answers(agent):
    """The session of the counting process; None while the agent does not answer at once."""
    try:
        return bridge_call(agent.site.http_url, f"{agent.address}.ops", "status", "count", timeout=0.5)[2]
    except LookupError:
        return None


def whole(numbers):
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_cut_link_stops_no_operation_and_the_agent_comes_back(counting, tcp_proxy):
    before, session = counted(counting), answers(counting)["session_id"]
    for _ in range(5):
        tcp_proxy.cut()
        after = wait_for(lambda: answers(counting))
        assert after["session_id"] == session
        assert after["status"] == "running"
    assert counted(counting) > before
    assert counting.process.poll() is None


def test_the_agent_is_back_within_a_second_of_a_cut(counting, tcp_proxy):
    tcp_proxy.cut()
    began = time.monotonic()
    wait_for(lambda: answers(counting))
    assert time.monotonic() - began < 1.0


def test_samples_published_without_a_link_arrive_afterwards_all_and_in_order(counting, tcp_proxy, router, tmp_path):
    with Listener(router, "observatory.prove-1.feeds.counts", tmp_path) as counts:
        wait_for(lambda: counts.column("c", "n"))
        tcp_proxy.cut()
        tcp_proxy.stall()  # new connections hang: the link stays down
        at = len(counts.column("c", "n"))
        time.sleep(2)  # the outage
        assert len(counts.column("c", "n")) <= at + 20
        tcp_proxy.resume()
        tcp_proxy.cut()  # whatever hung begins anew
        wait_for(lambda: answers(counting))
        ops(counting, "stop", "count")
        code, _, session = ops(counting, "wait", "count", None, 5)
        assert code == 0
        total = session["data"]["n"] + 1
        numbers = wait_for(lambda: [*counts.column("c", "n")][-1:] == [total - 1] and counts.column("c", "n"))
        # What had left before the cut and was in the air then may be lost: a few samples, in one place.
        missing = numbers[0] + len(numbers) - total
        assert sorted(set(numbers)) == numbers
        assert abs(missing) <= 25
        assert total - numbers[0] > 300


def test_what_is_published_in_an_outage_is_counted_exactly(behind, own_router, make_proxy, tmp_path):
    proxy = make_proxy(own_router)
    agent = behind(proxy, "--crossbar-timeout", "60")
    # Asked beforehand, since nobody can be asked during the outage: the agent publishes while the router is dead.
    ops(agent, "start", "later", {"after": 1.5, "feed": "counts", "count": 5000})
    own_router.kill()
    proxy.stall()
    time.sleep(2.5)  # the agent publishes now
    own_router.start()
    with Listener(own_router, "observatory.prove-1.feeds.counts", tmp_path) as counts:
        proxy.resume()
        proxy.cut()
        wait_for(lambda: len(counts.column("b", "n")) >= 5000, timeout=30)
        assert counts.column("b", "n") == list(range(5000))
        wait_for(lambda: answers(agent) is not None)
        assert look(agent)["outbox"] == 0


def test_an_address_that_the_router_still_holds_for_the_lost_connection_is_had_at_once(counting, tcp_proxy):
    before = counted(counting)
    tcp_proxy.abandon()
    began = time.monotonic()
    wait_for(lambda: (answers(counting) or {}).get("data", {}).get("n", 0) > before)
    assert time.monotonic() - began < 5
    assert counting.process.poll() is None


def test_the_address_stays_when_the_router_gives_up_the_old_connection(counting, tcp_proxy):
    for _ in range(3):
        tcp_proxy.abandon()
        wait_for(lambda: answers(counting))
    tcp_proxy.close_abandoned()
    for _ in range(20):
        assert ops(counting, "status", "count")[0] == 0
        time.sleep(0.05)


@pytest.mark.slow
def test_a_link_that_has_gone_silent_is_noticed_and_replaced(counting, tcp_proxy):
    before = counted(counting)
    tcp_proxy.forget()
    wait_for(lambda: (answers(counting) or {}).get("data", {}).get("n", 0) > before, timeout=40)
    assert ops(counting, "status", "count")[2]["status"] == "running"


def test_a_short_stall_costs_nothing(counting, tcp_proxy, router, tmp_path):
    with Listener(router, "observatory.prove-1.feeds.counts", tmp_path) as counts:
        wait_for(lambda: counts.column("c", "n"))
        for _ in range(3):
            tcp_proxy.stall()
            time.sleep(0.5)  # the stall
            tcp_proxy.resume()
        ops(counting, "stop", "count")
        total = ops(counting, "wait", "count", None, 5)[2]["data"]["n"] + 1
        wait_for(lambda: counts.column("c", "n")[-1] == total - 1)
        assert whole(counts.column("c", "n"))


def test_an_agent_may_be_started_before_its_router(behind, own_router):
    own_router.stop()
    agent = behind(own_router, "--startup", "--crossbar-timeout", "60", wait=False)
    time.sleep(1.5)  # it looks for the router
    assert agent.process.poll() is None
    own_router.start()
    agent.wait_until_ready()
    wait_for(lambda: ops(agent, "status", "at_startup")[2].get("status") == "done")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_router_that_is_restarted_finds_the_agent_again(behind, own_router, how):
    agent = behind(own_router, "--startup", "--crossbar-timeout", "60")
    other = behind(own_router, "--listen", "observatory..feeds.counts", "--crossbar-timeout", "60",
                   instance="prove-2", name="other")  # fmt: skip
    wait_for(lambda: look(other)["heard"])
    pid, session = look(agent)["pid"], answers(agent)["session_id"]
    getattr(own_router, how)()
    own_router.start()
    after = wait_for(lambda: answers(agent), timeout=20)
    assert (after["status"], after["session_id"]) == ("running", session)
    assert look(agent)["pid"] == pid
    assert ops(agent, "status", "at_startup")[2]["session_id"] == 0  # not run again
    # Subscriptions are made again: the other agent hears what is published after the restart.
    now = counted(agent)
    wait_for(lambda: other_hears(other, now), timeout=20)


def other_hears(other, least):
    try:
        return any(n > least for data in look(other)["heard"] for n in data.get("c", {}).get("data", {}).get("n", []))
    except LookupError:
        return False


def test_without_a_router_the_agent_gives_up_after_the_timeout_in_one_line(behind, own_router):
    agent = behind(own_router, "--startup", "--crossbar-timeout", "2")
    own_router.kill()
    began = time.monotonic()
    assert agent.process.wait(15) == 1
    assert 1.5 < time.monotonic() - began < 6
    last = agent.output.splitlines()[-1]
    assert last.startswith("prove-1: gave up")
    assert own_router.ws_url in last
    assert "--crossbar-timeout" in last
    assert "Traceback" not in agent.output


def test_without_a_router_from_the_start_too(make_site, run_agent, router):
    site = make_site(router)
    site.hub["wamp_server"] = "ws://127.0.0.1:9/ws"
    agent = start_proving(run_agent, site, "--crossbar-timeout", "1", wait=False)
    assert agent.process.wait(15) == 1
    assert agent.output.splitlines()[-1].startswith("prove-1: gave up: no router at ws://127.0.0.1:9/ws")


def test_an_agent_that_is_not_to_reconnect_ends_with_its_link(behind, tcp_proxy):
    agent = behind(tcp_proxy, "--startup", "--once")
    tcp_proxy.cut()
    assert agent.process.wait(10) == 1
    assert "connection to the router" in agent.output.splitlines()[-1]


def test_an_agent_that_is_not_to_reconnect_ends_in_order_when_asked(behind, router):
    agent = behind(router, "--startup", "--once")
    assert agent.stop(signal.SIGTERM) == 0
    assert "connection to the router" not in agent.output


def test_the_last_line_is_all_that_goes_to_stderr(make_site, router):
    site = make_site(router)
    site.hub["wamp_server"] = "ws://127.0.0.1:9/ws"
    site.add_instance("ProvingAgent", "prove-1", [])
    command = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", "prove-1", *site.args]
    command += ["--agent", str(SCRIPT), "--crossbar-timeout", "0.5"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("prove-1: gave up")
    assert ended.stderr.count("\n") == 1


def test_an_address_that_is_no_routers_is_told_with_the_reason(make_site, run_agent, router):
    site = make_site(router)
    site.hub["wamp_server"] = router.ws_url.replace("/ws", "/elsewhere")
    agent = start_proving(run_agent, site, "--crossbar-timeout", "1", wait=False)
    assert agent.process.wait(15) == 1
    assert "404" in agent.output.splitlines()[-1]
    assert agent.output.count("404") == 2  # once when it began, once in the last line


def test_a_wrong_realm_is_named_in_the_last_line(make_site, run_agent, router):
    site = make_site(router)
    site.hub["wamp_realm"] = "elsewhere"
    agent = start_proving(run_agent, site, "--crossbar-timeout", "1", wait=False)
    assert agent.process.wait(15) == 1
    assert "elsewhere" in agent.output.splitlines()[-1]


def test_an_agent_that_has_just_rejoined_is_never_shut_down(behind, own_router, make_proxy):
    proxy = make_proxy(own_router)
    agent = behind(proxy, "--startup", "--crossbar-timeout", "3")
    for _ in range(3):
        proxy.stall()
        proxy.cut()
        time.sleep(2.0)  # the outage: most of the timeout
        proxy.resume()
        proxy.cut()
        wait_for(lambda: answers(agent), timeout=3)
        time.sleep(1.5)  # past the moment when it would have given up
        assert agent.process.poll() is None
        assert answers(agent)["status"] == "running"


def test_the_end_comes_soon_also_without_a_link(counting, tcp_proxy):
    tcp_proxy.stall()
    tcp_proxy.cut()
    began = time.monotonic()
    assert counting.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5


def test_the_end_comes_soon_also_with_a_silent_link(counting, tcp_proxy):
    tcp_proxy.stall()
    began = time.monotonic()
    assert counting.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 8
