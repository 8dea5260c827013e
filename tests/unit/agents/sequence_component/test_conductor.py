"""One run between its script's thread and operators."""

import threading
from concurrent.futures import Future

import pytest

from ocs.agents.sequence_component.conductor import Conductor
from ocs.agents.sequence_component.states import Phase, StepPhase, begin
from ocs.errors import SequenceError
from ocs.sequence import SequenceEnd


@pytest.fixture
def told():
    return []


@pytest.fixture
def conductor(told):
    made = Conductor(begin([("a", 1.0), ("b", 1.0)], 0.0), lambda state, away: told.append((state, away)))
    made.start_step(0)
    return made


@pytest.fixture
def in_thread():
    threads = []

    def run(work):
        result = Future()

        def call():
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        threads.append(threading.Thread(target=call))
        threads[-1].start()
        return result

    yield run
    for thread in threads:
        thread.join(10)


def test_a_point_is_passed_where_nobody_minds(conductor):
    conductor.point()


def test_a_pause_holds_the_script_until_it_is_resumed(conductor, in_thread):
    conductor.pause()
    passed = in_thread(conductor.point)
    assert conductor.wait_for(lambda state: state.phase is Phase.PAUSED, 10)
    assert not passed.done()
    conductor.resume()
    passed.result(10)
    assert conductor.state.phase is Phase.RUNNING


def test_an_abort_ends_a_sleep(conductor, in_thread):
    asleep = in_thread(lambda: conductor.sleep(3600))
    conductor.abort()
    with pytest.raises(SequenceEnd):
        asleep.result(10)


def test_an_abort_ends_a_pause(conductor, in_thread):
    conductor.pause()
    asleep = in_thread(lambda: conductor.sleep(3600))
    assert conductor.wait_for(lambda state: state.phase is Phase.PAUSED, 10)
    conductor.abort()
    with pytest.raises(SequenceEnd):
        asleep.result(10)


def test_a_stop_lets_a_sleep_come_to_its_end(conductor):
    conductor.stop()
    conductor.sleep(0.01)
    conductor.end_step(StepPhase.DONE)
    with pytest.raises(SequenceEnd):
        conductor.point()


def test_the_time_of_a_pause_does_not_count_for_a_sleep(in_thread):
    clock = [0.0]
    conductor = Conductor(begin([("a", 1.0)], 0.0), lambda *_: None, steady=lambda: clock[0])
    conductor.start_step(0)
    conductor.pause()
    asleep = in_thread(lambda: conductor.sleep(0.05))
    assert conductor.wait_for(lambda state: state.phase is Phase.PAUSED, 10)
    clock[0] = 1000.0  # while it is paused
    conductor.resume()
    assert conductor.wait_for(lambda state: state.phase is Phase.RUNNING, 10)
    assert not asleep.done()
    conductor.abort()
    with pytest.raises(SequenceEnd):
        asleep.result(10)


def test_a_reply_comes_through_while_the_run_is_paused(conductor, in_thread):
    conductor.pause()
    reply = Future()
    waiting = in_thread(lambda: conductor.await_reply(reply))
    reply.set_result("there")
    assert waiting.result(10) == "there"


def test_an_abort_drops_what_is_waited_for(conductor, in_thread):
    reply = Future()
    waiting = in_thread(lambda: conductor.await_reply(reply))
    conductor.abort()
    with pytest.raises(SequenceEnd):
        waiting.result(10)
    assert reply.cancelled()


def test_who_is_away_is_told_once(conductor, told):
    for away in ("fake-1 is away", "fake-1 is away", None, None):
        conductor.set_away(away)
    assert [away for _, away in told[-2:]] == ["fake-1 is away", None]
    assert [away for _, away in told].count("fake-1 is away") == 1


def test_nothing_can_be_asked_of_a_run_that_has_ended(conductor):
    conductor.end_step(StepPhase.DONE)
    conductor.close()
    conductor.finish(Phase.SUCCEEDED)
    for ask in (conductor.pause, conductor.resume, conductor.stop, conductor.abort):
        with pytest.raises(SequenceError, match="it succeeded"):
            ask()
