"""What is left of ten thousand runs and a thousand polls: nothing."""

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.harness.prove import look, ops, start_proving
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.faults

TOGETHER = 50
KINDS = ("threads", "delayed_calls", "sessions", "callbacks")


@pytest.fixture
def agent(site, run_agent):
    return start_proving(run_agent, site)


def counts(agent):
    found = look(agent)
    return {kind: found[kind] for kind in KINDS}


async def until(condition):
    """Wait in the tests' reactor, so that what has been called goes out."""
    for _ in range(100):
        if condition():
            return
        await deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("not within 5 s")


async def run_often(session, address, task, times):
    for _ in range(times):
        code, message, _ = await session.call(f"{address}.ops", "start", task)
        assert code == 0, message
        code, message, _ = await session.call(f"{address}.ops", "wait", task)
        assert code == 0, message


@pytest.mark.slow
@pytest.mark.parametrize(("task", "times"), [("quick", 10_000), ("quick_thread", 2_000)])
@ensureDeferred
async def test_runs_leave_nothing(agent, router, task, times):
    async with wamp_session(router) as session:
        await run_often(session, agent.address, task, 10)
        before = counts(agent)
        await run_often(session, agent.address, task, times)
    wait_for(lambda: counts(agent) == before, timeout=5)


@ensureDeferred
async def test_a_thousand_polls_leave_nothing(agent, router):
    async with wamp_session(router) as session:
        ops(agent, "start", "pending")
        before = counts(agent)
        for _ in range(1000):
            code, _, _ = await session.call(f"{agent.address}.ops", "wait", "pending", timeout=0.001)
            assert code == 1
        assert counts(agent) == before
        waiting = [session.call(f"{agent.address}.ops", "wait", "pending", timeout=30) for _ in range(200)]
        await until(lambda: counts(agent)["callbacks"] == 200)
        ops(agent, "abort", "pending")
        assert {(await each)[0] for each in waiting} == {0}
    assert counts(agent) == before


@ensureDeferred
async def test_callers_that_vanish_leave_nothing(agent, router):
    ops(agent, "start", "pending")
    before = counts(agent)
    for _ in range(5):
        async with wamp_session(router) as session:
            for _ in range(20):
                session.call(f"{agent.address}.ops", "wait", "pending").addErrback(lambda _: None)
            await until(lambda: counts(agent)["callbacks"] == 20)
        await until(lambda: counts(agent)["callbacks"] == 0)
    await until(lambda: counts(agent) == before)
    assert "Traceback" not in agent.output
    ops(agent, "abort", "pending")
    wait_for(lambda: ops(agent, "status", "pending")[2]["status"] == "done")
