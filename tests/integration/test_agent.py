"""An agent on a real router, seen from outside: operations, feeds, access, start and end."""

import math
import signal
import time

import pytest
from autobahn.wamp.types import PublishOptions
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.harness.listener import Listener
from tests.harness.prove import look, ops, run, start_proving, texts
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

OK, ERROR, TIMEOUT = 0, -1, 1


@pytest.fixture
def prove(site, run_agent):
    """Start the proving agent."""
    return lambda *arguments, **keywords: start_proving(run_agent, keywords.pop("on", site), *arguments, **keywords)


@pytest.fixture
def agent(prove):
    return prove()


@pytest.fixture
def feed(router, tmp_path):
    def listen(name, instance="prove-1"):
        return Listener(router, f"observatory.{instance}.feeds.{name}", tmp_path)

    return listen


# Operations


def test_replies_sessions_and_messages_are_those_of_the_protocol(agent):
    code, message, session = ops(agent, "start", "echo", {"text": "hi", "times": 2})
    assert (code, session["success"], session["op_name"], session["cred_level"]) == (OK, None, "echo", 1)
    code, message, session = ops(agent, "wait", "echo", None, 5)
    assert code == OK
    assert "SUCCEEDED" in message
    assert session["data"] == {"said": ["hi", "hi"]}
    assert texts(session) == [
        'Status is now "starting".', 'Status is now "running".', "hi", 'Status is now "done".',
    ]  # fmt: skip
    assert session["start_time"] <= session["end_time"] <= time.time()
    assert (session["success"], session["op_code"], session["degraded"]) == (True, 5, False)


@pytest.mark.parametrize("task", ["coroutine", "deferred", "raw", "raw_here", "quick"])
def test_each_kind_of_function_brings_its_result(agent, task):
    assert run(agent, task)["success"] is True


def test_blocking_functions_run_in_threads_of_their_own_others_in_the_reactor(agent):
    assert run(agent, "raw")["data"]["thread"].startswith("raw:")
    assert run(agent, "raw_here")["data"]["thread"] == "MainThread"


@pytest.mark.parametrize("params", [None, {}, {"a": [1, 2.5, None, "x"]}])
def test_params_arrive_as_they_were_sent(agent, params):
    assert run(agent, "raw", params)["data"]["params"] == params


@pytest.mark.parametrize("task", ["crash", "crash_here"])
def test_a_crash_is_told_and_the_agent_goes_on(agent, task):
    session = run(agent, task)
    assert session["success"] is False
    assert any(text.startswith("CRASH:") and "out of helium" in text for text in texts(session))
    assert run(agent, "echo")["success"] is True


def test_a_bad_result_is_told(agent):
    session = run(agent, "bad_result")
    assert session["success"] is False
    assert any(text.startswith("ERROR:") for text in texts(session))


@pytest.mark.parametrize("params", [{"text": 3}, {"times": 4}, {"speed": 1}, [1], "x"])
def test_a_bad_parameter_is_an_error_at_once(agent, params):
    code, message, session = ops(agent, "start", "echo", params)
    assert (code, session) == (ERROR, {})
    assert message
    assert ops(agent, "status", "echo")[2] == {}


def test_declared_parameters_are_told(agent):
    (info,) = [info for name, _, info in agent.call("", "get_tasks") if name == "echo"]
    assert info["params"] == [
        {"name": "text", "required": False, "default": "hello", "type": "str"},
        {"name": "times", "required": False, "default": 1, "type": "int", "choices": [1, 2, 3], "help": "how often"},
    ]


def test_a_task_is_aborted(agent):
    ops(agent, "start", "pending")
    assert ops(agent, "start", "pending")[0] == ERROR
    assert ops(agent, "wait", "pending", None, -1)[0] == TIMEOUT
    assert ops(agent, "wait", "pending", None, 0.05)[0] == TIMEOUT
    assert ops(agent, "abort", "pending")[0] == OK
    code, _, session = ops(agent, "wait", "pending")
    assert (code, session["success"]) == (OK, False)
    assert "aborted" in texts(session)


def test_a_process_is_stopped(agent):
    ops(agent, "start", "count")
    wait_for(lambda: ops(agent, "status", "count")[2]["data"].get("n", 0) > 5)
    assert ops(agent, "stop", "count")[0] == OK
    code, _, session = ops(agent, "wait", "count", None, 5)
    assert (code, session["success"]) == (OK, True)
    assert 'Status is now "stopping".' in texts(session)


def test_startup_operations_run(prove):
    agent = prove("--startup")
    wait_for(lambda: ops(agent, "status", "at_startup")[2].get("status") == "done")
    session = ops(agent, "status", "at_startup")[2]
    assert session["data"]["params"] == {"from": "startup"}
    assert ops(agent, "status", "count")[2]["status"] == "running"


def test_bad_session_data_breaks_neither_status_nor_get_api(agent):
    run(agent, "data", {"bad": True, "huge": True})
    shown = ops(agent, "status", "data")[2]["data"]
    assert shown == {
        "array": [0, 1, 2], "scalar": 0.5, "nan": None, "none": None, "inf": None, "object": None, "text": None,
        "huge": None,
    }  # fmt: skip
    (session,) = [session for name, session, _ in agent.call("", "get_api")["tasks"] if name == "data"]
    assert session["data"] == shown
    assert sum("session.data" in text for text in texts(session)) == 4


# Threads


def test_a_hundred_blocking_processes_run_at_once_and_stop(prove):
    agent = prove("--processes", "100")
    names = [f"loop_{n:03}" for n in range(100)]
    for name in names:
        assert ops(agent, "start", name)[0] == OK
    wait_for(lambda: {ops(agent, "status", name)[2]["status"] for name in names} == {"running"})
    assert look(agent)["threads"] >= 100
    assert run(agent, "echo")["success"] is True
    for name in names:
        assert ops(agent, "stop", name)[0] == OK
    assert all(ops(agent, "wait", name, None, 5)[0] == OK for name in names)
    wait_for(lambda: look(agent)["threads"] < 10)


def test_a_thread_that_the_framework_does_not_know_may_use_everything(agent, feed):
    with feed("counts") as counts, feed("events") as events:
        session = run(agent, "foreign")
        assert session["success"] is True, texts(session)
        assert "from a foreign thread" in texts(session)
        assert 'Status is now "stopping".' in texts(session)
        wait_for(lambda: counts.column("f", "n") == [1])
        wait_for(lambda: [data for data, _ in events.events] == [{"from": "a foreign thread"}])


# Feeds


def test_heartbeats_come_once_a_second_with_all_op_codes(agent, feed):
    with feed("heartbeat") as beats:
        wait_for(lambda: len(beats.events) >= 3)
    data, envelope = beats.events[-1]
    assert data["echo"] == 1
    assert envelope["agent_class"] == "ProvingAgent"
    assert envelope["record"] is False
    assert envelope["address"] == "observatory.prove-1.feeds.heartbeat"


def test_what_cannot_be_sent_is_refused_in_the_callers_thread_and_frame(agent):
    session = run(agent, "publish_bad")
    assert session["success"] is True
    data = session["data"]
    assert data["frames"][0] == "publish_bad"
    assert "publish_to_feed" in data["frames"]
    assert data["thread"].startswith("publish_bad:")
    assert "counts" in data["text"]
    assert "field x" in data["text"]


def test_a_single_sample_leaves_by_the_timer(agent, feed):
    with feed("slow") as slow:
        run(agent, "publish", {"feed": "slow", "count": 1})
        wait_for(lambda: slow.column("b", "n") == [0], timeout=3)


def test_buffers_leave_at_the_end_of_the_operation(agent, feed):
    with feed("never") as never:
        run(agent, "publish", {"feed": "never", "count": 3})
        wait_for(lambda: never.column("b", "n") == [0, 1, 2], timeout=3)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_buffers_leave_at_the_end_of_the_agent(agent, feed, how):
    with feed("never") as never, feed("counts") as counts:
        ops(agent, "start", "count")
        wait_for(lambda: ops(agent, "status", "count")[2]["data"].get("n", 0) > 50)
        assert agent.stop(how) == 0
        (last,) = wait_for(lambda: never.column("last", "n"))
        assert wait_for(lambda: len(counts.column("c", "n")) == last and counts.column("c", "n")) == list(range(last))


@pytest.mark.parametrize(
    ("feed_name", "count", "text"),
    [("counts", 150_000, 0), ("counts", 1_150_000, 0), ("never", 40_000, 500)],
    ids=["150,000 samples", "20 MB of numbers", "20 MB of text"],
)
def test_a_large_batch_arrives_whole_and_in_order_at_any_subscriber(agent, feed, feed_name, count, text):
    with feed(feed_name) as heard:
        began = time.monotonic()
        run(agent, "publish", {"feed": feed_name, "count": count, "at_once": True, "text": text}, timeout=60)
        wait_for(lambda: sum(len(data["b"]["timestamps"]) for data, _ in heard.events) >= count, timeout=60)
        assert heard.column("b", "n") == list(range(count))
        assert time.monotonic() - began < 60
        # The agent has stayed well: it answers, and its heartbeats are coming.
        assert run(agent, "echo")["success"] is True


# Access


def test_the_override_policy_asks_for_passwords(prove, site):
    site.hub["access_policy"] = "override:two,three"
    agent = prove("--min-privs", "2")
    code, message, session = ops(agent, "start", "raw", None, None, "wrong")
    assert (code, session) == (ERROR, {})
    assert "2" in message
    assert ops(agent, "start", "raw", None, None, "two")[0] == OK
    assert ops(agent, "wait", "raw")[2]["cred_level"] == 2
    assert ops(agent, "start", "raw", None, None, "three")[0] == OK
    assert ops(agent, "wait", "raw")[2]["cred_level"] == 3
    assert agent.call("", "get_api")["access_control"]["policy"] == "override"


RULE = {"hashed_pass": {"hash": "none", "value": "secret"}, "cred_level": 2, "scope_spec": {"default": True}}
CONTROLS = [{"reset": True, "ac_version": 1, "step": 1, "rules": [RULE]}, {"session_id": "1.0"}]


async def try_rules(router, address, *, as_director):
    """Publish access rules on the director's topic, try for a second to use the password, return the code."""
    async with wamp_session(router) as session:
        if as_director:
            await session.register(lambda *args: None, "observatory.acc.agent_poll")
        await session.publish("observatory.acc.feeds.controls", CONTROLS, options=PublishOptions(acknowledge=True))
        for _ in range(20):
            code, _, _ = await session.call(f"{address}.ops", "start", "raw", password="secret")
            if code == OK:
                break
            await deferLater(reactor, 0.05, lambda: None)
    return code


@ensureDeferred
async def test_with_a_director_everybody_is_blocked_until_its_rules_come(prove, site, router):
    site.hub["access_policy"] = "director:acc"
    agent = prove("--startup")
    wait_for(lambda: ops(agent, "status", "at_startup")[2].get("status") == "done")
    assert ops(agent, "status", "at_startup")[2]["cred_level"] == 4
    code, message, _ = ops(agent, "start", "raw", None, None, "secret")
    assert code == ERROR
    assert "acc" in message
    assert await try_rules(router, agent.address, as_director=False) == ERROR
    assert await try_rules(router, agent.address, as_director=True) == OK
    assert ops(agent, "wait", "raw")[2]["cred_level"] == 2
    assert agent.call("", "get_api")["access_control"]["update_count"] == 1


# Two of one name


def test_a_second_agent_of_the_name_waits_for_the_first_to_end(prove, feed):
    first = prove("--startup")
    pid = look(first)["pid"]
    with feed("counts") as counts:
        second = prove("--startup", wait=False)
        wait_for(lambda: "held by another connection" in second.output)
        before = len(counts.events)
        wait_for(lambda: len(counts.events) > before + 20)
        numbers = counts.column("c", "n")
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # one counts, not two
        assert look(first)["pid"] == pid
        assert first.stop() == 0
        second.wait_until_ready()
        assert look(second)["pid"] != pid
        wait_for(lambda: ops(second, "status", "count")[2].get("status") == "running")
        wait_for(lambda: 0 in counts.column("c", "n")[len(numbers) :])


def test_subscriptions_bring_what_others_publish(prove):
    first = prove("--startup")
    second = prove("--listen", "observatory..feeds.counts", instance="prove-2")
    heard = wait_for(lambda: look(second)["heard"])
    assert all("c" in data for data in heard)
    assert first.process.poll() is None


def test_numbers_keep_their_kind_on_the_wire(agent, feed):
    with feed("slow") as slow:
        run(agent, "publish", {"feed": "slow", "count": 3})
        wait_for(lambda: len(slow.column("b", "n")) == 3)
        assert [type(n) for n in slow.column("b", "n")] == [int] * 3
        assert [type(x) for x in slow.column("b", "x")] == [float] * 3
        assert not any(math.isnan(x) for x in slow.column("b", "x"))
