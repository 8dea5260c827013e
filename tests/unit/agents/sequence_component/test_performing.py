"""Carrying out a script."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ocs.agents.sequence_component.conductor import Conductor
from ocs.agents.sequence_component.performing import ScriptRun, perform
from ocs.agents.sequence_component.report import last_word, run_data
from ocs.agents.sequence_component.script import Script
from ocs.agents.sequence_component.states import begin
from ocs.sequence import Closing, Step


@pytest.fixture
def play():
    """Carry out functions as the steps of a script; returns the run's last state and last word."""

    def play(*functions, at_end=(), first=0, **options):
        steps = tuple(Step(f.__name__, 1.0, f) for f in functions)
        script = Script(Path(__file__), "script", steps, tuple(Closing(f.__name__, f) for f in at_end), "")
        conductor = Conductor(begin([(s.title, s.weight) for s in steps], 0.0, first=first), lambda *_: None)
        given = {"params": {}, "obs_mode": "dark", "log": lambda line: None, **options}
        run = ScriptRun(conductor, SimpleNamespace(), "observatory", **given)
        run.conductor = conductor
        perform(script, conductor, run)
        return conductor.state, last_word(conductor.state)

    return play


def test_steps_are_done_in_order_and_then_what_is_for_the_end(play):
    done = []
    state, (good, message) = play(
        lambda run: done.append(1), lambda run: done.append(2), at_end=[lambda run: done.append("end")]
    )
    assert (done, str(state.phase), good) == ([1, 2, "end"], "succeeded", True)
    assert message.startswith("All is done")


def test_it_begins_with_the_step_that_is_wanted(play):
    done = []
    state, _ = play(lambda run: done.append(1), lambda run: done.append(2), first=1)
    assert (done, [str(step.phase) for step in state.steps]) == ([2], ["skipped", "done"])


def test_an_error_ends_the_run_with_its_line_and_the_end_is_done(play):
    done = []

    def breaks(run):
        raise OSError("no light")

    state, (good, message) = play(breaks, lambda run: done.append(2), at_end=[lambda run: done.append("end")])
    assert (done, str(state.phase), good) == (["end"], "failed", False)
    line = breaks.__code__.co_firstlineno + 1
    assert message == f"Failed at step 1 'breaks': {__file__}:{line}: OSError: no light"


def test_an_abort_from_elsewhere_ends_a_step_that_catches_all_errors(play):
    def stubborn(run):
        run.conductor.abort()
        try:
            run.sleep(3600)
        except Exception:
            pytest.fail("an end is no error")

    state, (good, message) = play(stubborn)
    assert (str(state.phase), str(state.steps[0].phase), good) == ("aborted", "interrupted", False)
    assert message == "Aborted at step 1 'stubborn'."


def test_a_stop_ends_after_the_step_and_is_a_success(play):
    done = []

    def stops(run):
        run.conductor.stop()
        run.progress(0.5, "still at it")
        done.append(1)

    state, (good, _) = play(stops, lambda run: done.append(2))
    assert (done, str(state.phase), good) == ([1], "stopped", True)


def test_what_is_done_at_the_end_may_sleep_after_an_abort(play):
    done = []

    def aborts(run):
        run.conductor.abort()
        run.check()

    def end(run):
        run.sleep(0)
        done.append("end")

    play(aborts, at_end=[end])
    assert done == ["end"]


def test_trouble_at_the_end_fails_a_run_that_was_well_and_keeps_nothing_else_from_being_done(play):
    done = []

    def breaks(run):
        raise OSError("dome stuck")

    state, (good, message) = play(lambda run: None, at_end=[breaks, lambda run: done.append("end")])
    assert (done, str(state.phase), good) == (["end"], "failed", False)
    assert "dome stuck" in message


def test_a_script_that_exits_ends_its_run_alone(play):
    def leaves(run):
        raise SystemExit("enough")

    assert "SystemExit: enough" in play(leaves)[1][1]


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_sleep_takes_a_length_of_time(play, seconds):
    assert "sleep takes a number of seconds" in play(lambda run: run.sleep(seconds))[1][1]


def test_clients_see_the_whole_run(play):
    state, _ = play(lambda run: run.progress(0.25, "quarter"), lambda run: run.sleep(-1))
    data = run_data(state, {"sequencer": "ESW.dark"}, "fake-1 is away")
    assert data["sequencer"] == "ESW.dark"
    assert (data["state"], data["current_step"], data["waiting_for"]) == ("failed", 2, "fake-1 is away")
    assert (data["progress"], data["steps"][0]["message"]) == (0.5, "quarter")
    assert "sleep takes" in data["last_error"]
