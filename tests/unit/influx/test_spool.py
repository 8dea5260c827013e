"""The spool: what is put comes out once, in order, over full disks, kills and bounds, or is counted."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocs.errors import JournalInUseError
from ocs.influx.spool import Spool


def drained(spool, most=1 << 20):
    bodies = []
    while batch := spool.next(most):
        bodies.append(batch.body)
        spool.done(batch)
    return b"\n".join(bodies).decode().split("\n") if bodies else []


def lines(start, count, width=10):
    return [f"{n:0{width}d}" for n in range(start, start + count)]


def put(spool, rows):
    spool.put("\n".join(rows).encode(), len(rows))


@pytest.mark.parametrize("folder", [True, False], ids=["disk", "memory"])
def test_what_is_put_comes_out_in_order(tmp_path, folder):
    spool = Spool(tmp_path / "spool" if folder else None)
    spool.open()
    for start in range(0, 100, 10):
        put(spool, lines(start, 10))
    spool.write()
    assert drained(spool, 40) == lines(0, 100)
    assert (spool.waiting, spool.size) == (0, 0)
    spool.close()


def test_what_was_not_sent_is_there_after_a_kill(tmp_path):
    now = 0.0
    killed = Spool(tmp_path / "spool", steady=lambda: now)
    killed.open()
    for start in range(0, 100, 10):
        put(killed, lines(start, 10))
    killed.write()
    for _ in range(3):
        killed.done(killed.next(1))
    now += 1.0  # how far it is, is written down once a second
    killed.write()
    killed._journal._folder.release()  # as the system does when a process is gone
    again = Spool(tmp_path / "spool")
    again.open()
    assert again.waiting == 70
    put(again, lines(100, 5))
    assert drained(again) == lines(30, 75)
    again.close()


def test_a_stop_with_nothing_waiting_leaves_nothing_on_the_disk(tmp_path):
    spool = Spool(tmp_path / "spool")
    spool.open()
    put(spool, lines(0, 3))
    spool.write()
    drained(spool)
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_at_the_bound_the_oldest_go_and_are_counted(tmp_path):
    spool = Spool(tmp_path / "spool", disk_bytes=256 << 10)
    spool.open()
    rows = lines(0, 1000, width=1000)
    for row in rows:
        put(spool, [row])
        spool.write()
    assert 0 < spool.size <= (256 << 10) + (64 << 10)
    found = drained(spool)
    assert found == rows[-len(found) :]
    assert spool.dropped == {"spool_full": 1000 - len(found)}
    spool.close()


def test_without_a_folder_memory_is_the_bound():
    spool = Spool(None, memory_bytes=10_000)
    spool.open()
    rows = lines(0, 100, width=1000)
    for row in rows:
        put(spool, [row])
        spool.write()
    assert drained(spool) == rows[-10:]
    assert spool.dropped == {"spool_full": 90}


def test_a_folder_that_cannot_be_made_is_trouble_and_memory_serves(tmp_path):
    (tmp_path / "file").write_text("")
    now = [0.0]
    spool = Spool(tmp_path / "file" / "spool", steady=lambda: now[0])
    spool.open()
    put(spool, lines(0, 5))
    spool.write()
    assert "cannot be written" in spool.trouble
    batch = spool.next(1)
    (tmp_path / "file").unlink()
    now[0] = 10.0
    spool.write()
    assert spool.trouble == ""
    spool.done(batch)  # of before the disk was there: it comes once more
    assert drained(spool) == lines(0, 5)
    spool.close()


def test_a_second_publisher_is_told(tmp_path):
    first, second = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    first.open()
    with pytest.raises(JournalInUseError):
        second.open()
    first.close()


def test_damage_on_the_disk_is_counted(tmp_path):
    spool = Spool(tmp_path / "spool", disk_bytes=1 << 20, memory_bytes=4000)  # everything is read from the disk
    spool.open()
    rows = lines(0, 400, width=1000)
    for row in rows:
        put(spool, [row])
        spool.write()
    files = sorted((tmp_path / "spool").glob("*.journal"))
    content = bytearray(files[1].read_bytes())
    content[len(content) // 2] ^= 255
    files[1].write_bytes(content)
    found = drained(spool)
    assert set(found) < set(rows)
    assert spool.dropped["spool_damaged"] == len(rows) - len(found)
    spool.close()


class Model(RuleBasedStateMachine):
    """A spool against a list: whatever happens, what comes out is what was put, once, but for what is counted."""

    def __init__(self):
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "spool"
        self.expected = []
        self.count = 0
        self.now = 0.0
        self.spool = self.new()

    def new(self):
        spool = Spool(self.path, disk_bytes=1 << 30, memory_bytes=400, steady=lambda: self.now)
        spool.open()
        return spool

    @rule(count=st.integers(1, 30))
    def put(self, count):
        rows = lines(self.count, count)
        self.count += count
        # Beyond its bound the memory keeps nothing that is not on the disk: it is written to in between.
        put(self.spool, rows)
        self.spool.write()
        self.expected += rows

    @precondition(lambda self: self.expected)
    @rule(most=st.integers(1, 500))
    def send_two_at_a_time(self, most):
        first = self.spool.next(most)
        second = self.spool.next(most, first)
        found = first.body.decode().split("\n")
        if second is not None:
            found += second.body.decode().split("\n")
        assert second is not None or len(found) == len(self.expected)
        assert found == self.expected[: len(found)]
        for batch in filter(None, (first, second)):
            self.spool.done(batch)
        del self.expected[: len(found)]

    @precondition(lambda self: self.expected)
    @rule(most=st.integers(1, 500))
    def send(self, most):
        batch = self.spool.next(most)
        found = batch.body.decode().split("\n")
        assert found == self.expected[: len(found)]
        assert batch.points == len(found)
        self.spool.done(batch)
        del self.expected[: len(found)]

    @rule()
    def write(self):
        self.spool.write()

    @rule()
    def stop_and_start(self):
        self.spool.close()
        self.spool = self.new()

    @rule()
    def kill_and_start(self):
        self.now += 1.0  # how far it is, is written down once a second
        self.spool.write()
        self.spool._journal._folder.release()
        self.spool = self.new()

    @invariant()
    def counts_what_waits(self):
        assert self.spool.waiting == len(self.expected)
        assert (self.spool.size > 0) == bool(self.expected)
        assert self.spool.dropped == {}

    def teardown(self):
        self.spool.close()
        self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
