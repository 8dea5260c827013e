"""Connecting again and again."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock

from ocs.wamp.connector import Connector


class Network:
    """An endpoint whose attempts end when the test says so, and the connections that came of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.attempts: list[Deferred[Any]] = []
        self.failures: list[str] = []
        self.aborted = 0
        self.connector = Connector(self.connect, lambda: 2.0, reactor=self.clock, on_failure=self.failures.append)
        self.transport = self

    def connect(self) -> "Deferred[Any]":
        self.attempts.append(Deferred())
        return self.attempts[-1]

    def abortConnection(self) -> None:
        self.aborted += 1
        self.clock.callLater(0, self.connector.lost)

    def timers(self) -> int:
        return len(self.clock.getDelayedCalls())


@pytest.fixture
def network():
    return Network()


def test_a_failed_attempt_is_followed_by_the_next_after_the_delay(network):
    network.connector.start()
    network.attempts[0].errback(Refused())
    network.clock.advance(1.9)
    assert len(network.attempts) == 1
    network.clock.advance(0.2)
    assert len(network.attempts) == 2
    assert network.failures == ["Connection was refused by other side"]


def test_a_lost_connection_is_made_again(network):
    network.connector.start()
    network.attempts[0].callback(network)
    assert network.timers() == 0
    network.connector.lost()
    network.clock.advance(2)
    assert len(network.attempts) == 2


def test_stopping_waits_until_the_connection_is_closed_and_none_follows(network):
    network.connector.start()
    network.attempts[0].callback(network)
    stopped = network.connector.stop()
    assert not stopped.called
    network.clock.advance(0)
    assert stopped.called
    network.clock.advance(100)
    assert (network.aborted, len(network.attempts), network.timers()) == (1, 1, 0)


def test_stopping_ends_an_attempt_and_a_pause(network):
    network.connector.start()
    assert network.connector.stop().called
    assert network.timers() == 0
    network.connector.start()
    network.attempts[1].errback(Refused())
    assert network.timers() == 1
    assert network.connector.stop().called
    assert network.timers() == 0
    assert network.failures == ["Connection was refused by other side"]


def test_a_connection_that_comes_after_the_stop_is_cut(network):
    late: Deferred[Any] = Deferred(canceller=lambda _: None)
    network.connector = Connector(lambda: late, lambda: 2.0, reactor=network.clock, on_failure=network.failures.append)
    network.connector.start()
    network.connector._running = False
    late.callback(network)
    assert network.aborted == 1
