"""Families of processes: who belongs to one wherever it has gone, and that nobody else is ever meant."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.spawn_agent.family import MARK, Kin, Member, find_family, leaves_first, look, send, still_there
from ocs.supervisor.proc import stamp
from tests.harness.waiting import wait_for

_SLEEP = "import time; time.sleep(600)"

_TREE = f"""
import subprocess, sys, time
python = [sys.executable, "-c"]
sleep = {_SLEEP!r}
print(subprocess.Popen([*python, sleep]).pid)
print(subprocess.Popen([*python, sleep], start_new_session=True).pid)
# A daemon: its parent ends, and it leads a session of its own.
orphan = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]],"
orphan += " start_new_session=True, stdout=subprocess.DEVNULL).pid)"
print(int(subprocess.run([*python, orphan, sleep], stdout=subprocess.PIPE, check=True).stdout))
print("all", flush=True)
time.sleep(600)
"""


@contextmanager
def process(code=_SLEEP, **env):
    started = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, env={**os.environ, **env}
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@contextmanager
def tree(mark):
    """A process, with a child, a child in another session, and a daemon that is nobody's child."""
    with process(_TREE, **{MARK: mark}) as root:
        below = [int(line) for line in iter(root.stdout.readline, b"all\n")]
        try:
            yield root, below
        finally:
            for pid in below:
                os.kill(pid, signal.SIGKILL) if stamp(pid) else None


def member(pid):
    return Member(pid, stamp(pid))


def test_all_that_a_process_has_started_is_found_wherever_it_has_gone():
    with tree("family-1") as (root, below):
        found = [each.pid for each in find_family(member(root.pid), "family-1")]
        assert sorted(found) == sorted([root.pid, *below])
        assert found[-1] == root.pid


def test_without_a_mark_those_are_found_that_a_parent_or_group_ties():
    with tree("family-2") as (root, below):
        assert {each.pid for each in find_family(member(root.pid), "")} == {root.pid, *below[:2]}


def test_a_family_is_found_after_the_death_of_its_root():
    with tree("family-3") as (root, below):
        gone = member(root.pid)
        root.kill()
        root.wait()
        assert {each.pid for each in find_family(gone, "family-3")} == set(below)


def test_another_components_family_is_not_found():
    with tree("family-4"), process(**{MARK: "family-44"}) as other:
        assert [each.pid for each in find_family(member(other.pid), "family-44")] == [other.pid]


def test_one_that_has_got_the_id_since_is_not_taken_for_the_root():
    with process() as other:
        assert find_family(Member(other.pid, "earlier"), "family-5") == []


def test_neither_we_nor_the_systems_first_process_is_in_any_family():
    assert os.getpid() not in [each.pid for each in find_family(member(os.getpid()), "")]
    assert 1 not in [each.pid for each in find_family(Member(1, stamp(1) or ""), "")]


def test_a_signal_reaches_those_that_are_meant():
    with process() as one:
        send([member(one.pid)], signal.SIGTERM)
        assert one.wait(10) == -signal.SIGTERM


def test_a_signal_never_reaches_another_process_that_has_got_the_id():
    with process() as other:
        send([Member(other.pid, "earlier")], signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)


def test_a_signal_to_one_that_has_ended_is_no_mistake():
    with process() as one:
        known = member(one.pid)
        one.kill()
        one.wait()
    send([known], signal.SIGTERM)


def test_one_that_waits_to_be_reaped_has_ended():
    with process() as one:
        known = member(one.pid)
        assert still_there([known]) == [known]
        one.kill()
        wait_for(lambda: still_there([known]) == [])
        one.wait()


def test_we_are_among_all_processes():
    found = {kin.pid: kin for kin in look("")}
    assert found[os.getpid()].parent == os.getppid()
    assert found[os.getpid()].group == os.getpgrp()


def test_looking_at_all_processes_ends_while_others_come_and_go():
    began = time.monotonic()
    with process():
        assert any(kin.is_marked for kin in look("nobody")) is False
    assert time.monotonic() - began < 20


_kin = st.builds(
    Kin,
    st.integers(2, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
)


@given(st.lists(_kin, max_size=12, unique_by=lambda kin: kin.pid), st.integers(2, 12))
def test_descendants_come_before_those_that_they_descend_from(processes, root):
    """Also where parents go round in a circle, as they do when ids are given away again in the middle of a look."""
    order = leaves_first(processes, root)
    known = {kin.pid: kin for kin in processes}
    assert len(order) == len(set(order))
    assert set(order) <= set(known)
    for pid in order:
        assert _is_tied(pid, root, known)
    if not _has_circle(known):
        for place, pid in enumerate(order):
            assert known[pid].parent not in order[:place]
        assert root not in order or order[-1] == root or _descends(root, known, order)


def _is_tied(pid, root, known):
    seen = set()
    while pid in known and pid not in seen:
        seen.add(pid)
        kin = known[pid]
        if pid == root or kin.is_marked or root in (kin.group, kin.session):
            return True
        pid = kin.parent
    return pid == root


def _has_circle(known):
    for start in known:
        seen, pid = set(), start
        while pid in known:
            if pid in seen:
                return True
            seen.add(pid)
            pid = known[pid].parent
    return False


def _descends(root, known, order):
    """The root itself may descend from another that bears the mark."""
    return known[root].parent in order
