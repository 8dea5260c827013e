"""Operations: launched, stopped, waited for, and answered for."""

import gc
import threading
import time
import warnings
import weakref
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from ocs.base import ERROR, OK, TIMEOUT, OpCode
from ocs.core.operations import AgentProcess, AgentTask, Operations
from ocs.op_session import OpSession
from ocs.params import ParamError, param
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


class Bench:
    """Operations on a stepped reactor, with what they tell the agent."""

    def __init__(self):
        self.reactor = SteppedReactor()
        self.log = Log()
        self.ended = []
        self.app = Mock()
        self.operations = Operations(self.app, reactor=self.reactor, log=self.log, on_done=self.ended.append)

    def task(self, function, name="task", **keywords):
        self.operations.register(name, AgentTask(function, **{"blocking": False, **keywords}))

    def process(self, function, stopper, name="process", **keywords):
        self.operations.register(name, AgentProcess(function, stopper, **{"blocking": False, **keywords}))

    def start(self, name="task", params=None):
        reply = self.operations.start(name, params)
        self.reactor.pump()
        return reply

    def run(self, name="task", params=None):
        """Start an operation, see it end, and return its session."""
        code, message, _ = self.operations.start(name, params)
        assert code == OK, message
        self.reactor.pump_until(lambda: self.operations.sessions[name].status == "done")
        return self.operations.sessions[name]

    def session(self, name="task"):
        return self.operations.sessions[name]


@pytest.fixture
def bench():
    return Bench()


def texts(session):
    return [text for _, text in session.messages if not text.startswith("Status is now")]


def fine(session, params):
    return True, "fine"


async def coroutine(session, params):
    await succeed(None)
    return True, "fine"


def deferred(session, params):
    return succeed((True, "fine"))


class Loop:
    """A blocking process as most are written: it looks at the session's status."""

    def run(self, session, params):
        while session.status in ("starting", "running"):
            time.sleep(0.005)
        return True, "stopped"

    def stop(self, session, params):
        return True, "asked to stop"


class Pending:
    """An operation in the reactor that ends when the test says so."""

    def __init__(self):
        self.result = Deferred()

    def run(self, session, params):
        return self.result

    def stop(self, session, params):
        return True, "asked to stop"


# Launching


@pytest.mark.parametrize("function", [fine, coroutine, deferred])
def test_an_operation_in_the_reactor_ends_with_its_result(bench, function):
    bench.task(function)
    session = bench.run()
    assert (session.success, texts(session)) == (True, ["fine"])


def test_an_operation_in_a_thread_ends_with_its_result(bench):
    bench.task(lambda session, params: (False, threading.current_thread().name), blocking=True)
    session = bench.run()
    assert (session.success, texts(session)) == (False, ["task:0"])


def test_start_answers_before_the_function_is_called(bench):
    called = []
    bench.task(lambda session, params: called.append(1) or (True, ""))
    code, message, session = bench.operations.start("task", None)
    assert (code, called, session["status"], session["op_code"]) == (OK, [], "starting", OpCode.STARTING)
    assert "task" in message


def test_the_session_runs_while_the_function_does(bench):
    pending = Pending()
    bench.task(pending.run)
    bench.start()
    assert bench.operations.op_codes() == {"task": OpCode.RUNNING}
    pending.result.callback((True, ""))
    assert bench.operations.op_codes() == {"task": OpCode.SUCCEEDED}


def test_what_has_never_run_has_the_op_code_none(bench):
    bench.task(fine)
    assert bench.operations.op_codes() == {"task": OpCode.NONE}


@pytest.mark.parametrize("blocking", [True, False])
def test_params_arrive_as_they_were_sent(bench, blocking):
    seen = []
    bench.task(lambda session, params: seen.append(params) or (True, ""), blocking=blocking)
    bench.run(params={"a": 1})
    bench.run()
    assert seen == [{"a": 1}, None]


def test_an_agent_on_its_way_out_starts_nothing(bench):
    ran = []
    bench.task(lambda session, params: ran.append(1) or (True, ""))
    bench.operations.ending = True
    code, message, session = bench.start()
    assert (code, session, ran) == (ERROR, {}, [])
    assert "the agent is ending" in message


def test_an_active_operation_is_not_started_again(bench):
    bench.task(Pending().run)
    bench.start()
    code, message, session = bench.start()
    assert code == ERROR
    assert "already in progress" in message
    assert session["session_id"] == 0


def test_each_run_has_a_session_of_its_own(bench):
    bench.task(fine)
    assert [bench.run().session_id for _ in range(3)] == [0, 1, 2]
    assert [session.session_id for session in bench.ended] == [0, 1, 2]


@pytest.mark.parametrize("name", ["nix", None, 3, ["task"], {"a": 1}])
def test_an_unknown_operation_is_named_in_the_answer(bench, name):
    bench.task(fine)
    replies = [
        bench.operations.start(name, None),
        bench.operations.status(name),
        bench.operations.end_early(name, "abort", None),
        bench.operations.wait(name, None).result,
    ]
    for code, message, session in replies:
        assert (code, session) == (ERROR, {})
        assert f'No task or process called "{name}"' in message


def test_a_bad_parameter_answers_error_and_makes_no_session(bench):
    @param("volts", type=float)
    def operation(session, params):
        return True, str(params)

    bench.task(operation)
    code, message, session = bench.start(params={"volts": "many"})
    assert (code, session, bench.session()) == (ERROR, {}, None)
    assert "'volts'" in message
    assert texts(bench.run(params={"volts": 3})) == ["{'volts': 3.0}"]


def test_a_parameters_check_may_ask_the_agent(bench):
    @param("a", default=1, check=lambda value: bench.operations.start("task", None)[0] == OK)
    def operation(session, params):
        return True, ""

    bench.task(fine)
    bench.task(operation, name="asking")
    assert bench.run("asking").success is True
    assert bench.session().success is True


def test_of_many_starts_at_once_one_wins(bench):
    bench.task(Pending().run)
    replies, ready = [], threading.Barrier(8)

    def start():
        ready.wait(5)
        replies.append(bench.operations.start("task", None)[0])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [ERROR] * 7 + [OK]


def test_a_name_is_taken_once(bench):
    bench.task(fine)
    with pytest.raises(ValueError, match="'task'"):
        bench.process(fine, fine, name="task")


def test_operations_may_be_started_from_any_thread(bench):
    bench.task(fine)
    bench.process(Loop().run, Loop().stop, name="loop", blocking=True)
    replies = []
    thread = threading.Thread(
        target=lambda: replies.extend(bench.operations.start(name, None) for name in ("task", "loop"))
    )
    thread.start()
    thread.join()
    bench.reactor.pump_until(lambda: bench.session().status == "done")
    assert [code for code, _, _ in replies] == [OK, OK]
    bench.operations.end_early("loop", "stop", None)
    bench.reactor.pump_until(lambda: bench.session("loop").status == "done")


# Results that are none, and crashes


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


class Undecided:
    def __bool__(self):
        raise ValueError("neither")


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize(
    "result",
    [None, True, "ok", {}, {"a": 1, "b": 2}, (True,), (True, "a", "b"), Unprintable(), (Undecided(), "x"), 3],
)
def test_a_result_that_is_no_pair_fails_the_operation(bench, result, blocking):
    bench.task(lambda session, params: result, blocking=blocking)
    session = bench.run()
    assert session.success is False
    assert texts(session)[0].startswith("ERROR: the operation returned")


def test_a_coroutine_from_a_blocking_function_is_explained(bench):
    bench.task(coroutine, blocking=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "never awaited" is just what is wrong with it
        assert "blocking=False" in texts(bench.run())[0]
        gc.collect()


def test_no_message_is_no_line(bench):
    bench.task(lambda session, params: (True, None))
    assert texts(bench.run()) == []


def crash(session, params):
    raise RuntimeError("out of helium")


async def crash_later(session, params):
    await succeed(None)
    raise RuntimeError("out of helium")


@pytest.mark.parametrize(("function", "blocking"), [(crash, True), (crash, False), (crash_later, False)])
def test_a_crash_ends_the_session_and_says_what_and_where(bench, function, blocking):
    bench.task(function, blocking=blocking)
    session = bench.run()
    message = texts(session)[0]
    assert (session.success, session.op_code) == (False, OpCode.FAILED)
    assert message.startswith("CRASH: RuntimeError: out of helium")
    assert f"test_operations.py:{function.__code__.co_firstlineno}"[:18] in message
    assert "out of helium" in bench.log.of("error")[0]


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [MuteError(), SystemExit(3), KeyboardInterrupt(), ZeroDivisionError("\udcff")])
@pytest.mark.parametrize("blocking", [True, False])
def test_whatever_is_raised_ends_the_session(bench, error, blocking):
    def operation(session, params):
        raise error

    bench.task(operation, blocking=blocking)
    session = bench.run()
    assert session.success is False
    assert texts(session)[0].startswith("CRASH:")
    assert bench.operations.start("task", None)[0] == OK


def test_a_parameter_error_in_the_function_is_no_crash(bench):
    def operation(session, params):
        raise ParamError("volts: too many")

    bench.task(operation)
    assert texts(bench.run()) == ["ERROR: volts: too many"]
    assert bench.log.of("error") == []


# Stopping and aborting


def test_a_stopped_process_goes_through_stopping(bench):
    pending = Pending()
    bench.process(pending.run, pending.stop)
    bench.start("process")
    code, message, _ = bench.operations.end_early("process", "stop", None)
    bench.reactor.pump()
    assert code == OK
    assert "process" in message
    assert bench.operations.op_codes() == {"process": OpCode.STOPPING}
    pending.result.callback((True, "ended"))
    session = bench.session("process")
    assert session.status == "done"
    assert texts(session) == ["asked to stop", "ended"]


def test_the_stopping_function_still_sees_the_session_running(bench):
    seen, pending = [], Pending()
    bench.process(pending.run, lambda session, params: seen.append((session.status, params)) or (True, ""))
    bench.start("process")
    bench.operations.end_early("process", "stop", {"soon": True})
    bench.reactor.pump()
    assert seen == [("running", {"soon": True})]


@pytest.mark.parametrize("stopper_blocking", [None, True, False])
def test_a_blocking_process_that_watches_its_status_stops(bench, stopper_blocking):
    loop = Loop()
    bench.process(loop.run, loop.stop, blocking=True, stopper_blocking=stopper_blocking)
    bench.start("process")
    bench.reactor.pump_until(lambda: bench.session("process").status == "running")
    bench.operations.end_early("process", "stop", None)
    bench.reactor.pump_until(lambda: bench.session("process").status == "done")
    assert bench.session("process").success is True


def test_a_second_stop_is_refused_while_the_first_is_at_work(bench):
    pending = Pending()
    bench.process(pending.run, pending.stop)
    bench.start("process")
    assert bench.operations.end_early("process", "stop", None)[0] == OK
    for _ in range(2):
        code, message, session = bench.operations.end_early("process", "stop", None)
        assert (code, session["session_id"]) == (ERROR, 0)
        assert "already stopping" in message
        bench.reactor.pump()


@pytest.mark.parametrize("refusal", [lambda s, p: (False, "not now"), crash])
def test_a_stop_that_was_refused_may_be_asked_for_again(bench, refusal):
    pending = Pending()
    bench.process(pending.run, refusal)
    bench.start("process")
    bench.operations.end_early("process", "stop", None)
    bench.reactor.pump()
    assert bench.session("process").status == "running"
    assert len(texts(bench.session("process"))) == 1
    assert bench.operations.end_early("process", "stop", None)[0] == OK


def test_a_stopping_function_need_not_return_anything(bench):
    pending = Pending()
    bench.process(pending.run, lambda session, params: None)
    bench.start("process")
    bench.operations.end_early("process", "stop", None)
    bench.reactor.pump()
    assert bench.session("process").status == "stopping"
    assert texts(bench.session("process")) == []


def test_an_operation_that_ended_first_is_not_disturbed_by_its_stopper(bench):
    pending, stopped = Pending(), Deferred()
    bench.process(pending.run, lambda session, params: stopped)
    bench.start("process")
    bench.operations.end_early("process", "stop", None)
    bench.reactor.pump()
    pending.result.callback((True, "ended"))
    stopped.callback((True, "too late"))
    session = bench.session("process")
    assert (session.status, texts(session)) == ("done", ["ended"])


def test_running_that_is_set_after_the_stop_does_no_harm(bench):
    def operation(session, params):
        while not session.ending:
            time.sleep(0.002)
        while session.status != "stopping":
            time.sleep(0.002)
        session.set_status("running")
        return session.status == "stopping", ""

    bench.process(operation, lambda s, p: (True, ""), blocking=True)
    bench.start("process")
    bench.operations.end_early("process", "stop", None)
    bench.reactor.pump_until(lambda: bench.session("process").status == "done")
    assert bench.session("process").success is True


def test_verbs_belong_to_kinds(bench):
    bench.task(Pending().run, aborter=fine)
    bench.process(Pending().run, fine)
    for name, verb in (("task", "stop"), ("process", "abort")):
        bench.start(name)
        code, message, _ = bench.operations.end_early(name, verb, None)
        assert code == ERROR
        assert name in message


def test_a_task_without_an_aborter_cannot_be_aborted(bench):
    bench.task(Pending().run)
    bench.start()
    code, message, session = bench.operations.end_early("task", "abort", None)
    assert (code, session["session_id"]) == (ERROR, 0)
    assert "abort" in message


def test_what_does_not_run_cannot_be_stopped(bench):
    bench.task(fine, aborter=fine)
    assert bench.operations.end_early("task", "abort", None) == (ERROR, "No session active.", {})
    bench.run()
    code, message, session = bench.operations.end_early("task", "abort", None)
    assert (code, message, session["status"]) == (ERROR, "No session active.", "done")


# Status and waiting


def test_status_before_during_and_after(bench):
    pending = Pending()
    bench.task(pending.run)
    code, _, session = bench.operations.status("task")
    assert (code, session) == (OK, {})
    bench.start()
    assert bench.operations.status("task")[2]["status"] == "running"
    pending.result.callback((False, ""))
    code, message, session = bench.operations.status("task")
    assert (code, session["status"], session["success"]) == (OK, "done", False)
    assert "FAILED" in message


def test_waiting_for_what_never_ran_answers_ok_at_once(bench):
    bench.task(fine)
    code, _, session = bench.operations.wait("task", None).result
    assert (code, session) == (OK, {})


@pytest.mark.parametrize(("success", "word"), [(True, "SUCCEEDED"), (False, "FAILED")])
@pytest.mark.parametrize("timeout", [None, -1, 0, 5])
def test_waiting_for_what_has_ended_answers_ok_at_once(bench, success, word, timeout):
    bench.task(lambda session, params: (success, ""))
    bench.run()
    code, message, session = bench.operations.wait("task", timeout).result
    assert (code, session["status"]) == (OK, "done")
    assert word in message


def test_a_wait_without_limit_ends_with_the_operation(bench):
    pending = Pending()
    bench.task(pending.run)
    bench.start()
    waiting = bench.operations.wait("task", None)
    bench.reactor.advance(1_000_000)
    assert not waiting.called
    pending.result.callback((True, ""))
    assert waiting.result[0] == OK


def test_a_negative_wait_answers_at_once(bench):
    bench.task(Pending().run)
    bench.start()
    code, message, session = bench.operations.wait("task", -0.5).result
    assert (code, session["status"]) == (TIMEOUT, "running")
    assert "wait timed out" in message


@pytest.mark.parametrize("timeout", [0, 0.5, 30])
def test_a_wait_answers_when_its_time_is_up(bench, timeout):
    bench.task(Pending().run)
    bench.start()
    waiting = bench.operations.wait("task", timeout)
    if timeout:
        bench.reactor.advance(timeout * 0.99)
        assert not waiting.called
    bench.reactor.advance(timeout)
    assert waiting.result[0] == TIMEOUT
    assert "wait timed out" in waiting.result[1]


def test_many_waits_end_together_with_the_operation(bench):
    pending = Pending()
    bench.task(pending.run)
    bench.start()
    waiting = [bench.operations.wait("task", timeout) for timeout in [None, 1, 2, 1000] * 25]
    bench.reactor.advance(1.5)
    pending.result.callback((True, ""))
    codes = [one.result[0] for one in waiting]
    assert codes == [OK, TIMEOUT, OK, OK] * 25
    assert bench.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_wait_that_is_called_off_is_forgotten(bench, timeout):
    bench.task(Pending().run)
    bench.start()
    waiting = bench.operations.wait("task", timeout)
    waiting.cancel()
    assert waiting.result[0] == TIMEOUT
    assert bench.session()._when_done == []
    assert bench.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("timeout", ["soon", [1], float("nan"), True])
def test_a_timeout_that_is_no_time_is_an_answer(bench, timeout):
    bench.task(Pending().run)
    bench.start()
    code, message, _ = bench.operations.wait("task", timeout).result
    assert code == ERROR
    assert "timeout" in message


@given(st.lists(st.sampled_from(["start", "stop", "end", "wait", "poll", "tick", "late"]), max_size=30))
def test_any_order_of_requests_is_answered_and_leaves_nothing(steps):
    bench, pending, waiting = Bench(), [], []

    def run(session, params):
        pending.append(Deferred())
        return pending[-1]

    bench.process(run, lambda session, params: (True, ""))
    ranks = {"starting": 0, "running": 1, "stopping": 2, "done": 3}
    seen = (-1, 0)
    for step in steps:
        if step == "start":
            bench.operations.start("process", None)
        elif step == "stop":
            bench.operations.end_early("process", "stop", None)
        elif step == "end" and pending and not pending[-1].called:
            pending[-1].callback((True, ""))
        elif step in ("wait", "poll"):
            waiting.append(bench.operations.wait("process", None if step == "wait" else 1))
        elif step == "late" and bench.session("process") and bench.session("process").status == "stopping":
            bench.session("process").set_status("running")
        bench.reactor.advance(0.6) if step == "tick" else bench.reactor.pump()
        session = bench.session("process")
        if session:
            now = (session.session_id, ranks[session.status])
            assert now >= seen
            seen = now
    if pending and not pending[-1].called:
        pending[-1].callback((True, ""))
    bench.reactor.pump()
    assert all(one.called for one in waiting)
    assert bench.reactor.getDelayedCalls() == []


# Describing


def test_tasks_and_processes_describe_themselves():
    @param("a", default=1)
    def operation(session, params):
        """operation(a=1)"""

    assert AgentTask(operation, True, None, min_privs=0).encoded() == {
        "blocking": True,
        "abortable": False,
        "docstring": "operation(a=1)",
        "op_type": "task",
        "min_privs": 1,
        "params": [{"name": "a", "required": False, "default": 1}],
    }
    assert AgentProcess(fine, fine, False, min_privs=3).encoded() == {
        "blocking": False,
        "docstring": None,
        "op_type": "process",
        "min_privs": 3,
    }


# What is left


def live_sessions():
    gc.collect()
    return sum(isinstance(thing, OpSession) for thing in gc.get_objects())


def test_ten_thousand_runs_in_the_reactor_leave_nothing():
    bench = Bench()
    bench.operations = Operations(Mock(spec=["log"], log=Log()), reactor=bench.reactor, log=bench.log, on_done=Mock())
    bench.task(fine)
    before = live_sessions()
    for _ in range(10_000):
        bench.run()
        bench.operations._app.log.lines.clear()
        bench.operations._on_done.reset_mock()
    assert bench.reactor.getDelayedCalls() == []
    assert live_sessions() == before + 1


def test_five_hundred_runs_in_threads_leave_no_thread_and_no_session():
    bench = Bench()
    bench.operations = Operations(None, reactor=bench.reactor, log=bench.log, on_done=lambda session: None)
    bench.task(fine, blocking=True)
    before, threads = live_sessions(), threading.active_count()
    for _ in range(500):
        bench.run()
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads
    assert live_sessions() == before + 1


def test_a_thousand_polls_leave_no_timer_and_no_callback(bench):
    bench.task(Pending().run)
    bench.start()
    for _ in range(1000):
        waiting = bench.operations.wait("task", 0.1)
        bench.reactor.advance(0.2)
        assert waiting.result[0] == TIMEOUT
    assert bench.reactor.getDelayedCalls() == []
    assert bench.session()._when_done == []


def test_a_crash_does_not_keep_what_its_function_held(bench):
    class Big:
        pass

    kept = []

    def operation(session, params):
        big = Big()
        kept.append(weakref.ref(big))
        raise RuntimeError("crash")

    bench.task(operation, blocking=True)
    bench.run()
    gc.collect()
    assert kept[0]() is None
