"""The process that marks rows as SupRsync does sees what is wrong, and that the database is locked."""

import json
import sqlite3
from contextlib import closing

import pytest

from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager
from tests.harness import pysmurf, suprsync
from tests.harness.pysmurf import each_once, entered, make_files, rows
from tests.harness.suprsync import OTHERS, Marker, lock_errors, marking


@pytest.fixture
def db_path(tmp_path):
    return tmp_path / "suprsync.db"


@pytest.fixture
def files(tmp_path, db_path):
    """Three files with their rows."""
    made = make_files(tmp_path / "data", 3)
    manager = SupRsyncFilesManager(str(db_path))
    for path in made:
        manager.create_file(str(path), path.name, "smurf", local_md5sum=pysmurf.md5(path), timestamp=1.0)
    return made


def test_it_marks_and_adds(db_path, files):
    marker = Marker(db_path, remove=False)
    marker.round()
    marker.round()
    assert (marker.done.marked, marker.done.added, marker.done.wrong) == (3, 2, [])
    assert all(row["copied"] for row in rows(db_path))
    assert (entered(db_path), entered(db_path, besides=OTHERS)) == (5, 3)


def test_it_removes_what_it_has_marked(db_path, files):
    marker = Marker(db_path, remove=True)
    marker.round()
    assert marker.done.removed == 3
    assert not any(path.exists() for path in files)


def test_it_leaves_what_is_young(db_path, files):
    marker = Marker(db_path, remove=True, age=1e12)
    marker.round()
    assert marker.done.marked == 0


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("else"), lambda path: path.unlink()])
def test_it_tells_what_is_not_as_its_row_says(db_path, files, spoil):
    spoil(files[1])
    marker = Marker(db_path, remove=True)
    marker.round()
    assert marker.done.wrong == [str(files[1])]


def test_it_tells_of_locks(db_path, files, monkeypatch):
    monkeypatch.setattr(suprsync, "BUSY_S", 0.01)
    marker = Marker(db_path, remove=False)
    with closing(sqlite3.connect(db_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        marker.round()
    assert "locked" in marker.done.locks[0]
    marker.round()
    assert (len(marker.done.locks), marker.done.marked) == (1, 3)


def test_it_waits_for_a_database(db_path):
    marker = Marker(db_path, remove=False)
    marker.round()
    assert (marker.done.locks, db_path.exists()) == ([], False)


def test_as_a_process_it_finishes_what_is_there(db_path, files):
    with marking(db_path, "--remove", "--age", "3600") as finish:
        done = finish()
    assert (done.marked, done.removed, done.wrong, done.locks) == (3, 3, [], [])
    assert done.added == entered(db_path) - 3


def test_locks_are_found_in_a_log():
    assert lock_errors("well\nsqlite3.OperationalError: database is locked\nwell") != []
    assert lock_errors("all is well\nblocked") == []


def test_the_books_name_what_is_lacking_double_and_foreign(db_path, files):
    assert each_once(db_path, files) == ""
    assert "lacks 1: " in each_once(db_path, [*files, "/lost"])
    assert "has besides 1: " in each_once(db_path, files[:2])
    with closing(sqlite3.connect(db_path)) as link, link:
        columns = "local_path, local_md5sum, archive_name, remote_path, timestamp"
        link.execute(f"INSERT INTO supersync_v0 ({columns}) SELECT {columns} FROM supersync_v0 WHERE id = 1")
    assert "has twice 1: " in each_once(db_path, files)


def test_datagrams_are_json():
    told = json.loads(pysmurf.datagram("metadata", pub_id="STREAMER:a", path="x", value=1))
    assert (told["id"], told["type"], told["payload"]) == ("STREAMER:a", "metadata", {"path": "x", "value": 1})
