"""The system itself failing: full and read-only disks, limits, kills, two processes."""

import errno
import random
import resource
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from ocs.errors import JournalError, JournalInUseError
from ocs.journal import Journal, read_journal

BODY = b"x" * 500

WRITER = """
import os, sys
from pathlib import Path
from ocs.journal import Journal

journal = Journal(Path(sys.argv[1]), segment_bytes=20_000, head=lambda: [(9, b"head")])
index = (journal.last_index or 0) + 1
os.write(1, b"open\\n")
while True:
    for _ in range(index % 40):
        journal.append(index, 1, b"%d " % index * (index % 100))
        index += 1
    journal.append(index, 1, b"")
    journal.sync()
    os.write(1, b"%d\\n" % index)
    index += 1
    journal.drop_before(index - 2_000)
"""


@contextmanager
def writing(folder):
    """Yield a process that writes a journal until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"open\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def mounted(folder, options):
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted(folder, "size=256k"):
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextmanager
def limited(what, soft):
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def fill(file):
    """Write a file until the disk is full."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(4096)):
            pass


def append(journal, count):
    first = (journal.last_index or 0) + 1
    for index in range(first, first + count):
        journal.append(index, 1, b"%d " % index, BODY)


def indices(entries):
    found = list(entries)
    assert all(entry.body == b"%d " % entry.index + BODY for entry in found)
    return [entry.index for entry in found]


def appended(count):
    return list(range(1, count + 1))


# A full disk.


@pytest.mark.parametrize("segment_bytes", [20_000, 1 << 20])
def test_a_full_disk_that_is_freed_has_cost_nothing(small_disk, segment_bytes):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    with Journal(small_disk / "journal", segment_bytes=segment_bytes) as journal:
        for _ in range(30):
            append(journal, 11)
            try:
                journal.sync()
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017  the disk is full at some time, not at the first
        assert journal.buffered > 10_000
        whole = indices(journal.read())
        assert whole == appended(len(whole))
        assert indices(read_journal(small_disk / "journal")) == whole
        assert journal.damaged == []
        ballast.unlink()
        journal.sync()
        assert journal.buffered == 0
        assert indices(journal.read()) == appended(330)
    with Journal(small_disk / "journal") as journal:
        assert journal.repaired == 0
        assert indices(journal.read()) == appended(330)


def test_a_full_disk_is_freed_by_dropping(small_disk):
    with Journal(small_disk / "journal", segment_bytes=20_000) as journal:
        append(journal, 1000)
        with pytest.raises(OSError, match="No space left"):
            journal.sync()
        got = indices(journal.read())
        while got[-1] < 1000:
            assert journal.drop_before(got[-1]) > 0
            try:
                journal.write()
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017  it takes several rounds
            more = indices(journal.read(got[-1] + 1))
            assert more[0] == got[-1] + 1
            got += more
        assert got == appended(1000)


def test_the_file_ends_with_a_whole_entry_while_the_disk_is_full(small_disk):
    (small_disk / "ballast").write_bytes(bytes(200_000))
    with Journal(small_disk / "journal") as journal:
        append(journal, 20)
        journal.write()
        append(journal, 200)
        with pytest.raises(OSError, match="No space left"):
            journal.write()
        (file,) = (small_disk / "journal").glob("*.journal")
        assert file.stat().st_size == journal.size
        (small_disk / "ballast").unlink()


def test_a_journal_is_opened_on_a_full_disk(small_disk):
    with Journal(small_disk / "journal", segment_bytes=20_000) as journal:
        append(journal, 100)
    fill(small_disk / "ballast")
    with Journal(small_disk / "journal", segment_bytes=20_000) as journal:
        assert indices(journal.read()) == appended(100)
        append(journal, 50)
        with pytest.raises(OSError, match="No space left"):
            journal.sync()
        (small_disk / "ballast").unlink()
        journal.sync()
        assert indices(journal.read()) == appended(150)


def test_a_read_only_disk_is_told_in_one_line_and_can_be_read(small_disk):
    with Journal(small_disk / "journal") as journal:
        append(journal, 5)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(JournalError, match="journal cannot be used for a journal: Read-only file system"):
        Journal(small_disk / "journal")
    assert indices(read_journal(small_disk / "journal")) == appended(5)


# Limits of the process.


def test_files_that_may_not_grow_cost_nothing(tmp_path):
    with Journal(tmp_path, segment_bytes=1 << 20) as journal:
        append(journal, 100)
        journal.sync()
        append(journal, 300)
        with limited(resource.RLIMIT_FSIZE, 100_000), pytest.raises(OSError, match="File too large"):
            journal.sync()
        journal.sync()
        assert indices(journal.read()) == appended(400)


def test_too_many_open_files_cost_nothing(tmp_path):
    with Journal(tmp_path, segment_bytes=20_000) as journal:
        append(journal, 10)
        journal.sync()
        append(journal, 300)
        with limited(resource.RLIMIT_NOFILE, 3), pytest.raises(OSError, match="Too many open files"):
            journal.sync()
        journal.sync()
        assert indices(journal.read()) == appended(310)


# Kills, and other processes.


def test_whatever_was_synced_is_there_after_a_kill(tmp_path):
    rng = random.Random(5)
    for _ in range(8):
        with writing(tmp_path) as process:
            time.sleep(rng.uniform(0, 0.25))  # the moment of the kill is the point
            process.kill()
            synced = [int(line) for line in process.stdout.read().split()]
        with Journal(tmp_path) as journal:
            assert journal.damaged == []
            found = [entry for entry in journal.read() if entry.kind != 9]
            first, last = found[0].index, found[-1].index
            assert [entry.index for entry in found] == list(range(first, last + 1))
            assert all(entry.body in {b"", b"%d " % entry.index * (entry.index % 100)} for entry in found)
            assert last >= max(synced, default=0)
            assert first <= max(1, last - 1_999)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    with writing(tmp_path) as process:
        with pytest.raises(JournalInUseError, match=f"is in use by process {process.pid}: stop it, or give"):
            Journal(tmp_path)
        process.kill()
        process.wait()
        Journal(tmp_path).close()


def test_a_tool_reads_while_another_process_writes(tmp_path):
    with writing(tmp_path) as process:
        for _ in range(5):
            synced = int(process.stdout.readline())
            found = [entry.index for entry in read_journal(tmp_path) if entry.kind != 9]
            assert found[-1] >= synced
            assert found == list(range(found[0], found[-1] + 1))
