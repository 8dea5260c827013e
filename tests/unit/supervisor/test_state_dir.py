"""The folder of a supervisor: one at a time, and what is found in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocs.errors import SupervisorInUseError
from ocs.supervisor.proc import stamp
from ocs.supervisor.state_dir import StateDir
from tests.harness.waiting import wait_for


@pytest.fixture
def open_dir(tmp_path):
    opened = []

    def open_dir():
        opened.append(StateDir(tmp_path / "state"))
        return opened[-1]

    yield open_dir
    for each in opened:
        each.close()


def test_it_is_made_where_there_is_none(open_dir, tmp_path):
    folder = open_dir()
    assert (folder.running, folder.ended) == ({}, {})
    assert folder.pipe("fake-1") == tmp_path / "state" / "pipes" / "fake-1"


def test_a_second_user_is_refused_and_told_who_the_first_is(open_dir, tmp_path):
    folder = open_dir()
    with pytest.raises(SupervisorInUseError) as refused:
        open_dir()
    assert (
        str(refused.value) == f"another process ({os.getpid()}) looks after the children of {folder.root}: end it first"
    )
    folder.close()
    open_dir()


def test_a_lock_that_outlives_its_owner_by_an_instant_is_waited_for(open_dir, tmp_path):
    holder = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(0.3)"
    )
    (tmp_path / "state").mkdir()
    argv = [sys.executable, "-I", "-S", "-c", holder, str(tmp_path / "state" / "lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        # Its number stands nowhere: it holds the lock for one that has been killed.
        process.stdout.readline()
        open_dir()


def test_what_runs_and_what_has_ended_are_told_apart(open_dir, tmp_path):
    (tmp_path / "state").mkdir()
    entries = [
        {"name": "runs", "pid": os.getpid(), "created": stamp(os.getpid()), "started": 1.5},
        {"name": "ended", "pid": os.getpid(), "created": "an earlier boot/1", "started": 2.5},
    ]
    (tmp_path / "state" / "processes.json").write_text(json.dumps(entries))
    folder = open_dir()
    assert {name: entry.started for name, entry in folder.running.items()} == {"runs": 1.5}
    assert {name: entry.started for name, entry in folder.ended.items()} == {"ended": 2.5}


def test_a_group_that_only_has_the_number_of_one_of_ours_is_left_alone(open_dir, tmp_path):
    (tmp_path / "state").mkdir()
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        entry = {"name": "ended", "pid": other.pid, "created": "an earlier boot/1", "started": 2.5}
        (tmp_path / "state" / "processes.json").write_text(json.dumps([entry]))
        assert set(open_dir().ended) == {"ended"}
        assert other.poll() is None
        other.kill()


def test_without_a_ledger_the_oldest_holder_of_a_pipe_is_the_child(open_dir, tmp_path):
    pipes = tmp_path / "state" / "pipes"
    pipes.mkdir(parents=True)
    os.mkfifo(pipes / "fake-1")
    fd = os.open(pipes / "fake-1", os.O_RDWR)
    daemon = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True).wait()"
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", daemon], stdout=fd, start_new_session=True) as child:
        os.close(fd)
        kids = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        wait_for(kids.read_text)
        assert {name: entry.pid for name, entry in open_dir().running.items()} == {"fake-1": child.pid}
        os.kill(int(kids.read_text()), 9)
