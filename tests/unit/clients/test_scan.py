"""Topics as people write them, and the report of who is alive."""

import pytest

from ocs.clients.scan import AgentFound, as_json, from_monitor, from_registry, op_code_name, report, resolve_topic
from ocs.errors import TopicError
from ocs.monitor import SiteMonitor

AGENTS = [
    AgentFound("fake-1", "FakeDataAgent", {"acq": 3, "delay_task": 1, "set_heartbeat": 5}),
    AgentFound("registry", "RegistryAgent", {"main": 8}),
    AgentFound("x", "X", {"old": 7}, expired=True),
]


@pytest.mark.parametrize(
    ("selector", "uri"),
    [
        ("fake-1", "observatory.fake-1.feeds."),
        ("fake-1.feeds.heartbeat", "observatory.fake-1.feeds.heartbeat"),
        ("fake-1.feeds.", "observatory.fake-1.feeds."),
        ("..feeds.heartbeat", "observatory..feeds.heartbeat"),
        (".feeds.heartbeat", "observatory..feeds.heartbeat"),
        ("..feeds.", "observatory..feeds."),
        ("observatory..feeds.heartbeat", "observatory..feeds.heartbeat"),
        ("observatory.fake-1.feeds.heartbeat", "observatory.fake-1.feeds.heartbeat"),
        ("other.fake-1.feeds.heartbeat", "other.fake-1.feeds.heartbeat"),
    ],
)
def test_topics_are_relative_to_the_address_root_or_whole(selector, uri):
    topic = resolve_topic(selector, "observatory")
    assert topic.uri == uri
    assert topic.match == ("wildcard" if "" in uri.split(".") else None)


@pytest.mark.parametrize("selector", ["", "a b", "fake-1.feeds.heart beat", "x#y", "tab\there"])
def test_what_cannot_be_a_topic_is_refused_by_name(selector):
    with pytest.raises(TopicError, match="is no topic"):
        resolve_topic(selector, "observatory")


def test_the_report_tells_what_runs():
    lines = report(AGENTS, details=False)
    assert lines == [
        "  fake-1    FakeDataAgent  acq running",
        "  registry  RegistryAgent  main degraded",
        "  x         X              expired: no heartbeat",
    ]
    assert report([AgentFound("x", "X", {"a": 1})], details=False) == ["  x  X  idle"]


def test_the_detailed_report_has_a_line_per_operation():
    assert report(AGENTS[:1], details=True)[1:] == [
        "    acq                 : RUNNING",
        "    delay_task          : NONE",
        "    set_heartbeat       : SUCCEEDED",
    ]


def test_nobody_is_no_lines():
    assert report([], details=True) == []


@pytest.mark.parametrize(("code", "name"), [(3, "RUNNING"), (99, "99"), (None, "None"), ("x", "x")])
def test_unknown_op_codes_are_shown_as_they_are(code, name):
    assert op_code_name(code) == name


def test_json_has_names_of_op_codes():
    assert as_json(AGENTS[:1]) == [
        {
            "instance_id": "fake-1",
            "agent_class": "FakeDataAgent",
            "expired": False,
            "operations": {"acq": "RUNNING", "delay_task": "NONE", "set_heartbeat": "SUCCEEDED"},
        }
    ]


def test_only_agents_with_a_heartbeat_are_alive():
    monitor = SiteMonitor()
    envelope = {"agent_address": "observatory.b", "feed_name": "heartbeat", "agent_class": "B"}
    monitor.feed([{"main": 3}, envelope], 0.0)
    monitor.feed([1, {**envelope, "agent_address": "observatory.a", "feed_name": "other"}], 0.0)
    monitor.feed("nonsense", 0.0)
    assert from_monitor(monitor, 1.0) == [AgentFound("b", "B", {"main": 3}, expired=False)]


def test_a_registrys_data_are_read_and_its_oddities_survived():
    data = {
        "observatory.b": {"expired": True, "op_codes": {"acq": 7}, "agent_class": "B"},
        "observatory.a": {"expired": False, "op_codes": None, "agent_class": None},
        "oddity": 3,
    }
    assert from_registry(data) == [AgentFound("a", "?", {}), AgentFound("b", "B", {"acq": 7}, expired=True)]
