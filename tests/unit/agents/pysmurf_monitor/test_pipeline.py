"""The way from the journal to the table, with everything real but the network."""

import sqlite3
import threading
import time
from contextlib import closing
from functools import partial

import pytest

from ocs.agents.pysmurf_monitor import clerk, dispatcher, pipeline, work
from ocs.agents.pysmurf_monitor.arrivals import pack_arrival
from ocs.agents.pysmurf_monitor.hashing import Hashers
from ocs.agents.pysmurf_monitor.messages import parse
from ocs.agents.pysmurf_monitor.pipeline import Pipeline
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.report import Counters, Refusals
from ocs.agents.pysmurf_monitor.roots import Roots
from ocs.agents.pysmurf_monitor.state import State
from ocs.journal import Journal
from tests.harness.pysmurf import datagram, each_once, file_datagram, make_file, make_files, rows
from tests.harness.waiting import wait_for


class HangingHashers:
    """Takes everything, and finishes nothing."""

    def __init__(self):
        self.taken = []

    @property
    def busy(self):
        return [(item, time.monotonic()) for item in self.taken]

    def put(self, items):
        self.taken += items

    def stop(self, timeout):
        """Hangs, but not for longer than it may."""


class Bench:
    """A journal, what works on it, and what comes of that."""

    def __init__(self, folder):
        self.folder = folder
        self.db = folder / "suprsync.db"
        self.data = folder / "data"
        self.counters = Counters()
        self.log = []
        self.refusals = Refusals(self.log.append)
        self.published = []
        self.publishing = True
        self.dropped = []
        self.journal = Journal(folder / "journal")
        self.pipelines = []
        self._index = 0

    def arrive(self, *datagrams, at=None):
        for data in datagrams:
            self.journal.append(self._index, 0, pack_arrival(at or time.time(), "127.0.0.1", 4711, data))
            self._index += 1
        self.journal.write()
        for each in self.pipelines:
            each.news()

    def publish(self, messages, done):
        if self.publishing:
            self.published += [message for message, _ in messages]
            done()

    def start(self, make_hashers=None, **registrar):
        state = State(self.folder / "state.sqlite")
        roots = Roots([str(self.data)], forbidden=[str(self.db)])
        made = Pipeline(
            self.folder / "journal",
            state,
            Registrar(self.db, state, **{"busy_timeout": 0.2, **registrar}),
            make_hashers or (lambda done: Hashers(roots, on_done=done)),
            self.publish,
            db_path=str(self.db),
            on_cursor=self.dropped.append,
            counters=self.counters,
            refusals=self.refusals,
        )
        self.pipelines = [made]
        made.start()
        return made

    def cursor(self):
        with closing(sqlite3.connect(self.folder / "state.sqlite")) as link:
            return link.execute("SELECT cursor FROM progress").fetchone()[0]

    def close(self):
        for each in self.pipelines:
            each.stop()
        self.journal.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def quick(monkeypatch):
    """No pauses worth waiting for."""
    monkeypatch.setattr(clerk, "GROWING", (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1))
    monkeypatch.setattr(clerk, "AFTERWARDS", 0.1)
    monkeypatch.setattr(clerk, "LAST_ATTEMPT", 0.5)
    monkeypatch.setattr(clerk, "NOTE_EVERY", 0.05)
    monkeypatch.setattr(clerk, "DROP_EVERY", 0.05)
    monkeypatch.setattr(dispatcher, "PATIENCE", 0.1)


def test_every_announced_file_becomes_one_row(bench):
    files = make_files(bench.data, 1200)
    bench.arrive(*map(file_datagram, files), *map(file_datagram, files[:300]))
    running = bench.start()
    wait_for(lambda: running.idle and running.processed >= 1500)
    assert each_once(bench.db, files) == ""
    assert (bench.counters.announced, bench.counters.entered, bench.counters.known) == (1500, 1200, 300)


def test_what_is_stopped_goes_on_where_it_was(bench):
    files = make_files(bench.data, 600)
    bench.arrive(*map(file_datagram, files[:300]))
    running = bench.start()
    wait_for(lambda: running.processed)
    assert running.stop()
    bench.arrive(*map(file_datagram, files[300:]))
    bench.start()
    wait_for(lambda: len(rows(bench.db)) == 600)
    assert each_once(bench.db, files) == ""


def test_messages_are_published_in_order_between_the_files(bench):
    files = make_files(bench.data, 30)
    for number, path in enumerate(files):
        bench.arrive(file_datagram(path), datagram("session_data", number=number))
    bench.start()
    wait_for(lambda: len(bench.published) == 30)
    assert [message.whole["payload"]["number"] for message in bench.published] == list(range(30))


def test_the_cursor_waits_for_messages_that_are_not_published(bench, quick):
    bench.publishing = False
    path = make_file(bench.data / "a.npy")
    bench.arrive(datagram("session_data", number=0), file_datagram(path))
    running = bench.start()
    wait_for(lambda: running.processed)
    running.stop()
    assert bench.cursor() == 0


def test_one_bad_file_does_not_hold_up_another(bench, quick):
    good, missing = make_files(bench.data, 50), bench.data / "late.npy"
    bench.arrive(*map(file_datagram, good[:25]), file_datagram(missing), *map(file_datagram, good[25:]))
    running = bench.start()
    wait_for(lambda: len(rows(bench.db)) == 50 and running.snapshot().pending_count == 1)
    wait_for(lambda: bench.cursor() == 51)
    make_file(missing)
    wait_for(lambda: each_once(bench.db, [*good, missing]) == "")
    wait_for(lambda: running.snapshot().pending_count == 0)


def test_what_is_refused_is_counted_and_passed(bench, quick):
    path = make_file(bench.data / "a.npy")
    outside = make_file(bench.folder / "outside.npy")
    bench.arrive(b"no json", file_datagram(outside), b"\xff" * 9000, file_datagram(path))
    bench.start()
    wait_for(lambda: len(rows(bench.db)) == 1)
    wait_for(lambda: bench.cursor() == 4)
    assert sum(bench.refusals.counts.values()) == 3
    assert each_once(bench.db, [path]) == ""


def test_a_locked_database_is_waited_for_while_messages_go_on(bench, quick):
    files = make_files(bench.data, 100)
    running = bench.start()
    bench.arrive(file_datagram(files[0]))
    wait_for(lambda: len(rows(bench.db)) == 1)
    with closing(sqlite3.connect(bench.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        bench.arrive(*map(file_datagram, files[1:60]))
        wait_for(lambda: running.snapshot().database.state == "locked")
        bench.arrive(*map(file_datagram, files[60:]), datagram("session_data", number=1))
        wait_for(lambda: bench.published and running.snapshot().pending_count >= 40)
        other.execute("ROLLBACK")
    wait_for(lambda: each_once(bench.db, files) == "")
    wait_for(lambda: running.snapshot().database.state == "ok" and running.snapshot().pending_count == 0)


def test_what_takes_long_is_passed_by_the_cursor_and_entered_all_the_same(bench, quick, monkeypatch):
    monkeypatch.setattr(clerk, "AGE", 0.2)
    path = make_file(bench.data / "large.npy")
    hashers = []

    def hanging(done):
        hashers.append(HangingHashers())
        hashers[0].done = done
        return hashers[0]

    bench.arrive(file_datagram(path))
    running = bench.start(hanging)
    wait_for(lambda: bench.cursor() == 1 and running.snapshot().pending_count == 1)
    [item] = hashers[0].taken
    item.md5, item.size = "0" * 32, 5
    hashers[0].done([item])
    wait_for(lambda: each_once(bench.db, [path]) == "" and running.snapshot().pending_count == 0)


def test_more_files_than_there_is_room_for_are_put_off_and_messages_go_on(bench, quick, monkeypatch):
    monkeypatch.setattr(work, "MOST_IN_WORK", 200)
    files = make_files(bench.data, 900)
    bench.arrive(*map(file_datagram, files), datagram("session_data", number=1))
    running = bench.start(lambda done: HangingHashers())
    wait_for(lambda: bench.published and running.snapshot().pending_count >= 700)
    running.stop()
    monkeypatch.setattr(work, "MOST_IN_WORK", 10_000)
    again = bench.start()
    wait_for(lambda: each_once(bench.db, files) == "")
    wait_for(lambda: again.snapshot().pending_count == 0)


def test_stopping_is_prompt_though_a_hasher_hangs(bench):
    files = make_files(bench.data, 5)
    bench.arrive(*map(file_datagram, files))
    running = bench.start(lambda done: HangingHashers())
    wait_for(lambda: running.snapshot().queued == 5)
    began = time.monotonic()
    assert running.stop()
    assert time.monotonic() - began < 5
    bench.start()
    wait_for(lambda: each_once(bench.db, files) == "")


def test_stopping_is_prompt_though_the_database_hangs_and_nothing_is_lost(bench):
    files = make_files(bench.data, 20)
    first = bench.start(busy_timeout=30.0)
    bench.arrive(file_datagram(files[0]))
    wait_for(lambda: len(rows(bench.db)) == 1)
    with closing(sqlite3.connect(bench.db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        bench.arrive(*map(file_datagram, files[1:]))
        wait_for(lambda: bench.counters.hashed == 20)
        began = time.monotonic()
        assert not first.stop()
        assert time.monotonic() - began < 5
        other.execute("ROLLBACK")
    bench.start()
    wait_for(lambda: each_once(bench.db, files) == "")
    wait_for(lambda: not any(thread.is_alive() for thread in first._threads))
    assert each_once(bench.db, files) == ""


def test_files_from_elsewhere_are_remembered_over_a_stop(bench):
    path = make_file(bench.data / "a.npy")
    running = bench.start(lambda done: HangingHashers())
    running.put([parse(file_datagram(path))])
    running.stop()
    bench.start()
    wait_for(lambda: each_once(bench.db, [path]) == "")


def test_the_journal_is_let_go_below_the_cursor(bench, quick):
    files = make_files(bench.data, 10)
    bench.arrive(*map(file_datagram, files))
    bench.start()
    wait_for(lambda: bench.dropped and bench.dropped[-1] == 10)


def test_a_file_that_was_entered_and_is_gone_since_is_not_pending(bench, quick):
    path = make_file(bench.data / "a.npy")
    running = bench.start()
    bench.arrive(file_datagram(path))
    wait_for(lambda: running.processed == 1)
    path.unlink()
    bench.arrive(file_datagram(path))
    wait_for(lambda: bench.counters.known == 1)
    assert running.snapshot().pending_count == 0


def test_a_thread_that_fails_is_told(bench, monkeypatch):
    monkeypatch.setattr(clerk.Clerk, "turn", partial(_fail))
    running = bench.start()
    assert "ZeroDivisionError" in wait_for(lambda: running.crash)
    assert "ZeroDivisionError" in running.snapshot().state_trouble


def _fail(*_):
    raise ZeroDivisionError


def test_nothing_is_read_while_nothing_can_be_noted(bench, quick, monkeypatch):
    files = make_files(bench.data, 20)
    running = bench.start()
    bench.arrive(*map(file_datagram, files[:10]))
    wait_for(lambda: running.processed == 10)
    trouble = threading.Event()
    note = Registrar.note

    def failing(self, **what):
        if trouble.is_set():
            raise pipeline.DatabaseTroubleError("full", "the disk of state.sqlite is full: make room")
        note(self, **what)

    monkeypatch.setattr(Registrar, "note", failing)
    trouble.set()
    bench.arrive(file_datagram(files[10]))
    assert "full" in wait_for(lambda: running.snapshot().state_trouble)
    bench.arrive(*map(file_datagram, files[11:]))
    trouble.clear()
    wait_for(lambda: running.processed == 20)
    assert each_once(bench.db, files) == ""
    assert running.snapshot().state_trouble == ""
