"""What is left in a closed router's log of what crossbar would write about a connection."""

import pytest
from twisted.python.failure import Failure

from ocs.router.strangers import BoundedLog


@pytest.fixture
def told():
    return []


@pytest.fixture
def log(told):
    return BoundedLog(lambda about, line: told.append((about, line)))


def test_of_a_traceback_its_last_line_is_told(log, told):
    log.critical("{tb}", tb="Traceback (most recent call last):\n  File x\nProtocolError: nonsense\n")
    assert told == [("{tb}", "a connection: ProtocolError: nonsense")]


def test_the_same_trouble_of_others_is_the_same(log, told):
    for peer in ("a", "b"):
        log.warn("dropping {peer}: {reason}", peer=peer, reason="x" * 10_000)
    assert len({about for about, _ in told}) == 1
    assert all(len(line) < 600 for _, line in told)


@pytest.mark.parametrize("form", ["{missing}", "{", "{x!q}", "{x.y.z}", "{x:%}"])
def test_a_line_that_cannot_be_filled_in_is_told_as_it_is(log, told, form):
    log.error(form, x=1)
    assert told == [(form, f"a connection: {form}")]


def test_an_exception_is_told_in_one_line(log, told):
    log.failure("here", failure=Failure(ValueError("wrong")))
    try:
        dict.pop({}, "gone")
    except KeyError:
        log.failure()
    assert [line for _, line in told] == ["a connection: ValueError: wrong", "a connection: KeyError: 'gone'"]


def test_what_is_no_trouble_is_not_told(log, told):
    log.debug("x")
    log.info("x", a=1)
    log.trace("x")
    assert told == []
