"""The account of what is on its way, above all how far the cursor may go."""

import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocs.agents.pysmurf_monitor import work as module
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.work import Work


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def work(clock):
    return Work(10, clock)


def item(index):
    return Item(Announcement(f"/data/{index}", "p", "smurf", "r", True, 1.0), index)


def items(*indices):
    return [item(index) for index in indices]


def test_the_cursor_begins_where_reading_does(work):
    assert (work.cursor, work.idle) == (10, True)


def test_the_cursor_stays_at_the_oldest_file_in_work(work):
    some = items(10, 11, 13)
    work.admit(some, 15)
    work.settle([some[1]])
    assert work.cursor == 10
    work.settle([some[0]])
    assert work.cursor == 13
    work.settle([some[2]])
    assert work.cursor == 15


def test_the_cursor_stays_below_messages_that_are_not_published(work):
    work.send(12, 3)
    work.admit([], 20)
    assert work.cursor == 12
    work.sent()
    assert work.cursor == 20


def test_what_is_put_off_may_be_passed_once_it_is_taken(work):
    work.postpone([(each, "why", 1.0) for each in items(10, 12)], 14)
    assert work.cursor == 10
    assert len(work.take_postponed()) == 2
    assert work.cursor == 14


def test_a_file_that_takes_long_may_be_passed_and_is_held(work, clock):
    some = items(10, 11)
    work.admit(some, 12)
    clock.now += 3
    work.admit(items(12), 13)
    assert work.take_aged(5.0, 100) == []
    clock.now += 3
    assert work.take_aged(5.0, 100) == some
    assert work.cursor == 12
    assert work.is_held("/data/10")
    assert work.count == 3
    work.release(some)
    assert not work.is_held("/data/10")


def test_aged_files_are_taken_a_few_at_a_time(work, clock):
    work.admit(items(*range(10, 20)), 20)
    clock.now += 6
    assert [each.index for each in work.take_aged(5.0, 4)] == [10, 11, 12, 13]
    assert [each.index for each in work.take_aged(5.0, 40)] == [*range(14, 20)]


def test_files_from_elsewhere_do_not_touch_the_cursor_and_are_remembered(work):
    some = items(-1, -1)
    work.admit_extras(some)
    assert (work.cursor, work.extras, work.count) == (10, some, 2)
    work.release(some[:1])
    assert (work.extras, work.idle) == (some[1:], False)


def test_who_waits_for_room_is_told(work, monkeypatch):
    monkeypatch.setattr(module, "MOST_IN_WORK", 3)
    some = items(10, 11, 12)
    work.admit(some, 13)
    assert work.wait_for_room(0.0) == 0
    threading.Timer(0.05, work.release, [some[:2]]).start()
    assert work.wait_for_room(20.0, 2) == 2


def test_nobody_waits_when_it_is_closed(work, monkeypatch):
    monkeypatch.setattr(module, "MOST_MESSAGES", 1)
    monkeypatch.setattr(module, "MOST_POSTPONED", 1)
    work.close()
    for _ in range(3):
        work.send(10, 5)
        work.postpone([(each, "", 0.0) for each in items(10, 11)], 12)
    assert work.wait_for_room(60.0, 20_000) > 0


class Passing(RuleBasedStateMachine):
    """Whatever is done in whatever order: the cursor is at the lowest index that is not done with."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.work = Work(0, self.clock)
        self.next = 0
        self.in_work, self.unpublished, self.postponed, self.aged = {}, [], [], {}

    @rule(count=st.integers(0, 4), messages=st.integers(0, 2))
    def read(self, count, messages):
        new = items(*range(self.next, self.next + count))
        if messages:
            self.work.send(self.next + count, messages)
            self.unpublished.append(self.next + count)
        self.next += count + messages
        self.work.admit(new, self.next)
        self.in_work |= {each.index: each for each in new}

    @rule()
    def postpone(self):
        new = item(self.next)
        self.next += 1
        self.work.postpone([(new, "", 0.0)], self.next)
        self.postponed.append(new)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data())
    def settle(self, data):
        index = data.draw(st.sampled_from(sorted(self.in_work)))
        self.work.settle([self.in_work.pop(index)])

    @precondition(lambda self: self.unpublished)
    @rule()
    def publish(self):
        self.work.sent()
        self.unpublished.pop(0)

    @rule()
    def put_off(self):
        assert [each for each, _, _ in self.work.take_postponed()] == self.postponed
        self.postponed = []

    @precondition(lambda self: not self.postponed)
    @rule()
    def age(self):
        self.clock.now += 10
        taken = self.work.take_aged(5.0, 3)
        for each in taken:
            del self.in_work[each.index]

    @invariant()
    def cursor_is_exact(self):
        waiting = [*self.in_work, *self.unpublished, *(each.index for each in self.postponed), self.next]
        assert self.work.cursor == min(waiting)


TestPassing = Passing.TestCase
