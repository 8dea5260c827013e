"""Publishing to InfluxDB: what a point costs, how many arrive in time, and how many a second at most; a real server."""

import contextlib
import json
import os
import shutil
import signal
import time
from functools import partial

from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost
from benchmarks.sides import BenchmarkError
from tests.harness.influx import Influxd

__all__ = ["CASES"]

MODULE, KIND, INSTANCE = "ocs.agents.influxdb_publisher.agent", "InfluxDBAgent", "influx"
DATABASE = "bench"
MILLION = 1e6


@contextlib.contextmanager
def database(bench, side):
    """A real server with nothing in it."""
    if shutil.which("influxd") is None:
        raise BenchmarkError("no influxd: apt-get install --no-install-recommends influxdb")
    folder = bench.directory / f"influx-{side}"
    shutil.rmtree(folder, ignore_errors=True)
    server = Influxd(folder).start()
    try:
        server.query(f'CREATE DATABASE "{DATABASE}"')
        yield server
    finally:
        server.stop()


def publisher(bench, side, server):
    """A publisher that writes from its start."""
    shutil.rmtree(bench.state, ignore_errors=True)
    place = ("--host", server.host, "--port", server.port, "--database", DATABASE)
    return bench.agent(side, MODULE, KIND, INSTANCE, "--initial-state", "record", *place)


def wait_until_running(bench, timeout=20.0):
    """Wait until the process runs, so that nothing of the load comes too early."""
    deadline = time.time() + timeout
    status = ""
    while status != "running" and time.time() < deadline:
        time.sleep(0.1)
        with contextlib.suppress(*NO_ANSWER):
            status = bench.operation(INSTANCE, "status", "record", timeout=5).get("status")
    time.sleep(1.5)  # a published one takes this long from saying so to doing so


def arrived(server):
    """How many points are in the database."""
    found = server.query('SELECT count("channel_00") FROM /.*/', DATABASE)
    return sum(row[1] for series in found for row in series["values"])


@contextlib.contextmanager
def held(agent):
    """Keep a process from running: what is meant for it waits in the router."""
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.pid, signal.SIGCONT)


def taken(server):
    """How many points the database has written, its own statistics left aside: a question that costs it nothing."""
    found = json.loads(server.ask("GET", "/debug/vars")[1])
    shards = [entry for name, entry in found.items() if name.startswith("shard:")]
    return sum(shard["values"]["writePointsOk"] for shard in shards if shard["tags"]["database"] == DATABASE)


def settle(server, wanted, timeout):
    """Wait until so many points are there, or no more come; returns when the last came."""
    deadline = time.time() + timeout
    count, moved = taken(server), time.time()
    while count < wanted and time.time() < deadline and time.time() - moved < 10.0:
        time.sleep(0.05)
        before, count = count, taken(server)
        if count > before:
            moved = time.time()
    return moved


def measured(cost, server, points, took):
    """What so many points have cost, of which some may not have arrived."""
    used = {name: cost.cpu(name) for name in ("publisher", "server")}
    count = arrived(server)
    return {
        "rate": count / max(took, 1e-3),
        "cpu": used["publisher"] / max(count, 1) * MILLION,
        "server": used["server"] / max(count, 1) * MILLION,
        "lost": points - count,
    }


def publish(shape, seconds, bench, side):
    """Publish a load, and wait until it is in the database.

    ``shape`` is (channels, samples per message, messages a second).
    """
    seconds = min(seconds, 3) if bench.quick else seconds
    with (
        database(bench, side) as server,
        publisher(bench, side, server) as agent,
        bench.program("load", bench.ws_url, *shape) as load,
    ):
        load.answer()
        wait_until_running(bench)
        cost = Cost(publisher=agent.pid, server=server.pid)
        began = time.time()
        sent = load.ask(f"run {seconds}", timeout=120)
        points = sent["samples"] // shape[0]
        ended = settle(server, points, 90)
        lag = max(0.0, ended - sent["ended"])
        return measured(cost, server, points, ended - began) | {"lag": lag, "peak": agent.peak()}


def catch_up(shape, seconds, bench, side):
    """Hold the publisher while a load is published; from then on, it and the database have the machine to themselves.

    ``shape`` is the same as for `publish`.
    """
    seconds = min(seconds, 1) if bench.quick else seconds
    with (
        database(bench, side) as server,
        publisher(bench, side, server) as agent,
        bench.program("load", bench.ws_url, *shape) as load,
    ):
        load.answer()
        wait_until_running(bench)
        with held(agent):
            points = load.ask(f"run {seconds}", timeout=120)["samples"] // shape[0]
            wait_until_calm(bench)
            cost = Cost(publisher=agent.pid, server=server.pid)
            began = time.time()
        ended = settle(server, points, 90)
        return measured(cost, server, points, ended - began) | {"peak": agent.peak()}


def wait_until_calm(bench, timeout=30.0):
    """Wait until the router has done what it can."""
    deadline = time.time() + timeout
    used, before = bench.router_cpu(), -1.0
    while used - before > 0.01 and time.time() < deadline:
        time.sleep(1)
        used, before = bench.router_cpu(), used


def case(name, title, shape, seconds, rate_targets=()):
    """A case of a load: one that is published while the publisher looks on, or one that it finds waiting."""
    waiting = bool(rate_targets)
    return Case(
        f"influx {name}",
        title,
        partial(catch_up if waiting else publish, shape, seconds),
        (
            Figure("rate", "points/s into the database", rate_targets),
            Figure("cpu", "publisher CPU (s/M points)", (Target(0.5),)),
            Figure("server", "database CPU (s/M points)"),
            *(() if waiting else (Figure("lag", "behind at the end (s)", (Target(3, ratio=False),)),)),
            Figure("lost", "points lost", (Target(0, ratio=False),)),
            Figure("peak", "peak memory (MiB)", (Target(200, ratio=False),)),
        ),
        rounds=2,
        quick_rounds=1,
    )


AT_LEAST_TWICE = (Target(2, most=False),)

CASES = (
    case("small", "300 messages/s of a point (10 channels)", (10, 1, 300), 10),
    case("arrays", "40 messages/s of 50 points (20 channels)", (20, 50, 40), 10),
    case("backlog small", "80,000 points that wait (10 channels x 1)", (10, 1, 4000), 20, AT_LEAST_TWICE),
    case("backlog arrays", "200,000 points that wait (20 channels x 50)", (20, 50, 400), 10, AT_LEAST_TWICE),
    case("backlog long", "1,000,000 points that wait (4 channels x 200)", (4, 200, 1000), 5, AT_LEAST_TWICE),
)
