"""Connections of which a closed router does not know yet whose they are."""

import pytest

from ocs.router.door import JOIN_WITHIN_S, Door


class World:
    def __init__(self, most=4):
        self.now, self.closed = 1000.0, []
        self.door = Door(lambda: self.now, most)

    def arrive(self, *places):
        for place in places:
            self.door.arrive(place, lambda place=place: self.closed.append(place))


@pytest.fixture
def world():
    return World()


def test_who_has_had_its_time_is_closed(world):
    world.arrive(("a", 1))
    world.now += 5
    world.arrive(("a", 2))
    world.now += JOIN_WITHIN_S - 5
    world.door.sweep()
    assert world.closed == [("a", 1)]
    assert len(world.door) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_who_has_shown_a_key_or_is_gone_is_left_alone(world, times):
    world.arrive(("a", 1), ("a", 2))
    for _ in range(times):
        world.door.settle(("a", 1))
    world.now += JOIN_WITHIN_S
    world.door.sweep()
    assert world.closed == [("a", 2)]
    assert len(world.door) == 0


def test_a_flood_drives_itself_out(world):
    world.arrive(("good", 1), *(("bad", port) for port in range(10)))
    assert world.closed == [("bad", port) for port in range(7)]
    world.arrive(("good", 2))
    assert world.closed[-1] == ("bad", 7)
    assert len(world.door) == 4


def test_of_one_address_the_oldest_goes(world):
    world.arrive(*(("a", port) for port in range(6)))
    assert world.closed == [("a", 0), ("a", 1)]


def test_nothing_is_kept_of_those_who_are_gone(world):
    for port in range(100):
        world.arrive((f"a{port}", port))
        world.door.settle((f"a{port}", port))
    assert not world.door._counts
    assert not world.door._waiting
