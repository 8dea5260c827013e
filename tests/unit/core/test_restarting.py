"""Processes that end unasked are started again: when, how often, and what calls it off."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocs.base import ERROR, OK, OpCode
from ocs.core.operations import AgentProcess, Operations
from ocs.core.restarting import LONGEST_PAUSE, STEADY_AFTER, Decision, after_end
from ocs.params import param
from ocs.scf.checks import PROCESS_RESTARTS, process_restart
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


class Device:
    """A process whose runs the test ends as it likes."""

    def __init__(self):
        self.runs = []

    def run(self, session, params):
        from twisted.internet.defer import Deferred

        done = Deferred()
        self.runs.append((session, params, done))
        return done

    def stop(self, session, params):
        self.end(True, "stopped")
        return True, "stopping"

    def end(self, success, message="ended"):
        self.runs[-1][2].callback((success, message))

    def crash(self):
        self.runs[-1][2].errback(OSError("no such device"))


class Bench:
    def __init__(self, restart="on-failure", **restarts):
        self.reactor = SteppedReactor()
        self.log = Log()
        self.device = Device()
        self.operations = Operations(
            None, reactor=self.reactor, log=self.log, on_done=lambda _: None, restarts=restarts
        )
        self.operations.register(
            "acq", AgentProcess(self.device.run, self.device.stop, blocking=False, restart=restart)
        )

    def start(self, params=None):
        reply = self.operations.start("acq", params)
        self.reactor.pump()
        return reply

    def stop(self):
        reply = self.operations.end_early("acq", "stop", None)
        self.reactor.pump()
        return reply

    def fail(self, after=0.0):
        self.reactor.advance(after)
        self.device.end(False, "gave up")
        self.reactor.pump()

    def pass_time(self, seconds):
        self.reactor.advance(seconds)
        self.reactor.pump()

    @property
    def session(self):
        return self.operations.sessions["acq"]

    @property
    def texts(self):
        return [text for _, text in self.session.messages if not text.startswith("Status is now")]


@pytest.fixture
def bench():
    bench = Bench()
    bench.start({"rate": 3})
    return bench


def test_the_pauses_double_up_to_a_minute(bench):
    pauses = []
    for _ in range(8):
        bench.fail()
        pause = next(pause for pause in (1, 2, 4, 8, 16, 32, 60) if f" in {pause} s " in bench.texts[-1])
        runs = len(bench.device.runs)
        bench.pass_time(pause - 0.01)
        assert len(bench.device.runs) == runs
        bench.pass_time(0.02)
        assert len(bench.device.runs) == runs + 1
        pauses.append(pause)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_session_of_the_failed_run_says_what_happened_and_what_follows(bench):
    bench.fail()
    bench.pass_time(1)
    bench.fail()
    assert bench.texts == ["gave up", "Starts again in 2 s (2nd time)."]


def test_it_stays_failed_while_it_waits(bench):
    bench.device.crash()
    bench.reactor.pump()
    assert bench.operations.op_codes() == {"acq": OpCode.FAILED}
    assert bench.texts[0].startswith("CRASH: OSError")
    assert bench.texts[1] == "Starts again in 1 s (1st time)."
    bench.pass_time(1)
    assert bench.operations.op_codes() == {"acq": OpCode.RUNNING}


def test_it_is_started_with_the_same_parameters_and_privileges():
    bench = Bench()
    bench.operations.start("acq", {"rate": 3}, 2)
    bench.reactor.pump()
    bench.device.runs[0][1]["rate"] = "the run may do with them what it likes"
    bench.fail()
    bench.pass_time(1)
    session, params, _ = bench.device.runs[1]
    assert params == {"rate": 3}
    assert session.cred_level == 2


def test_after_ten_minutes_of_running_the_pauses_begin_anew(bench):
    for _ in range(4):
        bench.fail()
        bench.pass_time(60)
    bench.fail(after=STEADY_AFTER)
    assert bench.texts[-1] == "Starts again in 1 s (1st time)."


def test_a_stop_request_calls_the_restart_off(bench):
    bench.fail()
    code, message, session = bench.stop()
    assert code == OK
    assert "will not start again" in message
    assert session["messages"][-1][1] == "Stopped: it does not start again."
    bench.pass_time(1000)
    assert len(bench.device.runs) == 1
    assert bench.reactor.getDelayedCalls() == []
    assert bench.stop()[0] == ERROR


def test_a_process_that_was_asked_to_end_stays_down_whatever_it_says(bench):
    bench.device.stop = None
    bench.session.claim_end()
    bench.fail()
    bench.pass_time(1000)
    assert len(bench.device.runs) == 1


def test_a_start_by_hand_replaces_the_restart_and_begins_a_new_row(bench):
    for _ in range(3):
        bench.fail()
        bench.pass_time(60)
    bench.fail()
    assert bench.start()[0] == OK
    bench.pass_time(1000)
    assert len(bench.device.runs) == 5
    bench.fail()
    assert bench.texts[-1] == "Starts again in 1 s (1st time)."


def test_a_start_that_is_refused_leaves_the_restart_as_it_is():
    bench = Bench()
    param("_")(Device.run)
    try:
        bench.start()
        bench.fail()
        assert bench.start({"misspelt": 1})[0] == ERROR
        bench.pass_time(1)
        assert len(bench.device.runs) == 2
    finally:
        del Device.run._ocs_params


def test_an_agent_that_ends_starts_nothing_again(bench):
    bench.fail()
    bench.operations.begin_end()
    bench.pass_time(1000)
    assert len(bench.device.runs) == 1
    assert bench.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("success", [True, False])
def test_without_a_policy_nothing_is_new(success):
    bench = Bench("never")
    bench.start()
    bench.device.end(success, "ended")
    bench.pass_time(1000)
    assert len(bench.device.runs) == 1
    assert bench.texts == ["ended"]
    assert "restart" not in bench.operations.find("acq").encoded()


def test_success_is_the_end_unless_it_is_to_run_always():
    for policy, runs in (("on-failure", 1), ("always", 2)):
        bench = Bench(policy)
        bench.start()
        bench.device.end(True)
        bench.pass_time(1)
        assert len(bench.device.runs) == runs
        assert bench.operations.find("acq").encoded()["restart"] == policy


def test_what_the_site_says_has_precedence_over_the_code():
    bench = Bench("never", acq="on-failure", stray="always")
    assert bench.operations.processes["acq"].restart == "on-failure"
    assert bench.operations.unknown_restarts() == ["stray"]


def test_an_unknown_policy_is_refused_where_the_process_is_registered():
    with pytest.raises(ValueError, match="'sometimes' is none of: never, on-failure, always"):
        AgentProcess(None, None, restart="sometimes")


def test_a_blocking_process_is_started_again_too():
    bench, runs = Bench(), []

    def crash(session, params):
        runs.append(threading.get_ident())
        raise RuntimeError("boom")

    bench.operations.register("read", AgentProcess(crash, None, blocking=True, restart="on-failure"))
    bench.operations.start("read", None)
    for expected in (1, 2):
        bench.reactor.pump_until(lambda: bench.operations.sessions["read"].status == "done")
        assert len(runs) == expected
        bench.reactor.advance(60)
    bench.reactor.pump_until(lambda: len(runs) == 3 and bench.operations.sessions["read"].status == "done")
    bench.operations.begin_end()
    bench.reactor.pump()


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("acq", ("acq", "on-failure")),
        ("acq=always", ("acq", "always")),
        ("acq=never", ("acq", "never")),
    ],
)
def test_the_argument_of_an_instance(word, meaning):
    assert process_restart(word) == meaning


@pytest.mark.parametrize("word", ["", "=always", "acq=", "acq=often"])
def test_a_mistake_in_the_argument_is_told(word):
    with pytest.raises(ValueError, match=r"NAME\[=POLICY\]"):
        process_restart(word)


@given(
    st.sampled_from(PROCESS_RESTARTS),
    st.integers(0, 10**6),
    st.booleans(),
    st.booleans(),
    st.floats(0, 1e9),
)
def test_the_decision_is_bounded_and_never_against_somebodys_will(policy, times, success, asked, ran_for):
    decision = after_end(policy, times, success=success, asked=asked, ran_for=ran_for)
    if asked or policy == "never" or (success and policy == "on-failure"):
        assert decision == Decision(0, 0)
    else:
        assert 1 <= decision.pause <= LONGEST_PAUSE
        assert decision.times == (1 if ran_for >= STEADY_AFTER else times + 1)


class Life(RuleBasedStateMachine):
    """A process is never running twice, never waiting while it runs, and never comes back from a stop."""

    @initialize(policy=st.sampled_from(["on-failure", "always"]))
    def begin(self, policy):
        self.bench = Bench(policy)
        self.wanted = False
        self.policy = policy

    @property
    def running(self):
        return self.bench.session is not None and self.bench.session.status != "done"

    @rule()
    def start(self):
        self.bench.start()
        self.wanted = True

    @rule()
    def stop(self):
        self.bench.stop()
        self.wanted = False

    @precondition(lambda self: self.running)
    @rule(success=st.booleans())
    def end(self, success):
        self.bench.device.end(success)
        self.bench.reactor.pump()
        if success and self.policy == "on-failure":
            self.wanted = False

    @rule(seconds=st.floats(0.1, 700))
    def time_passes(self, seconds):
        self.bench.pass_time(seconds)

    @invariant()
    def one_run_or_one_restart_if_wanted_and_none_if_not(self):
        waiting = [
            call for call in self.bench.reactor.getDelayedCalls() if call.getTime() > self.bench.reactor.seconds()
        ]
        assert len(waiting) + self.running == int(self.wanted)
        unended = [run for run in self.bench.device.runs if not run[2].called]
        assert len(unended) == int(self.running)


TestLife = Life.TestCase
