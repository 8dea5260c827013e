"""The HTTP bridge of a closed router: who is answered what, and what is kept of a body."""

import json

import pytest
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallResult
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site

from ocs.errors import KeysError
from ocs.keys.signing import SigningKey
from ocs.keys.table import Identity, PublicKey, SiteTable
from ocs.router import bridge_request
from ocs.router.bridge import Bridge, Tokens
from ocs.router.bridge_request import request_factory
from ocs.router.bridge_sessions import IDLE_S, MAX_CALLS, MAX_SESSIONS, CallerSessions, TooManyError

NOW = 1_800_000_000.0
KEY = SigningKey(bytes(range(32)), "client")
CLIENT = Identity("client", "client", (), (PublicKey(KEY.public),))
TABLE = SiteTable({"client": CLIENT})
GOOD = KEY.token("realm", NOW)


class Calls:
    """Takes calls as a caller's session does, and answers what a test says."""

    def __init__(self):
        self.made = []
        self.answer = succeed(3)

    def call(self, identity, procedure, args, kwargs):
        self.made.append((identity.name, procedure, args, kwargs))
        return self.answer


class Served:
    """A bridge behind a site, to which a test sends bytes."""

    def __init__(self):
        self.calls = Calls()
        tokens = Tokens(lambda: TABLE, "realm", lambda: NOW)
        site = Site(Bridge(tokens.identify, self.calls))
        site.requestFactory = request_factory(tokens.identify)
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection
        protocol = site.buildProtocol(None)
        protocol.makeConnection(self.transport)
        self.channel = protocol._channel

    def send(self, data):
        self.channel.dataReceived(data)
        return self.transport.value()

    def post(self, body, token=GOOD, method="POST", fields=""):
        permission = f"Authorization: Bearer {token}\r\n" if token else ""
        head = f"{method} /call HTTP/1.1\r\nHost: x\r\n{permission}{fields}Content-Length: {len(body)}\r\n\r\n"
        answer = self.send(head.encode() + body)
        return status(answer), json.loads(answer.partition(b"\r\n\r\n")[2] or b"null")


def status(answer):
    return int(answer.split(b" ", 2)[1])


@pytest.fixture
def served():
    site = Served()
    yield site
    site.channel.setTimeout(None)


def test_a_call_is_made_as_whoever_made_the_token(served):
    call = {"procedure": "o.fake", "args": ["status", "acq"], "kwargs": {"a": 1}}
    assert served.post(json.dumps(call).encode()) == (200, {"args": [3]})
    assert served.calls.made == [("client", "o.fake", ["status", "acq"], {"a": 1})]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (succeed(CallResult(1, 2, a=3)), {"args": [1, 2], "kwargs": {"a": 3}}),
        (succeed(b"\x01"), {"args": ["\0AQ=="]}),
        (succeed("half \ud800"), {"args": ["half \ud800"]}),
        (fail(ApplicationError("o.error", "why", k=1)), {"error": "o.error", "args": ["why"], "kwargs": {"k": 1}}),
    ],
)
def test_what_an_agent_answers_is_told(served, answer, told):
    served.calls.answer = answer
    assert served.post(b'{"procedure": "o.fake"}') == (200, told)


def test_what_the_router_cannot_do_is_told_without_a_traceback(served):
    served.calls.answer = fail(ZeroDivisionError("inside"))
    code, told = served.post(b'{"procedure": "o.fake"}')
    assert code == 500
    assert told["error"] == "wamp.error.runtime_error"
    assert "inside" not in str(told)


@pytest.mark.parametrize(
    "token",
    [
        None,
        "x",
        "a.b.c",
        KEY.token("other", NOW),
        KEY.token("realm", NOW - 4000),
        SigningKey(bytes(32), "client").token("realm", NOW),
        SigningKey(bytes(range(32)), "nobody").token("realm", NOW),
    ],
)
def test_without_a_token_that_holds_nothing_is_called(served, token):
    code, told = served.post(b'{"procedure": "o.fake"}', token)
    assert code == 401
    assert told["error"] == "wamp.error.not_authorized"
    assert len(told["args"]) == 1
    assert served.calls.made == []
    assert b"Bearer" in served.transport.value()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"procedure": 1}',
        b'{"procedure": "o", "args": 1}',
        b'{"procedure": "o", "kwargs": [1]}',
        b'{"procedure": "o", "kwargs": {"procedure": 1}}',
        b'{"procedure": "o", "kwargs": {"options": 1}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_call_is_said_to_be_none(served, body):
    code, told = served.post(body)
    assert code == 400
    assert told["error"] == "wamp.error.invalid_argument"
    assert served.calls.made == []


@given(st.binary(max_size=300))
def test_no_body_brings_a_traceback(body):
    served = Served()
    code, _ = served.post(body)
    served.channel.setTimeout(None)
    assert code in (200, 400)


@pytest.mark.parametrize("method", ["GET", "DELETE", "TRACE"])
def test_other_methods_are_refused(served, method):
    assert served.post(b"", method=method)[0] == 405


def test_a_page_of_another_origin_may_ask_what_it_may_send(served):
    answer = served.send(b"OPTIONS /call HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n")
    assert status(answer) == 200
    assert b"authorization,content-type" in answer


def test_nothing_is_kept_of_what_a_stranger_sends(served):
    served.send(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
    served.send(b"x" * 800_000)
    assert served.channel.requests[0].content.getvalue() == b""
    assert status(served.send(b"x" * 100_000)) == 401


def test_a_stranger_who_sends_on_is_cut_off(served):
    served.send(b"POST /call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(bridge_request.MAX_DROPPED_BYTES // 0x10000):
        served.send(part)
    assert not served.transport.disconnecting
    served.send(part)
    assert served.transport.disconnecting


def test_a_call_longer_than_a_call_may_be_is_refused(served):
    assert served.post(b"x" * (bridge_request.MAX_POST_BYTES + 1))[0] == 413
    assert served.calls.made == []


def test_a_call_in_parts_longer_than_a_call_may_be_is_refused(served):
    head = f"POST /call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GOOD}\r\nTransfer-Encoding: chunked\r\n\r\n"
    served.send(head.encode())
    for _ in range(17):
        served.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    assert served.channel.requests[0].content.getvalue() == b""
    assert status(served.send(b"0\r\n\r\n")) == 413


def test_who_hangs_up_waits_for_nothing(served):
    cancelled = []
    served.calls.answer = Deferred(cancelled.append)
    served.send(
        f"POST /call HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GOOD}\r\nContent-Length: 23\r\n\r\n".encode()
        + b'{"procedure": "o.fake"}'
    )
    assert served.transport.value() == b""
    served.channel.connectionLost(Failure(ConnectionDone()))
    assert cancelled == [served.calls.answer]


def test_a_token_is_looked_at_anew_when_the_table_changes():
    tables = [TABLE]
    tokens = Tokens(lambda: tables[0], "realm", lambda: NOW)
    assert tokens.identify(GOOD) is CLIENT
    tables[0] = SiteTable({})
    with pytest.raises(KeysError):
        tokens.identify(GOOD)


def test_a_token_ends_while_it_is_remembered():
    now = [NOW]
    tokens = Tokens(lambda: TABLE, "realm", lambda: now[0])
    tokens.identify(GOOD)
    now[0] = NOW + 400
    with pytest.raises(KeysError, match="ended"):
        tokens.identify(GOOD)


class Place:
    """Lets sessions in as a router does, as far as a caller's sessions see it."""

    def __init__(self):
        self.inside = {}

    def open_session(self, session, identity):
        self.inside[session] = identity
        session.is_attached = lambda: session in self.inside
        session.call = lambda *_args, **_kwargs: Deferred()

    def close_session(self, session):
        self.inside.pop(session, None)


@pytest.fixture
def world():
    place, now = Place(), [0.0]
    return place, now, CallerSessions(place, "realm", lambda: now[0])


def numbered(number):
    return Identity(f"c{number}", "client")


def test_a_caller_keeps_a_session_until_it_is_idle(world):
    place, now, sessions = world
    answers = [sessions.call(CLIENT, "o", [], {}) for _ in range(3)]
    assert list(place.inside.values()) == [CLIENT]
    now[0] = 10 * IDLE_S
    sessions.sweep(lambda _: True)
    assert len(sessions) == 1  # it waits for answers
    for answer in answers:
        answer.callback(1)
    now[0] += IDLE_S - 1
    sessions.sweep(lambda _: True)
    assert len(sessions) == 1
    now[0] += 2
    sessions.sweep(lambda _: True)
    assert place.inside == {}


def test_a_caller_who_changes_has_no_old_session(world):
    place, _, sessions = world
    sessions.call(CLIENT, "o", [], {})
    less = Identity("client", "observer")
    sessions.call(less, "o", [], {})
    assert list(place.inside.values()) == [less]
    sessions.sweep(lambda identity: identity is not less)
    assert place.inside == {}


def test_a_new_key_ends_nobody_s_session(world):
    place, _, sessions = world
    sessions.call(CLIENT, "o", [], {})
    [session] = place.inside
    sessions.call(Identity("client", "client", (), (PublicKey("0" * 64),)), "o", [], {})
    assert list(place.inside) == [session]


def test_a_session_that_the_router_ended_is_opened_anew(world):
    place, _, sessions = world
    sessions.call(CLIENT, "o", [], {})
    place.inside.clear()
    sessions.call(CLIENT, "o", [], {})
    assert list(place.inside.values()) == [CLIENT]


def test_there_are_not_more_sessions_than_there_may_be(world):
    place, _, sessions = world
    waiting = [sessions.call(numbered(n), "o", [], {}) for n in range(MAX_SESSIONS)]
    with pytest.raises(TooManyError, match="wait for answers"):
        sessions.call(CLIENT, "o", [], {})
    waiting[7].callback(1)
    sessions.call(CLIENT, "o", [], {})
    assert len(place.inside) == MAX_SESSIONS
    assert numbered(7) not in place.inside.values()


def test_nobody_waits_for_more_answers_than_they_may(world):
    _, _, sessions = world
    first, *_ = [sessions.call(CLIENT, "o", [], {}) for _ in range(MAX_CALLS)]
    with pytest.raises(TooManyError, match="without an answer"):
        sessions.call(CLIENT, "o", [], {})
    first.callback(1)
    sessions.call(CLIENT, "o", [], {})
