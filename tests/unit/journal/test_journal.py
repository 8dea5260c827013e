"""The journal as its users see it."""

import os
import shutil
import threading
import time
import tracemalloc
from itertools import pairwise

import pytest

from ocs.errors import JournalError, JournalInUseError, JournalValueError, OCSError
from ocs.journal import Entry, Journal, read_journal

HEADER_BYTES = 8


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run" / "journal"


def filled(folder, *indices, segment_bytes=200, **options):
    journal = Journal(folder, segment_bytes=segment_bytes, **options)
    for index in indices:
        journal.append(index, 1, b"%040d" % index)
        journal.sync()
    return journal


def indices(entries):
    return [entry.index for entry in entries]


# Appending and reading.


def test_what_was_written_is_read_and_what_is_buffered_is_not(folder):
    with Journal(folder) as journal:
        journal.append(1, 7, b"on", b"e")
        journal.write()
        journal.append(2, 8, b"two")
        assert list(journal.read()) == [Entry(1, 7, b"one")]
        assert list(read_journal(folder)) == [Entry(1, 7, b"one")]


def test_closing_syncs(folder):
    with Journal(folder) as journal:
        journal.append(3, 1, b"x")
    assert indices(read_journal(folder)) == [3]


def test_entries_may_share_an_index(folder):
    with Journal(folder, segment_bytes=60) as journal:
        for kind in range(6):
            journal.append(5, kind, bytes(20))
        journal.write()
        assert [entry.kind for entry in journal.read(5)] == [0, 1, 2, 3, 4, 5]


def test_an_index_does_not_go_down(folder):
    with filled(folder, 5) as journal:
        with pytest.raises(JournalValueError, match="index 4 comes after 5"):
            journal.append(4, 1, b"")
        journal.append(6, 1, b"")
        journal.write()
        assert indices(journal.read()) == [5, 6]


def test_an_index_does_not_go_down_after_reopening(folder):
    filled(folder, 5, 9).close()
    with Journal(folder) as journal, pytest.raises(JournalValueError):
        journal.append(8, 1, b"")


def test_a_refused_entry_leaves_nothing(folder):
    with filled(folder, 1) as journal:
        with pytest.raises(JournalValueError):
            journal.append(2, 300, b"x")
        assert journal.buffered == 0
        assert journal.last_index == 1


def test_reading_begins_at_an_index(folder):
    with filled(folder, *range(10, 30, 2)) as journal:
        assert journal.segments > 2
        for start in range(32):
            assert indices(journal.read(start)) == [index for index in range(10, 30, 2) if index >= start]


def test_reading_on_costs_no_scan_of_the_segment(folder, monkeypatch):
    with Journal(folder, segment_bytes=1 << 24) as journal:
        for index in range(1000):
            journal.append(index, 1, bytes(10_000))
        journal.write()
        taken = []
        real = os.pread
        monkeypatch.setattr(os, "pread", lambda fd, size, at: taken.append(size) or real(fd, size, at))
        assert indices(journal.read(998)) == [998, 999]
        assert sum(taken) < 1_000_000


def test_marks_of_a_reopened_journal_come_with_reading(folder, monkeypatch):
    with Journal(folder, segment_bytes=1 << 22) as journal:
        for index in range(1000):
            journal.append(index, 1, bytes(10_000))
    with Journal(folder) as journal:
        assert len(list(journal.read())) == 1000
        taken = []
        real = os.pread
        monkeypatch.setattr(os, "pread", lambda fd, size, at: taken.append(size) or real(fd, size, at))
        entries = journal.read(300)
        assert next(entries).index == 300
        entries.close()
        assert sum(taken) < 1_000_000


def test_a_large_entry_goes_into_a_segment_of_its_own(folder):
    with Journal(folder, segment_bytes=1000) as journal:
        for index, size in enumerate([10, 5000, 10, 700_000, 10]):
            journal.append(index, 1, bytes(size))
        journal.sync()
        assert [len(entry.body) for entry in journal.read()] == [10, 5000, 10, 700_000, 10]
        assert journal.segments == 5


def test_more_pieces_than_the_system_takes_at_a_time_are_written(folder):
    with Journal(folder) as journal:
        for index in range(3000):
            journal.append(index, 1, b"x")
        journal.append(3000, 1, *[b"yz"] * 3000, bytes(1_000_000))
        journal.write()
        *small, large = journal.read()
        assert indices(small) == list(range(3000))
        assert large.body == b"yz" * 3000 + bytes(1_000_000)


def test_a_system_that_takes_few_bytes_at_a_time_gets_all(folder, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: real(fd, [memoryview(parts[0])[:7]], at))
    with filled(folder, *range(20)) as journal:
        assert indices(journal.read()) == list(range(20))


def test_a_large_body_is_written_from_where_it_is(folder):
    body = bytes(10_000_000)
    with Journal(folder) as journal:
        tracemalloc.start()
        try:
            journal.append(1, 1, b"small", body)
            journal.write()
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_a_closed_journal_takes_nothing_and_can_be_read(folder):
    journal = filled(folder, 1)
    journal.close()
    journal.close()
    assert indices(journal.read()) == [1]
    for forbidden in (lambda: journal.append(2, 1, b""), journal.write, journal.sync, journal.roll, journal.remove):
        with pytest.raises(JournalError, match="closed"):
            forbidden()


# Segments.


def test_a_segment_is_no_larger_than_asked_for(folder):
    with Journal(folder, segment_bytes=500) as journal:
        for index in range(100):
            journal.append(index, 1, bytes(30))
        journal.sync()
        sizes = [file.stat().st_size for file in folder.glob("*.journal")]
        assert max(sizes) <= 500
        assert sum(sizes) == journal.size
        assert len(sizes) == journal.segments
        assert min(sorted(sizes)[1:]) > 400


def test_files_are_named_by_their_first_index(folder):
    with filled(folder, 7, 8, 9, 10, segment_bytes=140):
        assert sorted(file.name for file in folder.glob("*.journal")) == [f"{n:020d}.journal" for n in (7, 9)]


def test_each_segment_begins_with_the_head_as_it_was_before_its_first_entry(folder):
    state = []
    with Journal(folder, segment_bytes=300, head=lambda: [(9, repr(state).encode()), (8, b"")]) as journal:
        for index in range(20):
            journal.append(index, 1, b"%03d" % index)
            state.append(index)
        journal.sync()
        for start in range(0, 20, 5):
            journal.drop_before(start)
            first, second, third, *_ = journal.read()
            assert (first.kind, second.kind) == (9, 8)
            assert first.index == second.index == max(0, third.index - 1)
            assert third.index == int(third.body)
            assert first.body == repr(list(range(third.index))).encode()


def test_rolling_makes_all_that_is_there_droppable(folder):
    with filled(folder, 1, 2, 3, head=lambda: [(9, b"h")]) as journal:
        journal.roll()
        journal.drop_before(4)
        assert list(journal.read()) == [Entry(3, 9, b"h")]
        assert (journal.segments, journal.first_index, journal.last_index) == (1, None, 3)


def test_the_index_of_an_entry_that_did_not_get_into_its_segment_is_free(folder):
    journal = filled(folder, 1, 2, 3, segment_bytes=180, head=lambda: [(9, b"h")])
    journal._store._begin(journal._checkpoint(4, 3))
    journal._end()  # as a kill does at this moment
    with Journal(folder) as journal:
        assert [entry.kind for entry in journal.read()] == [9, 1, 1, 9, 1, 9]
        assert journal.last_index == 3


def test_rolling_twice_is_rolling_once(folder):
    with filled(folder, 1) as journal:
        journal.roll()
        journal.roll()
        assert journal.segments == 2


def test_rolling_an_empty_journal_does_nothing(folder):
    with Journal(folder) as journal:
        journal.roll()
        assert journal.segments == 0


def test_the_last_index_outlives_its_entry(folder):
    with filled(folder, 41) as journal:
        journal.roll()
        journal.drop_before(42)
    with Journal(folder) as journal:
        assert journal.last_index == 41
        assert journal.first_index is None
        journal.append(42, 1, b"")
        assert journal.first_index == 42


def test_only_segments_whose_entries_are_all_older_are_dropped(folder):
    with filled(folder, *range(12)) as journal:
        for keep in range(12):
            journal.drop_before(keep)
            kept = indices(journal.read())
            assert kept == list(range(kept[0], 12))
            assert kept[0] <= keep < kept[0] + 3
            assert journal.first_index == kept[0]


def test_the_segment_that_is_written_to_is_never_dropped(folder):
    with filled(folder, 1, 2) as journal:
        assert journal.drop_before(100) == 0
        assert indices(journal.read()) == [1, 2]


def test_dropping_says_what_it_freed(folder):
    with filled(folder, *range(12)) as journal:
        before = journal.size
        assert journal.drop_before(6) == before - journal.size > 0


def test_nothing_is_dropped_before_the_next_segment_is_on_the_disk(folder, monkeypatch):
    """Also not in a journal whose last process died before its sync."""
    journal = filled(folder, *range(12))
    journal.close()
    journal = Journal(folder)
    done = []
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}
    for name, call in real.items():
        monkeypatch.setattr(os, name, lambda fd, name=name, call=call: done.append(name) or call(fd))
    monkeypatch.setattr("pathlib.Path.unlink", lambda self, missing_ok=False: done.append("unlink"))
    journal.drop_before(11)
    monkeypatch.undo()
    assert done.index("fdatasync") < done.index("fsync") < done.index("unlink")
    journal.close()


def test_a_segment_is_on_the_disk_before_the_next_one_is_there(folder, monkeypatch):
    with filled(folder, 1) as journal:
        journal.append(2, 1, b"")
        journal.write()
        done = []
        for name in ("fdatasync", "rename"):
            real = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *args, name=name, real=real: done.append(name) or real(*args))
        journal.roll()
        assert done[:2] == ["fdatasync", "rename"]


# The folder.


def test_a_folder_has_one_journal_at_a_time(folder):
    with filled(folder, 1), pytest.raises(JournalInUseError, match=f"{folder} is in use by process {os.getpid()}: "):
        Journal(folder)
    Journal(folder).close()


def test_errors_are_for_the_operator(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OCSError, match="file/journal cannot be used for a journal: Not a directory"):
        Journal(tmp_path / "file" / "journal")


def test_a_journal_that_does_not_exist_cannot_be_read(tmp_path):
    with pytest.raises(JournalError, match="nowhere cannot be read as a journal: No such file"):
        list(read_journal(tmp_path / "nowhere"))


def test_other_files_are_left_alone(folder):
    folder.mkdir(parents=True)
    names = ["notes.txt", "1.journal", f"{1:020d}.journal.bak", f"{1:021d}.journal"]
    for name in names:
        (folder / name).write_text("mine")
    (folder / f"{5:020d}.journal").mkdir()
    with filled(folder, *range(12)) as journal:
        journal.drop_before(12)
        assert journal.damaged == []
        journal.remove()
    assert sorted(file.name for file in folder.iterdir()) == sorted([*names, f"{5:020d}.journal"])


def test_removing_leaves_nothing(folder):
    journal = filled(folder, *range(12))
    journal.append(12, 1, b"buffered")
    journal.remove()
    assert not folder.exists()


def test_a_removed_journal_can_be_made_anew(folder):
    filled(folder, 1, 2).remove()
    with filled(folder, 1) as journal:
        assert indices(journal.read()) == [1]


def test_an_empty_journal_knows_that_it_is_empty(folder):
    with Journal(folder) as journal:
        assert (journal.first_index, journal.last_index, journal.size, journal.segments) == (None, None, 0, 0)
        assert list(journal.read()) == []
        assert journal.drop_before(9) == 0


def test_what_is_buffered_counts_as_there(folder):
    with Journal(folder) as journal:
        journal.append(3, 1, bytes(100))
        journal.append(4, 1, bytes(100))
        assert (journal.first_index, journal.last_index, journal.size) == (3, 4, 0)
        assert journal.buffered == 2 * 117
        journal.write()
        assert (journal.buffered, journal.size) == (0, HEADER_BYTES + 2 * 117)


def test_a_deleted_folder_is_made_again_with_what_was_not_synced(folder):
    with filled(folder, 1) as journal:
        journal.append(2, 1, b"")
        journal.write()
        shutil.rmtree(folder)
        journal.append(3, 1, b"")
        with pytest.raises(OSError, match="somebody has deleted the file"):
            journal.sync()
        journal.sync()
        assert indices(read_journal(folder)) == [2, 3]
        assert journal.damaged


def test_a_file_that_somebody_cut_is_left_and_another_begun(folder, monkeypatch):
    with filled(folder, 1, 2, 3, segment_bytes=10_000, head=lambda: [(9, b"h")]) as journal:
        (file,) = folder.glob("*.journal")
        journal.append(4, 1, b"")
        journal.write()
        os.truncate(file, 100)
        monkeypatch.setattr(os, "fdatasync", fails)
        with pytest.raises(OSError, match="Input/output error"):
            journal.sync()
        monkeypatch.undo()
        journal.sync()
        assert [(entry.index, entry.kind) for entry in journal.read()] == [(0, 9), (1, 1), (3, 9), (4, 1)]
        assert len(journal.damaged) == 1


def fails(*args):
    raise OSError(5, "Input/output error")


def test_a_file_that_cannot_be_cut_at_opening_is_cut_later(folder, monkeypatch):
    filled(folder, 1).close()
    with next(folder.glob("*.journal")).open("ab") as file:
        file.write(b"torn")
    monkeypatch.setattr(os, "ftruncate", fails)
    with Journal(folder) as journal:
        monkeypatch.undo()
        assert indices(journal.read()) == [1]
        journal.append(2, 1, b"")
        journal.sync()
        assert indices(read_journal(folder)) == [1, 2]


def test_a_reader_goes_on_when_what_it_reads_is_dropped(folder):
    with filled(folder, *range(12)) as journal:
        entries = journal.read()
        assert next(entries).index == 0
        journal.drop_before(9)
        rest = indices(entries)
        assert rest == sorted(set(rest))
        assert rest[-3:] == [9, 10, 11]


def test_a_folder_that_is_removed_at_the_moment_of_opening_is_made(folder, monkeypatch):
    """Whoever had it has deleted the lock's file between our opening and our locking it."""
    from ocs.journal import lock

    real, calls = lock.flock, []

    def flock(fd, how):
        calls.append(fd)
        if len(calls) == 1:
            (folder / "lock").unlink()
        real(fd, how)

    monkeypatch.setattr(lock, "flock", flock)
    with Journal(folder), pytest.raises(JournalInUseError):
        Journal(folder)
    assert len(calls) == 3


def test_a_file_system_without_locks_is_told_in_one_line(folder, monkeypatch):
    from ocs.journal import lock

    monkeypatch.setattr(lock, "flock", fails)
    with pytest.raises(JournalError, match="journal cannot be used for a journal: Input/output error"):
        Journal(folder)


def test_a_folder_that_cannot_be_read_is_free_afterwards(folder, monkeypatch):
    filled(folder, 1).close()
    with monkeypatch.context() as patch:
        patch.setattr("ocs.journal.store.find_segments", fails)
        with pytest.raises(JournalError, match="cannot be used as a journal: Input/output error"):
            Journal(folder)
    Journal(folder).close()


def test_files_begin_where_the_others_end(folder):
    with filled(folder, *range(12)) as journal:
        for begin, following in pairwise(journal.begins):
            assert [index for index in indices(journal.read(begin)) if index < following] == list(
                range(begin, following)
            )


# Threads.


def test_a_reader_in_another_thread_sees_every_entry_once_and_in_order(folder):
    count = 30_000
    seen = []
    failed = []

    def follow(journal):
        try:
            while len(seen) < count:
                for entry in journal.read(len(seen)):
                    assert entry.body == b"%d" % entry.index
                    seen.append(entry.index)
                time.sleep(0)
        except BaseException as error:
            failed.append(error)

    with Journal(folder, segment_bytes=50_000) as journal:
        reader = threading.Thread(target=follow, args=[journal])
        reader.start()
        for index in range(count):
            journal.append(index, 1, b"%d" % index)
            if index % 97 == 0:
                journal.write()
                journal.drop_before(len(seen))
        journal.write()
        reader.join(60)
        assert not failed
        assert seen == list(range(count))


def test_one_thread_appends_while_another_writes(folder):
    count = 30_000
    done = threading.Event()

    def write(journal):
        while not done.is_set():
            journal.sync()

    with Journal(folder, segment_bytes=100_000) as journal:
        writer = threading.Thread(target=write, args=[journal])
        writer.start()
        for index in range(count):
            journal.append(index, 1, b"x" * (index % 50))
        done.set()
        writer.join(60)
        journal.sync()
        assert indices(journal.read()) == list(range(count))
        assert journal.buffered == 0


def test_appending_does_not_wait_for_the_disk(folder, monkeypatch):
    stuck, go_on = threading.Event(), threading.Event()
    with filled(folder, 1) as journal:
        journal.append(2, 1, b"")
        monkeypatch.setattr(os, "fdatasync", lambda fd: (stuck.set(), go_on.wait(30)))
        syncing = threading.Thread(target=journal.sync)
        syncing.start()
        assert stuck.wait(30)
        journal.append(3, 1, b"")
        assert (journal.last_index, journal.buffered > 0, journal.segments) == (3, True, 1)
        assert indices(journal.read()) == [1, 2]
        go_on.set()
        syncing.join(30)
        monkeypatch.undo()
