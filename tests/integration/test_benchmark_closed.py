"""What the benchmark calls a closed site is one, and its raw programs get in."""

import sys
import urllib.error
import urllib.request

import pytest

from benchmarks import closed as closed_benchmark
from benchmarks.agent_start import INSTANCE, start
from benchmarks.bench import Bench
from benchmarks.closed import at_home, closed_site
from benchmarks.sides import OURS, PUBLISHED, Side


def test_ours_is_measured_at_a_closed_site(tmp_path, monkeypatch):
    monkeypatch.setattr(closed_benchmark, "peer", lambda _: sys.executable)
    figures = at_home(start, Bench(tmp_path), Side(OURS, sys.executable))
    assert figures["wall"] > 0
    assert figures["cpu"] > 0
    (site,) = tmp_path.glob("closed-*")
    log = (site / f"{INSTANCE}-{OURS}.out").read_text()
    assert "joined test_realm" in log
    assert "this site is open" not in log


def test_nobody_gets_in_there_without_a_key(tmp_path):
    with closed_site(Bench(tmp_path)) as closed:
        request = urllib.request.Request(closed.http_url, b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=10, context=closed._context)
        assert closed.call("wamp.session.count") >= 0


def test_the_published_package_is_measured_where_it_can_be():
    bench = object()
    assert at_home(lambda where, _: where, bench, Side(PUBLISHED, "")) is bench
