"""A journal on a disk that fails at random, against a list: nothing is lost, invented, doubled or out of order."""

import errno
import os
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocs.journal import Journal, read_journal, segment, store, tail

HEAD = 255


class Disk:
    """The system's calls, of which some fail; at a failing sync it loses what has not been synced."""

    def __init__(self):
        self.failing = {}
        self.synced_size = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def fails(self, name):
        if self.failing.get(name, 0):
            self.failing[name] -= 1
            return True
        return False

    def pwritev(self, fd, parts, at):
        if self.fails("pwritev"):
            os.pwrite(fd, b"".join(parts)[: self.failing.get("bytes", 0)], at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwritev(fd, parts, at)

    def ftruncate(self, fd, size):
        if self.fails("ftruncate"):
            raise OSError(errno.EIO, "Input/output error")
        os.ftruncate(fd, size)

    def fsync(self, fd):
        if self.fails("fsync"):
            raise OSError(errno.EIO, "Input/output error")
        self.synced_size[os.fstat(fd).st_ino] = os.fstat(fd).st_size

    def fdatasync(self, fd):
        found = os.fstat(fd)
        before = self.synced_size.get(found.st_ino, found.st_size)
        if self.fails("fdatasync"):
            os.pwrite(fd, bytes(found.st_size - before), before)
            raise OSError(errno.EIO, "Input/output error")
        self.synced_size[found.st_ino] = found.st_size


class JournalMachine(RuleBasedStateMachine):
    """Appends are counted in a list; `synced` of them must be there whatever happens."""

    @initialize(segment_bytes=st.sampled_from([60, 150, 1000]), sharing=st.booleans())
    def begin(self, segment_bytes, sharing):
        self.sharing = sharing
        self.disk = Disk()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(tail, "os", self.disk)
        self.patch.setattr(store, "os", self.disk)
        self.patch.setattr(tail, "_JOIN_BYTES", 100)
        self.patch.setattr(segment, "_MARK_EVERY", 1)
        self.segment_bytes = segment_bytes
        self.folder = Path(tempfile.mkdtemp()) / "journal"
        self.appended = []
        self.synced = self.written = self.dropped = 0
        self.open()

    def open(self):
        head = lambda: [(HEAD, b"%d" % len(self.appended)), (HEAD, b"%d" % len(self.appended))]  # noqa: E731
        self.journal = Journal(self.folder, segment_bytes=self.segment_bytes, head=head)

    @rule(step=st.integers(0, 3), kind=st.integers(0, HEAD - 1), size=st.sampled_from([0, 1, 20, 90, 300]))
    def append(self, step, kind, size):
        index = (self.journal.last_index or 0) + (step if self.sharing else max(1, step))
        body = b"%d " % len(self.appended) + bytes(size)
        self.journal.append(index, kind, body[:3], body[3:])
        self.appended.append((index, kind, body))

    @rule(
        call=st.sampled_from(["pwritev", "ftruncate", "fsync", "fdatasync"]),
        times=st.integers(1, 3),
        taken=st.integers(0, 200),
    )
    def break_disk(self, call, times, taken):
        self.disk.failing |= {call: times, "bytes": taken}

    @rule()
    def mend_disk(self):
        self.disk.failing = {}

    @rule()
    def write(self):
        try:
            self.journal.write()
        except OSError:
            self.written = self.synced
        else:
            self.written = len(self.appended)

    @rule()
    def sync(self):
        try:
            self.journal.sync()
        except OSError:
            self.written = self.synced
        else:
            self.written = self.synced = len(self.appended)
            assert not self.journal.buffered

    @rule()
    def roll(self):
        try:
            self.journal.roll()
        except OSError:
            self.written = self.synced
        else:
            self.written = len(self.appended)

    @rule(data=st.data())
    def drop(self, data):
        """What is dropped counts as not needed, from the list's beginning."""
        last = self.appended[-1][0] if self.appended else 0
        index = data.draw(st.integers(0, last + 1))
        try:
            self.journal.drop_before(index)
        except OSError:
            self.written = self.synced
        self.dropped = max(self.dropped, sum(entry[0] < index for entry in self.appended))

    @rule()
    def close_and_open(self):
        self.disk.failing = {}
        self.journal.close()
        self.synced = self.written = len(self.appended)
        self.open()
        assert self.journal.repaired == 0

    @rule()
    def kill_and_open(self):
        """What was written is there; what was buffered is not."""
        self.reopen_after_crash(lambda synced, size: size)

    @rule(data=st.data())
    def cut_power_and_open(self, data):
        """What was synced is there, and any part of the rest, whole or as zeros."""
        zeros = data.draw(st.booleans())
        self.reopen_after_crash(lambda synced, size: data.draw(st.integers(synced, size)), zeros=zeros)

    def reopen_after_crash(self, cut, *, zeros=False):
        self.disk.failing = {}
        self.journal._end()
        for file in self.folder.glob("*.journal"):
            found = file.stat()
            left = cut(min(found.st_size, self.disk.synced_size.get(found.st_ino, found.st_size)), found.st_size)
            if left < found.st_size:
                os.truncate(file, left)
                if zeros:
                    os.truncate(file, found.st_size)
                self.written = self.synced
        self.open()
        self.what_is_read_is_what_was_appended()
        end = self.found()[1] or self.written
        if self.found()[1] and not self.sharing:
            assert self.journal.last_index == self.appended[end - 1][0]
        del self.appended[end:]
        self.dropped = min(self.dropped, end)
        self.journal.sync()
        self.synced = self.written = end

    def found(self, entries=None):
        """Return which part of the list is read."""
        read = list(self.journal.read() if entries is None else entries)
        own = [tuple(entry) for entry in read if entry.kind != HEAD]
        for entry, following in pairwise(read):
            if entry.kind == HEAD and following.kind != HEAD:
                assert self.appended[int(entry.body)] == tuple(following)
        if not own:
            return 0, 0
        first = int(own[0][2].split(b" ")[0])
        assert own == self.appended[first : first + len(own)]
        return first, first + len(own)

    @invariant()
    def what_is_read_is_what_was_appended(self):
        first, end = self.found()
        assert first == end or first <= self.dropped
        assert end >= self.written or self.written <= self.dropped

    @invariant()
    def segments_begin_with_their_head(self):
        if self.journal.segments:
            first, second, *_ = self.journal.read()
            assert first == second
            assert first.kind == HEAD

    @invariant()
    def nothing_is_counted_as_damage(self):
        assert self.journal.damaged == []

    @precondition(lambda self: not self.disk.failing)
    @rule()
    def a_tool_reads_the_same(self):
        self.write()
        assert list(read_journal(self.folder)) == list(self.journal.read())

    @rule(data=st.data())
    def reading_from_an_index_is_reading_without_what_is_below(self, data):
        entries = list(self.journal.read())
        start = data.draw(st.integers(0, entries[-1].index + 2 if entries else 2))
        assert list(self.journal.read(start)) == [entry for entry in entries if entry.index >= start]

    def teardown(self):
        self.disk.failing = {}
        try:
            self.journal.sync()
            assert self.found()[1] in {0, len(self.appended)}
            assert self.dropped == len(self.appended) or self.found()[1] == len(self.appended)
            self.journal.remove()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder.parent)


JournalMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestJournal = JournalMachine.TestCase
