"""Files become rows, each once, whatever others do to the table, and whatever becomes of the database."""

import itertools
import logging
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ocs.agents.pysmurf_monitor.registrar import Entered, Registrar
from ocs.agents.pysmurf_monitor.seen import key_of
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager
from ocs.agents.pysmurf_monitor.table import LOOK
from ocs.errors import DatabaseTroubleError, StateTroubleError
from tests.harness.pysmurf import each_once, rows
from tests.harness.registering import add_rows, execute, locked, make_item, make_items, path_of


@pytest.fixture
def db_path(tmp_path):
    return tmp_path / "databases" / "suprsync.db"


@pytest.fixture
def make(tmp_path, db_path):
    """Makes registrars, each with the state of its name."""
    db_path.parent.mkdir(exist_ok=True)
    made = []

    def new(name="state", **keywords):
        state = State(tmp_path / f"{name}.sqlite")
        made.append(Registrar(db_path, state, **{"now": lambda: 1234.5, "busy_timeout": 0.2, **keywords}))
        made[-1].state = state
        made.append(state)
        return made[-2]

    yield new
    for each in made:
        each.close()


@pytest.fixture
def registrar(make):
    return make()


def enter(registrar, paths, note=True):
    """Enter files and note that; return how many were entered and known."""
    items = [make_item(path) for path in paths]
    entered = registrar.enter(items)
    if note:
        registrar.note(cursor=1, done=items, put_off=[])
    return entered.entered, entered.known


def trouble(registrar):
    with pytest.raises(DatabaseTroubleError) as caught:
        registrar.enter([make_item("/in trouble")])
    text = str(caught.value)
    assert "\n" not in text
    return caught.value.state, text


# What is entered


def test_a_row_has_what_the_file_has(registrar, db_path):
    item = make_item("/data/smurf_data/a.npy", md5="0123")
    assert registrar.enter([item]) == Entered(1, 0)
    assert rows(db_path) == [
        {
            "id": 1,
            "local_path": "/data/smurf_data/a.npy",
            "local_md5sum": "0123",
            "archive_name": "smurf",
            "remote_path": item.announcement.remote_path,
            "timestamp": 1234.5,
            "remote_md5sum": None,
            "copied": None,
            "removed": None,
            "failed_copy_attempts": 0,
            "deletable": 0,
            "ignore": 0,
        }
    ]


def test_a_file_is_entered_once_however_often_it_comes(registrar, db_path):
    assert enter(registrar, ["/a", "/b", "/a"]) == (2, 1)
    assert enter(registrar, ["/b", "/c"]) == (1, 1)
    assert enter(registrar, ["/a", "/b", "/c"]) == (0, 3)
    assert each_once(db_path, ["/a", "/b", "/c"]) == ""


def test_what_was_entered_but_not_noted_is_known(make, db_path):
    enter(make(), ["/a", "/b"], note=False)
    assert enter(make(), ["/b", "/c"]) == (1, 1)
    assert each_once(db_path, ["/a", "/b", "/c"]) == ""


def test_what_others_have_entered_is_known(registrar, db_path):
    enter(registrar, ["/a"])
    add_rows(db_path, ["/b", "/c"])
    assert enter(registrar, ["/b", "/d"]) == (1, 1)
    assert enter(registrar, ["/a", "/b", "/c"]) == (0, 3)


def test_two_that_take_turns_enter_each_file_once(make, db_path):
    one, other = make("one"), make("other")
    for first in range(0, 60, 10):
        numbers = range(first, first + 20)
        for registrar in (one, other) if first % 20 else (other, one):
            items = make_items(numbers)
            registrar.enter(items)
            registrar.note(cursor=first, done=items, put_off=[])
    assert each_once(db_path, map(path_of, range(70))) == ""


def test_paths_that_share_a_key_are_told_apart(registrar, db_path):
    names = {}
    for number in itertools.count():
        one, other = (path := f"/f/{number}"), names.setdefault(key_of(path), path)
        if one != other:
            break
    assert enter(registrar, [other]) == (1, 0)
    assert enter(registrar, ["/x"]) == (1, 0)
    assert enter(registrar, [one]) == (1, 0)
    assert enter(registrar, [one, other, "/x"]) == (0, 3)
    assert each_once(db_path, [one, other, "/x"]) == ""


def test_what_is_no_text_is_refused_and_the_rest_entered(registrar, db_path):
    odd = make_item("/data/\udcff.npy")
    assert registrar.enter([make_item("/a"), odd, make_item("/ü\U0001f52d")]) == Entered(2, 0, (odd,))
    registrar.note(cursor=3, done=[odd], put_off=[(odd, 5.0)])
    assert each_once(db_path, ["/a", "/ü\U0001f52d"]) == ""


def test_foreign_rows_that_are_no_text_do_not_hold_it_up(registrar, db_path):
    registrar.check()
    for value in ("x'ff00fe'", "CAST(x'2fff' AS TEXT)", "17", "''", "'/a' || char(0) || 'b'"):
        execute(
            db_path,
            "INSERT INTO supersync_v0 (local_path, local_md5sum, archive_name, remote_path, timestamp)"
            f" VALUES ({value}, '', '', '', 0)",
        )
        assert enter(registrar, [f"/{value.encode().hex()}"]) == (1, 0)
    assert registrar.state.followed.last == 9


def test_statements_are_logged_on_request(make, caplog):
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        enter(make(echo=True), ["/a"])
    assert "INSERT INTO supersync_v0" in caplog.text


# What is noted


def test_a_note_moves_the_cursor_and_puts_off(registrar):
    late = make_item("/late", trouble="is not there")
    registrar.note(cursor=17, done=[], put_off=[(late, 60.0)])
    [pending] = registrar.state.pending_list()
    assert (registrar.state.cursor, pending.path, pending.next, pending.reason) == (17, "/late", 60.0, "is not there")


def test_notes_need_no_database(make, db_path):
    registrar = make(create_table=False)
    db_path.parent.rmdir()
    registrar.note(cursor=17, done=[], put_off=[])
    assert registrar.state.cursor == 17


def test_the_index_is_not_ahead_of_what_is_noted(registrar):
    for number in range(5):
        enter(registrar, [f"/{number}"])
    assert registrar.state.followed.last == 4, "the last batch is found again in the table"
    registrar.check()
    assert registrar.state.followed.last == 5


# What others do to the table


def test_a_file_whose_row_was_deleted_is_entered_again(registrar, db_path):
    enter(registrar, ["/a", "/b", "/c"])
    enter(registrar, ["/d"])
    execute(db_path, "DELETE FROM supersync_v0 WHERE local_path = '/b'")
    assert enter(registrar, ["/a", "/b", "/c"]) == (1, 2)
    assert each_once(db_path, ["/a", "/b", "/c", "/d"]) == ""


def test_ids_that_are_given_again_deceive_nobody(registrar, db_path):
    enter(registrar, ["/a", "/b", "/c"])
    registrar.check()
    execute(db_path, "DELETE FROM supersync_v0 WHERE id > 1")
    add_rows(db_path, ["/x", "/y", "/z"])
    assert enter(registrar, ["/x", "/y", "/z", "/a", "/b", "/c"]) == (2, 4)
    assert each_once(db_path, ["/a", "/b", "/c", "/x", "/y", "/z"]) == ""


def test_a_table_that_was_filled_anew_in_another_order_is_noticed(registrar, db_path):
    enter(registrar, ["/a", "/b", "/c", "/d"])
    registrar.check()
    execute(db_path, "DELETE FROM supersync_v0")
    add_rows(db_path, ["/b", "/c", "/a", "/d"])
    assert enter(registrar, ["/a", "/b", "/c", "/d", "/e"]) == (1, 4)


@pytest.mark.parametrize("statement", ["DELETE FROM supersync_v0", "DROP TABLE supersync_v0"])
def test_an_emptied_table_is_filled_again(registrar, db_path, statement):
    enter(registrar, ["/a", "/b"])
    registrar.check()
    execute(db_path, statement)
    if statement.startswith("DROP"):
        assert trouble(registrar)[0] == "no table"
    assert enter(registrar, ["/b", "/c"]) == (2, 0)
    assert each_once(db_path, ["/b", "/c"]) == ""


def test_a_database_that_is_replaced_by_its_copy_is_followed_again(registrar, db_path, tmp_path):
    enter(registrar, ["/a"])
    registrar.close()
    shutil.copy(db_path, tmp_path / "copy")
    enter(registrar, ["/b"])
    for each in db_path.parent.iterdir():
        each.unlink()
    shutil.copy(tmp_path / "copy", db_path)
    assert enter(registrar, ["/a", "/b"]) == (1, 1)
    assert each_once(db_path, ["/a", "/b"]) == ""


def test_another_database_by_option_is_another_one(tmp_path):
    with closing(State(tmp_path / "state.sqlite")) as state:
        for name in ("one.db", "two.db", "one.db"):
            with closing(Registrar(tmp_path / name, state)) as registrar:
                enter(registrar, ["/a", "/b"])
                registrar.check()
    for name in ("one.db", "two.db"):
        assert each_once(tmp_path / name, ["/a", "/b"]) == ""


def test_a_lost_state_costs_nothing_but_a_look(make, db_path, tmp_path):
    enter(make("one"), map(path_of, range(50)))
    assert enter(make("other"), map(path_of, range(60))) == (10, 50)
    assert each_once(db_path, map(path_of, range(60))) == ""


# Tables that others have filled already


@pytest.fixture
def long_table(registrar, db_path):
    SupRsyncFilesManager(db_path).close()
    add_rows(db_path, [path_of(number) for number in range(3 * LOOK + 17)])
    return registrar


def test_a_long_table_is_followed_in_pieces(long_table, db_path):
    assert enter(long_table, [path_of(0), path_of(LOOK), path_of(3 * LOOK + 16), "/new"]) == (1, 3)
    assert long_table.state.followed.last == 3 * LOOK + 17
    assert long_table.looked_at is None
    long_table.close()
    assert enter(long_table, map(path_of, range(0, 3 * LOOK, 30))) == (0, LOOK / 10)


def test_a_long_table_that_is_replaced_by_another_is_followed_again(long_table, db_path):
    long_table.check()
    execute(db_path, "DELETE FROM supersync_v0")
    add_rows(db_path, [f"/other/{number}" for number in range(5 * LOOK)])
    assert enter(long_table, ["/other/0", f"/other/{5 * LOOK - 1}", path_of(0)]) == (1, 2)


def test_a_long_look_can_be_broken_off(long_table, make):
    long_table.interrupt()
    assert trouble(long_table)[0] == "stopped"
    assert enter(make(), [path_of(5)]) == (0, 1)


def test_a_long_table_locks_nobody_out_while_it_is_read(long_table, db_path):
    with locked(db_path):
        assert trouble(long_table)[0] == "locked"
    assert long_table.state.followed.last >= 2 * LOOK, "nobody has to be waited for to read it"


def test_rows_that_come_faster_than_one_look_takes_are_caught_up_with(registrar, db_path, monkeypatch):
    registrar.check()
    find, times = registrar.state.find, iter(range(3))

    def find_while_others_add(keys):
        for number in itertools.islice(times, 1):
            add_rows(db_path, [f"/{number}/{each}" for each in range(LOOK + 5)])
        return find(keys)

    monkeypatch.setattr(registrar.state, "find", find_while_others_add)
    assert enter(registrar, ["/0/7", "/1/7", "/2/7", "/new"]) == (1, 3)


# Trouble


def test_a_missing_file_is_made_if_that_is_wanted(registrar, db_path):
    registrar.check()
    assert rows(db_path) == []
    assert enter(registrar, ["/a"]) == (1, 0)


def test_a_missing_file_is_told_and_taken_up_once_it_is_there(make, db_path):
    registrar = make(create_table=False)
    state, text = trouble(registrar)
    assert (state, text) == ("missing", f"{db_path} is not there: put it back, or let it be made (--create-table True)")
    assert not db_path.exists()
    SupRsyncFilesManager(db_path).close()
    assert enter(registrar, ["/a"]) == (1, 0)


def test_a_missing_folder_is_never_made(make, db_path):
    registrar = make()
    db_path.parent.rmdir()
    state, text = trouble(registrar)
    assert (state, text) == ("missing", f"the folder {db_path.parent} is not there: mount its disk, or make it")
    assert not db_path.parent.exists()
    db_path.parent.mkdir()
    assert enter(registrar, ["/a"]) == (1, 0)


def test_a_missing_table_is_told_and_taken_up_once_it_is_there(make, db_path):
    registrar = make(create_table=False)
    execute(db_path, "CREATE TABLE another (id INTEGER)")
    state, text = trouble(registrar)
    assert state == "no table"
    assert f"{db_path} has no table supersync_v0" in text
    SupRsyncFilesManager(db_path).close()
    assert enter(registrar, ["/a"]) == (1, 0)


def test_the_table_of_folders_need_not_be_there(make, db_path):
    SupRsyncFilesManager(db_path).close()
    execute(db_path, "DROP TABLE timecode_dirs_v0")
    assert enter(make(create_table=False), ["/a"]) == (1, 0)


def test_wrong_columns_are_named(registrar, db_path):
    execute(db_path, "CREATE TABLE supersync_v0 (id INTEGER PRIMARY KEY, local_path VARCHAR, local_md5sum VARCHAR)")
    state, text = trouble(registrar)
    assert state == "wrong columns"
    assert "has no column archive_name, remote_path, timestamp, failed_copy_attempts, deletable, ignore" in text


def test_a_column_that_we_do_not_know_and_that_must_be_filled_is_named(registrar, db_path):
    registrar.check()
    execute(db_path, "DROP TABLE supersync_v0")
    columns = "local_md5sum, archive_name, remote_path, timestamp, failed_copy_attempts, deletable, ignore"
    execute(
        db_path,
        f"CREATE TABLE supersync_v0 (id INTEGER PRIMARY KEY, local_path, {columns}, telescope TEXT NOT NULL)",
    )
    state, text = trouble(registrar)
    assert state == "wrong columns"
    assert "supersync_v0.telescope" in text


def test_further_columns_are_no_trouble(registrar, db_path):
    registrar.check()
    execute(db_path, "ALTER TABLE supersync_v0 ADD COLUMN telescope TEXT")
    assert enter(registrar, ["/a"]) == (1, 0)


def test_a_locked_database_is_told_and_taken_up_once_it_is_free(registrar, db_path):
    enter(registrar, ["/a"])
    with locked(db_path) as holder:
        state, text = trouble(registrar)
        assert state == "locked"
        assert f"{db_path} is held by another program" in text
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "free\n"
        assert enter(registrar, ["/a", "/b"]) == (1, 1)


def test_it_waits_for_others_that_are_quick(make, db_path):
    registrar = make(busy_timeout=20.0)
    enter(registrar, ["/a"])
    with locked(db_path, 1.0):
        assert enter(registrar, ["/b"]) == (1, 0)


def test_what_is_no_database_is_told(registrar, db_path):
    db_path.write_bytes(b"certainly not a database" * 100)
    state, text = trouble(registrar)
    assert state == "damaged"
    assert f"{db_path} is no SQLite database, or damaged" in text
    db_path.unlink()
    assert enter(registrar, ["/a"]) == (1, 0)


def test_a_folder_instead_of_a_file_is_told(registrar, db_path):
    db_path.mkdir()
    assert trouble(registrar) == ("error", f"{db_path} is a folder: name the database's file")
    db_path.rmdir()
    assert enter(registrar, ["/a"]) == (1, 0)


@pytest.mark.parametrize("create_table", [True, False])
def test_a_file_that_is_deleted_in_use_is_noticed(make, db_path, create_table):
    SupRsyncFilesManager(db_path).close()
    registrar = make(create_table=create_table)
    enter(registrar, ["/a"])
    for each in db_path.parent.iterdir():
        each.unlink()
    if not create_table:
        assert trouble(registrar)[0] == "missing"
        SupRsyncFilesManager(db_path).close()
    assert enter(registrar, ["/a", "/b"]) == (2, 0)
    assert each_once(db_path, ["/a", "/b"]) == ""


def test_a_file_that_is_moved_away_in_the_midst_of_it_counts_as_missing(registrar, db_path, monkeypatch):
    enter(registrar, ["/a"])
    find = registrar.state.find

    def find_and_move(keys):
        db_path.rename(db_path.with_name("moved"))
        monkeypatch.undo()
        return find(keys)

    monkeypatch.setattr(registrar.state, "find", find_and_move)
    assert trouble(registrar)[0] == "missing"
    assert enter(registrar, ["/a", "/in trouble"]) == (2, 0)
    assert each_once(db_path, ["/a", "/in trouble"]) == ""


def test_a_state_that_cannot_be_written_loses_nothing(registrar, db_path, monkeypatch):
    def full(**_):
        raise StateTroubleError("full", "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(registrar.state, "note", full)
        for first in range(0, 40, 10):
            items = make_items(range(first, first + 20))
            registrar.enter(items)
            with pytest.raises(StateTroubleError):
                registrar.note(cursor=1, done=items, put_off=[])
    assert enter(registrar, map(path_of, range(60))) == (10, 50)
    assert each_once(db_path, map(path_of, range(60))) == ""


def test_it_may_be_made_in_one_thread_used_in_another_and_closed_in_a_third(make, db_path):
    registrar, results = make(), []
    for work in (lambda: results.append(enter(registrar, ["/a"])), registrar.close):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert results == [(1, 0)]


def test_no_file_stays_open(make, db_path):
    def opened():
        links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
        return [link for link in links if db_path.name in str(link.readlink())]

    registrar = make(create_table=False)
    for _ in range(5):
        trouble(registrar)
    SupRsyncFilesManager(db_path).close()
    for _ in range(3):
        enter(registrar, ["/a"])
        with locked(db_path):
            trouble(registrar)
    registrar.close()
    assert opened() == []
