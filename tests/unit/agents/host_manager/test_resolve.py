"""What is decided about an instance: a table of single steps, and lives at random with a runner that behaves or not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocs.agents.host_manager.drivers import ManagedInstance, resolve_child_state, stability_factor
from ocs.agents.host_manager.instances import steady_time
from ocs.agents.host_manager.resolve import LAUNCH_PATIENCE, LONGEST_DELAY, STABLE_AFTER, STOP_PATIENCE

NOW = 1_790_000_000.0
STATES = ("down", "start", "start_at", "wait_start", "up", "wait_dead", "?")
RUNS, ENDED, UNKNOWN = (True, None), (False, 3), (None, None)
NEVER = (False, None)


class Fake:
    """A runner whose status the test sets."""

    def __init__(self, status=NEVER):
        self.status = status

    def up(self):
        self.status = RUNS

    def down(self):
        self.status = ENDED


def instance(next_action="down", target="up", status=NEVER, **more):
    more = {"management": "host", "agent_script": "__plugin__", "operable": True, **more}
    return ManagedInstance(
        agent_class="A",
        instance_id="a",
        full_name="A:a",
        prot=Fake(status),
        next_action=next_action,
        target_state=target,
        **more,
    )


def resolved(minst, now=NOW):
    answer = resolve_child_state(minst, now)
    assert set(answer) == {"messages", "launch", "terminate", "sleep"}
    return answer


STEPS = [
    # state, target, status -> next state, launch, terminate
    ("down", "up", NEVER, "wait_start", True, False),
    ("down", "down", NEVER, "down", False, False),
    ("down", "down", RUNS, "wait_dead", False, True),
    ("down", "up", RUNS, "up", False, False),
    ("down", "passive", RUNS, "up", False, False),
    ("down", "up", UNKNOWN, "?", False, False),
    ("start", "up", NEVER, "wait_start", True, False),
    ("start", "up", RUNS, "up", False, False),
    ("start", "down", NEVER, "down", False, False),
    ("start", "up", UNKNOWN, "?", False, False),
    ("start_at", "up", ENDED, "start_at", False, False),
    ("start_at", "down", ENDED, "down", False, False),
    ("start_at", "up", RUNS, "up", False, False),
    ("wait_start", "up", RUNS, "up", False, False),
    ("wait_start", "up", NEVER, "wait_start", False, False),
    ("wait_start", "up", UNKNOWN, "wait_start", False, False),
    ("wait_start", "up", ENDED, "start_at", False, False),
    ("wait_start", "down", RUNS, "wait_dead", False, True),
    ("up", "up", RUNS, "up", False, False),
    ("up", "down", RUNS, "wait_dead", False, True),
    ("up", "up", ENDED, "start_at", False, False),
    ("up", "down", ENDED, "down", False, False),
    ("up", "up", UNKNOWN, "?", False, False),
    ("up", "passive", RUNS, "up", False, False),
    ("up", "passive", ENDED, "down", False, False),
    ("wait_dead", "down", RUNS, "wait_dead", False, False),
    ("wait_dead", "down", ENDED, "down", False, False),
    ("wait_dead", "up", ENDED, "wait_start", True, False),
    ("wait_dead", "down", UNKNOWN, "wait_dead", False, False),
    ("?", "up", UNKNOWN, "?", False, False),
    ("?", "up", RUNS, "up", False, False),
    ("?", "up", ENDED, "wait_start", True, False),
    ("?", "down", ENDED, "down", False, False),
    ("?", "down", RUNS, "wait_dead", False, True),
    ("nonsense", "down", ENDED, "down", False, False),
]


@pytest.mark.parametrize(("state", "target", "status", "following", "launch", "terminate"), STEPS)
def test_step(state, target, status, following, launch, terminate):
    minst = instance(state, target, status, at=NOW + 10)
    answer = resolved(minst)
    assert (minst.next_action, answer["launch"], answer["terminate"]) == (following, launch, terminate)


def test_a_record_without_a_runner_is_one_that_does_not_run():
    minst = instance()
    minst.prot = None
    assert resolved(minst)["launch"]


def test_what_is_held_is_launched_when_it_is_let_go():
    minst = instance(held="waits for the registry")
    assert not resolved(minst)["launch"]
    assert minst.next_action == "start"
    minst.held = ""
    assert resolved(minst)["launch"]


def test_what_keeps_failing_waits_longer_and_longer():
    minst, now, delays = instance("up", status=RUNS), NOW, []
    resolved(minst, now)
    for _ in range(7):
        minst.prot.status = ENDED
        resolved(minst, now)
        delays.append(minst.at - now)
        now = minst.at
        assert resolved(minst, now)["launch"]
        minst.prot.status = RUNS
        resolved(minst, now)
        now += 1
    assert delays == [3, 6, 12, 24, 48, 60, 60]


def test_what_was_stable_is_launched_at_once_and_its_failures_are_forgotten():
    minst = instance("up", status=RUNS, failures=5)
    resolved(minst)
    minst.prot.status = ENDED
    assert resolved(minst, NOW + STABLE_AFTER)["launch"]
    assert minst.failures == 0


def test_an_end_in_less_than_a_minute_does_not_forget_failures():
    minst = instance("up", status=RUNS, failures=5)
    resolved(minst)
    minst.prot.status = ENDED
    resolved(minst, NOW + STABLE_AFTER - 1)
    assert minst.failures == 6


@pytest.mark.parametrize(
    ("policy", "code", "target"),
    [
        ("always", 0, "up"),
        ("always", 1, "up"),
        ("on-failure", 0, "down"),
        ("on-failure", 1, "up"),
        ("on-failure", None, "up"),
        ("manual", 0, "down"),
        ("manual", 1, "down"),
    ],
)
@pytest.mark.parametrize("up_for", [1.0, 3600.0])
def test_restart_policy(policy, code, target, up_for):
    minst = instance("up", status=RUNS, restart=policy)
    resolved(minst)
    minst.prot.status = (False, code)
    resolved(minst, NOW + up_for)
    assert minst.target_state == target
    assert minst.next_action in (("down",) if target == "down" else ("start_at", "wait_start"))


def test_a_restart_ends_it_and_starts_it_again():
    minst = instance("up", status=RUNS, bounce=True)
    assert resolved(minst)["terminate"]
    minst.prot.status = (False, 0)
    assert resolved(minst, NOW + 1)["launch"]
    assert not minst.bounce
    minst.prot.status = RUNS
    resolved(minst, NOW + 2)
    assert minst.next_action == "up"
    assert minst.fail_times == []


def test_a_restart_does_not_wait_for_the_back_off():
    assert resolved(instance("start_at", status=ENDED, at=NOW + 50, bounce=True))["launch"]


def test_a_service_may_take_its_time_to_be_seen():
    minst = instance(management="docker", agent_script="ocs-a", status=(False, 127))
    assert resolved(minst)["launch"]
    assert resolved(minst, NOW + LAUNCH_PATIENCE - 1)["sleep"] == 1
    assert minst.next_action == "wait_start"
    resolved(minst, NOW + LAUNCH_PATIENCE)
    assert minst.next_action == "start_at"


def test_nothing_is_concluded_while_the_runner_is_at_it():
    minst = instance(management="docker", agent_script="ocs-a", status=(False, 127))
    resolved(minst)
    minst.prot.busy = True
    resolved(minst, NOW + 10 * LAUNCH_PATIENCE)
    assert minst.next_action == "wait_start"
    minst.target_state, minst.next_action = "down", "wait_dead"
    resolved(minst, NOW + 20 * LAUNCH_PATIENCE)
    assert minst.next_action == "wait_dead"


def test_a_service_that_cannot_be_started_says_why():
    minst = instance(management="docker", agent_script="ocs-a", status=(False, 127))
    resolved(minst)
    minst.prot.failed = "no such image"
    assert "no such image" in resolved(minst, NOW + 1)["messages"][0]
    assert minst.next_action == "start_at"


def test_what_does_not_end_is_told_again():
    minst = instance("up", "down", RUNS)
    assert resolved(minst)["terminate"]
    assert not resolved(minst, NOW + STOP_PATIENCE - 1)["terminate"]
    assert resolved(minst, NOW + STOP_PATIENCE)["terminate"]


def test_what_is_only_watched_is_started_once_and_then_left_to_itself():
    minst = instance("down", "up", management="docker", agent_script="crossbar", passive_tracking=True)
    assert resolved(minst)["launch"]
    minst.prot.status = RUNS
    resolved(minst, NOW + 1)
    assert (minst.next_action, minst.target_state) == ("up", "passive")
    minst.prot.status = ENDED
    assert not resolved(minst, NOW + 2)["launch"]
    assert (minst.next_action, minst.target_state) == ("down", "passive")


def test_what_is_only_watched_is_stopped_once():
    minst = instance("up", "down", RUNS, management="docker", agent_script="crossbar", passive_tracking=True)
    assert resolved(minst)["terminate"]
    minst.prot.status = ENDED
    resolved(minst, NOW + 1)
    assert (minst.next_action, minst.target_state) == ("down", "passive")


def test_a_start_that_comes_to_nothing_is_not_repeated_for_what_is_only_watched():
    minst = instance("down", "up", management="docker", agent_script="crossbar", passive_tracking=True)
    resolved(minst)
    minst.prot.failed = "no such image"
    resolved(minst, NOW + 1)
    assert (minst.next_action, minst.target_state) == ("down", "passive")


def test_what_has_gone_from_the_file_can_be_forgotten_once_it_is_down():
    minst = instance("up", "down", RUNS, management="retired")
    resolved(minst)
    assert not minst.retired
    minst.prot.status = ENDED
    resolved(minst, NOW + 1)
    assert minst.retired


@pytest.mark.parametrize("set_by", [-1e9, -3600, 3600, 1e9])
def test_a_clock_that_is_set_delays_nothing_for_long(set_by):
    minst = instance("start_at", status=ENDED, at=NOW + 60)
    now = NOW + set_by
    answer = resolved(minst, now)
    assert answer["launch"] or answer["sleep"] <= LONGEST_DELAY


def test_an_end_is_told_with_its_code():
    minst = instance("up", status=ENDED)
    assert resolved(minst)["messages"] == ["A:a ended with code 3.", "A:a is started again in 3 s."]


# Stability


def test_one_failure_ten_seconds_ago_counts_half():
    assert stability_factor([NOW - 10], now=NOW) == ([NOW - 10], 0.5)


def test_no_failure_is_perfect_stability():
    assert stability_factor([]) == ([], 1.0)


def test_what_is_older_than_the_window_is_forgotten():
    assert stability_factor([NOW - 121, NOW - 10], now=NOW)[0] == [NOW - 10]
    assert stability_factor([NOW - 31, NOW - 10], window=30, now=NOW)[0] == [NOW - 10]


def test_the_present_is_now_unless_told():
    assert stability_factor([steady_time() - 10])[1] == pytest.approx(0.5, abs=0.01)


@given(st.lists(st.floats(0, 1000), max_size=30).map(sorted))
def test_stability_is_between_0_and_1_and_falls_with_each_failure(ages):
    times = [NOW - age for age in reversed(ages)]
    factors = [stability_factor(times[i:], now=NOW)[1] for i in range(len(times) + 1)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors == sorted(factors)


# Lives at random


class Life(RuleBasedStateMachine):
    """An instance with a process that obeys, may end at any time, and may be hidden for a while."""

    @initialize(
        wished=st.sampled_from(["up", "down"]),
        state=st.sampled_from(STATES),
        runs=st.booleans(),
        policy=st.sampled_from(["always", "on-failure", "manual"]),
    )
    def begin(self, wished, state, runs, policy):
        self.now = NOW
        self.minst = instance(state, wished, RUNS if runs else NEVER, restart=policy)
        self.runs, self.code, self.hidden = runs, None, False
        self.launched_at = []
        self.look()

    def look(self):
        self.minst.prot.status = UNKNOWN if self.hidden else (self.runs, None if self.runs else self.code)
        answer = resolved(self.minst, self.now)
        if answer["launch"]:
            assert not self.runs, "launched while it runs"
            self.runs, self.code = True, None
        if answer["terminate"]:
            self.runs, self.code = False, 0
        self.sleep = answer["sleep"]
        self.acted = answer["launch"] or answer["terminate"]

    def settle(self, seconds=200.0):
        """Look as the manager does: at once after something was done, when it said, else each second."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.0 if self.acted else min(1.0, 1.0 if self.sleep is None else max(self.sleep, 0.01))
            self.look()

    @rule(wished=st.sampled_from(["up", "down"]))
    def wish(self, wished):
        self.minst.target_state = wished
        self.look()

    @rule()
    def restart(self):
        self.minst.target_state, self.minst.bounce = "up", self.minst.next_action in ("up", "wait_start", "start_at")
        self.look()

    @precondition(lambda self: self.runs)
    @rule(code=st.sampled_from([0, 1, 137, None]))
    def end(self, code):
        self.runs, self.code = False, code
        self.look()

    @rule(seconds=st.floats(0.01, 100))
    def wait(self, seconds):
        self.now += seconds
        self.look()

    @rule(hidden=st.booleans())
    def hide(self, hidden):
        self.hidden = hidden
        self.look()

    @rule()
    def reaches_its_target(self):
        self.hidden = False
        self.look()
        self.settle()
        assert self.minst.next_action == self.minst.target_state
        assert self.runs == (self.minst.target_state == "up")

    @invariant()
    def is_in_a_state_that_is_documented(self):
        assert self.minst.next_action in STATES
        assert len(self.minst.fail_times) <= 100


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
