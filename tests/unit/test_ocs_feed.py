"""Feeds: checked where they are published, buffered, never late, never too large."""

import math
import threading
import time
import traceback
from unittest.mock import MagicMock, Mock

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.errors import FeedError
from ocs.feeds.outbox import Outbox
from ocs.ocs_feed import Block, BlockMismatchError, Feed
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


class Agent:
    """What a feed needs of an agent; everything that leaves is in `events`."""

    agent_address = "observatory.test-1"
    agent_session_id = "1700000000.5"
    class_name = "TestAgent"

    def __init__(self):
        self.reactor, self.log = SteppedReactor(), Log()
        self.parcels = []
        self.outbox = Outbox(lambda parcel: self.parcels.append(parcel) or True, reactor=self.reactor, log=self.log)
        self.outbox.open()

    def call_in_reactor(self, function, *args):
        self.reactor.callFromThread(function, *args)

    @property
    def events(self):
        self.reactor.pump()
        return [msgpack.unpackb(parcel.payload)[0] for parcel in self.parcels]

    def samples(self, block="temps"):
        """All that has left of a block: (timestamps, columns)."""
        times, columns = [], {}
        for data, _ in self.events:
            if block in data:
                times += data[block]["timestamps"]
                for key, column in data[block]["data"].items():
                    columns.setdefault(key, []).extend(column)
        return times, columns


@pytest.fixture
def agent():
    return Agent()


def recorded(agent, **keywords):
    return Feed(agent, "temperatures", record=True, **keywords)


def one(time_, **data):
    return {"block_name": "temps", "timestamp": time_, "data": data}


def many(times, **data):
    return {"block_name": "temps", "timestamps": times, "data": data}


# Blocks


def test_a_block_grows_by_one_and_by_many():
    block = Block("temps", ["a", "b"])
    assert block.empty()
    block.append({"timestamp": 1.0, "data": {"a": 1, "b": 2}})
    block.extend({"timestamps": [2.0, 3.0], "data": {"a": [3, 5], "b": [4, 6]}})
    assert not block.empty()
    assert block.encoded() == {
        "block_name": "temps",
        "timestamps": [1.0, 2.0, 3.0],
        "data": {"a": [1, 3, 5], "b": [2, 4, 6]},
    }
    block.clear()
    assert (block.timestamps, block.data) == ([], {"a": [], "b": []})


@pytest.mark.parametrize("data", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}, {}])
def test_a_block_refuses_other_fields_and_stays_as_it_was(data):
    block = Block("temps", ["a", "b"])
    with pytest.raises(BlockMismatchError, match="temps"):
        block.append({"timestamp": 1.0, "data": data})
    with pytest.raises(BlockMismatchError):
        block.extend({"timestamps": [1.0], "data": {key: [value] for key, value in data.items()}})
    assert block.empty()


# What agent authors do in their own tests


@pytest.mark.parametrize("kind", [Mock, MagicMock])
@pytest.mark.parametrize("record", [True, False])
def test_a_feed_of_a_mock_agent_works(kind, record):
    feed = Feed(kind(), "temperatures", record=record)
    feed.publish_message(one(1.0, a=1.0))
    feed.publish_message(many([2.0, 3.0], a=[1.0, 2.0]))
    feed.flush_buffer()
    assert feed.encoded()["feed_name"] == "temperatures"


# The envelope


def test_each_event_carries_the_envelope(agent):
    feed = recorded(agent, agg_params={"frame_length": 60})
    feed.publish_message(one(1.0, a=1.0))
    ((_, envelope),) = agent.events
    assert envelope.pop("seq") == 1
    assert (
        envelope
        == feed.encoded()
        == {
            "agent_address": "observatory.test-1",
            "agg_params": {"frame_length": 60},
            "feed_name": "temperatures",
            "address": "observatory.test-1.feeds.temperatures",
            "record": True,
            "session_id": "1700000000.5",
            "agent_class": "TestAgent",
        }
    )
    assert agent.parcels[0].topic == "observatory.test-1.feeds.temperatures"


def test_messages_of_all_recorded_feeds_are_numbered_in_the_order_in_which_they_leave(agent):
    feeds = [Feed(agent, name, record=True) for name in ("a", "b")]
    for number in range(6):
        feeds[number % 2].publish_message(one(float(number), a=1.0))
        agent.reactor.pump()
    assert [(envelope["feed_name"], envelope["seq"]) for _, envelope in agent.events] == [
        ("ab"[number % 2], number + 1) for number in range(6)
    ]


def test_messages_that_are_not_to_be_recorded_have_no_number(agent):
    recorded(agent, agg_params={"exclude_aggregator": True}).publish_message(one(1.0, a=1.0))
    Feed(agent, "other").publish_message("text")
    assert ["seq" in envelope for _, envelope in agent.events] == [False, False]


def test_what_recorders_are_told_beside_a_message_is_in_its_envelope(agent):
    feed = Feed(agent, "heartbeat")
    ((_, envelope),) = msgpack.unpackb(feed.pack_message({}, last_seq=2**63))
    assert envelope == {**feed.encoded(), "last_seq": 2**63}


def test_agg_params_that_cannot_be_sent_are_refused_at_once(agent):
    with pytest.raises(ValueError, match="agg_params"):
        recorded(agent, agg_params={"frame_length": math.inf})


# Publishing


@pytest.mark.parametrize("message", [{"a": [1, None]}, [1, 2], "text", 3, None, {"x": {"y": np.arange(2)}}])
def test_a_feed_that_is_not_recorded_carries_anything_at_once(agent, message):
    Feed(agent, "events").publish_message(message)
    expected = {"x": {"y": [0, 1]}} if isinstance(message, dict) and "x" in message else message
    assert agent.events[0][0] == expected


@pytest.mark.parametrize("value", [1.5, 3, True, "text", "", -(2**63), 2**64 - 1, "Grüße"])
def test_a_value_of_a_recorded_feed_arrives_with_its_type(agent, value):
    recorded(agent).publish_message(one(1.0, a=value))
    (arrived,) = agent.samples()[1]["a"]
    assert (type(arrived), arrived) == (type(value), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.float64(1.5), 1.5), (np.float32(0.5), 0.5), (np.int16(-3), -3), (np.bool_(True), True), (np.str_("s"), "s"),
     (np.array(2.5), 2.5)],
)  # fmt: skip
def test_numpy_scalars_become_plain(agent, value, expected):
    recorded(agent).publish_message(one(np.float64(1.0), a=value))
    (arrived,) = agent.samples()[1]["a"]
    assert (type(arrived), arrived) == (type(expected), expected)


@pytest.mark.parametrize("kind", [list, tuple, np.array])
@pytest.mark.parametrize("count", [1, 3, 5000])
def test_many_samples_at_once_may_be_lists_tuples_or_arrays(agent, kind, count):
    times, values = [float(n) for n in range(count)], [n / 2 for n in range(count)]
    feed = recorded(agent)
    feed.publish_message(many(kind(times), a=kind(values), b=kind(range(count))))
    feed.publish_message(one(9.0, a=1.0, b=2))
    feed.flush_buffer()
    assert agent.samples() == ([*times, 9.0], {"a": [*values, 1.0], "b": [*range(count), 2]})


def test_nan_and_infinity_are_values_of_a_recorded_feed(agent):
    recorded(agent).publish_message(many([1.0, 2.0], a=[math.nan, math.inf]))
    values = agent.samples()[1]["a"]
    assert math.isnan(values[0])
    assert values[1] == math.inf


def test_blocks_of_one_feed_are_apart(agent):
    feed = recorded(agent)
    for name in ("x", "y"):
        feed.publish_message({"block_name": name, "timestamp": 1.0, "data": {name: 1.0}})
    assert agent.samples("x") == ([1.0], {"x": [1.0]})
    assert agent.samples("y") == ([1.0], {"y": [1.0]})


refused = [
    (one(1.0, a=None), TypeError, "a"),
    (one(1.0, a=[1]), TypeError, "a"),
    (one(1.0, a=b"x"), TypeError, "a"),
    (one(1.0, a={"b": 1}), TypeError, "a"),
    (one(1.0, a=1j), TypeError, "a"),
    (one(1.0, a=object()), TypeError, "a"),
    (one(1.0, a=np.arange(2)), TypeError, "a"),
    (one(1.0, a=np.datetime64("2020-01-01")), TypeError, "a"),
    (one(1.0, a=2**64), ValueError, "a"),
    (one(1.0, a=-(2**63) - 1), ValueError, "a"),
    (one(1.0, a="\ud800"), ValueError, "a"),
    (one(1.0, a="x" * 1_000_000), ValueError, "a"),
    (one(1.0, **{"a b": 1.0}), ValueError, "a b"),
    (one(1.0, **{"1a": 1.0}), ValueError, "1a"),
    (one(1.0, **{"": 1.0}), ValueError, "empty"),
    (one(1.0, **{"a" * 256: 1.0}), ValueError, "255"),
    ({"block_name": "temps", "timestamp": 1.0, "data": {3: 1.0}}, TypeError, "3"),
    (one("now", a=1.0), TypeError, "timestamp"),
    (one(None, a=1.0), TypeError, "timestamp"),
    (one(math.nan, a=1.0), ValueError, "timestamp"),
    (one(math.inf, a=1.0), ValueError, "timestamp"),
    (one(True, a=1.0), TypeError, "timestamp"),
    (many([1.0, 2.0], a=[1.0]), ValueError, "a"),
    (many([1.0], a=1.0), TypeError, "a"),
    (many(1.0, a=[1.0]), TypeError, "timestamps"),
    (many([1.0, None], a=[1.0, 2.0]), TypeError, "timestamp"),
    (many([1.0, "x"] * 2000, a=[1.0] * 4000), TypeError, "timestamp"),
    (many([1.0] * 4000, a=[1.0, None] * 2000), TypeError, "a"),
    (many([1.0, math.nan] * 2000, a=[1.0] * 4000), ValueError, "timestamp"),
    (many([1.0] * 4000, a=[1.0] * 3999), ValueError, "a"),
    (many([1.0] * 4000, **{"a b": [1.0] * 4000}), ValueError, "a b"),
    (many([1.0], a="x"), TypeError, "a"),
    ({"block_name": "temps", "data": {"a": 1.0}}, KeyError, "timestamp"),
    ({"timestamp": 1.0, "data": {"a": 1.0}}, KeyError, "block_name"),
    ({"block_name": "temps", "timestamp": 1.0}, KeyError, "data"),
    ({"block_name": 3, "timestamp": 1.0, "data": {"a": 1.0}}, TypeError, "block_name"),
    ({"block_name": "\ud800", "timestamp": 1.0, "data": {"a": 1.0}}, ValueError, "block_name"),
    ({"block_name": "temps", "timestamp": 1.0, "data": [1.0]}, TypeError, "data"),
    ({**one(1.0, a=1.0), "influxdb_tags": {"a": object()}}, TypeError, "tags"),
    (None, TypeError, "map"),
    ("text", TypeError, "map"),
    (one(1.0, **{f"f{n:0254d}": 1.0 for n in range(4000)}), ValueError, "several blocks"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "error", "named"), refused)
def test_what_cannot_be_published_is_refused_in_the_callers_frame(agent, message, error, named):
    feed = recorded(agent)
    with pytest.raises(error, match=named) as caught:
        feed.publish_message(message)
    assert isinstance(caught.value, FeedError) or "tags" in str(caught.value)
    assert "temperatures" in str(caught.value)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[0] == "test_what_cannot_be_published_is_refused_in_the_callers_frame"
    # The feed works on, and nothing of the bad message is in it.
    feed.publish_message({"block_name": "after", "timestamp": 5.0, "data": {"ok": 1.0}})
    feed.flush_buffer()
    assert agent.samples() == ([], {})
    assert agent.samples("after") == ([5.0], {"ok": [1.0]})


@pytest.mark.parametrize("thread", [True, False])
def test_the_refusal_reaches_the_calling_thread(agent, thread):
    feed, caught = recorded(agent), []

    def publish():
        try:
            feed.publish_message(one(1.0, a=None))
        except TypeError as error:
            caught.append(error)

    if thread:
        worker = threading.Thread(target=publish)
        worker.start()
        worker.join()
    else:
        publish()
    assert "field a" in str(caught[0])


@pytest.mark.parametrize("message", [math.inf, {"a": object()}, {"a": b"x"}, "x" * (2 << 20)])
def test_a_feed_that_is_not_recorded_refuses_too(agent, message):
    with pytest.raises(ValueError, match="feed events"):
        Feed(agent, "events").publish_message(message)
    assert agent.events == []


def test_a_blocks_fields_are_fixed(agent):
    feed = recorded(agent)
    feed.publish_message(one(1.0, a=1.0, b=2.0))
    for message in (one(2.0, a=1.0), one(2.0, a=1.0, b=2.0, c=3.0), many([2.0] * 3000, a=[1.0] * 3000)):
        with pytest.raises(BlockMismatchError, match="temps"):
            feed.publish_message(message)
    assert agent.samples() == ([1.0], {"a": [1.0], "b": [2.0]})


def test_texts_that_are_too_large_only_together_are_refused(agent):
    feed = recorded(agent)
    with pytest.raises(ValueError, match="texts of a sample"):
        feed.publish_message(one(1.0, a="x" * 600_000, b="y" * 600_000))
    feed.publish_message(many([1.0, 2.0], a=["x" * 600_000, ""], b=["", "y" * 600_000]))
    feed.flush_buffer()
    assert agent.samples()[0] == [1.0, 2.0]
    assert max(len(parcel.payload) for parcel in agent.parcels) < 1 << 20


def test_what_would_be_larger_than_a_message_in_spite_of_all_is_dropped_and_said(agent):
    feed = recorded(agent)
    wide = {f"f{n}": "" for n in range(1100)}
    feed.publish_message({"block_name": "wide", "timestamp": 1.0, "data": wide})
    feed.publish_message({"block_name": "wide", "timestamp": 2.0, "data": dict.fromkeys(wide, "x" * 1000)})
    feed.flush_buffer()
    assert agent.samples("wide")[0] == [1.0]
    assert "temperatures" in agent.log.of("error")[0]


# Buffering


def test_without_a_buffer_a_sample_leaves_at_once(agent):
    feed = recorded(agent)
    for n in range(3):
        feed.publish_message(one(float(n), a=1.0))
        assert len(agent.events) == n + 1


def test_samples_share_a_message_for_the_buffer_time(agent):
    feed = recorded(agent, buffer_time=2)
    for n in range(10):
        feed.publish_message(one(float(n), a=1.0))
        agent.reactor.pump()
        agent.reactor.advance(0.1)
    assert agent.events == []
    agent.reactor.advance(1.1)
    assert len(agent.events) == 1
    assert agent.samples()[0] == [float(n) for n in range(10)]


def test_a_single_sample_leaves_by_the_timer_though_no_other_follows(agent):
    recorded(agent, buffer_time=2).publish_message(one(1.0, a=1.0))
    agent.reactor.pump()
    agent.reactor.advance(2.0)
    assert agent.samples()[0] == [1.0]


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=30), st.floats(0.1, 3))
@settings(deadline=None)
def test_no_sample_is_kept_longer_than_the_buffer_time(gaps, buffer_time):
    agent = Agent()
    feed = recorded(agent, buffer_time=buffer_time)
    published = []
    for gap in gaps:
        moment = agent.reactor.seconds()
        feed.publish_message(one(moment, a=1.0))
        published.append(moment)
        agent.reactor.pump()
        agent.reactor.pump()
        agent.reactor.advance(gap)
        left = agent.samples()[0]
        assert left == published[: len(left)]
        due = [t for t in published if t + buffer_time <= agent.reactor.seconds()]
        assert len(left) >= len(due)


def test_a_full_buffer_leaves_at_once(agent):
    feed = recorded(agent, buffer_time=1000)
    for n in range(30_000):
        feed.publish_message(one(float(n), a=1.0))
    assert 15_000 < len(agent.samples()[0]) < 30_000


def test_flushing_sends_what_there_is_and_then_nothing(agent):
    feed = recorded(agent, buffer_time=1000)
    feed.publish_message(one(1.0, a=1.0))
    feed.flush_buffer()
    feed.flush_buffer()
    assert len(agent.events) == 1


def test_no_timer_is_left_when_nothing_is_buffered(agent):
    feed = recorded(agent, buffer_time=1)
    for n in range(50):
        feed.publish_message(one(float(n), a=1.0))
        feed.flush_buffer()
        agent.reactor.pump()
    assert len(agent.reactor.getDelayedCalls()) <= 1
    agent.reactor.advance(1)
    assert agent.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_large_batch_leaves_in_messages_that_every_router_takes(agent, kind):
    times = [float(n) for n in range(150_000)]
    began = time.monotonic()
    feed = recorded(agent, buffer_time=1)
    feed.publish_message(many(kind(times), a=kind(times), b=kind([str(n) for n in range(150_000)])))
    feed.publish_message(one(1e6, a=1.0, b="last"))
    feed.flush_buffer()
    assert time.monotonic() - began < 10
    assert agent.samples() == ([*times, 1e6], {"a": [*times, 1.0], "b": [*map(str, range(150_000)), "last"]})
    assert max(len(parcel.payload) for parcel in agent.parcels) < 1 << 20
    assert sum(parcel.samples for parcel in agent.parcels) == 150_001


def test_samples_of_many_threads_stay_whole_and_in_each_threads_order(agent):
    feed = recorded(agent, buffer_time=0.01)

    def work(base):
        for n in range(1000):
            feed.publish_message(one(float(base + n), a=float(base + n), b=str(base + n)))
            if n % 100 == 0:
                feed.publish_message(many([base + n + 0.5] * 1, a=[base + n + 0.5], b=[str(base + n + 0.5)]))

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 10_000, 20_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    feed.flush_buffer()
    times, columns = agent.samples()
    assert len(times) == 3 * 1010
    assert columns["a"] == times
    for base in (0, 10_000, 20_000):
        own = [t for t in times if base <= t < base + 5000]
        assert own == sorted(own)


@pytest.mark.parametrize("value", [1.5, 3, True, "x", [1, 2.0], []])
def test_fit_types_pass(value):
    Feed.verify_message_data_type(value)


@pytest.mark.parametrize("value", [None, {"a": 1}, [1, None], b"x", [[1]], object()])
def test_unfit_types_are_type_errors(value):
    with pytest.raises(TypeError, match="invalid data types"):
        Feed.verify_message_data_type(value)
