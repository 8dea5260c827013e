"""What becomes of each datagram, decided in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.arrivals import pack_arrival
from ocs.agents.pysmurf_monitor.dispatcher import Dispatcher, retaken, sort_out
from ocs.agents.pysmurf_monitor.messages import Announcement, parse
from ocs.agents.pysmurf_monitor.report import Counters, Refusals
from ocs.agents.pysmurf_monitor.state import Pending
from ocs.agents.pysmurf_monitor.work import Work
from ocs.errors import StateTroubleError
from ocs.journal.records import Entry
from tests.harness.pysmurf import datagram, file_datagram

NOW = 1_790_000_000.0


def entries(*datagrams, begin=5):
    return [Entry(begin + n, 0, pack_arrival(NOW + n, "10.0.0.5", 4711, data)) for n, data in enumerate(datagrams)]


@pytest.fixture
def log():
    return []


@pytest.fixture
def refusals(log):
    return Refusals(log.append)


def test_each_datagram_becomes_what_it_is(refusals):
    found = sort_out(
        entries(file_datagram("/data/a.npy"), b"no", datagram("session_data"), datagram("session_log")), refusals
    )
    [item] = found.items
    assert (item.announcement.path, item.index, item.since) == ("/data/a.npy", 5, NOW)
    assert [(message.whole["type"], arrived) for message, arrived in found.messages] == [
        ("session_data", NOW + 2),
        ("session_log", NOW + 3),
    ]
    assert (found.first_message, found.ignored) == (7, 0)
    assert refusals.counts == {"not_json": 1}


def test_a_refusal_tells_who_sent_what(refusals, log):
    sort_out(entries(b"\x01garbage"), refusals)
    assert "10.0.0.5:4711" in log[0]
    assert "garbage" in log[0]


def test_what_is_for_others_is_counted_and_no_more(refusals):
    found = sort_out(entries(datagram("start"), datagram("log")), refusals)
    assert (found.ignored, found.items, found.messages, refusals.counts) == (2, [], [], {})


def test_a_damaged_entry_is_refused(refusals):
    assert sort_out([Entry(1, 0, b"\x00")], refusals).items == []
    assert refusals.counts == {"unreadable": 1}


@given(st.lists(st.one_of(st.binary(max_size=200), st.just(file_datagram("/data/a.npy")), st.text().map(str.encode))))
def test_nothing_that_is_sent_stops_what_comes_after(datagrams):
    refusals = Refusals(lambda _line: None)
    found = sort_out(entries(*datagrams), refusals)
    assert len(found.items) + len(found.messages) + sum(refusals.counts.values()) == len(datagrams)


def pending(path="/data/a.npy", **changes):
    announcement = Announcement(path, "p", "smurf", "r", True, 1.0)
    return Pending(announcement, **{"index": 3, "attempts": 4, "since": 5.0, "next": 6.0, "reason": "x", **changes})


def test_what_is_taken_up_again_keeps_its_history():
    item = retaken(pending())
    assert (item.index, item.attempt, item.since, item.trouble) == (3, 4, 5.0, "")


class FakeFollower:
    """A journal in memory."""

    def __init__(self, found):
        self.entries, self.next_index, self.missed = list(found), 0, 0

    def read(self, limit):
        taken, self.entries = self.entries[:limit], self.entries[limit:]
        self.next_index = taken[-1].index + 1 if taken else self.next_index
        return taken


class FakeState:
    """Has what is due, or trouble."""

    def __init__(self):
        self.pending, self.trouble = [], False

    def due(self, now, limit):
        if self.trouble:
            raise StateTroubleError("full", "the disk is full")
        taken, self.pending = self.pending[:limit], self.pending[limit:]
        return taken

    def next_due(self):
        return self.pending[0].next if self.pending else None


class Sink(list):
    put = list.extend


class Bench:
    def __init__(self, refusals, *found):
        self.state, self.sink, self.work = FakeState(), Sink(), Work(0)
        self.trouble, self.halted, self.published = "", False, []
        self.counters = Counters()
        self.dispatcher = Dispatcher(
            FakeFollower(found),
            self.state,
            self.work,
            self.sink,
            publish=lambda messages, done: self.published.append((messages, done)),
            trouble=lambda: self.trouble,
            halted=lambda: self.halted,
            counters=self.counters,
            refusals=refusals,
            clock=lambda: NOW,
            steady=lambda: 0.0,
        )


def test_files_go_to_the_hashers_and_messages_to_the_reactor(refusals):
    bench = Bench(refusals, *entries(file_datagram("/data/a.npy"), datagram("session_data")))
    assert bench.dispatcher.turn()
    assert not bench.dispatcher.turn()
    assert [item.announcement.path for item in bench.sink] == ["/data/a.npy"]
    [(messages, done)] = bench.published
    assert len(messages) == 1
    assert bench.work.cursor == 5
    bench.work.settle(bench.sink)
    assert bench.work.cursor == 6
    done()
    assert bench.work.cursor == 7


def test_in_trouble_files_are_put_off_and_messages_are_published(refusals):
    bench = Bench(refusals, *entries(file_datagram("/data/a.npy"), datagram("session_data")))
    bench.trouble = "the database: locked"
    bench.dispatcher.turn()
    assert bench.sink == []
    assert bench.published
    [(item, why, moment)] = bench.work.take_postponed()
    assert (item.index, why, moment) == (5, "the database: locked", NOW)


def test_in_trouble_nothing_that_is_due_is_taken_up(refusals):
    bench = Bench(refusals)
    bench.state.pending = [pending()]
    bench.trouble = "the database: locked"
    assert not bench.dispatcher.turn()
    assert bench.state.pending
    bench.trouble = ""
    assert bench.dispatcher.turn()
    assert [item.index for item in bench.sink] == [3]


def test_nothing_is_read_while_nothing_can_be_noted(refusals):
    bench = Bench(refusals, *entries(file_datagram("/data/a.npy")))
    bench.halted = True
    assert not bench.dispatcher.turn()
    bench.halted = False
    assert bench.dispatcher.turn()


def test_what_is_due_while_it_is_worked_on_is_due_again_later(refusals):
    bench = Bench(refusals, *entries(file_datagram("/data/a.npy")))
    bench.dispatcher.turn()
    bench.work.take_aged(-1.0, 10)
    bench.state.pending = [pending(next=NOW)]
    bench.work.due_at(NOW)
    bench.dispatcher.turn()
    assert len(bench.sink) == 1
    [(_, _, moment)] = bench.work.take_postponed()
    assert moment > NOW


def test_trouble_with_the_state_file_is_told_until_it_is_over(refusals):
    bench = Bench(refusals)
    bench.state.trouble = True
    bench.dispatcher.turn()
    assert bench.dispatcher.state_trouble == "the disk is full"
    bench.state.trouble = False
    bench.work.due_at(NOW)
    bench.dispatcher.turn()
    assert bench.dispatcher.state_trouble == ""


def test_files_from_elsewhere_are_taken_in_or_put_off(refusals):
    bench = Bench(refusals)
    bench.dispatcher.offer([parse(file_datagram("/data/a.npy"))])
    bench.trouble = "the database: locked"
    bench.dispatcher.offer([parse(file_datagram("/data/b.npy"))])
    assert [item.announcement.path for item in bench.sink] == ["/data/a.npy"]
    assert [item.announcement.path for item, _, _ in bench.work.take_postponed()] == ["/data/b.npy"]
    assert bench.counters.announced == 2
