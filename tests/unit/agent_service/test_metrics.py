"""What the service counts, as Prometheus reads it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ocs.agent_service.metrics import BUCKETS, Metrics

LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [-+0-9.e]+')


def lines(metrics, gauges=None, components=None):
    return metrics.text(gauges or {}, components or {}).splitlines()


def samples(told):
    return dict(line.rsplit(" ", 1) for line in told if not line.startswith("#"))


def test_requests_are_counted_by_kind_and_answer():
    metrics = Metrics()
    metrics.answered("KillComponent", "Killed", 0.2)
    metrics.answered("KillComponent", "Killed", 0.2)
    metrics.answered("KillComponent", "Failed", 0.2)
    told = samples(lines(metrics))
    assert told['ocs_agent_service_requests_total{request="KillComponent",answer="Killed"}'] == "2"
    assert told['ocs_agent_service_requests_total{request="KillComponent",answer="Failed"}'] == "1"
    assert told['ocs_agent_service_request_seconds_count{request="KillComponent"}'] == "3"
    assert told['ocs_agent_service_request_seconds_sum{request="KillComponent"}'] == "0.600000"


@given(st.lists(st.floats(0, 100), max_size=20))
def test_each_bucket_has_all_that_took_no_longer(durations):
    metrics = Metrics()
    for seconds in durations:
        metrics.answered("A", "B", seconds)
    told = samples(lines(metrics))
    for bound in BUCKETS if durations else ():
        shorter = sum(seconds <= bound for seconds in durations)
        assert told[f'ocs_agent_service_request_seconds_bucket{{request="A",le="{bound:g}"}}'] == str(shorter)


def test_gauges_and_components():
    told = samples(lines(Metrics(), {"router_connected": ("Help.", 1.0)}, {"Machine": 2, "Agent": 40}))
    assert told["ocs_agent_service_router_connected"] == "1"
    assert told['ocs_agent_service_components{type="Agent"}'] == "40"
    assert told["ocs_agent_service_running"] == "0"


def test_every_line_is_well_formed_and_every_family_explained():
    metrics = Metrics()
    metrics.answered("A", "B", 3)
    metrics.refused(401)
    told = lines(metrics, {"x": ("Help.", 0.5)}, {"Machine": 1})
    assert all(LINE.fullmatch(line) for line in told if not line.startswith("#"))
    names = {line.split()[2] for line in told if line.startswith("# TYPE")}
    assert {
        re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split(" ")[0]) for line in told if line[0] != "#"
    } <= names
