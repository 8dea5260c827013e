"""Events kept as they came, and read again."""

import contextlib
import json

import cbor2
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.wamp.frames import (
    ARGUMENTS,
    CBOR,
    JSON,
    MSGPACK,
    Frame,
    number_of,
    pack_event,
    read_event,
    takes_frame,
    wants_frame,
)

PACKERS = {
    "cbor": cbor2.dumps,
    "msgpack": msgpack.packb,
    "json": lambda message: json.dumps(message).encode(),
}
EVENT = [{"block": {"timestamps": [1.5], "data": {"a": [2.5]}}}, {"record": True, "seq": 7}]


@pytest.mark.parametrize("name", PACKERS)
def test_an_event_is_read_as_it_was_sent(name):
    payload = PACKERS[name]([36, 5512315355, 4429313566, {}, [EVENT]])
    assert read_event(name, payload) == [EVENT]
    assert read_event(number_of(name), payload) == [EVENT]


def test_the_numbers_on_disks_stay():
    assert [number_of(name) for name in ("cbor", "msgpack", "json")] == [CBOR, MSGPACK, JSON] == [1, 2, 3]
    assert ARGUMENTS == 4


def test_a_replay_is_the_arguments_alone():
    assert read_event(ARGUMENTS, msgpack.packb([EVENT])) == [EVENT]


def test_an_event_without_arguments_has_none():
    assert read_event("cbor", cbor2.dumps([36, 1, 2, {}])) == []


def test_keys_and_texts_that_are_tolerated_live_are_tolerated_here():
    assert read_event("msgpack", msgpack.packb([36, 1, 2, {}, [{3: "x"}]])) == [{3: "x"}]
    half_a_pair = b"\x95\x24\x01\x02\x80\x91\xa3\xed\xa0\x80"
    assert read_event("msgpack", half_a_pair) == ["\ufffd\ufffd\ufffd"]


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x00", msgpack.packb([36, 1]), msgpack.packb([48, 1, {}, "a.b", []]), msgpack.packb({})]
)
@pytest.mark.parametrize("serializer", [CBOR, MSGPACK, JSON])
def test_what_is_no_event_is_a_value_error(serializer, payload):
    with pytest.raises(ValueError, match="frame"):
        read_event(serializer, payload)


@pytest.mark.parametrize("args", [5, None, "text", b"bytes", {}])
def test_arguments_that_are_no_list_are_a_value_error(args):
    with pytest.raises(ValueError, match="no event"):
        read_event(CBOR, cbor2.dumps([36, 1, 2, {}, args]))
    with pytest.raises(ValueError, match="no event"):
        read_event(ARGUMENTS, msgpack.packb(args))


@pytest.mark.parametrize("serializer", [0, 9, -1, "flatbuffers", ""])
def test_an_unknown_serializer_is_a_value_error(serializer):
    with pytest.raises(ValueError, match="unknown"):
        read_event(serializer, msgpack.packb([36, 1, 2, {}, []]))


@given(st.sampled_from([CBOR, MSGPACK, JSON, ARGUMENTS]), st.binary(max_size=60))
def test_garbage_is_a_list_or_a_value_error(serializer, payload):
    with contextlib.suppress(ValueError):
        assert isinstance(read_event(serializer, payload), list)


@given(
    st.lists(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists, max_leaves=5))
)
def test_a_packed_event_is_read_again(args):
    assert read_event(*pack_event(args)) == args


def test_what_has_no_form_cannot_be_packed():
    with pytest.raises(ValueError, match="no form"):
        pack_event([object()])


class Recorder:
    @takes_frame
    def put(self, event, *, frame=None):
        """Take an event."""

    def other(self, event):
        """Take an event."""


def test_a_method_can_be_marked_in_its_class_or_through_an_object():
    recorder = Recorder()
    assert wants_frame(recorder.put)
    assert not wants_frame(recorder.other)


def test_a_function_can_be_marked():
    assert wants_frame(takes_frame(lambda event, frame=None: None))
    assert not wants_frame(print)


def test_a_method_can_be_marked_later():
    class Other:
        def put(self, event, *, frame=None):
            """Take an event."""

    assert wants_frame(takes_frame(Other().put))


def test_a_frame_is_a_pair():
    assert Frame(CBOR, b"x") == (1, b"x")
