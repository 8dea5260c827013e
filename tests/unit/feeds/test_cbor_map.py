"""Where things are in CBOR."""

import contextlib
import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.feeds.cbor_map import Array, Floats, Map, Number, Unfit, map_of

ITEMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=30), inner, max_size=5),
    max_leaves=20,
)


def check(payload, node, item):
    """Compare a map of some bytes with what is in them."""
    if isinstance(node, Floats):
        end = node.offset + 9 * node.length
        found = [struct.unpack_from(">d", payload, at + 1)[0] for at in range(node.offset, end, 9)]
        assert repr(found) == repr(item)  # as NaN is not what it is
    elif isinstance(node, Number):
        assert type(item) is int
        if node.width:
            assert int.from_bytes(payload[node.offset : node.offset + node.width], "big") == item
    elif isinstance(node, Map):
        assert list(node) == list(item)
        for key, inner in node.items():
            check(payload, inner, item[key])
    elif isinstance(node, Array):
        assert len(node) == len(item)
        for inner, value in zip(node, item, strict=True):
            check(payload, inner, value)
    else:
        assert node is None
        assert not isinstance(item, dict | list)
        assert not (type(item) is int and item >= 0)


@given(ITEMS)
def test_a_map_says_where_everything_is(item):
    payload = cbor2.dumps(item)
    check(payload, map_of(payload), cbor2.loads(payload))


@given(st.binary(max_size=80))
def test_a_map_of_whatever_bytes_is_right_if_they_can_be_read(payload):
    with contextlib.suppress(Unfit, cbor2.CBORDecodeError):
        node, item = map_of(payload), cbor2.loads(payload)
        check(payload, node, item)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x9f\x01\xff",  # a list without a length
        b"\xc1\x1a\x00\x00\x00\x01",  # a tag
        b"\xd8\x40\x41\x00",  # a tag of two bytes
        b"\xa1\x01\x02",  # a key that is a number
        b"\xa2\x61a\x01\x61a\x02",  # a key twice
        b"\x01\x02",  # two items
        b"\x61",  # cut off
        b"\x62a",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81" * 5000 + b"\x01",
    ],
)
def test_what_has_no_map_is_unfit(payload):
    with pytest.raises(Unfit):
        map_of(payload)


def test_floats_with_anything_else_among_them_are_an_array():
    assert isinstance(map_of(cbor2.dumps([1.5, 2])), Array)
    assert isinstance(map_of(cbor2.dumps([2, 1.5])), Array)
    assert isinstance(map_of(cbor2.dumps([1.5, 2.5])), Floats)
