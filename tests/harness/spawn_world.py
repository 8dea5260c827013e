"""A spawner with real small processes, and a router that is a table: its parts, for tests without WAMP."""

import sys
from dataclasses import replace

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater

from ocs.agents.spawn_agent.bell import Bell
from ocs.agents.spawn_agent.children import Children, child_name
from ocs.agents.spawn_agent.commands import Commands
from ocs.agents.spawn_agent.ending import Ender
from ocs.agents.spawn_agent.place import Place
from ocs.agents.spawn_agent.requests import spawn_request
from ocs.agents.spawn_agent.spawning import Spawner
from ocs.components.description import Description
from ocs.components.names import Prefix
from ocs.supervisor.proc import stamp
from ocs.wamp.lean_autobahn import ApplicationError

HOST = "machine1"
PREFIX = Prefix("ESW", HOST)

_RUNS = "import time; print('runs', flush=True); time.sleep(600)"
_DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('runs', flush=True); time.sleep(600)"
_EXITS = "import sys; sys.exit('there is no filter wheel')"

PROGRAMS = {"exits": _EXITS, "deaf": _DEAF}
"""What components do, by the first word of their names; others run until they are ended."""


def wanted(name):
    return spawn_request({"kind": "SequenceComponent", "componentName": name}, "ESW")


def component(name):
    return wanted(name).component


class TableRouter:
    """What is registered; stands in for the locator."""

    def __init__(self):
        self.is_there, self.table, self.silent, self.without_address = True, {}, set(), set()

    def find(self, wanted_component):
        return self.table.get(wanted_component) if self.is_there else None

    def serves(self, wanted_component):
        return self.find(wanted_component) is not None and wanted_component not in self.without_address

    def of_type(self, component_type):
        return [found for found in self.table.values() if found.component.component_type == component_type]

    def enter(self, of, **metadata):
        self.table[of] = Description(of, f"uri.{of}", {"host": HOST, **metadata})

    def call(self, uri):
        if uri in self.silent:
            return Deferred()
        found = [each for each in self.table.values() if each.uri == uri]
        return succeed({}) if found else fail(ApplicationError("wamp.error.no_such_procedure"))


class SmallCommands(Commands):
    """Commands of small programs."""

    def make(self, name, one):
        program = PROGRAMS.get(one.component.prefix.name.partition("-")[0], _RUNS)
        return replace(self.command(name), argv=(sys.executable, "-I", "-S", "-c", program))


class World:
    """A spawn agent without WAMP; components register unless their names say ``silent``."""

    def __init__(self, tmp_path, router=None):
        self.router, self.state = router or TableRouter(), tmp_path / "state"
        self.reactor, self.bell = reactor, Bell(reactor)
        self.others_are_back, self.is_closed = True, False
        commands = SmallCommands(str(PREFIX), tmp_path, mark=str(self.state))
        self.children = Children(reactor, commands, self.state, self.changed)
        place = Place(
            PREFIX, HOST, self.router, lambda: self.router.is_there, self.router.call, lambda: self.others_are_back
        )
        self.place, self.spawner = place, Spawner(reactor, place, self.children, self.bell, Ender(reactor))

    def changed(self):
        """Do what components and router would do about a change."""
        for name, record in self.children.records.items():
            known, process = self.router.table.get(record.component), self.children.process(name)
            if process and "silent" not in name and "exits" not in name:
                if known is None:
                    self.router.enter(record.component, pid=process.pid)
            elif known and stamp(known.metadata.get("pid", -1)) is None and known.metadata.get("host") == HOST:
                del self.router.table[record.component]
        self.bell.ring()

    def pid(self, name):
        process = self.children.process(child_name(component(name)))
        return process.pid if process else None

    async def until(self, condition, within=10.0):
        end = reactor.seconds() + within
        while not condition():
            assert reactor.seconds() < end, "what the test waits for did not happen"
            await deferLater(reactor, 0.01)

    async def spawn(self, name):
        return await self.spawner.spawn(wanted(name))

    async def kill(self, name, **keywords):
        return await self.spawner.kill(component(name), **keywords)

    async def succeeded(self, tmp_path):
        """End the spawn agent, leaving its children, and return the next one."""
        await self.spawner.close()
        await self.children.close()
        self.is_closed = True
        following = World(tmp_path, self.router)
        following.children.take_over()
        return following

    async def end(self):
        """End all, unless that is the next one's."""
        if self.is_closed:
            return
        for name in list(self.children.records):
            if process := self.children.process(name):
                await Ender(reactor).kill(process, self.children.commands.mark_of(name), 5.0)
            await self.until(lambda name=name: not self.children.is_alive(name))
        await self.children.close()
