"""Everything that is wrong, at once; and never another verdict than that of reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.errors import SiteConfigError
from ocs.scf import keys
from ocs.scf.survey import nearest, survey
from ocs.site_config import SiteConfig

HUB = {"wamp_server": "ws://h/ws", "wamp_http": "http://h/call", "wamp_realm": "r", "address_root": "o"}
GOOD = {"instance-id": "good", "agent-class": "A"}


def site(*instances, hub=HUB, **host):
    return {"hub": hub, "hosts": {"h": {"agent-instances": list(instances), **host}}}


def places(data):
    return [str(mistake).partition(": ")[0] for mistake in survey(data).mistakes]


def test_a_good_site_is_read_whole():
    found = survey(site(GOOD, {**GOOD, "instance-id": "b", "arguments": [["--x", 1]]}, crossbar={"bin": "/b"}))
    assert (found.mistakes, found.unknown) == ((), ())
    host = found.site.hosts["h"]
    assert [one.arguments for one in host.instances] == [[], ["--x", "1"]]
    assert host.crossbar.get_cmd("start") == ["/b", "start"]
    assert found.site.hub.address_root == "o"
    assert found.instances[1].keys == ("hosts", "h", "agent-instances", 1)


def test_all_mistakes_are_told_not_the_first_alone():
    data = site(
        {"instance-id": "a", "agent-class": [], "manage": "perhaps", "start-level": -1, "restart": "never"},
        GOOD,
        "no instance",
        {"instance-id": "good", "agent-class": "B"},
        {**GOOD, "instance-id": "args", "arguments": "--x 1"},
        hub={**HUB, "wamp_realm": "", "wamp_http": [1]},
        crossbar_timeout="soon",
        crossbar=7,
    )
    assert places(data) == [
        "hub.wamp_http",
        "hub.wamp_realm",
        "hosts.h.crossbar",
        "hosts.h.crossbar_timeout",
        *(f"hosts.h.agent-instances[0].{key}" for key in ("agent-class", "manage", "start-level", "restart")),
        "hosts.h.agent-instances[2]",
        "hosts.h.agent-instances[4].arguments",
        "hosts.h.agent-instances[3].instance-id",
    ]


def test_what_is_right_is_looked_at_although_something_else_is_not():
    found = survey(site({"instance-id": "bad"}, GOOD))
    assert [one.instance.instance_id for one in found.instances] == ["good"]
    assert found.instances[0].number == 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({**site(), "host": {}}, "host: means nothing to ocs; did you mean 'hosts'?"),
        (site(hub={**HUB, "wamp_host": "x"}), "hub.wamp_host: means nothing to ocs; did you mean 'wamp_http'?"),
        (site(log_dir="/x"), "hosts.h.log_dir: means nothing to ocs; did you mean 'log-dir'?"),
        (site(crossbar={"binary": "/x"}), "hosts.h.crossbar.binary: means nothing to ocs; known here: config-dir, bin"),
        (site({**GOOD, "argument": []}), "[0].argument: means nothing to ocs; did you mean 'arguments'?"),
        (site({**GOOD, 7: []}), "[0].7: means nothing to ocs; known here: agent-class"),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_is_near(data, told):
    [unknown] = survey(data).unknown
    assert told in str(unknown)


def test_where_people_keep_what_they_refer_to_is_no_unknown_key():
    assert survey({**site(), "x-common": 1, ".more": 2}).unknown == ()


def test_nothing_is_near_to_nonsense():
    assert nearest("zzz", ["hub", "hosts"]) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def with_keys(known, **likely):
    """Return dictionaries of the known keys, each likely or anything."""
    optional = {key: likely.get(key.replace("-", "_"), st.nothing()) | ANYTHING for key in known}
    return st.fixed_dictionaries({}, optional=optional)


WORDS = st.sampled_from(["a", "b", "c"])
INSTANCES = with_keys(
    keys.INSTANCE_KEYS,
    instance_id=WORDS,
    agent_class=WORDS,
    manage=st.sampled_from(list(keys.MANAGE_WORDS)),
    arguments=st.lists(WORDS, max_size=2),
    start_level=st.integers(0, 3),
    restart=st.sampled_from(keys.RESTART_WORDS),
)
HOSTS = with_keys(
    keys.HOST_KEYS, agent_instances=st.lists(INSTANCES, max_size=3), crossbar=with_keys(keys.CROSSBAR_KEYS)
)
SITES = with_keys(keys.SITE_KEYS, hub=st.just(HUB) | with_keys(keys.HUB_KEYS), hosts=st.dictionaries(WORDS, HOSTS))


def reading_of(data):
    """Return the site that reading gives, and the mistake that it stops at."""
    try:
        return SiteConfig.from_dict(data), None
    except SiteConfigError as error:
        return None, str(error)


def described(site):
    ours = {"data": 0, "parent": 0}
    return {name: [vars(one) | ours for one in host.instances] for name, host in site.hosts.items()}


@given(SITES | ANYTHING)
def test_it_finds_mistakes_where_reading_does_and_only_there(data):
    found = survey(data)
    read, mistake = reading_of(data)
    if mistake is None:
        assert found.mistakes == ()
        assert described(found.site) == described(read)
    else:
        assert "\n" not in mistake
        assert mistake in {str(one) for one in found.mistakes}
