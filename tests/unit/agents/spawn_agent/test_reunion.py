"""After the router was away, others are given time to come back."""

from twisted.internet.task import Clock

from ocs.agents.spawn_agent.reunion import COMES_BACK_WITHIN, Reunion


def test_at_the_first_joining_there_is_nobody_to_wait_for():
    reunion = Reunion(Clock(), lambda: None)
    reunion.joined()
    assert reunion.is_over()


def test_after_each_further_one_the_others_get_time():
    clock, told = Clock(), []
    reunion = Reunion(clock, lambda: told.append(clock.seconds()))
    reunion.joined("session", details=None)
    for _ in range(2):
        reunion.joined()
        assert not reunion.is_over()
        clock.advance(COMES_BACK_WITHIN)
        assert reunion.is_over()
    assert told == [COMES_BACK_WITHIN, 2 * COMES_BACK_WITHIN]
