"""The decisions about a child: table and properties."""

import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ocs.supervisor.states import ChildState, Event, Exit, Phase, Policy, SendSignal, Start, Target, adopted, step

POLICY = Policy()
INT, TERM, KILL = (action for action, _ in POLICY.stop_signals)
UP = ChildState(Phase.UP, Target.UP, since=100.0, starts=1)
WAITING = ChildState(Phase.WAITING, Target.UP, since=100.0, due=103.0, failures=1, starts=1)
STOPPING = ChildState(Phase.STOPPING, Target.DOWN, since=100.0, due=110.0, signals=1, starts=1)
DOWN = ChildState()


@pytest.mark.parametrize(
    ("before", "event", "now", "phase", "due", "actions"),
    [
        (DOWN, Event.WISH_UP, 1.0, Phase.UP, None, [Start()]),
        (DOWN, Event.WISH_DOWN, 1.0, Phase.DOWN, None, []),
        (DOWN, Event.RESTART, 1.0, Phase.UP, None, [Start()]),
        (DOWN, Event.HURRY, 1.0, Phase.DOWN, None, []),
        (DOWN, Exit(code=0), 1.0, Phase.DOWN, None, []),
        (UP, Event.WISH_UP, 101.0, Phase.UP, None, []),
        (UP, Event.TICK, 999.0, Phase.UP, None, []),
        (UP, Event.HURRY, 101.0, Phase.UP, None, []),
        (UP, Event.WISH_DOWN, 101.0, Phase.STOPPING, 111.0, [INT]),
        (UP, Event.RESTART, 101.0, Phase.STOPPING, 111.0, [INT]),
        (UP, Exit(code=1), 101.0, Phase.WAITING, 104.0, []),
        (UP, Exit(code=0), 101.0, Phase.WAITING, 104.0, []),
        (UP, Exit(code=1), 160.0, Phase.UP, None, [Start()]),
        (UP, Exit(error="no such file"), 999.0, Phase.WAITING, 1002.0, []),
        (WAITING, Event.TICK, 102.9, Phase.WAITING, 103.0, []),
        (WAITING, Event.TICK, 103.0, Phase.UP, None, [Start()]),
        (WAITING, Event.WISH_UP, 101.0, Phase.WAITING, 103.0, []),
        (WAITING, Event.RESTART, 101.0, Phase.UP, None, [Start()]),
        (WAITING, Event.WISH_DOWN, 101.0, Phase.DOWN, None, []),
        (STOPPING, Event.TICK, 109.9, Phase.STOPPING, 110.0, []),
        (STOPPING, Event.TICK, 110.0, Phase.STOPPING, 115.0, [TERM]),
        (STOPPING, Event.HURRY, 101.0, Phase.STOPPING, 106.0, [TERM]),
        (replace(STOPPING, signals=2), Event.TICK, 110.0, Phase.STOPPING, 115.0, [KILL]),
        (replace(STOPPING, signals=9), Event.TICK, 110.0, Phase.STOPPING, 115.0, [KILL]),
        (STOPPING, Event.WISH_UP, 101.0, Phase.STOPPING, 110.0, []),
        (STOPPING, Exit(signum=2), 101.0, Phase.DOWN, None, []),
        (replace(STOPPING, target=Target.UP), Exit(code=0), 101.0, Phase.UP, None, [Start()]),
    ],
)
def test_transition(before, event, now, phase, due, actions):
    after, done = step(before, event, now, POLICY)
    assert (after.phase, after.due, list(done)) == (phase, due, actions)


def test_stop_signals_are_int_then_term_then_kill_to_the_group():
    assert [(a.signum, a.group, t) for a, t in POLICY.stop_signals] == [
        (signal.SIGINT, False, 10.0),
        (signal.SIGTERM, False, 5.0),
        (signal.SIGKILL, True, 5.0),
    ]


def test_delays_grow_from_three_seconds_to_a_minute():
    assert [POLICY.delay(n) for n in range(8)] == [0, 3, 6, 12, 24, 48, 60, 60]


@given(st.integers(min_value=1, max_value=10**9))
def test_a_delay_is_never_shorter_or_longer_than_promised(failures):
    assert 3.0 <= POLICY.delay(failures) <= 60.0


def test_a_stable_minute_forgives_earlier_failures():
    after, actions = step(replace(UP, failures=5), Exit(code=1), UP.since + 60.0, POLICY)
    assert after.failures == 0
    assert list(actions) == [Start()]


NO_RESTARTS = Policy(restarts=False)


@pytest.mark.parametrize(
    ("before", "event", "phase", "target", "actions"),
    [
        (UP, Exit(code=1), Phase.DOWN, Target.DOWN, []),
        (UP, Exit(code=0), Phase.DOWN, Target.DOWN, []),
        (UP, Exit(unknown=True), Phase.DOWN, Target.DOWN, []),
        (UP, Exit(error="no such file"), Phase.DOWN, Target.DOWN, []),
        (STOPPING, Exit(signum=2), Phase.DOWN, Target.DOWN, []),
        (replace(STOPPING, target=Target.UP), Exit(signum=2), Phase.UP, Target.UP, [Start()]),
    ],
)
def test_without_restarts_only_what_was_asked_for_is_started(before, event, phase, target, actions):
    after, done = step(before, event, before.since + 999.0, NO_RESTARTS)
    assert (after.phase, after.target, after.due, list(done)) == (phase, target, None, actions)


def test_the_time_that_a_child_ran_under_an_earlier_supervisor_counts():
    after, actions = step(adopted(100.0, age=61.0), Exit(unknown=True), 101.0, POLICY)
    assert (after.failures, list(actions)) == (0, [Start()])


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Exit(code=3), "exit code 3"),
        (Exit(signum=9), "killed by SIGKILL"),
        (Exit(signum=40), "killed by signal 40"),
        (Exit(error="no such file"), "could not be started: no such file"),
        (Exit(unknown=True), "ended, nobody knows how"),
    ],
)
def test_an_end_in_words(end, words):
    assert str(end) == words


class World(RuleBasedStateMachine):
    """A child and an operating system that obeys it, with any events in any order, under any policy, adopted or not."""

    @initialize(policy=st.sampled_from([POLICY, NO_RESTARTS]), age=st.none() | st.floats(0.0, 1000.0))
    def begin(self, policy, age):
        self.policy = policy
        if age is not None:
            self.state, self.running = adopted(self.now, age), True

    def __init__(self):
        super().__init__()
        self.policy = POLICY
        self.state = ChildState()
        self.now = 0.0
        self.running = False
        self.ignores = 0

    def tell(self, event):
        before = self.state
        self.state, actions = step(before, event, self.now, self.policy)
        for action in actions:
            if isinstance(action, Start):
                assert not self.running, "a second copy was started"
                self.running = True
            else:
                assert isinstance(action, SendSignal)
                assert self.running, "a signal to nobody"

    @rule(event=st.sampled_from([Event.WISH_UP, Event.WISH_DOWN, Event.RESTART, Event.HURRY, Event.TICK]))
    def wish(self, event):
        self.tell(event)

    @rule(seconds=st.floats(min_value=0.0, max_value=200.0))
    def time_passes(self, seconds):
        self.now += seconds
        self.tell(Event.TICK)

    @precondition(lambda self: self.running)
    @rule(end=st.sampled_from([Exit(code=0), Exit(code=1), Exit(signum=9), Exit(error="no"), Exit(unknown=True)]))
    def ends(self, end):
        self.running = False
        self.tell(end)

    @rule()
    def left_alone_it_becomes_what_is_wanted(self):
        """From any state, with a process that only SIGKILL ends, the target is reached in bounded time."""
        state, running, now = self.state, self.running, self.now
        for _ in range(20):
            if state.settled:
                break
            assert state.due is not None, f"no way out of {state}"
            now = max(now, state.due)
            state, actions = step(state, Event.TICK, now, self.policy)
            if any(isinstance(action, Start) for action in actions):
                running = True
            if any(getattr(action, "signum", None) == signal.SIGKILL for action in actions):
                assert running
                state, actions = step(state, Exit(signum=9), now, self.policy)
                running = Start() in actions
        assert state.settled
        assert running == (state.target is Target.UP)

    @invariant()
    def the_record_is_true(self):
        assert self.state.alive == self.running

    @invariant()
    def what_waits_has_an_end(self):
        assert (self.state.due is not None) == (self.state.phase in (Phase.WAITING, Phase.STOPPING))


TestWorld = World.TestCase
