"""The books are balanced, whatever happens to publishers, recorders and the network between them."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.harness.numbered import World

PUBLISHERS = st.integers(0, 2)
RECORDERS = st.integers(0, 1)


class Observatory(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(publishers=3, recorders=1)

    def recorder(self, number):
        return self.world.recorders[number % len(self.world.recorders)]

    @rule(number=PUBLISHERS, count=st.integers(1, 6))
    def publish(self, number, count):
        for _ in range(count):
            self.world.publishers[number].publish()

    @rule(number=PUBLISHERS)
    def flush(self, number):
        self.world.publishers[number].flush()

    @rule(number=PUBLISHERS)
    def beat(self, number):
        self.world.publishers[number].beat()

    @rule(number=PUBLISHERS)
    def save(self, number):
        self.world.publishers[number].save()

    @rule(number=PUBLISHERS, kill=st.booleans())
    def restart(self, number, kill):
        self.world.publishers[number].restart(kill=kill)

    @rule(number=PUBLISHERS, up=st.booleans())
    def link_publisher(self, number, up):
        self.world.publishers[number].linked = up

    @rule(number=PUBLISHERS)
    def cut(self, number):
        self.world.cut(self.world.publishers[number])

    @rule(recorder=RECORDERS, number=PUBLISHERS)
    def lose_one(self, recorder, number):
        queue = self.recorder(recorder).inbound.get(self.world.publishers[number].address)
        if queue and queue[0][0] != "reply":
            queue.popleft()

    @rule(recorder=RECORDERS, number=PUBLISHERS)
    def serve(self, recorder, number):
        self.recorder(recorder).serve(self.world.publishers[number])

    @rule(recorder=RECORDERS, number=PUBLISHERS, count=st.integers(1, 9))
    def deliver(self, recorder, number, count):
        for _ in range(count):
            self.recorder(recorder).deliver(self.world.publishers[number])

    @rule(recorder=RECORDERS, number=PUBLISHERS)
    def fail(self, recorder, number):
        self.recorder(recorder).fail(self.world.publishers[number])

    @rule(recorder=RECORDERS, part=st.sampled_from([1.0, 0.5]))
    def sync(self, recorder, part):
        self.recorder(recorder).sync(part)

    @rule(recorder=RECORDERS)
    def crash(self, recorder):
        self.recorder(recorder).crash()

    @rule(recorder=RECORDERS, up=st.booleans())
    def link_recorder(self, recorder, up):
        self.recorder(recorder).link(up=up)

    @precondition(lambda self: len(self.world.recorders) < 2)
    @rule()
    def add_recorder(self):
        self.world.add_recorder()

    @rule(room=st.booleans())
    def set_room(self, room):
        self.world.room = room

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 12.0]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    @rule()
    def work(self):
        self.world.move_everything()
        self.world.pass_time(0.25)

    @invariant()
    def nothing_goes_back(self):
        for recorder in self.world.recorders:
            for (key, end, _), position in ((item, recorder.positions.get(item[0], 1)) for item in recorder.disk):
                assert end <= position, key

    def teardown(self):
        self.world.settle()


TestObservatory = Observatory.TestCase
TestObservatory.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)

STEPS = {
    "publish": 20, "flush": 12, "beat": 8, "save": 2, "restart": 1, "link_publisher": 2, "cut": 1, "lose_one": 4,
    "serve": 15, "deliver": 20, "fail": 2, "sync": 6, "crash": 1, "link_recorder": 2, "set_room": 1, "pass_time": 20,
    "work": 4, "add_recorder": 0.05,
}  # fmt: skip


def any_step(machine, dice):
    name = dice.choices(list(STEPS), STEPS.values())[0]
    arguments = {
        "publish": {"number": dice.randrange(3), "count": dice.randrange(1, 7)},
        "restart": {"number": dice.randrange(3), "kill": dice.random() < 0.5},
        "link_publisher": {"number": dice.randrange(3), "up": dice.random() < 0.7},
        "deliver": {"recorder": dice.randrange(2), "number": dice.randrange(3), "count": dice.randrange(1, 10)},
        "link_recorder": {"recorder": dice.randrange(2), "up": dice.random() < 0.7},
        "set_room": {"room": dice.random() < 0.7},
        "pass_time": {"seconds": dice.choice([0.0, 0.25, 1.0, 12.0])},
        "work": {},
        "sync": {"recorder": dice.randrange(2), "part": dice.choice([1.0, 0.5])},
    }
    by_publisher = {"flush", "beat", "save", "cut"}
    by_recorder = {"crash"}
    if name == "add_recorder":
        if len(machine.world.recorders) < 2:
            machine.add_recorder()
    elif name in arguments:
        getattr(machine, name)(**arguments[name])
    elif name in by_publisher:
        getattr(machine, name)(number=dice.randrange(3))
    elif name in by_recorder:
        getattr(machine, name)(recorder=dice.randrange(2))
    else:
        getattr(machine, name)(recorder=dice.randrange(2), number=dice.randrange(3))


@pytest.mark.parametrize("seed", range(40))
def test_the_books_are_balanced_after_long_trouble(seed):
    dice = random.Random(seed)
    machine = Observatory()
    for _ in range(dice.choice([50, 300, 1000])):
        any_step(machine, dice)
    machine.world.settle()
