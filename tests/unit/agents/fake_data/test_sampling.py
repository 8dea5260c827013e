"""The fake instrument."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.fake_data.sampling import Channels, SampleClock

WALL = 1_790_000_000.0
RATES = st.floats(0.01, 1000.0)
DELAYS = st.lists(st.floats(0.0, 2.0), max_size=20)


@given(RATES, DELAYS, st.integers(1, 500))
def test_timestamps_are_exactly_one_period_apart_however_the_loop_comes(rate, delays, limit):
    clock, now, stamps = SampleClock(rate, WALL, 50.0), 50.0, []
    for delay in delays:
        now += delay
        while batch := clock.take(now, limit):
            stamps += batch
    assert stamps == [WALL + i / rate for i in range(len(stamps))]


@given(RATES, DELAYS)
def test_the_number_of_samples_is_that_of_the_time_gone_by(rate, delays):
    clock, now = SampleClock(rate, WALL, 0.0), 0.0
    for delay in [0.0, *delays]:
        now += delay
        clock.take(now, 10**9)
    assert clock.taken == int(now * rate) + 1


def test_no_more_than_the_limit_at_once_and_none_lost():
    clock = SampleClock(10.0, WALL, 0.0)
    assert [len(clock.take(1.0, 4)) for _ in range(4)] == [4, 4, 3, 0]


def test_a_clock_that_goes_back_takes_nothing_twice():
    clock = SampleClock(10.0, WALL, 0.0)
    clock.take(1.0, 100)
    assert clock.take(0.5, 100) == []


def test_skew_is_what_the_wall_clock_has_run_ahead():
    clock = SampleClock(10.0, WALL, 50.0)
    assert clock.skew(WALL + 10.0, 60.0) == 0.0
    assert clock.skew(WALL + 3610.0, 60.0) == 3600.0


@given(st.lists(st.integers(0, 50), max_size=10), st.integers(1, 5))
def test_every_channel_has_every_sample(sizes, count):
    channels = Channels(count, random.Random(1))
    for size in sizes:
        batch = channels.read(size)
        assert list(batch) == channels.names
        assert {len(values) for values in batch.values()} == {size}


def test_channels_are_numbered():
    assert Channels(3, random.Random(1)).names == ["channel_00", "channel_01", "channel_02"]


def test_batches_continue_one_walk():
    whole = Channels(1, random.Random(7)).read(100)["channel_00"]
    channels = Channels(1, random.Random(7))
    assert channels.read(40)["channel_00"] + channels.read(60)["channel_00"] == whole


def test_values_stay_about_the_mean():
    values = Channels(1, random.Random(3)).read(100_000)["channel_00"]
    assert max(abs(value - Channels.MEAN) for value in values) < 0.1
    assert sum(values) / len(values) == pytest.approx(Channels.MEAN, abs=0.01)
