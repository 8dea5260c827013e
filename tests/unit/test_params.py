"""Parameters of operations: taken, checked, described."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.params import ParamError, ParamHandler, check_params, describe_params, param

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


def refusal(params, key, **keywords):
    with pytest.raises(ParamError) as caught:
        ParamHandler(params).get(key, **keywords)
    assert str(caught.value) == caught.value.msg
    return caught.value.msg


def test_a_required_parameter_that_is_missing_is_named():
    assert "'volts'" in refusal({}, "volts")
    assert "'volts'" in refusal(None, "volts")


def test_none_counts_as_missing_unless_asked_otherwise():
    assert "must not be None" in refusal({"volts": None}, "volts")
    assert ParamHandler({"volts": None}).get("volts", default=3) == 3
    assert ParamHandler({"volts": None}).get("volts", default=3, treat_none_as_missing=False) is None


def test_none_skips_every_check():
    given_none = ParamHandler({"a": None})
    assert given_none.get("a", treat_none_as_missing=False, type=int, cast=int, choices=[1], check=bool) is None
    assert ParamHandler({}).get("a", default=None, type=int, cast=int, choices=[1], check=bool) is None


@pytest.mark.parametrize("value", [3, True])
def test_an_int_passes_for_float_and_becomes_one(value):
    result = ParamHandler({"a": value}).get("a", type=float)
    assert result == float(value)
    assert type(result) is float


def test_a_list_passes_for_tuple_and_becomes_one():
    assert ParamHandler({"a": [1, 2]}).get("a", type=tuple) == (1, 2)


def test_a_wrong_type_names_key_value_and_type():
    message = refusal({"a": "x"}, "a", type=float)
    assert "'a'" in message
    assert "'x'" in message
    assert "float" in message
    assert "int or str" in refusal({"a": 1.5}, "a", type=(int, str))


def test_cast_runs_before_type_choices_and_check():
    seen = []
    result = ParamHandler({"a": "3"}).get("a", cast=int, type=int, choices=[3], check=lambda v: seen.append(v) or True)
    assert result == 3
    assert seen == [3]


@pytest.mark.parametrize(
    "keywords",
    [
        {"cast": int},
        {"choices": [1, 2]},
        {"check": lambda value: False},
        {"check": lambda value: 1 / 0},
        {"cast": lambda value: 1 / 0},
    ],
)
def test_whatever_refuses_a_value_the_key_is_named(keywords):
    assert "'a'" in refusal({"a": "x"}, "a", **keywords)


def test_a_cast_may_refuse_in_its_own_words():
    def cast(value):
        raise ParamError(f"{value} is no such thing")

    assert refusal({"a": "x"}, "a", cast=cast) == "x is no such thing"


def test_a_default_is_checked_as_a_value_is():
    assert "'a'" in refusal({}, "a", default="x", cast=int)


def test_params_that_are_no_map_are_refused():
    with pytest.raises(ParamError, match="map"):
        ParamHandler([1])


def test_a_long_value_does_not_flood_the_message():
    assert len(refusal({"a": "x" * 10_000}, "a", type=int)) < 300


def test_strays_are_named_with_what_is_known():
    handler = ParamHandler({"volts": 1, "vlots": 2, "_client": 3})
    handler.get("volts")
    with pytest.raises(ParamError, match=r"vlots.*known parameters: volts"):
        handler.check_for_strays(ignore=["_client"])
    handler.check_for_strays(ignore=["_client", "vlots"])


def test_a_batch_returns_what_it_names():
    handler = ParamHandler({"a": 1, "b": 2})
    assert handler.batch([("a", {"type": int}), ("c", {"default": 5})], check_for_strays=False) == {"a": 1, "c": 5}
    with pytest.raises(ParamError, match="'b'"):
        ParamHandler({"a": 1, "b": 2}).batch([("a", {})])


@given(
    st.dictionaries(st.sampled_from("abc"), values),
    st.sampled_from([None, int, float, str, tuple, bool]),
    st.booleans(),
    st.sampled_from([None, 0, 1.5, "x"]),
)
def test_a_value_comes_back_of_its_type_or_not_at_all(params, kind, none_is_missing, default):
    try:
        value = ParamHandler(params).get("a", default=default, type=kind, treat_none_as_missing=none_is_missing)
    except ParamError:
        value = None
    assert value is None or kind is None or isinstance(value, kind)


@param("volts", type=float, default=1.0, unit="V", help="what to apply")
@param("mode", choices=["dc", "ac"], default="dc")
@param("name", type=str)
def declared(session, params):
    """Do it."""


@param("_")
def takes_nothing(session, params):
    """Do it."""


@param("_no_check_strays")
@param("a", default=1)
def lets_strays_pass(session, params):
    """Do it."""


def undeclared(session, params):
    """Do it."""


def test_declared_parameters_are_filled_in():
    assert check_params(declared, {"name": "x", "volts": 2}) == {"volts": 2.0, "mode": "dc", "name": "x"}


def test_declared_parameters_are_enforced():
    for wrong in (None, {}, {"name": 3}, {"name": "x", "mode": "rf"}, {"name": "x", "more": 1}, "x"):
        with pytest.raises(ParamError):
            check_params(declared, wrong)


def test_an_operation_that_takes_nothing_refuses_any():
    assert check_params(takes_nothing, None) == {}
    with pytest.raises(ParamError, match="known parameters: none"):
        check_params(takes_nothing, {"a": 1})


def test_strays_may_be_allowed():
    assert check_params(lets_strays_pass, {"b": 1}) == {"a": 1}


@pytest.mark.parametrize("params", [None, {}, {"a": 1}, [1]])
def test_without_a_declaration_the_function_gets_what_was_sent(params):
    assert check_params(undeclared, params) is params


def test_a_misspelt_keyword_is_found_where_it_is_written():
    with pytest.raises(TypeError, match="defualt"):
        param("a", defualt=1)


def test_the_description_follows_the_order_of_the_source():
    assert describe_params(declared) == [
        {"name": "volts", "required": False, "default": 1.0, "type": "float", "unit": "V", "help": "what to apply"},
        {"name": "mode", "required": False, "default": "dc", "choices": ["dc", "ac"]},
        {"name": "name", "required": True, "type": "str"},
    ]


def test_nothing_declared_differs_from_no_parameters():
    assert describe_params(undeclared) is None
    assert describe_params(takes_nothing) == []
    assert describe_params(lets_strays_pass) == [{"name": "a", "required": False, "default": 1}]


def test_a_description_is_strict_json_whatever_the_defaults():
    @param("a", default=math.inf, type=float)
    @param("b", default=object, choices=[object, (1, math.nan)])
    def operation(session, params):
        """Do it."""

    json.dumps(describe_params(operation), allow_nan=False)
