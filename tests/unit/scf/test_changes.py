"""The difference between two readings of a site."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.scf.changes import Change, changes
from ocs.site_config import InstanceConfig, SiteConfig

HUB = {"wamp_server": "ws://h/ws", "wamp_http": "http://h/call", "wamp_realm": "r", "address_root": "o"}


def instance(name, **keys):
    entry = {"instance-id": name, "agent-class": "A", **{key.replace("_", "-"): value for key, value in keys.items()}}
    return InstanceConfig.from_dict(entry)


def site(hub=(), host=()):
    entry = {"agent-instances": [{"instance-id": "a", "agent-class": "A"}], **dict(host)}
    return SiteConfig.from_dict({"hub": {**HUB, **dict(hub)}, "hosts": {"h": entry}}).hosts["h"].instances


def test_the_same_reading_changes_nothing():
    assert changes([instance("a", arguments=[["--x", 1]])], [instance("a", arguments=["--x", "1"])]) == []


def test_what_came_is_told_in_the_order_of_the_file_then_what_went():
    found = changes([instance("old"), instance("both")], [instance("b"), instance("both"), instance("a")])
    assert found == [Change("added", "b"), Change("added", "a"), Change("removed", "old")]


@pytest.mark.parametrize(
    ("key", "value", "restart"),
    [
        ("agent-class", "B", True),
        ("arguments", ["--x"], True),
        ("manage", "docker", False),
        ("start-level", 3, False),
        ("restart", "manual", False),
    ],
)
def test_a_change_names_the_key_and_whether_what_runs_has_to_be_started_anew(key, value, restart):
    [change] = changes([instance("a")], [instance("a", **{key: value})])
    assert change == Change("changed", "a", (key,))
    assert change.restart_required is restart


def test_keys_that_mean_nothing_to_us_are_no_change():
    assert changes([instance("a")], [instance("a", note="mine")]) == []


@pytest.mark.parametrize(
    ("hub", "host", "what"),
    [
        ({"wamp_server": "ws://other"}, {}, ("wamp_server",)),
        ({"wamp_realm": "other", "address_root": "lab"}, {}, ("wamp_realm", "address_root")),
        ({"wamp_http": "http://other"}, {}, None),
        ({}, {"wamp_server": "ws://h/ws"}, None),
        ({}, {"log-dir": "/log", "crossbar_timeout": 0}, ("log-dir", "crossbar_timeout")),
    ],
)
def test_what_host_and_hub_say_for_an_instance_counts(hub, host, what):
    assert changes(site(), site(hub, host)) == ([] if what is None else [Change("changed", "a", what)])


NAMES = st.lists(st.sampled_from("abcdef"), unique=True)


@given(NAMES, NAMES)
def test_the_changes_lead_from_one_to_the_other(old, new):
    found = changes([instance(name) for name in old], [instance(name) for name in new])
    result = set(old)
    for change in found:
        result = result | {change.instance_id} if change.kind == "added" else result - {change.instance_id}
    assert result == set(new)
    assert len(found) == len(set(old) ^ set(new))
