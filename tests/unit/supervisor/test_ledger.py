"""What a killed supervisor leaves is recorded, found and ended; nobody else is touched."""

import json
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor

from ocs.supervisor import ledger as ledger_module
from ocs.supervisor.ledger import Entry, Ledger, end_leftovers, read_ledger
from ocs.supervisor.proc import stamp
from tests.harness.processes import runs

SCRIPT = (
    "import subprocess, sys, time; k = subprocess.Popen(['sleep', '1000']); print(k.pid, flush=True); time.sleep(1000)"
)


@pytest.fixture
def left_behind():
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, start_new_session=True)
    process.grandchild = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def make_ledger(tmp_path):
    made = []

    def make(path=None):
        made.append(Ledger(reactor, path or tmp_path / "processes.json"))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()


@pytest_twisted.ensureDeferred
async def test_a_recorded_process_and_its_children_are_ended(tmp_path, left_behind, make_ledger):
    ledger = make_ledger()
    ledger.record({"other": left_behind.pid})
    ledger.record({"fake-1": left_behind.pid})
    await ledger.written()
    assert end_leftovers(tmp_path / "processes.json", timeout=5.0) == ["fake-1"]
    assert left_behind.wait(5) is not None
    assert not runs(left_behind.grandchild)


@pytest.mark.parametrize("created", [0.0, 1.0e12, "", "another boot/123"])
def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path, left_behind, created):
    path = tmp_path / "processes.json"
    path.write_text(json.dumps([{"name": "x", "pid": left_behind.pid, "created": created}]))
    assert end_leftovers(path) == []
    assert left_behind.poll() is None


@pytest.mark.parametrize("text", [None, "", "[{", "1", "[1]", '[{"name": "x"}]', "null"])
def test_a_ledger_that_says_nothing_does_no_harm(tmp_path, text):
    path = tmp_path / "processes.json"
    if text is not None:
        path.write_text(text)
    assert end_leftovers(path) == []
    assert read_ledger(path) is None


@pytest_twisted.ensureDeferred
async def test_what_has_been_entered_is_in_the_file(tmp_path, make_ledger):
    entries = [Entry(f"fake-{n}", 1000 + n, "boot/17", 1.5) for n in range(3)]
    ledger = make_ledger()
    for entered in [ledger.enter(entry) for entry in entries]:
        await entered
    assert read_ledger(tmp_path / "processes.json") == entries
    ledger.strike("fake-1")
    ledger.strike("nobody")
    await ledger.written()
    assert read_ledger(tmp_path / "processes.json") == [entries[0], entries[2]]


@pytest_twisted.ensureDeferred
async def test_many_entered_at_once_are_one_write(make_ledger, monkeypatch):
    writes = []
    real = ledger_module._replace_file
    monkeypatch.setattr(ledger_module, "_replace_file", lambda *args: (writes.append(1), real(*args)))
    ledger = make_ledger()
    entered = [ledger.enter(Entry(f"fake-{n}", 1000 + n, "boot/17")) for n in range(200)]
    for each in entered:
        await each
    assert len(writes) == 1


@pytest_twisted.ensureDeferred
async def test_a_disk_that_refuses_is_told_and_refuses_no_start(tmp_path, make_ledger):
    ledger = make_ledger(tmp_path / "gone" / "processes.json")
    await ledger.enter(Entry("fake-1", 1, "boot/17"))
    assert "cannot record the running processes" in ledger.trouble
    assert "No such file or directory" in ledger.trouble
    (tmp_path / "gone").mkdir()
    await ledger.enter(Entry("fake-2", 2, "boot/18"))
    assert ledger.trouble == ""
    assert [entry.name for entry in read_ledger(tmp_path / "gone" / "processes.json")] == ["fake-1", "fake-2"]


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_not_true_any_more_is_removed(tmp_path, make_ledger):
    ledger = make_ledger()
    await ledger.enter(Entry("fake-1", 1, "boot/17"))
    # In the place of what is to become the next file.
    (tmp_path / "processes.json.new").mkdir()
    await ledger.enter(Entry("fake-2", 2, "boot/18"))
    assert ledger.trouble
    assert read_ledger(tmp_path / "processes.json") is None


@pytest_twisted.ensureDeferred
async def test_a_disk_that_does_not_answer_keeps_nobody_waiting_for_ever(make_ledger, monkeypatch):
    import threading

    answer = threading.Event()
    monkeypatch.setattr(ledger_module, "_PATIENCE", 0.05)
    monkeypatch.setattr(ledger_module, "_replace_file", lambda *_args: answer.wait(30))
    ledger = make_ledger()
    await ledger.enter(Entry("fake-1", 1, "boot/17"))
    assert "no answer from the disk" in ledger.trouble
    answer.set()
    await ledger.written()
    assert ledger.trouble == ""


def test_a_process_is_known_by_more_than_its_id(left_behind):
    created = stamp(left_behind.pid)
    assert Entry("x", left_behind.pid, created).runs
    assert not Entry("x", left_behind.pid, created + "0").runs
    left_behind.kill()
    left_behind.wait()
    assert not Entry("x", left_behind.pid, created).runs
    assert stamp(left_behind.pid) is None
