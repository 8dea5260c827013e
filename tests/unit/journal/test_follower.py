"""Reading behind a writer: a model of what must come, and each trouble by itself."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ocs.journal import Follower, Journal
from ocs.journal import follower as follower_module


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def fill(journal, begin, end, size=30):
    for index in range(begin, end):
        journal.append(index, 0, b"%d " % index + bytes(size))
    journal.write()


def indices(entries):
    return [entry.index for entry in entries]


def files(folder):
    return sorted(folder.glob("*.journal"))


class FollowerMachine(RuleBasedStateMachine):
    """A writer appends, drops, is killed in the middle of a write and starts again; a reader comes behind."""

    @initialize(segment_bytes=st.sampled_from([60, 200, 1000]), start=st.sampled_from([0, 0, 3, 50]))
    def begin(self, segment_bytes, start):
        self.folder = Path(tempfile.mkdtemp()) / "journal"
        self.segment_bytes = segment_bytes
        self.written = {}
        self.next = self.start = start
        self.follower = Follower(self.folder, start)
        self.read_by_now = []
        self.dropped = 0
        self.journal = None

    def writer(self):
        if self.journal is None:
            self.journal = Journal(self.folder, segment_bytes=self.segment_bytes)
        return self.journal

    @rule(count=st.integers(1, 12), size=st.sampled_from([0, 10, 90]), data=st.data())
    def append(self, count, size, data):
        for index in range(self.next, self.next + count):
            self.written[index] = b"%d " % index + bytes(size)
            self.writer().append(index, 7, self.written[index])
            if data.draw(st.booleans()):
                self.writer().write()
        self.next += count
        self.writer().write()

    @rule()
    def sync(self):
        self.writer().sync()

    @rule()
    def roll(self):
        self.writer().roll()

    @rule(data=st.data())
    def drop(self, data):
        index = data.draw(st.integers(0, self.next))
        self.writer().drop_before(index)
        self.dropped = max(self.dropped, index)

    @rule(torn=st.binary(max_size=70))
    def kill_writer_in_the_middle_of_a_write(self, torn):
        self.kill_writer()
        for last in files(self.folder)[-1:]:
            with last.open("ab") as file:
                file.write(torn)

    @rule(limit=st.integers(1, 8))
    def read(self, limit):
        entries = self.follower.read(limit)
        assert len(entries) <= limit
        self.read_by_now += entries

    @rule()
    def restart_reader(self):
        missed = self.follower.missed
        self.follower.close()
        self.follower = Follower(self.folder, self.follower.next_index)
        self.follower.missed = missed

    @invariant()
    def what_is_read_was_written_in_this_order(self):
        found = indices(self.read_by_now)
        assert found == sorted(set(found))
        assert all(entry.kind == 7 and entry.body == self.written[entry.index] for entry in self.read_by_now)

    @rule()
    def read_to_the_end(self):
        """All that was written comes, but for what had been dropped before, which is counted."""
        while entries := self.follower.read(5):
            self.read_by_now += entries
        found = set(indices(self.read_by_now))
        assert all(index in found or index < self.dropped for index in self.written)
        assert len(found) + self.follower.missed >= len(self.written)
        if self.written:
            assert self.follower.next_index == self.next
        assert self.follower.damaged == []

    def kill_writer(self):
        if self.journal:
            self.journal._end()
        self.journal = None

    def teardown(self):
        self.read_to_the_end()
        self.follower.close()
        self.kill_writer()
        shutil.rmtree(self.folder.parent)


FollowerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestFollower = FollowerMachine.TestCase


def test_a_folder_that_is_not_there_yet_is_empty_until_it_is(folder):
    follower = Follower(folder)
    assert follower.read() == []
    with Journal(folder) as journal:
        fill(journal, 0, 3)
        assert indices(follower.read()) == [0, 1, 2]
    follower.close()


def test_reading_begins_at_the_start_that_was_asked_for(folder):
    with Journal(folder, segment_bytes=200) as journal:
        fill(journal, 0, 50)
    follower = Follower(folder, 37)
    assert indices(follower.read()) == list(range(37, 50))
    assert follower.missed == 0
    follower.close()


def test_what_was_dropped_before_it_was_read_is_counted_as_missed(folder):
    with Journal(folder, segment_bytes=200) as journal:
        fill(journal, 0, 50)
        follower = Follower(folder)
        assert indices(follower.read(2)) == [0, 1]
        journal.drop_before(40)
        found = indices(follower.read())
        assert found[-1] == 49
        assert follower.missed == 48 - len(found)
    follower.close()


def test_a_dropped_segment_is_read_to_its_end_if_it_was_begun(folder):
    with Journal(folder, segment_bytes=1000) as journal:
        fill(journal, 0, 10)
        follower = Follower(folder)
        follower.read(1)
        journal.roll()
        fill(journal, 10, 12)
        journal.drop_before(10)
        assert indices(follower.read()) == list(range(1, 12))
        assert follower.missed == 0
    follower.close()


def test_damage_costs_the_rest_of_its_segment_and_is_told_once(folder):
    with Journal(folder, segment_bytes=300) as journal:
        fill(journal, 0, 30)
    broken = bytearray(files(folder)[1].read_bytes())
    broken[70] ^= 1
    files(folder)[1].write_bytes(broken)
    begin = int(files(folder)[1].name[:20])
    following = int(files(folder)[2].name[:20])
    follower = Follower(folder)
    found = indices(follower.read()) + indices(follower.read())
    lost = set(range(30)) - set(found)
    assert begin + 1 in lost
    assert lost < set(range(begin, following))
    assert follower.missed == len(lost)
    (problem,) = follower.damaged
    assert files(folder)[1].name in problem
    follower.close()


def test_entries_that_take_the_place_of_some_that_were_cut_off_are_found(folder):
    """A writer that cannot sync cuts off what a reader may have read; its successor writes other entries there."""
    with Journal(folder) as journal:
        fill(journal, 0, 10)
        size = journal.size
        fill(journal, 10, 15)
    follower = Follower(folder)
    assert len(follower.read()) == 15
    os.truncate(files(folder)[0], size)
    with Journal(folder) as journal:
        fill(journal, 15, 40, size=44)
    assert indices(follower.read()) == list(range(15, 40))
    assert follower.damaged == []
    follower.close()


def test_a_journal_that_was_deleted_and_begun_anew_is_followed(folder):
    with Journal(folder) as journal:
        fill(journal, 0, 5)
        follower = Follower(folder)
        assert len(follower.read()) == 5
        journal.remove()
    with Journal(folder) as journal:
        fill(journal, 5, 8)
        assert indices(follower.read()) == [5, 6, 7]
    follower.close()


def test_what_a_writer_does_while_a_reader_looks_for_the_next_file_is_not_skipped(folder):
    """The last entries of a file, and the next file, come between the reader's look at the one and at the other."""
    with Journal(folder) as journal:
        fill(journal, 0, 5)

        class Overtaken(Follower):
            def _following(self):
                if journal.last_index == 4:
                    fill(journal, 5, 8)
                    journal.roll()
                    fill(journal, 8, 10)
                return super()._following()

        follower = Overtaken(folder)
        assert indices(follower.read(5)) == [0, 1, 2, 3, 4]
        assert indices(follower.read()) == [5, 6, 7, 8, 9]
        assert follower.missed == 0
    follower.close()


def test_reading_goes_on_after_close(folder):
    with Journal(folder, segment_bytes=100) as journal:
        fill(journal, 0, 10)
        follower = Follower(folder)
        follower.read(4)
        follower.close()
        assert indices(follower.read()) == [4, 5, 6, 7, 8, 9]
    follower.close()


def test_a_file_that_cannot_be_opened_is_told_and_tried_again(folder, monkeypatch):
    with Journal(folder, segment_bytes=100) as journal:
        fill(journal, 0, 10)
    monkeypatch.setattr(follower_module, "os", FewFiles())
    follower = Follower(folder)
    assert follower.read() == []
    assert follower.read() == []
    (problem,) = follower.damaged
    assert "Too many open files" in problem
    assert files(folder)[0].name in problem
    monkeypatch.undo()
    assert indices(follower.read()) == list(range(10))
    assert follower.missed == 0
    follower.close()


class FewFiles:
    """The module `os` of a process that has no descriptors left."""

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, *_args):
        raise OSError(errno.EMFILE, "Too many open files")
