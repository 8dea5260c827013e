"""Messages that are left packed: read quickly, they say what they say when they are read as usual."""

import math
from collections import Counter

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.aggregator.drivers import Provider
from ocs.agents.aggregator.messages import weight
from ocs.feeds.packed import PackedData, PackedReader, floats, learned
from tests.harness.archive import ADDRESS, envelope, message

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def event(data, subscription=2**40, publication=2**41, details=None, **changes):
    details = {"publisher": 2**33, "topic": ADDRESS} if details is None else details
    return cbor2.dumps([36, subscription, publication, details, [[data, envelope(**changes)]]])


def read(reader, payload):
    """Read a message; what was read quickly is checked, and given as it is when it is unpacked."""
    found = reader(payload)
    if found is None:
        return None
    subscription, [[data, feed]] = found
    assert [subscription, [data.unpacked(), feed]] == [cbor2.loads(payload)[1], cbor2.loads(payload)[4][0]]
    assert weight(data) == weight(data.unpacked())
    return data


def taught(*payloads):
    """A reader that knows these messages."""
    reader = PackedReader()
    for payload in payloads:
        for _ in range(2):
            reader(payload)
    return reader


def steady(seconds, **changes):
    return event(message([seconds], a=[seconds / 3], b=[-seconds]), publication=2**41 + int(seconds), **changes)


def test_messages_that_are_alike_are_left_packed_from_the_second_one_on():
    reader = PackedReader()
    found = [read(reader, steady(seconds)) for seconds in (1.0, 2.0, 3.0, 4.0)]
    assert [isinstance(data, PackedData) for data in found] == [False, True, True, True]


def test_each_message_has_its_number():
    reader = PackedReader()
    numbers = [*range(20, 30), *range(250, 260), *range(65_530, 65_540), 2**32 - 1, 2**32, 2**32 + 1]
    found = {seq: read(reader, steady(1.0, seq=seq)) for seq in numbers}
    assert sum(data is not None for data in found.values()) > 20


@pytest.mark.parametrize("seq", [-1, -300, 1.5, "300", None, [300, 400], {"x": 300}, True])
def test_a_number_that_is_none_is_not_packed(seq):
    reader = PackedReader()
    assert [read(reader, steady(1.0, seq=seq)) for _ in range(4)] == [None] * 4


@pytest.mark.parametrize(
    "other",
    [
        steady(1.0, session_id="1790000000.6"),
        steady(1.0, record=False),
        event(message([1.0], a=[0.5], c=[1.5])),
        event(message([1.0], block="u", a=[0.5], b=[1.5])),
        steady(1.0, subscription=2**40 + 1),
        steady(1.0, details={"publisher": 2**33 + 1, "topic": ADDRESS}),
    ],
)
def test_a_message_that_differs_in_anything_else_is_read_as_usual(other):
    reader = taught(steady(1.0))
    assert len(other) == len(steady(1.0)) or b"\xf4" in other
    assert read(reader, other) is None


@pytest.mark.parametrize(
    "data",
    [
        message([1.0], a=[1], b=[0.5]),
        message([1], a=[0.5]),
        message([1.0], a=["x"], b=[0.5]),
        message([1.0], a=[None]),
        message([1.0], a=[True]),
        message([1.0], a=[math.nan]),
        message([1.0], a=[0.5, 0.6]),
        message([1.0, 2.0], a=[0.5]),
        message([1.0]),
        message([], a=[]),
        {"t": {"timestamp": 1.0, "data": {"a": 0.5}}},
        {"t": {"timestamps": [1.0], "data": None}},
        {"t": {"timestamps": [1.0]}},
        {"t": [1.0]},
        {1: {"timestamps": [1.0], "data": {"a": [0.5]}}},
        [1.0],
        "text",
        None,
    ],
)
def test_what_is_not_of_floats_alone_is_read_as_usual(data):
    assert learned(event(data)) is None


@pytest.mark.parametrize(
    "odd",
    [
        [36, 2**40, 2**41, {"enc_algo": "x"}, [[message([1.0], a=[0.5]), envelope()]]],
        [36, 2**40, 2**41, {"x_acknowledged_delivery": True}, [[message([1.0], a=[0.5]), envelope()]]],
        [36, 2**40, 2**41, {}, [[message([1.0], a=[0.5]), envelope()]], {"k": 1}],
        [36, 2**40, 2**41, {}, [[message([1.0], a=[0.5]), envelope()], 5]],
        [36, 2**40, 2**41, {}, [message([1.0], a=[0.5]), envelope()]],
        [36, 2**40, 2**41, {}],
        [48, 2**40, {}, "a.b", [[message([1.0], a=[0.5]), envelope()]]],
        {"t": 5},
        36,
    ],
)
def test_what_is_no_plain_event_is_read_as_usual(odd):
    assert learned(cbor2.dumps(odd)) is None


@given(st.binary(max_size=200))
def test_nothing_is_learned_from_garbage(payload):
    assert learned(payload) is None


BASE = event({"t": message([1.5, 2.5], a=[1.0, 2.0])["t"], "u": message([1.5], b=[7.0])["t"]}, seq=70_000)


@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), max_size=3))
def test_with_any_bytes_changed_it_says_what_it_says_when_read_as_usual(changes):
    payload = bytearray(BASE)
    for at, byte in changes:
        payload[at] = byte
    found = taught(BASE)(bytes(payload))
    if found is not None:
        subscription, [[data, feed]] = found
        again = cbor2.loads(bytes(payload))
        assert subscription == again[1]
        assert repr([data.unpacked(), feed]) == repr(again[4][0])


ODD = st.sampled_from([5, "x", None, True, math.nan, math.inf, 2**70])
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([1] * 8 + [3]),
        st.lists(FLOATS, min_size=9, max_size=9),
        st.sampled_from([None] * 20 + [0, 1, 2, 5, 8]),
        ODD,
        st.sampled_from(["t"] * 8 + ["u"]),
        st.sampled_from([True] * 8 + [False]),
    ),
    min_size=15,
    max_size=50,
)
"""How many rows; their values; which of these is to be an odd one; the block; whether it has both fields."""


def outcome(provider):
    """What is in a provider's frame, but for the order in which blocks of other fields have got their names."""
    return sorted(
        repr((sorted(block.columns), block.ticks.tolist(), {f: typed(block.columns[f]) for f in sorted(block.columns)}))
        for block in provider.finished()
    )


def typed(values):
    return getattr(values, "dtype", "text"), list(values)


def losses(faults):
    """How many values are lost by which cause; how many faults there are is a matter of what is looked at together."""
    lost = Counter()
    for fault in faults:
        lost[fault.cause] += fault.values
    return lost


@given(MESSAGES)
def test_a_provider_makes_the_same_of_packed_messages(rows):
    """Whatever comes in whatever order: what is in the frame is the same, in the same order, and so are the faults."""
    faults = [], []
    plain, quick = (Provider(ADDRESS, "1", 0, clock=lambda: 0.0, report=each.append) for each in faults)
    reader = PackedReader()
    for count, values, place, odd, block, wide in rows:
        if place is not None:
            values[place] = odd
        times, columns = values[:count], {"a": values[3 : 3 + count], "b b": values[6 : 6 + count]}
        if not wide:
            del columns["b b"]
        payload = event(message(times, block=block, **columns))
        found = reader(payload)
        data = cbor2.loads(payload)[4][0][0]
        plain.save_to_block(data)
        quick.save_to_block(found[1][0][0] if found else data)
    assert outcome(quick) == outcome(plain)
    assert losses(faults[0]) == losses(faults[1])
    quick.clear()
    assert quick.empty()


def packed_messages(count, rows=50):
    """Messages of one layout, packed."""
    reader = PackedReader()
    found = []
    for number in range(count + 1):
        times = [1e9 + number + row / rows for row in range(rows)]
        read_one = reader(event(message(times, a=times, b=[float(number)] * rows), publication=2**41 + number))
        found += [read_one[1][0][0]] if read_one else []
    assert len(found) == count
    return found


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 50), (300, 1), (200, 50)])
def test_packed_messages_are_held_until_a_frame_is_made(count, rows):
    provider = Provider(ADDRESS, "1", 0, clock=lambda: 0.0)
    for index, data in enumerate(packed_messages(count, rows)):
        provider.save_to_block(data, index)
    assert not provider.empty()
    assert 16 * count * rows <= provider.size < 16 * count * rows + 40_000
    assert provider.frame_start_time == 0.0
    (block,) = provider.to_frame(clear=True)["blocks"]
    assert len(block.times) == count * rows
    assert np.asarray(block["a"]).tolist() == [1e9 + n + row / rows for n in range(1, count + 1) for row in range(rows)]
    assert provider.empty()
    assert (provider.size, provider.first_index, provider.last_index) == (0, None, count - 1)


@given(st.lists(st.lists(FLOATS, min_size=4, max_size=4), min_size=1, max_size=5))
def test_floats_are_taken_out_as_they_went_in(rows):
    payloads = [cbor2.dumps(["xy", row]) for row in rows]
    assert floats(b"".join(payloads), len(rows), 5, 4).tolist() == [value for row in rows for value in row]


def test_after_a_change_the_new_kind_of_message_is_learned():
    reader = taught(steady(1.0))
    for seconds in range(100):
        assert reader(steady(float(seconds)))
    changed = [reader(steady(float(seconds), session_id="1790000000.6")) for seconds in range(5)]
    assert changed[-1] is not None


def test_a_feed_that_never_stays_the_same_is_learned_ever_more_rarely(monkeypatch):
    tries = []
    monkeypatch.setattr("ocs.feeds.packed.learned", tries.append)
    reader = PackedReader()
    for seconds in range(1000):
        reader(steady(float(seconds)))
    assert 5 <= len(tries) <= 10


def test_the_memory_for_templates_is_bounded():
    reader = PackedReader(max_bytes=20_000)
    payloads = [steady(1.0, details={"topic": f"observatory.a.feeds.b{number:03d}"}) for number in range(100)]
    for _ in range(3):
        found = [reader(payload) for payload in payloads]
    assert 5 < sum(each is not None for each in found) < 30


def test_an_idle_template_makes_room(monkeypatch):
    monkeypatch.setattr("ocs.feeds.packed._IDLE", 5)
    reader = PackedReader(max_bytes=2000)
    first, second = (
        steady(1.0, details={"topic": topic}) for topic in ("observatory.a.feeds.b", "observatory.a.feeds.c")
    )
    for _ in range(3):
        assert reader(second if reader(first) else first) or True
    for _ in range(10):
        found = reader(second)
    assert found is not None
