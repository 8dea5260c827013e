"""State and registrar together against a plain model, with crashes between any two steps and others at the table."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.state import State
from ocs.agents.pysmurf_monitor.suprsync import SupRsyncFilesManager
from tests.harness.pysmurf import query
from tests.harness.registering import add_rows, execute, make_item

FILES = [f"/data/f{number % 3}/{number}" for number in range(12)]
file = st.sampled_from(FILES)
moments = st.sampled_from(["never", "never", "before", "between", "after"])


class Monitor(RuleBasedStateMachine):
    """A monitor whose journal is a list, and whose files are there or not.

    `rows` is what the table has; `noted` the cursor and `off` the files put off, as the last note left them.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.db_path = self.folder / "suprsync.db"
        self.journal = []
        self.absent = set()
        self.rows = {}
        self.noted, self.off = 0, set()
        self.now = 0.0
        self.serial = 0
        self.begin()

    def begin(self):
        self.state = State(self.folder / "state" / "state.sqlite")
        self.registrar = Registrar(self.db_path, self.state, now=lambda: self.now)
        self.registrar.check()
        assert self.state.cursor == self.noted
        self.read, self.out = self.noted, set()

    def end(self):
        self.registrar.close()
        self.state.close()

    @rule()
    def crash(self):
        self.end()
        self.begin()

    @rule(paths=st.lists(file, max_size=6))
    def announce(self, paths):
        self.journal += paths

    @rule(path=file)
    def disappear(self, path):
        self.absent.add(path)

    @rule(path=file)
    def appear(self, path):
        self.absent.discard(path)

    @rule(count=st.integers(0, 8), due=st.integers(0, 4), crash=moments)
    def work(self, count, due, crash):
        self.now += 1.0
        items = [make_item(path, index=self.read + n) for n, path in enumerate(self.journal[self.read :][:count])]
        self.read += len(items)
        again = self.state.due(self.now, due)
        assert {pending.path for pending in again} <= self.off - self.out
        assert len(again) == min(due, len(self.off - self.out))
        self.out |= {pending.path for pending in again}
        items += [make_item(pending.path, attempt=pending.attempts + 1) for pending in again]
        self.enter(items, crash)

    def enter(self, items, crash):
        if crash == "before":
            return self.crash()
        done = [item for item in items if item.announcement.path not in self.absent]
        late = [item for item in items if item.announcement.path in self.absent]
        fresh = {item.announcement.path for item in done} - self.rows.keys()
        entered = self.registrar.enter(done)
        assert (entered.entered, entered.known) == (len(fresh), len(done) - len(fresh))
        self.add(fresh)
        if crash == "between":
            return self.crash()
        self.registrar.note(cursor=self.read, done=done, put_off=[(item, self.now + 1.0) for item in late])
        self.noted = self.read
        touched = {item.announcement.path for item in items}
        self.out -= touched
        self.off = (self.off - touched) | {item.announcement.path for item in late}
        return self.crash() if crash == "after" else None

    def add(self, paths):
        self.rows.update(dict.fromkeys(paths))

    # Others

    def made(self):
        """Return the database's path; others make what they do not find."""
        if not self.db_path.exists():
            SupRsyncFilesManager(self.db_path).close()
        return self.db_path

    @rule(paths=st.lists(file, max_size=3, unique=True))
    def others_enter(self, paths):
        new = [path for path in paths if path not in self.rows]
        add_rows(self.made(), new)
        self.add(new)

    @rule(path=file)
    def others_delete(self, path):
        execute(self.made(), f"DELETE FROM supersync_v0 WHERE local_path = '{path}'")
        self.rows.pop(path, None)

    @precondition(lambda self: self.rows)
    @rule()
    def others_delete_the_newest(self):
        execute(self.made(), "DELETE FROM supersync_v0 WHERE id = (SELECT max(id) FROM supersync_v0)")
        self.rows = dict.fromkeys(self.table())

    @rule()
    def others_empty_the_table(self):
        execute(self.made(), "DELETE FROM supersync_v0")
        self.rows = {}

    @rule(new_number=st.booleans())
    def others_take_the_database_away(self, new_number):
        if not new_number:  # then the file that is made next has, as a rule, the number that this one had
            self.registrar.close()
        for path in self.folder.glob("suprsync.db*"):
            path.unlink()
        self.rows = {}

    @rule()
    def the_state_is_lost(self):
        self.end()
        shutil.rmtree(self.folder / "state")
        self.noted, self.off = 0, set()
        self.begin()

    # What is always so

    def table(self):
        return [row["local_path"] for row in query(self.db_path, "SELECT local_path FROM supersync_v0")]

    @invariant()
    def each_row_is_there_once(self):
        assert sorted(self.table()) == sorted(self.rows)

    @invariant()
    def what_is_remembered_is_what_was_noted(self):
        assert self.state.cursor == self.noted
        assert {pending.path for pending in self.state.pending_list()} == self.off
        assert self.state.pending_count == len(self.off)

    def teardown(self):
        try:
            self.absent.clear()
            owed = {*self.journal[self.noted :], *self.off, *self.rows}
            self.crash()  # what was handed out is handed out again
            self.now += 10.0
            self.work(len(self.journal), len(FILES), "never")
            assert set(self.table()) == owed
            self.each_row_is_there_once()
            self.what_is_remembered_is_what_was_noted()
        finally:
            self.end()
            shutil.rmtree(self.folder)


TestMonitor = Monitor.TestCase
TestMonitor.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
