"""When the engine is looked at, by a clock that the test steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ocs.agents.host_manager.docker.tools import Limits
from ocs.agents.host_manager.docker.watch import Watch
from ocs.errors import DockerError


class World:
    """An engine, files and a clock; looks are noted with their times."""

    def __init__(self, *, slow: bool = False) -> None:
        self.clock = Clock()
        self.answers = True
        self.slow = slow
        self.looks = []
        self.pending = []
        self.follows = []
        self.files_changed = False
        self.watch = Watch(self.clock, Limits(), self.look, self.follow, self.check_files)
        self.watch.start()
        self.clock.advance(0)

    async def look(self):
        self.looks.append(self.clock.seconds())
        self.files_changed = False
        if self.slow:
            self.pending.append(Deferred())
            await self.pending[-1]
        return self.answers

    async def follow(self, happened):
        self.follows.append((self.clock.seconds(), happened, Deferred()))
        await self.follows[-1][2]

    async def check_files(self):
        """Tell of a change until it has been looked at."""
        return self.files_changed

    def event(self):
        self.follows[-1][1]()

    def end_events(self):
        self.follows[-1][2].errback(DockerError("ended"))

    def pass_time(self, duration, step=0.1):
        for _step in range(round(duration / step)):
            self.clock.advance(step)


def test_with_nothing_happening_there_is_only_the_slow_poll():
    world = World()
    world.pass_time(100)
    assert world.looks == pytest.approx([0, 30, 60, 90], abs=0.3)
    assert len(world.follows) == 1


def test_an_event_is_looked_at_at_once():
    world = World()
    world.pass_time(10)
    world.event()
    world.clock.advance(0)
    assert world.looks == pytest.approx([0, 10])


@given(st.lists(st.floats(0.001, 1.0), min_size=300, max_size=300))
def test_a_storm_of_events_makes_few_looks_and_the_last_event_is_seen(pauses):
    world = World()
    for pause in pauses:
        world.clock.advance(pause)
        world.event()
    last = world.clock.seconds()
    world.pass_time(3)
    assert world.looks[-1] >= last
    assert len(world.looks) <= 12 + (last + 3)


def test_an_event_while_a_look_is_under_way_is_looked_at_after_it():
    world = World(slow=True)
    world.pending[0].callback(None)
    world.clock.advance(30)
    world.event()
    assert len(world.looks) == 2
    world.pending[1].callback(None)
    world.pass_time(1)
    assert len(world.looks) == 3


def test_an_engine_that_does_not_answer_is_asked_less_and_less_often():
    world = World()
    world.answers = False
    world.clock.advance(30)
    began = world.clock.seconds()
    world.pass_time(120)
    pauses = [b - a for a, b in zip(world.looks[1:], world.looks[2:], strict=False)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=0.3)
    world.answers = True
    world.pass_time(31)
    assert world.looks[-1] > began


def test_when_the_events_end_there_is_a_look_at_once_and_they_are_followed_again():
    world = World()
    world.pass_time(50)
    world.end_events()
    world.clock.advance(0)
    world.clock.advance(0)
    assert world.looks[-1] == pytest.approx(50)
    assert [when for when, *_rest in world.follows] == pytest.approx([0, 50])


def test_events_that_end_whenever_they_begin_are_followed_less_and_less_often():
    world = World()
    for _step in range(3000):
        if not world.follows[-1][2].called:
            world.end_events()
        world.clock.advance(0.1)
    assert len(world.follows) < 20
    assert len(world.looks) < 40


def test_a_changed_file_is_looked_at_within_seconds():
    world = World()
    world.pass_time(10)
    world.files_changed = True
    world.pass_time(2.1)
    assert len(world.looks) == 2


def test_who_asks_for_a_look_waits_for_one_that_began_later():
    world = World(slow=True)
    first = world.watch.look()
    world.pending[0].callback(None)
    assert not first.called
    world.clock.advance(0)
    second = world.watch.look()
    world.pending[1].callback(None)
    assert first.called
    assert not second.called


def test_nothing_is_asked_for_once_it_is_stopped_and_nobody_waits():
    world = World()
    waiting = world.watch.look()
    world.watch.stop()
    assert waiting.called
    assert world.watch.look().called
    world.event()
    world.end_events()
    assert world.clock.getDelayedCalls() == []


def test_it_can_begin_again():
    world = World(slow=True)
    world.watch.stop()
    world.watch.start()
    world.clock.advance(0)
    world.pending[0].callback(None)
    world.clock.advance(40)
    assert len(world.looks) >= 2
