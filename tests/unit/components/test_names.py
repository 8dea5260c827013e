"""Names of components: what may be one, and the procedure that each stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.components.names import TYPES, ComponentId, Prefix, agent_of, component_of, uri_of

names = st.text(min_size=1, max_size=60)
subsystems = st.from_regex(r"[A-Za-z0-9_]{1,10}", fullmatch=True)
roots = st.sampled_from(["observatory", "observatory.lat", "a.b.c"])


def legal(subsystem, name):
    try:
        return Prefix(subsystem, name)
    except ValueError:
        return None


@given(subsystems, names, st.sampled_from(TYPES), roots)
def test_every_component_is_found_again_from_its_procedure(subsystem, name, component_type, root):
    if prefix := legal(subsystem, name):
        component = ComponentId(prefix, component_type)
        assert component_of(root, uri_of(root, component)) == component


@given(subsystems, names, roots)
def test_a_procedure_is_one_that_wamp_takes(subsystem, name, root):
    if prefix := legal(subsystem, name):
        uri = uri_of(root, ComponentId(prefix, "Service"))
        assert uri.isascii()
        assert not set(uri) & set(" #\t\n")
        assert all(uri.split("."))
        assert uri.count(".") == root.count(".") + 4


@given(subsystems, names)
def test_a_prefix_is_read_as_it_is_written(subsystem, name):
    if prefix := legal(subsystem, name):
        assert Prefix.parse(str(prefix)) == prefix


@given(st.text(max_size=30) | st.none() | st.integers() | st.lists(st.text()))
def test_what_is_no_prefix_is_refused_in_one_line(value):
    refusal = why_not(value)
    assert "\n" not in refusal
    assert len(refusal) < 200


def why_not(value):
    try:
        Prefix.parse(value)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("primary", "dot between"),
        ("ESW.", "is empty"),
        (".primary", "no subsystem"),
        ("ESW.a.b", "has a dot"),
        ("ESW. a", "space"),
        ("ESW.a ", "space"),
        ("ESW.a\nb", "cannot be printed"),
        ("E-W.a", "no subsystem"),
        ("ESW." + "x" * 300, "at most 200"),
    ],
)
def test_a_prefix_that_cannot_be_says_why(text, says):
    with pytest.raises(ValueError, match=says):
        Prefix.parse(text)


def test_the_subsystem_is_in_upper_case_whatever_was_given():
    assert str(Prefix.parse("esw.Primary")) == "ESW.Primary"


@pytest.mark.parametrize(
    "uri",
    [
        "observatory.components",
        "observatory.components.Service.ESW",
        "observatory.components.Service.ESW.a.ops",
        "observatory.components.Robot.ESW.a",
        "observatory.components.Service.esw.a",
        "observatory.components.Service.ESW.a%2e",
        "observatory.components.Service.ESW.%zz",
        "observatory.components.Service.ESW.%ff",
        "other.components.Service.ESW.a",
    ],
)
def test_a_procedure_that_is_no_component_s_is_none(uri):
    assert component_of("observatory", uri) is None


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("observatory.fake-1", "fake-1"),
        ("observatory.fake-1.ops", None),
        ("observatory.", None),
        ("elsewhere.fake-1", None),
        ("observatory", None),
    ],
)
def test_an_agent_is_known_by_its_own_procedure(uri, name):
    assert agent_of("observatory", uri) == (name and ComponentId(Prefix("OCS", name), "Agent"))


@pytest.mark.parametrize(
    "value",
    [None, 3, [], {}, {"prefix": "ESW.a"}, {"prefix": 3, "componentType": "Service"}]
    + [{"prefix": "ESW.a", "componentType": odd} for odd in ("service", None, ["Service"], "x" * 1000)],
)
def test_an_object_that_names_no_component_is_refused_in_one_line(value):
    with pytest.raises(ValueError) as refusal:
        ComponentId.from_json(value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


def test_a_component_is_read_as_it_is_written():
    component = ComponentId(Prefix("ESW", "primary"), "Sequencer")
    assert ComponentId.from_json(component.to_json()) == component
    assert component.to_json() == {"prefix": "ESW.primary", "componentType": "Sequencer"}
