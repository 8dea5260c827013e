"""What it costs that a site is closed: ours with keys and TLS, beside the published package at its open router."""

import contextlib
import os
import ssl
import time
import urllib.request
from functools import partial

from benchmarks import agent_start, client, requests
from benchmarks.aggregator import record, recorded_agent
from benchmarks.bench import Bench, hub_of
from benchmarks.case import Case, Figure, Target
from benchmarks.publish import Load, figures, run
from benchmarks.sides import OURS, BenchmarkError, Side, both_sides, peer
from ocs.keys.finding import AUTHORITY_FILE, key_path
from ocs.keys.making import make_site
from ocs.keys.signing import SigningKey
from ocs.keys.table import Identity
from ocs.router.closed import closed_config
from ocs.router.server import Router

__all__ = ["CASES", "ClosedBench"]

AGENTS = ("faker", "publisher", "aggregator", "load")
KEYS_VARIABLE = "BENCH_KEYS"
"""Tells the raw WAMP programs of a closed site where the keys are."""


class ClosedBench(Bench):
    """A bench with a closed router: all its agents have keys, and so has who asks from outside."""

    def __init__(self, directory, quick=False):
        super().__init__(directory, quick)
        self._token, self._token_ends = "", 0.0
        self._context = ssl.create_default_context(cafile=str(self.keys / AUTHORITY_FILE))

    @property
    def keys(self):
        """The folder of keys."""
        return self.directory / "keys"

    def _hub(self):
        hub = hub_of(self.port)
        return {
            **hub,
            "wamp_server": hub["wamp_server"].replace("ws:", "wss:"),
            "wamp_http": hub["wamp_http"].replace("http:", "https:"),
            "keys": str(self.keys),
        }

    def _new_router(self, hub):
        agents = [Identity(name, "agent", (name,)) for name in AGENTS]
        make_site(self.keys, [*agents, Identity("client", "client")], ["127.0.0.1"], time.time())
        return Router(closed_config(hub, self.keys, host="127.0.0.1"), self.directory / "router")

    def __enter__(self):
        os.environ[KEYS_VARIABLE] = str(self.keys)
        return super().__enter__()

    def __exit__(self, *args):
        del os.environ[KEYS_VARIABLE]
        super().__exit__(*args)

    def _open(self, request, timeout):
        if time.time() > self._token_ends:
            key = SigningKey.read(key_path(self.keys, "client"))
            self._token, self._token_ends = key.token(self.realm, time.time()), time.time() + 60
        request.add_header("Authorization", f"Bearer {self._token}")
        return urllib.request.urlopen(request, timeout=timeout, context=self._context)


@contextlib.contextmanager
def closed_site(bench):
    """A closed site beside the open one."""
    folder = bench.directory / f"closed-{time.monotonic_ns()}"
    folder.mkdir()
    with ClosedBench(folder, bench.quick) as closed:
        yield closed


def with_tls(side):
    """Ours with what a closed site takes beside (the extra `keys`).

    Raises:
        BenchmarkError: there is no such environment.
    """
    python = peer("closed")
    if not os.access(python, os.X_OK):
        raise BenchmarkError(f"no environment for a closed site at {python}: run `make peers`, or set OCS_PEERS")
    return Side(side.name, python)


def at_home(measure, bench, side):
    """Measure ours at a closed site, the published package at the open one that it needs."""
    if side.name != OURS:
        return measure(bench, side)
    with closed_site(bench) as closed:
        return measure(closed, with_tls(side))


def load_of_ours(bench, shape):
    """An agent of ours that numbers its messages, whoever records it."""
    ours, _ = both_sides()
    return recorded_agent(bench, with_tls(ours) if isinstance(bench, ClosedBench) else ours, shape)


def case(name, measure, shown, **kwargs):
    """The measurement of an open site, made once more."""
    return Case(
        f"closed {name}", f"{name}, ours at a closed site, TLS and all", partial(at_home, measure), shown, **kwargs
    )


CASES = (
    case(
        "agent start",
        agent_start.start,
        (Figure("wall", "wall (s)"), Figure("cpu", "CPU (s)"), Figure("rss", "memory, RSS (MiB)")),
        rounds=5,
    ),
    case(
        "client build",
        client.build,
        (Figure("wall", "wall (ms)"), Figure("script", "CPU of the whole script (s)")),
        rounds=5,
    ),
    case(
        "client calls",
        client.calls,
        (
            Figure("median", "median (ms)"),
            Figure("p99", "99th percentile (ms)"),
            Figure("client", "client CPU (ms/call)"),
            Figure("agent", "agent CPU (ms/call)"),
            Figure("router", "router CPU (ms/call)"),
            Figure("rate", "one caller (calls/s)"),
            Figure("rate_threads", f"{client.THREADS} threads (calls/s)"),
        ),
    ),
    case("requests", requests.requests, requests.FIGURES),
    case("publish paced", partial(run, Load("single", "unbuffered", 5_000, rate=1000)), figures(), quick_rounds=0),
    case("publish arrays", partial(run, Load("arrays", "unbuffered", count=1000, per_message=10_000)), figures()),
    case(
        "aggregator numbered 1M",
        partial(record, (20, 50, 1000), load_of_ours),
        (
            Figure("cpu", "recorder CPU (s/M samples)"),
            Figure("router", "router CPU (s/M samples)"),
            Figure("publisher", "publisher CPU (s/M samples)"),
            Figure("lag", "behind at the end (s)", (Target(2, ratio=False),)),
            Figure("lost", "samples lost", (Target(0, ratio=False),)),
        ),
        quick_rounds=0,
    ),
)
