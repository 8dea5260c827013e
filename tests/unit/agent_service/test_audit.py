"""The audit log: lines of JSON that only the owner reads, in files that rotate, and a disk that fails."""

import json
import stat
from datetime import UTC, datetime

import pytest

from ocs.agent_service.audit import AuditFile, AuditLog, refusals_path

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "audit.jsonl"


def written(path, *notes):
    """Write lines, and return them as they stand in the file."""
    log = AuditLog(path, now=lambda: NOON)
    for event, fields in notes:
        log.note(event, **fields)
    log.close()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_line_says_when_and_what(path):
    assert written(path, ("request", {"user": "ana\n", "number": 1})) == [
        {"time": "2026-11-23T12:00:00.000+00:00", "event": "request", "user": "ana\n", "number": 1}
    ]


def test_refusals_are_apart(path):
    assert [line["event"] for line in written(path, ("refused", {}), ("request", {}), ("refused", {}))] == ["request"]
    assert refusals_path(path).name == "audit-refused.jsonl"
    assert len(refusals_path(path).read_text().splitlines()) == 2


def test_a_restart_goes_on_where_the_last_ended(path):
    written(path, ("request", {"number": 1}))
    assert [line["number"] for line in written(path, ("request", {"number": 2}))] == [1, 2]


def test_only_the_owner_reads_it(path):
    written(path, ("request", {}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_full_files_are_kept_and_the_oldest_goes(path):
    file = AuditFile(path, max_bytes=10, kept=2)
    for number in range(5):
        file.append(f"line {number}\n")
    kept = {each.name: each.read_text() for each in path.parent.iterdir()}
    assert kept == {"audit.jsonl": "line 4\n", "audit.jsonl.1": "line 3\n", "audit.jsonl.2": "line 2\n"}


def test_a_disk_that_takes_nothing_is_told_and_holds_up_nobody(path, caplog):
    path.parent.write_text("a file where the folder is to be")
    log = AuditLog(path)
    for _ in range(3):
        log.note("request")
    log.close()
    assert "Not a directory" in log.trouble or "File exists" in log.trouble
    assert caplog.text.count("the audit log cannot be written") == 1


def test_trouble_is_over_when_a_line_is_written(path):
    path.parent.write_text("")
    log = AuditLog(path)
    log.note("request", number=1)
    log.close()
    path.parent.unlink()
    assert log.trouble
    again = AuditLog(path)
    again.note("request", number=2)
    again.close()
    assert again.trouble == ""
