"""Wishes, carried out together."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ocs.agents.host_manager.docker.gather import Gatherer
from ocs.errors import DockerError


class Work:
    """Takes lots, and ends them when told."""

    def __init__(self) -> None:
        self.lots = []

    async def carry_out(self, names):
        end = Deferred()
        self.lots.append((names, end))
        return await end


@pytest.fixture
def work() -> Work:
    return Work()


def wish(gatherer: Gatherer, *names: str) -> list[Deferred]:
    return [Deferred.fromCoroutine(gatherer.add(name)) for name in names]


def test_the_wishes_of_a_turn_make_one_lot_and_those_that_come_later_the_next(work):
    clock = Clock()
    gatherer = Gatherer(clock, work.carry_out)
    first = wish(gatherer, "a", "b", "a")
    clock.advance(0)
    later = wish(gatherer, "c", "a", "d")
    clock.advance(0)
    assert [names for names, _end in work.lots] == [("a", "b")]
    work.lots[0][1].callback({"b": "no"})
    clock.advance(0)
    assert [names for names, _end in work.lots] == [("a", "b"), ("c", "a", "d")]
    assert [each.called for each in later] == [False] * 3
    assert first[0].result is None
    assert first[2].result is None
    assert first[1].result.check(DockerError)
    assert str(first[1].result.value) == "no"
    first[1].addErrback(lambda _failure: None)
    work.lots[1][1].callback({})
    assert [each.result for each in later] == [None] * 3


def test_as_many_lots_as_allowed_are_carried_out_side_by_side(work):
    clock = Clock()
    gatherer = Gatherer(clock, work.carry_out, at_once=2)
    for name in "abcd":
        wish(gatherer, name)
        clock.advance(0)
    assert [names for names, _end in work.lots] == [("a",), ("b",)]
    work.lots[1][1].callback({})
    clock.advance(0)
    assert [names for names, _end in work.lots] == [("a",), ("b",), ("c", "d")]


@pytest.mark.parametrize(("error", "text"), [(DockerError("gone"), "gone"), (KeyError("x"), "KeyError: 'x'")])
def test_a_lot_that_fails_fails_all_that_wait_for_it_and_not_the_next(work, error, text):
    clock = Clock()
    gatherer = Gatherer(clock, work.carry_out)
    waiting = wish(gatherer, "a", "b")
    clock.advance(0)
    work.lots[0][1].errback(error)
    for each in waiting:
        assert str(each.result.value) == text
        each.addErrback(lambda _failure: None)
    wish(gatherer, "a")
    clock.advance(0)
    assert len(work.lots) == 2
