"""What goes on to the feeds."""

import pytest

from ocs.agents.pysmurf_monitor import feeds
from ocs.agents.pysmurf_monitor.feeds import SESSION_FEED, Feeds, plausible, unfit
from ocs.agents.pysmurf_monitor.messages import FeedMessage
from ocs.agents.pysmurf_monitor.names import Ambiguous
from tests.harness.fakes import unconnected_agent
from tests.harness.reactor import SteppedReactor

NOW = 1_790_000_000.0


@pytest.fixture
def agent():
    return unconnected_agent(SteppedReactor())


@pytest.fixture
def refused():
    return []


@pytest.fixture
def made(agent, refused):
    return Feeds(agent, lambda reason, _detail: refused.append(reason), Ambiguous(None))


def metadata(path="A.B", value=1, stream="s1", time=NOW):
    payload = {"stream_id": stream, "path": path, "value": value}
    return FeedMessage("metadata", f"STREAMER:{stream}", payload, time, {"payload": payload})


def prepare(made, *messages):
    return made.prepare((message, NOW) for message in messages)


def test_the_feed_of_sessions_is_there_from_the_start(agent, made):
    assert not agent.feeds[SESSION_FEED].record


def test_a_session_is_passed_on_whole(made):
    whole = {"type": "session_data", "payload": [1, {"a": None}]}
    [out] = prepare(made, FeedMessage("session", "p", whole["payload"], NOW, whole))
    assert out == (SESSION_FEED, False, whole)


def test_metadata_become_a_sample(made):
    [out] = prepare(made, metadata("AMCc.App[0].X y", 2.5))
    sample = {"block_name": "AMCcApp0X_y", "timestamp": NOW, "data": {"AMCcApp0X_y": 2.5}}
    assert out == ("s1_meta", True, sample)


def test_a_stream_is_registered_once_and_recorded(agent, made):
    assert made.publish(prepare(made, metadata(value=1), metadata(value=2))) == 2
    feed = agent.feeds["s1_meta"]
    assert (feed.record, feed.buffer_time) == (True, 1.0)
    assert feed.blocks["AB"].data == {"AB": [1, 2]}


def test_streams_whose_names_differ_in_dots_alone_have_feeds_of_their_own(made):
    names = {out.feed_name for out in prepare(made, *(metadata(stream=name) for name in ("a.b", "a_b", "a:b")))}
    assert len(names) == 3
    assert all("." not in name for name in names)


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, 2**64, -(2**63) - 1, "x" * 10_001])
def test_a_value_that_has_no_place_in_a_feed_is_refused(made, refused, value):
    assert prepare(made, metadata(value=value)) == []
    assert refused == ["bad_value"]


@pytest.mark.parametrize("value", [True, 0, 2**64 - 1, -(2**63), 1.5, float("nan"), "", "text"])
def test_a_value_that_has_one_is_published(made, refused, value):
    assert unfit(value) == ""
    assert made.publish(prepare(made, metadata(value=value))) == 1
    assert refused == []


def test_what_the_feed_does_not_take_is_refused_and_the_rest_is_published(made, refused):
    lone = metadata(value="\ud800")
    assert made.publish(prepare(made, metadata(), lone, metadata())) == 2
    assert refused == ["not_publishable"]


def test_a_session_that_cannot_be_sent_is_refused(made, refused):
    whole = {"payload": float("inf")}
    assert made.publish(prepare(made, FeedMessage("session", "p", None, NOW, whole))) == 0
    assert refused == ["not_publishable"]


def test_there_are_not_more_streams_than_allowed(made, refused, monkeypatch):
    many = [metadata(stream=f"s{number}") for number in range(feeds.MOST_STREAMS + 5)]
    assert len(prepare(made, *many)) == feeds.MOST_STREAMS
    assert refused == ["too_many_names"] * 5


def test_there_are_not_more_fields_than_allowed(made, refused, monkeypatch):
    monkeypatch.setattr(feeds, "MOST_FIELDS", 10)
    monkeypatch.setattr(feeds, "MOST_FIELDS_ALTOGETHER", 15)
    many = [metadata(f"p{letter}", stream=stream) for stream in ("a", "b") for letter in "abcdefghijkl"]
    assert len(prepare(made, *many)) == 15
    assert set(refused) == {"too_many_names"}
    assert len(prepare(made, *many)) == 15  # those that have a name keep it


@pytest.mark.parametrize(
    ("time", "taken"), [(NOW - 5, NOW - 5), (NOW + 5, NOW + 5), (10_000.0, NOW), (9e10, NOW), (int(NOW), NOW)]
)
def test_a_time_that_cannot_be_is_replaced_by_that_of_the_arrival(time, taken):
    assert plausible(time, NOW) == taken
    assert isinstance(plausible(time, NOW), float)
