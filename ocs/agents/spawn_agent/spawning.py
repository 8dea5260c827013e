"""Spawning and killing by their numbered steps: a component is exactly there, or exactly not there."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger

from ocs.agents.spawn_agent.answers import KILLED, SPAWNED, Answer, failed
from ocs.agents.spawn_agent.bell import Bell
from ocs.agents.spawn_agent.children import Children, child_name
from ocs.agents.spawn_agent.ending import Ender
from ocs.agents.spawn_agent.family import Member
from ocs.agents.spawn_agent.identity import process_of
from ocs.agents.spawn_agent.place import Place
from ocs.agents.spawn_agent.requests import Wanted
from ocs.agents.spawn_agent.reunion import COMES_BACK_WITHIN
from ocs.agents.spawn_agent.threads import in_thread
from ocs.components.names import ComponentId
from ocs.errors import OCSError, SpawnError
from ocs.supervisor import Command

__all__ = ["Spawner"]

REGISTERS_WITHIN = 18.0
"""How long a component may take to register, from the request on, in seconds. What goes before its start is never
longer: 7 s until all is known, 3 s for files, twice 2 s for an answer, and 1.2 s for what is in the way."""

CLEARED_WITHIN = 1.2
"""How long what has failed may take to be gone, in seconds, so that the whole call ends within 20 s."""

KILLED_WITHIN = 5.0
"""How long what has been killed may take to be gone, from the machine and from the router, in seconds."""

KNOWN_WITHIN = 7.0
"""How long it may take until it is known what is registered, after the router was away, in seconds."""

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
            return failed(f"{component} is being {doing} here at this moment")
        if self._is_ending or len(self.busy) >= MOST_AT_ONCE:
            why = "it is about to end" if self._is_ending else f"{MOST_AT_ONCE} requests are under way here"
            return failed(f"{component} cannot be {what} by {self._place.prefix} now: {why}")
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
        comes_back_until = self._reactor.seconds() + COMES_BACK_WITHIN
        await self._know(self._place.others_are_back)
        await self._refuse_if_registered(component)
        command = await self._prepare(name, wanted)
        await self._clear(component, name, comes_back_until)
        await self._refuse_if_registered(component)
        self._refuse_if_ending(component)
        self._children.start(wanted, command)
        return await self._see_registered(component, name, deadline)

    def _deadline(self) -> float:
        return float(self._reactor.seconds()) + REGISTERS_WITHIN

    async def _know(self, also: Callable[[], bool] = lambda: True) -> None:
        """Wait until it is known what is registered."""
        until = self._reactor.seconds() + KNOWN_WITHIN
        if not await self._bell.until(lambda: self._place.is_complete() and also(), until):
            raise SpawnError(f"{self._place.prefix} does not know what is registered: the router does not tell")

    async def _refuse_if_registered(self, component: ComponentId) -> None:
        found = self._place.directory.find(component)
        if found is None:
            return
        silent = "" if await self._place.answers(self._reactor, found) else _NO_ANSWER
        # One that has gone while it was asked is in nobody's way.
        if self._place.directory.find(component):
            raise SpawnError(f"{component} is registered already: {found.where()}{silent}")

    def _refuse_if_ending(self, component: ComponentId) -> None:
        if self._is_ending:
            raise SpawnError(f"{component} has not been spawned: the spawn agent {self._place.prefix} ends")

    async def _prepare(self, name: str, wanted: Wanted) -> Command:
        return await in_thread(self._reactor, self._children.commands.make, name, wanted)

    async def _clear(self, component: ComponentId, name: str, comes_back_until: float) -> None:
        """End what is left of an earlier run, if that does not come back by itself."""
        if name not in self._children.records:
            return
        find, is_alive = self._place.directory.find, self._children.is_alive
        await self._bell.until(lambda: find(component) or not is_alive(name), comes_back_until)
        if find(component):
            return
        if is_alive(name):
            self.log.warn("{name} runs, but has not come back to the router: it is replaced", name=name)
        # Of one that has ended by itself daemons may be left.
        if left := await self._clear_away(name):
            raise SpawnError(f"{component} is not spawned: something of its last run is in the way{left}")

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
        # An agent takes its address, and says which process it is: whichever comes first, both are waited for.
        found = self._place.directory.find(component) if self._place.is_complete() else None
        is_known = found is not None and "pid" in found.metadata and self._place.directory.serves(component)
        return is_known or self._is_ending or not self._children.is_alive(name)

    def _is_there(self, component: ComponentId, name: str) -> bool:
        return self._says_so(component, name) and self._place.directory.serves(component)

    def _says_so(self, component: ComponentId, name: str) -> bool:
        process = self._children.process(name)
        return process is not None and self._place.says_it_is(self._place.directory.find(component), process.pid)

    def _why_not(self, component: ComponentId, name: str) -> str:
        """Return why a child has not become what it should have."""
        child, process, found = self._children.child(name), self._children.process(name), None
        if self._says_so(component, name) and not self._is_ending:
            return f"{component} runs, and has not got its address, which another connection may hold"
        if process and (found := self._place.directory.find(component)):
            return f"{component} has been registered by another at the same time: {found.where()}"
        if self._is_ending:
            return f"{component} has not been spawned: the spawn agent {self._place.prefix} ends"
        if process is None:
            return f"{component} has ended before it registered: {child and child.state.last_exit}"
        other = self._place.also_as(process.pid, component)
        instead = f", but as {other}" if other else ""
        return f"{component} has not registered within {REGISTERS_WITHIN:g} s{instead}"

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
        await self._end(component, self._process_to_kill(component, unregistered=unregistered))
        return KILLED

    def _process_to_kill(self, component: ComponentId, *, unregistered: bool) -> Member:
        found, own = self._place.directory.find(component), self._children.process(child_name(component))
        # What has been started here is known without its own words.
        if own and (self._place.is_process(found, own.pid) or (found is None and unregistered)):
            return own
        if found is None:
            hint = f"; a process of it, {own.pid}, is here: the task kill(unregistered=True) ends it" if own else ""
            raise SpawnError(f"{component} is not registered{hint}")
        return process_of(found, self._place.pid_here(found))

    async def _end(self, component: ComponentId, process: Member) -> None:
        name = self._children.by_pid(process.pid) or ""
        mark = self._children.commands.mark_of(name) if name else ""
        if left := await self._ender.end(process, mark, KILLED_WITHIN):
            raise SpawnError(f"{component} cannot be killed: still here are {_pids(left)}")
        until = self._reactor.seconds() + KILLED_WITHIN
        if not await self._bell.until(lambda: self._is_gone(component, name, process), until):
            raise SpawnError(f"{component} has ended, but the router does not say so: it may be cut off from it")

    def _is_gone(self, component: ComponentId, name: str, process: Member) -> bool:
        found = self._place.directory.find(component)
        is_lost = self._place.is_complete() and not self._place.is_process(found, process.pid)
        return is_lost and not (name and self._children.is_alive(name))


_NOBODY = Member(-1, "")

_NO_ANSWER = "; it does not answer: its machine may be cut off, which the router takes up to 70 s to notice"


def _pids(members: list[Member]) -> str:
    return ", ".join(f"process {member.pid}" for member in members)
