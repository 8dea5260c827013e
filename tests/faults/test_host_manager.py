"""The host manager killed at random moments, and with children and disks that do not do as they should."""

import os
import random
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.harness import tiny_agent
from tests.harness.agents import start_agent
from tests.harness.clock import Clock
from tests.harness.managing import LIMIT, Managed, end_all, processes_of
from tests.harness.processes import runs
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = 50


@pytest.fixture
def site(site):
    site.add_instance("HostManager", "hm-1")
    yield site
    end_all(site.directory)


@pytest.fixture
def tiny(site):
    """Add tiny agents to the site."""

    def add(*names, arguments=(), **keys):
        for name in names:
            site.add_instance("TinyAgent", name, list(arguments), **keys)

    return add


@pytest.fixture
def environment(tmp_path):
    return tiny_agent.install(tmp_path / "plugins")


@pytest.fixture
def manage(run_agent, environment):
    def start(*arguments, **keywords):
        return Managed(run_agent("hm-1", *arguments, env=environment, **keywords))

    return start


def all_in(next_action, *names):
    return lambda states: all(states[name]["next_action"] == next_action for name in names)


@pytest.mark.timeout(400)
def test_fifty_kills_at_random_moments_cost_no_child_and_make_no_second_one(site, tiny, environment, manage):
    names = [f"tiny-{number}" for number in range(5)]
    tiny(*names)
    seed = time.time_ns()
    print(f"seed {seed}")
    chance = random.Random(seed)
    first = manage()
    first.wait(all_in("up", *names))
    first.handle.kill_alone()
    for _ in range(KILLS):
        handle = start_agent(site, "hm-1", env=environment)
        time.sleep(chance.uniform(0.3, 2.0))  # the moment is what is tested
        if chance.random() < 0.5:
            _end_one(site, chance.choice(names), chance)
        handle.kill_alone()
    managed = manage()
    managed.wait(all_in("up", *names))
    assert tiny_agent.duplicates(site.directory) == []
    assert [processes_of(name, site.directory) for name in names] == [[managed.pid(name)] for name in names]
    assert sum(tiny_agent.starts(site.directory, name) for name in names) > len(names)
    assert managed.handle.stop(signal.SIGTERM, timeout=LIMIT) == 0
    assert [pid for name in names for pid in processes_of(name, site.directory)] == []


def _end_one(site, name, chance):
    for pid in processes_of(name, site.directory):
        with suppress(ProcessLookupError):
            os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGINT]))


def test_a_child_that_ignores_signals_is_ended_all_the_same(site, tiny, manage):
    tiny("deaf", arguments=["--ignore-signals"])
    managed = manage()
    pid = _running(managed, site, "deaf")
    managed.handle.client.update(requests=[["deaf", "down"]])
    managed.wait_action("deaf", "wait_dead")
    managed.handle.client.update(requests=[["deaf", "up"]])
    managed.wait(lambda states: states["deaf"]["next_action"] == "up" and states["deaf"]["pid"] not in (None, pid))
    assert tiny_agent.duplicates(site.directory) == []
    assert [end["signal"] for end in managed.states["deaf"]["exits"]] == [signal.SIGKILL]


def _running(managed, site, name):
    managed.wait(all_in("up", name))
    wait_for(lambda: tiny_agent.starts(site.directory, name) >= 1 and "ready" in _output(managed, name), LIMIT)
    return managed.pid(name)


def _output(managed, name):
    return managed.handle.client.logs(instance_id=name).session["data"]["lines"]


def test_what_a_child_has_started_ends_with_it(site, tiny, manage):
    tiny("parent", arguments=["--with-grandchild"])
    managed = manage()
    pid = _running(managed, site, "parent")
    grandchild = wait_for(lambda: psutil.Process(pid).children(), LIMIT)[0]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not runs(grandchild), LIMIT)
    managed.wait(lambda states: states["parent"]["next_action"] == "up" and states["parent"]["pid"] not in (None, pid))


def test_children_that_exit_at_once_are_started_more_and_more_seldom(site, tiny, manage):
    names = [f"bad-{number}" for number in range(10)]
    tiny(*names, arguments=["--exit-at-once", "3"])
    tiny("good")
    managed = manage()
    managed.wait(lambda states: all(len(states[name]["exits"]) >= 3 for name in names), timeout=100)
    states = managed.states
    assert states["good"]["next_action"] == "up"
    for name in names:
        ends = [end["time"] for end in states[name]["exits"]]
        assert ends[1] - ends[0] >= 3
        assert ends[2] - ends[1] >= 6
        assert states[name]["exits"][0]["code"] == 3


def test_a_disk_that_takes_no_output_is_told_and_hurts_nobody(site, tiny, manage, tmp_path):
    tiny("tiny-1")
    output = tmp_path / "output"
    output.mkdir()
    (output / "tiny-1.log").symlink_to("/dev/full")
    managed = manage("--output-dir", str(output))
    _running(managed, site, "tiny-1")
    managed.wait(lambda states: "No space left" in states["tiny-1"]["trouble"])
    assert "ready" in _output(managed, "tiny-1")


def test_a_manager_that_is_stopped_for_a_while_goes_on_as_if_nothing_had_happened(site, tiny, manage):
    tiny("tiny-1")
    managed = manage()
    pid = _running(managed, site, "tiny-1")
    os.kill(managed.handle.process.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    time.sleep(5)
    os.kill(managed.handle.process.pid, signal.SIGCONT)
    managed.wait(lambda states: states["tiny-1"]["next_action"] == "up" and states["tiny-1"]["pid"] != pid)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.mark.parametrize("offset", [86400, -86400])
def test_a_clock_that_is_set_ends_nobody_and_keeps_nobody_down(site, tiny, environment, clock, run_agent, offset):
    tiny("quiet", "killed")
    environment |= clock.environment
    managed = Managed(run_agent("hm-1", env=environment))
    managed.wait(all_in("up", "quiet", "killed"))
    quiet = managed.pid("quiet")

    # Set while all run: who dies then is started again as ever, and is known to have started at the new time.
    clock.set(offset)
    old = managed.pid("killed")
    os.kill(old, signal.SIGKILL)
    managed.wait(lambda states: states["killed"]["next_action"] == "up" and states["killed"]["pid"] not in (None, old))
    assert abs(managed.states["killed"]["started"] - time.time() - offset) < 3600
    assert managed.pid("quiet") == quiet

    # Set back while no manager is there: the next one knows its children all the same.
    pids = [managed.pid(name) for name in ("quiet", "killed")]
    managed.handle.kill_alone()
    managed.handle.process.wait()
    clock.set(0)
    managed = Managed(run_agent("hm-1", env=environment))
    managed.wait(all_in("up", "quiet", "killed"))
    assert [managed.pid(name) for name in ("quiet", "killed")] == pids
    assert tiny_agent.duplicates(site.directory) == []
