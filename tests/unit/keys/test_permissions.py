"""What each role may do at a closed site, and the tricks by which one might get more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.keys.permissions import META_CALLS, META_TOPICS, may
from ocs.keys.table import Identity

ROOT = "observatory"
AGENT = Identity("fake-1", "agent", ("fake-1",))
DIRECTOR = Identity("access-dir", "director", ("access-dir",))
CLIENT = Identity("client", "client")
OBSERVER = Identity("observer", "observer")
EVERYBODY = [AGENT, DIRECTOR, CLIENT, OBSERVER]
DIRECTORS = frozenset({"access-dir"})

own_or_not = st.sampled_from(["fake-1", "fake-1x", "fake", "Fake-1", "FAKE-1", "", "access-dir", " ", "fake-1\n", "#"])
parts = st.lists(own_or_not | st.text(max_size=5), max_size=4)
roots = st.sampled_from([ROOT, "Observatory", "observatoryx", "", "wamp"])
matches = st.sampled_from(["exact", "prefix", "wildcard", "", "EXACT"])


def allowed(identity, action, uri, match="exact"):
    return may(identity, action, uri, root=ROOT, match=match, directors=DIRECTORS)


@pytest.mark.parametrize("action", ["register", "publish"])
@pytest.mark.parametrize("uri", ["observatory.fake-1", "observatory.fake-1.ops", "observatory.fake-1.feeds.heartbeat"])
def test_an_agent_uses_its_own_address_and_nobody_else_does(action, uri):
    assert [each.role for each in EVERYBODY if allowed(each, action, uri)] == ["agent"]


@pytest.mark.parametrize("action", ["register", "publish"])
@pytest.mark.parametrize(
    "uri",
    [
        "observatory",
        "observatory.",
        "observatory.fake-1x",
        "observatory.fake-1x.ops",
        "observatory.fake-1.",
        "observatory.fake-1..ops",
        "observatory..ops",
        "observatory..fake-1",
        "observatory.Fake-1",
        "Observatory.fake-1",
        "observatory.fake-1.a b",
        "observatory.fake-1.#",
        "observatory.fake-1\n",
        "observatory.fake-1.\u2028x",
        "observatory.fake-2.ops",
        "observatoryx.fake-1",
        "x.observatory.fake-1",
        "wamp.session.kill",
        "",
    ],
)
def test_near_its_address_is_not_its_address(action, uri):
    assert not allowed(AGENT, action, uri)


@given(roots, parts, matches, st.sampled_from(["register", "publish"]))
def test_an_agent_never_gets_outside_its_own_address(root, tail, match, action):
    uri = ".".join([root, *tail])
    if allowed(AGENT, action, uri, match):
        first, own, *rest = uri.split(".")
        assert (first, own, match) == (ROOT, "fake-1", "exact")
        assert all(part and part.isprintable() and part.split() == [part] and "#" not in part for part in rest)


@given(roots, parts, matches)
def test_who_is_no_agent_has_no_address(root, tail, match):
    uri = ".".join([root, *tail])
    asked = [(each, action) for each in (CLIENT, OBSERVER) for action in ("register", "publish")]
    assert not any(allowed(each, action, uri, match) for each, action in asked)


@given(parts, matches, st.sampled_from(["register", "publish", "call"]))
def test_patterns_are_for_subscriptions_alone(tail, match, action):
    uri = ".".join([ROOT, *tail])
    assert match == "exact" or not any(allowed(each, action, uri, match) for each in EVERYBODY)


def test_all_but_observers_call():
    assert [each.role for each in EVERYBODY if allowed(each, "call", "observatory.fake-1.ops")] == [
        "agent",
        "director",
        "client",
    ]


def test_only_agents_ask_a_director_for_rules():
    uri = "observatory.access-dir.agent_poll"
    assert [each.role for each in EVERYBODY if allowed(each, "call", uri)] == ["agent", "director"]
    assert allowed(CLIENT, "call", "observatory.access-dir.request_exclusive")


def test_only_agents_hear_a_directors_rules_by_name():
    uri = "observatory.access-dir.feeds.controls"
    assert [each.role for each in EVERYBODY if allowed(each, "subscribe", uri)] == ["agent", "director"]
    assert allowed(OBSERVER, "subscribe", "observatory.fake-1.feeds.controls")


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("observatory.fake-1.feeds.heartbeat", "exact"),
        ("observatory.", "prefix"),
        ("observatory.fake", "prefix"),
        ("observatory..feeds.heartbeat", "wildcard"),
    ],
)
def test_everybody_listens_below_the_root(uri, match):
    assert all(allowed(each, "subscribe", uri, match) for each in EVERYBODY)


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("", "prefix"),
        ("observatory", "prefix"),
        ("obs", "prefix"),
        ("...", "wildcard"),
        (".fake-1.feeds", "wildcard"),
        ("wamp.", "prefix"),
        ("wamp..on_join", "wildcard"),
        ("wamp.session.on_join", "prefix"),
        ("observatory..feeds", "exact"),
        ("observatory.fake-1", "regex"),
    ],
)
def test_nobody_listens_elsewhere(uri, match):
    assert not any(allowed(each, "subscribe", uri, match) for each in EVERYBODY)


@pytest.mark.parametrize("identity", EVERYBODY, ids=lambda each: each.role)
def test_everybody_asks_the_router_what_changes_nothing(identity):
    assert all(allowed(identity, "call", uri) for uri in META_CALLS)
    assert all(allowed(identity, "subscribe", uri) for uri in META_TOPICS)
    assert not any(allowed(identity, action, uri) for uri in META_TOPICS for action in ("publish", "register", "call"))


@pytest.mark.parametrize("uri", ["wamp.session.kill", "wamp.session.kill_all", "wamp.registration.remove_callee"])
def test_nobody_changes_the_router(uri):
    assert not any(allowed(each, "call", uri) for each in EVERYBODY)


def test_there_are_no_other_actions():
    assert not allowed(AGENT, "unregister", "observatory.fake-1")


def test_an_agent_may_have_longer_addresses_and_none():
    both = Identity("seq-1", "agent", ("seq-1", "components.Service.ESW.seq-1"))
    assert allowed(both, "register", "observatory.components.Service.ESW.seq-1")
    assert not allowed(both, "register", "observatory.components.Service.ESW")
    assert not allowed(Identity("none", "agent"), "register", "observatory.none")


entries = st.sampled_from(["fake-1", "seqcomp-*", "components", "components.Agent.OCS.a", "x.seq*"])


@given(st.lists(entries, max_size=3, unique=True), roots, st.lists(st.text("acfknoqsx-1.*", max_size=9), max_size=4))
def test_whatever_its_instances_an_agent_stays_below_them(instances, root, tail):
    uri = ".".join([root, *tail])
    mine = Identity("some", "agent", tuple(instances))
    address = uri.removeprefix(f"{ROOT}.")
    expected = address != uri and any(
        address.startswith(each[:-1]) if each.endswith("*") else (address + ".").startswith(each + ".")
        for each in instances
    )
    assert allowed(mine, "register", uri) == (expected and all(uri.split(".")))


@pytest.mark.parametrize(
    ("uri", "may_register"),
    [
        ("observatory.seqcomp-esw-1.ops", True),
        ("observatory.seqcomp-", True),
        ("observatory.seqcomp", False),
        ("observatory.seqcomp-1..ops", False),
        ("observatory.Seqcomp-1", False),
        ("observatory.x.seqcomp-1", False),
        ("observatory.components.Service.ESW.a", False),
    ],
)
def test_a_star_stands_for_all_that_begin_so(uri, may_register):
    assert allowed(Identity("some", "agent", ("seqcomp-*",)), "register", uri) == may_register
