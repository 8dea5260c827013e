"""Frames cut out of a byte stream, however it arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.wamp.cutter import FrameCutter, FrameTooLargeError

LIMIT = 1 << 20


def frame(first, payload, mask=b""):
    size = len(payload)
    flag = 0x80 if mask else 0
    if size <= 125:
        head = bytes((first, flag | size))
    elif size <= 0xFFFF:
        head = bytes((first, flag | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + size.to_bytes(8, "big")
    return head + mask + payload


payloads = st.binary(max_size=300) | st.sampled_from([b"x" * n for n in (125, 126, 127, 65_535, 65_536, 70_000)])
frames = st.tuples(
    st.sampled_from([0x81, 0x82, 0x89, 0x8A, 0x88, 0x01, 0x80, 0xC2]), payloads, st.sampled_from([b"", b"mask"])
)


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 5000), max_size=40))
def test_each_frame_comes_out_once_in_order_however_the_bytes_arrive(sent, cuts):
    stream, cutter, got = b"".join(frame(*each) for each in sent), FrameCutter(LIMIT), []
    start = 0
    for cut in [*cuts, len(stream)]:
        if stream[start : start + cut]:
            got.extend(cutter.feed(stream[start : start + cut]))
        start += cut
    assert len(got) == len(sent)
    for (first, payload, mask), found in zip(sent, got, strict=True):
        if first in (0x81, 0x82) and not mask:
            assert found == (payload, first == 0x81, b"")
        else:
            assert found == (None, False, frame(first, payload, mask))


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_bytes_may_come_one_by_one(sent):
    cutter, got = FrameCutter(LIMIT), []
    for byte in b"".join(frame(0x82, payload) for payload in sent):
        got.extend(cutter.feed(bytes((byte,))))
    assert [found.payload for found in got] == sent


def test_a_frame_that_announces_too_much_is_refused_before_it_has_come():
    with pytest.raises(FrameTooLargeError, match="1,048,577 bytes"):
        list(FrameCutter(LIMIT).feed(frame(0x82, b"x" * (LIMIT + 1))[:20]))


def test_the_largest_frame_passes():
    (found,) = FrameCutter(LIMIT).feed(frame(0x82, b"x" * LIMIT))
    assert len(found.payload) == LIMIT
