"""The processes of components: named, remembered, forgotten, found again."""

import json
import os
import signal

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from ocs.agents.spawn_agent import children
from ocs.agents.spawn_agent.children import child_name
from ocs.components.names import TYPES, ComponentId, Prefix
from ocs.supervisor.proc import stamp
from tests.harness.spawn_world import World, component

ensure = pytest_twisted.ensureDeferred


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(router=None):
        made.append(World(tmp_path, router))
        return made[-1]

    yield make
    for world in made:
        pytest_twisted.blockon(ensureDeferred(world.end()))


def is_name(text):
    try:
        return bool(Prefix("ESW", text))
    except ValueError:
        return False


@given(st.text(max_size=60).filter(is_name), st.sampled_from(TYPES))
def test_a_childs_name_is_a_file_name_and_tells_the_component(name, component_type):
    wanted = ComponentId(Prefix("ESW", name), component_type)
    made = child_name(wanted)
    assert "/" not in made
    assert made.isascii()
    assert made.isprintable()
    assert children._component_of(made) == wanted


@given(st.text())
def test_other_names_are_not_taken_for_ours(name):
    assert not children._is_ours(name) or child_name(children._component_of(name)) == name


@ensure
async def test_what_is_remembered_is_found_by_the_next_with_what_has_ended_meanwhile(make_world, tmp_path):
    world = make_world()
    await world.spawn("good")
    await world.spawn("deaf")
    pid = world.pid("good")
    await world.spawner.close()
    await world.children.close()
    world.is_closed = True
    os.kill(pid, signal.SIGKILL)
    await world.until(lambda: stamp(pid) is None)
    following = make_world(world.router)
    assert following.children.take_over() == ["SequenceComponent.ESW.deaf"]
    assert following.children.is_confirmed("SequenceComponent.ESW.deaf")
    (note,) = following.children.records["SequenceComponent.ESW.good"].exits
    assert (note.code, note.signal) == (None, None)


@ensure
async def test_damaged_names_in_the_ledger_cost_nobody_else(make_world):
    world = make_world()
    await world.spawn("good")
    await world.children.close()
    world.is_closed = True
    ledger = world.state / "processes.json"
    entries = json.loads(ledger.read_text())
    ledger.write_text(json.dumps([{**entries[0], "name": "x"}, {**entries[0], "name": "Agent.OCS"}, *entries]))
    following = make_world(world.router)
    assert following.children.take_over() == ["SequenceComponent.ESW.good"]


@ensure
async def test_of_too_many_that_have_ended_the_oldest_are_forgotten_with_what_they_printed(make_world, monkeypatch):
    monkeypatch.setattr(children, "MOST_REMEMBERED", 2)
    world = make_world()
    output = world.state / "output"
    output.mkdir()
    object.__setattr__(world.children.commands, "output_dir", output)
    for name in ("exits-1", "exits-2", "exits-3"):
        await world.spawn(name)
    assert list(world.children.records) == ["SequenceComponent.ESW.exits-2", "SequenceComponent.ESW.exits-3"]
    await world.until(lambda: not (output / "SequenceComponent.ESW.exits-1.log").exists())
    assert (output / "SequenceComponent.ESW.exits-3.log").exists()


@ensure
async def test_a_confirmation_is_that_of_one_process(make_world):
    world = make_world()
    await world.spawn("good")
    name = child_name(component("good"))
    assert world.children.records[name].confirmed == stamp(world.pid("good"))
    world.children.records[name].confirmed = "of another"
    assert not world.children.is_confirmed(name)
