"""Other agents as a script sees them: what is asked again while they are away, and what is not."""

from concurrent.futures import Future

import pytest
from twisted.internet.defer import fail, succeed

from ocs.agents.sequence_component.remote import Calls, connect
from ocs.errors import ControlClientError, OperationFailedError, RequestFailedError
from ocs.sequence import SequenceEnd
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost

API = {"agent_class": "Fake", "tasks": [["move", None, {}]], "processes": [["acq", None, {}]]}
AWAY = ApplicationError("wamp.error.no_such_procedure")


class Reactor:
    """Does at once what a thread hands over; its clock goes by what is slept."""

    now = 0.0

    def callFromThread(self, function, *args):
        function(*args)

    def seconds(self):
        return self.now


class Session:
    """A WAMP session that answers from a list; an error among the answers is raised."""

    realm_joined = True

    def __init__(self, *answers):
        self.reactor = Reactor()
        self.answers = list(answers)
        self.calls = []

    def call(self, procedure, *args, **kwargs):
        self.calls.append((procedure, *args))
        answer = self.answers.pop(0)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class Line:
    """A run that nobody pauses."""

    def __init__(self, session):
        self.session = session
        self.away = []

    def point(self): ...

    def sleep(self, seconds):
        self.session.reactor.now += seconds
        self.session.realm_joined = True

    def await_reply(self, future: Future):
        return future.result(0)

    def set_away(self, what):
        if not self.away or self.away[-1] != what:
            self.away.append(what)


def agent(session, patience=300.0, line=None, check=True):
    calls = Calls(session, "observatory.fake-1", line or Line(session), patience)
    return connect(calls, None, check=check)


def reply(code=0, message="", **session):
    return [code, message, {"session_id": 1, "start_time": 5.0, **session}]


def test_operations_are_attributes():
    assert repr(agent(Session(API))) == "<agent fake-1 (Fake): acq, move>"


def test_an_unknown_operation_is_told_with_those_that_there_are():
    with pytest.raises(AttributeError, match="no operation 'mvoe'; it has: acq, move"):
        _ = agent(Session(API)).mvoe


def test_a_task_is_started_and_waited_for():
    session = Session(API, reply(status="running"), reply(1), reply(status="done", success=True))
    assert agent(session).move().session["success"] is True
    assert [call[1] for call in session.calls[1:]] == ["start", "wait", "wait"]


def test_a_task_that_fails_raises_unless_told_not_to():
    answers = [API, reply(status="running"), reply(status="done", success=False, messages=[[0, "stuck"]])]
    with pytest.raises(OperationFailedError, match="fake-1: move failed: stuck"):
        agent(Session(*answers)).move()
    assert agent(Session(*answers)).move(check=False).session["success"] is False


def test_a_refused_start_raises():
    with pytest.raises(RequestFailedError, match="cannot start acq: busy"):
        agent(Session(API, reply(-1, "busy"))).acq.start()


def test_an_agent_that_is_not_there_yet_is_waited_for():
    session = Session(AWAY, AWAY, API)
    line = Line(session)
    agent(session, line=line)
    assert line.away[-1] is None
    assert "observatory.fake-1" in line.away[0]


def test_patience_comes_to_an_end():
    session = Session(*[AWAY] * 100)
    with pytest.raises(ControlClientError, match=r"Nobody serves observatory\.fake-1"):
        agent(session, patience=5.0)
    assert session.reactor.now == pytest.approx(5.0, abs=0.6)


def test_a_start_that_cannot_have_been_carried_out_is_made_again():
    session = Session(API, AWAY, reply(status="running"))
    agent(session).acq.start()
    assert [call[1] for call in session.calls[1:]] == ["start", "start"]


def test_a_start_waits_for_the_router():
    session = Session(API, reply(status="running"))
    fake = agent(session)
    session.realm_joined = False
    fake.acq.start()
    assert [call[1] for call in session.calls[1:]] == ["start"]


@pytest.mark.parametrize("error", [TransportLost(), ApplicationError("wamp.error.canceled")])
def test_a_start_that_may_have_been_carried_out_is_not_made_again(error):
    session = Session(API, error, reply())
    with pytest.raises(ControlClientError):
        agent(session).acq.start()
    assert len(session.calls) == 2


@pytest.mark.parametrize("error", [TransportLost(), ApplicationError("wamp.error.canceled"), AWAY])
def test_a_wait_goes_on_over_an_outage(error):
    session = Session(API, reply(status="running"), reply(1), error, reply(status="done", success=True))
    assert agent(session).move().session["success"] is True


def test_a_wait_notices_that_the_agent_was_restarted():
    session = Session(API, reply(status="running"), reply(1), AWAY, [0, "has not run", {}])
    with pytest.raises(RequestFailedError, match="has been restarted"):
        agent(session).move()


def test_a_wait_with_a_timeout_does_not_outlast_it():
    session = Session(API, *[AWAY] * 100)
    fake = agent(session)
    with pytest.raises(ControlClientError):
        fake.move.wait(timeout=3)
    assert session.reactor.now == pytest.approx(3.0, abs=0.6)


def test_an_aborted_run_makes_no_call():
    session = Session(API)
    line = Line(session)
    fake = agent(session, line=line)

    def aborted():
        raise SequenceEnd

    line.point = aborted
    with pytest.raises(SequenceEnd):
        fake.acq.start()
    assert len(session.calls) == 1
