"""Whatever happens: what a recorder lacks is kept, or listed as lost; a fetch gives what it says, and nothing else.

Keep and disk together, with real files, against a model that remembers everything. The steps are those of an agent's
life: publishing, calls of recorders, writing, a disk that takes nothing, an end in order, a SIGKILL and a new run.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocs.errors import JournalError
from ocs.keep.disk import DiskKeep
from tests.harness.keeping import Clock, message, new_keep, publish

MEMORY = Path("/dev/shm")
"""A disk that costs no time."""
BUDGET = 30_000
LIMIT = 160_000
RECORDERS = ("one", "two")


class Life(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)) / "state"
        self.clock = Clock()
        self.runs = 0
        self.vanished = set()  # (run, number) that were in memory alone when the agent was killed
        self.begin = {}  # recorder → {run: the number from which on it is owed everything}
        self.not_there = {}  # recorder → {(run, number)} that were gone when it was met
        self.given = {}  # run → the next number
        self.broken = False

    def teardown(self):
        if hasattr(self, "disk"):
            self.disk.close()
        shutil.rmtree(self.folder.parent)

    @initialize()
    def start(self):
        self.runs += 1
        self.keep = new_keep(self.clock, f"{self.runs}.0", budget=BUDGET)
        self.disk = DiskKeep(self.folder, self.keep, limit=LIMIT)
        stored = self.disk.load()
        for name, (every, _) in (stored.recorders or {}).items():
            self.keep.recorders.meet(name, every, self.clock())
        assert set(self.keep.recorders.known) == set(self.begin)
        self.keep.disk_takes = not self.broken
        self.given[self.keep.run] = 1
        for runs in self.begin.values():
            runs[self.keep.run] = 1

    def owed(self, recorder):
        """(run, number) of all that a recorder is owed still."""
        for run, following in self.given.items():
            first = self.begin[recorder].get(run, following)
            gone = self.vanished | self.not_there[recorder]
            yield from ((run, number) for number in range(first, following) if (run, number) not in gone)

    # What happens

    @rule(count=st.integers(1, 12), size=st.sampled_from([10, 5000, 15_000]))
    def publish(self, count, size):
        publish(self.keep, count, size=size)
        self.given[self.keep.run] += count

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds):
        self.clock.step(seconds)
        self.keep.mark()

    @rule(linked=st.booleans())
    def link(self, linked):
        self.keep.linked = linked

    @rule(broken=st.booleans())
    def disk_breaks(self, broken):
        """From now on the folder is one in which nothing can be made, or it is not any more."""
        self.broken = broken
        self.keep.disk_takes = not broken
        if not broken and self.keep.recorders:
            self.save_recorders()

    @rule(recorder=st.sampled_from(RECORDERS), data=st.data())
    def check(self, recorder, data):
        if recorder not in self.begin:
            self.begin[recorder] = {run: first for run, (first, _) in self.ranges().items()}
            self.not_there[recorder] = {
                (run, number)  # given up while there was no recorder
                for run in self.ranges()
                for number in set(range(1, self.given[run])) - set(self.fetch_all(run))
            }
        have = {}
        for run, (_, following) in self.ranges().items():
            before = self.begin[recorder].get(run, 1)
            have[run] = data.draw(st.integers(before, max(before, following)))
        self.begin[recorder] = {**self.begin[recorder], **have}
        self.keep.acknowledge(recorder, 1.0, have)
        if not self.broken:
            self.save_recorders()

    def save_recorders(self):
        known = self.keep.recorders.known
        self.disk.save_recorders(dict.fromkeys(known, (1.0, 0.0)))

    @precondition(lambda self: not self.broken)
    @rule(recorder=st.sampled_from(RECORDERS))
    def leave(self, recorder):
        self.keep.recorders.leave(recorder)
        self.keep.let_go()
        self.begin.pop(recorder, None)
        self.save_recorders()

    @rule()
    def turn(self):
        """What the worker does."""
        self.use_disk(self.keep.due_below())

    def use_disk(self, below):
        self.disk.floors = {run: self.keep.recorders.floor(run) for run in [*self.disk.view, self.keep.run]}
        if self.broken:
            return
        with contextlib.suppress(OSError, JournalError):
            self.disk.save(below)
            self.disk.tidy()

    @precondition(lambda self: not self.broken and self.runs < 6)
    @rule()
    def end_and_start(self):
        if self.keep.recorders:
            self.use_disk(self.keep.next)
        self.disk.close()
        self.start()

    @precondition(lambda self: not self.broken and self.runs < 6)
    @rule()
    def kill_and_start(self):
        first = self.keep.saved
        self.vanished |= {(self.keep.run, number) for number in range(first, self.keep.next)}
        self.disk.floors = {}
        with contextlib.suppress(OSError, JournalError):
            self.disk.tidy()  # so that the list of what was lost is there, as it would be some seconds later
        self.disk.close()
        self.start()

    # What must be so

    def ranges(self):
        return {**{run: view.range for run, view in self.disk.view.items()}, self.keep.run: self.keep.range}

    def lost(self):
        known = {run: view.lost for run, view in self.disk.view.items()}
        known[self.keep.run] = self.keep.lost_state()[0]
        return {
            (run, number) for run, ranges in known.items() for first, end, *_ in ranges for number in range(first, end)
        }

    def fetch(self, run, start, limit):
        found = self.keep.fetch(start, 0.0, limit) if run == self.keep.run else None
        return found if found is not None else self.disk.fetch(run, start, 0.0, limit)

    def fetch_all(self, run, limit=20_000):
        start, found = 1, {}
        while True:
            messages, following = self.fetch(run, start, limit)
            for kept in messages:
                assert start <= kept.parcel.number < following
                assert kept.parcel.number not in found
                found[kept.parcel.number] = kept
            if following == start:
                return found
            assert following > start
            start = following

    @invariant()
    def nothing_is_missing_but_what_is_listed(self):
        if not hasattr(self, "keep"):
            return
        there = {(run, number) for run in self.ranges() for number in self.fetch_all(run)}
        lost = self.lost()
        for recorder in self.keep.recorders.known:
            missing = set(self.owed(recorder)) - there - lost
            assert not missing, (recorder, missing)

    @invariant()
    def what_is_there_is_what_was_published(self):
        if not hasattr(self, "keep"):
            return
        for run, (first, following) in self.ranges().items():
            for number, kept in self.fetch_all(run).items():
                assert first <= number < following
                assert kept.parcel == message(number, len(kept.parcel.payload))

    @invariant()
    def it_is_bounded(self):
        if hasattr(self, "keep"):
            assert self.keep.size <= 4 * BUDGET + 16_000
            assert sum(path.stat().st_size for path in self.folder.rglob("*.journal")) <= LIMIT + (64 << 10)


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestLife = Life.TestCase
