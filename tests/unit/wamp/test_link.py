"""The link to the router: delays, giving up, waiting for a while."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from ocs.wamp.lean_autobahn import ApplicationSession, CloseDetails
from ocs.wamp.link import RouterLink, reconnect_delay, within

# Delays


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_stay_between_a_fifth_of_a_second_and_five(attempt, jitter):
    assert 0.2 <= reconnect_delay(attempt, jitter=lambda: jitter) <= 5.0


@given(st.integers(0, 100), st.floats(0, 1))
def test_delays_grow(attempt, jitter):
    assert reconnect_delay(attempt + 1, jitter=lambda: jitter) >= reconnect_delay(attempt, jitter=lambda: jitter)


def test_delays_begin_small_reach_five_seconds_and_differ_between_agents():
    assert reconnect_delay(0, jitter=lambda: 1.0) < 0.3
    assert reconnect_delay(10, jitter=lambda: 1.0) == 5.0
    assert len({reconnect_delay(3) for _ in range(20)}) > 10


def test_who_is_eager_waits_less_and_still_not_in_step_with_others():
    assert min(reconnect_delay(i, 0.4) for i in range(20)) >= 0.2
    assert max(reconnect_delay(i, 0.4) for i in range(20)) <= 0.4
    assert len({reconnect_delay(10, 0.4) for _ in range(20)}) > 10


# Giving up


class Link:
    """A RouterLink whose connection the test plays."""

    def __init__(self, timeout=10):
        self.clock, self.session, self.given_up = Clock(), ApplicationSession(), []
        self.link = RouterLink(
            self.session, "ws://127.0.0.1:1/ws", "realm", reactor=self.clock, timeout=timeout,
            on_give_up=self.given_up.append,
        )  # fmt: skip
        self.link._connector = object()
        self.link._wait_for_join()

    def join(self):
        self.link._joined(self.session, None)

    def lose(self):
        self.link._disconnected(self.session)


def test_it_gives_up_once_after_the_timeout():
    link = Link()
    link.clock.advance(9.9)
    assert link.given_up == []
    link.clock.advance(0.2)
    link.clock.advance(100)
    assert len(link.given_up) == 1


def test_failed_attempts_do_not_prolong_the_time():
    link = Link()
    for _ in range(9):
        link.clock.advance(1)
        link.lose()
    link.clock.advance(1.1)
    assert len(link.given_up) == 1


def test_who_has_just_rejoined_is_never_given_up():
    link = Link()
    link.join()
    link.lose()
    link.clock.advance(9.999)
    link.join()
    link.clock.advance(1000)
    assert link.given_up == []
    assert link.clock.getDelayedCalls() == []


def test_each_outage_has_the_whole_time():
    link = Link()
    for _ in range(5):
        link.clock.advance(9)
        link.join()
        link.lose()
    assert link.given_up == []


def test_without_a_timeout_it_never_gives_up():
    link = Link(timeout=0)
    link.clock.advance(1e6)
    assert link.given_up == []


def test_delays_begin_anew_after_a_join():
    link = Link()
    before = [link.link._next_delay() for _ in range(10)]
    link.join()
    assert link.link._next_delay() < 0.3 < before[-1]


def test_the_reason_of_a_refusal_is_kept_for_the_last_word():
    link = Link()
    link.link._left(link.session, CloseDetails("wamp.error.no_such_realm", "no realm <x>"))
    link.clock.advance(11)
    assert link.given_up == ["no realm <x>"]


# Waiting for a while


def test_within_fires_with_what_is_wanted_and_leaves_no_timer():
    clock, wanted = Clock(), Deferred()
    done = within(clock, wanted, 5)
    wanted.callback(1)
    assert done.called
    assert clock.getDelayedCalls() == []


def test_within_fires_when_the_time_is_up():
    clock, wanted = Clock(), Deferred()
    done = within(clock, wanted, 5)
    clock.advance(5)
    assert done.called
    wanted.callback(1)


def test_within_never_fails():
    assert within(Clock(), fail(RuntimeError()), 5).result is None
