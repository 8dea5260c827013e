"""Writing and reading an audit: hostile texts, files set aside, broken lines, a full disk."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.audit import AuditRecord, AuditWriter, Follower, RotatingFile, Wanted, audit_files, read_records
from ocs.audit.masking import mask
from ocs.errors import AuditError
from tests.harness.waiting import wait_for

RECORD = AuditRecord(1000.0, "lab-1", "start", "set", "level 2", level=2, params={"n": 1}, message="Started.")
ALL = Wanted()


class Log:
    def __init__(self):
        self.lines = []

    def error(self, format, **values):  # noqa: A002
        self.lines.append("error: " + format.format(**values))

    def info(self, format, **values):  # noqa: A002
        self.lines.append("info: " + format.format(**values))


class FullDisk:
    """A file whose disk takes so many bytes."""

    def __init__(self, path, room):
        self.path, self.room = path, room
        self.refused = threading.Event()

    def write(self, lines):
        if not self.room:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(self.room, len(lines))
        self.room -= taken
        with self.path.open("ab") as file:
            if self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            file.write(lines[:taken])
        return taken

    def close(self):
        pass


def numbered(count, first=0):
    return [RECORD._replace(time=float(first + n), op=f"op{first + n}") for n in range(count)]


texts = st.text(max_size=30)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        AuditRecord,
        time=st.floats(-9e10, 9e10),
        instance=texts,
        action=texts,
        op=texts,
        who=texts,
        name=st.none() | texts,
        peer=st.none() | texts,
        params=st.recursive(st.none() | texts | st.integers(), lambda x: st.lists(x) | st.dictionaries(texts, x)).map(
            lambda params: mask(params).params
        ),
        code=st.integers(-1, 1),
        message=texts,
    )
)
def test_a_record_comes_back_from_one_line_as_it_was(record):
    line = record.line()
    assert line.count(b"\n") == 1
    assert not set(line[:-1]) & set(range(32))
    assert AuditRecord.from_line(line) == record


@given(st.binary(max_size=60) | st.recursive(st.none() | texts, st.lists).map(lambda x: json.dumps(x).encode()))
def test_any_other_line_is_none(line):
    with pytest.raises(ValueError):
        AuditRecord.from_line(line)


@pytest.mark.parametrize(
    "changes",
    [{"peer": 5}, {"peer": ["x"]}, {"time": 10**400}, {"time": 1e12}, {"level": "x"}, {"name": {}}, {"role": 1}],
    ids=str,
)
def test_one_with_values_that_cannot_be_is_none(changes):
    line = json.dumps({**RECORD.encoded(), **changes}).encode()
    with pytest.raises(ValueError, match="no audit record"):
        AuditRecord.from_line(line)


def test_what_later_versions_add_is_left_out():
    line = json.dumps({**RECORD.encoded(), "colour": "red"}).encode()
    assert AuditRecord.from_line(line) == RECORD


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(300, 3000))
def test_setting_files_aside_loses_nothing(tmp_path_factory, batches, limit):
    path = tmp_path_factory.mktemp("a") / "o.lab-1.audit.jsonl"
    file, records = RotatingFile(path, limit, keep=1000), numbered(sum(batches))
    follower, followed, begin = Follower([path], ALL), [], 0
    for size in batches:
        lines = b"".join(record.line() for record in records[begin : begin + size])
        assert file.write(lines) == len(lines)
        begin += size
        if size % 3:
            followed += follower.read()
    followed += follower.read()
    file.close()
    follower.close()
    assert followed == records
    assert read_records([path], ALL) == (records, 0)


def test_so_many_are_kept_and_no_more(tmp_path):
    path = tmp_path / "o.lab-1.audit.jsonl"
    file = RotatingFile(path, 10, keep=3)
    for record in numbered(8):
        file.write(record.line())
    file.close()
    assert len(list(tmp_path.iterdir())) == 4
    assert [record.op for record in read_records([path], ALL)[0]] == ["op4", "op5", "op6", "op7"]
    assert audit_files([tmp_path]) == [path]
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_somebody_moves_or_deletes_is_begun_anew(tmp_path):
    path = tmp_path / "x" / "o.lab-1.audit.jsonl"
    file = RotatingFile(path)
    file.write(RECORD.line())
    path.rename(path.with_suffix(".old"))
    file.write(RECORD.line())
    path.unlink()
    file.write(RECORD.line())
    file.close()
    assert read_records([path], ALL) == ([RECORD], 0)


def test_an_unfinished_line_spoils_no_other(tmp_path):
    path = tmp_path / "o.lab-1.audit.jsonl"
    path.write_bytes(RECORD.line() + b'{"time": 1, "inst')
    file = RotatingFile(path)
    file.write(RECORD.line())
    file.close()
    with path.open("ab") as end:
        end.write(b"\xff\x00\n{}\n\n" + RECORD.line()[:-3])
    assert read_records([path], ALL) == ([RECORD, RECORD], 4)


def test_records_of_several_agents_are_in_the_order_of_time(tmp_path):
    for name, first in (("b", 0.5), ("a", 0.0)):
        records = [RECORD._replace(time=first + n, instance=name) for n in range(5)]
        (tmp_path / f"o.{name}.audit.jsonl").write_bytes(b"".join(record.line() for record in records))
    found, _ = read_records(audit_files([tmp_path]), ALL)
    assert [record.instance for record in found] == ["a", "b"] * 5
    assert read_records(audit_files([tmp_path]), ALL, most=3)[0] == found[-3:]


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({"since": 1000.5}, False), ({"since": 999.0}, True), ({"who": "level 2"}, True), ({"who": "ann"}, True),
        ({"who": "bob"}, False), ({"agent": "lab-*"}, True), ({"op": "get"}, False), ({"action": "stop"}, False),
        ({"refused": True}, False), ({"action": "start", "op": "s?t"}, True),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_taken(wanted, taken):
    assert Wanted(**wanted).takes(RECORD._replace(name="ann")) is taken


def test_a_place_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AuditError, match="there is no"):
        audit_files([tmp_path / "nothing"])


def test_all_that_was_put_is_written_when_the_writer_has_stopped(tmp_path):
    path, log = tmp_path / "o.lab-1.audit.jsonl", Log()
    writer, records = AuditWriter(RotatingFile(path), "lab-1", log), numbered(5000)
    for record in records:
        writer.put(record)
    assert writer.stop() == 0
    assert read_records([path], ALL) == (records, 0)
    assert not log.lines


def test_what_has_no_form_in_json_ends_no_audit(tmp_path):
    path, log = tmp_path / "o.lab-1.audit.jsonl", Log()
    writer = AuditWriter(RotatingFile(path), "lab-1", log)
    writer.put(RECORD._replace(action=b"open"))
    writer.put(RECORD)
    assert writer.stop() == 0
    (odd, whole), broken = read_records([path], ALL)
    assert (broken, whole) == (0, RECORD)
    assert odd.message == "this record could not be written: TypeError"


def test_a_full_disk_is_told_of_once_and_what_is_left_out_is_counted(tmp_path):
    file, log = FullDisk(tmp_path / "o.lab-1.audit.jsonl", room=len(RECORD.line()) + 20), Log()
    writer = AuditWriter(file, "lab-1", log, most=10, patience=(0.02,))
    writer.put(RECORD)
    wait_for(file.path.exists)
    for record in numbered(30, first=1000):
        writer.put(record)
    file.refused.wait(10)
    for record in numbered(10, first=2000):
        writer.put(record)
    left_out = writer.left_out
    assert left_out >= 30
    file.room = 1 << 20
    wait_for(lambda: any("written again" in line for line in log.lines))
    assert writer.stop() == 0
    assert [line.partition(":")[0] for line in log.lines] == ["error", "info"]
    assert "No space left" in log.lines[0] or "full" in log.lines[0]
    found, broken = read_records([file.path], ALL)
    assert broken <= 1
    assert len([record for record in found if record.action == "start"]) == 41 - left_out
    (gap,) = [record for record in found if record.action == "left-out"]
    assert gap.message.startswith(f"{left_out} records are missing")


def test_a_disk_that_stays_full_holds_nothing_up(tmp_path):
    file = FullDisk(tmp_path / "o.lab-1.audit.jsonl", room=0)
    writer = AuditWriter(file, "lab-1", Log(), patience=(60.0,))
    writer.put(RECORD)
    file.refused.wait(10)
    assert writer.stop() == 1


def test_a_real_full_disk():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    class Full(RotatingFile):
        def _ready(self):
            if self._fd < 0:
                self._fd = os.open("/dev/full", os.O_WRONLY)
            return 0

    log = Log()
    writer = AuditWriter(Full("/dev/full"), "lab-1", log, patience=(0.01,))
    writer.put(RECORD)
    wait_for(lambda: log.lines)
    assert writer.stop() == 1
    assert "No space left on device" in log.lines[0]
