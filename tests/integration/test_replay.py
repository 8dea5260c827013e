"""What an agent has published is served again until its recorders have it: over cuts, kills and restarts."""

import signal
import time

import msgpack
import pytest
from autobahn.wamp.exception import ApplicationError
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.harness.prove import ops, start_proving
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

ADDRESS = "observatory.prove-1"
EVERY = 0.2


class Recorder:
    """A recorder's calls, by a session of the test's own."""

    def __init__(self, session, name="recorder-1"):
        self.session, self.name = session, name

    async def ask(self, **request):
        return await self.session.call(f"{ADDRESS}.replay", {"recorder": self.name, "every": EVERY, **request})

    async def check(self, **have):
        return await self.ask(have=have)

    async def fetch_all(self, run, start):
        """All that is kept of a run from a number on, as {number: event}."""
        found = {}
        while True:
            reply = await self.ask(run=run, since=0.0, limit=1 << 20, **{"from": start})
            found.update((number, msgpack.unpackb(payload)[0]) for number, _, payload in reply["messages"])
            if reply["next"] == start:
                return found
            start = reply["next"]


def counted(messages):
    """The numbers that the proving agent has counted, in the order of the messages."""
    return [n for number in sorted(messages) for n in messages[number][0].get("c", {"data": {"n": []}})["data"]["n"]]


@pytest.fixture
def agent(site, run_agent):
    return start_proving(run_agent, site)


async def sleep(seconds):
    await deferLater(reactor, seconds, lambda: None)


async def until(condition):
    deadline = time.monotonic() + 15
    while not (answer := await condition()):
        assert time.monotonic() < deadline
        await sleep(0.05)
    return answer


async def count(agent, seconds):
    """Have the agent count for a while; return how far it came."""
    ops(agent, "start", "count")
    await sleep(seconds)
    ops(agent, "stop", "count")
    return ops(agent, "wait", "count", None, 5)


def on_disk(site):
    return sum(path.stat().st_size for path in site.state_dir.rglob("*.journal"))


@ensureDeferred
async def test_what_is_fetched_is_what_was_published(agent, router):
    async with wamp_session(router) as session:
        events = []
        await session.subscribe(events.append, f"{ADDRESS}.feeds.counts")
        recorder = Recorder(session)
        run = (await recorder.check())["session_id"]
        await count(agent, 0.5)
        state = await recorder.check()
        last = state["runs"][run][1] - 1
        await until(lambda: deferLater(reactor, 0, lambda: events and events[-1][1]["seq"] >= last - 1))
        kept = await recorder.fetch_all(run, 1)
        assert sorted(kept) == list(range(1, last + 1))
        heard = {envelope["seq"]: [data, envelope] for data, envelope in events}
        assert {number: kept[number] for number in heard} == heard


@ensureDeferred
async def test_what_the_recorder_has_is_let_go_and_nothing_was_written(agent, router, site):
    async with wamp_session(router) as session:
        recorder = Recorder(session)
        run = (await recorder.check())["session_id"]
        await count(agent, 0.2)
        (_, following) = (await recorder.check())["runs"][run]
        assert (await recorder.check(**{run: following}))["runs"] == {run: [following, following]}
        assert await recorder.fetch_all(run, 1) == {}
    assert on_disk(site) == 0


@ensureDeferred
async def test_what_no_recorder_fetched_is_offered_by_the_next_run(agent, router, site, run_agent):
    async with wamp_session(router) as session:
        recorder = Recorder(session)
        run = (await recorder.check())["session_id"]
        await count(agent, 0.5)
        assert agent.stop(signal.SIGTERM) == 0
        second = start_proving(run_agent, site)
        state = await recorder.check()
        assert set(state["runs"]) == {run, state["session_id"]}
        kept = await recorder.fetch_all(run, 1)
        first, following = state["runs"][run]
        assert (first, sorted(kept)) == (1, list(range(1, following)))
        samples = counted(kept)
        assert samples == list(range(samples[0], samples[0] + len(samples)))
        await recorder.check(**{run: following})
        await until(lambda: _is_gone(recorder, run))
        assert on_disk(site) == 0
        assert second.stop() == 0


async def _is_gone(recorder, run):
    return run not in (await recorder.check())["runs"]


@ensureDeferred
async def test_a_killed_agent_loses_no_more_than_a_second(agent, router, site, run_agent):
    async with wamp_session(router) as session:
        heard = []
        await session.subscribe(
            lambda event: heard.append((time.monotonic(), event[1]["seq"])), f"{ADDRESS}.feeds.counts"
        )
        recorder = Recorder(session)
        run = (await recorder.check())["session_id"]
        await sleep(4 * EVERY)  # it is away by now
        ops(agent, "start", "count")
        await sleep(3.0)
        agent.kill()
        killed = time.monotonic()
        start_proving(run_agent, site)
        kept = await recorder.fetch_all(run, 1)
        must = [number for at, number in heard if at < killed - 1.1]
        assert len(must) > 10
        assert [number for number in must if number not in kept] == []


@ensureDeferred
async def test_what_was_published_while_the_link_was_cut_is_there_afterwards(make_proxy, make_site, router, run_agent):
    proxy = make_proxy(router)
    site = make_site(proxy, "cut")
    agent = start_proving(run_agent, site)
    async with wamp_session(router) as session:
        recorder = Recorder(session)
        run = (await recorder.check())["session_id"]
        ops(agent, "start", "count")
        await sleep(0.3)
        proxy.stall()
        await sleep(2.0)
        proxy.cut()
        wait_for(lambda: on_disk(site) > 0)
        proxy.resume()
        agent.wait_until_ready()
        ops(agent, "stop", "count")
        ops(agent, "wait", "count", None, 5)
        kept = await recorder.fetch_all(run, 1)
        samples = counted(kept)
        assert len(samples) > 300
        assert samples == list(range(samples[0], samples[0] + len(samples)))


@ensureDeferred
async def test_nothing_is_kept_for_a_recorder_that_has_left(agent, router, site):
    async with wamp_session(router) as session:
        recorder = Recorder(session)
        await recorder.check()
        await count(agent, 0.2)
        await recorder.ask(leave=True)
    assert agent.stop() == 0
    assert on_disk(site) == 0


@ensureDeferred
async def test_two_recorders_each_get_all(agent, router):
    async with wamp_session(router) as session:
        one, two = Recorder(session, "one"), Recorder(session, "two")
        run = (await one.check())["session_id"]
        await two.check()
        await count(agent, 0.3)
        following = (await one.check())["runs"][run][1]
        await one.check(**{run: following})
        assert sorted(await two.fetch_all(run, 1)) == list(range(1, following))
        assert (await two.check(**{run: following}))["runs"][run] == [following, following]


@ensureDeferred
async def test_nonsense_is_refused_in_a_line(agent, router):
    async with wamp_session(router) as session:
        for request in (None, [], {"recorder": "r"}, {"recorder": "r", "every": 1, "run": "x", "from": -1}):
            with pytest.raises(ApplicationError) as refused:
                await session.call(f"{ADDRESS}.replay", request)
            assert refused.value.error == "ocs.error.invalid_request"
