"""The surface of the spawn agent, without a router: operations, procedures, arguments."""

import argparse

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from ocs.agents.spawn_agent.agent import STOP_GRACE, SpawnAgent, make_parser
from ocs.agents.spawn_agent.arguments import make_commands, prefix_of
from ocs.components.names import Prefix
from ocs.errors import OCSError
from ocs.keys.making import make_site
from ocs.keys.table import Identity
from tests.harness.fakes import unconnected_agent
from tests.harness.spawn_world import World

ensure = pytest_twisted.ensureDeferred


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    pytest_twisted.blockon(ensureDeferred(made.end()))


@pytest.fixture
def agent(world):
    return unconnected_agent(world.reactor)


@pytest.fixture
def ours(world, agent):
    return SpawnAgent(agent, world.spawner, world.place, world.children, world.bell)


def parameters(op):
    return {entry["name"]: entry.get("default") for entry in op.encoded()["params"]}


def test_the_operations_and_their_parameters_are_those_of_the_page(ours):
    assert {name: parameters(op) for name, op in {**ours.agent.processes, **ours.agent.tasks}.items()} == {
        "main": {},
        "spawn": {"request": None},
        "spawn_containers": {"request": None},
        "kill": {"component": None, "unregistered": False},
        "logs": {"component": None, "lines": 50, "position": None},
    }


def test_every_operation_is_described_by_its_call(ours):
    for name, op in {**ours.agent.processes, **ours.agent.tasks}.items():
        assert op.docstring.startswith(f"{name}(")


def test_many_can_ask_at_once_by_procedures(ours):
    assert sorted(ours.agent.procedures) == ["containers", "kill", "spawn"]


def test_there_is_time_to_take_back_what_is_being_spawned(ours):
    assert ours.agent.stop_grace == STOP_GRACE >= 10


@ensure
async def test_requests_are_answered_as_http_clients_see_them(ours):
    request = {"kind": "SequenceComponent", "componentName": "good"}
    assert await ours.serve_spawn(request, "more", than="wanted") == {"_type": "Spawned"}
    component = {"prefix": "ESW.good", "componentType": "SequenceComponent"}
    assert await ours.serve_kill(component) == {"_type": "Killed"}


@pytest.mark.parametrize("request_", [None, 5, [], {}, {"kind": "Filter"}, {"prefix": "a"}])
@ensure
async def test_whatever_is_asked_there_is_an_answer(ours, request_):
    for serve in (ours.serve_spawn, ours.serve_kill, ours.serve_containers):
        answer = await serve(request_)
        assert answer["_type"] == "Failed"
        assert "\n" not in answer["msg"]


@ensure
async def test_a_caller_that_hangs_up_breaks_off_nothing(ours, world):
    calling = ours.serve_spawn({"kind": "SequenceComponent", "componentName": "good"})
    calling.addErrback(lambda _failure: None)
    calling.cancel()
    await world.until(lambda: "SequenceComponent.ESW.good" in world.children.records)
    await world.until(lambda: world.children.is_confirmed("SequenceComponent.ESW.good"))


@ensure
async def test_a_mistake_of_ours_is_an_answer_too(ours, world, monkeypatch):
    monkeypatch.setattr(world.spawner, "spawn", lambda _wanted: 1 / 0)
    answer = await ours.serve_spawn({"kind": "SequenceComponent", "componentName": "good"})
    assert "could not carry that out; its log says why" in answer["msg"]


@ensure
async def test_a_file_is_read_whole_before_anything_is_started(ours, world, tmp_path):
    path = tmp_path / "machine1.yaml"
    path.write_text("containers:\n- {kind: SequenceComponent, componentName: good}\n- {kind: Filter}\n")
    answer = await ours.serve_containers({"hostConfigPath": str(path), "isConfigLocal": True})
    assert answer["msg"].startswith(f"{path}:3: containers.1: kind: must be one of")
    assert not world.children.records


@ensure
async def test_all_of_a_file_are_spawned(ours, tmp_path):
    path = tmp_path / "machine1.yaml"
    path.write_text(
        "\n".join(["containers:", *(f"- {{kind: SequenceComponent, componentName: c{n}}}" for n in (1, 2))])
    )
    answer = await ours.serve_containers({"hostConfigPath": "machine1.yaml", "isConfigLocal": True})
    assert answer == {"_type": "Completed", "res": {"ESW.c1": {"_type": "Spawned"}, "ESW.c2": {"_type": "Spawned"}}}


# Arguments


def arguments(**given):
    usual = {"working_dir": "/daq", "site_file": None, "site_host": None, "log_dir": None}
    parsed = vars(make_parser().parse_args([]))
    return argparse.Namespace(**{**parsed, **usual, **given})


def commands_of(tmp_path, **given):
    given = {"site_http": None, "site_hub": None, "site_realm": None, "address_root": None, **given}
    return make_commands(arguments(**given), Prefix("ESW", "machine1"), tmp_path)


def test_output_goes_to_its_folder_or_beside_the_logs_or_the_state(tmp_path):
    assert str(commands_of(tmp_path, output_dir="out", log_dir="log").output_dir) == "/daq/out"
    assert str(commands_of(tmp_path, log_dir="log").output_dir) == "/daq/log/output"
    assert commands_of(tmp_path).output_dir == tmp_path / "output"


def test_shared_files_are_beside_the_site_file_unless_told_otherwise(tmp_path):
    assert str(commands_of(tmp_path, site_file="/site/default.yaml").config_dir) == "/site"
    assert str(commands_of(tmp_path, site_file="/site/default.yaml", config_dir="x").config_dir) == "/daq/x"
    assert commands_of(tmp_path).config_dir is None


def test_two_spawn_agents_mark_their_families_differently(tmp_path):
    assert commands_of(tmp_path / "a").mark != commands_of(tmp_path / "b").mark


def test_components_get_their_spawn_agents_key_at_a_closed_site(tmp_path, monkeypatch):
    monkeypatch.delenv("OCS_KEYS", raising=False)
    monkeypatch.delenv("OCS_KEY_FILE", raising=False)
    assert commands_of(tmp_path).site_words == ("--site=none",)
    make_site(tmp_path, [Identity("spawner", "agent", ("spawner",))], [], 0.0)
    monkeypatch.chdir(tmp_path)
    commands = commands_of(tmp_path, site_keys=".", instance_id="spawner")
    assert commands.site_words == (
        "--site=none",
        f"--site-keys={tmp_path}",
        f"--key-file={tmp_path}/private/spawner.key",
    )


def test_a_machine_is_named_by_its_host_unless_told_otherwise():
    assert str(prefix_of(None, "daq-1.site.org")) == "ESW.daq-1_site_org"
    assert str(prefix_of("tcs.mount", "daq-1")) == "TCS.mount"


@pytest.mark.parametrize("given", ["mount", "TCS.a.b", "T-S.mount", "TCS. x"])
def test_what_can_be_no_name_is_refused(given):
    with pytest.raises(OCSError, match=r"^--prefix: "):
        prefix_of(given, "daq-1")


def test_it_never_gives_up_the_router_unless_told_to():
    assert make_parser().parse_args([]).crossbar_timeout == 0
