"""The shared tables and the manager for scripts."""

import hashlib
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFile, SupRsyncFilesManager, TimecodeDir
from ocs.errors import DatabaseTroubleError
from tests.harness.pysmurf import query, rows
from tests.harness.registering import locked

FILES = {
    "id": ("INTEGER", True),
    "local_path": ("VARCHAR", True),
    "local_md5sum": ("VARCHAR", True),
    "archive_name": ("VARCHAR", True),
    "remote_path": ("VARCHAR", True),
    "timestamp": ("FLOAT", True),
    "remote_md5sum": ("VARCHAR", False),
    "copied": ("FLOAT", False),
    "removed": ("FLOAT", False),
    "failed_copy_attempts": ("INTEGER", False),
    "deletable": ("BOOLEAN", False),
    "ignore": ("BOOLEAN", False),
}
FOLDERS = {
    "id": ("INTEGER", True),
    "timecode": ("INTEGER", True),
    "archive_name": ("VARCHAR", True),
    "completed": ("BOOLEAN", False),
    "synced": ("BOOLEAN", False),
    "finalized": ("BOOLEAN", False),
    "finalize_file_id": ("INTEGER", False),
}


@pytest.fixture
def db_path(tmp_path):
    return tmp_path / "suprsync.db"


@pytest.fixture
def manager(db_path):
    manager = SupRsyncFilesManager(db_path)
    yield manager
    manager.close()


@pytest.mark.parametrize(("table", "columns"), [("supersync_v0", FILES), ("timecode_dirs_v0", FOLDERS)])
def test_the_tables_are_those_of_the_contract(manager, db_path, table, columns):
    found = query(db_path, f"PRAGMA table_info({table})")
    assert {each["name"]: (each["type"], bool(each["notnull"])) for each in found} == columns
    assert [each["name"] for each in found if each["pk"]] == ["id"]


def test_the_finalizing_file_is_one_of_the_files(manager, db_path):
    [key] = query(db_path, "PRAGMA foreign_key_list(timecode_dirs_v0)")
    assert (key["table"], key["from"], key["to"]) == ("supersync_v0", "finalize_file_id", "id")


def test_it_is_written_ahead(manager, db_path):
    with closing(sqlite3.connect(db_path)) as link:
        assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_is_entered_with_its_md5_and_the_time(manager, db_path, tmp_path):
    (tmp_path / "file").write_bytes(b"contents" * 100_000)
    before = time.time()
    file = manager.create_file(tmp_path / "file", "17900/file", "smurf")
    [row] = rows(db_path)
    assert before <= row.pop("timestamp") <= time.time()
    assert row == {
        "id": file.id,
        "local_path": str(tmp_path / "file"),
        "local_md5sum": hashlib.md5(b"contents" * 100_000).hexdigest(),
        "archive_name": "smurf",
        "remote_path": "17900/file",
        "remote_md5sum": None,
        "copied": None,
        "removed": None,
        "failed_copy_attempts": 0,
        "deletable": 1,
        "ignore": 0,
    }


def test_what_is_given_is_taken(manager, db_path):
    file = manager.create_file("/not/there", "r", "timestreams", "an md5", 12.5, deletable=False)
    [row] = rows(db_path)
    assert (row["local_md5sum"], row["timestamp"], row["deletable"]) == ("an md5", 12.5, 0)
    assert (file.local_md5sum, file.timestamp, file.deletable) == ("an md5", 12.5, False)


def test_a_file_is_entered_once_and_not_changed(manager, db_path):
    first = manager.create_file("/a", "remote", "smurf", "md5")
    again = manager.create_file("/a", "another", "timestreams", "another", deletable=False)
    assert (again.id, again.remote_path, again.archive_name, again.deletable) == (first.id, "remote", "smurf", True)
    assert len(rows(db_path)) == 1


def test_threads_that_enter_the_same_files_enter_each_once(manager, db_path):
    def enter():
        for number in range(40):
            manager.create_file(f"/{number}", "r", "smurf", "md5")

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["local_path"] for row in rows(db_path)) == sorted(f"/{number}" for number in range(40))


def test_it_waits_for_another_writer(manager, db_path):
    with locked(db_path, 1.0):
        manager.create_file("/a", "r", "smurf", "md5")
    assert len(rows(db_path)) == 1


def test_a_file_that_cannot_be_read_is_not_entered(manager, db_path):
    with pytest.raises(FileNotFoundError):
        manager.create_file("/not/there", "r", "smurf")
    assert rows(db_path) == []


def test_sessions_see_the_rows(manager):
    manager.create_file("/a", "r", "smurf", "md5")
    with manager.Session.begin() as session:
        session.add(TimecodeDir(timecode=17900, archive_name="smurf", finalize_file_id=1))
    with manager.Session() as session:
        assert session.query(SupRsyncFile).one().local_path == "/a"
        folder = session.query(TimecodeDir).one()
        assert (folder.completed, folder.synced, folder.finalized) == (False, False, False)


def test_nothing_is_made_where_that_is_not_wanted(db_path):
    with pytest.raises(DatabaseTroubleError, match=r"suprsync\.db is not there") as caught:
        SupRsyncFilesManager(db_path, create_all=False)
    assert caught.value.state == "missing"
    assert not db_path.exists()


def test_a_database_without_tables_says_so(db_path):
    sqlite3.connect(db_path).close()
    with (
        closing(SupRsyncFilesManager(db_path, create_all=False)) as made,
        pytest.raises(DatabaseTroubleError) as caught,
    ):
        made.create_file("/a", "r", "smurf", "md5")
    assert caught.value.state == "no table"


@pytest.mark.parametrize("name", ["what?mode=ro", "a%20b#c", "ü and space"])
def test_any_file_name_will_do(tmp_path, name):
    with closing(SupRsyncFilesManager(str(tmp_path / name))) as manager:
        manager.create_file("/a", "r", "smurf", "md5")
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_statements_are_logged_on_request(db_path, caplog):
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"), closing(SupRsyncFilesManager(db_path, echo=True)) as made:
        made.create_file("/a", "r", "smurf", "md5")
    assert "INSERT INTO supersync_v0" in caplog.text


def test_without_the_library_it_says_how_to_get_it():
    script = "import sys; sys.modules['sqlalchemy'] = None; import ocs.agents.pysmurf_monitor.registrar"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "DatabaseLibraryError" in done.stderr
    assert "pip install 'ocs[pysmurf]'" in done.stderr
