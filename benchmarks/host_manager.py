"""The host manager: many agents from start to heartbeat, one that is killed, all down, and doing nothing."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks.case import Case, Figure, Target
from benchmarks.processes import MIB, process_cpu
from benchmarks.sides import OURS, BenchmarkError

__all__ = ["CASES"]

MODULE, KIND, INSTANCE = "ocs.agents.host_manager.agent", "HostManager", "hm"
CHILD = "FakeDataAgent"
STABLE = 62.0  # seconds after which a child counts as stable
TICKS = os.sysconf("SC_CLK_TCK")


def names(number):
    return [f"faker-{index}" for index in range(number)]


@contextmanager
def managed(bench, side, number):
    """A manager of ``number`` fake-data agents, all up: (the manager, the watcher, when the last was heard of)."""
    with bench.program("fleet_watcher", bench.ws_url) as watcher:
        watcher.answer()
        site = bench.site_file((KIND, INSTANCE), *((CHILD, name) for name in names(number)))
        command = [side.python, "-m", MODULE, "--site-file", site, "--instance-id", INSTANCE]
        with bench.child(f"{INSTANCE}-{side}", *command) as manager:
            try:
                yield manager, watcher, until_heard(watcher, set(names(number)), 30 + 2 * number)
            finally:
                end_family(manager)


def end_family(manager):
    """End the manager, and whatever it leaves behind."""
    family = psutil.Process(manager.pid).children(recursive=True) if manager.is_alive else []
    manager.stop(30)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def until_heard(watcher, wanted, patience):
    """Wait until each of the agents has been heard of; return when the last one was."""
    wanted, last, deadline = set(wanted), 0.0, time.time() + patience
    while wanted:
        heard = watcher.answer(max(0.1, deadline - time.time()))
        if heard["agent"] in wanted:
            wanted.discard(heard["agent"])
            last = heard["time"]
    return last


def family_cpu(pid):
    """CPU seconds of a process and its descendants, with those that have ended and been waited for."""
    total = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(OSError, psutil.NoSuchProcess):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / TICKS
    return total


def family_share(pid):
    """Memory of a process and its descendants by proportional share, in MiB."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / MIB


def pid_of(name):
    """The process of one agent."""
    title = f"ocs-agent:{name}"
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if title in process.cmdline()[:1] or name in process.cmdline():
                return process.pid
    raise BenchmarkError(f"there is no process of {name}")


def killed(watcher, name):
    """Seconds from the SIGKILL of an agent to the first heartbeat of the next."""
    began = time.time()
    os.kill(pid_of(name), signal.SIGKILL)
    return until_heard(watcher, {name}, 60) - began


def all_down(bench, manager):
    """Seconds from the request that all go down until no process of theirs is left."""
    began = time.time()
    bench.operation(INSTANCE, "start", "update", params={"requests": [["all", "down"]]})
    while agents_of(manager):
        time.sleep(0.02)
        if time.time() - began > 60:
            raise BenchmarkError("there are children left a minute after all were told to go down")
    return time.time() - began


def agents_of(manager):
    """The children that are agents, by their title or command line."""
    found = []
    for process in psutil.Process(manager.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("faker-" in word for word in process.cmdline()):
                found.append(process.pid)
    return found


def fleet(number, bench, side):
    """From the start of the manager to the heartbeats of all its agents; then a kill, and all down."""
    with managed(bench, side, number) as (manager, watcher, last):
        found = {"wall": last - manager.started, "cpu": family_cpu(manager.pid)}
        time.sleep(2)
        found["pss"] = family_share(manager.pid)
        if not bench.quick:
            time.sleep(max(0.0, STABLE - (time.time() - last)))
            found["again"] = killed(watcher, "faker-1")
            time.sleep(5)
        found["down"] = all_down(bench, manager)
        return found


def idle(number, bench, side):
    """A manager whose agents are all up and stable."""
    with managed(bench, side, number) as (manager, _watcher, _last):
        time.sleep(10 if bench.quick else STABLE)
        before, began = process_cpu(manager.pid), time.time()
        time.sleep(10 if bench.quick else 30)
        return {
            "cpu": 100 * (process_cpu(manager.pid) - before) / (time.time() - began),
            "rss": manager.memory()[0],
            "status": asked(bench),
        }


def asked(bench):
    """Milliseconds that the status of the manager's process takes, through the router's HTTP bridge."""
    took = []
    for _ in range(5):
        began = time.time()
        bench.operation(INSTANCE, "status", "manager")
        took.append(1000 * (time.time() - began))
    return median(took)


def crowd(number, bench, side):
    """Very many agents on this machine: all are heard of, and none had to be started twice."""
    with managed(bench, side, number) as (manager, _watcher, last):
        time.sleep(5)
        states = bench.operation(INSTANCE, "status", "manager")["data"]["child_states"]
        return {
            "wall": last - manager.started,
            "cpu": family_cpu(manager.pid),
            "pss": family_share(manager.pid),
            "up": sum(state["next_action"] == "up" for state in states),
            "again": sum(state.get("restarts", 0) for state in states),
            "down": all_down(bench, manager),
        }


CASES = (
    Case(
        "manager 30 agents",
        "a host manager and 30 fake-data agents",
        partial(fleet, 30),
        (
            Figure("wall", "all up, from the manager's start (s)", (Target(0.3),)),
            Figure("cpu", "CPU of all until then (s)", (Target(0.3),)),
            Figure("pss", "memory of all, PSS (MiB)", (Target(0.5),)),
            Figure("again", "stable child, SIGKILL to heartbeat (s)", (Target(1.5, ratio=False),)),
            Figure("down", "all down (s)", (Target(3.0, ratio=False),)),
        ),
        rounds=3,
    ),
    Case(
        "manager idle 100",
        "a host manager of 100 fake-data agents that are up",
        partial(idle, 100),
        (
            Figure("cpu", "manager CPU (% of a core)", (Target(1.0, ratio=False),)),
            Figure("rss", "manager memory, RSS (MiB)"),
            Figure("status", "manager.status() (ms)"),
        ),
        rounds=1,
        quick_rounds=0,
    ),
    Case(
        "manager 200 agents",
        "a host manager of 200 fake-data agents",
        partial(crowd, 200),
        (
            Figure("wall", "all up, from the manager's start (s)"),
            Figure("cpu", "CPU of all until then (s)"),
            Figure("pss", "memory of all, PSS (MiB)"),
            Figure("up", "agents up", (Target(200, ratio=False, most=False),)),
            Figure("again", "started more than once", (Target(0, ratio=False),)),
            Figure("down", "all down (s)"),
        ),
        rounds=1,
        quick_rounds=0,
        sides=(OURS,),
    ),
)
