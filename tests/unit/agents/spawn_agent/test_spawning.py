"""Spawning and killing by their steps, with real small processes and a router that is a table."""

import os
import random
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from ocs.agents.spawn_agent import ending, place, spawning, threads
from ocs.agents.spawn_agent.children import child_name
from ocs.agents.spawn_agent.report import report
from ocs.components.names import ComponentId, Prefix
from ocs.supervisor.proc import stamp
from tests.harness.spawn_world import HOST, PREFIX, World, component, wanted

SPAWNED, KILLED = {"_type": "Spawned"}, {"_type": "Killed"}
QUICK = [
    (spawning, "REGISTERS_WITHIN", 0.7),
    (spawning, "KNOWN_WITHIN", 0.2),
    (spawning, "COMES_BACK_WITHIN", 0.2),
    (spawning, "KILLED_WITHIN", 1.0),
    (place, "ANSWERS_WITHIN", 0.2),
    (threads, "READ_WITHIN", 0.5),
    (ending, "PATIENCE", 0.2),
    (ending, "HEAD_START", 0.1),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module, name, value in QUICK:
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def world(tmp_path):
    made = [World(tmp_path)]
    yield made[0]
    pytest_twisted.blockon(ensureDeferred(made[0].end()))


ensure = pytest_twisted.ensureDeferred


@ensure
async def test_what_has_registered_is_spawned(world):
    assert await world.spawn("good") == SPAWNED
    assert stamp(world.pid("good"))
    assert world.children.is_confirmed(child_name(component("good")))


@ensure
async def test_what_ends_before_it_registers_is_told_with_its_last_lines(world):
    answer = await world.spawn("exits")
    assert "has ended before it registered: exit code 1; its last lines:\n" in answer["msg"]
    assert answer["msg"].endswith("there is no filter wheel")


@ensure
async def test_what_never_registers_is_ended(world):
    spawning_it = ensureDeferred(world.spawn("silent"))
    await world.until(lambda: world.pid("silent"))
    pid = world.pid("silent")
    assert "has not registered within 0.7 s" in (await spawning_it)["msg"]
    assert stamp(pid) is None


@ensure
async def test_what_is_registered_is_not_spawned_and_said_to_be_where_it_is(world):
    world.router.enter(component("good"), pid=4711, agentPrefix="ESW.other")
    answer = await world.spawn("good")
    assert answer["msg"] == (
        f"SequenceComponent ESW.good is registered already: on {HOST}, process 4711, started by ESW.other"
    )
    assert world.pid("good") is None


@ensure
async def test_what_is_registered_and_does_not_answer_is_said_not_to(world):
    world.router.enter(component("good"), pid=4711)
    world.router.silent.add(f"uri.{component('good')}")
    answer = await world.spawn("good")
    assert f"on {HOST}, process 4711; it does not answer: its machine may be cut off" in answer["msg"]


@ensure
async def test_what_goes_while_it_is_asked_is_in_nobodys_way(world):
    world.router.enter(component("good"), pid=4711, host="elsewhere")
    world.router.silent.add(f"uri.{component('good')}")
    spawning_it = ensureDeferred(world.spawn("good"))
    del world.router.table[component("good")]
    assert await spawning_it == SPAWNED


@ensure
async def test_one_that_another_has_registered_meanwhile_is_ended(world):
    spawning_it = ensureDeferred(world.spawn("silent"))
    await world.until(lambda: world.pid("silent"))
    world.router.enter(component("silent"), pid=4711, host="elsewhere")
    world.bell.ring()
    answer = await spawning_it
    assert "registered by another at the same time: on elsewhere, process 4711" in answer["msg"]
    assert world.pid("silent") is None


@ensure
async def test_one_that_does_not_say_which_process_it_is_is_not_taken_for_ours(world):
    spawning_it = ensureDeferred(world.spawn("silent"))
    await world.until(lambda: world.pid("silent"))
    world.router.enter(component("silent"))
    world.bell.ring()
    assert (await spawning_it)["_type"] == "Failed"
    assert world.pid("silent") is None


@ensure
async def test_one_that_has_registered_as_another_is_said_to_have(world):
    spawning_it = ensureDeferred(world.spawn("silent"))
    await world.until(lambda: world.pid("silent"))
    world.router.enter(component("loud"), pid=world.pid("silent"))
    assert "but as SequenceComponent ESW.loud" in (await spawning_it)["msg"]


@ensure
async def test_one_is_spawned_only_when_its_address_is_its_own(world):
    world.router.without_address.add(component("good"))
    spawning_it = ensureDeferred(world.spawn("good"))
    await world.until(lambda: world.router.find(component("good")))
    world.bell.ring()
    assert not spawning_it.called
    world.router.without_address.clear()
    world.bell.ring()
    assert await spawning_it == SPAWNED


@ensure
async def test_one_whose_address_another_holds_is_ended(world):
    world.router.without_address.add(component("good"))
    answer = await world.spawn("good")
    assert answer["msg"].startswith(f"{component('good')} runs, and has not got its address, which another")
    assert world.pid("good") is None


@ensure
async def test_while_the_router_does_not_tell_nothing_is_done(world):
    world.router.is_there = False
    for answer in (await world.spawn("good"), await world.kill("good")):
        assert answer["msg"] == f"{PREFIX} does not know what is registered: the router does not tell"


@ensure
async def test_others_are_given_time_to_come_back_before_a_spawn(world):
    world.others_are_back = False
    spawning_it = ensureDeferred(world.spawn("good"))
    world.router.enter(component("good"), pid=4711)
    world.others_are_back = True
    world.bell.ring()
    assert "registered already" in (await spawning_it)["msg"]


@ensure
async def test_what_runs_but_has_not_come_back_is_replaced(world):
    await world.spawn("good")
    before = world.pid("good")
    del world.router.table[component("good")]
    assert await world.spawn("good") == SPAWNED
    assert stamp(before) is None
    assert stamp(world.pid("good"))


@ensure
async def test_what_comes_back_in_time_is_left_alone(world):
    await world.spawn("good")
    before = world.router.table.pop(component("good"))
    spawning_it = ensureDeferred(world.spawn("good"))
    world.router.table[component("good")] = before
    world.bell.ring()
    assert "registered already" in (await spawning_it)["msg"]
    assert stamp(before.metadata["pid"])


@ensure
async def test_of_one_component_one_thing_is_done_at_a_time(world):
    answers = await gatherResults([ensureDeferred(world.spawn("good")) for _ in range(5)])
    assert sorted(answer["_type"] for answer in answers) == ["Failed"] * 4 + ["Spawned"]
    assert "is being spawned here at this moment" in answers[1]["msg"]


@ensure
async def test_too_many_at_once_are_refused(world, monkeypatch):
    monkeypatch.setattr(spawning, "MOST_AT_ONCE", 2)
    answers = await gatherResults([ensureDeferred(world.spawn(f"good-{number}")) for number in range(3)])
    assert [answer["_type"] for answer in answers] == ["Spawned", "Spawned", "Failed"]
    assert "2 requests are under way here" in answers[2]["msg"]


@ensure
async def test_files_that_take_too_long_are_not_waited_for(world, monkeypatch):
    blocked = threads.deferToThreadPool  # a thread that never comes back, and costs the tests none
    monkeypatch.setattr(threads, "deferToThreadPool", lambda *_args, **_keywords: Deferred())
    answer = await world.spawn("good")
    monkeypatch.setattr(threads, "deferToThreadPool", blocked)
    assert "files have not been read within 0.5 s" in answer["msg"]


@ensure
async def test_at_the_end_what_is_being_spawned_is_taken_back(world):
    spawning_it = ensureDeferred(world.spawn("silent"))
    await world.until(lambda: world.pid("silent"))
    await world.spawner.close()
    assert f"has not been spawned: the spawn agent {PREFIX} ends" in (await spawning_it)["msg"]
    assert world.pid("silent") is None
    assert "about to end" in (await world.spawn("good"))["msg"]


# Killing


@ensure
async def test_what_is_killed_has_gone(world):
    await world.spawn("good")
    pid = world.pid("good")
    assert await world.kill("good") == KILLED
    assert stamp(pid) is None
    assert component("good") not in world.router.table


@ensure
async def test_what_is_deaf_is_killed_too(world):
    await world.spawn("deaf")
    assert await world.kill("deaf") == KILLED


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"pid": 4711, "host": "elsewhere"}, f"is on another machine: on elsewhere, and this is {HOST}"),
        ({"pid": 4711, "agentPrefix": "ESW.other"}, "was started by another spawn agent: ask ESW.other"),
        ({}, "has no pid that could be killed"),
        ({"pid": "4711"}, "has no pid that could be killed"),
        ({"pid": True}, "has no pid that could be killed"),
        ({"pid": 1}, "has no pid that could be killed"),
        ({"pid": -5}, "has no pid that could be killed"),
        ({"pid": 2**22 + 1}, "but there is none on this machine"),
        ({"pid": os.getppid(), "started": 1.0}, "which is another by now"),
    ],
)
@ensure
async def test_what_is_not_ours_to_kill_is_not_killed(world, metadata, why):
    world.router.enter(component("good"), **metadata)
    world.router.enter(spawner_called("other"), pid=1)
    with mock.patch.object(ending, "send") as send:
        assert why in (await world.kill("good"))["msg"]
    assert not send.called


def spawner_called(name):
    return ComponentId(Prefix("ESW", name), "Machine")


@ensure
async def test_what_is_not_registered_is_killed_if_that_is_wanted(world):
    await world.spawn("good")
    del world.router.table[component("good")]
    pid = world.pid("good")
    assert f"is not registered; a process of it, {pid}, is here" in (await world.kill("good"))["msg"]
    assert await world.kill("good", unregistered=True) == KILLED
    assert stamp(pid) is None


@ensure
async def test_what_cannot_be_killed_is_said_to_be_there(world):
    await world.spawn("good")
    with mock.patch.object(ending, "send"):
        answer = await world.kill("good")
    assert answer["msg"] == f"SequenceComponent ESW.good cannot be killed: still here are process {world.pid('good')}"


@ensure
async def test_what_the_router_does_not_lose_is_not_said_to_be_killed(world):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # noqa: ASYNC220 - milliseconds
    world.router.enter(component("byhand"), pid=process.pid)
    answer = await world.kill("byhand")
    assert "has ended, but the router does not say so" in answer["msg"]
    assert process.wait() == -signal.SIGTERM


# The next spawn agent


@ensure
async def test_the_next_spawn_agent_settles_what_had_not_registered(world, tmp_path):
    name = child_name(component("silent"))
    world.children.start(wanted("silent"), world.children.commands.make(name, wanted("silent")))
    await world.until(lambda: world.pid("silent"))
    pid = world.pid("silent")
    following = await world.succeeded(tmp_path)
    assert following.pid("silent") == pid
    assert not following.children.is_confirmed(name)
    assert "has not registered" in (await following.spawner.settle(name))["msg"]
    assert stamp(pid) is None
    await following.end()


@ensure
async def test_the_report_tells_what_has_become_of_each(world):
    await world.spawn("good")
    await world.spawn("exits")
    told = report(world.children, world.place, {})
    good, exits = (told["children"][f"SequenceComponent.ESW.{name}"] for name in ("good", "exits"))
    assert (told["prefix"], told["host"], told["trouble"]) == (str(PREFIX), HOST, "")
    assert (good["state"], good["pid"], good["exits"]) == ("running", world.pid("good"), [])
    assert (exits["state"], exits["pid"], exits["exits"][0]["code"]) == ("ended", None, 1)
    assert (
        report(world.children, world.place, {component("good"): "killed"})["children"]["SequenceComponent.ESW.good"][
            "state"
        ]
        == "killed"
    )
    del world.router.table[component("good")]
    assert report(world.children, world.place, {})["children"]["SequenceComponent.ESW.good"]["state"] == "unregistered"


NAMES = ("good", "silent", "exits", "deaf")


class Life:
    """What may happen to components, in any order; after each answer one is there and registered, or has no process."""

    def __init__(self, world, path, chance):
        self.world, self.path, self.chance = world, path, chance
        self.seen = set()

    async def spawn(self, name):
        expected = name in ("good", "deaf") and component(name) not in self.world.router.table
        answer = await self.world.spawn(name)
        if pid := self.world.pid(name):
            self.seen.add((pid, stamp(pid)))
        assert (answer == SPAWNED) == (expected and self.world.router.is_there), answer

    async def kill(self, name):
        expected = component(name) in self.world.router.table and self.world.router.is_there
        answer = await self.world.kill(name)
        assert (answer == KILLED) == expected, answer

    async def die(self, name):
        if pid := self.world.pid(name):
            os.kill(pid, signal.SIGKILL)
            await self.world.until(lambda: not self.world.children.is_alive(child_name(component(name))))

    async def router_comes_or_goes(self, _name):
        self.world.router.is_there = not self.world.router.is_there
        self.world.bell.ring()

    async def spawn_agent_is_replaced(self, _name):
        before = {name: self.world.pid(name) for name in NAMES}
        self.world = await self.world.succeeded(self.path)
        assert {name: self.world.pid(name) for name in NAMES} == before

    def check(self):
        here = {self.world.pid(name) for name in NAMES} - {None}
        assert {pid for pid, created in self.seen if stamp(pid) == created} == here
        assert {found.metadata["pid"] for found in self.world.router.table.values()} == here


@pytest.mark.parametrize("walk", range(4))
@ensure
async def test_whatever_happens_a_component_is_there_or_is_not(tmp_path, walk):
    seed = time.time_ns() + walk
    print(f"seed {seed}")
    life = Life(World(tmp_path), tmp_path, random.Random(seed))
    steps = [life.spawn, life.spawn, life.kill, life.die, life.router_comes_or_goes, life.spawn_agent_is_replaced]
    try:
        for _ in range(20):
            step, name = life.chance.choice(steps), life.chance.choice(NAMES)
            print(step.__name__, name)
            await step(name)
            life.check()
    finally:
        life.world.router.is_there = True
        await life.world.end()
