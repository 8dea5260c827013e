"""What a client learns of an operation from the agent's description."""

import pytest

from ocs.clients.op_handles import OpSpec, attribute_name, make_operations, specs


def spec(**info):
    return OpSpec("warm-up", "task", info)


@pytest.mark.parametrize(
    ("name", "attribute"), [("acq", "acq"), ("warm-up", "warm_up"), ("a b-c", "a_b_c"), ("_x", "_x")]
)
def test_attribute_names(name, attribute):
    assert attribute_name(name) == attribute


@pytest.mark.parametrize(
    ("info", "declared"),
    [
        ({"params": [{"name": "check"}]}, True),
        ({"params": [{"name": "checks"}]}, False),
        ({"params": [], "docstring": "warm_up(check=True)"}, False),
        ({"docstring": "warm_up(target, check=True)\n\nText"}, True),
        ({"docstring": "\n    warm_up(checks=3)\n\n    Does a check."}, False),
        ({"docstring": None}, False),
        ({}, False),
    ],
)
def test_a_parameter_is_declared_or_named_in_the_first_line_of_the_docstring(info, declared):
    assert spec(**info).declares("check") is declared


def test_required_parameters_have_no_default_in_the_signature():
    signature = spec(
        params=[{"name": "a", "required": True, "type": "int"}, {"name": "b", "default": None}]
    ).signature()
    assert str(signature) == "(*, a: int, b=None, check: bool | None = None)"


@pytest.mark.parametrize("params", [[{"name": "class"}, {"name": "a b"}], [{"no": "name"}], [{"name": "a"}] * 2])
def test_odd_declarations_give_no_signature(params):
    assert spec(params=params).signature() is None


def test_tasks_and_processes_of_an_api():
    api = {"tasks": [["t", {}, {}]], "processes": [["p q", {}, {}]]}
    assert [(s.name, s.kind) for s in specs(api)] == [("t", "task"), ("p q", "process")]
    operations = make_operations(api, caller=None)
    assert repr(operations["p_q"]) == "<process 'p q': start, wait, status, stop>"
