"""What is kept in memory: until all recorders have it, within bounds, and never given up in silence."""

import pytest

from ocs.keep.memory import UNMET_S
from tests.harness.keeping import Clock, new_keep, numbers, publish

EVERY = 1.0
FOREVER = 1 << 60


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keep(clock):
    return new_keep(clock)


@pytest.fixture
def met(keep):
    """A keep that has met a recorder."""
    keep.acknowledge("r", EVERY, {})
    return keep


def all_of(keep):
    return numbers(keep.fetch(1, 0.0, FOREVER))


def test_what_was_added_is_fetched_in_order(keep):
    assert publish(keep, 5) == all_of(keep)


def test_a_fetch_ends_where_it_says(keep):
    publish(keep, 5)
    found, following = keep.fetch(2, 0.0, 300)
    assert ([kept.parcel.number for kept in found], following) == ([2, 3], 4)


def test_one_message_comes_however_large(keep):
    publish(keep, 2, size=5000)
    assert numbers(keep.fetch(1, 0.0, 0)) == [1]


def test_what_was_published_before_a_time_is_left_out(keep, clock):
    publish(keep, 3)
    clock.step(10)
    publish(keep, 2)
    found, following = keep.fetch(1, clock.wall_, FOREVER)
    assert ([kept.parcel.number for kept in found], following) == ([4, 5], 6)


@pytest.mark.parametrize("start", [4, 5, 2**64 - 1])
def test_beyond_the_last_there_is_nothing(keep, start):
    publish(keep, 3)
    assert keep.fetch(start, 0.0, FOREVER) == ([], start)


def test_what_a_recorder_has_goes(met):
    publish(met, 5)
    met.acknowledge("r", EVERY, {met.run: 4})
    assert (all_of(met), met.range) == ([4, 5], (4, 6))


def test_what_one_of_two_has_stays(met):
    met.acknowledge("other", EVERY, {})
    publish(met, 5)
    met.acknowledge("r", EVERY, {met.run: 6})
    assert all_of(met) == [1, 2, 3, 4, 5]


def test_who_claims_to_have_what_is_not_yet_published_has_what_is(met):
    publish(met, 3)
    met.acknowledge("r", EVERY, {met.run: 2**64 - 1})
    publish(met, 2)
    assert all_of(met) == [4, 5]


def test_nothing_is_counted_as_lost_that_all_have(met):
    publish(met, 3)
    met.acknowledge("r", EVERY, {met.run: 4})
    assert met.lost_state()[0] == []


# Bounds


def test_above_the_budget_the_oldest_go_and_are_listed(clock):
    keep = new_keep(clock, budget=10_000)
    keep.acknowledge("r", EVERY, {})
    publish(keep, 20, size=744)
    assert all_of(keep) == list(range(11, 21))
    assert keep.lost_state()[0] == [[1, 11, clock.wall_, clock.wall_, {"temps": 20}]]


def test_where_nobody_was_met_what_goes_is_not_lost(clock):
    keep = new_keep(clock, budget=10_000)
    publish(keep, 20, size=744)
    assert (all_of(keep), keep.lost_state()[0]) == (list(range(11, 21)), [])


def test_where_nobody_was_met_a_quarter_of_an_hour_is_kept(keep, clock):
    for _ in range(4):
        publish(keep)
        keep.mark()
        clock.step(UNMET_S / 2 - 1)
    keep.expire()
    assert all_of(keep) == [3, 4]


def test_what_is_old_is_kept_for_a_recorder(met, clock):
    publish(met)
    met.mark()
    clock.step(10 * UNMET_S)
    met.expire()
    assert all_of(met) == [1]


def test_the_newest_message_is_kept_however_large(clock):
    keep = new_keep(clock, budget=100)
    publish(keep, 3, size=5000)
    assert all_of(keep) == [3]


# To the disk


def test_nothing_goes_to_the_disk_while_recorders_call(met, clock):
    for _ in range(10):
        publish(met, 3)
        met.mark()
        clock.step(EVERY)
        met.acknowledge("r", EVERY, {met.run: met.next - 3})
        assert met.due_below() <= met.saved


def test_all_goes_to_the_disk_when_a_recorder_is_away(met, clock):
    publish(met, 3)
    clock.step(3 * EVERY + 0.1)
    publish(met, 2)
    assert [kept.parcel.number for kept in met.batch(met.due_below(), FOREVER)] == [1, 2, 3, 4, 5]


def test_all_goes_to_the_disk_when_the_router_is_away(met):
    publish(met, 3)
    met.linked = False
    assert len(met.batch(met.due_below(), FOREVER)) == 3


def test_what_a_calling_recorder_does_not_take_goes_to_the_disk_in_time(met, clock):
    publish(met, 3)
    for _ in range(5):
        met.mark()
        clock.step(EVERY)
        met.acknowledge("r", EVERY, {})
    publish(met, 2)
    assert [kept.parcel.number for kept in met.batch(met.due_below(), FOREVER)] == [1, 2, 3]


def test_nothing_goes_to_the_disk_where_nobody_was_met(keep, clock):
    publish(keep, 3)
    clock.step(1000)
    keep.linked = False
    assert keep.batch(keep.due_below(), FOREVER) == []


def test_what_is_on_the_disk_goes_from_memory_first(clock):
    keep = new_keep(clock, budget=10_000)
    keep.acknowledge("r", EVERY, {})
    publish(keep, 10, size=744)
    keep.stored((1, 6))
    publish(keep, 5, size=744)
    assert keep.lost_state()[0] == []
    assert keep.range == (1, 16)
    assert keep.fetch(3, 0.0, FOREVER) is None  # the disk has it
    assert numbers(keep.fetch(6, 0.0, FOREVER)) == list(range(6, 16))


def test_the_disk_is_hurried_once_before_anything_is_given_up(clock):
    keep, hurried = new_keep(clock, budget=10_000), []
    keep.on_full = lambda: hurried.append(keep.next)
    keep.disk_takes = True
    keep.acknowledge("r", EVERY, {})
    publish(keep, 30, size=744)
    assert hurried == [12]
    assert keep.lost_state()[0] == []
    assert keep.due_below() == 31
    publish(keep, 30, size=744)  # it takes too long
    assert sum(end - first for first, end, *_ in keep.lost_state()[0]) == 20


def test_a_disk_that_fails_is_no_longer_counted_on(clock):
    keep = new_keep(clock, budget=10_000)
    keep.disk_takes = True
    keep.acknowledge("r", EVERY, {})
    publish(keep, 30, size=744)
    keep.disk_takes = False
    keep.stored(None)
    assert len(all_of(keep)) == 10


def test_between_the_disk_and_memory_there_may_be_what_is_lost(clock):
    keep = new_keep(clock, budget=10_000)
    keep.acknowledge("r", EVERY, {})
    publish(keep, 4, size=744)
    keep.stored((1, 3))
    keep.stored((1, 3))
    publish(keep, 20, size=744)
    assert keep.fetch(2, 0.0, FOREVER) is None
    assert numbers(keep.fetch(3, 0.0, FOREVER)) == list(range(15, 25))
    assert keep.lost_state()[0][0][:2] == [3, 15]
