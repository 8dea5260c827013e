"""A real closed router: who is let in, what each role may do, and what happens when the table changes."""

import contextlib
import resource
import socket
import ssl
import time
from dataclasses import replace

import pytest
from autobahn.wamp import message
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.threads import deferToThread

from ocs.keys.making import revoke, rotate
from ocs.keys.signing import SigningKey
from ocs.keys.table import SiteTable
from ocs.router import health
from ocs.router.door import MOST_UNKNOWN
from ocs.router.strangers import LATE_S, PROMPT_REFUSALS
from tests.harness.closed_site import ClosedSite, KeySession

STRANGER = SigningKey(bytes(range(32)), "stranger")


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """One closed router for all tests that leave its usual names alone."""
    with ClosedSite(tmp_path_factory.mktemp("closed")) as site:
        yield site


def refused():
    return pytest.raises(ApplicationError, match="not authorized")


def test_it_says_that_it_is_closed(closed):
    found = health.check(closed.url, closed.realm)
    assert (found.ok, found.stage) == (True, "closed")
    assert health.check(closed.url.replace("wss", "ws"), closed.realm).ok is False


def test_it_tells_a_stranger_nothing_but_where_it_is(closed):
    with closed.tls_socket() as link:
        link.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 404 " in link.recv(100)


@ensureDeferred
async def test_without_a_key_nobody_is_let_in(closed):
    with pytest.raises(ConnectionError, match="no_auth_method"):
        async with closed.session(None):
            pass


@pytest.mark.parametrize("name", ["client", "nobody", "", None, "a b", "../client"])
@ensureDeferred
async def test_a_key_that_is_not_in_the_table_is_refused_in_the_same_words(closed, name):
    with pytest.raises(ConnectionError, match="may not connect with this key: unknown, ended or revoked"):
        async with closed.session(name, key=STRANGER):
            pass


@ensureDeferred
async def test_the_key_itself_has_to_be_shown(closed):
    """Somebody who knows a public key, and signs with another."""

    class Pretender(KeySession):
        def onChallenge(self, challenge):
            return STRANGER.sign_challenge(challenge.extra["challenge"])

    with pytest.raises(ConnectionError, match="signature"):
        await closed.join(Pretender(closed.realm, "client", closed.key("client")))


@ensureDeferred
async def test_an_answer_of_an_earlier_session_is_no_answer(closed):
    answers = []

    class Listening(KeySession):
        def onChallenge(self, challenge):
            answers.append(super().onChallenge(challenge))
            return answers[0]

    first = Listening(closed.realm, "client", closed.key("client"))
    await closed.join(first)
    first.leave()
    await first.left
    with pytest.raises(ConnectionError, match="not that of the challenge"):
        await closed.join(Listening(closed.realm, "client", closed.key("client")))
    assert len(answers) == 2


@ensureDeferred
async def test_everybody_is_known_by_name(closed):
    async with closed.session("fake-1") as agent, closed.session("client") as client:
        seen = []
        await agent.register(
            lambda details: seen.append((details.caller_authid, details.caller_authrole)),
            "observatory.fake-1",
            RegisterOptions(details_arg="details"),
        )
        heard = Deferred()
        await client.subscribe(
            lambda details: heard.callback((details.publisher_authid, details.publisher_authrole)),
            "observatory.fake-1.feeds.x",
            SubscribeOptions(details_arg="details"),
        )
        agent.publish("observatory.fake-1.feeds.x")
        assert await heard == ("fake-1", "agent")
        await client.call("observatory.fake-1")
        assert seen == [("client", "client")]


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("fake-1", "observatory.fake-2"),
        ("fake-1", "observatory.fake-2.ops"),
        ("fake-1", "observatory.fake-10"),
        ("fake-1", "observatory"),
        ("fake-1", "observatory.director.agent_poll"),
        ("fake-1", "other.fake-1"),
        ("fake-1", "wamp.session.count"),
        ("fake-1", "ocs.guard"),
        ("director", "observatory.fake-1"),
        ("client", "observatory.client"),
        ("client", "observatory.fake-1"),
        ("observer", "observatory.observer"),
    ],
)
@ensureDeferred
async def test_an_address_of_others_can_neither_be_taken_nor_published_at(closed, name, uri):
    async with closed.session(name) as session:
        for options in (None, RegisterOptions(force_reregister=True), RegisterOptions(invoke="roundrobin")):
            with pytest.raises(ApplicationError, match=r"not authorized|reserved|invalid|denied"):
                await session.register(lambda: 1, uri, options)
        for topic in (uri, f"{uri}.feeds.heartbeat"):
            with pytest.raises(ApplicationError, match=r"not authorized|reserved|invalid|denied"):
                await session.publish(topic, options=PublishOptions(acknowledge=True))


@pytest.mark.parametrize(
    "options",
    [
        RegisterOptions(match="prefix"),
        RegisterOptions(match="wildcard"),
        RegisterOptions(invoke="roundrobin"),
        RegisterOptions(invoke="random"),
    ],
)
@ensureDeferred
async def test_an_agent_has_whole_addresses_to_itself_alone(closed, options):
    async with closed.session("fake-1") as agent:
        with refused():
            await agent.register(lambda: 1, "observatory.fake-1.x", options)


@ensureDeferred
async def test_an_agent_takes_over_from_its_own_lost_session(closed):
    async with closed.session("fake-1") as old, closed.session("fake-1") as new, closed.session("client") as client:
        await old.register(lambda: "old", "observatory.fake-1")
        await new.register(lambda: "new", "observatory.fake-1", RegisterOptions(force_reregister=True))
        assert await client.call("observatory.fake-1") == "new"


@ensureDeferred
async def test_nobody_takes_over_from_another_who_has_the_same_address(closed):
    key = closed.add("spare-1", "agent", "fake-1")
    closed.wait_until_known("spare-1", key)
    async with closed.session("fake-1") as agent, closed.session("spare-1", key=key) as other:
        await agent.register(lambda: 1, "observatory.fake-1")
        with refused():
            await other.register(lambda: 2, "observatory.fake-1", RegisterOptions(force_reregister=True))
        await other.register(lambda: 2, "observatory.fake-1.x", RegisterOptions(force_reregister=True))


@pytest.mark.parametrize(("name", "role"), [("client", "client"), ("fake-2", "agent")])
@ensureDeferred
async def test_a_call_that_claims_to_be_forwarded_is_its_sender_s_own(closed, name, role):
    """Crossbar's links between routers say so for whom a message is; it would believe that of anybody."""
    forged = [{"session": 1, "authid": "director", "authrole": "director"}]
    async with closed.session("fake-1") as agent, closed.session(name) as forger:
        seen = Deferred()
        await agent.register(
            lambda details: seen.callback((details.caller, details.caller_authid, details.caller_authrole)),
            "observatory.fake-1",
            RegisterOptions(details_arg="details"),
        )
        await forger.call("observatory.fake-1", options=CallOptions(forward_for=forged))
        assert await seen.addTimeout(5, reactor) == (forger._session_id, name, role)


@ensureDeferred
async def test_an_event_that_claims_to_be_forwarded_is_its_sender_s_own(closed):
    forged = [{"session": 1, "authid": "director", "authrole": "director"}]
    async with closed.session("fake-1") as forger, closed.session("client") as client:
        heard = Deferred()
        await client.subscribe(
            lambda details: heard.callback((details.publisher, details.publisher_authid)),
            "observatory.fake-1.feeds.x",
            SubscribeOptions(details_arg="details"),
        )
        forger.publish("observatory.fake-1.feeds.x", options=PublishOptions(forward_for=forged))
        assert await heard.addTimeout(5, reactor) == (forger._session_id, "fake-1")


@pytest.mark.parametrize("name", ["observer", "fake-2"])
@ensureDeferred
async def test_nobody_ends_a_call_that_was_made_to_another(closed, name):
    """Crossbar asks of results whose they are, and of errors it does not."""
    async with closed.session("fake-1") as agent, closed.session("client") as client:
        asked, answer = Deferred(), Deferred()

        def answered(details):
            asked.callback(None)
            return answer

        await agent.register(answered, "observatory.fake-1", RegisterOptions(details_arg="details"))
        call = client.call("observatory.fake-1")
        await asked
        await later(0)
        [number] = agent._invocations
        forger = KeySession(closed.realm, name, closed.key(name))
        await closed.join(forger)
        forger._transport.send(
            message.Error(message.Invocation.MESSAGE_TYPE, number, "wamp.error.runtime_error", ["forged"])
        )
        await forger.left.addTimeout(5, reactor)
        assert not call.called
        answer.callback("right")
        assert await call == "right"


@ensureDeferred
async def test_a_retained_event_is_given_to_who_comes_later(closed):
    async with closed.session("fake-1") as agent, closed.session("observer") as observer:
        await agent.publish("observatory.fake-1.feeds.kept", 5, options=PublishOptions(acknowledge=True, retain=True))
        heard = Deferred()
        await observer.subscribe(heard.callback, "observatory.fake-1.feeds.kept", SubscribeOptions(get_retained=True))
        assert await heard == 5


@ensureDeferred
async def test_an_observer_listens_and_does_nothing(closed):
    async with closed.session("fake-1") as agent, closed.session("observer") as observer:
        await agent.register(lambda: 1, "observatory.fake-1")
        heard = Deferred()
        await observer.subscribe(heard.callback, "observatory.fake-1.feeds.x")
        agent.publish("observatory.fake-1.feeds.x", 7)
        assert await heard == 7
        with refused():
            await observer.call("observatory.fake-1")
        assert await observer.call("wamp.session.count") >= 2


@ensureDeferred
async def test_rules_are_for_agents_and_only_from_the_director(closed):
    async with (
        closed.session("director") as director,
        closed.session("fake-1") as agent,
        closed.session("client") as client,
        closed.session("observer") as observer,
    ):
        await director.register(lambda: "rules", "observatory.director.agent_poll")
        assert await agent.call("observatory.director.agent_poll") == "rules"
        overheard = []
        for other in (client, observer):
            with refused():
                await other.call("observatory.director.agent_poll")
            with refused():
                await other.subscribe(lambda _: None, "observatory.director.feeds.controls")
            await other.subscribe(overheard.append, "observatory.", SubscribeOptions(match="prefix"))
        heard = Deferred()
        await agent.subscribe(heard.callback, "observatory.director.feeds.controls")
        with refused():
            await agent.publish("observatory.director.feeds.controls", 1, options=PublishOptions(acknowledge=True))
        only = PublishOptions(acknowledge=True, eligible=[agent._session_id])
        await director.publish("observatory.director.feeds.controls", "secret", options=only)
        assert await heard == "secret"
        await client.call("wamp.session.count")  # what was sent before has arrived by now
        assert overheard == []


@pytest.mark.parametrize(
    "procedure",
    [
        "wamp.session.kill",
        "wamp.session.kill_by_authid",
        "wamp.session.kill_all",
        "wamp.session.add_testament",
        "wamp.registration.remove_callee",
        "wamp.subscription.remove_subscriber",
        "crossbar.sign",
    ],
)
@pytest.mark.parametrize("name", ["client", "fake-1", "director"])
@ensureDeferred
async def test_nobody_can_change_anything_at_the_router(closed, name, procedure):
    async with closed.session(name) as session:
        with refused():
            await session.call(procedure, session._session_id)


@ensureDeferred
async def test_who_comes_later_is_let_in_without_a_restart(closed):
    key = closed.add("fake-9", "agent", "fake-9")
    await let_in(closed, "fake-9", key)


async def let_in(site, name, key):
    """Join and leave, as soon as the router knows the key."""
    site.wait_until_known(name, key)
    async with site.session(name, key=key):
        pass


@ensureDeferred
async def test_who_is_revoked_is_sent_away(closed):
    key = closed.add("fake-8", "agent", "fake-8")
    await let_in(closed, "fake-8", key)
    session = KeySession(closed.realm, "fake-8", key)
    await closed.join(session)
    assert closed.post({"procedure": "wamp.session.count"}, "client")[0] == 200
    token = {"Authorization": f"Bearer {key.token(closed.realm, time.time())}"}
    assert closed.post({"procedure": "wamp.session.count"}, None, **token)[0] == 200
    revoke(closed.keys, "fake-8")
    await session.left
    with pytest.raises(ConnectionError, match="may not connect"):
        async with closed.session("fake-8", key=key):
            pass
    assert closed.post({"procedure": "wamp.session.count"}, None, **token)[0] == 401


@ensureDeferred
async def test_a_key_is_replaced_without_anybody_noticing(closed):
    old = closed.add("fake-7", "agent", "fake-7")
    await let_in(closed, "fake-7", old)
    async with closed.session("fake-7", key=old) as running:
        rotate(closed.keys, "fake-7", time.time())
        new = closed.key("fake-7")
        assert new.public != old.public
        await let_in(closed, "fake-7", new)
        await let_in(closed, "fake-7", old)
        assert running.is_attached()


@ensureDeferred
async def test_a_key_that_ends_sends_its_sessions_away(closed):
    old = closed.add("fake-6", "agent", "fake-6")
    await let_in(closed, "fake-6", old)
    session = KeySession(closed.realm, "fake-6", old)
    await closed.join(session)
    rotate(closed.keys, "fake-6", time.time(), grace=0.0)
    await session.left
    await let_in(closed, "fake-6", closed.key("fake-6"))


@ensureDeferred
async def test_who_gets_other_rights_has_to_join_again(closed):
    key = closed.add("fake-5", "agent", "fake-5")
    await let_in(closed, "fake-5", key)
    session = KeySession(closed.realm, "fake-5", key)
    await closed.join(session)
    table = SiteTable.read(closed.keys)
    table.put(replace(table.identities["fake-5"], role="observer", instances=())).write(closed.keys)
    await session.left
    async with closed.session("fake-5", key=key) as observer:
        with refused():
            await observer.register(lambda: 1, "observatory.fake-5")


@ensureDeferred
async def test_a_call_by_http_outlives_a_new_key_and_ends_when_its_caller_is_revoked(closed):
    key = closed.add("script", "client")
    closed.wait_until_known("script", key)
    async with closed.session("fake-1") as agent:
        answer, asked = Deferred(), DeferredQueue()

        def answer_later():
            asked.put(None)
            return answer

        await agent.register(answer_later, "observatory.fake-1")
        token = {"Authorization": f"Bearer {key.token(closed.realm, time.time())}"}

        def call():
            return deferToThread(closed.post, {"procedure": "observatory.fake-1"}, None, **token)

        first = call()
        await asked.get()
        rotate(closed.keys, "script", time.time())
        closed.wait_until_known("script")
        answer.callback(5)
        assert await first == (200, {"args": [5]})
        answer = Deferred()
        second = call()
        await asked.get()
        revoke(closed.keys, "script")
        status, told = await second.addTimeout(5, reactor)
        assert (status, told["error"]) == (200, "wamp.error.canceled")


@ensureDeferred
async def test_a_broken_table_changes_nothing(closed):
    path = closed.keys / "site.json"
    good = path.read_text()
    async with closed.session("client") as client:
        try:
            path.write_text(good[:100])
            await logged(closed, "is no JSON")
            assert client.is_attached()
            async with closed.session("observer"):
                pass
        finally:
            path.write_text(good)


async def logged(site, text):
    deadline = time.monotonic() + 10
    while text not in site.log:
        assert time.monotonic() < deadline, site.log
        await later(0.05)


def later(seconds):
    waited = Deferred()
    reactor.callLater(seconds, waited.callback, None)
    return waited


def test_a_call_by_http_has_its_callers_rights(closed):
    assert closed.post({"procedure": "wamp.session.count"})[0] == 200
    assert closed.post({"procedure": "wamp.session.count"}, None)[0] == 401
    assert closed.post(b"{")[0] == 400
    assert closed.post(b"x" * (1 << 20) + b"x")[0] == 413
    for name in ("client", "observer"):
        status, answer = closed.post({"procedure": "observatory.director.agent_poll"}, name)
        assert (status, answer["error"]) == (200, "wamp.error.not_authorized")
    assert closed.post({"procedure": "observatory.nobody"})[1]["error"] == "wamp.error.no_such_procedure"


def test_without_tls_nothing_is_answered(closed):
    with socket.create_connection(("127.0.0.1", closed.port), 10) as link:
        link.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in link.recv(1000)


def test_there_is_no_second_way_in_by_http_2(closed):
    context = ssl.create_default_context(cafile=str(closed.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", closed.port), 10) as link,
        context.wrap_socket(link, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.selected_alpn_protocol() == "http/1.1"
        assert secure.version() == "TLSv1.3"


def test_another_authority_does_not_vouch_for_it(closed):
    with (
        socket.create_connection(("127.0.0.1", closed.port), 10) as link,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(link, server_hostname="127.0.0.1")


def websocket(site):
    """A websocket that speaks JSON, whose HELLO has not been said."""
    link = site.tls_socket()
    link.sendall(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
    )
    assert b" 101 " in link.recv(4096)
    return link


@pytest.mark.faults
def test_those_who_say_nothing_leave_room_for_others(closed, many_files):
    silent = [websocket(closed) for _ in range(50)]
    silent += [socket.create_connection(("127.0.0.1", closed.port), 10) for _ in range(MOST_UNKNOWN)]
    try:
        assert closed.post({"procedure": "wamp.session.count"})[0] == 200
        assert health.check(closed.url, closed.realm).ok
        assert all(is_closed(link, 5) for link in silent[:50])
        assert not is_closed(silent[-1], 0.1)
    finally:
        for link in silent:
            link.close()


@pytest.fixture
def many_files():
    """Leave for as many open files as the test needs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 4 * MOST_UNKNOWN:
        pytest.skip("a process may not open that many files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4 * MOST_UNKNOWN), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@ensureDeferred
async def test_a_flood_of_strangers_is_answered_late_and_others_are_not(tmp_path):
    with ClosedSite(tmp_path) as site:
        flood = gatherResults([Deferred.fromCoroutine(refused_one(site, number)) for number in range(30)])
        async with site.session("client") as client:
            assert await client.call("wamp.session.count")
        assert not flood.called
        waits = sorted(await flood)
        assert waits[PROMPT_REFUSALS - 1] < LATE_S <= waits[PROMPT_REFUSALS]
        lines = [line for line in site.log.splitlines() if "refused 127.0.0.1" in line]
        assert len(lines) == 30
        assert all(len(line) < 400 for line in lines)


async def refused_one(site, number):
    """Return how long the answer took, in seconds."""
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="may not connect"):
        async with site.session(f"x{number}", key=STRANGER):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize("path", ["", "info", "ws", "nobody/here"])
def test_a_stranger_is_told_no_version_and_no_folder(closed, path):
    with closed.tls_socket() as link:
        link.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(4096), b""))
    assert b" 200 " not in answer.partition(b"\r\n")[0]
    for told in (b"rossbar/", b"utobahn", str(closed.keys.parent).encode()):
        assert told not in answer


def is_closed(link, within):
    """Tell whether the router closes a connection in time, in seconds."""
    link.settimeout(within)
    try:
        while data := link.recv(65536):
            if data[0] == CLOSE_FRAME:
                return True
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def text_frame(payload):
    size = len(payload)
    length = (
        bytes([0x80 | size])
        if size < 126
        else b"\xfe" + size.to_bytes(2)
        if size < 1 << 16
        else b"\xff" + size.to_bytes(8)
    )
    return b"\x81" + length + b"\0\0\0\0" + payload


CLOSE_FRAME = 0x88
HELLO = text_frame(b'[1, "test_realm", {"roles": {"caller": {}}, "authmethods": ["anonymous"]}]')


@pytest.mark.parametrize(
    "sent",
    [
        b"\x81\xff\0\0\0\0\x00\x10\0\0\0\0\0\0",  # a message of a mebibyte begins
        text_frame(b" " * 20_000),
        text_frame(b"nonsense"),
        text_frame(b"[" * 10_000),
        text_frame(b"[1]"),
        text_frame(b'[48, 1, {}, "wamp.session.count"]') + HELLO,
        HELLO,
        HELLO + HELLO,
        text_frame(b'[5, "00", {}]'),
        b"\xff" * 100,
    ],
    ids=["long", "longer", "no-json", "deep", "short", "call", "no-key", "twice", "answer", "no-websocket"],
)
def test_who_does_not_keep_to_the_protocol_loses_its_connection_alone(closed, sent):
    with websocket(closed) as link:
        link.sendall(sent)
        assert is_closed(link, 8)
    assert closed.post({"procedure": "wamp.session.count"})[0] == 200


@pytest.mark.faults
def test_garbage_does_not_fill_the_log(closed):
    before = len(closed.log)
    for number in range(300):
        with websocket(closed) as link:
            link.sendall(text_frame(b"[%d" % number) if number % 2 else b"\xff" * number)
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", closed.port), 10) as link:
            link.sendall(b"\x16\x03\x01garbage" * 10)
    assert closed.post({"procedure": "wamp.session.count"})[0] == 200
    assert len(closed.log) - before < 20_000


@pytest.mark.faults
def test_who_does_not_say_who_it_is_in_time_is_sent_away(closed):
    """One says nothing, not even TLS; one is a websocket that says nothing; one sends a request byte by byte."""
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", closed.port), 10) as bare,
        websocket(closed) as silent,
        closed.tls_socket() as slow,
    ):
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 20:
                slow.sendall(b"G")
                time.sleep(0.2)
        assert 5 < time.monotonic() - began < 14
        assert is_closed(bare, 2)
        assert is_closed(silent, 2)
