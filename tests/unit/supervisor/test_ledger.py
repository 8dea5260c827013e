"""What a killed supervisor leaves is found and ended; nobody else is touched."""

import json
import subprocess
import sys

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor

from ocs.supervisor.ledger import Ledger, end_leftovers

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


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest_twisted.ensureDeferred
async def test_a_recorded_process_and_its_children_are_ended(tmp_path, left_behind):
    ledger = Ledger(reactor, tmp_path / "processes.json")
    ledger.record({"other": left_behind.pid})
    ledger.record({"fake-1": left_behind.pid})
    await ledger.written()
    assert end_leftovers(tmp_path / "processes.json", timeout=5.0) == ["fake-1"]
    assert left_behind.wait(5) is not None
    assert is_gone(left_behind.grandchild)


@pytest.mark.parametrize("created", [0.0, 1.0e12])
def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path, left_behind, created):
    path = tmp_path / "processes.json"
    path.write_text(json.dumps([{"name": "x", "pid": left_behind.pid, "created": created}]))
    assert end_leftovers(path) == []
    assert left_behind.poll() is None


@pytest.mark.parametrize("text", [None, "", "[{", "{}", "[1]", '[{"name": "x"}]', "null"])
def test_a_ledger_that_says_nothing_does_no_harm(tmp_path, text):
    path = tmp_path / "processes.json"
    if text is not None:
        path.write_text(text)
    assert end_leftovers(path) == []


@pytest_twisted.ensureDeferred
async def test_a_folder_that_is_gone_is_logged_not_raised(tmp_path):
    ledger = Ledger(reactor, tmp_path / "gone" / "processes.json")
    ledger.record({})
    await ledger.written()
