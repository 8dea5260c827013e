"""The supervisor among the faults of real life: its own death, children that do not obey, disks that are full."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from ocs.supervisor import Command, Event, Phase
from ocs.supervisor.proc import all_stats
from tests.harness.recording.disk import CannotTest, SmallDisk
from tests.harness.supervised import QUICK, SLEEPER, Forker, Watcher, gone, reap_no_more
from tests.harness.supervising import NAMES
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.faults


@pytest.fixture
def make_watcher(tmp_path):
    made = []

    def make(state=None, **keywords):
        made.append(Watcher(tmp_path, state_dir=state or tmp_path / "state", **keywords))
        return made[-1]

    yield make
    for watcher in made:
        pytest_twisted.blockon(ensureDeferred(watcher.end()))
    reap_no_more()


@pytest.fixture(params=["plain", "launched"])
def launcher(request):
    return Forker() if request.param == "launched" else None


@pytest.fixture
def small_disk(tmp_path):
    try:
        disk = SmallDisk(tmp_path / "disk", 1)
    except CannotTest as reason:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say(str(reason))
    yield disk
    # Nothing on it is to be kept, and pipes cannot be.
    subprocess.run(["umount", "-l", str(disk.folder)], check=True)


# The supervisor's own death.


def marked(root):
    """Process ids of all that was started for a test, whoever's children they have become."""
    mark = f"OCS_TEST_ROOT={root}".encode()
    found = set()
    for stat in all_stats():
        try:
            environment = Path(f"/proc/{stat.pid}/environ").read_bytes()
        except OSError:
            continue
        if stat.runs and mark in environment.split(b"\0"):
            found.add(stat.pid)
    return found


def name_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").rpartition(b"\0")[2].decode()


@pytest.fixture
def kill_rounds(tmp_path):
    """Run supervisors to be killed; gives the process that holds the last one, and ends all with the test."""
    started = []

    def run(rounds, *arguments):
        argv = [sys.executable, "-m", "tests.harness.supervising", str(tmp_path), str(rounds), "20261122", *arguments]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    for pid in marked(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("arguments", [(), ("--launch",)], ids=["plain", "launched"])
def test_fifty_deaths_of_the_supervisor_cost_no_child_and_make_none_twice(kill_rounds, tmp_path, arguments):
    process = kill_rounds(50, *arguments)
    settled = process.stdout.readline()
    assert settled.startswith("settled"), (tmp_path / "log").read_text()[-2000:]
    pids = json.loads(settled.partition(" ")[2])
    assert set(pids) == set(NAMES)
    # One each, with the one child that every second one has.
    wait_for(lambda: len(marked(tmp_path)) == len(NAMES) * 3 // 2, timeout=10)
    running = marked(tmp_path)
    assert sorted(name for pid in running if (name := name_of(pid)) in NAMES) == NAMES
    assert set(pids.values()) <= running
    assert not (tmp_path / "duplicates").exists()
    adopted = [int(line) for line in (tmp_path / "adopted").read_text().split()]
    assert sum(adopted) > len(adopted), "hardly a child was ever taken over: the test tests nothing"
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert marked(tmp_path) == set()


# Children that do not obey.


@pytest_twisted.ensureDeferred
async def test_what_ignores_sigint_and_sigterm_is_killed_wherever_it_came_from(make_watcher, launcher):
    watcher = make_watcher(launcher=launcher)
    child = watcher.start("""
        import signal, time
        signal.signal(signal.SIGINT, lambda *_: print("got INT"))
        signal.signal(signal.SIGTERM, lambda *_: print("got TERM"))
        print("ready")
        while True:
            time.sleep(1)
    """)
    await watcher.prints(child, "ready")
    pid = child.pid
    await watcher.supervisor.stop()
    assert child.output.tail.lines() == ["ready", "got INT", "got TERM"]
    assert gone(pid)
    assert child.state.last_exit.signum == signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_grandchildren_in_the_group_end_with_the_child_and_others_do_not_hold_it_up(make_watcher, launcher):
    watcher = make_watcher(launcher=launcher)
    child = watcher.start("""
        import signal, subprocess, time
        inside = subprocess.Popen(["sh", "-c", "trap '' INT TERM; sleep 1000; :"])
        outside = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        print("family", inside.pid, outside.pid)
        time.sleep(1000)
    """)
    await watcher.prints(child, "family")
    inside, outside = map(int, child.output.tail.last_line().split()[1:])
    await watcher.supervisor.stop()
    assert gone(inside)
    assert not gone(outside)
    os.kill(outside, signal.SIGKILL)
    await watcher.until(lambda: gone(outside))


@pytest_twisted.ensureDeferred
async def test_a_burst_of_failing_starts_is_slowed_down_and_ends_nothing_else(make_watcher):
    watcher = make_watcher()
    steady = watcher.start(SLEEPER, name="steady")
    await watcher.prints(steady, "ready")
    for n in range(30):
        argv = ("/no/such/program",) if n % 2 else (sys.executable, "-I", "-S", "-c", "raise SystemExit(1)")
        watcher.supervisor.add(Command(f"bad-{n}", argv), replace(QUICK, first_delay=3.0, longest_delay=60.0))
        watcher.supervisor.tell(f"bad-{n}", Event.WISH_UP)
    bad = [child for child in watcher.supervisor.children.values() if child is not steady]
    await watcher.until(lambda: all(child.state.phase is Phase.WAITING for child in bad))
    assert {child.state.starts for child in bad} == {1}
    assert {round(child.state.due - child.state.since) for child in bad} == {3}
    assert (steady.state.phase, steady.state.starts) == (Phase.UP, 1)


# Disks.


@pytest_twisted.ensureDeferred
async def test_a_full_disk_under_the_log_hurts_no_child_and_is_written_again_when_there_is_room(
    make_watcher, small_disk
):
    watcher = make_watcher()
    command = watcher.command("""
        import time
        n = 0
        while True:
            n += 1
            print("line", n)
            time.sleep(0.005)
    """)
    log = small_disk.folder / "child.log"
    child = watcher.supervisor.add(replace(command, log_file=log))
    small_disk.fill()
    watcher.supervisor.tell("child", Event.WISH_UP)
    await watcher.until(lambda: child.output.lost_bytes > 2000)
    assert "No space left" in child.output.trouble
    assert child.state.phase is Phase.UP
    small_disk.free()
    await watcher.until(lambda: not child.output.trouble and log.stat().st_size > 500)
    assert "bytes are missing here: [Errno 28] No space left" in log.read_text()
    assert child.state.starts == 1


@pytest_twisted.ensureDeferred
async def test_a_full_disk_under_the_ledger_refuses_no_start_and_loses_no_child(make_watcher, small_disk, launcher):
    first = make_watcher(small_disk.folder / "state", launcher=launcher)
    before = first.start(SLEEPER, name="before")
    await first.prints(before, "ready")
    small_disk.fill()
    after = first.start(SLEEPER, name="after")
    await first.prints(after, "ready")
    assert "cannot record the running processes" in first.supervisor.trouble
    assert "No space left" in first.supervisor.trouble
    pids = {child.name: child.pid for child in (before, after)}
    await first.supervisor.release()
    second = make_watcher(small_disk.folder / "state", launcher=launcher)
    assert {name: entry.pid for name, entry in second.supervisor.leftovers().items()} == pids
    for child in (before, after):
        second.supervisor.add(child.command)
        assert second.supervisor.adopt(child.name)
    small_disk.free()
    third = second.start(SLEEPER, name="third")
    await second.prints(third, "ready")
    assert second.supervisor.trouble == ""
    await second.supervisor.release()
    assert set(make_watcher(small_disk.folder / "state").supervisor.leftovers()) == {"before", "after", "third"}


# Clocks.


@pytest_twisted.ensureDeferred
async def test_a_clock_that_steps_changes_no_delay_and_no_adoption(make_watcher, monkeypatch):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    pid = child.pid
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e8)
    await first.supervisor.release()
    second = make_watcher()
    heir = second.supervisor.add(child.command)
    assert second.supervisor.adopt("child")
    assert heir.pid == pid
    assert 0.0 <= reactor.seconds() - heir.state.since < 60.0
    monkeypatch.setattr(time, "time", lambda: real() - 1e8)
    os.kill(pid, signal.SIGKILL)
    await second.until(lambda: heir.state.starts == 2 and heir.pid)
