"""The bytes of a frame, read without spt3g and compared with what spt3g says."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.blocks import FinishedBlock
from ocs.hk.describe import describe
from ocs.hk.layout import TornFrameError, UnfamiliarError, block_places, frame_head, plain_value, texts_at

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
INTS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def blocks(draw):
    count = draw(st.integers(0, 5))
    times = np.array(draw(st.lists(INTS, min_size=count, max_size=count)), np.int64)
    kinds = {
        "f": st.lists(st.floats(), min_size=count, max_size=count).map(lambda v: np.array(v, float)),
        "i": st.lists(st.one_of(st.integers(-3, 300), INTS), min_size=count, max_size=count).map(
            lambda v: np.array(v, np.int64)
        ),
        "b": st.lists(st.booleans(), min_size=count, max_size=count).map(lambda v: np.array(v, bool)),
        "s": st.lists(st.text(max_size=5), min_size=count, max_size=count),
    }
    columns = draw(st.dictionaries(NAMES, st.one_of(*kinds.values()), max_size=4))
    return FinishedBlock(draw(NAMES), times, columns)


def encoded(finished, address="o.a.feeds.b"):
    frame = frames.data_frame(None, 7, 1.5)
    faults = []
    frames.fill(frame, address, "session", finished, faults.append)
    assert not faults
    return frames.encode(frame)


def reader(content):
    return lambda place, count: content[place : place + count]


def values_of(content, place):
    if place.kind == "s":
        return texts_at(content, place.offset, place.values)
    dtype = {"f": "<f8", "b": "?", "i": f"<i{place.width}"}[place.kind]
    return np.frombuffer(content, dtype, place.values, place.offset)


@settings(max_examples=150, deadline=None)
@given(st.lists(blocks(), max_size=4))
def test_every_value_is_found_where_spt3g_has_put_it(given_blocks):
    content = encoded(given_blocks)
    head = frame_head(reader(content))
    places = block_places(content, *head.pieces["blocks"])

    assert head.length == len(content)
    assert len(places) == len(given_blocks)
    for place, block in zip(places, given_blocks, strict=True):
        np.testing.assert_array_equal(np.frombuffer(content, "<i8", place.samples, place.ticks), block.ticks)
        assert set(place.fields) == set(block.columns)
        for name, values in block.columns.items():
            np.testing.assert_array_equal(values_of(content, place.fields[name]), values)


@settings(max_examples=50, deadline=None)
@given(st.lists(blocks(), max_size=2), st.data())
def test_a_frame_that_is_cut_is_torn_wherever_it_is_cut(given_blocks, data):
    content = encoded(given_blocks)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(TornFrameError):
        frame_head(reader(content[:cut]))


@settings(max_examples=200, deadline=None)
@given(st.lists(blocks(), min_size=1, max_size=2), st.data())
def test_damaged_bytes_raise_nothing_unforeseen(given_blocks, data):
    content = bytearray(encoded(given_blocks))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        describe(bytes(content))


@given(st.binary(max_size=300))
def test_any_bytes_are_described_or_refused(content):
    with pytest.raises(ValueError):
        describe(content)


def test_the_description_names_feed_session_and_blocks():
    block = FinishedBlock("temps", np.array([30, 10, 20]), {"x": np.array([1.0, 2.0, 3.0]), "n": ["a", "b", "c"]})
    info = describe(encoded([block]))

    assert (info.kind, info.address, info.session) == ("data", "o.a.feeds.b", "session")
    (told,) = info.blocks
    assert told[:4] == ("temps", 10, 30, 3)
    assert dict(told.fields) == {"x": "f", "n": "s"}


@pytest.mark.parametrize(("frame", "kind"), [("session_frame", "session"), ("status_frame", "status")])
def test_frames_without_samples_have_a_kind(frame, kind):
    assert describe(frames.encode(getattr(frames.new_session(1.0), frame)())).kind == kind


def test_an_unknown_piece_is_unfamiliar():
    with pytest.raises(UnfamiliarError):
        plain_value(b"\1\1\0\0\x80nothing")
