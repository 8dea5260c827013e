"""What the monitor remembers: cursor, files put off, the index; and what becomes of it when its file is hurt."""

import os
import sqlite3
import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.seen import Followed, Learned
from ocs.agents.pysmurf_monitor.state import State
from ocs.errors import StateTroubleError
from tests.harness.registering import make_item, make_items, ordinary_folder, ordinary_user, path_of

FOLLOWED = Followed("/data/suprsync.db", 77, 12, -5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent" / "state.sqlite"


@pytest.fixture
def state(path):
    state = State(path)
    yield state
    state.close()


@pytest.fixture
def restarted(state, path):
    """Returns the state as the next process has it."""
    made = []

    def restart():
        made.append(State(path))
        return made[-1]

    yield restart
    for each in made:
        each.close()


def paths(found):
    return [pending.path for pending in found]


def test_a_new_one_remembers_nothing(state):
    assert (state.cursor, state.pending_count, state.next_due(), state.due(1e12), state.pending_list()) == (
        *(0, 0, None, []),
        [],
    )
    assert state.followed == Followed("", 0)
    assert state.notices == []


def test_the_cursor_is_there_after_a_restart(state, restarted):
    state.note(cursor=1_000_000_000_000)
    assert restarted().cursor == 1_000_000_000_000


def test_a_file_that_is_put_off_is_remembered_whole(state, restarted):
    item = make_item("/a/ü.npy", index=7, attempt=3, since=50.0)
    state.put_off([item], "is not there", 120.0)
    [pending] = restarted().pending_list()
    assert pending.announcement == item.announcement
    assert (pending.index, pending.attempts, pending.since, pending.next) == (7, 3, 50.0, 120.0)
    assert (pending.path, pending.reason) == ("/a/ü.npy", "is not there")


def test_what_is_due_is_handed_out_by_its_time(state):
    for number, due in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 40.0)):
        state.put_off([make_item(f"/{number}")], "", due)
    assert state.next_due() == 10.0
    assert paths(state.due(30.0, limit=2)) == ["/2", "/3"]
    assert state.next_due() == 30.0
    assert paths(state.due(30.0)) == ["/1"]
    assert state.next_due() == 40.0


def test_what_is_handed_out_is_not_handed_out_again(state):
    state.put_off([make_item("/a")], "", 10.0)
    assert paths(state.due(10.0)) == ["/a"]
    assert (state.due(1e12), state.next_due(), state.pending_count) == ([], None, 1)


def test_what_was_handed_out_is_due_again_after_a_restart(state, restarted):
    state.put_off([make_item("/a")], "", 10.0)
    state.due(10.0)
    assert paths(restarted().due(10.0)) == ["/a"]


def test_what_is_put_off_again_is_handed_out_again(state):
    state.put_off([make_item("/a", since=5.0, attempt=4)], "is not there", 10.0)
    state.due(10.0)
    state.put_off([make_item("/a", since=8.0, attempt=0)], "cannot be read", 30.0)
    [pending] = state.due(30.0)
    assert (pending.since, pending.attempts, pending.reason) == (5.0, 4, "cannot be read")


def test_what_is_done_is_not_put_off_any_more(state):
    state.put_off(make_items(range(5)), "", 10.0)
    state.note(cursor=3, done=[path_of(number) for number in range(4)])
    assert paths(state.pending_list()) == [path_of(4)]


def test_what_is_done_in_the_same_breath_is_not_put_off(state):
    state.note(cursor=3, done=["/a"], put_off=[(make_item("/a"), 5.0), (make_item("/b", trouble="is not there"), 6.0)])
    [pending] = state.pending_list()
    assert (pending.path, pending.reason, pending.next) == ("/b", "is not there", 6.0)


def test_the_list_shows_the_longest_first(state):
    for number in range(60):
        state.put_off([make_item(f"/{number}")], "", 1000.0 - number)
    state.put_off([make_item("/0")], "", 0.0)
    assert paths(state.pending_list(3)) == ["/0", "/1", "/2"]
    assert (len(state.pending_list()), state.pending_count) == (50, 60)


def test_a_note_is_noted_whole_or_not_at_all(state):
    good, bad = make_item("/good"), make_item("/bad")
    with pytest.raises(StateTroubleError):
        state.note(cursor=9, put_off=[(good, 1.0), (bad, None)], learned=Learned([(1, 2)], FOLLOWED))
    assert (state.cursor, state.pending_count, state.find([1]), state.followed.last) == (0, 0, [], 0)


def test_a_path_that_is_no_text_is_passed_over(state):
    state.put_off([make_item("/\udc80"), make_item("/b")], "", 1.0)
    assert paths(state.pending_list()) == ["/b"]


def test_the_index_finds_all_rows_of_a_key(state, restarted):
    state.learn(Learned([(5, 1), (5, 2), (-(2**63), 3), (2**63 - 1, 4), (6, 5)], FOLLOWED))
    after = restarted()
    assert sorted(after.find([5, -(2**63), 2**63 - 1, 7])) == [(-(2**63), 3), (5, 1), (5, 2), (2**63 - 1, 4)]
    assert after.followed == FOLLOWED


def test_an_index_that_is_forgotten_is_empty(state):
    state.learn(Learned([(5, 1)], FOLLOWED))
    state.forget(Followed("/other", 3))
    assert (state.find([5]), state.followed) == ([], Followed("/other", 3, 0, 0))


def test_a_closed_one_opens_again(state):
    state.note(cursor=4)
    state.close()
    state.close()
    assert state.cursor == 4


def test_syncing_leaves_it_as_it_is(state):
    state.note(cursor=4)
    state.sync()
    assert state.cursor == 4


def test_two_threads_use_it_at_the_same_time(state):
    failures = []

    def put_off(first):
        try:
            for number in range(first, first + 100):
                state.put_off([make_item(f"/{number}")], "", 1.0)
                state.due(1.0, 2)
                state.note(cursor=number, done=[f"/{number}"] if number % 2 else [])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=put_off, args=[first]) for first in (0, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert state.pending_count == 100


# What happens to the file


def test_rubbish_is_set_aside(path):
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 1000)
    with closing(State(path)) as state:
        assert state.cursor == 0
        assert "was damaged" in state.notices[0]
        state.note(cursor=3)
    assert path.with_name("state.sqlite.damaged").read_bytes().startswith(b"this is no database")


def test_what_can_be_read_of_a_damaged_file_is_kept(path):
    with closing(State(path)) as state:
        state.note(cursor=77, learned=Learned([(number, number) for number in range(20_000)], FOLLOWED))
        state.put_off(make_items(range(1000)), "is not there", 5.0)
        [(root,)] = state._file.read("SELECT rootpage FROM sqlite_master WHERE name = 'pending_next'")
    with path.open("r+b") as file:  # the index by time; with it nothing can be handed out
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with closing(State(path)) as state:
        assert (state.cursor, state.pending_count) == (77, 1000)
        assert len(state.due(5.0, 2000)) == 1000
        assert "1000 files that were put off could be read" in state.notices[0]
        assert state.followed.last == 0, "the index is made again from the table"


def test_damage_that_shows_in_use_is_told_and_the_next_call_goes_on(path):
    with closing(State(path)) as state:
        state.learn(Learned([(number * 7919, number) for number in range(50_000)], FOLLOWED))
        state.note(cursor=5)
        state.close()  # opened again by the next call
        with path.open("r+b") as file:
            file.seek(40 * 4096)
            file.write(os.urandom(60 * 4096))
        with pytest.raises(StateTroubleError) as caught:
            state.find([number * 7919 for number in range(50_000)])
        assert caught.value.state == "damaged"
        assert str(caught.value) in state.notices
        assert (state.cursor, state.followed.last) == (5, 0)
        state.note(cursor=6)
        assert state.cursor == 6


@pytest.mark.parametrize(
    "statement", ["PRAGMA user_version = 999", "DROP TABLE seen", "DELETE FROM progress", "DROP TABLE pending"]
)
def test_a_file_that_is_not_as_ours_is_set_aside(path, statement):
    with closing(State(path)) as state:
        state.note(cursor=7)
    with closing(sqlite3.connect(path)) as link, link:
        link.execute(statement)
    with closing(State(path)) as state:
        state.put_off([make_item("/a")], "", 1.0)
        assert (state.pending_count, state.find([1]), len(state.notices)) == (1, [], 1)


def test_a_file_that_is_taken_away_in_use_is_written_again(path, state, restarted):
    state.note(cursor=7, put_off=[(make_item("/a"), 1.0)])
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    state.put_off([make_item("/b")], "", 2.0)
    assert "taken away" in state.notices[0]
    after = restarted()
    assert (after.cursor, paths(after.pending_list())) == (7, ["/a", "/b"])


def _fill(state):
    for first in range(0, 100_000, 500):
        state.put_off(make_items(range(first, first + 500)), "", 1.0)


def test_a_file_that_has_reached_its_bound_refuses_and_recovers(path):
    with closing(State(path, most_bytes=1 << 20)) as state:
        with pytest.raises(StateTroubleError) as caught:
            _fill(state)
        assert caught.value.state == "full"
        assert "state.sqlite may not grow any more" in str(caught.value)
        there = paths(state.pending_list(100_000))
        assert len(there) % 500 == 0, "of the refused ones there is none"
        state.note(cursor=1, done=there[:1000], learned=Learned([(1, 1)], FOLLOWED))
        state.put_off(make_items(range(500)), "", 1.0)


def test_a_folder_that_may_not_be_written_is_named():
    with ordinary_folder() as folder, ordinary_user(), pytest.raises(StateTroubleError) as caught:
        State(folder / "agent" / "state.sqlite")
    assert caught.value.state == "no permission"
    assert str(folder / "agent") in str(caught.value)


# Anything, against a model


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put off"), st.integers(0, 9), st.integers(0, 20)),
            st.tuples(st.just("done"), st.integers(0, 9), st.integers(0, 100)),
            st.tuples(st.just("due"), st.integers(0, 20), st.integers(1, 4)),
            st.tuples(st.just("restart"), st.just(0), st.just(0)),
        ),
        max_size=30,
    )
)
def test_it_is_a_timetable_that_survives_restarts(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("state") / "state.sqlite"
    state, cursor, waiting, out = State(path), 0, {}, {}
    for what, one, other in steps:
        if what == "put off":
            state.put_off([make_item(f"/{one}")], "", float(other))
            out.pop(f"/{one}", None)
            waiting[f"/{one}"] = float(other)
        elif what == "done":
            cursor = other
            state.note(cursor=cursor, done=[f"/{one}"])
            waiting.pop(f"/{one}", None)
            out.pop(f"/{one}", None)
        elif what == "due":
            found = paths(state.due(float(one), other))
            expected = sorted((due, name) for name, due in waiting.items() if due <= one)
            assert [waiting[name] for name in found] == [due for due, _ in expected[:other]]
            out.update({name: waiting.pop(name) for name in found})
        else:
            state.close()
            state = State(path)
            waiting, out = {**waiting, **out}, {}
        assert state.cursor == cursor
        assert state.next_due() == min(waiting.values(), default=None)
        assert sorted(paths(state.pending_list())) == sorted([*waiting, *out])
    state.close()
