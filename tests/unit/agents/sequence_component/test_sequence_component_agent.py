"""The surface of the sequence component agent, without a router."""

import pytest

from ocs.agents.sequence_component.agent import STOP_GRACE, SequenceComponent, add_agent_args
from ocs.agents.sequence_component.folders import ScriptFolders
from ocs.components.names import Prefix
from tests.harness.fakes import unconnected_agent
from tests.harness.reactor import SteppedReactor


@pytest.fixture
def reactor():
    return SteppedReactor()


@pytest.fixture
def agent(reactor, tmp_path):
    made = unconnected_agent(reactor)
    SequenceComponent(made, Prefix("ESW", "primary"), ScriptFolders([tmp_path]))
    return made


def parameters(op):
    return {entry["name"]: entry.get("default") for entry in op.encoded()["params"]}


def test_the_operations_and_their_parameters_are_those_of_the_contract(agent):
    assert {name: parameters(op) for name, op in {**agent.processes, **agent.tasks}.items()} == {
        "sequencer": {"params": {}, "first_step": None},
        "load_script": {"obs_mode": None, "script": None, "subsystem": None},
        "unload_script": {"force": False},
        "restart_script": {"force": False},
        "pause": {"step": None},
        "resume": {},
        "abort": {},
    }


def test_every_operation_is_described_by_its_call(agent):
    for name, op in {**agent.processes, **agent.tasks}.items():
        assert op.docstring.startswith(f"{name}(")


def test_a_sequence_gets_time_for_its_end_and_less_than_those_who_kill_it_wait(agent):
    assert agent.stop_grace == STOP_GRACE < 10


@pytest.mark.parametrize("operation", ["pause", "resume", "abort", "sequencer"])
def test_without_a_script_there_is_nothing_to_run_or_pause(agent, reactor, operation):
    agent.operations.start(operation, {})
    reactor.pump_until(lambda: agent.sessions[operation].status == "done")
    assert agent.sessions[operation].success is False
    assert any(words in agent.sessions[operation].messages[-2][1] for words in ("No sequence", "load_script first"))


def test_options():
    args = add_agent_args().parse_args(["--prefix", "esw.primary", "--script-dir", "a", "--script-dir", "b"])
    assert (args.prefix, args.script_dir) == (Prefix("ESW", "primary"), ["a", "b"])


def test_what_is_no_prefix_is_refused(capsys):
    with pytest.raises(SystemExit):
        add_agent_args().parse_args(["--prefix", "primary"])
    assert "--prefix" in capsys.readouterr().err
