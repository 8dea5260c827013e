"""Messages of any make: what is usable becomes lines, the rest is counted, and nothing raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.influx.lines import chunks
from ocs.influx.points import is_wanted, message_lines
from ocs.influx.publisher import Inbox
from tests.harness.publishing import envelope, message

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
halves = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries({"timestamps": anything, "data": st.dictionaries(st.text(max_size=3), anything)}),
)


@given(anything | halves, anything)
def test_nothing_that_is_published_raises(data, feed):
    inbox = Inbox()
    inbox.open()
    inbox.put([data, feed])
    inbox.put(data)
    lines = message_lines(data, feed if isinstance(feed, dict) else envelope())
    chunks(lines.rows, 100)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"record": False}, False),
        ({"record": 1}, False),
        ({"agg_params": {"exclude_influx": True}}, False),
        ({"agg_params": {"exclude_influx": False}}, True),
        ({"agg_params": {"exclude_aggregator": True}}, True),
        ({"agg_params": None}, True),
    ],
)
def test_recorded_feeds_are_wanted_unless_they_say_otherwise(changes, wanted):
    assert is_wanted([{}, envelope(**changes)]) is wanted


def test_a_message_without_an_agent_address_goes_by_its_topic():
    feed = envelope()
    del feed["agent_address"]
    assert message_lines(message([1.0], x=[1]), feed).rows == ["observatory.source,feed=temps x=1i 1000000000"]


def test_one_sample_without_lists_is_understood():
    data = {"b": {"block_name": "b", "timestamp": 1.0, "data": {"x": 1, "s": "text"}}}
    assert message_lines(data, envelope()).rows == ['observatory.source,feed=temps x=1i,s="text" 1000000000']


def test_columns_of_another_length_are_counted_and_the_others_kept():
    lines = message_lines(message([1.0, 2.0], x=[1, 2], y=[1, 2, 3], z=5), envelope())
    assert [row.split()[1] for row in lines.rows] == ["x=1i", "x=2i"]
    assert lines.left_out == {"length": 4}


def test_an_inbox_at_its_bound_lets_the_oldest_go_and_counts_them():
    inbox = Inbox(most_values=10)
    inbox.open()
    for n in range(10):
        inbox.put([message([float(n)] * 3, x=[n] * 3), envelope()])
    kept = [data["block"]["data"]["x"][0] for data, _ in inbox.take()]
    assert kept == [8, 9]
    assert inbox.lost == 8


def test_a_closed_inbox_takes_nothing():
    inbox = Inbox()
    inbox.put([message([1.0], x=[1]), envelope()])
    assert inbox.take() == []
