"""The books of the fault harness: what is wrong in an archive does not escape them."""

import errno
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from tests.harness.recording.books import Archive, Chunk, Excuse, Ledger, account_for, balance, has_ended, read_log
from tests.harness.recording.disk import CannotTest, Shim, SmallDisk
from tests.harness.recording.faults import FAULTS
from tests.harness.recording.table import markdown

FEED = "observatory.lab-1.feeds.single"
T0 = 1_790_000_000.0


def ledger(count=10, accepted=None):
    numbers = np.arange(count)
    return Ledger(numbers, T0 + numbers, numbers if accepted is None else np.array(accepted))


def chunk(*numbers, session="s", late=0.0, wrong=0):
    numbers = np.array(numbers, dtype=np.int64)
    ticks = (int(T0) + numbers) * 10**8 + round(late * 1e8)
    return Chunk(FEED, session, numbers, ticks, wrong)


def test_books_balance_when_everything_is_there_once():
    account = account_for(FEED, ledger(), [chunk(*range(4)), chunk(*range(4, 10))])
    assert account.balanced
    assert (account.accepted, account.recorded) == (10, 10)


def test_what_is_missing_is_listed_with_its_times():
    account = account_for(FEED, ledger(), [chunk(0, 1, 4, 5, 6, 7, 9)])
    assert not account.balanced
    assert account.missing == 3
    assert [(gap.first, gap.last, gap.since, gap.until) for gap in account.gaps] == [
        (2, 3, T0 + 2, T0 + 3),
        (8, 8, T0 + 8, T0 + 8),
    ]


def test_what_is_there_twice_is_counted():
    account = account_for(FEED, ledger(), [chunk(*range(10)), chunk(3, 4, session="t"), chunk(3, session="u")])
    assert (account.duplicated, account.missing, account.balanced) == (3, 0, False)


def test_a_sample_after_a_later_one_of_the_same_run_is_out_of_order():
    assert account_for(FEED, ledger(), [chunk(*range(5, 10)), chunk(*range(5))]).disordered == 1
    assert account_for(FEED, ledger(), [chunk(*range(5, 10)), chunk(*range(5), session="t")]).disordered == 0


def test_what_nobody_published_is_foreign():
    assert account_for(FEED, ledger(), [chunk(*range(12))]).foreign == 2


def test_what_was_tried_but_not_accepted_may_be_there_or_not():
    for there in (range(9), range(10)):
        assert account_for(FEED, ledger(accepted=range(9)), [chunk(*there)]).balanced


def test_wrong_values_and_times_are_counted():
    assert account_for(FEED, ledger(), [chunk(*range(9), wrong=2), chunk(9)]).wrong == 2
    assert account_for(FEED, ledger(), [chunk(*range(9)), chunk(9, late=1e-6)]).wrong == 1


def test_an_excuse_covers_its_time_and_the_buffer_and_no_more():
    def excused(feed, **keywords):
        excuse = Excuse("observatory.lab-1.", T0 + 5, T0 + 6, "killed", **keywords)
        account = account_for(feed, ledger(), [], [excuse])
        return account.excused, account.missing

    slow = "observatory.lab-1.feeds.slow"
    assert excused(FEED) == excused(FEED, with_buffer=True) == excused(slow) == (2, 8)
    assert excused(slow, with_buffer=True) == (3, 7)
    assert excused("observatory.lab-2.feeds.slow", with_buffer=True) == (0, 10)


def test_a_log_that_ends_in_the_middle_of_a_line_is_read_up_to_there(tmp_path):
    log = tmp_path / "log"
    log.write_text("? batch 5 2 1790000000.0\n+ batch 5 2\n? batch 7 1 1790000001.0\n+ batch 7")
    (found,) = read_log(log).values()
    assert found.tried.tolist() == [5, 6, 7]
    assert found.times.tolist() == [T0, T0 + 0.0005, T0 + 1]
    assert found.accepted.tolist() == [5, 6]
    assert not has_ended(log)
    log.write_text("? batch 5 2 1790000000.0\n.\n")
    assert has_ended(log)


def write_archive(folder, numbers):
    """Write a file as a recorder would, and return its path."""
    import so3g
    from spt3g import core

    helper = so3g.hk.HKSessionHelper(hkagg_version=2)
    frame = helper.data_frame(helper.add_provider(FEED))
    block = core.G3TimesampleMap()
    block.times = core.G3VectorTime([core.G3Time((int(T0) + n) * 10**8) for n in numbers])
    block["n"], block["x"] = core.G3VectorInt(numbers), core.G3VectorDouble([n * 0.5 for n in numbers])
    frame["address"], frame["provider_session_id"] = FEED, "s"
    frame["block_names"].append("b")
    frame["blocks"].append(block)
    path = folder / "17900" / "1790000000.g3"
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = core.G3Writer(str(path))
    for each in (helper.session_frame(), helper.status_frame(), frame, frame):
        writer(each)
    del writer
    return path


def test_an_archive_is_balanced_against_the_logs(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"? single {n} 1 {T0 + n}\n+ single {n} 1\n" for n in range(4)))
    path = write_archive(tmp_path / "data", [0, 1, 2])
    books = balance(Archive(tmp_path / "data"), {"observatory.lab-1": log})
    assert (books.total("missing"), books.total("duplicated"), books.total("wrong"), books.torn) == (1, 3, 0, {})

    archive = Archive(tmp_path / "data")
    os.truncate(path, path.stat().st_size - 10)
    books = balance(archive, {"observatory.lab-1": log})
    assert (books.total("duplicated"), list(books.torn)) == (0, ["1790000000.g3"])
    assert not books.balanced
    assert "torn: 1790000000.g3" in books.report()


@pytest.fixture
def shim(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        return Shim(folder, tmp_path)
    except CannotTest as reason:
        pytest.skip(str(reason))


def python(shim, code):
    environment = {**os.environ, **shim.environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shim.folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


APPEND = "import os; print(os.write(os.open({path!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND), b'data'))"


def test_a_disk_that_refuses_does_so_below_its_folder_only(shim, tmp_path):
    inside, outside = str(shim.folder / "a"), str(tmp_path / "b")
    shim.set(refuse=errno.EROFS)
    assert "Read-only file system" in python(shim, APPEND.format(path=inside))
    assert python(shim, APPEND.format(path=outside)) == "4\n"
    shim.set()
    assert python(shim, APPEND.format(path=inside)) == "4\n"


def test_the_folder_is_remembered_by_a_program_that_changes_its_title(shim):
    shim.set(refuse=errno.EROFS)
    code = "import os, setproctitle; setproctitle.setproctitle('x'); print(os.write(os.pipe()[1], b'data'))"
    assert python(shim, code) == "4\n"


def test_a_slow_disk_takes_its_time(shim):
    shim.set(write_delay=0.3)
    code = "import time; t = time.monotonic();" + APPEND.format(path=str(shim.folder / "a"))
    assert float(python(shim, code + "; print(time.monotonic() - t)").split()[1]) > 0.3


def test_without_power_what_was_synced_stays_and_the_rest_may_go(shim):
    code = """
import os
f = os.open("{path}", os.O_CREAT | os.O_WRONLY)
os.write(f, b"s" * 1000); os.fdatasync(f); os.write(f, b"u" * 1000)
"""
    found = set()
    for i in range(20):
        path = shim.folder / str(i)
        assert python(shim, code.format(path=path)) == ""
    shim.lose_power(random.Random(1))
    for i in range(20):
        content = (shim.folder / str(i)).read_bytes()
        assert content[:1000] == b"s" * 1000
        found.add((len(content), content.count(b"\0")))
    assert len(found) > 10
    assert any(zeros for _, zeros in found)


def test_a_small_disk_can_be_filled_and_freed(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", 1)
    except CannotTest as reason:
        pytest.skip(str(reason))
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "more").write_bytes(b"x")
        disk.free()
        (disk.folder / "more").write_bytes(b"x")
    finally:
        disk.close()


def result_of(side, **changes):
    books = {"accepted": 100, "missing": 0, "excused": 0, "duplicated": 0, "disordered": 0, "wrong": 0, "foreign": 0}
    books |= {"torn": {}, "lost_seconds": 0.0, "excused_seconds": 0.0, **changes}
    base = {"fault": "router-kill", "side": side, "seconds": 5.0, "publishers": [], "gone": 0}
    base |= {"trouble": "", "skipped": ""}
    return {**base, "books": [books]}


def test_the_table_has_both_sides_in_one_row():
    lost = result_of("published", missing=40, lost_seconds=5.25, duplicated=1)
    row = markdown([result_of("ours")], [lost]).splitlines()[2]
    assert row == f"| {FAULTS['router-kill'].title} | 5 s | 0 | 0 | 40 (5.2 s) | 1 | 100 / 100 |"
