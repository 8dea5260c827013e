"""Outages of the database, the disk and the publisher: every sample is in the database once they are over."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import asynccontextmanager

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from tests.harness.publishing import AGENT, Publishing
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.faults

DATABASE = "feeds"
START = 1_790_000_000


def status_of(publisher):
    return publisher.call(".ops", "status", "record")[2]


def data_of(publisher):
    return status_of(publisher).get("data") or {}


@pytest.fixture
def start(site, run_agent, own_influxd):
    """Start a publisher and wait until it is connected."""

    def begin(*options, connected=True):
        arguments = ["--host", own_influxd.host, "--port", own_influxd.port, "--database", DATABASE, *options]
        site.add_instance("InfluxDBAgent", "influx-1", arguments)
        agent = run_agent("influx-1")
        if connected:
            wait_for(lambda: data_of(agent).get("connected"))
        return agent

    return begin


class Steady:
    """Publishes a sample every 20 ms, numbered."""

    def __init__(self, session):
        self.count = 0
        self._publish = Publishing(session)
        self._call = LoopingCall(self._one)
        self._call.start(0.02)

    def _one(self):
        self._publish([START + self.count], n=[self.count], text=[f'"{self.count}",\n'])
        self.count += 1

    def stop(self):
        if self._call.running:
            self._call.stop()

    async def until(self, condition, seconds=30.0):
        """Go on until a condition holds, which is looked at in a thread."""
        await deferToThread(wait_for, condition, seconds)


@asynccontextmanager
async def steadily(router):
    async with wamp_session(router) as session:
        steady = Steady(session)
        try:
            yield steady
        finally:
            steady.stop()


async def pause(seconds):
    """Let an outage last; what is published meanwhile is what the test is about."""
    await deferLater(reactor, seconds)


def numbers(server):
    return [row["n"] for row in server.rows(DATABASE, AGENT)]


async def all_arrive(server, steady, seconds=60.0):
    steady.stop()
    wanted = list(range(steady.count))
    try:
        await deferToThread(wait_for, lambda: numbers(server) == wanted, seconds)
    except AssertionError:
        found = await deferToThread(numbers, server)
        assert found == wanted


@ensureDeferred
async def test_a_database_that_is_killed_and_comes_back_has_everything(router, own_influxd, start):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        own_influxd.kill()
        await steady.until(lambda: status_of(publisher)["degraded"])
        data = await deferToThread(data_of, publisher)
        assert not data["connected"]
        assert data["retry_in"] <= 60
        assert "cannot be reached" in data["last_error"]
        await pause(2)
        await deferToThread(own_influxd.start)
        await steady.until(lambda: data_of(publisher)["connected"])
        await all_arrive(own_influxd, steady)
        data = await deferToThread(
            wait_for, lambda: (d := data_of(publisher))["points"] == steady.count and not d["spool_bytes"] and d
        )
        assert data["dropped"] == {}
        assert not (await deferToThread(status_of, publisher))["degraded"]


@ensureDeferred
async def test_a_database_that_hangs_for_a_while_has_everything(router, own_influxd, start):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        own_influxd.freeze()
        await steady.until(lambda: not data_of(publisher)["connected"], 40)
        own_influxd.thaw()
        await steady.until(lambda: data_of(publisher)["connected"])
        await all_arrive(own_influxd, steady)


@ensureDeferred
async def test_a_database_that_is_dropped_is_made_again(router, own_influxd, start):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        own_influxd.query(f'DROP DATABASE "{DATABASE}"')
        dropped_at = steady.count
        await steady.until(lambda: DATABASE in own_influxd.databases() and len(numbers(own_influxd)) > 10)
        steady.stop()
        wanted = list(range(dropped_at, steady.count))
        await deferToThread(wait_for, lambda: numbers(own_influxd)[-len(wanted) :] == wanted)
        assert data_of(publisher)["dropped"] == {}


@ensureDeferred
async def test_a_publisher_that_is_killed_in_an_outage_loses_nothing(router, own_influxd, start, run_agent):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        own_influxd.kill()
        await steady.until(lambda: status_of(publisher)["degraded"])
        await pause(1)
        steady.stop()
        await deferToThread(wait_for, lambda: data_of(publisher)["waiting_points"] > 50)
        await pause(1)  # what was published last is on the disk a quarter of a second later
        publisher.kill()
        again = await deferToThread(start, connected=False)
        await deferToThread(wait_for, lambda: data_of(again).get("waiting_points"))
        await deferToThread(own_influxd.start)
        await all_arrive(own_influxd, steady)


@ensureDeferred
async def test_what_is_spooled_stays_over_a_stop_in_order(router, own_influxd, start):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        own_influxd.kill()
        await steady.until(lambda: status_of(publisher)["degraded"])
        steady.stop()
        await pause(0.5)
        assert await deferToThread(publisher.stop) == 0
        await deferToThread(own_influxd.start)
        await deferToThread(start)
        await all_arrive(own_influxd, steady)


@pytest.fixture
def small_disk(site):
    """The publisher's state on a disk of 4 MiB of its own, which a test can fill."""
    if os.geteuid() != 0:
        pytest.fail("needs root, to mount a small disk")
    folder = site.state_dir
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@ensureDeferred
async def test_a_full_disk_costs_nothing_and_is_told(router, own_influxd, small_disk, start):
    publisher = await deferToThread(start)
    async with steadily(router) as steady:
        await steady.until(lambda: data_of(publisher)["points"] > 10)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - 4096)))
        with ballast.open("ab", buffering=0) as file:  # the rest, as far as it goes
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass
        own_influxd.kill()
        await steady.until(lambda: "cannot be written" in str(status_of(publisher)["messages"]))
        await pause(1)
        await deferToThread(own_influxd.start)
        await all_arrive(own_influxd, steady)  # while the disk is still full
        ballast.unlink()
        await deferToThread(wait_for, lambda: not status_of(publisher)["degraded"])


@ensureDeferred
async def test_a_spool_at_its_bound_drops_the_oldest_and_counts_them(router, own_influxd, start):
    publisher = await deferToThread(start, "--spool-size", "1M")
    own_influxd.kill()
    await deferToThread(wait_for, lambda: not data_of(publisher)["connected"], 40)
    async with wamp_session(router) as session:
        publish = Publishing(session)
        for n in range(150):
            publish([START + n], n=[n], text=["x" * 30000])
            await pause(0.01)
        await deferToThread(
            wait_for, lambda: (d := data_of(publisher))["waiting_points"] + d["dropped"].get("spool_full", 0) == 150
        )
    assert 0 < data_of(publisher)["spool_bytes"] <= (1 << 20) + (128 << 10)
    await deferToThread(own_influxd.start)
    found = await deferToThread(
        wait_for, lambda: (f := numbers(own_influxd)) and data_of(publisher)["waiting_points"] == 0 and f, 60
    )
    data = await deferToThread(data_of, publisher)
    assert found[-1] == 149
    assert len(found) + data["dropped"]["spool_full"] == 150


def test_stopped_while_the_database_is_away_it_ends_at_once(own_influxd, start):
    publisher = start()
    own_influxd.freeze()
    began = time.monotonic()
    assert publisher.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 8  # "within a few seconds"
