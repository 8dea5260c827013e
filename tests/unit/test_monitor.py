"""What the observer makes of the events it hears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.monitor import RateWindow, SiteMonitor, samples_in, summary_of


def envelope(instance="fake-1", feed_name="temps", **more):
    return {
        "agent_address": f"observatory.{instance}",
        "agg_params": {},
        "feed_name": feed_name,
        "address": f"observatory.{instance}.feeds.{feed_name}",
        "record": True,
        "session_id": "1700000000.1",
        "agent_class": "FakeDataAgent",
        **more,
    }


def block(n, **fields):
    fields = fields or {"channel_00": 0.25}
    data = {name: [value] * n for name, value in fields.items()}
    return {"block_name": "temps", "timestamps": [float(i) for i in range(n)], "data": data}


def heartbeat(monitor, now, instance="fake-1", ops=None):
    return monitor.feed([ops or {"acq": 3}, envelope(instance, "heartbeat", record=False)], now)


def test_a_heartbeat_makes_an_agent_known():
    monitor = SiteMonitor()
    assert heartbeat(monitor, 10.0, ops={"acq": 3, "count": 1})
    view = monitor.agent("observatory.fake-1", 11.5)
    assert (view.instance_id, view.agent_class, view.op_codes) == ("fake-1", "FakeDataAgent", {"acq": 3, "count": 1})
    assert (view.heartbeat_age, view.expired, view.session_id) == (1.5, False, "1700000000.1")


@pytest.mark.parametrize(("age", "expired"), [(0.0, False), (5.0, False), (5.1, True)])
def test_an_agent_expires_after_five_seconds_of_silence(age, expired):
    monitor = SiteMonitor()
    heartbeat(monitor, 100.0)
    assert monitor.agents(100.0 + age)[0].expired is expired


def test_a_new_heartbeat_revives():
    monitor = SiteMonitor()
    heartbeat(monitor, 0.0)
    assert monitor.agents(60.0)[0].expired
    heartbeat(monitor, 60.0)
    assert not monitor.agents(60.0)[0].expired


def test_data_without_heartbeat_is_not_life():
    monitor = SiteMonitor()
    monitor.feed([{"temps": block(1)}, envelope()], 0.0)
    assert monitor.agents(0.0)[0].expired


def test_the_rate_is_that_of_the_samples():
    monitor = SiteMonitor()
    for second in range(31):
        monitor.feed([{"temps": block(10, a=1.0, b=2.0)}, envelope()], float(second))
    view = monitor.agents(30.5)[0]
    assert view.samples_per_s == pytest.approx(10.0, rel=0.06)
    assert view.samples == 310


@pytest.mark.parametrize("age", [0.0, 1.3, 2.0, 5.7, 9.9, 10.1, 15.4, 60.0])
def test_the_rate_is_right_from_the_first_seconds_on(age):
    """Messages of one second's samples each: never off by more than one of them."""
    monitor = SiteMonitor()
    for second in range(100):
        if second <= age:
            monitor.feed([{"temps": block(50)}, envelope()], 1000.3 + second)
    view = monitor.agents(1000.3 + age)[0]
    assert abs(view.samples_per_s - 50.0) <= 50.0 / max(1.0, min(age, 9.0))


def test_the_rate_falls_to_nothing_when_data_stop():
    monitor = SiteMonitor()
    monitor.feed([{"temps": block(100)}, envelope()], 0.0)
    assert monitor.agents(4.5)[0].samples_per_s == pytest.approx(20.0)
    assert monitor.agents(30.0)[0].samples_per_s == 0.0


def test_unrecorded_messages_are_no_samples_but_are_shown():
    monitor = SiteMonitor()
    monitor.feed([{"text": "hello"}, envelope(feed_name="log", record=False)], 3.0)
    view = monitor.agents(3.0)[0]
    assert (view.samples, view.last.feed_name, view.last.time) == (0, "log", 3.0)
    assert "hello" in view.last.text


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 1000)), max_size=100))
def test_a_rate_window_is_bounded_and_never_overstates(events):
    window = RateWindow(10.0)
    for when, count in sorted(events):
        window.add(count, when)
        assert len(window._counts) <= 11
        assert 0.0 <= window.rate(when) <= sum(count for _, count in events)


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "text",
        [{}],
        [{}, None],
        [{}, {}],
        [{}, {"agent_address": "a.b"}],
        [{}, {"agent_address": 7, "feed_name": "x"}],
        [{}, {"agent_address": "", "feed_name": "x"}],
        [None, {"agent_address": "a.b", "feed_name": "heartbeat"}],
        [[1, 2], {"agent_address": "a.b", "feed_name": "heartbeat"}],
    ],
)
def test_a_malformed_event_is_counted_and_ignored(event):
    monitor = SiteMonitor()
    assert not monitor.feed(event, 0.0)
    assert monitor.malformed == 1


wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(
    wild,
    st.dictionaries(
        st.sampled_from(["agent_address", "feed_name", "agent_class", "session_id", "record"]),
        wild | st.sampled_from(["observatory.x", "heartbeat", "temps"]) | st.just(True),
    ),
)
def test_nothing_that_can_be_published_does_harm(data, wrapping):
    monitor = SiteMonitor()
    monitor.feed([data, wrapping], 0.0)
    monitor.feed([{"temps": data}, envelope()], 0.0)
    monitor.feed([data, envelope(feed_name="heartbeat")], 0.0)
    for view in monitor.agents(1.0):
        assert view.last is None or len(view.last.text) <= 200


@pytest.mark.parametrize(
    ("data", "count"),
    [({}, 0), (None, 0), ({"a": block(3), "b": block(2)}, 5), ({"a": {"timestamps": 3}}, 0), ({"a": None}, 0)],
)
def test_samples_are_time_stamps(data, count):
    assert samples_in(data) == count


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"temps": block(2, channel_00=0.123456, channel_01=4)}, "channel_00=0.1235 channel_01=4"),
        ("a\nline \x1b[31m", "a line [31m"),
        (3.0, "3"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_the_gist_of_a_message(data, text):
    assert summary_of(data) == text


def test_a_megabyte_is_shown_in_short():
    assert len(summary_of("x" * 1_000_000)) == 200
    assert len(summary_of({f"b{i}": block(1, **{f"f{i}": 1.0}) for i in range(10_000)})) == 200


def test_the_gist_is_not_made_for_every_message_of_a_fast_feed():
    monitor = SiteMonitor()
    for i in range(1000):
        monitor.feed([i, envelope(record=False)], i / 1000)
    last = monitor.agents(1.0)[0].last
    assert (last.time, last.text) == (0.999, "750")


def test_of_too_many_agents_the_one_unheard_longest_goes():
    monitor = SiteMonitor(max_agents=3)
    for i in (1, 2, 3, 1, 4):
        heartbeat(monitor, float(i), f"agent-{i}")
    assert [view.instance_id for view in monitor.agents(9.0)] == ["agent-1", "agent-3", "agent-4"]
