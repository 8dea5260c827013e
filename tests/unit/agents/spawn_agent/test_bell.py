"""Waiting until something becomes true."""

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from ocs.agents.spawn_agent.bell import Bell


class Waiting:
    def __init__(self, within=10.0):
        self.clock, self.answer, self.asked, self.results = Clock(), "", 0, []
        self.bell = Bell(self.clock)
        waiting = ensureDeferred(self.bell.until(self.ask, self.clock.seconds() + within))
        waiting.addCallback(self.results.append)

    def ask(self):
        self.asked += 1
        return self.answer


@pytest.fixture
def waiting():
    return Waiting()


def test_what_is_true_is_not_waited_for():
    clock = Clock()
    results = []
    ensureDeferred(Bell(clock).until(lambda: "yes", clock.seconds() - 1)).addCallback(results.append)
    assert results == ["yes"]
    assert not clock.getDelayedCalls()


def test_it_is_asked_again_whenever_something_has_happened(waiting):
    waiting.bell.ring()
    assert (waiting.asked, waiting.results) == (2, [])
    waiting.answer = "yes"
    assert waiting.results == []
    waiting.bell.ring()
    assert waiting.results == ["yes"]


def test_at_the_deadline_the_last_answer_counts(waiting):
    waiting.clock.advance(9.9)
    assert waiting.results == []
    waiting.clock.advance(0.2)
    assert waiting.results == [""]


def test_nothing_is_left_of_waiting(waiting):
    waiting.answer = "yes"
    waiting.bell.ring()
    assert not waiting.clock.getDelayedCalls()
    waiting.bell.ring()


def test_all_who_wait_hear_the_bell():
    clock, heard = Clock(), []
    bell = Bell(clock)
    for number in range(3):
        ensureDeferred(bell.until(lambda number=number: heard.append(number), 10.0))
    heard.clear()
    bell.ring("whatever", "is told")
    assert heard == [0, 1, 2]
    clock.advance(20)
