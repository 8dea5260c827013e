"""What a reload would change, told from two files, or from a file and what a HostManager says of itself."""

import pytest

from ocs.inspection.reload import compare_sites, compare_with_running
from ocs.site_config import HostConfig, SiteConfig

HUB = {"wamp_server": "ws://h/ws", "wamp_http": "http://h/call", "wamp_realm": "r", "address_root": "o"}
MANAGER = {"instance-id": "hm", "agent-class": "HostManager"}


def instance(name="a", **keys):
    return {"instance-id": name, "agent-class": "A", **{key.replace("_", "-"): value for key, value in keys.items()}}


def site(*instances, **others):
    hosts = {"h": instances, **others}
    entries = {
        name: {"agent-instances": [MANAGER | {"instance-id": f"hm-{name}"}, *ones]} for name, ones in hosts.items()
    }
    return SiteConfig.from_dict({"hub": HUB, "hosts": entries})


def told(found):
    return [f"{one.host} {one.change.instance_id} {one.effect}" for one in found]


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        ([], [instance()], ["h a would be added"]),
        ([instance()], [], ["h a would be ended and forgotten"]),
        ([instance()], [instance(manage="ignore")], ["h a would be ended and forgotten"]),
        ([instance()], [instance(arguments=["--x"])], ["h a needs a restart (arguments)"]),
        ([instance()], [instance(manage="down")], ["h a is kept as it runs (manage)"]),
        ([instance()], [instance(manage="docker")], ["h a would be ended, and started by docker"]),
        ([instance()], [instance(note="x")], []),
    ],
)
def test_two_files(old, new, effect):
    assert told(compare_sites(site(*old), site(*new))) == effect


def test_an_instance_that_moves_and_hosts_that_come_and_go():
    found = told(compare_sites(site(instance(), old=[instance("b")]), site(new=[instance()])))
    assert found == ["h a would be ended and forgotten", "new a would be added", "old b would be ended and forgotten"]


def running(name="a", **keys):
    state = {"instance_id": name, "agent_class": "A", "management": "host", "start_level": 0, "restart": "always"}
    return {**state, **keys}


@pytest.mark.parametrize(
    ("state", "new", "effect"),
    [
        ([], [instance()], ["h a would be added"]),
        ([running()], [], ["h a would be ended and forgotten"]),
        ([running()], [instance()], []),
        ([running(agent_class="A[d?]", management="docker")], [instance(manage="docker/down")], []),
        ([running(agent_class="A[d]", management="docker")], [instance()], ["h a would be ended, and started by host"]),
        ([running(agent_class="B")], [instance()], ["h a needs a restart (agent-class)"]),
        ([running(start_level=2, restart="manual")], [instance()], ["h a is kept as it runs (start-level, restart)"]),
        ([running("db", agent_class="[docker]", management="docker")], [], []),
        ([running(management="retired")], [], []),
        ([{"instance_id": "a", "agent_class": "A", "management": "host"}], [instance()], []),
    ],
)
def test_a_file_and_what_runs(state, new, effect):
    host = HostConfig.from_dict({"agent-instances": [MANAGER, *new]}, name="h")
    assert told(compare_with_running("h", host, state)) == effect
