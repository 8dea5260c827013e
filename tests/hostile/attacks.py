"""What an attacker tries. Whether it worked is told by what became of the victims, not by what it was told."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import struct
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ocs.keys.signing import SigningKey
from tests.hostile.raw_wamp import (
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    ERROR,
    EVENT,
    HELLO,
    INVOCATION,
    JSON,
    MSGPACK,
    PUBLISH,
    REGISTER,
    REGISTERED,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    YIELD,
    ClosedError,
    RawSession,
)
from tests.hostile.sites import CLIENT, OBSERVER, STRANGER, THIEF, AttackedSite

MIB = 1 << 20
Run = Callable[[AttackedSite, str], bool]


@dataclass(frozen=True)
class Attack:
    """One thing that must not work.

    Attributes:
        name: a short one.
        group: what it is aimed at.
        sentence: what the attacker does.
        attackers: who tries it at a closed site.
        run: tries it; returns whether it worked.
    """

    name: str
    group: str
    sentence: str
    attackers: tuple[str, ...]
    run: Run


ATTACKS: list[Attack] = []


def attack(group: str, *attackers: str) -> Callable[[Run], Run]:
    """Enter a function into the list; its docstring is the attack's sentence."""

    def enter(run: Run) -> Run:
        sentence = " ".join((run.__doc__ or "").split()).rstrip(".")
        ATTACKS.append(Attack(run.__name__.replace("_", "-"), group, sentence, attackers, run))
        return run

    return enter


EVERYBODY = (STRANGER, OBSERVER, CLIENT, THIEF)

# Coming in


@attack("coming in", STRANGER)
def join_without_a_key(site: AttackedSite, who: str) -> bool:
    """Joins the realm as nobody in particular."""
    with site.join(who) as session:
        return session.session_id > 0


@attack("coming in", STRANGER)
def join_under_a_known_name(site: AttackedSite, who: str) -> bool:
    """Says the name of somebody who may operate, and shows a key of their own."""
    if not site.closed:
        return join_without_a_key(site, who)  # where there are no names, everybody has all of them
    with site.join(CLIENT, key=SigningKey(os.urandom(32), CLIENT)) as session:
        return session.session_id > 0


@attack("coming in", STRANGER)
def join_with_somebodys_public_key(site: AttackedSite, who: str) -> bool:
    """Shows the public key of somebody who may operate, and signs the challenge with another."""
    if not site.closed:
        return join_without_a_key(site, who)
    key = site.key(CLIENT) or SigningKey(os.urandom(32), CLIENT)
    with site.join(CLIENT, key=key, sign=SigningKey(os.urandom(32), CLIENT).sign_challenge) as session:
        return session.session_id > 0


@attack("coming in", STRANGER)
def join_with_an_overheard_answer(site: AttackedSite, who: str) -> bool:
    """Answers the challenge with what somebody else answered to theirs."""
    key, overheard = site.key(CLIENT), []
    if key is None:
        return join_without_a_key(site, who)

    def listen(challenge: str) -> str:
        overheard.append(key.sign_challenge(challenge))
        return overheard[0]

    site.join(CLIENT, sign=listen).close()
    with site.join(CLIENT, sign=listen) as session:
        return session.session_id > 0


@attack("coming in", OBSERVER, CLIENT, THIEF)
def join_in_another_role(site: AttackedSite, who: str) -> bool:
    """Asks for the rights of the access director, or of the router's own parts, and acts as such."""
    for role in ("director", "trusted"):
        with contextlib.suppress(ClosedError), site.join(who, details={"authrole": role}) as session:
            answer = session.ask(REGISTER, {}, f"{site.root}.absent.{role}")
            if answer[0] == REGISTERED:
                return True
    return False


@attack("coming in", STRANGER)
def listen_on_the_wire(site: AttackedSite, who: str) -> bool:
    """Reads what others send: the router takes connections that are not encrypted."""
    del who
    with contextlib.suppress(ConnectionError, OSError):
        link = socket.create_connection(("127.0.0.1", site.port), 10)
        with RawSession(site, MSGPACK, link=link, join=False):
            return True
    return False


# Taking addresses


@attack("taking addresses", *EVERYBODY)
def take_the_address_of_an_agent_that_is_down(site: AttackedSite, who: str) -> bool:
    """Registers the address of an agent that is down, and answers those who operate."""
    return _answers_instead(site, who, f"{site.root}.absent", {})


def _answers_instead(site: AttackedSite, who: str, procedure: str, options: dict[str, Any]) -> bool:
    """Tell whether a call of an operator is answered by the attacker."""
    with site.join(who) as session:
        if session.ask(REGISTER, options, procedure)[0] != REGISTERED:
            return False
        with site.join(CLIENT) as operator:
            operator.send([CALL, 7, {}, procedure, ["get_api"], {}])
            return session.hears(lambda message: message[0] == INVOCATION, 3.0)


@attack("taking addresses", *EVERYBODY)
def push_out_an_agent(site: AttackedSite, who: str) -> bool:
    """Registers the address of an agent that runs, by force."""
    try:
        return _answers_instead(site, who, site.address("fake-1"), {"force_reregister": True})
    finally:
        _settle(site, "fake-1")


@attack("taking addresses", *EVERYBODY)
def share_an_address(site: AttackedSite, who: str) -> bool:
    """Registers the operations of an agent that runs so that each second call goes to the attacker."""
    return any(
        _answers_instead(site, who, f"{site.address('fake-1')}.ops", {"invoke": how})
        for how in ("roundrobin", "random", "last")
    )


@attack("taking addresses", *EVERYBODY)
def take_all_addresses_by_a_pattern(site: AttackedSite, who: str) -> bool:
    """Registers all that begins with the site's root."""
    return any(
        _answers_instead(site, who, f"{site.root}{rest}", {"match": how})
        for rest, how in (("", "prefix"), (".absent", "prefix"), ("..", "wildcard"), (".absent.", "wildcard"))
    )


@attack("taking addresses", *EVERYBODY)
def be_the_access_director(site: AttackedSite, who: str) -> bool:
    """Registers the procedure by which agents ask for their rules, by force."""
    try:
        return _answers_instead(site, who, f"{site.address('acc')}.agent_poll", {"force_reregister": True})
    finally:
        _settle(site, "acc")


def _settle(site: AttackedSite, name: str) -> None:
    """Wait until an agent that was pushed out is back, or start it again."""
    deadline = time.monotonic() + 3
    while not site.answers(name):
        if time.monotonic() > deadline:
            site.restart(name)
            return
        time.sleep(0.1)


# Saying what others say


def _publishes(site: AttackedSite, who: str, topic: str, data: Any, options: dict[str, Any] | None = None) -> bool:
    """Tell whether those who listen hear what the attacker publishes."""
    mark = os.urandom(6).hex()
    with site.join(who) as session, site.listening(topic) as heard:
        session.send([PUBLISH, 9, options or {}, topic, [data, {"mark": mark}]])
        return heard(lambda body: mark in str(body))


@attack("saying what others say", *EVERYBODY)
def publish_anothers_feed(site: AttackedSite, who: str) -> bool:
    """Publishes data as an agent that runs; listeners and recorders take it for its own."""
    topic = f"{site.address('fake-1')}.feeds.false_temperatures"
    return _publishes(site, who, topic, {"temps": {"timestamps": [1.0], "block_name": "temps", "data": {"x": [1]}}})


@attack("saying what others say", *EVERYBODY)
def have_false_data_recorded(site: AttackedSite, who: str) -> bool:
    """Publishes a feed of an agent that there is not, and has it recorded."""
    feed = f"{site.address('absent')}.feeds.false_{who}"
    block = {"block_name": "t", "timestamps": [time.time()], "data": {"x": [1.0]}}
    envelope = {
        "agent_address": site.address("absent"),
        "agg_params": {"frame_length": 60, "exclude_aggregator": False},
        "feed_name": f"false_{who}",
        "address": feed,
        "record": True,
        "session_id": "1.5",
        "agent_class": "FakeDataAgent",
    }
    with site.join(who) as session:
        session.send([PUBLISH, 9, {}, feed, [[{"t": block}, envelope]]])
    return _within(3, lambda: f"false_{who}" in str(site.status("agg", "record").get("data")))


@attack("saying what others say", *EVERYBODY)
def end_a_recording(site: AttackedSite, who: str) -> bool:
    """Publishes blocks with parts that are missing, or of the wrong types; the recorder stops."""
    feed = f"{site.address('absent')}.feeds.broken_{who}"
    envelope = {"agent_address": site.address("absent"), "feed_name": f"broken_{who}", "address": feed, "record": True}
    envelope |= {"agg_params": {"frame_length": 60, "exclude_aggregator": False}, "session_id": "1.5"}
    now = time.time()
    blocks = (
        {"timestamps": [now], "block_name": "t", "data": {"x": [1.0]}},
        {"timestamps": [now], "block_name": "t", "data": {"y": [1.0, 2.0]}},
        {"timestamp": now, "block_name": "t", "data": {"x": {"a": 1}}},
        {"block_name": "t", "data": None},
        5,
    )
    with site.join(who) as session:
        for block in blocks:
            session.send([PUBLISH, 9, {}, feed, [[{"t": block}, {**envelope, "agent_class": "FakeDataAgent"}]]])
    return _within(1.5, lambda: site.status("agg", "record")["status"] != "running")


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@attack("saying what others say", *EVERYBODY)
def forge_a_heartbeat(site: AttackedSite, who: str) -> bool:
    """Makes the registry believe that an agent is alive which is not."""
    address = site.address(f"ghost-of-{who}")
    envelope = {"agent_address": address, "feed_name": "heartbeat", "address": f"{address}.feeds.heartbeat"}
    envelope |= {"record": True, "agg_params": {}, "session_id": "1.5", "agent_class": "FakeDataAgent"}
    with site.join(who) as session:
        session.send([PUBLISH, 9, {}, f"{address}.feeds.heartbeat", [[{"acq": 3}, envelope]]])
    return _within(1.5, lambda: address in str(site.status("registry", "main").get("data")))


@attack("saying what others say", *EVERYBODY)
def forge_the_heartbeat_of_an_agent_that_runs(site: AttackedSite, who: str) -> bool:
    """Makes the registry believe that an operation of a running agent has failed."""
    address = site.address("fake-1")
    envelope = {"agent_address": address, "feed_name": "heartbeat", "address": f"{address}.feeds.heartbeat"}
    envelope |= {"record": True, "agg_params": {}, "session_id": "1.5", "agent_class": "FakeDataAgent"}

    def believed() -> bool:
        with site.join(who) as session:
            session.send([PUBLISH, 9, {}, f"{address}.feeds.heartbeat", [[{"forged_op": 5}, envelope]]])
        return "forged_op" in str(site.status("registry", "main").get("data"))

    return _within(1.5, believed)


@attack("saying what others say", *EVERYBODY)
def forge_states_of_operations(site: AttackedSite, who: str) -> bool:
    """Publishes on the registry's feed, which the operation monitor draws."""
    topic = f"{site.address('registry')}.feeds.agent_operations"
    return _publishes(site, who, topic, {"block_name": "fake-1_acq", "timestamp": 1.0, "data": {"fake-1_acq": 5}})


@attack("saying what others say", *EVERYBODY)
def forge_access_rules(site: AttackedSite, who: str) -> bool:
    """Publishes rules on the director's topic that allow everything; the agent goes by them."""
    topic = f"{site.address('acc')}.feeds.controls"
    rule = {"hashed_pass": {"hash": "none", "value": ""}, "cred_level": 3, "scope_spec": {"default": True}}
    rule |= {"lockout_id": None, "lockout_owner": None, "lockout_levels": []}
    rules = {"reset": True, "ac_version": 1, "step": 1_000_000, "rules": [rule]}
    envelope = {"agent_address": site.address("acc"), "feed_name": "controls", "address": topic, "session_id": "9.9"}
    with site.join(who) as session:
        for options in ({}, {"acknowledge": True}, {"exclude_me": False, "disclose_me": True}):
            session.send([PUBLISH, 9, options, topic, [[rules, envelope]]])
    worked = _within(1.0, lambda: site.rules()["step"] == 1_000_000)
    if worked:
        site.restart("fake-1")
    return worked


@attack("saying what others say", *EVERYBODY)
def leave_a_testament(site: AttackedSite, who: str) -> bool:
    """Has the router itself publish as an agent, once the attacker has gone."""
    topic = f"{site.address('fake-1')}.feeds.false_temperatures"
    mark = os.urandom(6).hex()
    with site.listening(topic) as heard:
        with site.join(who) as session:
            session.call("wamp.session.add_testament", topic, [mark], {})
        return heard(lambda body: mark in str(body))


@attack("saying what others say", OBSERVER, CLIENT, THIEF)
def call_in_anothers_name(site: AttackedSite, who: str) -> bool:
    """Tells the router that a call was only forwarded, and comes from somebody else; the callee is told so."""
    with _callee(site) as (owner, procedure), site.join(who) as session:
        forward = [{"session": 1, "authid": "acc", "authrole": "director"}]
        session.send([CALL, 5, {"forward_for": forward}, procedure, [], {}])
        told: list[Any] = []
        owner.hears(lambda message: message[0] == INVOCATION and bool(told.append(message[3]) or True), 1.0)
        return any(details.get("caller_authid") == "acc" or "forward_for" in details for details in told)


@contextlib.contextmanager
def _callee(site: AttackedSite) -> Any:
    """A procedure of an agent that is down, served by the test in its place."""
    with site.join("absent" if site.closed else CLIENT) as owner:
        procedure = f"{site.root}.absent.served"
        answer = owner.ask(REGISTER, {"force_reregister": True, "disclose_caller": True}, procedure)
        assert answer[0] == REGISTERED, answer
        yield owner, procedure


@attack("saying what others say", *EVERYBODY)
def answer_in_anothers_place(site: AttackedSite, who: str) -> bool:
    """Sends the router a result, and an error, for a call that another agent was asked to answer."""
    with _callee(site) as (owner, procedure), site.join(CLIENT) as operator, site.join(who) as session:
        operator.send([CALL, 77, {}, procedure, [], {}])
        asked: list[int] = []
        owner.hears(lambda message: message[0] == INVOCATION and bool(asked.append(message[1]) or True), 3.0)
        for number in asked:
            with contextlib.suppress(ClosedError):
                session.send([YIELD, number, {}, ["forged"]])
                session.send([ERROR, INVOCATION, number, {}, "forged.error", ["forged"]])
        return operator.hears(lambda message: "forged" in str(message), 1.0)


# Doing what one has no right to


@attack("doing without right", STRANGER, OBSERVER)
def stop_an_operation(site: AttackedSite, who: str) -> bool:
    """Stops the acquisition of an agent that runs."""
    try:
        with site.join(who) as session:
            session.call(f"{site.address('fake-1')}.ops", "stop", "acq")
        return _within(1.0, lambda: site.status("fake-1", "acq")["status"] != "running")
    finally:
        if site.status("fake-1", "acq")["status"] != "running":
            _within(5.0, lambda: site.ask(f"{site.address('fake-1')}.ops", "start", "acq")[0] == 0)


@attack("doing without right", STRANGER, OBSERVER)
def ask_an_agent(site: AttackedSite, who: str) -> bool:
    """Has an agent tell what it does, and with which parameters."""
    with site.join(who) as session:
        return session.call(site.address("fake-1"), "get_api")[0] != ERROR


@attack("doing without right", OBSERVER, CLIENT)
def operate_under_a_lock(site: AttackedSite, who: str) -> bool:
    """Stops an operation while somebody else has exclusive access."""
    with _locked(site):
        _within(3.0, lambda: site.ask(f"{site.address('fake-1')}.ops", "stop", "count")[0] != 0)
        with site.join(who) as session:
            session.call(f"{site.address('fake-1')}.ops", "stop", "acq")
        return site.status("fake-1", "acq")["status"] != "running"


@contextlib.contextmanager
def _locked(site: AttackedSite) -> Iterator[None]:
    """Have exclusive access, as the operator."""
    # An earlier guesser may have made everybody wait.
    assert _within(20, lambda: "grant acquired" in str(_lock(site, "acquire", time.time() + 60))), "no lock to be had"
    try:
        yield
    finally:
        with contextlib.suppress(LookupError):
            _lock(site, "release")


def _lock(site: AttackedSite, action: str, expire_at: float | None = None) -> Any:
    return site.ask(f"{site.address('acc')}.request_exclusive", "lock", "lock-secret", action, expire_at, "operator")


@attack("doing without right", STRANGER, OBSERVER, CLIENT)
def hear_the_rules(site: AttackedSite, who: str) -> bool:
    """Listens to the director's topic, where hashes of passwords are."""
    return _hears_hashes(site, who, {}, f"{site.address('acc')}.feeds.controls")


@attack("doing without right", STRANGER, OBSERVER, CLIENT)
def hear_the_rules_by_a_pattern(site: AttackedSite, who: str) -> bool:
    """Listens to everything, and so to the director's topic."""
    return _hears_hashes(site, who, {"match": "prefix"}, f"{site.root}.")


def _hears_hashes(site: AttackedSite, who: str, options: dict[str, Any], topic: str, *, poll: bool = False) -> bool:
    """Tell whether hashes are heard when rules are handed out to all, or to one who asks for them."""
    with site.join(who) as session:
        if session.ask(SUBSCRIBE, options, topic)[0] != SUBSCRIBED:
            return False
        if poll:
            session.call(f"{site.address('acc')}.agent_poll", "fake-1", "FakeDataAgent")
        else:
            with _locked(site):
                pass
        return session.hears(lambda message: message[0] == EVENT and "hashed_pass" in str(message), 1.5)


@attack("doing without right", STRANGER, OBSERVER, CLIENT)
def ask_for_the_rules(site: AttackedSite, who: str) -> bool:
    """Has the director send the rules, as an agent would."""
    return _hears_hashes(site, who, {"match": "prefix"}, f"{site.root}.", poll=True)


@attack("doing without right", *EVERYBODY)
def throw_others_out(site: AttackedSite, who: str) -> bool:
    """Has the router end the session of an agent."""
    found = site.ask("wamp.registration.match", site.address("fake-1")) if site.kind != "published" else None
    victims = site.ask("wamp.registration.list_callees", found) if found else [1]
    with site.join(who) as session:
        answers = [
            session.call("wamp.session.kill", victims[0]),
            session.call("wamp.registration.remove_callee", found or 1, victims[0]),
            session.call("wamp.session.kill_all"),
        ]
    return any(answer[0] != ERROR or "not_authorized" not in str(answer) for answer in answers)


@attack("doing without right", STRANGER, OBSERVER, CLIENT)
def have_data_thrown_away(site: AttackedSite, who: str) -> bool:
    """Tells an agent, as a recorder, that it need not keep what no recorder has had."""
    request = {"recorder": "attacker", "every": 1.0, "have": {}}
    with site.join(who) as session:
        return session.call(f"{site.address('fake-1')}.replay", request)[0] != ERROR


# Guessing


@attack("guessing", THIEF)
def guess_passwords(site: AttackedSite, who: str) -> bool:
    """Tries 300 passwords of an operation, one after the other; all are looked at."""
    with _locked(site):
        return _guesses(site, who, f"{site.address('fake-1')}.ops", lambda word: (["stop", "acq"], {"password": word}))


@attack("guessing", THIEF)
def guess_the_password_of_a_lock(site: AttackedSite, who: str) -> bool:
    """Tries 300 passwords of the director's exclusive access; all are looked at."""
    return _guesses(site, who, f"{site.address('acc')}.request_exclusive", lambda word: (["lock", word, "acquire"], {}))


def _guesses(site: AttackedSite, who: str, procedure: str, words: Callable[[str], tuple[list[Any], Any]]) -> bool:
    looked_at = 0
    with site.join(who) as session:
        for number in range(300):
            args, kwargs = words(f"guess {number}")
            said = str(session.call(procedure, *args, **kwargs)[3:])
            looked_at += "too many" not in said and "wait" not in said
    return looked_at >= 100


@attack("guessing", CLIENT, THIEF)
def take_anothers_lock(site: AttackedSite, who: str) -> bool:
    """Releases the exclusive access of somebody else, with the password with which all acquire it, and has it then."""
    lock = f"{site.address('acc')}.request_exclusive"
    # The same key under another name, or another key under the same name.
    claimed = "attacker" if site.closed and who == CLIENT else "operator"
    with _locked(site), site.join(who) as session:
        for name in (claimed, None):
            session.call(lock, "lock", "lock-secret", "release", None, name)
        answer = session.call(lock, "lock", "lock-secret", "acquire", time.time() + 5, "attacker")
        session.call(lock, "lock", "lock-secret", "release", None, "attacker")
    return "grant acquired" in str(answer)


# Sending what is no message


def _still_well(site: AttackedSite, before: int, most: int = 200 * MIB) -> bool:
    """Tell whether the site has stood it."""
    return site.is_well() and site.router_memory() < before + most


def _sends(site: AttackedSite, who: str, data: bytes, form: Any = MSGPACK) -> bool:
    """Send bytes over an open websocket; tell whether the site suffers."""
    before = site.router_memory()
    with contextlib.suppress(ClosedError, OSError):
        session = site.join(who, form) if who != STRANGER or not site.closed else _unjoined(site, form)
        with session:
            session.send_raw(data)
            session.hears(lambda _: False, 0.3)
    return not _still_well(site, before)


def _unjoined(site: AttackedSite, form: Any = MSGPACK) -> RawSession:
    return RawSession(site, form, link=site.link(), join=False)


@attack("broken messages", STRANGER, CLIENT)
def send_a_message_of_64_mib(site: AttackedSite, who: str) -> bool:
    """Sends one message of 64 MiB."""
    return _sends(site, who, _ws_frame(b"x" * 64 * MIB, 2))


@attack("broken messages", STRANGER, CLIENT)
def send_a_message_without_an_end(site: AttackedSite, who: str) -> bool:
    """Sends 200 MiB of one message, in parts, and never the last one."""
    before = site.router_memory()
    with contextlib.suppress(ClosedError, OSError):
        session = site.join(who) if who != STRANGER or not site.closed else _unjoined(site)
        with session:
            part = _ws_frame(b"x" * MIB, 2, last=False)
            session.send_raw(part)
            for _ in range(200):
                session.send_raw(_ws_frame(b"x" * MIB, 0, last=False))
            return not _still_well(site, before)
    return not _still_well(site, before)


def _ws_frame(payload: bytes, opcode: int, *, last: bool = True) -> bytes:
    head = struct.pack("!BBQ", (0x80 if last else 0) | opcode, 0x80 | 127, len(payload))
    return head + b"\0\0\0\0" + payload


@attack("broken messages", STRANGER, CLIENT)
def send_what_is_no_message(site: AttackedSite, who: str) -> bool:
    """Sends bytes that are no MessagePack and no JSON."""
    harmed = _sends(site, who, _ws_frame(os.urandom(1000), 2))
    return harmed or _sends(site, who, _ws_frame(b'{"a": ' * 1000, 1), JSON)


@attack("broken messages", STRANGER, CLIENT)
def send_deep_nesting(site: AttackedSite, who: str) -> bool:
    """Sends a message that is nested a hundred thousand times."""
    deep = b"\x91" * 100_000 + b"\xc0"
    harmed = _sends(site, who, _ws_frame(deep, 2))
    return harmed or _sends(site, who, _ws_frame(b"[" * 100_000, 1), JSON)


@attack("broken messages", STRANGER, CLIENT)
def send_messages_with_wrong_types(site: AttackedSite, who: str) -> bool:
    """Sends WAMP messages whose parts are of the wrong types."""
    broken = [[HELLO], [HELLO, 1, 2], [CALL, "x", {}, 3], [PUBLISH], [REGISTER, 1, [], {}], [SUBSCRIBE, 1, {}, None]]
    broken += [[999, 1], [], "x", {"a": 1}, [True], [YIELD, -1, {}], [AUTHENTICATE, 1, 2], [CHALLENGE, 1, 2], [WELCOME]]
    return any(_sends(site, who, _packed(message)) for message in broken)


def _packed(message: Any) -> bytes:
    payload = MSGPACK.pack(message)
    return _ws_frame(payload, 2)


@attack("broken messages", STRANGER)
def send_garbage_before_the_handshake(site: AttackedSite, who: str) -> bool:
    """Sends what is neither TLS nor HTTP."""
    del who
    before = site.router_memory()
    for data in (os.urandom(100_000), b"GET /" + b"x" * MIB, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000):
        with contextlib.suppress(OSError):
            link = socket.create_connection(("127.0.0.1", site.port), 10)
            link.sendall(data)
            link.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            link = site.link()
            link.sendall(data)
            link.close()
    return not _still_well(site, before)


# Too much of it


@attack("floods", STRANGER)
def hold_connections_open(site: AttackedSite, who: str) -> bool:
    """Opens 300 connections, says nothing on them, and still holds most of them after 15 s."""
    del who
    held = []
    for _ in range(300):
        with contextlib.suppress(ClosedError, OSError):
            held.append(_unjoined(site))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and (alive := sum(map(_is_open, held))) > 20:
        time.sleep(0.5)
    well = site.is_well()
    for session in held:
        session.close()
    return not well or alive > 20


def _is_open(session: RawSession) -> bool:
    link = session.socket
    link.settimeout(0.0)
    try:
        return bool(link.recv(4096))
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


@attack("floods", *EVERYBODY)
def flood_with_calls(site: AttackedSite, who: str) -> bool:
    """Sends 10,000 calls at once; meanwhile an operator gets no answer within 3 s."""
    with contextlib.suppress(ClosedError, OSError), site.join(who) as session:
        calls = ([CALL, n, {}, f"{site.address('fake-1')}.ops", ["status", "acq"], {}] for n in range(1, 10_001))
        session.send(*calls)
        began = time.monotonic()
        answered = site.answers("fake-1")
        return not answered or time.monotonic() - began > 3 or not site.is_well()
    return not site.is_well()


@attack("floods", *EVERYBODY)
def flood_with_events(site: AttackedSite, who: str) -> bool:
    """Publishes 20,000 events of 1 kB; the router grows by more than 200 MiB, or somebody gets no answer."""
    before = site.router_memory()
    with contextlib.suppress(ClosedError, OSError), site.join(who) as session:
        payload = "x" * 1000
        session.send(*([PUBLISH, n, {}, f"{site.root}.{who}.feeds.flood", [payload]] for n in range(1, 20_001)))
    return not _still_well(site, before)


@attack("floods", STRANGER)
def join_again_and_again(site: AttackedSite, who: str) -> bool:
    """Tries to join 300 times with a wrong key, or for 8 s; the router's log grows by more than 100 kB."""
    del who
    before = len(site.router.log_path.read_bytes())
    key = SigningKey(os.urandom(32), CLIENT)
    began = time.monotonic()
    for _ in range(300):
        if time.monotonic() > began + 8:
            break
        with contextlib.suppress(ClosedError, OSError):
            site.join(CLIENT, key=key).close()
    return len(site.router.log_path.read_bytes()) - before > 100_000 or not site.is_well()


# The HTTP bridge


def _post(site: AttackedSite, body: bytes, token: str | None, **fields: str) -> tuple[int, Any]:
    head = {"Content-Type": "application/json", **fields}
    if token is not None:
        head["Authorization"] = f"Bearer {token}"
    link = _http(site)
    try:
        link.request("POST", "/call", body, head)
        answer = link.getresponse()
        text = answer.read()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text.decode("latin-1")
    finally:
        link.close()


def _http(site: AttackedSite) -> http.client.HTTPConnection:
    if site.closed:
        context = ssl.create_default_context(cafile=str(site.closed.ca))
        return http.client.HTTPSConnection("127.0.0.1", site.port, context=context, timeout=20)
    return http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)


def _calls_by_http(site: AttackedSite, token: str | None) -> bool:
    body = json.dumps({"procedure": site.address("fake-1"), "args": ["get_api"]}).encode()
    status, answer = _post(site, body, token)
    return status == 200 and isinstance(answer, dict) and "error" not in answer


@attack("HTTP bridge", STRANGER)
def call_without_a_token(site: AttackedSite, who: str) -> bool:
    """Calls an agent by HTTP, without saying who calls."""
    del who
    return _calls_by_http(site, None)


@attack("HTTP bridge", STRANGER)
def call_with_a_forged_token(site: AttackedSite, who: str) -> bool:
    """Calls with tokens that are unsigned, signed with another key or method, for another site, or have ended."""
    del who
    own, now = SigningKey(os.urandom(32), CLIENT), time.time()
    known = site.key(CLIENT) or own
    claims = {"sub": CLIENT, "aud": site.realm, "iat": int(now), "exp": int(now) + 60, "key": known.public}
    body = _part(claims)
    forged = [
        f"{_part({'alg': 'none'})}.{body}.",
        f"{_part({'alg': 'none'})}.{body}.AA",
        f"{_part({'alg': 'HS256'})}.{body}.{_part(known.public)}",
        own.token(site.realm, now),
        known.token("another_realm", now),
        known.token(site.realm, now - 4000),
        f"{known.token(site.realm, now).rpartition('.')[0]}.{own.token(site.realm, now).rpartition('.')[2]}",
        "x",
        "",
    ]
    return any(_calls_by_http(site, token) for token in forged)


def _part(value: Any) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@attack("HTTP bridge", OBSERVER)
def call_with_an_observers_token(site: AttackedSite, who: str) -> bool:
    """Calls an agent by HTTP with the token of one who may only listen."""
    key = site.key(who)
    return _calls_by_http(site, key.token(site.realm, time.time()) if key else None)


@attack("HTTP bridge", STRANGER)
def send_a_body_of_64_mib(site: AttackedSite, who: str) -> bool:
    """POSTs 64 MiB, which the router takes in whole before it says no."""
    del who
    return _takes_in(site, b"Content-Length: %d" % (64 * MIB), b"x" * MIB)


@attack("HTTP bridge", STRANGER)
def send_a_body_without_an_end(site: AttackedSite, who: str) -> bool:
    """POSTs a body in parts, of which the router takes 64 MiB and more."""
    del who
    return _takes_in(site, b"Transfer-Encoding: chunked", b"100000\r\n" + b"x" * MIB + b"\r\n")


def _takes_in(site: AttackedSite, field: bytes, part: bytes) -> bool:
    """Tell whether the router takes 60 parts of a body without cutting the connection."""
    with contextlib.suppress(OSError, ssl.SSLError), site.link() as link:
        link.sendall(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%b\r\n\r\n" % field)
        for _ in range(60):
            link.sendall(part)
        return True
    return not site.is_well()


@attack("HTTP bridge", STRANGER, CLIENT)
def have_the_bridge_tell_of_itself(site: AttackedSite, who: str) -> bool:
    """Sends what is no call, to have a traceback, a fault (500), or the router's version in the answer."""
    key = site.key(who)
    token = key.token(site.realm, time.time()) if key else None
    bodies = [b"", b"{", b"[1]", b'{"procedure": 1}', b'{"procedure": "x", "args": 5}', b"\xff" * 100, b"[" * 50_000]
    bodies += [b'{"procedure": "x.y", "kwargs": {"procedure": 1}}', b'{"procedure": "x.y", "kwargs": {"options": 1}}']
    answers = [_post(site, body, token) for body in bodies]
    link = _http(site)
    link.request("GET", "/info")
    info = link.getresponse()
    told = info.read()
    link.close()
    return any(status >= 500 or "Traceback" in str(text) for status, text in answers) or (
        info.status == 200 and b"rossbar" in told
    )
