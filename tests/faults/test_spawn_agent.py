"""Spawn agents, routers and components killed at the wrong moment: what is spawned is there, or is not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from ocs.supervisor.proc import stamp
from tests.harness import naughty_component
from tests.harness.processes import runs
from tests.harness.spawning import spawning_machine
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SPAWNED, KILLED = {"_type": "Spawned"}, {"_type": "Killed"}


@pytest.fixture
def environment(tmp_path):
    return naughty_component.install(tmp_path / "plugins")


@pytest.fixture
def machine(site, run_agent, environment):
    with spawning_machine(site, run_agent, environment) as made:
        yield made


@contextmanager
def in_mid_spawn(machine, name):
    """Have a spawn under way, whose process has begun."""

    def spawn():
        with suppress(LookupError):  # the spawn agent is killed before it answers
            machine.spawn(name)

    spawning = threading.Thread(target=spawn)
    spawning.start()
    try:
        wait_for(lambda: machine.pids(name))
        yield machine.pids(name)[0]
    finally:
        spawning.join(30)


def restart(machine):
    """Kill the spawn agent, and nothing else; start the next one."""
    machine.agent.kill_alone()
    machine.start()


def test_components_outlive_their_spawn_agent_and_are_the_next_ones(machine):
    for name in ("good", "good-forks"):
        assert machine.spawn(name) == SPAWNED
    pids = {name: machine.pids(name) for name in ("good", "good-forks")}
    restart(machine)
    wait_for(lambda: machine.is_in_state("good", "running") and machine.is_in_state("good-forks", "running"))
    assert machine.child("good")["pid"] == pids["good"][0]
    assert {name: machine.pids(name) for name in pids} == pids
    assert "registered already" in machine.spawn("good")["msg"]
    assert machine.kill("good-forks") == KILLED
    assert not any(map(runs, pids["good-forks"]))
    assert machine.spawn("good-forks") == SPAWNED


def test_an_end_that_nobody_has_seen_is_noted_as_one_without_a_code(machine):
    machine.spawn("good")
    machine.agent.kill_alone()
    os.kill(machine.pids("good")[0], signal.SIGKILL)
    machine.start()
    note = wait_for(lambda: machine.child("good").get("exits"))[0]
    assert (note["code"], note["signal"]) == (None, None)
    assert wait_for(lambda: machine.is_in_state("good", "ended"))
    assert wait_for(lambda: machine.spawn("good") == SPAWNED)


def test_one_that_was_being_spawned_and_registers_is_kept_by_the_next_agent(machine):
    with in_mid_spawn(machine, "good-slow") as pid:
        restart(machine)
    wait_for(lambda: machine.is_in_state("good-slow", "running"))
    assert machine.registered("good-slow")
    assert machine.pids("good-slow") == [pid]


def test_one_that_was_being_spawned_and_never_registers_is_not_left_behind(machine):
    with in_mid_spawn(machine, "silent-forks"):
        wait_for(lambda: len(machine.pids("silent-forks")) == 5)
        restart(machine)
    wait_for(lambda: not any(map(runs, machine.pids("silent-forks"))), timeout=30)
    assert wait_for(lambda: machine.child("silent-forks").get("exits"))
    assert wait_for(lambda: machine.is_in_state("silent-forks", "ended"))


def test_one_that_had_registered_in_an_earlier_run_is_not_taken_for_registered_now(machine):
    """What is remembered of a name says nothing of another process."""
    assert machine.spawn("good") == SPAWNED
    assert machine.kill("good") == KILLED
    innocent = json.loads((machine.state_dir / "components.json").read_text())["SequenceComponent.ESW.good"]
    machine.agent.kill_alone()
    records = machine.state_dir / "components.json"
    silent = {**innocent, "component": {**innocent["component"], "prefix": "ESW.silent"}}
    records.write_text(json.dumps({"SequenceComponent.ESW.silent": silent}))
    machine.start()
    with in_mid_spawn(machine, "silent") as pid:
        restart(machine)
    wait_for(lambda: not runs(pid), timeout=30)


def test_a_spawn_agent_that_is_told_to_end_takes_back_what_it_was_spawning(machine):
    machine.spawn("good")
    with in_mid_spawn(machine, "silent-stubborn") as pid:
        assert machine.agent.stop(signal.SIGTERM, timeout=20) == 0
    assert not runs(pid)
    assert runs(machine.pids("good")[0])


def test_when_the_router_returns_all_come_back_and_none_is_spawned_twice(own_router, make_site, run_agent, environment):
    site = make_site(own_router)
    names = ["good-1", "good-2", "good-3"]
    with (
        spawning_machine(site, run_agent, environment) as machine,
        spawning_machine(site, run_agent, environment, "spawner-2") as other,
    ):
        assert [machine.spawn(name) for name in names] == [SPAWNED] * 3
        pids = {name: machine.pids(name) for name in names}
        own_router.kill()
        time.sleep(1)  # they find out at their leisure
        own_router.start()
        wait_for(lambda: answers(other) and answers(machine), timeout=20)
        with ThreadPoolExecutor(6) as threads:
            spawns = [threads.submit(one.spawn, name) for one in (machine, other) for name in names]
        assert ["registered already" in spawn.result().get("msg", "") for spawn in spawns] == [True] * 6
        assert {name: machine.pids(name) for name in names} == pids
        assert all(runs(pid) for found in pids.values() for pid in found)
        wait_for(lambda: all(machine.is_in_state(name, "running") for name in names))
        assert [machine.kill(name) for name in names] == [KILLED] * 3


def answers(machine):
    with suppress(LookupError):
        return machine.agent.call("", "get_api")


def test_the_signal_that_ended_a_component_is_noted_and_the_router_knows_within_2_s(machine):
    machine.spawn("good")
    os.kill(machine.pids("good")[0], signal.SIGKILL)
    wait_for(lambda: not machine.registered("good"), timeout=2.0)
    note = wait_for(lambda: machine.child("good").get("exits"))[0]
    assert (note["code"], note["signal"], note["text"]) == (None, 9, "killed by SIGKILL")
    assert machine.spawn("good") == SPAWNED


def test_what_a_component_that_was_killed_has_left_is_gone_when_it_is_spawned_again(machine):
    machine.spawn("good-forks")
    family = machine.pids("good-forks")
    os.kill(family[0], signal.SIGKILL)
    wait_for(lambda: machine.is_in_state("good-forks", "ended"))
    assert any(map(runs, family))  # daemons, which lead sessions of their own
    assert machine.spawn("good-forks") == SPAWNED
    assert not any(map(runs, family))
    assert machine.kill("good-forks") == KILLED


def test_a_component_that_prints_100_mb_fills_no_disk(machine):
    assert machine.spawn("good-floods") == SPAWNED
    log_file = wait_for(lambda: machine.child("good-floods").get("log_file"))
    folder, name = os.path.split(log_file)
    sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name.startswith(name)]
    assert 30_000_000 < sum(sizes) < 41_000_000
    assert max(sizes) <= 10_000_000
    session = machine.agent.client.logs(component="SequenceComponent.ESW.good-floods", lines=400).session
    assert any(line.startswith("099999 ") for line in session["data"]["lines"])


def test_of_twenty_spawns_over_two_agents_exactly_one_succeeds_every_time(machine, site, run_agent, environment):
    with spawning_machine(site, run_agent, environment, "spawner-2") as other, ThreadPoolExecutor(20) as threads:
        for _ in range(5):
            answers = list(threads.map(lambda one: (one, one.spawn("good")), [machine, other] * 10))
            winners = [one for one, answer in answers if answer == SPAWNED]
            assert len(winners) == 1, answers
            assert sum(map(runs, machine.pids("good"))) == 1
            assert winners[0].kill("good") == KILLED
            assert not any(map(runs, machine.pids("good")))


@pytest.fixture
def innocent():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_process_that_has_got_the_id_of_a_component_is_never_touched(innocent, machine, is_settled):
    """Neither where the component had registered, nor where its spawn has to be brought to an end."""
    machine.spawn("good")
    machine.agent.kill_alone()
    os.kill(machine.pids("good")[0], signal.SIGKILL)
    ledger = machine.state_dir / "processes.json"
    entries = [{**entry, "pid": innocent.pid} for entry in json.loads(ledger.read_text())]
    assert [entry["created"] for entry in entries] != [stamp(innocent.pid)]
    ledger.write_text(json.dumps(entries))
    if not is_settled:
        (machine.state_dir / "components.json").unlink()
    machine.start()
    assert wait_for(lambda: machine.is_in_state("good", "ended") or not is_settled)
    assert wait_for(lambda: "not registered" in machine.kill("good").get("msg", ""))
    killed = machine.agent.client.kill(component="SequenceComponent.ESW.good", unregistered=True)
    assert not killed.session["success"]
    assert wait_for(lambda: machine.spawn("good") == SPAWNED)
    assert machine.kill("good") == KILLED
    assert runs(innocent.pid)
    assert innocent.poll() is None
