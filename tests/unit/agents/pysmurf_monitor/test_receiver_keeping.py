"""What the receiver keeps, in a real journal: in order, each with its index, and what becomes of too much."""

import pytest

from ocs.agents.pysmurf_monitor import receiver_keeping
from ocs.agents.pysmurf_monitor.receiver_keeping import Keeper
from ocs.journal import Follower, Journal
from tests.harness.waiting import wait_for

LARGE = 1 << 30


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def make_keeper(folder):
    made = []

    def make(journal_bytes=LARGE, first_index=0):
        made.append(Keeper(folder, journal_bytes, first_index))
        made[-1].start()
        return made[-1]

    yield make
    for keeper in made:
        keeper.finish(5.0)


def keep(keeper, *bodies):
    keeper.begin_turn()
    for body in bodies:
        keeper.keep(body)
    keeper.end_turn()


def bodies(begin, end, size=0):
    return [b"%d " % number + bytes(size) for number in range(begin, end)]


def read(folder, start=0):
    follower = Follower(folder, start)
    entries = follower.read(1_000_000)
    follower.close()
    return [(entry.index, entry.body) for entry in entries]


def turn(keeper):
    """Let some time pass, as the receiver does: turns without a datagram."""
    keep(keeper)
    return not keeper.waiting_bytes


def test_what_is_kept_is_written_in_order_and_counted_on(folder, make_keeper):
    keeper = make_keeper()
    for begin in range(0, 100, 10):
        keep(keeper, *bodies(begin, begin + 10))
    wait_for(lambda: turn(keeper))
    assert read(folder) == list(enumerate(bodies(0, 100)))
    assert keeper.written == 100


def test_a_later_keeper_counts_on(folder, make_keeper):
    keep(first := make_keeper(), *bodies(0, 5))
    assert first.finish(10.0) == 0
    keep(second := make_keeper(), *bodies(5, 8))
    assert second.finish(10.0) == 0
    assert read(folder) == list(enumerate(bodies(0, 8)))


def test_indices_begin_where_the_agent_goes_on_reading(folder, make_keeper):
    """It has read beyond what a power cut has left of the journal."""
    keep(first := make_keeper(), *bodies(0, 5))
    first.finish(10.0)
    keep(second := make_keeper(first_index=1000), b"new")
    second.finish(10.0)
    assert read(folder, 1000) == [(1000, b"new")]


def test_what_the_agent_lets_go_raises_the_next_index_too(folder, make_keeper):
    keeper = make_keeper()
    keep(keeper, b"old")
    wait_for(lambda: turn(keeper))
    keeper.drop_before(500)
    keep(keeper, b"new")
    wait_for(lambda: turn(keeper))
    assert read(folder, 500) == [(500, b"new")]


def test_what_is_let_go_is_deleted_segment_by_segment(folder, make_keeper):
    keeper = make_keeper(journal_bytes=512 << 10)
    for begin in range(0, 300, 50):
        keep(keeper, *bodies(begin, begin + 50, 1000))
    wait_for(lambda: turn(keeper))
    before = len(list(folder.glob("*.journal")))
    keeper.drop_before(250)
    wait_for(lambda: len(list(folder.glob("*.journal"))) < before)
    assert [index for index, _ in read(folder, 250)] == list(range(250, 300))


def test_the_newest_are_dropped_at_the_bound_and_counted_until_there_is_room(folder, make_keeper):
    keeper = make_keeper(journal_bytes=512 << 10)
    wait_for(lambda: turn(keeper))
    for begin in range(0, 1000, 50):
        keep(keeper, *bodies(begin, begin + 50, 1000))
    wait_for(lambda: turn(keeper))
    assert 0 < keeper.dropped < 1000
    kept = 1000 - keeper.dropped
    assert read(folder) == list(enumerate(bodies(0, kept, 1000)))
    assert sum(file.stat().st_size for file in folder.glob("*.journal")) < 512 << 10
    assert "is full" in keeper.trouble
    keeper.drop_before(kept)
    wait_for(lambda: not keeper.trouble)
    keep(keeper, b"after")
    wait_for(lambda: turn(keeper))
    assert read(folder, kept) == [(kept, b"after")]


def test_what_comes_before_the_journal_is_free_waits_and_goes_first(folder, make_keeper, monkeypatch):
    monkeypatch.setattr(receiver_keeping, "_MOST_MOVED", 7)
    with Journal(folder) as predecessor:
        predecessor.append(0, 0, b"of the predecessor")
        keeper = make_keeper()
        for begin in range(0, 50, 10):
            keep(keeper, *bodies(begin, begin + 10))
        assert keeper.waiting_bytes > 0
        assert keeper.trouble == ""
        predecessor.append(1, 0, b"its last")
    assert keeper.finish(10.0) == 0
    assert [body for _, body in read(folder)] == [b"of the predecessor", b"its last", *bodies(0, 50)]


def test_a_journal_that_stays_in_use_becomes_a_line_of_trouble(folder, make_keeper, monkeypatch):
    monkeypatch.setattr(receiver_keeping, "_LOCK_PATIENCE", 0.2)
    with Journal(folder):
        keeper = make_keeper()
        wait_for(lambda: "is in use by process" in keeper.trouble)
        assert "\n" not in keeper.trouble
    wait_for(lambda: not keeper.trouble)


def test_memory_has_a_bound_beyond_which_the_newest_are_dropped(folder, make_keeper, monkeypatch):
    monkeypatch.setattr(receiver_keeping, "MEMORY_BYTES", 200_000)
    with Journal(folder):
        keeper = make_keeper()
        for begin in range(0, 1000, 100):
            keep(keeper, *bodies(begin, begin + 100, 1000))
        assert keeper.waiting_bytes <= 200_000
        kept = 1000 - keeper.dropped
        assert 150 < kept < 200
    assert keeper.finish(10.0) == 0
    assert read(folder) == list(enumerate(bodies(0, kept, 1000)))


def test_what_could_not_be_written_in_time_is_told_as_lost(folder, make_keeper):
    with Journal(folder):
        keeper = make_keeper()
        keep(keeper, *bodies(0, 3))
        assert keeper.finish(0.2) == 3


def test_an_idle_keeper_ends_at_once_whoever_has_the_journal(folder, make_keeper):
    with Journal(folder):
        keeper = make_keeper()
        assert keeper.finish(30.0) == 0
        assert not keeper.is_alive


def test_a_folder_that_cannot_be_made_is_told_and_tried_again(folder, make_keeper, monkeypatch):
    monkeypatch.setattr(receiver_keeping, "_RETRY_INTERVAL", 0.05)
    folder.write_text("a file is in the way")
    keeper = make_keeper()
    keep(keeper, b"first")
    wait_for(lambda: "cannot be used for a journal" in keeper.trouble)
    assert "wait in memory" in keeper.trouble
    folder.unlink()
    wait_for(lambda: turn(keeper) and not keeper.trouble)
    assert read(folder) == [(0, b"first")]
