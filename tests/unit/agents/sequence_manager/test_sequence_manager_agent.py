"""The surface of the sequence manager agent, without a router."""

import pytest

from ocs.agents.sequence_manager.agent import SequenceManager, add_agent_args, service_from
from ocs.agents.sequence_manager.modes_file import ModesFile
from ocs.components.names import Prefix
from ocs.errors import SequenceError
from tests.harness.fakes import unconnected_agent
from tests.harness.reactor import SteppedReactor

MODES = "obsModes: {dark: {resources: [camera], sequencers: [ESW]}}"


@pytest.fixture
def reactor():
    return SteppedReactor()


@pytest.fixture
def agent(reactor, tmp_path):
    (tmp_path / "modes.yaml").write_text(MODES)
    made = unconnected_agent(reactor)
    modes = ModesFile(tmp_path / "modes.yaml")
    SequenceManager(made, Prefix("ESW", "sequence_manager"), modes, lambda: service_from(None, None, {}))
    return made


def parameters(op):
    return {entry["name"]: entry.get("default") for entry in op.encoded()["params"]}


def run(agent, reactor, operation, params=None):
    code, message, _ = agent.operations.start(operation, params)
    assert code == 0, message
    reactor.pump_until(lambda: agent.sessions[operation].status == "done")
    return agent.sessions[operation]


def test_the_operations_and_their_parameters_are_those_of_the_contract(agent):
    assert {name: parameters(op) for name, op in {**agent.processes, **agent.tasks}.items()} == {
        "main": {},
        "provision": {"config": None, "force": False},
        "configure": {"obs_mode": None},
        "shutdown_sequencer": {"sequencer": None, "obs_mode": None, "force": False},
        "get_resources": {},
        "get_agent_status": {},
    }


def test_every_operation_is_described_by_its_call(agent):
    for name, op in {**agent.processes, **agent.tasks}.items():
        assert op.docstring.startswith(f"{name}(")


def test_resources_are_told(agent, reactor):
    assert run(agent, reactor, "get_resources").data == {"resources": [{"resource": "camera", "held_by": []}]}


def test_without_components_the_status_is_empty(agent, reactor):
    assert run(agent, reactor, "get_agent_status").data == {"agentStatus": [], "seqCompsWithoutAgent": []}


@pytest.mark.parametrize(
    ("operation", "params", "words"),
    [
        ("configure", {"obs_mode": "bright"}, "no observing mode 'bright'"),
        ("configure", {"obs_mode": "dark"}, "no sequence component is idle for ESW.dark"),
        ("shutdown_sequencer", {}, "Give either sequencer or obs_mode"),
        ("shutdown_sequencer", {"sequencer": "dark"}, "dark"),
        ("provision", {"config": {"ESW.primary": 1}}, "--agent-service-url"),
    ],
)
def test_what_cannot_be_done_is_one_line(agent, reactor, operation, params, words):
    session = run(agent, reactor, operation, params)
    assert session.success is False
    assert words in session.messages[-2][1]


def test_nothing_to_shut_down_is_no_mistake(agent, reactor):
    assert run(agent, reactor, "shutdown_sequencer", {"obs_mode": "dark"}).success is True


def test_a_token_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(SequenceError, match="No such file"):
        service_from("http://127.0.0.1:1", str(tmp_path / "token"), {})


def test_options():
    args = add_agent_args().parse_args(["--obs-mode-file", "modes.yaml"])
    assert (args.prefix, args.obs_mode_file) == (Prefix("ESW", "sequence_manager"), "modes.yaml")
