"""The agent: as authors test theirs, and its life with a router in memory."""

import json
import math
import time
from unittest.mock import MagicMock, Mock

import msgpack
import numpy as np
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python import threadable

from ocs.base import ERROR, OK, TIMEOUT
from ocs.ocs_agent import OCSAgent, OpSession, param
from ocs.wamp.lean_autobahn import ComponentConfig
from tests.harness.fake_router import FakeRouter
from tests.harness.fakes import Log, site_args, unconnected_agent
from tests.harness.reactor import SteppedReactor

ADDRESS = "observatory.test-1"
PROCEDURES = {ADDRESS, f"{ADDRESS}.ops", f"{ADDRESS}.replay"}


def fine(session, params):
    """fine()

    **Task** - Be fine."""
    return True, "fine"


# As agent authors do in their own tests


class CounterAgent:
    """An agent as authors write them."""

    def __init__(self, agent):
        self.agent = agent
        self.log = agent.log
        agent.register_feed("counts", record=True, agg_params={"frame_length": 60}, buffer_time=1)
        agent.register_task("reset", self.reset, aborter=self.abort)
        agent.register_process("count", self.count, self._stop_count, startup=True)

    @param("to", default=0, type=int)
    def reset(self, session, params=None):
        session.data = {"value": params["to"]}
        session.add_message("reset")
        return True, "Reset."

    def abort(self, session, params):
        return False, "cannot be aborted"

    @param("test_mode", default=False, type=bool)
    def count(self, session, params):
        session.set_status("running")
        value = 0
        while session.status in ("starting", "running"):
            value += 1
            message = {"block_name": "count", "timestamp": time.time(), "data": {"value": value}}
            self.agent.publish_to_feed("counts", message)
            session.data = {"value": value}
            if params["test_mode"]:
                break
        self.agent.feeds["counts"].flush_buffer()
        return True, "Counted."

    def _stop_count(self, session, params):
        session.set_status("stopping")
        return True, "Stopping."


@pytest.fixture
def counter():
    args = Mock()
    args.log_dir, args.access_policy = None, ""
    return CounterAgent(OCSAgent(ComponentConfig("realm", {}), args, address="test.address"))


def test_an_authors_agent_can_be_made_of_mocks(counter):
    agent = counter.agent
    assert agent.agent_address == "test.address"
    assert agent.instance_id == "address"
    assert set(agent.tasks) == {"reset"}
    assert set(agent.processes) == {"count"}
    assert set(agent.feeds) == {"heartbeat", "counts"}
    assert agent.sessions == {"reset": None, "count": None}
    assert agent.startup_ops == [("process", "count", True)]
    assert agent.subscribed_topics == set()
    assert agent.realm_joined is False
    assert agent.log.info is not None


def test_an_authors_task_can_be_called_directly(counter):
    session = OpSession(1, "reset", app=Mock())
    assert counter.reset(session, {"to": 3}) == (True, "Reset.")
    assert session.encoded()["data"] == {"value": 3}
    assert session.messages[-1][1] == "reset"


def test_an_authors_process_can_be_called_directly(counter):
    session = OpSession(1, "count", app=counter.agent)
    assert counter.count(session, {"test_mode": True}) == (True, "Counted.")
    assert session.status == "running"
    assert counter._stop_count(session, None)[0] is True
    assert session.status == "stopping"


def test_an_agent_made_wholly_of_a_mock_serves_its_author_too():
    counter = CounterAgent(MagicMock())
    assert counter.count(OpSession(1, "count", app=Mock()), {"test_mode": True})[0] is True


def test_operations_can_be_started_without_a_running_reactor(counter):
    assert counter.agent.start("reset", {"to": "x"})[0] == ERROR
    code, _, session = counter.agent.start("reset", {"to": 1})
    assert (code, session["op_name"]) == (OK, "reset")
    assert counter.agent.status("reset")[0] == OK
    counter.agent.sessions["reset"].call_when_done(lambda _: None)


def test_the_address_comes_from_the_arguments_unless_given():
    args = site_args(address_root="obs", instance_id="thermo-2")
    agent = OCSAgent(ComponentConfig("realm", {}), args)
    assert (agent.agent_address, agent.instance_id) == ("obs.thermo-2", "thermo-2")


# The agent with a router in memory


@pytest.fixture
def reactor(monkeypatch):
    monkeypatch.setattr(threadable, "ioThread", threadable.getThreadID())
    return SteppedReactor()


@pytest.fixture
def agent(reactor):
    made = unconnected_agent(reactor)
    made.log = Log()
    made.operations._log = made.outbox._log = made.log
    return made


@pytest.fixture
def router(agent):
    return FakeRouter(agent)


def heartbeats(router):
    return [data for topic, (data, _) in router.published if topic.endswith(".heartbeat")]


def test_joining_takes_the_address_and_beats(agent, router, reactor):
    agent.register_task("t", fine, blocking=False)
    router.connect()
    assert set(router.registered) == PROCEDURES
    assert heartbeats(router) == [{"t": 1}]
    agent.start("t")
    reactor.pump()
    for _ in range(3):
        reactor.advance(1)
    assert heartbeats(router)[1:] == [{"t": 5}] * 3


def test_heartbeats_can_be_turned_off(agent, router, reactor):
    router.connect()
    agent.heartbeat_on = False
    before = len(heartbeats(router))
    reactor.pump()
    reactor.advance(5)
    assert len(heartbeats(router)) == before


def test_startup_operations_run_once_at_the_first_join(agent, router, reactor):
    runs = []

    def note(session, params):
        runs.append((session.op_name, params, session.cred_level))
        return True, ""

    agent.register_task("a", note, blocking=False, startup=True)
    agent.register_task("b", note, blocking=False, startup={"volts": 3})
    agent.register_task("c", note, blocking=False, startup={})
    agent.register_task("d", note, blocking=False, startup=False)
    for _ in range(3):
        router.connect()
        reactor.pump()
        router.lose()
    assert [run[:2] for run in runs] == [("a", None), ("b", {"volts": 3}), ("c", {})]


def test_a_startup_operation_that_cannot_start_is_logged_and_others_run(agent, router, reactor):
    @param("volts", type=int)
    def picky(session, params):
        return True, ""

    agent.register_task("picky", picky, blocking=False, startup=True)
    agent.register_task("t", fine, blocking=False, startup=True)
    router.connect()
    reactor.pump()
    assert "'volts'" in agent.log.of("error")[0]
    assert agent.sessions["t"].success is True


def test_a_recorder_is_told_how_far_it_should_be_and_gets_what_it_lacks(agent, router, reactor):
    agent.register_feed("temps", record=True)
    router.connect()
    for number in range(3):
        agent.publish_to_feed("temps", {"block_name": "b", "timestamp": float(number), "data": {"a": 1.0}})
        reactor.pump()
    events = [event for topic, event in router.published if topic.endswith(".temps")]
    reactor.advance(1)
    beats = [envelope["last_seq"] for topic, (_, envelope) in router.published if topic.endswith(".heartbeat")]
    assert (beats[0], beats[-1]) == (0, 3)
    ask = {"recorder": "r", "every": 1.0, "run": agent.agent_session_id, "from": 2, "since": 0.0, "limit": 10_000}
    reply = router.results[router.call(f"{ADDRESS}.replay", ask)]
    assert reply["next"] == 4
    assert [msgpack.unpackb(payload)[0] for _, _, payload in reply["messages"]] == events[1:]


def test_a_recorder_that_asks_nonsense_is_told_in_a_line(agent, router):
    router.connect()
    refusal = router.results[router.call(f"{ADDRESS}.replay", {"recorder": 3})]
    assert (refusal.error, "\n" in refusal.args[0]) == ("ocs.error.invalid_request", False)


def test_a_second_agent_of_the_name_waits_and_does_nothing(agent, router, reactor):
    agent.register_task("t", fine, blocking=False, startup=True)
    router.registered[f"{ADDRESS}.ops"] = 99
    router._id(f"{ADDRESS}.ops")
    router.connect()
    for _ in range(30):
        reactor.advance(1)
    assert router.registered == {f"{ADDRESS}.ops": 99}
    assert router.forced == []
    assert heartbeats(router) == []
    assert agent.sessions["t"] is None
    assert len([line for line in agent.log.of("warn") if "held by another connection" in line]) <= 2
    del router.registered[f"{ADDRESS}.ops"]
    reactor.advance(1)
    reactor.pump()
    assert set(router.registered) == PROCEDURES
    assert agent.sessions["t"].success is True


def test_what_our_own_lost_connection_holds_is_taken_over(agent, router, reactor):
    router.connect()
    router.lose(forget=False)
    reactor.advance(1)
    second = router.connect()
    assert router.registered == dict.fromkeys(PROCEDURES, second)
    assert set(router.forced) == PROCEDURES


def test_it_is_taken_over_also_after_several_connections_in_between(agent, router, reactor):
    first = router.connect()
    router.lose(forget=False)
    router.silent.add("wamp.registration.match")
    for _ in range(3):
        router.connect()
        router.lose(forget=False)
    assert set(router.registered.values()) == {first}
    router.silent.clear()
    last = router.connect()
    assert set(router.registered.values()) == {last}


def test_the_address_of_another_is_not_taken_over(agent, router, reactor):
    router.connect()
    router.lose()
    router.registered = {ADDRESS: 99, f"{ADDRESS}.ops": 99}
    router.connect()
    reactor.advance(3)
    assert set(router.registered.values()) == {99}
    assert router.forced == []


def test_a_router_that_does_not_tell_who_holds_the_address_is_waited_for(agent, router, reactor):
    router.connect()
    router.lose(forget=False)
    router.calls.clear()
    router.connect()
    assert router.forced == []
    router.registered.clear()
    reactor.advance(1)
    assert set(router.registered) == PROCEDURES


def test_a_lost_connection_stops_no_operation(agent, router, reactor):
    pending = Deferred()
    agent.register_process("p", lambda session, params: pending, fine, blocking=False, startup=True)
    router.connect()
    reactor.pump()
    for _ in range(3):
        router.lose()
        reactor.advance(2)
        assert agent.sessions["p"].status == "running"
        router.connect()
    assert agent.sessions["p"].session_id == 0
    assert heartbeats(router)[-1] == {"p": 3}


def test_no_heartbeat_is_saved_up_while_the_link_is_down(agent, router, reactor):
    router.connect()
    router.lose()
    before = len(heartbeats(router))
    for _ in range(10):
        reactor.advance(1)
    router.connect()
    assert len(heartbeats(router)) == before + 1


def test_samples_of_an_outage_arrive_afterwards_in_order(agent, router, reactor):
    agent.register_feed("f", record=True)
    router.connect()
    for number in range(30):
        if number == 10:
            router.lose()
        if number == 20:
            router.connect()
        message = {"block_name": "b", "timestamp": float(number), "data": {"x": number}}
        agent.publish_to_feed("f", message)
        reactor.pump()
    got = [x for topic, (data, _) in router.published if topic.endswith(".f") for x in data["b"]["data"]["x"]]
    assert got == list(range(30))


def test_an_unknown_feed_is_logged_not_raised(agent):
    agent.publish_to_feed("nix", {})
    assert "nix" in agent.log.of("error")[0]


def test_feeds_leave_when_an_operation_ends(agent, router, reactor):
    agent.register_feed("f", record=True, buffer_time=1000)

    def operation(session, params):
        agent.publish_to_feed("f", {"block_name": "b", "timestamp": 1.0, "data": {"x": 1.0}})
        return True, ""

    agent.register_task("t", operation, blocking=False)
    router.connect()
    agent.start("t")
    reactor.pump()
    assert [topic for topic, _ in router.published].count(f"{ADDRESS}.feeds.f") == 1


# Subscriptions


def test_subscriptions_are_made_at_the_join_and_after_every_reconnect(agent, router, reactor):
    got = []
    agent.subscribe_on_start(got.append, "observatory..feeds.", options={"match": "wildcard"})
    agent.subscribe_to_feed("observatory.other", "f", got.append)
    for _ in range(3):
        router.connect()
        assert router.subscribed == ["observatory..feeds.", "observatory.other.feeds.f"]
        router.event("observatory.other.feeds.f", [1, {}])
        router.lose()
    assert got == [[1, {}]] * 3
    assert agent.subscribed_topics == {"observatory..feeds.", "observatory.other.feeds.f"}


def test_a_second_subscription_to_a_topic_is_refused_unless_forced(agent, router):
    router.connect()
    first = agent.subscribe(Mock(), "a.b")
    assert first.result not in (False, None)
    assert agent.subscribe(Mock(), "a.b").result is False
    assert "a.b" in agent.log.of("warn")[0]
    assert agent.subscribe(Mock(), "a.b", force_subscribe=True).result is not False
    assert router.subscribed == ["a.b", "a.b"]


def test_what_is_unsubscribed_is_neither_heard_nor_made_again(agent, router):
    got = []
    router.connect()
    for handler in (got.append, Mock()):
        agent.subscribe(handler, "a.b", force_subscribe=True)
    agent.subscribe(got.append, "a.c")
    agent.unsubscribe("a.b")
    assert router.subscribed == ["a.c"]
    router.lose()
    router.connect()
    assert router.subscribed == ["a.c"]
    assert agent.subscribed_topics == {"a.c"}
    agent.subscribe(got.append, "a.b")
    router.event("a.b", "again")
    assert got == ["again"]


def test_a_topic_that_nobody_subscribed_to_can_be_unsubscribed(agent, router):
    agent.unsubscribe("a.b")
    router.connect()
    agent.unsubscribe("a.b")
    assert router.subscribed == []


def test_a_subscription_made_while_joining_is_made_once(agent, router, reactor):
    got = []
    router.registered[ADDRESS] = 99  # so that joining takes a while
    router._id(ADDRESS)
    router.connect()
    agent.subscribe(got.append, "a.b")
    router.registered.clear()
    reactor.advance(1)
    assert router.subscribed == ["a.b"]
    router.event("a.b", "once")
    assert got == ["once"]


def test_a_handler_that_fails_does_not_hurt_the_agent(agent, router, reactor):
    got = []
    agent.subscribe_on_start(lambda event: 1 / 0, "a.b")
    agent.subscribe_on_start(got.append, "a.c")
    agent.onUserError = Mock()
    router.connect()
    router.event("a.b", 1)
    router.event("a.c", 2)
    assert got == [2]
    assert agent.onUserError.called


# Answering


def ops(agent, *args, **kwargs):
    reply = agent._desk.serve_ops(*args, **kwargs)
    return reply.result if isinstance(reply, Deferred) else reply


def test_the_desk_hands_on_each_action(agent, reactor):
    pending = Deferred()
    agent.register_task("t", lambda session, params: pending, aborter=fine, blocking=False)
    assert ops(agent, "start", "t")[0] == OK
    reactor.pump()
    assert ops(agent, "status", "t")[2]["status"] == "running"
    assert ops(agent, "wait", "t", None, 0.0 - 1)[0] == TIMEOUT
    assert ops(agent, action="wait", op_name="t", timeout=-1)[0] == TIMEOUT
    assert ops(agent, "stop", "t")[0] == ERROR
    assert ops(agent, "abort", "t", params={"x": 1})[0] == OK
    pending.callback((True, ""))
    assert ops(agent, "wait", "t", timeout=None)[0] == OK


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("start",), {}),
        (("start", None), {}),
        (("fly", "t"), {}),
        ((None, "t"), {}),
        (([], {}), {}),
        (("start", "t"), {"speed": 3}),
        (("wait", "t", None, "soon"), {}),
        (("stop", "t"), {}),
        (("start", ["t"]), {}),
    ],
)
def test_a_users_mistake_is_an_answer_never_an_exception(agent, args, kwargs):
    agent.register_task("t", lambda session, params: Deferred(), blocking=False)
    if args[:1] == ("wait",):
        agent.start("t")
    code, message, session = ops(agent, *args, **kwargs)
    assert code == ERROR
    assert message
    assert session == {} or session["op_name"] == "t"


def test_get_api_describes_the_agent(agent):
    agent.register_task("b", fine, min_privs=2)
    agent.register_task("a", fine, blocking=False, aborter=fine)
    agent.register_process("p", fine, fine)
    api = agent._desk.serve_query("get_api")
    assert api["agent_class"] == "TestAgent"
    assert isinstance(api["instance_pid"], int)
    assert isinstance(api["instance_hostname"], str)
    assert [name for name, _ in api["feeds"]] == ["heartbeat"]
    assert [name for name, _, _ in api["tasks"]] == ["a", "b"]
    assert api["tasks"][1][1:] == [
        {"op_name": "b", "status": "no_history"},
        {"blocking": True, "abortable": False, "docstring": fine.__doc__, "op_type": "task", "min_privs": 2},
    ]
    assert api["processes"][0][2]["op_type"] == "process"
    assert set(api["access_control"]) >= {"version", "policy", "update_timestamp", "update_count", "step"}
    assert json.loads(json.dumps(api, allow_nan=False)) == api


def test_the_other_queries_are_parts_of_get_api(agent):
    agent.register_task("t", fine)
    agent.register_process("p", fine, fine)
    ask = agent._desk.serve_query
    api = ask("get_api")
    assert ask("get_tasks") == api["tasks"]
    assert ask("get_processes") == api["processes"]
    assert ask("get_feeds") == api["feeds"]
    assert ask("get_agent_class") == "TestAgent"
    for unknown in ("get_nothing", None, 3, []):
        assert "error" in ask(unknown)


def test_bad_session_data_breaks_neither_status_nor_get_api(agent, reactor):
    data = {"bad": math.inf, "worse": object(), "array": np.arange(3), "nan": math.nan, "text": "\udcff"}

    def operation(session, params):
        session.data = data
        return True, "done \udcff"

    agent.register_task("t", operation, blocking=False)
    agent.start("t")
    reactor.pump()
    shown = {"bad": None, "worse": None, "array": [0, 1, 2], "nan": None, "text": None}
    assert agent.status("t")[2]["data"] == shown
    api = agent._desk.serve_query("get_api")
    assert api["tasks"][0][1]["data"] == shown
    json.dumps(api, allow_nan=False).encode()


def test_calls_come_in_over_the_wire(agent, router, reactor):
    agent.register_task("t", fine, blocking=False)
    router.connect()
    answer = router.call(f"{ADDRESS}.ops", "start", "t")
    reactor.pump()
    assert router.results[answer][0] == OK
    waiting = router.call(f"{ADDRESS}.ops", "wait", "t", timeout=5)
    assert router.results[waiting][2]["success"] is True
    assert router.results[router.call(ADDRESS, "get_agent_class")] == "TestAgent"


def test_another_agents_operation_is_called_by_its_ops(agent, router):
    seen = []
    router.calls["observatory.other.ops"] = lambda *args: seen.append(args) or [0, "fine", {}]
    router.connect()
    reply = agent.call_op("observatory.other", "t", "start", params={"a": 1})
    assert reply.result == [0, "fine", {}]
    assert seen == [("start", "t")]


def test_encoded_names_what_there_is(agent):
    agent.register_task("t", fine)
    assert agent.encoded() == {
        "agent_address": ADDRESS,
        "session_id": agent.agent_session_id,
        "feeds": [agent.feeds["heartbeat"].encoded()],
        "tasks": ["t"],
        "processes": [],
    }


# Access


def test_the_override_policy_gives_levels_by_password(reactor):
    agent = unconnected_agent(reactor, access_policy="override:two,three")
    for level in (1, 2, 3):
        agent.register_task(f"t{level}", fine, blocking=False, min_privs=level)
    passwords = {None: 1, "": 1, "wrong": 1, "two": 2, "three": 3}
    for password, level in passwords.items():
        for needed in (1, 2, 3):
            code, message, session = ops(agent, "start", f"t{needed}", password=password)
            reactor.pump_until(lambda needed=needed: not agent.operations.active())
            if level >= needed:
                assert (code, session["cred_level"]) == (OK, level)
            else:
                assert (code, session) == (ERROR, {})
                assert str(needed) in message
                assert str(level) in message


def test_a_director_that_does_not_answer_holds_nothing_up(reactor):
    agent = unconnected_agent(reactor, access_policy="director:acc")
    agent.register_task("t", fine, blocking=False, startup=True)
    router = FakeRouter(agent)
    router.silent.add("observatory.acc.agent_poll")
    router.connect()
    reactor.pump()
    assert router.subscribed == ["observatory.acc.feeds.controls"]
    assert len(heartbeats(router)) == 1
    assert agent.sessions["t"].success is True
    assert agent.sessions["t"].cred_level == 4
    assert agent.start("t")[0] == ERROR  # nobody else may, until rules have come


RULE = {"hashed_pass": {"hash": "none", "value": "secret"}, "cred_level": 2, "scope_spec": {"default": True}}
CONTROLS = {"reset": True, "ac_version": 1, "step": 1, "rules": [RULE]}


@pytest.mark.parametrize(
    ("publisher", "director", "taken"), [(7, 7, True), (8, 7, False), (8, None, False), (None, 7, True)]
)
def test_rules_are_taken_from_the_director_only(reactor, publisher, director, taken):
    agent = unconnected_agent(reactor, access_policy="director:acc")
    agent.register_task("t", fine, blocking=False, min_privs=2)
    agent.access._log = Log()
    router = FakeRouter(agent)
    router.connect()
    if director:
        router.registered["observatory.acc.agent_poll"] = director
        router._id("observatory.acc.agent_poll")
    router.event("observatory.acc.feeds.controls", [CONTROLS, {"session_id": "1.0"}], publisher=publisher)
    reactor.pump()
    assert (agent.start("t", password="secret")[0] == OK) is taken
    assert agent.start("t", password="guess")[0] == ERROR
    assert bool(agent.access._log.of("error")) is not taken
    assert bool(agent.access._log.of("warn")[1:]) is (publisher is None)


def test_rules_are_not_taken_where_the_router_does_not_say_who_the_director_is(reactor):
    agent = unconnected_agent(reactor, access_policy="director:acc")
    agent.register_task("t", fine, blocking=False)
    router = FakeRouter(agent)
    router.connect()
    router.calls.clear()
    router.event("observatory.acc.feeds.controls", [CONTROLS, {"session_id": "1.0"}], publisher=7)
    assert agent.start("t", password="secret")[0] == ERROR


# The end


def test_shutting_down_stops_operations_and_sends_what_is_left(agent, router, reactor):
    pending = Deferred()

    def stop(session, params):
        agent.publish_to_feed("f", {"block_name": "b", "timestamp": 1.0, "data": {"x": 1.0}})
        reactor.callLater(0.5, pending.callback, (True, ""))
        return True, ""

    agent.register_feed("f", record=True, buffer_time=1000)
    agent.register_process("p", lambda session, params: pending, stop, blocking=False)
    agent.register_task("t", lambda session, params: succeed((True, "")), blocking=False)
    router.connect()
    agent.start("p")
    reactor.pump()
    ended = agent.shut_down()
    reactor.pump()
    assert not ended.called
    reactor.advance(0.5)
    reactor.pump()
    assert ended.called
    assert agent.sessions["p"].success is True
    assert f"{ADDRESS}.feeds.f" in [topic for topic, _ in router.published]


def test_shutting_down_does_not_wait_for_ever(agent, router, reactor):
    agent.register_process("deaf", lambda session, params: Deferred(), fine, blocking=False)
    agent.register_task("no_aborter", lambda session, params: Deferred(), blocking=False)
    router.connect()
    agent.start("deaf")
    agent.start("no_aborter")
    reactor.pump()
    ended = agent.shut_down()
    reactor.pump()
    reactor.advance(4.9)
    assert not ended.called
    reactor.advance(0.2)
    assert ended.called
    assert "deaf, no_aborter" in agent.log.of("warn")[-1]


def test_shutting_down_with_nothing_to_do_is_at_once(agent):
    assert agent.shut_down().called
