"""What HostManagers say beside what the site file says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.cli.hosts_model import Answer, Condition, site_view
from ocs.cli.hosts_notes import notes
from ocs.cli.hosts_orders import Aim, aims_of, orders, unreached
from ocs.cli.hosts_table import as_json, table_lines
from ocs.clients.scan import AgentFound
from ocs.errors import UnknownInstanceError
from ocs.site_config import SiteConfig
from tests.harness.fake_managers import child

HUB = {"wamp_server": "ws://x/ws", "wamp_http": "http://x/call", "wamp_realm": "r", "address_root": "observatory"}


def site(*instances):
    """A site with the host h1, its HostManager, and `(instance-id, class, manage)`."""
    entries = [{"instance-id": name, "agent-class": kind, "manage": manage} for name, kind, manage in instances]
    manager = {"instance-id": "hm-h1", "agent-class": "HostManager"}
    return SiteConfig.from_dict({"hub": HUB, "hosts": {"h1": {"agent-instances": [manager, *entries]}}})


def view_of(*children, instances=(("a", "A", "host/up"),), agents=None, **data):
    answer = Answer("hm-h1", Condition.RUNNING, data={"child_states": list(children), **data})
    (view,) = site_view(site(*instances), {"hm-h1": answer}, agents)
    return view


def row_of(*children, **kwargs):
    return view_of(*children, **kwargs).rows[1]


def note_of(*children, **kwargs):
    return "\n".join(notes(view_of(*children, **kwargs), 1000.0))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "up"),
        ({"next_action": "down", "target_state": "down"}, "down"),
        ({"next_action": "wait_dead"}, "wait_dead"),
        ({"next_action": "?"}, "?"),
        ({"stability": 0.2}, "unstable"),
        ({"stability": 0.5}, "up"),
        ({"stability": 0.2, "next_action": "down", "target_state": "down"}, "down"),
        ({"stability": 0.2, "next_action": "?"}, "?"),
        ({"ready": False}, "starting"),
        ({"ready": True}, "up"),
        ({"ready": False, "agent_class": "[docker]"}, "up"),
    ],
)
def test_the_state_of_an_instance(said, state):
    assert row_of(child("a", **said)).state == state


@pytest.mark.parametrize(
    ("described", "said", "shown"),
    [
        ("A", "A", "A"),
        ("A", "A[d]", "A[d]"),
        ("A", "A[d?]", "A[d?]"),
        ("A", "[docker]", "[docker]"),
        ("A", "B", "A/B"),
        ("A", "B[d]", "A/B[d]"),
    ],
)
def test_the_class_is_the_managers_and_both_where_they_differ(described, said, shown):
    assert row_of(child("a", agent_class=said), instances=[("a", described, "host/up")]).agent_class == shown


def test_an_unmanaged_instance_is_marked_and_never_wrong():
    row = row_of(instances=[("a", "A", "ignore")])
    assert (row.agent_class, row.state, row.target, row.as_targeted) == ("A[unman]", "?", "?", True)


def test_an_unmanaged_instance_that_the_registry_hears_is_up():
    agents = {"a": AgentFound("a", "A", {})}
    assert row_of(instances=[("a", "A", "ignore")], agents=agents).state == "up"


def test_what_the_manager_has_and_the_site_file_has_not_is_shown():
    view = view_of(child("a"), child("influxdb", target="passive", agent_class="[docker]"))
    assert [row.instance_id for row in view.rows] == ["hm-h1", "a", "influxdb"]
    assert view.ok


def test_what_the_site_file_has_and_the_manager_has_not_is_told():
    view = view_of()
    assert not view.ok
    assert "does not know of a yet" in notes(view, 0.0)[0]


def test_a_host_without_a_manager_is_told_and_nothing_is_wrong():
    entries = [{"instance-id": "a", "agent-class": "A"}]
    lonely = SiteConfig.from_dict({"hub": HUB, "hosts": {"h1": {"agent-instances": entries}}})
    (view,) = site_view(lonely, {})
    assert view.ok
    assert "no HostManager" in notes(view, 0.0)[0]


@pytest.mark.parametrize("condition", [each for each in Condition if each is not Condition.RUNNING])
def test_a_manager_that_does_not_run_is_not_well(condition):
    (view,) = site_view(site(), {"hm-h1": Answer("hm-h1", condition, "why")})
    assert not view.ok


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"config_parse_status": {"[SCF]": [False, 940.0, "site.yaml:3: oops"]}}, "the site file, read 1.0 min ago"),
        ({"config_parse_status": {"/c.yaml": [False, 940.0, "c.yaml:3: oops"]}}, "/c.yaml, read 1.0 min ago"),
        ({"docker": {"ok": False, "message": "permission denied"}}, "docker: permission denied"),
        ({"orphans": {"30027f": {"service": "ocs-faker3"}}}, "1 orphaned container: ocs-faker3"),
        ({"new_tags": {"a": "ocs:v2"}}, "the image ocs:v2 is not on this machine"),
    ],
)
def test_what_ails_a_host_is_told(said, text):
    assert text in note_of(child("a"), **said)


@pytest.mark.parametrize("said", [{"docker": {"ok": False}}, {"config_parse_status": {"[SCF]": [False, 0.0, "x"]}}])
def test_a_host_that_ails_is_not_well(said):
    assert not view_of(child("a"), **said).ok


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"stability": 0.1}, "a keeps ending (`ocs logs a` has more)"),
        (
            {"stability": 0.1, "exits": [{"time": 940.0, "code": 2, "signal": None, "lines": ["x", "no device", ""]}]},
            "a keeps ending, last with code 2, 1.0 min ago: no device",
        ),
        ({"stability": 0.1, "exits": [{"time": 940.0, "code": None, "signal": 9}]}, "last with signal 9, 1.0 min ago"),
        ({"restart_required": True}, "`ocs restart a`"),
        ({"trouble": "disk full"}, "a: disk full"),
        ({"operable": False, "agent_class": "A[d?]"}, "no service of its compose files"),
    ],
)
def test_what_ails_an_instance_is_told(said, text):
    assert text in note_of(child("a", **{"agent_class": "A", **said}))


def test_columns_stand_below_each_other_over_all_hosts():
    views = [view_of(child("a")), view_of(child("a-very-long-name-indeed"))]
    lines = ["".join(span.text for span in line) for line in table_lines(views, 0.0)]
    assert len({line.index("agent-class") for line in lines if "agent-class" in line}) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KEYS = ("child_states", "config_parse_status", "orphans", "new_tags", "docker", "host", "started")
CHILD_KEYS = ("instance_id", "next_action", "target_state", "stability", "agent_class", "exits", "ready", "trouble",
              "pid", "uptime_s", "cpu_percent", "memory_bytes", "restarts", "restart_required", "operable")  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON),
    st.lists(st.dictionaries(st.sampled_from(CHILD_KEYS), JSON, min_size=3), max_size=3),
)
def test_whatever_an_agent_says_is_shown(data, children):
    """Of a manager of another version, or one that is no manager, the site's other hosts are shown all the same."""
    view = view_of(*children, **{"child_states": children, **data})
    assert table_lines([view], 0.0, details=True, operations=True)
    assert as_json([view], 0.0)


# orders


def test_an_instance_of_two_hosts_is_asked_of_the_one_that_has_it():
    entry = {"instance-id": "a", "agent-class": "A"}
    hosts = {
        "old": {"agent-instances": [{**entry, "manage": "ignore"}]},
        "h1": {"agent-instances": [{"instance-id": "hm-h1", "agent-class": "HostManager"}, entry]},
    }
    answer = Answer("hm-h1", Condition.RUNNING, data={"child_states": [child("a")]})
    views = site_view(SiteConfig.from_dict({"hub": HUB, "hosts": hosts}), {"hm-h1": answer})
    assert [order.manager for order in orders(views, ["a"])] == ["hm-h1"]


def test_an_instance_that_nobody_knows_has_no_order():
    with pytest.raises(UnknownInstanceError, match="did you mean 'fake-1'"):
        orders([view_of(child("fake-1"), instances=[("fake-1", "A", "up")])], ["fake-2"])


def test_all_leaves_out_what_is_only_watched():
    view = view_of(child("a"), child("influxdb", target="passive", agent_class="[docker]"))
    assert set(aims_of([view], orders([view], ["hm-h1"]), "down")) == {"a"}


@pytest.mark.parametrize(
    ("said", "reached"),
    [
        (child("a", "up", "up"), True),
        (child("a", "up", "up", stability=0.1), True),
        (child("a", "up", "up", ready=False), False),
        (child("a", "wait_start", "up"), False),
        (child("a", "up", "down"), False),
        (child("a", "up", "passive"), True),
        (None, False),
    ],
)
def test_when_an_instance_is_up(said, reached):
    views = [view_of(*([said] if said else []))]
    assert (unreached(views, {"a": Aim("up", "hm-h1")}) == {}) == reached


def test_an_instance_that_its_manager_has_dropped_is_down():
    assert unreached([view_of()], {"a": Aim("down", "hm-h1")}) == {}


def test_nothing_is_reached_while_its_manager_is_away():
    views = site_view(site(), {"hm-h1": Answer("hm-h1", Condition.AWAY)})
    assert unreached(views, {"a": Aim("down", "hm-h1")}) == {"a": "hm-h1 does not answer"}


def test_up_again_is_another_run():
    before = view_of(child("a", pid=1, started=1.0))
    aims = aims_of([before], orders([before], ["a"]), "up", anew=True)
    assert unreached([before], aims)
    assert not unreached([view_of(child("a", pid=2, started=5.0))], aims)
