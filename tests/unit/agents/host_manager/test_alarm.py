"""A call that comes as early as the earliest of those who asked."""

from ocs.agents.host_manager.alarm import Alarm
from tests.harness.reactor import SteppedReactor


def made():
    reactor, rung = SteppedReactor(), []
    return reactor, Alarm(reactor, lambda: rung.append(reactor.seconds())), rung


def test_the_earliest_wish_counts_once():
    reactor, alarm, rung = made()
    for delay in (3, 1, 2):
        alarm.set(delay)
    reactor.pump()
    reactor.advance(1)
    reactor.advance(5)
    assert rung == [1]


def test_it_can_be_set_again():
    reactor, alarm, rung = made()
    alarm.set(1)
    reactor.advance(1)
    alarm.set(1)
    reactor.advance(1)
    assert rung == [1, 2]


def test_a_stopped_one_rings_no_more():
    reactor, alarm, rung = made()
    alarm.set(1)
    alarm.stop()
    reactor.advance(2)
    assert rung == []
    assert reactor.getDelayedCalls() == []
