"""A database that the published publisher has filled, and ours: one after the other, either way round."""

import json
import sys
from uuid import uuid4

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from ocs.common.influxdb_drivers import format_data, timestamp2influxtime
from tests.harness.agents import start_agent
from tests.harness.peers import answers
from tests.harness.publishing import Publishing, envelope, message
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.interop

START = 1_790_000_000.25
TIMES = [START, START + 0.1, START + 0.123456789]
COLUMNS = {
    "float": [1.5, 2.0, -3e300],
    "integer": [1, -(2**62), 2**53 + 1],
    "boolean": [True, False, True],
    "string": ["a", "with space", "a,b=c"],
}
TYPES = {"float": "float", "integer": "integer", "boolean": "boolean", "string": "string"}

DRIVERS = """
import json, sys
from ocs.common.influxdb_drivers import format_data, timestamp2influxtime
message, feed, times = json.load(sys.stdin)
both = [[format_data(message, feed, p), [timestamp2influxtime(t, p) for t in times]] for p in ("line", "json")]
print(json.dumps(both))
"""


def test_the_drivers_give_what_the_published_ones_give(published_python):
    block = message(TIMES, **COLUMNS)
    given = json.dumps([block, envelope(), TIMES])
    published = answers(published_python, "-c", DRIVERS, input=given)
    for protocol, (formatted, times) in zip(("line", "json"), published, strict=True):
        assert format_data(block, envelope(), protocol) == formatted
        assert [timestamp2influxtime(t, protocol) for t in TIMES] == times


@pytest.fixture
def publisher(site, influxd, published_python):
    """Start a publisher of either side; it is ended with the test."""
    started = []

    def begin(side, database, *options):
        arguments = ["--host", influxd.host, "--port", influxd.port, "--database", database, *options]
        site.add_instance("InfluxDBAgent", f"influx-{side}", arguments)
        python = {"ours": sys.executable, "published": published_python}[side]
        handle = start_agent(site, f"influx-{side}", python=python)
        started.append(handle)
        handle.wait_until_ready()
        wait_for(lambda: handle.call(".ops", "status", "record")[2].get("status") == "running")
        return handle

    yield begin
    for handle in started:
        handle.kill()


async def published_until(arrived, publish, times):
    """Publish the columns again and again until they have arrived; return whether they have."""
    for _ in range(10):
        publish(times, **COLUMNS)
        try:
            await deferToThread(wait_for, arrived, 2.0)
        except AssertionError:
            continue
        return True
    return False


@pytest.mark.parametrize("protocol", ["line", "json"])
@pytest.mark.parametrize("order", [("published", "ours"), ("ours", "published")], ids="-then-".join)
@ensureDeferred
async def test_each_writes_into_what_the_other_has_filled(router, influxd, publisher, order, protocol):
    database, agent = f"both-{uuid4()}", "observatory.swapped"
    count = 0
    for turn, side in enumerate(order):
        times = [t + 10 * turn for t in TIMES]
        count += len(TIMES)

        def arrived(wanted=count):
            return len(influxd.rows(database, agent)) == wanted

        # The published one has no sign of being ready: it is published to until something arrives. Now and then it
        # never writes anything after it has made the database; then it is started again.
        for starts_left in range(2 if side == "published" else 0, -1, -1):
            handle = await deferToThread(publisher, side, database, "--protocol", protocol)
            async with wamp_session(router) as session:
                if await published_until(arrived, Publishing(session, agent), times):
                    break
            if starts_left:
                await deferToThread(handle.kill)
        rows = await deferToThread(influxd.rows, database, agent)
        assert len(rows) == count, handle.output[-3000:]
        await deferToThread(handle.kill)
    assert influxd.types(database, agent) == TYPES
    for turn in range(2):
        part = rows[turn * len(TIMES) : (turn + 1) * len(TIMES)]
        assert [{name: row[name] for name in COLUMNS} for row in part] == [
            dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)
        ]
        assert {row["feed"] for row in part} == {"temps"}
    moved = [row["time"] - 10_000_000_000 for row in rows[len(TIMES) :]]
    assert moved == pytest.approx([row["time"] for row in rows[: len(TIMES)]], abs=1000)


@ensureDeferred
async def test_both_at_once_write_the_same_points(router, influxd, publisher):
    database, agent = f"both-{uuid4()}", "observatory.twice"
    for side in ("published", "ours"):
        await deferToThread(publisher, side, database)
    async with wamp_session(router) as session:
        publish = Publishing(session, agent)

        def written(handle_points):
            return len(influxd.rows(database, agent)) == handle_points

        for _ in range(20):
            publish(TIMES, **COLUMNS)
            try:
                await deferToThread(wait_for, lambda: written(len(TIMES)), 2.0)
                break
            except AssertionError:
                continue
        for n in range(10):
            publish([START + 100 + n * 0.1], **{name: column[:1] for name, column in COLUMNS.items()})
        await deferToThread(wait_for, lambda: written(len(TIMES) + 10))
        assert await deferToThread(lambda: len(influxd.rows(database, agent))) == len(TIMES) + 10
