"""What looks at a service's containers show of their runs, in whatever order they come."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.host_manager.service_runs import KEPT, ServiceRuns, host_pid


def seen(container="c1", started=None, *, code=127, finished=None, pid=None):
    return {
        "container_id": container,
        "running": started is not None,
        "started": started,
        "finished": finished,
        "exit_code": code,
        "pid": pid,
    }


@pytest.fixture
def runs():
    return ServiceRuns(now=lambda: 1000.0, find_pid=lambda pid, _container: pid)


def test_what_runs_is_told_and_nothing_has_ended(runs):
    assert runs.observe(seen(started=10.0, pid=7)) is None
    assert (runs.pid, runs.started, runs.restarts, list(runs.exits)) == (7, 10.0, 0, [])


def test_an_end_is_told_with_its_code_and_time_and_asks_for_what_was_printed(runs):
    runs.observe(seen(started=10.0, pid=7))
    entry = runs.observe(seen(code=3, finished=20.0))
    assert entry == {"time": 20.0, "code": 3, "signal": None, "text": "exit code 3", "lines": []}
    assert list(runs.exits) == [entry]
    assert (runs.pid, runs.started) == (None, None)
    assert runs.observe(seen(code=3, finished=20.0)) is None


def test_a_container_that_is_gone_cannot_be_asked(runs):
    runs.observe(seen(started=10.0))
    assert runs.observe({**seen(), "container_id": None}) is None
    assert [(end["time"], end["code"], end["text"]) for end in runs.exits] == [
        (1000.0, None, "its container has been removed")
    ]


@pytest.mark.parametrize("again", [seen(started=11.0), seen("c2", 11.0)])
def test_a_start_between_two_looks_is_an_end_and_a_restart(runs, again):
    runs.observe(seen(started=10.0))
    runs.observe(again)
    assert (runs.restarts, runs.started) == (1, 11.0)
    assert [end["code"] for end in runs.exits] == [None]


def test_while_nobody_knows_nothing_changes(runs):
    runs.observe(seen(started=10.0, pid=7))
    assert runs.observe({**seen(), "running": None}) is None
    assert (runs.pid, runs.started, list(runs.exits)) == (7, 10.0, [])


LOOKS = st.lists(
    st.builds(seen, st.sampled_from(["c1", "c2", None]), st.none() | st.floats(1, 9), code=st.integers(0, 255))
)


@given(LOOKS)
def test_as_many_ends_as_runs_less_the_one_that_is_on(looks):
    runs = ServiceRuns(find_pid=lambda pid, _container: pid)
    begun, before = 0, None
    for look in looks:
        runs.observe(look)
        now = (str(look["container_id"]), look["started"]) if look["running"] else None
        begun += now is not None and now != before
        before = now
    ended = begun - (before is not None)
    assert len(runs.exits) == min(ended, KEPT)
    assert runs.restarts == max(0, begun - 1)
    assert (runs.started is not None) == (before is not None)


def test_a_process_of_another_container_or_none_is_not_taken_for_it():
    assert host_pid(os.getpid(), "0123456789abcdef" * 4) is None
    assert host_pid(2**22 + 1, "0123456789abcdef" * 4) is None
