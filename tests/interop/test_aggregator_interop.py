"""Our aggregator beside the published one: from the same messages, files of the same schema and samples."""

import signal
import time

import pytest
from autobahn.wamp.types import PublishOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.harness.archive import envelope, files_of, frames_of, message, samples_in, scanned
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.interop

FEED = "observatory.lab.feeds.temps"
PROBE = "observatory.lab.feeds.probe"


def knows_probe(agent):
    data = agent.call(".ops", "status", "record")[2].get("data") or {}
    return PROBE in data.get("providers", {})


async def publish(session, data, feed):
    await session.publish(feed["address"], [data, feed], options=PublishOptions(acknowledge=True))


@pytest.fixture
def both(site, run_agent, published_python, tmp_path):
    """Our aggregator and the published one, both recording, and their folders."""
    folders = tmp_path / "ours", tmp_path / "theirs"
    for folder in folders:
        folder.mkdir()
        arguments = ["--data-dir", str(folder), "--initial-state", "record"]
        site.add_instance("AggregatorAgent", f"agg-{folder.name}", arguments)
    return (run_agent("agg-ours"), run_agent("agg-theirs", python=published_python)), folders


def schema(folder):
    """Return the types of everything in the frames of each kind, blocks included."""
    found = {}
    for path in files_of(folder):
        for frame in frames_of(path):
            types = {key: type(frame[key]).__name__ for key in frame.keys()}  # noqa: SIM118 - spt3g's map
            kind = int(frame["hkagg_type"])
            if kind == 2 and frame["address"] == FEED:
                block = frame["blocks"][0]
                types |= {f"blocks.{key}": type(block[key]).__name__ for key in block.keys()}  # noqa: SIM118 - the same
                types["blocks.times"] = type(block.times).__name__
            if kind == 1 and len(frame["providers"]):
                entry = frame["providers"][0]
                types |= {f"providers.{key}": type(entry[key]).__name__ for key in entry.keys()}  # noqa: SIM118 - the same
            found[kind] = found.get(kind, {}) | types
    return found


@ensureDeferred
async def test_both_write_the_same_samples_in_the_same_schema(router, both):
    agents, (ours, theirs) = both
    times = [1_790_000_000.0 + i / 9 for i in range(200)]
    async with wamp_session(router) as session:
        deadline = time.monotonic() + 30
        while not all([await deferToThread(knows_probe, agent) for agent in agents]):
            assert time.monotonic() < deadline, [agent.output for agent in agents]
            await publish(session, message([time.time()], x=[1.0]), envelope(PROBE))
            await deferLater(reactor, 0.2)
        for first in range(0, 200, 10):
            part = times[first : first + 10]
            columns = {
                "f": [t % 7 for t in part],
                "i": list(range(first, first + 10)),
                "b": [i % 2 == 0 for i in range(10)],
                "s": [f"{t}" for t in part],
            }
            await publish(session, message(part, **columns), envelope(FEED))
        await deferLater(reactor, 2)  # the published one takes its data once a second and forgets the rest at its end
        for agent in agents:
            await deferToThread(agent.stop, signal.SIGINT, 20)
    mine, other = samples_in(files_of(ours)), samples_in(files_of(theirs))

    assert schema(ours) == schema(theirs)
    for field in ("f", "i", "b", "s"):
        name = f"{FEED}.{field}"
        assert [value for _, value in mine[name]] == [value for _, value in other[name]]
        assert [when for when, _ in mine[name]] == pytest.approx([when for when, _ in other[name]], abs=3.3e-7)
    fields = set(scanned(files_of(ours)))
    assert {name for name in fields if ".feeds.notes." not in name} == set(scanned(files_of(theirs)))
