"""Blocks packed into events: nothing lost, nothing reordered, nothing too large."""

import math

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.feeds import packing as feed_packing
from ocs.feeds.block import Block
from ocs.feeds.packing import packed_events, packed_floats, packed_pieces

ENVELOPE = {"feed_name": "f", "record": True}
PACKED_ENVELOPE = msgpack.packb(ENVELOPE)

columns_of = {
    "float": st.floats(),
    "int": st.integers(-(2**63), 2**64 - 1),
    "text": st.text(max_size=200),
    "bool": st.booleans(),
}


@st.composite
def blocks(draw):
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, unique=True))
    made = []
    for name in names:
        count = draw(st.integers(1, 40))
        kinds = draw(st.dictionaries(st.sampled_from(["x", "y", "_z"]), st.sampled_from(list(columns_of)), min_size=1))
        block = Block(name, kinds)
        times = draw(st.lists(st.floats(0, 2e9), min_size=count, max_size=count))
        data = {key: draw(st.lists(columns_of[kind], min_size=count, max_size=count)) for key, kind in kinds.items()}
        block.extend({"timestamps": times, "data": data})
        made.append(block)
    return made


def same(one, other):
    """Equality for which NaN equals NaN, and 1 is not 1.0."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


def unpacked(events):
    """Put the events' blocks together again: name -> (timestamps, columns)."""
    found = {}
    for payload, samples in events:
        ((data, envelope),) = msgpack.unpackb(payload)
        assert envelope == ENVELOPE
        assert sum(len(block["timestamps"]) for block in data.values()) == samples
        for name, block in data.items():
            assert block["block_name"] == name
            assert {len(column) for column in block["data"].values()} <= {len(block["timestamps"])}
            times, columns = found.setdefault(name, ([], {key: [] for key in block["data"]}))
            times.extend(block["timestamps"])
            for key, column in block["data"].items():
                columns[key].extend(column)
    return found


@given(blocks(), st.sampled_from([300, 2000, 256 << 10]))
@settings(deadline=None)
def test_every_sample_comes_out_once_in_order_and_no_event_is_too_large(made, limit):
    before, feed_packing._SPLIT_AT = feed_packing._SPLIT_AT, limit
    try:
        events = packed_events([piece for block in made for piece in packed_pieces(block)], PACKED_ENVELOPE)
    finally:
        feed_packing._SPLIT_AT = before
    found = unpacked(events)
    assert set(found) == {block.name for block in made}
    for block in made:
        times, columns = found[block.name]
        assert times == block.timestamps
        assert all(all(map(same, columns[key], column)) for key, column in block.data.items())
    # A single sample larger than the limit travels alone; names of fields and the envelope come on top.
    largest = max(feed_packing._sample_size(block) for block in made)
    assert all(len(payload) <= limit + largest + 200 for payload, _ in events)


@given(
    st.lists(st.floats(0, 2e9), min_size=1, max_size=50),
    st.sampled_from([list, np.array]),
    st.sampled_from([100, 1000, 256 << 10]),
    st.data(),
)
@settings(deadline=None)
def test_floats_take_the_short_way_unchanged(times, kind, limit, data):
    columns = {key: data.draw(st.lists(st.floats(), min_size=len(times), max_size=len(times))) for key in ("x", "y")}
    before, feed_packing._SPLIT_AT = feed_packing._SPLIT_AT, limit
    try:
        pieces = packed_floats("a", kind(times), {key: kind(column) for key, column in columns.items()})
    finally:
        feed_packing._SPLIT_AT = before
    found_times, found = unpacked(packed_events(pieces, PACKED_ENVELOPE))["a"]
    assert found_times == times
    assert all(all(map(same, found[key], columns[key])) for key in columns)


@given(st.lists(st.one_of(*columns_of.values()), min_size=2, max_size=30).filter(lambda v: type(v[0]) is float))
def test_the_short_way_notices_anything_that_is_no_float(values):
    times = [float(number) for number in range(len(values))]
    pieces = packed_floats("a", times, {"x": values})
    assert (pieces is not None) == all(type(value) is float for value in values)


@pytest.mark.parametrize("count", [15, 16, 65_535, 65_536])
def test_many_blocks_share_an_event_as_far_as_it_holds_them(count):
    pieces = [(f"b{number}", b"\x80", 1) for number in range(count)]
    before, feed_packing._SPLIT_AT = feed_packing._SPLIT_AT, 1 << 30
    try:
        ((payload, samples),) = packed_events(pieces, PACKED_ENVELOPE)
    finally:
        feed_packing._SPLIT_AT = before
    ((data, _),) = msgpack.unpackb(payload, max_map_len=1 << 20)
    assert len(data) == samples == count


def test_a_million_samples_are_split_below_the_limit():
    block = Block("a", ["x"])
    block.extend(
        {"timestamps": [float(n) for n in range(1_000_000)], "data": {"x": [float(n) for n in range(1_000_000)]}}
    )
    events = packed_events(packed_pieces(block), PACKED_ENVELOPE)
    assert max(len(payload) for payload, _ in events) < 1 << 20
    assert sum(samples for _, samples in events) == 1_000_000
    assert unpacked(events)["a"][0] == block.timestamps
