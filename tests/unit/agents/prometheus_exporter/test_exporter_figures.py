"""What is read from the status of agents, and how it is told to Prometheus."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ocs.agents.prometheus_exporter.exposition import expose
from ocs.agents.prometheus_exporter.figures import ASKED, FAMILIES, Figure, figures_of, text

NOW = 1790000100.0
RECORDER = {
    "current_file": "/data/hk/17900/1790000000.g3",
    "providers": {
        "a": {"last_refresh": NOW - 8.0, "stale": False},
        "b": {"last_refresh": NOW - 2.0, "stale": False},
    },
    "values_recorded": 86400,
    "dropped": {"timestamps": 2},
    "waiting_bytes": 7,
    "messages": {"behind": 3, "lost": 1},
    "disk_free_bytes": 10**12,
}
MANAGER = {
    "host": {"name": "daq-1", "load": 0.5, "memory_bytes": 8, "memory_used_bytes": 4, "disk_free_bytes": None},
    "child_states": [
        {
            "instance_id": "thermo",
            "next_action": "up",
            "target_state": "up",
            "restarts": 3,
            "cpu_seconds": 12.5,
            "memory_bytes": 50_000_000,
            "stability": 0.5,
        },
        {"instance_id": "away", "next_action": "down", "target_state": "down", "restarts": 0, "memory_bytes": None},
    ],
}
ALARMS = [
    {"rule": "no-data", "subject": "a.temps", "severity": "critical", "state": "firing"},
    {"rule": "no-data", "subject": "b.temps", "severity": "critical", "state": "pending"},
]


def read(agent_class, data, agent="it"):
    return {(name, labels): value for name, labels, value in figures_of(agent_class, agent, data, NOW)}


def test_a_recorder():
    assert read("AggregatorAgent", RECORDER) == {
        ("ocs_recorder_samples_total", ("it",)): 86400,
        ("ocs_recorder_queue_bytes", ("it",)): 7,
        ("ocs_recorder_disk_free_bytes", ("it",)): 1e12,
        ("ocs_recorder_lost_messages_total", ("it",)): 1,
        ("ocs_recorder_behind_messages", ("it",)): 3,
        ("ocs_recorder_dropped_messages_total", ("it", "timestamps")): 2,
        ("ocs_recorder_lag_seconds", ("it",)): 2.0,
        ("ocs_recorder_file_age_seconds", ("it",)): 100.0,
    }


def test_a_recorder_without_a_file_has_no_age_of_it():
    assert ("ocs_recorder_file_age_seconds", ("it",)) not in read("AggregatorAgent", {**RECORDER, "current_file": None})


@pytest.mark.parametrize("agent_class", ["InfluxDBAgent", "InfluxDBAgentv2"])
def test_a_publisher_tells_what_it_drops_from_zero_on(agent_class):
    data = {"connected": False, "points": 5, "spool_bytes": 9, "lag": 0.5, "dropped": {"retention": 2}}
    found = read(agent_class, data)
    assert found["ocs_influx_connected", ("it",)] == 0.0
    assert found["ocs_influx_dropped_points_total", ("it", "retention")] == 2
    assert found["ocs_influx_dropped_points_total", ("it", "refused")] == 0


def test_a_host_manager_and_its_instances():
    assert read("HostManager", MANAGER) == {
        ("ocs_host_load", ("daq-1",)): 0.5,
        ("ocs_host_memory_bytes", ("daq-1",)): 8,
        ("ocs_host_memory_used_bytes", ("daq-1",)): 4,
        ("ocs_instance_up", ("daq-1", "thermo")): 1,
        ("ocs_instance_wanted", ("daq-1", "thermo")): 1,
        ("ocs_instance_restarts_total", ("daq-1", "thermo")): 3,
        ("ocs_instance_cpu_seconds_total", ("daq-1", "thermo")): 12.5,
        ("ocs_instance_memory_bytes", ("daq-1", "thermo")): 5e7,
        ("ocs_instance_stability", ("daq-1", "thermo")): 0.5,
        ("ocs_instance_up", ("daq-1", "away")): 0,
        ("ocs_instance_wanted", ("daq-1", "away")): 0,
        ("ocs_instance_restarts_total", ("daq-1", "away")): 0,
    }


def test_a_pysmurf_monitor_has_those_in_its_queue_that_wait_and_those_that_are_tried_again():
    data = {"files_entered_total": 10, "files_queued": 3, "files_pending": 1, "datagrams_dropped_total": 0}
    found = read("PysmurfMonitor", data)
    assert found["ocs_pysmurf_queue_files", ("it",)] == 4
    assert found["ocs_pysmurf_files_total", ("it", "entered")] == 10
    assert found["ocs_pysmurf_datagrams_total", ("it", "dropped")] == 0


def test_alarms_that_only_may_become_some_are_counted_but_not_active():
    found = read("WatcherAgent", {"alarms": ALARMS})
    assert found["ocs_watcher_alarm_active", ("no-data", "a.temps", "critical")] == 1
    assert ("ocs_watcher_alarm_active", ("no-data", "b.temps", "critical")) not in found
    assert found["ocs_watcher_alarms", ("it", "critical", "pending")] == 1
    assert found["ocs_watcher_alarms", ("it", "warning", "firing")] == 0


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=10,
)
keys = st.sampled_from(sorted({*RECORDER, *MANAGER, "alarms", "host", "connected", "files_queued", "lag"}))
data_of_any_make = anything | st.dictionaries(keys, anything, max_size=6)


@given(st.sampled_from(sorted(ASKED)), data_of_any_make, st.text(max_size=300))
def test_whatever_an_agent_tells_becomes_figures_that_can_be_exposed_and_read_back(agent_class, data, agent):
    figures = figures_of(agent_class, agent, data, NOW)
    for figure in figures:
        assert len(figure.labels) == len(FAMILIES[figure.name].labels)
    exposed = expose([], figures, "", 1000)
    families = list(text_string_to_metric_families(exposed.body.decode()))
    samples = {(sample.name, *sample.labels.values()) for family in families for sample in family.samples}
    assert {(figure.name, *figure.labels) for figure in figures} <= samples


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=400))
def test_texts_are_bounded_and_can_be_sent(given_text):
    cleaned = text(given_text)
    assert len(cleaned) <= 255
    cleaned.encode("utf-8")


def test_beyond_the_room_there_is_series_are_left_out_and_counted():
    figures = [Figure("ocs_agent_messages_total", (str(n),), 1.0) for n in range(10)]
    exposed = expose([Figure("ocs_router_connected", (), 1.0)], figures, "", 4)
    lines = exposed.body.decode().splitlines()
    assert (exposed.series, exposed.left_out) == (4, 6)
    assert "ocs_exporter_left_out_series 6.0" in lines
    assert "ocs_router_connected 1.0" in lines
    assert sum(line.startswith("ocs_agent_messages_total{") for line in lines) == 4


def test_two_values_with_the_same_labels_become_one():
    exposed = expose([], [Figure("ocs_agents", ("alive",), 1.0), Figure("ocs_agents", ("alive",), 2.0)], "", 10)
    assert [line for line in exposed.body.decode().splitlines() if line.startswith("ocs_agents{")] == [
        'ocs_agents{state="alive"} 2.0'
    ]


def test_openmetrics_for_who_asks_for_it():
    exposed = expose([], [], "application/openmetrics-text; version=1.0.0", 10)
    assert exposed.content_type.startswith("application/openmetrics-text")
    assert exposed.body.endswith(b"# EOF\n")


def test_prometheus_finds_nothing_to_complain_about():
    if shutil.which("promtool") is None:
        pytest.fail("no promtool: apt-get install --no-install-recommends prometheus")
    figures = [Figure(name, tuple("x" for _ in family.labels), 1.0) for name, family in FAMILIES.items()]
    body = expose([], figures, "", 1000).body
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=body, capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
