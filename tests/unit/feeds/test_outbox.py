"""The outbox: in order, complete, bounded."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.python import threadable

from ocs.feeds.outbox import _HIGH_WATER, Outbox, Parcel
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


class Link:
    """The other side: takes parcels while it is up."""

    def __init__(self, **keywords):
        self.reactor, self.log = SteppedReactor(), Log()
        self.up, self.taken = True, []
        self.outbox = Outbox(self.send, reactor=self.reactor, log=self.log, **keywords)

    def send(self, parcel):
        if self.up:
            self.taken.append(parcel)
        return self.up

    @property
    def numbers(self):
        return [int(parcel.topic) for parcel in self.taken]


def parcel(number, size=10, samples=1):
    return Parcel(str(number), b"x" * size, samples)


@pytest.fixture
def link():
    return Link()


def test_what_is_put_while_the_link_is_up_leaves_in_order(link):
    link.outbox.open()
    for number in range(100):
        link.outbox.put(parcel(number))
    link.reactor.pump()
    assert link.numbers == list(range(100))
    assert link.outbox.size == 0


def test_what_is_put_while_the_link_is_down_leaves_when_it_is_up(link):
    for number in range(100):
        link.outbox.put(parcel(number))
    link.reactor.pump()
    assert link.taken == []
    link.outbox.open()
    link.reactor.pump()
    assert link.numbers == list(range(100))


def test_a_parcel_that_the_link_does_not_take_is_kept_first(link):
    link.outbox.open()
    link.up = False
    for number in range(10):
        link.outbox.put(parcel(number))
    link.reactor.pump()
    assert link.outbox.size == 100
    link.up = True
    link.outbox.open()
    link.reactor.pump()
    assert link.numbers == list(range(10))


def test_a_connection_with_enough_to_do_gets_no_more_until_it_asks(link):
    link.outbox.open()
    link.outbox.pauseProducing()
    link.outbox.put(parcel(1))
    link.reactor.pump()
    assert link.taken == []
    link.outbox.resumeProducing()
    assert link.numbers == [1]


def test_the_oldest_go_at_the_limit_and_are_counted_and_said():
    link = Link(limit=1000)
    for number in range(20):
        link.outbox.put(parcel(number, size=100, samples=3))
    assert (link.outbox.dropped_messages, link.outbox.dropped_samples) == (10, 30)
    assert link.outbox.size == 1000
    link.outbox.open()
    link.reactor.pump()
    assert link.numbers == list(range(10, 20))
    assert len(link.log.of("error")) == 1  # once a minute, not once a message


class Shelf:
    """Keeps what has a number, the newest of it."""

    def __init__(self, size):
        self.size, self.kept = size, []

    def add(self, parcel):
        self.kept = [*self.kept, parcel][-self.size :]

    def holds(self, number):
        return any(parcel.number == number for parcel in self.kept)


def put_numbered(link, number, size=10, samples=1):
    link.outbox.put_numbered(str(number), bytearray(size), samples)


def numbered(payload):
    return int.from_bytes(payload[-8:], "big")


def test_numbers_are_given_in_the_order_of_leaving_and_kept():
    link = Link(keep=(shelf := Shelf(100)))
    for number in range(10):
        link.outbox.put(parcel(number)) if number % 2 else put_numbered(link, number)
    link.outbox.open()
    link.reactor.pump()
    assert [each.number for each in link.taken] == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]
    assert [each.number for each in shelf.kept] == [numbered(each.payload) for each in shelf.kept] == [1, 2, 3, 4, 5]
    assert all(any(each is sent for sent in link.taken) for each in shelf.kept)  # the same bytes, not copies


def test_the_last_number_sent_is_that_of_what_the_link_took():
    link = Link()
    link.outbox.open()
    assert link.outbox.last_sent == 0
    put_numbered(link, 1)
    link.reactor.pump()
    link.up = False
    put_numbered(link, 2)
    link.reactor.pump()
    assert link.outbox.last_sent == 1


def test_numbers_of_several_threads_are_in_order_and_complete():
    link = Link(keep=(shelf := Shelf(10_000)))
    threads = [threading.Thread(target=lambda: [put_numbered(link, 0) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.outbox.open()
    link.reactor.pump()
    assert [each.number for each in link.taken] == [each.number for each in shelf.kept] == list(range(1, 2001))


def test_what_is_dropped_and_yet_kept_is_said_to_be():
    link = Link(limit=1000, keep=Shelf(20))
    for number in range(20):
        put_numbered(link, number, size=100, samples=3)
    assert (link.outbox.dropped_messages, link.outbox.dropped_kept) == (10, 10)
    link = Link(limit=1000, keep=Shelf(1))
    for number in range(20):
        put_numbered(link, number, size=100)
    assert (link.outbox.dropped_messages, link.outbox.dropped_kept) == (10, 0)


def test_a_single_parcel_above_the_limit_is_kept():
    link = Link(limit=10)
    link.outbox.put(parcel(1, size=100))
    assert link.outbox.dropped_messages == 0


def test_a_backlog_leaves_in_turns_so_that_the_reactor_gets_to_other_things(link):
    for number in range(10):
        link.outbox.put(parcel(number, size=400_000))
    link.outbox.open()
    link.reactor._calls.get_nowait()()
    assert 0 < len(link.taken) < 10
    link.reactor.pump()
    assert link.numbers == list(range(10))


def test_who_waits_for_the_end_is_told_when_all_has_left(link):
    told = []
    link.outbox.open()
    link.outbox.put(parcel(1))
    link.outbox.when_empty(lambda: told.append(len(link.taken)))
    assert told == []
    link.reactor.pump()
    assert told == [1]


@pytest.mark.parametrize("state", ["empty", "down", "goes down", "refuses"])
def test_who_waits_for_the_end_is_told_when_nothing_more_can_leave(link, state):
    told = []
    if state != "down":
        link.outbox.open()
    if state != "empty":
        link.outbox.put(parcel(1))
    link.up = state != "refuses"
    link.outbox.when_empty(lambda: told.append(1))
    if state == "goes down":
        link.outbox.close()
    link.reactor.pump()
    assert told == [1]


def fill(outbox):
    """Put in more than there is room for before publishers wait."""
    payload = b"x" * (1 << 20)
    for number in range((_HIGH_WATER >> 20) + 2):
        outbox.put(Parcel(str(number), payload, 1))


def test_a_thread_waits_while_the_router_cannot_keep_up(link, monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    link.outbox.open()
    fill(link.outbox)
    waited = threading.Event()
    thread = threading.Thread(target=lambda: (link.outbox.wait_for_room(), waited.set()))
    thread.start()
    assert not waited.wait(0.1)
    link.reactor.pump()
    assert waited.wait(2)
    thread.join()


def test_nobody_waits_with_the_link_down_nor_in_the_reactor(link, monkeypatch):
    fill(link.outbox)
    began = time.monotonic()
    link.outbox.wait_for_room()
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    link.outbox.open()
    link.outbox.wait_for_room()
    assert time.monotonic() - began < 1


def test_a_thread_that_waits_goes_on_when_the_link_is_lost(link, monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    link.outbox.open()
    fill(link.outbox)
    thread = threading.Thread(target=link.outbox.wait_for_room)
    thread.start()
    link.outbox.close()
    thread.join(2)
    assert not thread.is_alive()


def test_threads_may_put_while_the_reactor_sends(link):
    link.outbox.open()

    def work(base):
        for number in range(2000):
            link.outbox.put(parcel(base + number))

    threads = [threading.Thread(target=work, args=(base,)) for base in (0, 10_000, 20_000)]
    for thread in threads:
        thread.start()
    link.reactor.pump_until(lambda: len(link.taken) == 6000)
    for thread in threads:
        thread.join()
    for base in (0, 10_000, 20_000):
        assert [n for n in link.numbers if base <= n < base + 10_000] == list(range(base, base + 2000))


steps = st.lists(st.sampled_from(["put", "open", "close", "cut", "pause", "resume", "pump"]), max_size=60)


@given(steps)
def test_whatever_the_link_does_each_parcel_leaves_once_in_order(todo):
    link, put = Link(), 0
    for step in todo:
        if step == "put":
            link.outbox.put(parcel(put))
            put += 1
        elif step == "open":
            link.up = True
            link.outbox.open()
        elif step == "close":
            link.up = False
            link.outbox.close()
        elif step == "cut":
            link.up = False
        elif step == "pause":
            link.outbox.pauseProducing()
        elif step == "resume":
            link.outbox.resumeProducing()
        else:
            link.reactor.pump()
    link.up = True
    link.outbox.open()
    link.reactor.pump()
    assert link.numbers == list(range(put))
    assert link.outbox.size == 0
