"""What a HostManager says, taken from its session's data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.site_config import InstanceConfig
from ocs.up.managed import ManagedChild, ManagerReport, planned

STATE = {
    "next_action": "start_at",
    "target_state": "up",
    "agent_class": "FakeDataAgent",
    "instance_id": "fake-1",
    "ready": False,
    "start_level": 2,
    "pid": 7,
    "uptime_s": 3.5,
    "restarts": 1,
    "next_start": 1003.0,
    "exits": [
        {"text": "exit code 0", "lines": ["older"]},
        {"text": "exit code 1", "lines": ["Traceback", "OSError: no such device", " "]},
    ],
    "trouble": "disk full",
    "cpu_percent": 1.5,
    "memory_bytes": 4096,
}


def report(*states, **data):
    return ManagerReport.of({"child_states": list(states), **data}, 110.0, 1000.0)


def test_an_instance_is_as_its_manager_says():
    (child,) = report(STATE).children
    assert child == ManagedChild(
        name="fake-1",
        agent_class="FakeDataAgent",
        next_action="start_at",
        target="up",
        start_level=2,
        pid=7,
        uptime=3.5,
        restarts=1,
        due_in=3.0,
        last_exit="exit code 1",
        last_words="OSError: no such device",
        trouble="disk full",
        cpu_percent=1.5,
        memory_bytes=4096,
    )


def test_instances_come_in_the_order_in_which_they_are_started():
    first, second = {**STATE, "instance_id": "a", "start_level": 0}, {**STATE, "instance_id": "b", "start_level": 0}
    assert [child.name for child in report(STATE, first, second).children] == ["a", "b", "fake-1"]


def test_a_start_that_is_overdue_is_due_now():
    assert report({**STATE, "next_start": 900.0}).children[0].due_in == 0.0


def test_a_manager_of_the_published_package_tells_less():
    documented = {"next_action": "up", "target_state": "up", "agent_class": "A", "instance_id": "x", "stability": 1.0}
    assert report(documented).children == (ManagedChild("x", "A", "up"),)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, ""),
        ({"config_parse_status": {"[SCF]": [True, 1.0, "5 instances"]}, "docker": {"ok": True, "message": ""}}, ""),
        ({"config_parse_status": {"[SCF]": [False, 1.0, "site.yaml:3: no"]}}, "site.yaml:3: no"),
        ({"docker": {"ok": False, "message": "no engine"}}, "docker: no engine"),
    ],
)
def test_what_the_manager_complains_of(data, words):
    assert report(**data).trouble == words


@pytest.mark.parametrize(
    ("states", "settled"),
    [
        ([], True),
        ([{**STATE, "next_action": "up"}], True),
        ([{**STATE, "next_action": "up"}, STATE], False),
        ([{**STATE, "next_action": "wait_dead", "target_state": "down"}], False),
        ([{**STATE, "next_action": "wait_dead", "target_state": "passive"}], True),
        ([{**STATE, "next_action": "?"}], True),
    ],
)
def test_whether_something_is_on_its_way(states, settled):
    assert report(*states).settled is settled


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*STATE, "text", "lines"]), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["child_states", "config_parse_status", "docker"]), ANYTHING))
def test_whatever_comes_is_taken(data):
    ManagerReport.of(data, 110.0, 1000.0)


@given(st.dictionaries(st.sampled_from([*STATE]), ANYTHING))
def test_whatever_is_said_of_an_instance_is_taken(state):
    report({**state, "instance_id": "x"})


def test_before_the_manager_says_anything_all_is_queued():
    instance = InstanceConfig.from_dict({"agent-class": "A", "instance-id": "x", "start-level": 3})
    assert planned([instance]) == (ManagedChild("x", "A", "start", start_level=3),)
