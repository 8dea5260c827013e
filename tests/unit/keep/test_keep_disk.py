"""What is kept on the disk: found again by the next run, within bounds, never given up in silence; with real files."""

import os
import threading
from types import SimpleNamespace

import pytest

from ocs.errors import JournalError
from ocs.keep import disk as keep_disk
from ocs.keep.disk import DiskKeep
from tests.harness.keeping import Clock, message, new_keep, publish
from tests.harness.recording.disk import CannotTest, SmallDisk

FOREVER = 1 << 60


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "realm" / "observatory.test-1"


class Life:
    """One run of an agent that has a recorder, which is away."""

    def __init__(self, folder, clock, run="100.0", *, recorders=("r",), **options):
        self.keep = new_keep(clock, run)
        self.disk = DiskKeep(folder, self.keep, **options)
        self.stored = self.disk.load()
        for name in recorders:
            self.keep.recorders.meet(name, 1.0, clock())

    def save(self, count=0, **options):
        publish(self.keep, count, **options)
        self.floors()
        self.disk.save(self.keep.next)
        return self

    def floors(self):
        self.disk.floors = {run: self.keep.recorders.floor(run) for run in [*self.disk.view, self.keep.run]}

    def acknowledge(self, **have):
        self.keep.acknowledge("r", 1.0, {run.replace("_", "."): number for run, number in have.items()})
        self.floors()
        self.disk.tidy()

    def numbers(self, run):
        return [kept.parcel.number for kept in self.disk.fetch(run, 1, 0.0, FOREVER)[0]]

    def end(self):
        self.disk.close()


@pytest.fixture
def live(folder, clock):
    """Begin lives, one after the other; all are ended with the test."""
    lives = []

    def begin(run="100.0", **options):
        if lives:
            lives[-1].end()
        lives.append(Life(folder, clock, run, **options))
        return lives[-1]

    yield begin
    lives[-1].end()


def test_what_was_saved_is_offered_by_the_next_run(live, clock):
    live().save(5)
    second = live("200.0")
    assert {run: view.range for run, view in second.disk.view.items()} == {"100.0": (1, 6)}
    found, following = second.disk.fetch("100.0", 2, 0.0, FOREVER)
    assert following == 6
    assert [tuple(kept) for kept in found] == [(clock.wall_, message(number)) for number in range(2, 6)]


def test_a_fetch_ends_where_it_says(live):
    life = live().save(5, size=1000)
    found, following = life.disk.fetch("100.0", 1, 0.0, 2500)
    assert ([kept.parcel.number for kept in found], following) == ([1, 2], 3)
    assert len(life.disk.fetch("100.0", 1, 0.0, 0)[0]) == 1


def test_a_fetch_reads_only_so_much_for_what_is_too_old(live, clock, monkeypatch):
    life = live().save(10, size=1000)
    monkeypatch.setattr(keep_disk, "_SCAN_BYTES", 3000)
    assert life.disk.fetch("100.0", 1, clock.wall_ + 1, FOREVER) == ([], 4)


def test_runs_are_offered_oldest_first(live):
    for run in ("99.5", "100.0", "1000.0"):
        live(run).save(1)
    assert list(live("2000.0").disk.view) == ["99.5", "100.0", "1000.0"]


def test_a_run_that_all_have_is_deleted(live, folder):
    live().save(5)
    second = live("200.0")
    second.acknowledge(**{"100_0": 5})
    assert second.disk.view["100.0"].range == (1, 6)
    second.acknowledge(**{"100_0": 6})
    assert second.disk.view == {}
    assert not (folder / "100.0").exists()


def test_what_else_an_agent_keeps_in_its_folder_is_left_alone(live, folder):
    (folder / "output").mkdir(parents=True)
    (folder / "output" / "thermo.log").write_text("started")
    assert live().disk.view == {}
    assert (folder / "output" / "thermo.log").read_text() == "started"


def test_files_below_what_all_have_are_deleted(live, folder):
    life = live(limit=1 << 20)
    for _ in range(6):
        life.save(10, size=10_000)
    before = len(list((folder / "100.0").glob("*.journal")))
    life.acknowledge(**{"100_0": 45})
    after = len(list((folder / "100.0").glob("*.journal")))
    assert 1 <= after < before
    assert life.numbers("100.0")[-1] == 60
    assert life.numbers("100.0")[0] <= 45


def test_when_all_have_all_nothing_is_left_of_the_current_run(live, folder):
    life = live().save(5)
    life.acknowledge(**{"100_0": 6})
    assert not (folder / "100.0").exists()
    assert life.save(3).numbers("100.0") == [6, 7, 8]


def test_what_was_lost_is_told_by_the_next_run_until_the_recorder_has_gone_past(live, folder):
    life = live()
    life.keep.disk_takes = False
    publish(life.keep, 30, size=1 << 20)
    life.save()
    (range_,) = life.keep.lost_state()[0]
    assert range_[:2] == [1, 16]
    life.disk.tidy()
    second = live("200.0")
    assert second.disk.view["100.0"].lost == [range_]
    second.acknowledge(**{"100_0": 31})
    assert second.disk.view == {}
    assert not (folder / "100.0").exists()


# The bound


def on_disk(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.journal"))


def test_above_the_bound_the_oldest_files_go_and_are_listed(live, folder):
    life = live(limit=1 << 20)
    for _ in range(30):
        life.save(10, size=10_000)
        assert on_disk(folder) <= 1 << 20
    (first, end, *_, samples), *more = life.keep.lost_state()[0]
    kept = life.numbers("100.0")
    assert (first, more, samples) == (1, [], {"temps": 2 * (end - 1)})
    assert kept == list(range(end, 301))
    assert life.keep.range == (end, 301)
    assert life.disk.dropped == end - 1


def test_of_several_runs_the_oldest_goes_first_and_stays_on_record(live, folder):
    live(limit=1 << 20).save(40, size=10_000)
    second = live("200.0", limit=1 << 20)
    for _ in range(12):
        second.save(10, size=10_000)
    assert second.disk.view["100.0"].lost[0][:2] == [1, 41]
    assert on_disk(folder) <= 1 << 20
    second.disk.tidy()
    assert live("300.0", limit=1 << 20).disk.view["100.0"].lost[0][:2] == [1, 41]


def test_what_recorders_have_is_not_counted_as_lost(live):
    life = live(limit=1 << 20)
    life.save(40, size=10_000)
    life.keep.acknowledge("r", 1.0, {"100.0": 31})
    for _ in range(10):
        life.save(10, size=10_000)
    assert life.keep.lost_state()[0][0][0] == 31


def test_the_last_part_of_the_disk_stays_free(live, monkeypatch):
    life = live()
    life.save(10, size=1000)
    full = SimpleNamespace(f_bavail=40_000, f_blocks=1_000_000, f_frsize=4096)  # 4 % are free
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    publish(life.keep, 10, size=1000)
    with pytest.raises(OSError, match="no room"):
        life.disk.save(life.keep.next)
    full.f_bavail = 60_000
    assert life.save().numbers("100.0") == list(range(1, 21))


# Trouble


def test_a_run_that_another_process_writes_is_left_alone_until_that_ends(folder, clock):
    first = Life(folder, clock).save(3)
    second = Life(folder, clock, "200.0")
    assert (second.disk.view, second.disk.waits_for_others) == ({}, True)
    second.disk.look_again()
    assert second.disk.view == {}
    first.end()
    second.disk.look_again()
    assert (list(second.disk.view), second.disk.waits_for_others) == (["100.0"], False)
    second.end()


def test_recorders_are_known_again_with_their_silence(live):
    first = live()
    first.disk.save_recorders({"r": (1.5, 100.0)})
    every, silent = live("200.0").stored.recorders["r"]
    assert every == 1.5
    assert 100 <= silent < 110


def test_a_clock_that_was_set_back_makes_nobody_silent(live):
    live().disk.save_recorders({"r": (1.0, -86_400.0 * 30)})
    assert live("200.0").stored.recorders == {"r": (1.0, 0.0)}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"r": 3}', '{"r": ["x", "y"]}'])
def test_a_list_of_recorders_that_is_damaged_is_told_and_not_taken_for_an_empty_one(live, folder, text):
    live().save(1)
    (folder / "recorders.json").write_text(text)
    second = live("200.0")
    assert second.stored.recorders is None
    assert "recorders" in second.disk.notes[0]


def test_runs_without_a_list_of_recorders_are_somebodys(live, folder):
    live().save(1)
    assert live("200.0").stored.recorders is None


def test_where_there_is_nothing_there_is_nothing_to_be_made(live, folder):
    assert live().stored.recorders == {}
    assert not folder.exists()


@pytest.mark.parametrize("text", ["", "[[1]]", "{}", "null"])
def test_a_damaged_list_of_what_is_lost_costs_no_messages(live, folder, text):
    live().save(3)
    (folder / "100.0" / "lost.json").write_text(text)
    assert live("200.0").numbers("100.0") == [1, 2, 3]


def test_what_is_damaged_costs_only_itself(live, folder):
    live(limit=1 << 20).save(40, size=10_000)
    second = sorted((folder / "100.0").glob("*.journal"))[1]
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 0xFF
    second.write_bytes(content)
    life = live("200.0")
    found, following = life.disk.fetch("100.0", 1, 0.0, FOREVER)
    numbers = [kept.parcel.number for kept in found]
    assert following == 41
    assert numbers[0] == 1
    assert numbers[-1] == 40
    assert 25 < len(numbers) < 40
    ((first, end, *_, samples),) = life.disk.view["100.0"].lost
    assert (set(range(1, 41)) - set(numbers), samples) == (set(range(first, end)), {})
    life.disk.fetch("100.0", 1, 0.0, FOREVER)
    assert len(life.disk.notes) == 1


def test_a_folder_that_cannot_be_made_is_an_error_and_nothing_is_forgotten(live, folder, tmp_path):
    life = live()
    (tmp_path / "state").write_text("a file")
    with pytest.raises((OSError, JournalError)):
        life.save(3)
    (tmp_path / "state").unlink()
    assert life.save().numbers("100.0") == [1, 2, 3]


def test_what_nobody_took_for_a_week_goes_and_is_told(live, folder, monkeypatch):
    live().save(3)
    second = live("200.0")
    old = folder.stat().st_mtime - 8 * 86_400
    for path in (folder / "100.0", *(folder / "100.0").iterdir()):
        os.utime(path, (old, old))
    second.acknowledge()
    assert second.numbers("100.0") == [1, 2, 3]  # an hour has to pass: the clock may have been wrong
    monkeypatch.setattr(keep_disk, "_SETTLED_S", -1.0)
    second.acknowledge()
    assert second.disk.view["100.0"].lost[0][:2] == [1, 4]
    assert "7 days" in second.disk.notes[0]
    assert second.numbers("100.0") == []


@pytest.fixture
def small_disk(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "state", 8)
    except CannotTest as why:
        pytest.skip(str(why))
    yield disk
    disk.close()


def test_a_disk_that_is_full_costs_nothing_that_is_on_it_or_in_memory(live, small_disk, monkeypatch):
    monkeypatch.setattr(keep_disk, "_LEAVE_FREE", 0.0)
    life = live(limit=1 << 30)
    life.save(20, size=50_000)
    small_disk.fill()
    publish(life.keep, 20, size=50_000)
    for _ in range(3):
        with pytest.raises((OSError, JournalError)):
            life.disk.save(life.keep.next)
    on_disk_end = life.numbers("100.0")[-1] + 1
    assert on_disk_end == life.keep.saved
    small_disk.free()
    life.save()
    assert life.numbers("100.0") == list(range(1, 41))


def test_a_disk_that_fills_up_meanwhile_loses_nothing(live, small_disk, monkeypatch):
    monkeypatch.setattr(keep_disk, "_LEAVE_FREE", 0.0)
    life = live(limit=1 << 30)
    publish(life.keep, 300, size=50_000)
    with pytest.raises((OSError, JournalError)):
        life.disk.save(life.keep.next)
    found, following = life.disk.fetch("100.0", 1, 0.0, FOREVER)
    assert [kept.parcel.number for kept in found] == list(range(1, following))
    assert following <= life.keep.saved


def test_reading_goes_on_while_publishers_add(live):
    life = live().save(100)
    thread = threading.Thread(target=publish, args=(life.keep, 20_000))
    thread.start()
    try:
        while thread.is_alive():
            life.disk.save(life.keep.next)
            numbers = life.numbers("100.0")
            assert numbers == list(range(1, len(numbers) + 1))
    finally:
        thread.join()
    life.save()
    assert life.numbers("100.0") == list(range(1, life.keep.next))
