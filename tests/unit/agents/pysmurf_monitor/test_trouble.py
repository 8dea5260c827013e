"""Each of SQLite's errors becomes one line for the operator: what, which file, what to do."""

import errno
import sqlite3

import pytest

from ocs.agents.pysmurf_monitor.trouble import look_at_path, told, trouble_of
from ocs.errors import DatabaseTroubleError


def sqlite_error(name, text="what SQLite says"):
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("SQLITE_BUSY", "locked"),
        ("SQLITE_BUSY_SNAPSHOT", "locked"),
        ("SQLITE_LOCKED", "locked"),
        ("SQLITE_READONLY", "read-only"),
        ("SQLITE_READONLY_DIRECTORY", "read-only"),
        ("SQLITE_FULL", "full"),
        ("SQLITE_CORRUPT", "damaged"),
        ("SQLITE_CORRUPT_INDEX", "damaged"),
        ("SQLITE_NOTADB", "damaged"),
        ("SQLITE_PERM", "no permission"),
        ("SQLITE_AUTH", "no permission"),
        ("SQLITE_IOERR", "error"),
        ("SQLITE_IOERR_WRITE", "error"),
        ("SQLITE_CANTOPEN", "error"),
        ("SQLITE_CONSTRAINT_NOTNULL", "wrong columns"),
        ("SQLITE_ERROR", "error"),
        ("SQLITE_NOMEM", "error"),
    ],
)
def test_a_code_is_a_kind_of_trouble(tmp_path, name, state):
    path = tmp_path / "suprsync.db"
    path.touch()
    found, text = trouble_of(sqlite_error(name), path)
    assert found == state
    assert str(path) in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("no such table: supersync_v0", "no table"),
        ("no such column: ignore", "wrong columns"),
        ("table supersync_v0 has no column named ignore", "wrong columns"),
        ("something else", "error"),
    ],
)
def test_an_error_without_a_code_of_its_own_goes_by_its_text(tmp_path, text, state):
    assert trouble_of(sqlite_error("SQLITE_ERROR", text), tmp_path / "x")[0] == state


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "missing"),
        (errno.ENOENT, "missing"),
        (errno.EIO, "error"),
    ],
)
def test_an_error_of_the_system_is_a_kind_of_trouble(tmp_path, number, state):
    assert trouble_of(OSError(number, "what the system says"), tmp_path / "not-there.db")[0] == state


def test_an_error_without_a_number_is_trouble_too(tmp_path):
    path = tmp_path / "suprsync.db"
    assert trouble_of(sqlite3.InterfaceError("odd"), path) == ("error", f"{path}: odd")


def test_what_cannot_be_told_before_it_is_opened_is_no_trouble(tmp_path):
    path = tmp_path / "suprsync.db"
    assert look_at_path(path, may_be_made=True) is None
    assert look_at_path(path, may_be_made=False) is not None
    path.touch()
    assert look_at_path(path, may_be_made=False) is None


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), told(tmp_path, sqlite3.Error):
        raise KeyError


def test_an_error_keeps_its_cause(tmp_path):
    with pytest.raises(DatabaseTroubleError) as caught, told(tmp_path / "x", sqlite3.Error):
        raise sqlite_error("SQLITE_BUSY")
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
