"""Clients with Deferreds, on a session that is answered at once."""

import pytest
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.python.failure import Failure

from ocs.client_t import AsyncOCSClient, OperationClient, ProcessClient, TaskClient
from ocs.clients.control_session import _as_deferred
from ocs.errors import ControlClientError, OperationFailedError
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost
from tests.harness.bridge import session

ADDRESS = "observatory.fake-1"
API = {
    "agent_class": "FakeClass",
    "tasks": [["warm-up", {}, {"docstring": "warm_up()\n\nText", "op_type": "task"}]],
    "processes": [["acq", {}, {"docstring": None, "op_type": "process"}]],
    "access_control": {"version": 1},
}


class FakeApp:
    """A session whose calls are answered at once, by `answer`."""

    url = "ws://router.site:8001/ws"

    def __init__(self):
        self.calls = []
        self.answer = lambda: [0, "fine", session(status="done", success=True)]

    def call(self, procedure, *args, **kwargs):
        self.calls.append((procedure, args, kwargs))
        return succeed(API if args == ("get_api",) else self.answer())


def result_of(deferred):
    """Return the result of a Deferred that has fired, or raise its error."""
    results = []
    deferred.addBoth(results.append)
    assert results, "the Deferred has not fired"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@pytest.fixture
def app():
    return FakeApp()


@pytest.fixture
def client(app):
    return result_of(AsyncOCSClient.connect(app, ADDRESS))


@pytest.mark.parametrize(
    ("kind", "method", "sent_too"),
    [
        (OperationClient, "start", {}),
        (OperationClient, "status", {}),
        (TaskClient, "abort", {}),
        (ProcessClient, "stop", {}),
        (OperationClient, "wait", {"timeout": -1}),
    ],
)
def test_operation_clients_request_and_return_a_triple(app, kind, method, sent_too):
    code, message, data = result_of(getattr(kind(app, ADDRESS, "acq"), method)({"a": 1}))
    assert (code, message, data["op_name"]) == (0, "fine", "count")
    procedure, args, sent = app.calls[0]
    assert (procedure, args) == (f"{ADDRESS}.ops", (method, "acq", {"a": 1}))
    assert sent == sent_too


def test_an_asynchronous_client_has_the_operations_as_attributes(client):
    assert client.instance_id == "fake-1"
    assert "warm_up" in repr(client)
    with pytest.raises(AttributeError, match="it has: acq, warm_up"):
        _ = client.cool_down


def test_calling_a_task_starts_it_and_waits(app, client):
    assert result_of(client.warm_up(target=3)).msg == "fine"
    assert [args for _, args, _ in app.calls[1:]] == [
        ("start", "warm-up", {"target": 3}),
        ("wait", "warm-up", {}),
    ]


def test_check_turns_a_failure_into_an_error(app, client):
    app.answer = lambda: [0, "FAILED", session(status="done", success=False)]
    assert result_of(client.warm_up()).session["success"] is False
    with pytest.raises(OperationFailedError):
        result_of(client.warm_up(check=True))


def test_the_password_is_sent(app):
    client = result_of(AsyncOCSClient.connect(app, ADDRESS, privs="secret"))
    result_of(client.acq.status())
    assert app.calls[-1][2] == {"password": "secret"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ApplicationError("wamp.error.no_such_procedure", "no callee"), "Nobody serves .*fake-1.*ws://router.site"),
        (ApplicationError("wamp.error.runtime_error", "it broke"), "it broke"),
        (TransportLost("gone"), "connection to the router is lost"),
    ],
)
def test_errors_are_those_of_the_other_clients(app, error, message):
    app.call = lambda *_args, **_kwargs: fail(error)
    with pytest.raises(ControlClientError, match=message):
        result_of(OperationClient(app, ADDRESS, "acq").status())


def test_a_session_that_is_not_joined_gives_an_error_not_an_exception(app):
    def call(*_args, **_kwargs):
        raise TransportLost

    app.call = call
    with pytest.raises(ControlClientError):
        result_of(OperationClient(app, ADDRESS, "acq").status())


# What a script may be


async def coroutine(session):
    return await succeed(session)


def generator(session):
    value = yield succeed(session)
    return value


@pytest.mark.parametrize(
    "work",
    [coroutine, generator, inlineCallbacks(generator), succeed, lambda session: session],
    ids=["coroutine", "generator", "inlineCallbacks", "Deferred", "function"],
)
def test_scripts_may_be_coroutines_generators_or_functions(work):
    assert result_of(_as_deferred(work, 5)) == 5


def test_what_a_generator_raises_is_the_result():
    def work(_session):
        yield succeed(None)
        raise LookupError("lost")

    with pytest.raises(LookupError):
        result_of(_as_deferred(work, None))


def test_cancelling_a_script_lets_it_clean_up():
    cleaned = []

    def work(_session):
        try:
            yield Deferred()
        finally:
            cleaned.append(True)

    running = _as_deferred(work, None)
    running.addErrback(lambda _: None)
    running.cancel()
    assert cleaned
