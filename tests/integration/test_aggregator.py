"""The aggregator on a real router: what publishers send is in the files when it has ended."""

import contextlib
import json
import math
import signal
import subprocess
import sys
import time

import pytest
from autobahn.wamp.types import PublishOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.harness.archive import envelope, files_of, frames_of, message, samples_in, scanned
from tests.harness.examples import examples
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

ACKNOWLEDGED = PublishOptions(acknowledge=True)
FEED = "observatory.lab.feeds.temps"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "hk"


@pytest.fixture
def start(site, run_agent, folder):
    """Start an aggregator of the test's site."""

    def run(*arguments, state="record", site=site):
        site.add_instance("AggregatorAgent", "agg", ["--data-dir", str(folder), "--initial-state", state, *arguments])
        return run_agent("agg", site=site)

    return run


def record_status(agent):
    return agent.call(".ops", "status", "record")[2]


def providers(agent):
    """Return what the recording tells of each feed; nothing, as long as it has told nothing."""
    return record_status(agent).get("data", {}).get("providers", {})


async def until(condition):
    """Wait for a condition that is looked at outside the reactor, and return its value."""
    deadline = time.monotonic() + 20
    while not (value := await deferToThread(condition)):
        assert time.monotonic() < deadline, "it did not happen in time"
        await deferLater(reactor, 0.05)
    return value


async def send(session, data, feed=None):
    feed = feed or envelope(FEED)
    await session.publish(feed.get("address", FEED), [data, feed], options=ACKNOWLEDGED)


async def heard(session, agent):
    """Wait until the aggregator hears what the session publishes."""
    probe = envelope("observatory.lab.feeds.probe")

    def known():
        return probe["address"] in providers(agent)

    deadline = time.monotonic() + 20
    while not await deferToThread(known):
        assert time.monotonic() < deadline, agent.output
        await send(session, message([time.time()], x=[1]), probe)
        await deferLater(reactor, 0.1)


@ensureDeferred
async def test_every_published_sample_is_in_the_file_after_sigterm(router, start, folder):
    agent = start()
    times = [1_790_000_000.0 + i / 50 for i in range(1000)]
    async with wamp_session(router) as session:
        await heard(session, agent)
        for first in range(0, 1000, 20):
            part = times[first : first + 20]
            await send(session, message(part, a=[t % 7 for t in part], n=list(range(first, first + 20))))
        before = time.monotonic()
        assert await deferToThread(agent.stop, signal.SIGTERM) == 0
        assert time.monotonic() - before < 5
    found = scanned(files_of(folder))

    assert [value for _, value in found[f"{FEED}.n"]] == list(range(1000))
    assert [value for _, value in found[f"{FEED}.a"]] == [t % 7 for t in times]
    assert [when for when, _ in found[f"{FEED}.a"]] == pytest.approx(times, abs=2.4e-7)


BAD = [
    (message([None], a=[1]), envelope(FEED)),
    (message(["x"], a=[1]), envelope(FEED)),
    (message([math.nan], a=[1]), envelope(FEED)),
    (message([1.0], z=[1]), envelope(FEED)),
    (message([1.0], a=[1, 2]), envelope(FEED)),
    (message([1.0, 2.0], a=[1, 2.5]), envelope(FEED)),
    (message([1.0], a=[2**70]), envelope(FEED)),
    (message([1.0], a=[None]), envelope(FEED)),
    (message([1.0], a=["x" * 900_000]), envelope(FEED)),
    (message([1.0], a=[1]), envelope(FEED, agg_params=None)),
    (message([1.0], a=[1]), envelope(FEED, agg_params={"frame_length": "soon"})),
    (message([1.0], a=[1]), {"record": True}),
    (None, envelope(FEED)),
    ({"t": None}, envelope(FEED)),
    (message([1.0], **{"\n": [1], "a b": [2]}), envelope(FEED)),
]


@ensureDeferred
async def test_bad_messages_cost_nobody_a_sample(router, start, folder):
    agent = start()
    other = envelope("observatory.good.feeds.temps")
    async with wamp_session(router) as session:
        await heard(session, agent)
        for number, (data, feed) in enumerate(BAD):
            await send(session, data, feed)
            await send(session, message([100.0 + number], a=[number]))
            await send(session, message([100.0 + number], a=[number]), other)
        assert (await deferToThread(record_status, agent))["status"] == "running"
        assert await deferToThread(agent.stop, signal.SIGTERM) == 0
    found = samples_in(files_of(folder))

    expected = [(100.0 + number, number) for number in range(len(BAD))]
    assert found["observatory.good.feeds.temps.a"] == expected
    assert [sample for sample in found[f"{FEED}.a"] if sample[0] >= 100] == expected
    assert "Traceback" not in agent.output


@ensureDeferred
async def test_a_feed_that_is_not_recorded_leaves_no_trace(router, start, folder):
    agent = start()
    quiet = envelope("observatory.lab.feeds.chat", record=False)
    async with wamp_session(router) as session:
        await heard(session, agent)
        await send(session, message([1.0], a=[1]), quiet)
        await send(session, message([1.0], a=[1]))
        await deferToThread(agent.stop)

    assert not [name for name in samples_in(files_of(folder)) if "chat" in name]
    assert samples_in(files_of(folder))[f"{FEED}.a"] == [(1.0, 1)]


@ensureDeferred
async def test_recording_is_started_and_stopped_by_a_client(router, start, folder):
    agent = start(state="idle")
    assert record_status(agent) == {}
    async with wamp_session(router) as session:
        await deferToThread(agent.call, ".ops", "start", "record")
        await heard(session, agent)
        await send(session, message([1.0], a=[1]))
        await deferToThread(agent.call, ".ops", "stop", "record")
        code, _, ended = await deferToThread(agent.call, ".ops", "wait", "record", None, 5.0)

    assert (code, ended["success"], ended["data"]["current_file"]) == (0, True, None)
    assert samples_in(files_of(folder))[f"{FEED}.a"] == [(1.0, 1)]


@ensureDeferred
async def test_files_follow_each_other_without_a_gap(router, start, folder):
    agent = start("--time-per-file", "1")
    async with wamp_session(router) as session:
        await heard(session, agent)
        sent = []
        while len(files_of(folder)) < 3 or len(sent) < 50:
            assert len(sent) < 2000
            sent.append((time.time(), len(sent)))
            await send(session, message([sent[-1][0]], a=[sent[-1][1]]))
            await deferLater(reactor, 0.02)
        complete = files_of(folder)[0]
        assert frames_of(complete)
        await deferToThread(agent.stop)
    found = samples_in(files_of(folder))

    assert [value for _, value in found[f"{FEED}.a"]] == list(range(len(sent)))


@ensureDeferred
async def test_it_records_again_after_the_router_was_killed(own_router, make_site, start, folder):
    agent = start("--crossbar-timeout", "60", site=make_site(own_router, "own"))
    async with wamp_session(own_router) as session:
        await heard(session, agent)
        await send(session, message([1.0], a=[1]))
        await until(lambda: providers(agent).get(FEED))
    await deferToThread(own_router.kill)
    await deferToThread(own_router.start)
    back = time.time()
    async with wamp_session(own_router) as session:
        number = 1
        while await deferToThread(last_refresh, agent) < back:
            assert time.time() < back + 30, agent.output
            number += 1
            await send(session, message([float(number)], a=[number]))
            await deferLater(reactor, 0.1)
        assert await deferToThread(agent.stop) == 0
    found = samples_in(files_of(folder))[f"{FEED}.a"]

    assert found[0] == (1.0, 1)
    assert found[-1] == (float(number), number)


def last_refresh(agent):
    """Return when the feed last sent something, 0 while the aggregator is not back."""
    with contextlib.suppress(LookupError):
        return providers(agent)[FEED]["last_refresh"]
    return 0.0


def test_fake_data_is_recorded_and_checkdata_finds_it(site, run_agent, start, folder):
    site.add_instance("FakeDataAgent", "faker", ["--mode", "acq", "--num-channels", "3", "--sample-rate", "20"])
    agent = start()
    run_agent("faker")
    wait_for(lambda: "observatory.faker.feeds.false_temperatures" in providers(agent))
    assert agent.stop(signal.SIGTERM) == 0
    report = subprocess.run(
        [sys.executable, "-m", "ocs.cli.checkdata", "--json", str(folder)], capture_output=True, check=True, timeout=60
    )
    feeds = {feed["address"]: feed for feed in json.loads(report.stdout)["feeds"]}
    faker = feeds["observatory.faker.feeds.false_temperatures"]

    assert sorted(faker["fields"]) == ["channel_00", "channel_01", "channel_02"]
    assert faker["samples"] >= 1
    assert faker["age"] < 60


def test_while_it_is_well_an_agent_writes_nothing_to_its_own_disk(site, run_agent, start):
    site.add_instance("FakeDataAgent", "faker", ["--mode", "acq", "--num-channels", "3", "--sample-rate", "20"])
    agent = start()
    run_agent("faker")
    feed = "observatory.faker.feeds.false_temperatures"
    wait_for(lambda: providers(agent).get(feed, {}).get("last_refresh", 0) > 0)
    began = time.time()
    wait_for(lambda: providers(agent)[feed]["last_refresh"] > began + 5)
    written = [path for path in (site.state_dir / "test_realm" / "observatory.faker").rglob("*") if path.is_file()]
    assert [path.name for path in written] == ["recorders.json"]


def test_the_example_of_its_page_runs(site, run_agent, folder, monkeypatch, capsys):
    site.add_instance("AggregatorAgent", "aggregator", ["--data-dir", str(folder)])
    run_agent("aggregator")
    monkeypatch.setenv("OCS_CONFIG_DIR", str(site.directory))
    (example,) = [code for what, code in examples("agents/aggregator.md") if what == "run with the agent"]
    exec(example, {})

    assert "current_file" in capsys.readouterr().out
    assert len(files_of(folder)) == 1
