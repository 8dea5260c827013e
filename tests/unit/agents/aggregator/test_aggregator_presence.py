"""Which agents are on."""

import pytest

from ocs.agents.aggregator import presence
from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.presence import GRACE, OFF_AFTER, Presence


def on(since, run="run", agent="a"):
    return Note("on", agent, since, None, 0, run)


def off(since, run="run", agent="a"):
    return Note("off", agent, since, None, 0, run)


class Watch:
    """Presence, and time."""

    def __init__(self):
        self.presence = Presence()
        self.presence.link_up()
        self.now = 0.0

    def pass_time(self, seconds):
        notes = []
        for _ in range(int(seconds)):
            self.now += 1.0
            notes += self.presence.tick(self.now)
        return notes

    def beat(self, run="run", agent="a"):
        return self.presence.beat(agent, run, self.now)


@pytest.fixture
def watch():
    watch = Watch()
    watch.pass_time(GRACE + 1)
    return watch


def test_the_first_heartbeat_is_noted_and_the_next_ones_are_not(watch):
    assert watch.beat() == [on(16.0)]
    assert watch.beat() == []


def test_an_agent_is_off_since_its_last_heartbeat(watch):
    watch.beat()
    assert watch.pass_time(OFF_AFTER) == []
    assert watch.pass_time(1) == [off(16.0)]
    assert watch.pass_time(100) == []
    assert not watch.presence.is_on("a")


def test_a_restart_is_off_and_on(watch):
    watch.beat()
    watch.pass_time(3)
    assert watch.beat(run="next") == [off(16.0), on(19.0, "next")]


def test_a_straggler_of_the_run_before_is_not_noted(watch):
    watch.beat()
    watch.beat(run="next")
    assert watch.beat() == []
    assert watch.beat(run="next") == []


def test_while_our_link_is_down_nobody_is_off(watch):
    watch.beat()
    watch.presence.link_down()
    assert watch.pass_time(1000) == []
    assert watch.presence.is_on("a")


def test_after_our_link_was_down_others_have_time_to_come_back(watch):
    watch.beat()
    watch.presence.link_down()
    watch.pass_time(100)
    watch.presence.link_up()
    assert watch.pass_time(GRACE) == []
    assert watch.pass_time(1) == [off(16.0)]


def test_who_comes_back_in_time_was_never_off(watch):
    watch.beat()
    watch.presence.link_down()
    watch.pass_time(100)
    watch.presence.link_up()
    watch.pass_time(GRACE - 1)
    assert watch.beat() == []
    assert watch.pass_time(5) == []


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_clock_that_is_set_turns_nobody_off(watch, step):
    watch.beat()
    watch.now += step
    assert watch.pass_time(1) == []
    watch.beat()
    assert watch.pass_time(GRACE - 5) == []
    watch.beat()
    assert len(watch.pass_time(OFF_AFTER + GRACE)) == 1


def test_how_many_are_watched_is_bounded(watch, monkeypatch):
    monkeypatch.setattr(presence, "MAX_AGENTS", 1)
    watch.beat()
    assert watch.beat(agent="b") == []
    assert len(watch.presence) == 1
