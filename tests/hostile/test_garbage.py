"""A part of the garbage at each agent; all of it, and what it found, is in docs/user/garbage.md."""

import pytest

from tests.hostile.garbage import CASES, missing, throw

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CALLS = 900
MOST_GROWTH = 25.0
"""In MiB; what a first use of some part loads is in it."""


def test_every_agent_class_is_tried():
    assert missing() == set()


@pytest.mark.parametrize("agent_class", CASES)
def test_an_agent_stands_it(router, agent_class):
    found = throw(agent_class, CALLS, CALLS, router=router)
    assert found.troubles == []
    assert found.calls == CALLS
    assert found.memory[1] < found.memory[0] + MOST_GROWTH
    assert found.router_memory[1] < found.router_memory[0] + MOST_GROWTH
