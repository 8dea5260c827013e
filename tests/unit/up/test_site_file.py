"""The site file of a run: what the user's says, with what is different in this run."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ocs.errors import SiteConfigError
from ocs.site_config import SiteConfig
from ocs.up.hub import Hub
from ocs.up.plan import demo_site_file
from ocs.up.site_file import SiteEdit

HUB = Hub("ws://127.0.0.1:8001/ws", "http://127.0.0.1:8001/call", "test_realm", "observatory")
MOVED = HUB.at_port(9)

SITE = """\
# mine
hub:
  wamp_server: ws://127.0.0.1:8001/ws      # agents
  wamp_http: http://127.0.0.1:8001/call
  wamp_realm: test_realm
  address_root: observatory

hosts:
  h:
    agent-instances:
      # It writes all down.
      - agent-class: AggregatorAgent
        instance-id: agg
        arguments: [--data-dir, hk]   # here
      - {agent-class: FakeDataAgent, instance-id: fake-1}
  elsewhere:
    agent-instances: []
"""


def ids(text, host="h"):
    return [entry["instance-id"] for entry in yaml.safe_load(text)["hosts"][host]["agent-instances"]]


def comments(text):
    return {line.partition("#")[2] for line in text.splitlines() if "#" in line}


def test_a_run_as_the_file_says_needs_no_other():
    assert SiteEdit("h", HUB, HUB).nothing
    assert SiteEdit("h", HUB, HUB).apply(SITE, "f") == SITE


@pytest.mark.parametrize(
    "edit", [SiteEdit("h", HUB, MOVED), SiteEdit("h", HUB, HUB, "hm"), SiteEdit("h", HUB, HUB, None, ("agg",))]
)
def test_what_differs_makes_a_copy(edit):
    assert not edit.nothing


def test_another_port_is_put_into_the_file_and_comments_survive():
    text = SiteEdit("h", HUB, MOVED).apply(SITE, "f")
    assert text == SITE.replace("8001", "9")


def test_a_manager_is_added_and_comments_survive():
    text = SiteEdit("h", HUB, HUB, "hm-h").apply(SITE, "f")
    assert ids(text) == ["hm-h", "agg", "fake-1"]
    assert ids(text, "elsewhere") == []
    assert comments(text) > comments(SITE)


def test_what_cannot_run_here_is_kept_down_and_comments_survive():
    text = SiteEdit("h", HUB, MOVED, "hm-h", ("agg",)).apply(SITE, "f")
    site = SiteConfig.from_dict(yaml.safe_load(text))
    assert [each.manage for each in site.hosts["h"].instances] == ["host/up", "host/down", "host/up"]
    assert site.hub.wamp_http == MOVED.wamp_http
    assert comments(text) > comments(SITE)


def test_the_demonstration_keeps_its_comments():
    text = demo_site_file().read_text()
    moved = SiteEdit("localhost", HUB, MOVED, None, ("aggregator",)).apply(text, "demo")
    assert comments(moved) > comments(text)
    assert yaml.safe_load(moved)["hub"]["wamp_server"] == MOVED.wamp_server


AWKWARD = {
    "a list in one line": SITE.replace("- {agent-class: FakeDataAgent", "- {manage: yes, agent-class: FakeDataAgent"),
    "no list": SITE.partition("      # It")[0] + "  elsewhere:\n    agent-instances: []\n",
    "an address of its own": SITE.replace("  h:\n", "  h:\n    wamp_server: 'ws://127.0.0.1:80\\\n      01/ws'\n"),
    "an entry that says who runs it": SITE.replace("        arguments", "        manage: host/up\n        arguments"),
    "an address elsewhere": SITE.replace("  elsewhere:\n", "  elsewhere:\n    wamp_server: ws://127.0.0.1:8001/ws\n"),
    "no end of line": SITE.rstrip(),
    "an anchor": SITE.replace("agent-instances:\n", "agent-instances: &all\n", 1).replace("[]", "*all"),
    "a number for a name": SITE.replace("  h:", "  7:"),
    "in JSON": yaml.safe_dump(yaml.safe_load(SITE), default_flow_style=True),
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("manager", [None, "hm-h"])
@pytest.mark.parametrize("down", [(), ("agg",)])
def test_however_it_is_written_it_says_what_is_wanted_and_else_the_same(case, manager, down):
    host = "7" if case == "a number for a name" else "h"
    before = yaml.safe_load(AWKWARD[case])
    after = yaml.safe_load(SiteEdit(host, HUB, MOVED, manager, down).apply(AWKWARD[case], "f"))
    key = int(host) if host == "7" else host
    old, new = before["hosts"].pop(key), after["hosts"].pop(key)
    expected = [{"agent-class": "HostManager", "instance-id": manager}] if manager else []
    expected += [
        {**entry, "manage": "host/down"} if entry["instance-id"] in down else entry
        for entry in old["agent-instances"] or []
    ]
    assert new["agent-instances"] == expected
    assert after["hosts"] == before["hosts"]
    assert after["hub"] == {**before["hub"], "wamp_server": MOVED.wamp_server, "wamp_http": MOVED.wamp_http}


KEYS = {
    "none": SITE,
    "some": SITE.replace("hub:\n", "hub:\n  keys: here   # mine too\n"),
    "the host's own": SITE.replace("  h:\n", "  h:\n    keys: 'there'\n"),
    **AWKWARD,
}


@pytest.mark.parametrize("case", KEYS)
def test_the_keys_folder_is_named_whole_with_the_addresses_that_go_with_it(case):
    """The copy lies elsewhere than the user's file, so that a relative folder would be another."""
    closed = HUB.closed_with("/data/the keys")
    host = "7" if case == "a number for a name" else "h"
    before = yaml.safe_load(KEYS[case])
    after = yaml.safe_load(SiteEdit(host, HUB, closed).apply(KEYS[case], "f"))
    key = int(host) if host == "7" else host
    assert after["hosts"].pop(key).get("keys", closed.keys) == closed.keys
    before["hosts"].pop(key)
    assert after["hosts"] == before["hosts"]
    urls = {"wamp_server": closed.wamp_server, "wamp_http": closed.wamp_http}
    assert after["hub"] == {**before["hub"], **urls, "keys": closed.keys}


@pytest.mark.parametrize("case", ["none", "some", "the host's own"])
def test_comments_survive_the_keys(case):
    text = SiteEdit("h", HUB, HUB.closed_with("/data/keys"), "hm-h").apply(KEYS[case], "f")
    assert comments(text) > comments(SITE)


NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5)
ENTRIES = st.builds(
    lambda name, manage: {"agent-class": "A", "instance-id": f"i-{name}", **manage},
    NAMES,
    st.sampled_from([{}, {"manage": "host/up"}, {"manage": True}]),
)


@given(st.lists(ENTRIES, max_size=4, unique_by=lambda entry: entry["instance-id"]), st.booleans(), st.data())
def test_any_list_of_instances_is_edited_right(entries, flow, data):
    hub = {"wamp_server": HUB.wamp_server, "wamp_http": HUB.wamp_http, "wamp_realm": "r", "address_root": "o"}
    site = {"hub": hub, "hosts": {"h": {"agent-instances": entries}}}
    names = [entry["instance-id"] for entry in entries]
    down = tuple(data.draw(st.lists(st.sampled_from(names), unique=True))) if names else ()
    text = SiteEdit("h", HUB, MOVED, "hm", down).apply(yaml.safe_dump(site, default_flow_style=flow), "f")
    assert ids(text) == ["hm", *names]
    kept = [
        entry for entry in yaml.safe_load(text)["hosts"]["h"]["agent-instances"] if entry.get("manage") == "host/down"
    ]
    assert {entry["instance-id"] for entry in kept} == set(down)


def test_a_mistake_in_the_file_is_told_with_its_place():
    with pytest.raises(SiteConfigError, match=r"mine\.yaml:2"):
        SiteEdit("h", HUB, MOVED).apply("hub: [\n", "mine.yaml")
