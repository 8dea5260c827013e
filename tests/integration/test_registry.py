"""The registry on a real router."""

import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.harness.agents import AgentHandle
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session


def entries(registry: AgentHandle) -> dict:
    return registry.call(".ops", "status", "main")[2].get("data", {})


@pytest.fixture
def registry(site, run_agent):
    site.add_instance("RegistryAgent", "registry", ["--wait-time", "2"])
    return run_agent("registry")


@pytest.fixture
def fake(site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1")
    return run_agent("fake-1")


def test_lists_agents_with_their_op_codes(registry, fake):
    entry = wait_for(lambda: entries(registry).get(fake.address))
    assert entry["agent_class"] == "FakeDataAgent"
    assert entry["op_codes"] == {"acq": 1, "count": 1, "set_heartbeat": 1, "delay_task": 1}
    assert (entry["expired"], entry["time_expired"]) == (False, None)


def test_lists_itself(registry):
    entry = wait_for(lambda: entries(registry).get(registry.address))
    assert entry["op_codes"]["main"] == 3


def test_an_op_code_follows_its_operation(registry, fake):
    fake.call(".ops", "start", "count")
    wait_for(lambda: entries(registry).get(fake.address, {}).get("op_codes", {}).get("count") == 3)


def test_a_silent_agent_expires_once_and_comes_back(registry, fake):
    wait_for(lambda: fake.address in entries(registry))
    fake.call(".ops", "start", "set_heartbeat", {"heartbeat": False})
    expired = wait_for(lambda: (e := entries(registry)[fake.address])["expired"] and e)
    assert set(expired["op_codes"].values()) == {7}
    assert expired["time_expired"] == pytest.approx(expired["last_updated"] + 5.0, abs=0.01)
    time.sleep(1.5)  # another look at the list must not move the moment: nothing to wait for
    assert entries(registry)[fake.address]["time_expired"] == expired["time_expired"]
    fake.call(".ops", "start", "set_heartbeat", {"heartbeat": True})
    revived = wait_for(lambda: not (e := entries(registry)[fake.address])["expired"] and e)
    assert revived["time_expired"] is None


def test_register_agent_still_succeeds(registry):
    registry.call(".ops", "start", "register_agent", {"agent_address": "observatory.x"})
    code, _, session = registry.call(".ops", "wait", "register_agent", None, 5)
    assert (code, session["success"]) == (0, True)


def test_ends_on_sigint_with_0(registry):
    assert registry.stop() == 0


def test_comes_back_after_a_router_restart(own_router, make_site, run_agent):
    site = make_site(own_router)
    patience = ["--crossbar-timeout", "60"]  # a router takes its time on a busy machine
    site.add_instance("RegistryAgent", "registry", patience).add_instance("FakeDataAgent", "fake-1", patience)
    registry, fake = run_agent("registry", site=site), run_agent("fake-1", site=site)
    wait_for(lambda: fake.address in entries(registry))
    own_router.kill()
    own_router.start()
    restarted = time.time()
    registry.wait_until_ready(60)
    wait_for(lambda: entries(registry)[fake.address]["last_updated"] > restarted + 1)


async def publish_heartbeats(router, count: int) -> None:
    async with wamp_session(router) as session:
        for i in range(count):
            address = f"observatory.sim-{i:05d}"
            envelope = {"agent_address": address, "agent_class": "SimulatedAgent", "feed_name": "heartbeat"}
            codes = {"acq": 3, "init": 5, "calibrate": 1, "move": 1, "monitor": 3}
            session.publish(f"{address}.feeds.heartbeat", [codes, envelope])
            if i % 200 == 0:
                await deferLater(reactor, 0)
        await deferLater(reactor, 0.5)  # what was published is on its way; the session must not end before


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_answers_for_ten_thousand_agents(router, registry):
    await publish_heartbeats(router, 10_000)
    known = await deferToThread(wait_for, lambda: len(e := entries(registry)) > 10_000 and e, 30.0)
    assert known["observatory.sim-09999"]["op_codes"] == {"acq": 3, "init": 5, "calibrate": 1, "move": 1, "monitor": 3}
    registry.wait_until_ready()
