"""Messages as they go over the wire, and what a bad one costs."""

from types import SimpleNamespace

import msgpack
import pytest
from autobahn.wamp import message
from autobahn.wamp.exception import SerializationError, TransportLost
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import fail

from ocs.wamp.frames import read_event, takes_frame
from ocs.wamp.transport import Transport, pack, serializers
from tests.harness.fakes import Log


class Wire:
    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data


def transport(serializer=0):
    made = Transport.__new__(Transport)
    made._session = object()
    made.state = Transport.STATE_OPEN
    made._serializer = serializers(hears_others=False)[serializer]
    made.transport = Wire()
    return made


def payload_of(frame):
    """Take a client's frame apart as RFC 6455 has it."""
    assert frame[0] & 0xF0 == 0x80
    assert frame[1] & 0x80
    length, at = frame[1] & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length, at = int.from_bytes(frame[2 : 2 + size], "big"), 2 + size
    mask, data = frame[at : at + 4], frame[at + 4 :]
    assert len(data) == length
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) if any(mask) else data


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_is_what_the_standard_says(size):
    sender = transport()
    sender.send_packed(b"x" * size)
    assert payload_of(sender.transport.written) == b"x" * size


def test_a_message_goes_out_as_the_serializer_has_it():
    sender = transport()
    sender.send(message.Publish(7, "a.b", args=[{"x": 1.5}]))
    assert msgpack.unpackb(payload_of(sender.transport.written)) == [16, 7, {}, "a.b", [{"x": 1.5}]]


@pytest.mark.parametrize("serializer", [0, 1, 2])
def test_what_has_no_form_on_the_wire_is_a_serialization_error(serializer):
    with pytest.raises(SerializationError):
        transport(serializer).send(message.Publish(7, "a.b", args=[object()]))


def test_nothing_is_written_to_a_connection_that_is_being_dropped():
    sender = transport()
    sender.state = Transport.STATE_CLOSED
    with pytest.raises(TransportLost):
        sender.send_packed(b"lost")
    assert sender.transport.written == b""


def test_nothing_can_be_sent_without_a_session():
    sender = transport()
    sender._session = None
    with pytest.raises(TransportLost):
        sender.send(message.Publish(7, "a.b"))


@pytest.mark.parametrize("serializer", [0, 1, 2])
def test_a_reply_that_the_router_would_cut_us_off_for_becomes_a_short_error(serializer):
    sender = transport(serializer)
    sender.send(message.Yield(5, args=["x" * (16 << 20)]))
    sent = sender._serializer.unserialize(payload_of(sender.transport.written))[0]
    assert isinstance(sent, message.Error)
    assert sent.request == 5
    assert sent.error == "wamp.error.payload_size_exceeded"
    assert len(sender.transport.written) < 1000


def test_any_other_message_that_is_too_large_is_the_callers_error():
    sender = transport()
    with pytest.raises(SerializationError, match="bytes"):
        sender.send(message.Call(5, "a.b", args=["x" * (16 << 20)]))
    assert sender.transport.written == b""


def test_a_map_with_keys_of_any_type_is_received():
    serializer = serializers(hears_others=False)[0]
    packed = msgpack.packb([36, 1, 2, {}, [{3: "x"}]])
    (event,) = serializer.unserialize(packed, True)
    assert event.args == [{3: "x"}]


class Session:
    """A session with one subscription."""

    def __init__(self, handler):
        self.got = []
        self._subscriptions = {1: [SimpleNamespace(handler=SimpleNamespace(fn=handler, obj=None, details_arg=None))]}

    def onMessage(self, msg):
        self.got.append(msg)


def receiver(handler):
    made = transport()
    made._session, made.log = Session(handler), Log()
    return made


@pytest.mark.parametrize("payload", [b"\xc1", b"", b"\x93\x01\x02\x03", msgpack.packb([999, 1])])
def test_a_message_that_cannot_be_read_costs_only_itself(payload):
    got = []
    taking = receiver(got.append)
    taking._bailout = lambda *args, **kwargs: got.append("reconnecting")
    taking.onMessage(payload, True)
    assert taking._session.got == []
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["fine"]]), True)
    assert got[-1] == "fine"


def test_an_event_goes_to_all_who_have_subscribed():
    got = []
    taking = receiver(lambda event: got.append(("one", event)))
    taking._session._subscriptions[1] *= 2
    taking.onMessage(msgpack.packb([36, 1, 2, {}, [[{"x": 1}, {}]]]), True)
    assert got == [("one", [{"x": 1}, {}])] * 2


def fails(event):
    raise RuntimeError("in the handler")


async def fails_later(event):
    raise RuntimeError("in the handler")


@pytest.mark.parametrize("handler", [fails, fails_later, lambda: None, lambda event: fail(RuntimeError())])
def test_a_handler_that_fails_is_logged_and_the_connection_stays(handler):
    taking = receiver(handler)
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["event"]]), True)
    assert len(taking.log.of("failure")) == 1
    assert taking.transport.written == b""


def test_an_event_nobody_waits_for_is_passed_over():
    got = []
    receiver(got.append).onMessage(msgpack.packb([36, 99, 2, {}, ["event"]]), True)
    assert got == []


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_packing_is_messagepack(value):
    assert msgpack.unpackb(pack(value)) == value


@pytest.mark.parametrize("serializer", [0, 1, 2])
def test_a_handler_that_takes_frames_gets_the_message_as_it_came(serializer):
    got = []
    taking = receiver(takes_frame(lambda event, frame=None: got.append((event, frame))))
    taking._serializer = serializers(hears_others=False)[serializer]
    payload = taking._serializer._serializer.serialize([36, 1, 2, {}, [[{"x": 1.5}, {}]]])
    taking.onMessage(payload, taking._serializer._serializer.BINARY)
    ((event, frame),) = got
    assert event == [{"x": 1.5}, {}]
    assert frame.payload == payload
    assert read_event(*frame) == [event]


def test_a_handler_beside_one_that_takes_frames_is_called_as_ever():
    got = []
    taking = receiver(lambda event, **more: got.append(more))
    taking._session._subscriptions[1].append(
        SimpleNamespace(
            handler=SimpleNamespace(fn=takes_frame(lambda event, **more: got.append(more)), obj=None, details_arg=None)
        )
    )
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["event"], {"k": 1}]), True)
    assert [sorted(more) for more in got] == [["k"], ["frame", "k"]]
