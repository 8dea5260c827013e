"""Spawning and killing by their numbered steps: a component is exactly there, or exactly not there."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from ocs.agents.spawn_agent.answers import KILLED, SPAWNED, Answer, failed
from ocs.agents.spawn_agent.bell import Bell
from ocs.agents.spawn_agent.children import Children, child_name
from ocs.agents.spawn_agent.ending import Ender
from ocs.agents.spawn_agent.family import Member
from ocs.agents.spawn_agent.identity import process_of
from ocs.agents.spawn_agent.place import Place, named, where
from ocs.agents.spawn_agent.requests import Wanted
from ocs.components.names import ComponentId
from ocs.errors import OCSError, SpawnError
from ocs.supervisor import Command

__all__ = ["Spawner"]

REGISTERS_WITHIN = 18.0
"""How long a component may take to register, from the request on, in seconds."""

CLEARED_WITHIN = 1.5
"""How long what has failed may take to be gone, in seconds, so that the whole call ends within 20 s."""

KILLED_WITHIN = 5.0
"""How long what has been killed may take to be gone, from the machine and from the router, in seconds."""

KNOWN_WITHIN = 5.0
"""How long it may take until it is known what is registered, after the router was away, in seconds."""

COMES_BACK_WITHIN = 6.0
"""How long a component that is here, but not registered, is given to come back, in seconds: agents try every 5 s."""

MOST_AT_ONCE = 50
"""How many components are spawned and killed at the same time."""

_LINES = 10
"""How many of the last lines that a component has printed are told."""


class Spawner:
    """Spawns and kills components; belongs to the reactor's thread.

    Args:
        reactor: keeps the time and lends threads.
        place: tells what is registered, and where.
        children: starts processes, and knows them.
        bell: rung when a component comes or goes, and when a process ends.
        ender: ends processes.
    """

    log = Logger()

    def __init__(self, reactor: Any, place: Place, children: Children, bell: Bell, ender: Ender) -> None:
        self.busy: dict[ComponentId, str] = {}
        """What is being done about components now: ``spawned`` or ``killed``."""
        self._reactor = reactor
        self._place = place
        self._children = children
        self._bell = bell
        self._ender = ender
        self._is_ending = False

    async def spawn(self, wanted: Wanted) -> Answer:
        """Bring a component to life.

        Args:
            wanted: the component.

        Returns:
            ``Spawned``, or ``Failed`` with the reason; within 20 s.
        """
        return await self._alone(wanted.component, "spawned", lambda: self._spawn(wanted))

    async def kill(self, component: ComponentId, *, unregistered: bool = False) -> Answer:
        """End a component and all that it has started.

        Args:
            component: the component.
            unregistered: end it also if it is not registered, but its process is here.

        Returns:
            ``Killed``, or ``Failed`` with the reason.
        """
        return await self._alone(component, "killed", lambda: self._kill(component, unregistered=unregistered))

    async def settle(self, name: str) -> Answer:
        """See that a child that has been taken over before it had registered does so, or is not left behind.

        Args:
            name: the child.
        """
        component = self._children.records[name].component
        return await self._alone(component, "spawned", lambda: self._see_registered(component, name, self._deadline()))

    async def close(self) -> None:
        """Take back the spawns that are under way, and wait until all work is over."""
        self._is_ending = True
        self._bell.ring()
        await self._bell.until(lambda: not self.busy, self._reactor.seconds() + KILLED_WITHIN)

    async def _alone(self, component: ComponentId, what: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do something about a component, if nothing else is being done about it."""
        if doing := self.busy.get(component):
            return failed(f"{named(component)} is being {doing} here at this moment")
        if self._is_ending or len(self.busy) >= MOST_AT_ONCE:
            why = "it is about to end" if self._is_ending else f"{MOST_AT_ONCE} requests are under way here"
            return failed(f"{named(component)} cannot be {what} by {self._place.prefix} now: {why}")
        self.busy[component] = what
        try:
            return await work()
        except (OCSError, OSError) as error:
            return failed(str(error))
        finally:
            del self.busy[component]
            self._bell.ring()

    # Spawning

    async def _spawn(self, wanted: Wanted) -> Answer:
        component, name, deadline = wanted.component, child_name(wanted.component), self._deadline()
        await self._know()
        self._refuse_if_registered(component)
        command = await self._prepare(name, wanted)
        await self._clear(component, name)
        self._refuse_if_registered(component)
        self._children.start(wanted, command)
        return await self._see_registered(component, name, deadline)

    def _deadline(self) -> float:
        return float(self._reactor.seconds()) + REGISTERS_WITHIN

    async def _know(self) -> None:
        """Wait until it is known what is registered."""
        if not await self._bell.until(self._place.is_complete, self._reactor.seconds() + KNOWN_WITHIN):
            raise SpawnError(f"{self._place.prefix} does not know what is registered: the router does not tell")

    def _refuse_if_registered(self, component: ComponentId) -> None:
        if found := self._place.directory.find(component):
            raise SpawnError(f"{named(component)} is registered already: {where(found)}")

    async def _prepare(self, name: str, wanted: Wanted) -> Command:
        pool, make = self._reactor.getThreadPool(), self._children.commands.make
        command: Command = await deferToThreadPool(self._reactor, pool, make, name, wanted)
        return command

    async def _clear(self, component: ComponentId, name: str) -> None:
        """End what is left of an earlier run, if that does not come back by itself."""
        if not self._children.is_alive(name):
            return
        find, until = self._place.directory.find, self._reactor.seconds() + COMES_BACK_WITHIN
        await self._bell.until(lambda: find(component) or not self._children.is_alive(name), until)
        self._refuse_if_registered(component)
        if self._children.is_alive(name):
            self.log.warn("{name} runs, but has not come back to the router: it is replaced", name=name)
            await self._end_child(name, KILLED_WITHIN)

    async def _see_registered(self, component: ComponentId, name: str, deadline: float) -> Answer:
        """Wait until a child has registered its component; end it if it does not."""
        await self._bell.until(lambda: self._is_decided(component, name), deadline)
        if self._is_there(component, name):
            self._children.confirm(name)
            return SPAWNED
        reason = self._why_not(component, name)
        left = await self._clear_away(name)
        lines = "\n".join(self._children.last_lines(name, _LINES))
        return failed("".join([reason, left, f"; its last lines:\n{lines}" if lines else ""]))

    def _is_decided(self, component: ComponentId, name: str) -> bool:
        is_known = self._place.is_complete() and self._place.directory.find(component) is not None
        return is_known or self._is_ending or not self._children.is_alive(name)

    def _is_there(self, component: ComponentId, name: str) -> bool:
        process = self._children.process(name)
        return process is not None and self._place.is_process(self._place.directory.find(component), process.pid)

    def _why_not(self, component: ComponentId, name: str) -> str:
        """Return why a child has not become what it should have."""
        child, process, found = self._children.child(name), self._children.process(name), None
        if process and (found := self._place.directory.find(component)):
            return f"{named(component)} has been registered by another at the same time: {where(found)}"
        if self._is_ending:
            return f"{named(component)} has not been spawned: the spawn agent {self._place.prefix} ends"
        if process is None:
            return f"{named(component)} has ended before it registered: {child and child.state.last_exit}"
        other = self._place.also_as(process.pid, component)
        instead = f", but as {other}" if other else ""
        return f"{named(component)} has not registered within {REGISTERS_WITHIN:g} s{instead}"

    async def _clear_away(self, name: str) -> str:
        """Leave nothing of a failed child; return in words what is left nevertheless."""
        left = await self._end_child(name, CLEARED_WITHIN)
        return f"; it cannot be killed, and is still here: {_pids(left)}" if left else ""

    async def _end_child(self, name: str, within: float) -> list[Member]:
        until = self._reactor.seconds() + within
        process = self._children.process(name) or _NOBODY
        left = await self._ender.kill(process, self._children.commands.mark_of(name), within)
        await self._bell.until(lambda: not self._children.is_alive(name), until)
        return left or ([process] if self._children.is_alive(name) else [])

    # Killing

    async def _kill(self, component: ComponentId, *, unregistered: bool) -> Answer:
        await self._know()
        name, found = child_name(component), self._place.directory.find(component)
        own = self._children.process(name)
        if found is None and not (own and unregistered):
            hint = f"; a process of it, {own.pid}, is here: the task kill(unregistered=True) ends it" if own else ""
            raise SpawnError(f"{named(component)} is not registered{hint}")
        if found is None or (own and "pid" not in found.metadata):
            process = own or _NOBODY
        else:
            process = process_of(found, self._place.pid_here(found))
        await self._end(component, process)
        return KILLED

    async def _end(self, component: ComponentId, process: Member) -> None:
        name = self._children.by_pid(process.pid) or ""
        mark = self._children.commands.mark_of(name) if name else ""
        if left := await self._ender.end(process, mark, KILLED_WITHIN):
            raise SpawnError(f"{named(component)} cannot be killed: still here are {_pids(left)}")
        until = self._reactor.seconds() + KILLED_WITHIN
        if not await self._bell.until(lambda: self._is_gone(component, name, process), until):
            raise SpawnError(f"{named(component)} has ended, but the router does not say so: it may be cut off from it")

    def _is_gone(self, component: ComponentId, name: str, process: Member) -> bool:
        found = self._place.directory.find(component)
        is_lost = self._place.is_complete() and not self._place.is_process(found, process.pid)
        return is_lost and not (name and self._children.is_alive(name))


_NOBODY = Member(-1, "")


def _pids(members: list[Member]) -> str:
    return ", ".join(f"process {member.pid}" for member in members)
