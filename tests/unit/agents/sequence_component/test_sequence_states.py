"""The life of a run of a sequence."""

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ocs.agents.sequence_component.states import (
    ENDS,
    Phase,
    StepPhase,
    Verdict,
    Wish,
    ask_abort,
    ask_pause,
    ask_resume,
    ask_stop,
    at_point,
    begin,
    close,
    end_step,
    finish,
    hold,
    let_go,
    next_step,
    progress_of,
    report_progress,
    start_step,
)
from ocs.errors import SequenceError

STEPS = [("a", 1.0), ("b", 3.0), ("c", 1.0)]


def in_step(number=0):
    state = begin(STEPS, 0.0)
    for done in range(number):
        state = end_step(start_step(state, done, 1.0), StepPhase.DONE, 2.0)
    return start_step(state, number, 3.0)


def test_steps_come_in_their_order():
    state = begin(STEPS, 0.0)
    order = []
    while (number := next_step(state)) is not None:
        order.append(number)
        state = end_step(start_step(state, number, 1.0), StepPhase.DONE, 2.0)
    assert order == [0, 1, 2]


def test_progress_counts_weights():
    assert progress_of(report_progress(in_step(1), 0.5, "half")) == pytest.approx((1 + 1.5) / 5)


def test_steps_that_are_skipped_do_not_count():
    state = begin(STEPS, 0.0, first=1)
    assert next_step(state) == 1
    assert progress_of(end_step(start_step(state, 1, 1.0), StepPhase.DONE, 2.0)) == pytest.approx(0.75)


@pytest.mark.parametrize(("told", "kept"), [(-1, 0.0), (7, 1.0), (float("nan"), 0.25)])
def test_progress_stays_between_0_and_1(told, kept):
    state = report_progress(report_progress(in_step(), 0.25, "quarter"), told, "")
    assert (state.steps[0].progress, state.steps[0].message) == (kept, "quarter")


def test_a_pause_waits_within_a_step_until_it_is_resumed():
    state = ask_pause(in_step())
    assert at_point(state) is Verdict.WAIT
    assert at_point(let_go(ask_resume(hold(state)))) is Verdict.GO


def test_a_pause_before_a_step_lets_those_before_it_pass():
    state = ask_pause(in_step(), before=1)
    assert at_point(state) is Verdict.GO
    between = end_step(state, StepPhase.DONE, 4.0)
    assert at_point(between) is Verdict.WAIT
    resumed = let_go(ask_resume(hold(between)))
    assert at_point(resumed) is Verdict.GO


def test_a_pause_before_a_later_step_outlasts_a_resume():
    state = let_go(ask_resume(hold(ask_pause(ask_pause(in_step(1), before=2)))))
    assert at_point(state) is Verdict.GO
    assert at_point(end_step(state, StepPhase.DONE, 4.0)) is Verdict.WAIT


def test_a_step_that_lies_behind_cannot_be_paused_before():
    with pytest.raises(SequenceError, match="'a': that is done"):
        ask_pause(in_step(1), before=0)


def test_a_stop_lets_the_step_end():
    state = ask_stop(in_step())
    assert at_point(state) is Verdict.GO
    assert at_point(end_step(state, StepPhase.DONE, 4.0)) is Verdict.END


def test_a_stop_ends_a_paused_step():
    assert at_point(ask_stop(hold(ask_pause(in_step())))) is Verdict.END


def test_an_abort_ends_a_step():
    assert at_point(ask_abort(in_step())) is Verdict.END


def test_what_is_done_at_the_end_is_not_aborted_by_the_abort_that_led_there_but_by_another():
    closing = close(ask_abort(in_step()))
    assert at_point(closing) is Verdict.GO
    assert at_point(ask_abort(closing)) is Verdict.END


@pytest.mark.parametrize("ask", [ask_pause, ask_resume, ask_stop])
def test_while_it_closes_nothing_else_can_be_asked_for(ask):
    with pytest.raises(SequenceError):
        ask(close(in_step()))


def test_errors_of_a_step_and_of_the_end_are_kept_both():
    failed = end_step(in_step(), StepPhase.FAILED, 4.0, "no light")
    assert finish(close(failed), Phase.FAILED, 5.0, "dome stuck").error == "no light; dome stuck"


class Life(RuleBasedStateMachine):
    """Whatever operators ask for, in whatever order, the run stays one that makes sense."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.state = begin([(str(number), number + 1.0) for number in range(4)], 0.0)
        self.progress = 0.0

    def ask(self, request, *args):
        with suppress(SequenceError):
            self.state = request(self.state, *args)

    @rule(step=st.none() | st.integers(0, 3))
    def pause(self, step):
        self.ask(ask_pause, step)

    @rule()
    def resume(self):
        self.ask(ask_resume)

    @rule()
    def stop(self):
        self.ask(ask_stop)

    @rule()
    def abort(self):
        self.ask(ask_abort)

    @precondition(lambda self: self.state.phase not in ENDS)
    @rule(fraction=st.floats(), fails=st.booleans())
    def script_goes_on(self, fraction, fails):
        self.now += 1
        verdict = at_point(self.state)
        if self.state.phase is Phase.CLOSING:
            self.state = finish(self.state, Phase.ABORTED, self.now)
        elif verdict is Verdict.WAIT:
            self.state = hold(self.state)
        elif verdict is Verdict.END:
            self.state = close(end_step(self.state, StepPhase.INTERRUPTED, self.now))
        elif self.state.in_step:
            self.state = report_progress(let_go(self.state), fraction, "")
            if fails:
                self.state = close(end_step(self.state, StepPhase.FAILED, self.now, "broken"))
            else:
                self.state = end_step(self.state, StepPhase.DONE, self.now)
        elif (number := next_step(self.state)) is not None:
            self.state = start_step(let_go(self.state), number, self.now)
        else:
            self.state = close(self.state)

    @invariant()
    def one_step_at_most_runs_and_those_before_it_are_over(self):
        phases = [step.phase for step in self.state.steps]
        assert phases.count(StepPhase.RUNNING) <= 1
        over = [phase not in (StepPhase.WAITING, StepPhase.RUNNING) for phase in phases]
        assert over == sorted(over, reverse=True)

    @invariant()
    def progress_never_falls_behind_a_step_that_is_done(self):
        done = sum(step.weight for step in self.state.steps if step.phase is StepPhase.DONE) / 10
        assert done - 1e-9 <= progress_of(self.state) <= 1

    @invariant()
    def a_paused_run_waits_and_an_ended_one_has_its_time(self):
        assert (self.state.phase in ENDS) == (self.state.ended is not None)
        if self.state.phase in (Phase.CLOSING, *ENDS):
            assert not self.state.in_step

    @invariant()
    def a_run_can_always_be_ended(self):
        if self.state.phase not in ENDS and self.state.wish is not Wish.ABORT:
            assert at_point(ask_abort(self.state)) is Verdict.END


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
