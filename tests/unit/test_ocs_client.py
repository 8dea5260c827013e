"""OCSClient: attributes, replies, checks, passwords, documentation; and what importing it loads."""

import inspect
import subprocess
import sys

import pytest

import ocs
from ocs.ocs_client import ControlClientError, OCSClient, OperationFailedError, RequestFailedError
from tests.harness.bridge import FakeBridge, result, session

DOC = "warm_up(target=300.)\n\n**Task** - Warm up."
PARAMS = [
    {"name": "target", "required": False, "default": 300.0, "type": "float", "unit": "K"},
    {"name": "mode", "required": True, "type": "str", "choices": ["fast", "slow"]},
]


class FakeAgent:
    """Answers as an agent with two tasks and a process does; remembers what it was asked."""

    def __init__(self):
        self.api = {
            "agent_class": "FakeClass",
            "feeds": [],
            "tasks": [
                ["warm-up", {}, {"docstring": DOC, "op_type": "task", "params": PARAMS}],
                ["old task", {}, {"docstring": "old_task(check, timeout=3)\n\nText", "op_type": "task"}],
                ["strange", {}, {"docstring": None, "op_type": "task", "params": [{"name": "no identifier"}]}],
            ],
            "processes": [["acq", {}, {"docstring": None, "op_type": "process"}]],
        }
        self.success = True
        self.code = 0
        self.asked = []

    def __call__(self, request):
        if request["args"][0] == "get_api":
            return result(self.api)
        action, op_name, params = request["args"]
        self.asked.append((action, op_name, params, request["kwargs"]))
        data = session(op_name, status="done", success=self.success, messages=[[1.0, "so it went"]])
        return result([self.code, f"answer to {action}", data])


@pytest.fixture
def agent():
    return FakeAgent()


@pytest.fixture
def make_client(agent):
    with FakeBridge(agent) as bridge:
        words = ["--site", "none", "--site-http", bridge.url, "--site-realm", "r", "--address-root", "observatory"]
        yield lambda **kwargs: OCSClient("fake-1", args=words, **kwargs)


def test_operations_become_attributes(make_client):
    client = make_client()
    assert client.instance_id == "fake-1"
    assert {"warm_up", "old_task", "acq"} <= set(dir(client))
    assert {"start", "wait", "status", "abort"} <= set(dir(client.warm_up))
    assert {"start", "wait", "status", "stop"} <= set(dir(client.acq))
    assert "warm_up" in repr(client)
    assert "abort" in repr(client.warm_up)


def test_requests_carry_the_operations_own_name(make_client, agent):
    client = make_client()
    assert client.warm_up.start(target=4, mode="fast") == (ocs.OK, "answer to start", agent_session(agent))
    client.warm_up.wait(timeout=3)
    client.warm_up.status()
    client.warm_up.abort()
    client.acq.stop()
    assert agent.asked == [
        ("start", "warm-up", {"target": 4, "mode": "fast"}, {}),
        ("wait", "warm-up", {}, {"timeout": -1}),
        ("status", "warm-up", {}, {}),
        ("abort", "warm-up", {}, {}),
        ("stop", "acq", {}, {}),
    ]


def agent_session(agent):
    return session("warm-up", status="done", success=agent.success, messages=[[1.0, "so it went"]])


def test_calling_a_task_starts_it_and_waits(make_client, agent):
    assert make_client().warm_up(target=4, mode="slow").msg == "answer to wait"
    assert [action for action, *_ in agent.asked] == ["start", "wait"]


def test_calling_a_task_that_cannot_start_does_not_wait(make_client, agent):
    agent.code = -1
    assert make_client().warm_up().status == ocs.ERROR
    assert [action for action, *_ in agent.asked] == ["start"]


def test_calling_a_process_asks_for_its_status(make_client):
    assert make_client().acq().msg == "answer to status"


def test_what_is_not_there_is_told_with_what_is(make_client):
    client = make_client()
    with pytest.raises(AttributeError, match=r"fake-1 has no operation 'warmup'.*warm_up"):
        client.warmup.start()
    with pytest.raises(AttributeError, match=r"warm-up is a task: it has no 'stop', but .*abort"):
        client.warm_up.stop()


# check


def test_without_check_nothing_is_raised(make_client, agent):
    agent.success = False
    assert make_client().warm_up().session["success"] is False


@pytest.mark.parametrize("per_client", [True, False])
def test_check_raises_when_the_operation_failed(make_client, agent, per_client):
    agent.success = False
    client = make_client(check=per_client)
    keywords = {} if per_client else {"check": True}
    with pytest.raises(OperationFailedError, match="fake-1: warm-up failed: so it went"):
        client.warm_up(target=1, **keywords)
    assert agent.asked[0][2] == {"target": 1}, "check is not the operation's"


def test_check_raises_when_the_request_is_refused(make_client, agent):
    agent.code = -1
    client = make_client()
    for request in (client.warm_up.start, client.warm_up.abort, client.acq.stop, client.acq.status, client.acq.wait):
        with pytest.raises(RequestFailedError):
            request(check=True)


def test_a_request_can_do_without_the_clients_check(make_client, agent):
    agent.code = -1
    client = make_client(check=True)
    assert client.warm_up.start(check=False).status == ocs.ERROR
    assert client.acq.status(check=False).status == ocs.ERROR


def test_looking_at_a_failed_operation_raises_only_when_asked_to(make_client, agent):
    agent.success = False
    client = make_client(check=True)
    assert client.warm_up.status().status == ocs.OK
    with pytest.raises(OperationFailedError):
        client.warm_up.status(check=True)


def test_a_parameter_called_check_belongs_to_the_operation(make_client, agent):
    agent.code = -1
    make_client().old_task.start(check=True, timeout=5)
    assert agent.asked[0][2] == {"check": True, "timeout": 5}


# Documentation


def test_starts_documentation_is_the_operations(make_client):
    client = make_client()
    assert client.warm_up.start.__doc__ == DOC
    assert client.warm_up.__doc__ == DOC
    assert client.warm_up.params == PARAMS
    assert client.old_task.params is None


def test_starts_signature_has_the_declared_parameters(make_client):
    signature = inspect.signature(make_client().warm_up.start)
    assert str(signature) == "(*, target: float = 300.0, mode: str, check: bool | None = None)"


def test_parameters_that_are_no_identifiers_leave_the_signature_open(make_client):
    assert str(inspect.signature(make_client().strange.start)) == "(**params)"


# Passwords


def test_the_password_goes_to_agents_that_know_of_passwords(make_client, agent):
    agent.api["access_control"] = {"version": 1}
    client = make_client(privs="secret")
    client.acq.status()
    client.acq.wait(timeout=0)
    assert [kwargs.get("password") for *_, kwargs in agent.asked] == ["secret", "secret"]


def test_the_password_stays_here_where_an_agent_knows_of_none(make_client, agent):
    make_client(privs="secret").acq.status()
    assert agent.asked[0][3] == {}


def test_a_level_is_looked_up_in_the_password_file(make_client, agent, tmp_path, monkeypatch):
    file = tmp_path / "passwords.yaml"
    file.write_text("- agent_class: FakeClass\n  password_2: two\n  password_3: three\n")
    monkeypatch.setenv("OCS_PASSWORDS_FILE", str(file))
    agent.api["access_control"] = {"version": 1}
    make_client(privs=3).acq.status()
    assert agent.asked[0][3] == {"password": "three"}


# Making and importing


def test_an_agent_that_is_away_is_told_when_the_client_is_made():
    answer = {"error": "wamp.error.no_such_procedure", "args": [], "kwargs": {}}
    with FakeBridge(lambda _: answer) as bridge:
        words = ["--site", "none", "--site-http", bridge.url, "--site-realm", "r", "--address-root", "observatory"]
        with pytest.raises(ControlClientError, match=r"observatory\.fake-1.*not running"):
            OCSClient("fake-1", args=words)


def test_the_time_limit_of_requests_can_be_set(make_client):
    assert make_client(timeout=3)._client.timeout == 3


def test_importing_the_client_loads_no_framework():
    heavy = ["twisted", "autobahn", "numpy", "pydantic", "requests", "http.client", "ssl", "asyncio", "rich", "yaml"]
    program = f"import sys, ocs.ocs_client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert found.stdout.strip() == "[]"
