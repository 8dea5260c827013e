"""Who waits for whom at the start."""

import pytest

from ocs.agents.host_manager.instances import ManagedInstance
from ocs.agents.host_manager.levels import READY_PATIENCE, holds

NOW = 1_790_000_000.0


def instance(name, level=0, **more):
    more = {"target_state": "up", **more}
    return ManagedInstance("host", "A", name, f"A:{name}", start_level=level, **more)


def held(*instances, **more):
    return set(holds(instances, NOW, **more))


def test_without_levels_nobody_waits():
    assert held(instance("a"), instance("b")) == set()


def test_higher_levels_wait_for_the_lowest_that_is_not_ready():
    assert held(instance("a"), instance("b", 1), instance("c", 2)) == {"b", "c"}
    assert held(instance("a", ready=True, next_action="up"), instance("b", 1), instance("c", 2)) == {"c"}


def test_the_reason_names_whom_it_waits_for():
    assert holds([instance("a"), instance("b", 1)], NOW) == {"b": "waits for a (start-level 0)"}


@pytest.mark.parametrize(
    "more",
    [
        {"ready": True, "next_action": "up"},
        {"target_state": "down"},
        {"next_action": "start_at", "failures": 1},
        {"next_action": "start", "failures": 2},
        {"next_action": "?"},
        {"passive_tracking": True},
        {"next_action": "up", "launched": NOW - READY_PATIENCE},
    ],
)
def test_what_is_ready_or_cannot_be_waited_for_keeps_nobody(more):
    assert held(instance("a", **more), instance("b", 1)) == set()


@pytest.mark.parametrize(
    "more",
    [
        {"next_action": "start"},
        {"next_action": "wait_start", "launched": NOW - 1},
        {"next_action": "up", "launched": NOW - READY_PATIENCE + 1},
    ],
)
def test_what_is_on_its_way_is_waited_for(more):
    assert held(instance("a", **more), instance("b", 1)) == {"b"}


def test_without_the_router_everybody_waits_but_what_is_only_watched():
    crossbar = instance("crossbar", passive_tracking=True)
    assert held(instance("a"), instance("b", 1), crossbar, linked=False) == {"a", "b"}


def test_what_is_to_be_down_is_not_held():
    assert held(instance("a"), instance("b", 1, target_state="down"), linked=False) == {"a"}
