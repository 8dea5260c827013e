"""A spawn agent on a real router, with components as naughty as their names."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.harness import naughty_component
from tests.harness.agents import bridge_call
from tests.harness.processes import runs
from tests.harness.spawning import LONGEST_CALL, component, spawning_machine
from tests.harness.waiting import wait_for


@pytest.fixture
def environment(tmp_path):
    return naughty_component.install(tmp_path / "plugins")


@pytest.fixture
def machine(site, run_agent, environment):
    with spawning_machine(site, run_agent, environment) as made:
        yield made


def test_what_is_spawned_is_registered_and_runs(machine):
    assert machine.spawn("good") == {"_type": "Spawned"}
    assert machine.registered("good")
    assert [runs(pid) for pid in machine.pids("good")] == [True]


def test_what_is_killed_is_gone_from_the_machine_and_from_the_router(machine):
    machine.spawn("good")
    assert machine.kill("good") == {"_type": "Killed"}
    assert not machine.registered("good")
    assert not any(runs(pid) for pid in machine.pids("good"))


def test_what_was_killed_can_be_spawned_again(machine):
    for _ in range(2):
        assert machine.spawn("good") == {"_type": "Spawned"}
        assert machine.kill("good") == {"_type": "Killed"}
    exits = wait_for(
        lambda: machine.child("good")["exits"] if len(machine.child("good").get("exits", ())) > 1 else None
    )
    assert [note["text"] for note in exits] == ["exit code 0"] * 2


def test_what_is_registered_already_is_not_spawned_again(machine):
    machine.spawn("good")
    answer = machine.spawn("good")
    assert answer["_type"] == "Failed"
    assert "registered already: on" in answer["msg"]
    assert str(machine.pids("good")[0]) in answer["msg"]
    assert len(machine.pids("good")) == 1


def test_of_many_spawns_at_the_same_moment_exactly_one_succeeds(machine):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: machine.spawn("good")["_type"], range(8)))
    assert sorted(answers) == ["Failed"] * 7 + ["Spawned"]
    assert len(machine.pids("good")) == 1


def test_of_spawns_by_two_agents_at_the_same_moment_exactly_one_succeeds(machine, site, run_agent, environment):
    with spawning_machine(site, run_agent, environment, "spawner-2") as other:
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda one: one.spawn("good"), [machine, other]))
        assert sorted(answer["_type"] for answer in answers) == ["Failed", "Spawned"]
        assert sum(runs(pid) for pid in machine.pids("good")) == 1


def test_many_components_are_spawned_at_the_same_time(machine):
    names = [f"good-{number}" for number in range(5)]
    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(machine.spawn, names)) == [{"_type": "Spawned"}] * 5
        assert list(threads.map(machine.kill, names)) == [{"_type": "Killed"}] * 5


def test_one_that_exits_before_it_registers_is_told_with_its_last_lines(machine):
    answer = machine.spawn("exits")
    assert answer["_type"] == "Failed"
    assert "ended before it registered: exit code 3" in answer["msg"]
    assert "there is no filter wheel" in answer["msg"]


def test_what_one_that_exits_has_started_is_not_left_behind(machine):
    assert machine.spawn("exits-forks")["_type"] == "Failed"
    assert len(machine.pids("exits-forks")) == 5
    assert not any(runs(pid) for pid in machine.pids("exits-forks"))


def test_one_that_never_registers_is_killed_with_all_it_has_started_within_20_s(machine):
    before = time.monotonic()
    answer = machine.spawn("silent-stubborn-forks")
    assert time.monotonic() - before < 20
    assert answer["_type"] == "Failed"
    assert "has not registered within 18 s" in answer["msg"]
    assert len(machine.pids("silent-stubborn-forks")) == 5
    assert not any(runs(pid) for pid in machine.pids("silent-stubborn-forks"))


def test_one_that_registers_under_another_name_is_killed_and_said_to_have(machine):
    answer = machine.spawn("misnamed")
    assert answer["_type"] == "Failed"
    assert "but as SequenceComponent ESW.not_misnamed" in answer["msg"]
    assert not any(runs(pid) for pid in machine.pids("misnamed"))


def test_a_family_is_killed_with_its_component_and_its_children_are_told_first(machine):
    machine.spawn("good-forks")
    family = machine.pids("good-forks")
    assert len(family) == 5
    assert machine.kill("good-forks") == {"_type": "Killed"}
    assert not any(runs(pid) for pid in family)
    assert (machine.site.directory / "good-forks.told").exists()


def test_one_that_ignores_signals_is_killed_after_10_s(machine):
    machine.spawn("good-stubborn")
    before = time.monotonic()
    assert machine.kill("good-stubborn") == {"_type": "Killed"}
    assert time.monotonic() - before > 9.9
    exits = wait_for(lambda: machine.child("good-stubborn").get("exits"))
    assert (exits[0]["signal"], exits[0]["text"]) == (9, "killed by SIGKILL")


def test_what_is_not_registered_cannot_be_killed(machine):
    answer = machine.kill("nobody")
    assert answer == {"_type": "Failed", "msg": "SequenceComponent ESW.nobody is not registered"}


def test_what_is_started_by_hand_can_be_killed_here(machine, site, run_agent, environment):
    site.add_instance(
        "NaughtyComponent", "byhand", ["--prefix", "ESW.good-byhand", "--working-dir", str(site.directory)]
    )
    agent = run_agent("byhand", env=environment)
    wait_for(lambda: machine.registered("good-byhand"))
    wait_for(lambda: machine.kill("good-byhand") == {"_type": "Killed"})
    assert agent.process.wait(10) is not None


def test_an_instance_of_this_host_is_spawned_and_killed(machine, site):
    site.add_instance("FakeDataAgent", "fake-spawned", ["--mode", "idle"])
    assert machine.request(kind="Agent", instanceId="fake-spawned") == {"_type": "Spawned"}
    assert bridge_call(site.http_url, site.address("fake-spawned"), "get_api")
    answer = machine.kill_id({"prefix": "OCS.fake-spawned", "componentType": "Agent"})
    assert answer == {"_type": "Killed"}


def test_an_instance_that_no_file_describes_is_not_spawned(machine):
    answer = machine.request(kind="Agent", instanceId="nowhere")
    assert answer["_type"] == "Failed"
    assert "describes no instance 'nowhere'" in answer["msg"]


def test_an_agent_that_does_not_say_its_process_is_not_killed(machine, site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "idle"])
    run_agent("fake-1")
    target = {"prefix": "OCS.fake-1", "componentType": "Agent"}
    wait_for(lambda: "not registered" not in machine.kill_id(target)["msg"])
    assert "no pid" in machine.kill_id(target)["msg"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (None, "request"),
        ({}, "kind"),
        ({"kind": "SequenceComponent"}, "componentName"),
        ({"kind": "SequenceComponent", "componentName": "a.b"}, "componentName"),
        ({"kind": "SequenceManager", "obsModeConfigPath": "x", "isConfigLocal": "yes"}, "isConfigLocal"),
        ({"kind": "SequenceManager", "obsModeConfigPath": "nowhere.yaml", "isConfigLocal": True}, "obsModeConfigPath"),
        ({"kind": "Agent", "instanceId": "--help"}, "instanceId"),
        ({"kind": "SequenceComponent", "componentName": "good", "version": "0.0.1"}, "version"),
    ],
)
def test_a_bad_request_is_answered_by_one_line_that_names_the_field(machine, request_, field):
    answer = bridge_call(machine.site.http_url, f"{machine.agent.address}.spawn", request_, timeout=LONGEST_CALL)
    assert answer["_type"] == "Failed"
    assert answer["msg"].startswith(f"{field}:")
    assert "\n" not in answer["msg"]


def test_nothing_of_a_request_reaches_a_shell(machine):
    name = "good; touch pwned `touch pwned` $(touch pwned)"
    assert machine.spawn(name) == {"_type": "Spawned"}
    assert machine.kill(name) == {"_type": "Killed"}
    assert not (machine.site.directory / "pwned").exists()


def test_an_end_that_nobody_asked_for_is_noted_with_code_and_time(machine):
    before = time.time()
    machine.spawn("crashes")
    note = wait_for(lambda: machine.child("crashes").get("exits"))[0]
    assert (note["code"], note["signal"]) == (7, None)
    assert before < note["started"] < note["ended"] < time.time() + 1
    assert wait_for(lambda: machine.child("crashes").get("state") == "ended")
    assert machine.spawn("crashes") == {"_type": "Spawned"}


def test_what_a_component_has_printed_is_read_by_a_task_also_after_its_end(machine):
    machine.spawn("exits")
    status, _message, session = machine.agent.client.logs(component="SequenceComponent.ESW.exits", lines=5)
    assert status == 0
    assert session["data"]["lines"] == ["ESW.exits is exits", "there is no filter wheel"]
    assert "there is no filter wheel" in Path(session["data"]["log_file"]).read_text()


def test_operators_spawn_and_kill_by_tasks(machine):
    spawned = machine.agent.client.spawn(request={"kind": "SequenceComponent", "componentName": "good"})
    assert spawned.session["success"], spawned
    wait_for(lambda: machine.child("good").get("state") == "running")
    killed = machine.agent.client.kill(component=component("good"))
    assert killed.session["success"], killed
    refused = machine.agent.client.kill(component=component("good"))
    assert not refused.session["success"]
    assert "not registered" in str(refused)


def test_one_that_is_registered_and_does_not_answer_is_said_not_to(machine):
    machine.spawn("good")
    pid = machine.pids("good")[0]
    os.kill(pid, signal.SIGSTOP)
    answer = machine.spawn("good")
    assert answer["_type"] == "Failed"
    assert f"registered already: on {os.uname().nodename}, process {pid}" in answer["msg"]
    assert "it does not answer: its machine may be cut off" in answer["msg"]
    assert machine.kill("good") == {"_type": "Killed"}


class TestContainers:
    def write(self, machine, *entries):
        path = machine.site.directory / "containers.yaml"
        path.write_text(yaml.safe_dump({"containers": list(entries)}))
        return path

    def test_all_that_a_file_lists_are_spawned(self, machine, site):
        site.add_instance("FakeDataAgent", "fake-listed", ["--mode", "idle"])
        (site.directory / "modes.yaml").write_text("obsModes: {dark: {resources: [], sequencers: [ESW]}}\n")
        path = self.write(
            machine,
            {"kind": "SequenceComponent", "componentName": "good-1"},
            {"kind": "SequenceComponent", "componentName": "exits"},
            {"kind": "Agent", "instanceId": "fake-listed"},
            {"kind": "SequenceManager", "obsModeConfigPath": "modes.yaml", "isConfigLocal": False},
        )
        answer = machine.containers("containers.yaml", is_local=False)
        assert answer["_type"] == "Completed"
        assert answer["res"].pop("ESW.exits")["_type"] == "Failed"
        spawned = ["ESW.good-1", "OCS.fake-listed", "ESW.sequence_manager"]
        assert answer["res"] == {prefix: {"_type": "Spawned"} for prefix in spawned}, path
        for prefix, kind in zip(spawned, ["SequenceComponent", "Agent", "Service"], strict=True):
            assert machine.kill_id({"prefix": prefix, "componentType": kind}) == {"_type": "Killed"}

    def test_a_mistake_anywhere_is_told_with_its_place_and_nothing_is_started(self, machine):
        good = {"kind": "SequenceComponent", "componentName": "good"}
        path = self.write(machine, good, {"kind": "Agent", "instanceId": "nowhere"})
        answer = machine.containers(path)
        assert answer["_type"] == "Failed"
        assert answer["msg"].startswith(f"{path}:4: containers.1: ")
        assert "describes no instance 'nowhere'" in answer["msg"]
        assert not machine.pids("good")

    @pytest.mark.parametrize("request_", [None, {}, {"hostConfigPath": 5, "isConfigLocal": True}])
    def test_a_bad_request_is_one_line(self, machine, request_):
        answer = bridge_call(machine.site.http_url, f"{machine.agent.address}.containers", request_)
        assert answer["_type"] == "Failed"
        assert "\n" not in answer["msg"]

    def test_operators_do_it_by_a_task(self, machine):
        path = self.write(
            machine,
            {"kind": "SequenceComponent", "componentName": "good"},
            {"kind": "SequenceComponent", "componentName": "exits"},
        )
        request = {"hostConfigPath": str(path), "isConfigLocal": True}
        session = machine.agent.client.spawn_containers(request=request).session
        assert not session["success"]
        assert session["data"]["ESW.good"] == {"_type": "Spawned"}
        assert "1 of 2 spawned; SequenceComponent ESW.exits has ended" in session["messages"][-2][1]
