"""Entering and noting, in turns that the test takes."""

import itertools

import pytest

from ocs.agents.pysmurf_monitor.clerk import GIVE_UP, Attempts, Clerk, pause_after
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.registrar import Entered
from ocs.agents.pysmurf_monitor.report import Counters, Refusals
from ocs.agents.pysmurf_monitor.work import Work
from ocs.errors import DatabaseTroubleError, StateTroubleError

NOW = 1_790_000_000.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class FakeRegistrar:
    """Enters and notes in memory, or is in trouble."""

    def __init__(self):
        self.entered, self.noted, self.checks = [], [], 0
        self.trouble = self.note_trouble = None

    def check(self):
        self.checks += 1
        if self.trouble:
            raise self.trouble

    def enter(self, items):
        if self.trouble:
            raise self.trouble
        self.entered.append([item.announcement.path for item in items])
        return Entered(len(items), 0)

    def note(self, *, cursor, done, put_off):
        if self.note_trouble:
            raise self.note_trouble
        self.noted.append(
            (
                cursor,
                [item.announcement.path for item in done],
                {item.announcement.path: (item.trouble, moment) for item, moment in put_off},
            )
        )


class FakeState:
    cursor = 0
    synced = 0

    def sync(self):
        self.synced += 1


class Bench:
    def __init__(self):
        self.steady = Clock()
        self.work, self.registrar, self.state = Work(0, self.steady), FakeRegistrar(), FakeState()
        self.counters, self.refusals = Counters(), Refusals(lambda _line: None)
        self.known, self.dropped = {}, []
        self.clerk = Clerk(
            self.work,
            self.state,
            self.registrar,
            lambda paths: {path: "r" for path in paths if path in self.known},
            db_path="/db",
            on_cursor=self.dropped.append,
            counters=self.counters,
            refusals=self.refusals,
            clock=lambda: NOW + self.steady.now,
            steady=self.steady,
        )

    def hashed(self, *indices, **found):
        items = []
        for index in indices:
            item = Item(Announcement(f"/data/{index}", "p", "smurf", "r", True, 1.0), index, since=NOW)
            item.md5, item.size = "0" * 32, 10
            for name, value in found.items():
                setattr(item, name, value)
            items.append(item)
        self.work.admit(items, max(indices) + 1)
        self.work.finish(items)
        return items

    def wait(self, seconds=1.0):
        self.steady.now += seconds
        self.clerk.turn()


@pytest.fixture
def bench():
    return Bench()


def test_what_is_hashed_is_entered_together_and_noted(bench):
    bench.hashed(0, 1, 2)
    bench.clerk.turn()
    assert bench.registrar.entered == [["/data/0", "/data/1", "/data/2"]]
    assert bench.registrar.noted == [(3, ["/data/0", "/data/1", "/data/2"], {})]
    assert (bench.counters.entered, bench.counters.hashed, bench.counters.hashed_bytes) == (3, 3, 30)
    assert bench.counters.last_entered["path"] == "/data/2"
    assert (bench.clerk.processed, bench.work.idle) == (3, True)


def test_what_cannot_be_read_is_put_off_with_its_reason(bench):
    bench.hashed(0, trouble="is not there", attempt=2)
    bench.clerk.turn()
    [(cursor, done, put_off)] = bench.registrar.noted
    assert (cursor, done) == (1, [])
    assert put_off == {"/data/0": ("is not there", NOW + 100 + pause_after(3))}


def test_what_cannot_be_read_and_is_in_the_table_is_known(bench):
    bench.known = {"/data/0"}
    bench.hashed(0, trouble="is not there")
    bench.clerk.turn()
    assert bench.registrar.noted == [(1, ["/data/0"], {})]
    assert bench.counters.known == 1


def test_what_is_refused_is_counted_and_done_with(bench):
    bench.hashed(0, refused="outside_roots")
    bench.clerk.turn()
    assert bench.registrar.entered == []
    assert bench.registrar.noted == [(1, ["/data/0"], {})]
    assert bench.refusals.counts == {"outside_roots": 1}


def test_a_file_is_given_up_after_a_month(bench):
    bench.hashed(0, trouble="is not there", since=NOW - GIVE_UP - 1)
    bench.clerk.turn()
    assert bench.registrar.noted == [(1, ["/data/0"], {})]
    assert bench.refusals.counts == {"given_up": 1}


def test_in_trouble_attempts_become_rarer_and_nothing_is_lost(bench):
    bench.hashed(0)
    bench.registrar.trouble = DatabaseTroubleError("locked", "/db is held")
    bench.clerk.turn()
    assert (bench.clerk.database.state, bench.clerk.database.message) == ("locked", "/db is held")
    since = bench.clerk.database.since
    for _ in range(100):
        bench.wait(0.5)
    assert bench.clerk.database.since == since
    bench.registrar.trouble = None
    bench.wait(30.0)
    assert bench.clerk.database.state == "ok"
    assert bench.registrar.entered == [["/data/0"]]


def test_in_trouble_what_waits_is_put_off_so_that_the_cursor_goes_on(bench):
    bench.hashed(0, 1)
    bench.registrar.trouble = DatabaseTroubleError("locked", "/db is held")
    bench.clerk.turn()
    bench.wait(6.0)
    [(cursor, done, put_off)] = bench.registrar.noted
    assert (cursor, done) == (2, [])
    assert put_off["/data/0"][0] == "the database: locked"
    bench.registrar.trouble = None
    bench.wait(30.0)
    assert bench.registrar.noted[-1] == (2, ["/data/0", "/data/1"], {})


def test_what_could_not_be_noted_is_noted_later_and_not_entered_again(bench):
    bench.hashed(0)
    bench.registrar.note_trouble = StateTroubleError("full", "the disk of state.sqlite is full")
    bench.clerk.turn()
    assert bench.clerk.state_trouble == "the disk of state.sqlite is full"
    bench.hashed(1)
    bench.wait()
    assert (len(bench.registrar.entered), bench.clerk.processed) == (1, 0)
    bench.registrar.note_trouble = None
    bench.wait(60.0)
    assert bench.registrar.noted[-1][1] == ["/data/0"]
    bench.wait()
    assert bench.registrar.noted[-1] == (2, ["/data/1"], {})
    assert bench.registrar.entered == [["/data/0"], ["/data/1"]]


def test_the_journal_is_let_go_after_the_state_is_on_the_disk(bench):
    bench.hashed(0)
    bench.clerk.turn()
    assert bench.dropped == []
    bench.wait(6.0)
    assert (bench.state.synced, bench.dropped) == (1, [1])
    bench.wait(6.0)
    assert (bench.state.synced, bench.dropped) == (1, [1])


def test_a_cursor_that_moved_without_files_is_noted_once_in_a_while(bench):
    bench.work.send(0, 1)
    bench.work.admit([], 1)
    bench.work.sent()
    bench.clerk.turn()
    assert bench.registrar.noted == []
    bench.wait(2.0)
    assert bench.registrar.noted == [(1, [], {})]


def test_an_idle_clerk_looks_at_the_database_now_and_then(bench):
    for _ in range(70):
        bench.wait(1.0)
    assert bench.registrar.checks == 3
    assert bench.registrar.noted == []


def test_pauses_grow_up_to_ten_minutes():
    assert [pause_after(n) for n in range(1, 10)] == [1, 2, 4, 8, 16, 32, 60, 600, 600]


def test_attempts_are_made_after_longer_and_longer_pauses():
    clock = Clock()
    attempts, made = Attempts(clock), []
    for _ in range(1200):
        if attempts.due:
            made.append(clock.now)
            attempts.failed()
        clock.now += 0.125
    pauses = [b - a for a, b in itertools.pairwise(made)]
    assert pauses[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(pauses[6:]) == {30.0}
    attempts.succeeded()
    assert attempts.due
