"""What an agent notes of requests, and how it finds out where they come from; no router, time steps by hand."""

import threading
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python import threadable

from ocs.audit import Wanted, read_records
from ocs.base import ERROR, OK
from ocs.core.audit import audit_path
from ocs.core.callers import ITSELF, Caller, caller_of
from ocs.core.peers import BRIDGE, Peers
from ocs.ocs_agent import param
from ocs.wamp.lean_autobahn import ApplicationError
from tests.harness.fakes import unconnected_agent
from tests.harness.reactor import SteppedReactor

SECRET = "Zq7xvTk9Lw"


def details(session=7, name="x", role="anonymous"):
    return SimpleNamespace(caller=session, caller_authid=name, caller_authrole=role)


def told_of(peer):
    return {"transport": {"peer": peer}}


@pytest.fixture
def reactor(monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    return SteppedReactor()


@pytest.fixture
def agent(reactor, tmp_path, monkeypatch):
    made = unconnected_agent(reactor, log_dir=str(tmp_path), access_policy="override:two,three")
    monkeypatch.setattr(made._trail, "_peers", Peers(lambda *_: succeed(told_of("tcp4:192.0.2.7:1")), reactor))
    made.register_task("quick", lambda session, params: (True, "fine"), blocking=False)
    yield made
    made._trail._writer.stop()


def noted(agent):
    agent._trail._writer.stop()
    return read_records([agent._trail.path], Wanted())[0]


def serve(agent, *args, **keywords):
    return agent._desk.serve_ops(*args, call_details=details(), **keywords)


def test_a_caller_has_a_name_only_where_the_router_knows_it():
    assert caller_of(details(7, "ann", "client")) == Caller(7, "ann", "client")
    assert caller_of(details(7, "GX3-4", "anonymous")) == Caller(7)
    assert caller_of(details(7, "GX3-4", "bridge")) == Caller(7, bridged=True)
    assert caller_of(None) is ITSELF


def test_a_request_that_changes_its_parameters_is_noted_as_it_came(agent, reactor):
    agent.register_task("greedy", lambda session, params: (True, str(params.clear())), blocking=False)
    serve(agent, "start", "greedy", {"n": 1, "token": SECRET})
    reactor.pump()
    assert noted(agent)[0].params == {"n": 1, "token": "***"}


def test_what_is_quoted_in_an_answer_is_no_secret_either(agent):
    @param("user", type=str)
    @param("password", type=int)
    def login(session, params):
        return True, ""

    agent.register_task("login", login)
    serve(agent, "start", "login", {"user": "bob", "password": SECRET})
    serve(agent, "start", "login", {"user": {"x": SECRET, "password": SECRET}, "password": 1})
    serve(agent, "start", f"password={SECRET}")
    serve(agent, "start", {"password": SECRET})
    serve(agent, "start", "login", f"--password {SECRET}")
    serve(agent, "start", "login", [SECRET, {"password": SECRET}])
    found = noted(agent)
    assert [record.code for record in found] == [ERROR] * 6
    assert SECRET not in agent._trail.path.read_text()
    assert "login" in found[0].message


def test_a_process_that_starts_again_is_started_by_the_agent(agent, reactor):
    runs = []

    def work(session, params):
        runs.append(params)
        return False, "lost the device"

    agent.register_process("work", work, lambda session, params: (True, ""), blocking=False, restart="on-failure")
    serve(agent, "start", "work", {"n": 1}, None, "two")
    reactor.pump()
    reactor.advance(1.5)
    reactor.pump()
    assert len(runs) == 2
    assert [(record.action, record.who, record.code) for record in noted(agent)] == [
        ("start", "level 2", OK),
        ("end", "level 2", ERROR),
        ("start", "agent itself", OK),
        ("end", "agent itself", ERROR),
    ]


def test_an_agents_own_requests_are_noted_by_its_author(agent):
    agent.audit("open", "dome", Caller(7, "ann", "client"), {"pw": SECRET}, ERROR, "It rains.")
    agent.start("quick")
    dome, quick = noted(agent)
    assert (dome.action, dome.op, dome.who, dome.role, dome.params) == ("open", "dome", "ann", "client", {"pw": "***"})
    assert (dome.peer, dome.code, dome.message) == ("tcp4:192.0.2.7:1", ERROR, "It rains.")
    assert (quick.who, quick.peer, quick.wamp_session) == ("agent itself", None, None)


def test_a_request_from_another_thread_is_noted(agent, reactor):
    thread = threading.Thread(target=serve, args=(agent, "start", "nothing"))
    thread.start()
    thread.join()
    reactor.pump()
    assert [record.op for record in noted(agent)] == ["nothing"]


def test_what_comes_together_is_published_together_and_a_flood_is_counted(agent, reactor, monkeypatch):
    events = []
    monkeypatch.setattr(agent, "publish_to_feed", lambda feed, message: events.append((feed, message)))
    for n in range(120):
        serve(agent, "start", f"op{n}")
    assert not events
    reactor.advance(0.3)
    ((feed, message),) = events
    assert feed == "audit"
    assert [record["op"] for record in message["records"]] == [f"op{n}" for n in range(50)]
    assert message["left-out"] == 70
    serve(agent, "stop", "quick")
    agent._trail.flush()
    assert [record["action"] for record in events[1][1]["records"]] == ["stop"]
    assert len(noted(agent)) == 121


def test_an_open_sites_agent_without_folders_notes_nothing(reactor):
    agent = unconnected_agent(reactor)
    serve(agent, "start", "nothing")
    assert "audit" not in agent.feeds
    assert agent._trail.path is None
    assert not reactor.getDelayedCalls()


def test_where_keys_or_a_policy_are_in_force_there_is_a_feed(reactor, tmp_path):
    assert "audit" in unconnected_agent(reactor, access_policy="director:acc").feeds
    assert "audit" in unconnected_agent(reactor, site_keys=str(tmp_path)).feeds


@pytest.mark.parametrize(
    ("folders", "path"),
    [
        ({"log_dir": "/l", "state_dir": "/s", "working_dir": "/w"}, "/l/o.a.audit.jsonl"),
        ({"log_dir": "l", "working_dir": "/w"}, "/w/l/o.a.audit.jsonl"),
        ({"log_dir": None, "state_dir": "s", "working_dir": "/w"}, "/w/s/r/o.a.audit.jsonl"),
        ({"log_dir": None, "state_dir": None}, "None"),
        ({}, "None"),
    ],
)
def test_where_it_is_written(folders, path):
    assert str(audit_path(SimpleNamespace(**folders), "r", "o.a")) == path


# Where callers are


class Router:
    """Answers when it is told to."""

    def __init__(self):
        self.asked = []

    def call(self, procedure, session):
        assert procedure == "wamp.session.get"
        self.asked.append((session, Deferred()))
        return self.asked[-1][1]


def test_a_session_is_asked_for_once():
    router, found = Router(), []
    peers = Peers(router.call, SteppedReactor())
    for _ in range(3):
        peers.find(7, found.append)
    assert not found
    router.asked[0][1].callback(told_of("tcp4:192.0.2.7:40312"))
    peers.find(7, found.append)
    assert found == ["tcp4:192.0.2.7:40312"] * 4
    assert [session for session, _ in router.asked] == [7]


@pytest.mark.parametrize(
    ("answer", "address"),
    [
        (told_of("tcp4:1.2.3.4:5"), "tcp4:1.2.3.4:5"), (told_of(None), None), (told_of(3), None), (None, None),
        ([], None), (told_of("x" * 1000), None), ({"transport": "tcp"}, None),
        ({"transport": {"channel_type": "function"}}, BRIDGE),
    ],
)  # fmt: skip
def test_any_answer_is_understood_or_none(answer, address):
    found = []
    Peers(lambda *_: succeed(answer), SteppedReactor()).find(7, found.append)
    assert found == [address]


def test_a_router_that_does_not_answer_or_has_gone_holds_nothing_up():
    reactor, found = SteppedReactor(), []
    peers = Peers(Router().call, reactor)
    peers.find(7, found.append)
    reactor.advance(3)
    peers.find(8, found.append)
    peers.give_up()
    assert found == [None, None]


def test_a_router_that_will_not_tell_is_not_asked_again():
    asked = []

    def call(_procedure, session):
        asked.append(session)
        return fail(ApplicationError("wamp.error.not_authorized"))

    peers, found = Peers(call, SteppedReactor()), []
    for session in range(5):
        peers.find(session, found.append)
    assert (asked, found) == ([0], [None] * 5)


def test_many_sessions_cost_the_router_few_questions_and_the_agent_little_memory():
    router, found = Router(), []
    peers = Peers(router.call, SteppedReactor())
    for session in range(100):
        peers.find(session, found.append)
    assert (len(router.asked), len(found)) == (20, 80)
    answering = Peers(lambda *_: succeed(told_of("tcp4:1.2.3.4:5")), SteppedReactor())
    for session in range(3000):
        answering.find(session, found.append)
    assert sum(answering.known(session) is not None for session in range(3000)) == 1000
