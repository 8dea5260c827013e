"""The pool of hashers: each file once, and none held up by another."""

import hashlib
import itertools
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ocs.agents.pysmurf_monitor import hashing
from ocs.agents.pysmurf_monitor.hashing import FEW, MANY, Hashers, Item, next_wanted
from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.reading import LARGE
from ocs.agents.pysmurf_monitor.roots import Roots
from tests.harness.waiting import wait_for

MOST = 6


class SlowRoots(Roots):
    """Roots on a file system that does not answer for some files, as a dead server's does, or not at once.

    Args:
        hanging: names of files that hang, each with the visit at which it does.
        takes: how long (s) each other file takes.
    """

    def __init__(self, hanging=(), takes=0.0):
        super().__init__(None)
        self.hanging = dict(hanging)
        self.answer = threading.Event()
        self.visits = Counter()
        self.at_once = self.most_at_once = 0
        self._takes = takes
        self._count = threading.Lock()

    def refuses(self, path):
        name = Path(path).name
        with self._count:
            self.at_once += 1
            self.visits[name] += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            hangs = self.hanging.get(name) == self.visits[name]
        if hangs:
            self.answer.wait(60)
        elif self._takes:
            self.answer.wait(self._takes)
        with self._count:
            self.at_once -= 1
        return super().refuses(path)


class Done:
    """Takes what is done."""

    def __init__(self):
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))

    @property
    def items(self):
        return list(itertools.chain.from_iterable(list(self.batches)))

    @property
    def names(self):
        return {Path(item.announcement.path).name for item in self.items}


@pytest.fixture
def done():
    return Done()


@pytest.fixture
def pool(done):
    """Make hashers: `pool(roots)`; what hangs is set free in the end."""
    made = []
    threads = set(threading.enumerate())

    def make(roots=None, **keywords):
        roots = roots or Roots(None)
        hashers = Hashers(roots, on_done=done, **{"most": MOST, **keywords})
        made.append((roots, hashers))
        return hashers

    yield make
    for roots, hashers in made:
        if isinstance(roots, SlowRoots):
            roots.answer.set()
        hashers.stop(10)
    wait_for(lambda: set(threading.enumerate()) <= threads)


@pytest.fixture
def files(tmp_path):
    """Write files: `files(count)` -> items; some share a folder."""
    numbers = itertools.count()

    def write(count):
        return [write_one(tmp_path, next(numbers)) for _ in range(count)]

    return write


def write_one(folder, number):
    path = folder / f"{number // 10}" / f"{number}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"contents of {number}")
    return item_for(path)


def item_for(path):
    return Item(Announcement(str(path), "crate1slot2", "smurf", "x", False, 0.0))


def name_of(item):
    return Path(item.announcement.path).name


def md5_of(item):
    return hashlib.md5(Path(item.announcement.path).read_bytes(), usedforsecurity=False).hexdigest()


def sparse(path, size):
    path.write_bytes(b"")
    os.truncate(path, size)
    return item_for(path)


# Items


def test_an_item_begins_with_nothing_found():
    item = item_for("/data/x")
    assert (item.index, item.attempt, item.md5, item.trouble, item.size, item.since, item.refused) == (
        -1, 0, "", "", 0, 0.0, "",
    )  # fmt: skip
    assert "/data/x" in repr(item)
    assert not hasattr(item, "__dict__")


# What is done


def test_each_file_is_hashed_once(pool, done, files):
    items = files(500)
    pool().put(items)
    wait_for(lambda: len(done.items) == 500)
    assert set(done.items) == set(items)
    assert all(item.md5 == md5_of(item) for item in items)
    assert all(item.size == len(Path(item.announcement.path).read_bytes()) for item in items)


def test_small_files_are_delivered_in_batches(pool, done, files):
    pool().put(files(500))
    wait_for(lambda: len(done.items) == 500)
    assert len(done.batches) < 100


def test_files_from_many_threads_are_hashed_once(pool, done, files):
    hashers, items = pool(), files(800)
    putters = [
        threading.Thread(target=lambda part=part: [hashers.put(items[i : i + 7]) for i in range(part, part + 200, 7)])
        for part in range(0, 800, 200)
    ]
    for thread in putters:
        thread.start()
    for thread in putters:
        thread.join()
    wait_for(lambda: len(set(done.items)) == 800)
    assert set(done.items) == set(items)


def test_what_is_wrong_is_delivered_too(pool, done, tmp_path):
    (tmp_path / "folder").mkdir()
    pool().put([item_for(tmp_path / "nothing"), item_for(tmp_path / "folder")])
    wait_for(lambda: len(done.items) == 2)
    assert {(item.trouble, item.refused) for item in done.items} == {("is not there", ""), ("", "not_a_file")}


def test_what_is_read_is_counted(pool, done, files, tmp_path):
    hashers, items = pool(), [*files(20), sparse(tmp_path / "large", LARGE + 1)]
    hashers.put(items)
    wait_for(lambda: len(done.items) == 21)
    assert hashers.hashed_bytes == sum(item.size for item in items)
    hashers.stop(10)
    assert hashers.hashed_bytes == sum(item.size for item in items)


def test_nothing_to_do_is_fine(pool, done):
    hashers = pool()
    hashers.put([])
    assert (hashers.waiting, hashers.busy, hashers.hashed_bytes) == (0, [], 0)


def test_a_second_round_comes_after_the_first(pool, done, files):
    hashers = pool()
    for rounds in range(1, 4):
        hashers.put(files(30))
        wait_for(lambda rounds=rounds: len(done.items) == 30 * rounds)
        wait_for(lambda: hashers.busy == [])


# What hangs


def test_a_file_that_hangs_holds_up_nobody(pool, done, files):
    items = files(200)
    roots = SlowRoots({name_of(items[3]): 1})
    hashers = pool(roots)
    hashers.put(items)
    wait_for(lambda: len(done.items) == 199)
    assert name_of(items[3]) not in done.names
    assert [item for item, _ in hashers.busy] == [items[3]]
    assert hashers.waiting == 0
    roots.answer.set()
    wait_for(lambda: len(done.items) == 200)
    assert items[3].md5 == md5_of(items[3])


def test_it_is_told_since_when_a_file_hangs(pool, done, files):
    items = files(1)
    before = time.monotonic()
    hashers = pool(SlowRoots({name_of(items[0]): 1}))
    hashers.put(items)
    ((item, began),) = wait_for(lambda: hashers.busy)
    assert item is items[0]
    assert before <= began <= time.monotonic()


def test_several_files_that_hang_hold_up_nobody(pool, done, files):
    items = files(200)
    hanging = [name_of(item) for item in items[::45]]
    assert len(hanging) == MOST - 1
    hashers = pool(SlowRoots(dict.fromkeys(hanging, 1)))
    hashers.put(items)
    wait_for(lambda: len(done.items) == 200 - len(hanging), timeout=30)
    assert {name_of(item) for item, _ in hashers.busy} == set(hanging)


def test_when_all_hang_the_rest_waits_and_is_not_lost(pool, done, files):
    items = files(100)
    roots = SlowRoots({name_of(item): 1 for item in items[: MOST + 3]})
    hashers = pool(roots)
    hashers.put(items)
    wait_for(lambda: len(hashers.busy) == MOST)
    assert hashers.waiting == 100 - MOST - len(done.items)
    hashers.put(files(50))  # does not wait either
    roots.answer.set()
    wait_for(lambda: len(done.items) == 150)
    assert len(set(done.items)) == 150


def test_what_was_done_before_a_file_that_hangs_is_delivered(pool, done, files):
    items = files(2)
    hashers = pool(SlowRoots({name_of(items[1]): 1}))
    hashers.put(items)
    wait_for(lambda: done.names == {name_of(items[0])})


def test_where_each_file_takes_its_time_more_are_asked_for_at_once(pool, done, files):
    roots = SlowRoots(takes=0.02)
    pool(roots).put(files(600))
    wait_for(lambda: roots.most_at_once >= 4, timeout=30)
    roots.answer.set()
    wait_for(lambda: len(done.items) == 600)
    assert roots.most_at_once <= MOST


# Large ones


def test_large_files_hold_up_nobody(pool, done, files, tmp_path):
    large = [sparse(tmp_path / f"large-{number}", LARGE + 1) for number in range(4)]
    small = files(100)
    # The first visit finds out that it is large.
    roots = SlowRoots({name_of(item): 2 for item in large})
    hashers = pool(roots, threads=1)
    hashers.put([*large, *small])
    wait_for(lambda: len(done.items) == 100)
    roots.answer.set()
    wait_for(lambda: len(done.items) == 104)
    assert all(item.md5 == md5_of(item) for item in large)


@pytest.mark.parametrize("threads", [1, 2])
def test_few_large_files_are_read_at_a_time(pool, done, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(hashing, "SILENT", 60.0)
    large = [sparse(tmp_path / f"large-{number}", LARGE + 1) for number in range(4)]
    roots = SlowRoots({name_of(item): 2 for item in large})
    hashers = pool(roots, threads=threads)
    hashers.put(large)
    wait_for(lambda: len(hashers.busy) == threads and hashers.waiting == 4 - threads)
    # The watcher looks around several times, and sends for nobody.
    hashers.put([item_for(tmp_path / "nothing")])
    wait_for(lambda: done.items)
    assert sum(count == 2 for count in roots.visits.values()) == threads
    roots.answer.set()
    wait_for(lambda: len(done.items) == 5)


def test_large_files_that_hang_do_not_hold_up_others(pool, done, tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "SILENT", 0.2)
    large = [sparse(tmp_path / f"large-{number}", LARGE + 1) for number in range(4)]
    roots = SlowRoots({name_of(item): 2 for item in large[:3]})
    pool(roots, threads=2).put(large)
    wait_for(lambda: done.names == {name_of(large[3])})


def test_one_hasher_is_kept_for_small_files(pool, done, files, tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "SILENT", 0.1)
    large = [sparse(tmp_path / f"large-{number}", LARGE + 1) for number in range(MOST + 2)]
    hashers = pool(SlowRoots({name_of(item): 2 for item in large}))
    hashers.put(large)
    wait_for(lambda: len(hashers.busy) == MOST - 1 and hashers.waiting == 3)
    hashers.put(files(50))
    wait_for(lambda: len(done.items) == 50)


@pytest.mark.parametrize("most", [1, 2])
def test_a_small_pool_reads_large_files_too(pool, done, files, tmp_path, most):
    pool(most=most).put([sparse(tmp_path / "large", LARGE + 1), *files(10)])
    wait_for(lambda: len(done.items) == 11)


# The end


def test_stopping_delivers_what_is_done_and_ends_all_threads(pool, done, files):
    hashers = pool()
    hashers.put(files(300))
    wait_for(lambda: done.items)
    hashers.stop(10)
    count = len(done.items)
    assert all(item.md5 for item in done.items)
    hashers.put(files(1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pysmurf-h")]
    assert len(done.items) == count


def test_stopping_does_not_wait_for_what_hangs(pool, done, files):
    items = files(20)
    roots = SlowRoots({name_of(items[5]): 1})
    hashers = pool(roots)
    hashers.put(items)
    wait_for(lambda: len(done.items) == 19)
    began = time.monotonic()
    hashers.stop(0.2)
    assert time.monotonic() - began < 10
    roots.answer.set()
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "pysmurf-hasher"])
    assert items[5] not in done.items


def test_stopping_breaks_off_large_files(pool, done, tmp_path):
    hashers = pool()
    hashers.put([sparse(tmp_path / "large", 1 << 40)])
    wait_for(lambda: hashers.hashed_bytes)
    hashers.stop(10)
    assert done.items == []
    assert not [thread for thread in threading.enumerate() if thread.name == "pysmurf-hasher"]


def test_stopping_before_anything_came_and_twice_is_fine(pool):
    hashers = pool()
    hashers.stop(1)
    hashers.stop(1)


def test_no_descriptor_is_left_open(pool, done, files, tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    items = [*files(200), *(item_for(tmp_path / f"nothing-{number}") for number in range(50))]
    hashers = pool()
    hashers.put([*items, sparse(tmp_path / "large", LARGE + 1)])
    wait_for(lambda: len(done.items) == 251)
    hashers.stop(10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_hashers_without_work_end(pool, done, files, monkeypatch):
    monkeypatch.setattr(hashing, "IDLE", 0.1)
    hashers = pool()
    hashers.put(files(100))
    wait_for(lambda: len(done.items) == 100)
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "pysmurf-hasher"])
    hashers.put(files(10))
    wait_for(lambda: len(done.items) == 110)


# How many


@pytest.mark.parametrize(
    ("wanted", "rate", "processor", "waiting", "expected"),
    [
        (1, FEW / 2, 0.1, True, 2),  # the disk takes its time
        (MOST, FEW / 2, 0.1, True, MOST),
        (1, FEW / 2, 0.9, True, 1),  # the processor is what is short
        (1, FEW / 2, 0.1, False, 1),  # nobody waits
        (3, (FEW + MANY) / 2, 0.1, True, 3),
        (3, MANY * 2, 0.9, True, 2),
        (1, MANY * 2, 0.9, True, 1),
    ],
)
def test_how_many_hashers_are_wanted(wanted, rate, processor, waiting, expected):
    assert next_wanted(wanted, rate, processor, waiting=waiting, most=MOST) == expected
