import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.messages import (
    Envelope,
    Fault,
    RawBlock,
    raw_blocks,
    read_envelope,
    weight,
)
from ocs.feeds.recorded import is_recorded
from tests.harness.archive import ADDRESS, envelope, message

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.just(2**70)
)
GARBAGE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=4),
)
ALMOST_BLOCK = st.fixed_dictionaries(
    {},
    optional={
        "timestamps": GARBAGE,
        "timestamp": SCALARS,
        "data": st.dictionaries(st.text(max_size=3), GARBAGE),
        "block_name": SCALARS,
    },
)


@given(GARBAGE | st.dictionaries(SCALARS, ALMOST_BLOCK, max_size=3))
def test_any_message_is_taken_apart_into_blocks_of_one_length_and_faults(data):
    for part in raw_blocks(data):
        if isinstance(part, RawBlock):
            assert {len(column) for column in part.columns} <= {len(part.timestamps)}
            assert len(part.columns) == len(part.fields)
        else:
            assert part.detail
            assert len(part.detail) < 400


@given(GARBAGE)
def test_any_event_can_be_weighed_and_asked_whether_it_is_recorded(event):
    assert weight(event) >= 0
    assert is_recorded(event) in (True, False)


@given(st.dictionaries(st.sampled_from(list(envelope())), GARBAGE))
def test_any_envelope_is_read_or_refused(feed):
    result = read_envelope(feed)

    if isinstance(result, Envelope):
        assert result.address
        assert 0 < result.frame_length < float("inf")
        assert 0 < result.fresh_time < float("inf")
    else:
        assert result.cause == "envelope"


def test_an_envelope_is_read():
    feed = envelope(agg_params={"frame_length": 60, "fresh_time": 5.5, "exclude_influx": True})

    assert read_envelope(feed) == Envelope(ADDRESS, "1790000000.5", 60, 5.5, False)


@pytest.mark.parametrize(
    "params",
    [
        None,
        3,
        "x",
        [],
        {"frame_length": "60"},
        {"frame_length": float("nan")},
        {"frame_length": -1, "fresh_time": True},
    ],
)
def test_aggregation_parameters_that_make_no_sense_give_the_defaults(params):
    result = read_envelope(envelope(agg_params=params))

    assert isinstance(result, Envelope)
    assert (result.frame_length, result.fresh_time, result.excluded) == (300, 180, False)


def test_a_missing_address_is_put_together_from_agent_and_feed():
    feed = envelope()
    del feed["address"]

    result = read_envelope(feed)

    assert isinstance(result, Envelope)
    assert result.address == ADDRESS


@pytest.mark.parametrize("address", [3, "", "x" * 2_000_000, "a\nb", ["a"]])
def test_an_address_that_is_none_makes_the_event_unusable(address):
    assert isinstance(read_envelope({**envelope(), "address": address}), Fault)


@pytest.mark.parametrize(("session_id", "read"), [(None, "unknown"), (1.5, "1.5"), (7, "7"), ({}, "unknown")])
def test_a_session_id_that_is_no_text_is_no_reason_to_lose_data(session_id, read):
    result = read_envelope(envelope(session_id=session_id))

    assert isinstance(result, Envelope)
    assert result.session_id == read


def test_a_field_of_another_length_is_left_out_and_the_rest_kept():
    parts = list(raw_blocks(message([1.0, 2.0], good=[1, 2], short=[1])))

    assert [part for part in parts if isinstance(part, RawBlock)] == [RawBlock("t", [1.0, 2.0], ("good",), ([1, 2],))]
    assert [(part.cause, part.values) for part in parts if isinstance(part, Fault)] == [("lengths", 1)]


def test_a_field_that_is_no_list_is_left_out_and_the_rest_kept():
    parts = list(raw_blocks(message([1.0], good=[1], bad="text", worse={"x": 1})))

    assert parts[-1] == RawBlock("t", [1.0], ("good",), ([1],))
    assert [part.cause for part in parts[:-1]] == ["structure", "structure"]


def test_a_broken_block_costs_the_others_nothing():
    parts = list(raw_blocks({"bad": None, **message([1.0], good=[1])}))

    assert parts[1] == RawBlock("t", [1.0], ("good",), ([1],))


def test_a_bare_sample_is_understood():
    sample = {"t": {"block_name": "t", "timestamp": 5.0, "data": {"a": 1}}}

    assert list(raw_blocks(sample)) == [RawBlock("t", [5.0], ("a",), ([1],))]


def test_arrays_of_a_caller_in_the_same_process_are_understood():
    assert list(raw_blocks(message(np.array([1.0]), a=np.array([2])))) == [RawBlock("t", [1.0], ("a",), ([2],))]


def test_a_long_text_weighs_more_than_a_number():
    assert weight(message([1.0], a=["x" * 1_000_000])) > 10_000
    assert weight(message([1.0, 2.0], a=[1, 2], b=[1, 2])) == 4


@pytest.mark.parametrize("feed", [{}, {"record": "yes"}, {"record": 1}, None, []])
def test_only_what_says_so_is_recorded(feed):
    assert not is_recorded([{}, feed])
    assert is_recorded([{}, {"record": True}])


@pytest.mark.parametrize(
    ("value", "excluded"), [(True, True), (1, True), (False, False), ("false", False), ([1], False)]
)
def test_a_feed_is_left_out_only_where_that_is_said_clearly(value, excluded):
    result = read_envelope(envelope(agg_params={"exclude_aggregator": value}))

    assert isinstance(result, Envelope)
    assert result.excluded is excluded
