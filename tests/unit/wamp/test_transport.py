"""Messages as they go over the wire, and what a bad one costs."""

from types import SimpleNamespace

import msgpack
import pytest
from autobahn.wamp import message
from autobahn.wamp.exception import SerializationError, TransportLost
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import fail
from twisted.internet.task import Clock

from ocs.wamp.cutter import FrameCutter
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


def test_an_event_that_a_handler_does_not_take_is_told_of_now_and_then():
    taking = receiver(lambda: None)
    for _ in range(100):
        taking.onMessage(msgpack.packb([36, 1, 2, {}, ["event"]]), True)
    assert len(taking.log.of("warn")) == 1
    assert taking.log.of("failure") == []
    assert taking.transport.written == b""


@pytest.mark.parametrize("handler", [fails, fails_later, lambda event: fail(RuntimeError()), lambda event: event()])
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


class Factory:
    def __init__(self):
        self.reactor = Clock()
        self.on_lost = lambda: None


class Socket(Wire):
    def __init__(self):
        super().__init__()
        self.reading = True

    def pauseProducing(self):
        self.reading = False

    def resumeProducing(self):
        self.reading = True


def listener(handler):
    """A receiver on a socket, with a clock of its own, past the handshake."""
    made = receiver(handler)
    made.factory, made.transport = Factory(), Socket()
    made._cutter = FrameCutter(1 << 20)
    made.autoPingTimeoutCall = None
    return made


def packed(size=10, subscription=1):
    payload = msgpack.packb([36, subscription, 2, {}, ["x" * size]])
    return b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload


def quiet(event, frame=None):
    """Take an event."""


def keeper():
    """A handler that takes frames."""
    return takes_frame(lambda event, frame=None: None)


def hear(taking, seconds, size=10):
    """Let time pass, then an event come."""
    taking.factory.reactor.advance(seconds)
    taking.dataReceived(packed(size))


def test_frequent_events_for_who_keeps_them_are_left_in_the_socket_for_a_moment():
    taking = listener(keeper())
    hear(taking, 0)
    assert taking.transport.reading
    hear(taking, 0.01)
    assert not taking.transport.reading
    taking.factory.reactor.advance(0.03)
    assert taking.transport.reading


def test_rare_events_are_taken_at_once():
    taking = listener(keeper())
    for _ in range(5):
        hear(taking, 0.5)
        assert taking.transport.reading


def test_events_for_others_are_taken_at_once():
    taking = listener(quiet)
    for _ in range(5):
        hear(taking, 0.001)
        assert taking.transport.reading


def test_where_much_comes_the_rests_are_short():
    taking = listener(keeper())
    rests = []
    for _ in range(20):
        hear(taking, 0.001, size=60_000)
        assert taking.transport.reading
        hear(taking, 0.001, size=20_000)
        rests.append(taking.factory.reactor.getDelayedCalls()[0].getTime() - taking.factory.reactor.seconds())
        taking.factory.reactor.advance(rests[-1])
    assert rests[0] <= 0.02
    assert rests[-1] < 0.001


def test_a_connection_lost_at_rest_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(Transport.__mro__[1], "connectionLost", lambda self, reason: None)
    taking = listener(keeper())
    hear(taking, 0)
    hear(taking, 0.01)
    taking.connectionLost()
    assert taking.factory.reactor.getDelayedCalls() == []


def reader(payload):
    """Read nothing but one kind of message."""
    return (1, ["quickly"]) if b"quick" in payload else None


def test_a_reader_of_the_handlers_own_is_asked_first():
    got = []
    taking = receiver(takes_frame(lambda event, frame: got.append((event, frame.payload)), reader))
    payloads = [msgpack.packb([36, 1, 2, {}, [text]]) for text in ("slow", "quick", "other")]
    for payload in payloads:
        taking.onMessage(payload, True)
    assert got == list(zip(["slow", "quickly", "other"], payloads, strict=True))


def test_what_a_reader_takes_for_an_event_that_others_hear_too_is_read_as_usual():
    got = []
    taking = receiver(takes_frame(lambda event, frame: got.append(event), reader))
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["slow"]]), True)
    other = SimpleNamespace(handler=SimpleNamespace(fn=got.append, obj=None, details_arg=None))
    taking._session._subscriptions[1].append(other)
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["quick"]]), True)
    assert got == ["slow", "quick", "quick"]


def test_a_reader_is_not_asked_when_its_handler_has_gone():
    taking = receiver(takes_frame(quiet, reader))
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["slow"]]), True)
    taking._session._subscriptions.clear()
    taking.onMessage(msgpack.packb([36, 1, 2, {}, ["quick"]]), True)
    assert taking.log.lines == []
