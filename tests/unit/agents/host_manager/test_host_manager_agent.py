"""The surface of the host manager agent, without a router."""

import pytest

from ocs.agents.host_manager.agent import HostManager, make_parser
from tests.harness.fakes import unconnected_agent
from tests.harness.reactor import SteppedReactor


@pytest.fixture
def agent():
    made = unconnected_agent(SteppedReactor())
    made.host_manager = HostManager(made)
    return made


def parameters(op):
    return {entry["name"]: entry["default"] for entry in op.encoded()["params"] if not entry["required"]}


def test_the_operations_and_their_parameters_are_those_of_the_contract(agent):
    assert {name: parameters(op) for name, op in {**agent.processes, **agent.tasks}.items()} == {
        "manager": {"requests": [], "reload_config": True},
        "update": {"requests": [], "reload_config": False},
        "restart": {"instances": []},
        "logs": {"lines": 50, "position": None},
        "remove_orphans": {"stop_time": 10.0},
        "docker_pull": {},
        "die": {"disown_dockers": False, "leave_running": False},
    }


def test_every_operation_is_described_by_its_call(agent):
    for name, op in {**agent.processes, **agent.tasks}.items():
        assert op.docstring.startswith(f"{name}(")


def test_the_end_of_its_children_is_given_time(agent):
    assert agent.stop_grace > 20


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ([], "docker_service_prefix", "ocs-"),
        ([], "initial_state", None),
        ([], "crossbar_timeout", 0),
        (["--docker-compose", "a.yaml,b.yaml"], "docker_compose", "a.yaml,b.yaml"),
        (["--leave-running"], "leave_running", True),
        (["--no-template"], "no_template", True),
    ],
)
def test_options(words, name, value):
    assert getattr(make_parser().parse_args(words), name) == value
