"""What is asked of a spawn agent: anything may come, and only what makes sense is believed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocs.agents.spawn_agent.requests import (
    FIELDS,
    SEQUENCE_MANAGER,
    ConfigFile,
    Wanted,
    containers_request,
    killed_component,
    requested_component,
    spawn_request,
)
from ocs.components.names import ComponentId, Prefix
from ocs.errors import InvalidRequestError

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text()
_names = st.text() | st.sampled_from(["primary", "", " a", "a.b", "../..", "-x", "a\nb", "a\0b", "$(id)", "é" * 90])
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_fields = sorted({field for fields in FIELDS.values() for field in fields} | {"hostConfigPath"})
_hostile = _values | st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(list(FIELDS)) | _values,
        "prefix": _names,
        "componentType": st.sampled_from(["SequenceComponent", "Agent"]) | _values,
        **dict.fromkeys(_fields, _names | _values),
    },
)


def sequence_component(name, **fields):
    return spawn_request({"kind": "SequenceComponent", "componentName": name, **fields}, "ESW")


@given(_hostile)
@example({"kind": [], "componentName": {}})
@example({"kind": "Agent", "instanceId": "\ud800"})
def test_whatever_comes_is_a_component_or_one_line(value):
    for read in (lambda it: spawn_request(it, "ESW"), killed_component, requested_component, containers_request):
        line = complaint(lambda read=read: read(value))
        assert line.isprintable()
        assert len(line) < 300


def complaint(work):
    try:
        work()
    except InvalidRequestError as error:
        return str(error)
    return ""


@given(_names)
def test_a_name_is_taken_as_it_is_or_refused(name):
    if line := complaint(lambda: sequence_component(name)):
        assert line.startswith("componentName:")
        return
    wanted = sequence_component(name)
    assert wanted.component.prefix.name == name
    assert wanted.instance_id.isascii()
    assert not set(wanted.instance_id) & set("/. \n\0")


@given(st.lists(_names, min_size=2, max_size=2, unique=True))
def test_two_names_never_have_one_address(names):
    try:
        first, second = map(sequence_component, names)
    except InvalidRequestError:
        return
    assert first.instance_id != second.instance_id


def test_a_sequence_component_has_the_subsystem_of_its_spawn_agent():
    wanted = spawn_request({"kind": "SequenceComponent", "componentName": "primary"}, "TCS")
    assert wanted == Wanted(
        ComponentId(Prefix("TCS", "primary"), "SequenceComponent"), "seqcomp-tcs-primary", "SequenceComponent"
    )


def test_a_sequence_manager_has_its_file():
    wanted = spawn_request({"kind": "SequenceManager", "obsModeConfigPath": "x.yaml", "isConfigLocal": False}, "ESW")
    assert wanted.component == SEQUENCE_MANAGER
    assert wanted.obs_mode_file == ConfigFile("obsModeConfigPath", "x.yaml", is_local=False)


def test_an_agent_is_known_by_its_instance_id():
    wanted = spawn_request({"kind": "Agent", "instanceId": "fake-1"}, "ESW")
    assert (str(wanted.component), wanted.instance_id) == ("Agent OCS.fake-1", "fake-1")
    assert not wanted.agent_class


@pytest.mark.parametrize("version", [None, "0.12.1"])
def test_a_version_may_be_missing_or_null(version):
    assert sequence_component("a", version=version).version == (version or "")


@pytest.mark.parametrize("instance_id", ["--help", "-h", "a/b", "a.b", "a b", "a#b", "../x"])
def test_what_looks_like_an_option_or_a_path_is_no_instance(instance_id):
    with pytest.raises(InvalidRequestError, match=r"instanceId: .* cannot be the name"):
        spawn_request({"kind": "Agent", "instanceId": instance_id}, "ESW")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "request: must be an object, not None"),
        ({"kind": "Filter"}, "kind: must be one of SequenceComponent, SequenceManager, Agent, not 'Filter'"),
        ({"kind": "Agent"}, "instanceId: is missing"),
        ({"kind": "Agent", "instanceId": 5}, "instanceId: must be a text that is not empty, not 5"),
        ({"kind": "Agent", "instanceId": "a\nb"}, "instanceId: must be printable, not 'a\\nb'"),
        ({"kind": "Agent", "instanceId": "x" * 151}, "instanceId: 'xxx"),
        ({"kind": "SequenceManager", "obsModeConfigPath": "x"}, "isConfigLocal: must be true or false, not None"),
        (
            {"kind": "SequenceManager", "obsModeConfigPath": "x" * 4097, "isConfigLocal": True},
            "obsModeConfigPath: must have 4096 bytes at most, not 4097",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field(value, line):
    with pytest.raises(InvalidRequestError) as caught:
        spawn_request(value, "ESW")
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    "value",
    [
        {"prefix": "esw.primary", "componentType": "SequenceComponent"},
        "SequenceComponent.ESW.primary",
        " SequenceComponent.esw.primary ",
    ],
)
def test_operators_name_a_component_by_an_object_or_by_words(value):
    assert requested_component(value) == ComponentId(Prefix("ESW", "primary"), "SequenceComponent")


@pytest.mark.parametrize("value", ["", "primary", "ESW.primary", "Nothing.ESW.primary", "Agent.ESW.a.b", 5, [], {}])
def test_what_names_no_component_is_refused(value):
    with pytest.raises(InvalidRequestError):
        requested_component(value)


def test_a_file_of_containers_is_asked_for_by_its_path():
    found = containers_request({"hostConfigPath": "machine1.yaml", "isConfigLocal": True})
    assert found == ConfigFile("hostConfigPath", "machine1.yaml", is_local=True)


@pytest.mark.parametrize("field", ["hostConfigPath", "isConfigLocal"])
def test_a_request_for_containers_lacks_no_field(field):
    value = {"hostConfigPath": "machine1.yaml", "isConfigLocal": True}
    del value[field]
    with pytest.raises(InvalidRequestError, match=f"^{field}: "):
        containers_request(value)
