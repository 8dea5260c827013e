"""What the system says of processes."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ocs.supervisor import proc
from ocs.supervisor.proc import age, group_is_gone, open_file, read_stat, reap_group, reap_strays, signal_group, stamp
from tests.harness.waiting import wait_for


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_process_is_described_whatever_it_is_called(tmp_path):
    program = tmp_path / "a) S 1 (b"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        stat = read_stat(process.pid)
        assert (stat.pid, stat.group, stat.runs) == (process.pid, os.getpgid(process.pid), True)
        assert stamp(process.pid).endswith(f"/{stat.ticks}")


def test_there_is_nothing_to_say_of_a_process_that_is_gone(sleeper):
    sleeper.kill()
    wait_for(lambda: not read_stat(sleeper.pid).runs)
    assert stamp(sleeper.pid) is None
    sleeper.wait()
    assert read_stat(sleeper.pid) is None
    assert age(sleeper.pid) == 0.0
    assert open_file(sleeper.pid, 1) == ""


def test_an_age_is_that_of_the_process(sleeper):
    assert abs(age(os.getpid()) - (time.time() - psutil.Process().create_time())) < 2.0
    assert age(sleeper.pid) < age(os.getpid())


def test_without_proc_a_process_is_known_by_the_time_it_began(sleeper, monkeypatch):
    monkeypatch.setattr(proc, "_HAS_PROC", False)
    assert stamp(sleeper.pid).startswith("psutil/")
    assert stamp(sleeper.pid) == stamp(sleeper.pid)
    sleeper.kill()
    wait_for(lambda: stamp(sleeper.pid) is None)


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_group_of_the_dead_is_gone(sleeper, monkeypatch, has_proc):
    monkeypatch.setattr(proc, "_HAS_PROC", has_proc)
    assert not group_is_gone(sleeper.pid)
    sleeper.kill()
    wait_for(lambda: group_is_gone(sleeper.pid))
    # Not reaped: the group is still there, by name.
    assert signal_group(sleeper.pid, 0)
    sleeper.wait()
    assert group_is_gone(sleeper.pid)


@pytest.mark.parametrize("group", [0, 1, -1])
def test_our_own_group_and_everybodys_are_never_meant(group):
    assert not signal_group(group, signal.SIGKILL)
    reap_group(group)


def test_strays_are_reaped_and_what_somebody_asks_about_is_not():
    theirs, strays, ours = (subprocess.Popen(["true"], start_new_session=new) for new in (True, True, False))
    wait_for(lambda: not any(read_stat(process.pid).runs for process in (theirs, strays, ours)))
    reap_strays({theirs.pid})
    assert read_stat(strays.pid) is None
    assert (theirs.wait(), ours.wait()) == (0, 0)
    assert strays.wait() == 0
