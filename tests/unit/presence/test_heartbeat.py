"""Heartbeats come from anybody: whatever is none is refused with a reason, and nothing else is raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.presence.heartbeat import (
    MAX_OPS,
    Heartbeat,
    MalformedHeartbeatError,
    check_op_codes,
    read_heartbeat,
)

FEED = {"agent_address": "observatory.a", "agent_class": "A", "feed_name": "heartbeat"}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_a_heartbeat_is_taken_apart():
    assert read_heartbeat([{"acq": 3}, FEED]) == Heartbeat("observatory.a", "A", {"acq": 3})


def test_an_agent_may_have_no_class():
    assert read_heartbeat([{}, {"agent_address": "observatory.a"}]).agent_class is None


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (None, "not None"),
        ("text", "not 'text'"),
        ([], "not a list"),
        ([{"acq": 3}], "not a list"),
        ([{"acq": 3}, None], "feed of a heartbeat is a map, not None"),
        ([{"acq": 3}, {}], "agent_address is None"),
        ([{"acq": 3}, {"agent_address": ""}], "agent_address is ''"),
        ([{"acq": 3}, {"agent_address": "x" * 300}], r"agent_address is 'x{40}'\.\.\."),
        ([{"acq": 3}, {**FEED, "agent_class": ["A"]}], "observatory.a has the agent_class a list"),
        ([["acq"], FEED], "op codes of observatory.a are a list"),
        ([10**5000, FEED], "are a huge integer"),
    ],
)
def test_another_shape_is_refused_with_its_reason(event, says):
    with pytest.raises(MalformedHeartbeatError, match=says):
        read_heartbeat(event)


@pytest.mark.parametrize(
    "codes", [{"acq": True}, {"acq": -1}, {"acq": 256}, {"acq": 3.0}, {"acq": "3"}, {"": 3}, {4: 3}]
)
def test_codes_that_are_no_small_numbers_are_refused(codes):
    with pytest.raises(MalformedHeartbeatError, match=r"observatory\.a gives operation"):
        check_op_codes(Heartbeat("observatory.a", "A", codes))


def test_too_many_operations_are_refused():
    with pytest.raises(MalformedHeartbeatError, match=f"at most {MAX_OPS}"):
        check_op_codes(Heartbeat("observatory.a", "A", {f"op{i}": 1 for i in range(MAX_OPS + 1)}))


def test_codes_are_copied():
    codes = {"acq": 3}
    checked = check_op_codes(Heartbeat("observatory.a", "A", codes))
    codes["acq"] = 5
    assert checked == {"acq": 3}


def refusal(event):
    """Return why an event is refused; None if it is not."""
    try:
        check_op_codes(read_heartbeat(event))
    except MalformedHeartbeatError as error:
        return str(error)
    return None


@given(st.one_of(ANYTHING, st.tuples(ANYTHING, ANYTHING), st.tuples(ANYTHING, st.just(FEED))))
def test_nothing_but_the_named_error_is_raised_and_it_stays_short(event):
    assert len(refusal(event) or "") < 500
