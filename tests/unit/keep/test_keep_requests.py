"""What may be asked: checked before anything is done, whatever comes."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.errors import InvalidRequestError
from ocs.keep.requests import Check, Fetch, Leave, read_request

CHECK = {"recorder": "r", "every": 1.0, "have": {"a": 3}}
FETCH = {"recorder": "r", "every": 1, "run": "a", "from": 1, "since": 0, "limit": 1000}


def test_what_recorders_ask_is_understood():
    assert read_request(CHECK, {"a"}) == Check("r", 1.0, {"a": 3})
    assert read_request(FETCH, {"a"}) == Fetch("r", 1.0, "a", 1, 0.0, 1000)
    assert read_request({"recorder": "r", "leave": True}, {"a"}) == Leave("r")


def test_what_is_said_of_other_runs_is_not_looked_at():
    assert read_request({**CHECK, "have": {"a": 3, "b": "nonsense"}}, {"a"}) == Check("r", 1.0, {"a": 3})


def test_a_map_of_very_many_runs_costs_nothing():
    request = {**CHECK, "have": {f"run {number}": number for number in range(10_000)}}
    began = time.perf_counter()
    assert read_request(request, {"a"}) == Check("r", 1.0, {})
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        "text",
        {},
        {"recorder": "r"},
        {**CHECK, "recorder": ""},
        {**CHECK, "recorder": "x" * 201},
        {**CHECK, "recorder": "line\nbreak"},
        {**CHECK, "recorder": b"r"},
        {**CHECK, "every": "1"},
        {**CHECK, "every": math.nan},
        {**CHECK, "every": math.inf},
        {**CHECK, "every": True},
        {**CHECK, "have": [1]},
        {**CHECK, "have": {"a": -1}},
        {**CHECK, "have": {"a": 1.5}},
        {**CHECK, "have": {"a": 2**64}},
        {"recorder": "r", "leave": 1},
        {**FETCH, "from": -1},
        {**FETCH, "from": 2**64},
        {**FETCH, "from": None},
        {**FETCH, "limit": "1"},
        {**FETCH, "since": math.nan},
        {**FETCH, "run": 3},
    ],
)
def test_nonsense_is_refused_in_a_line(request_):
    with pytest.raises(InvalidRequestError) as refused:
        read_request(request_, {"a"})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("every", "taken"), [(0, 0.1), (-5, 0.1), (1e9, 3600.0)])
def test_how_often_it_calls_is_bounded(every, taken):
    assert read_request({**CHECK, "every": every}, {"a"}).every == taken


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["recorder", "every", "have", "leave", "run", "from", "since", "limit"])


@given(st.dictionaries(keys, anything) | anything)
def test_whatever_comes_is_understood_or_refused(request_):
    try:
        asked = read_request(request_, {"a"})
    except InvalidRequestError:
        return
    assert isinstance(asked, Check | Fetch | Leave)
