"""Ending a process with all its family: told first, leaves before roots, then killed, until none is left."""

import signal
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from ocs.agents.spawn_agent.family import Member, find_family, send, still_there

__all__ = ["Ender"]

HEAD_START = 1.0
"""How long descendants get before the process itself is told, if they do not end at once, in seconds: its end would
be theirs."""

PATIENCE = 10.0
"""Between SIGTERM and SIGKILL, in seconds."""

_LOOK_INTERVAL = 0.02
_LATER_LOOK_INTERVAL = 0.2
_SOON = 1.0
"""How often it is looked whether processes have ended: within a second, in which most end, and later; in seconds."""

_LOOK_AGAIN = 1.0
"""How long the killed get to be gone before the family is listed again, in seconds."""


class Ender:
    """Ends families of processes.

    Args:
        reactor: keeps the time, and lends the threads in which processes are listed.
        find: lists a family; see `find_family`.
    """

    def __init__(self, reactor: Any, find: Callable[[Member, str], list[Member]] = find_family) -> None:
        self._reactor = reactor
        self._find = find

    async def end(self, root: Member, mark: str, within: float) -> list[Member]:
        """Tell a process and its family to end, and kill after 10 s what has not.

        Args:
            root: the process.
            mark: what its family has in its environment, or an empty text.
            within: how long the killed get to be gone, in seconds.

        Returns:
            Those that cannot be ended.
        """
        family = await self._list(root, mark)
        below = [member for member in family if member != root]
        send(below, signal.SIGTERM)
        await self._until_gone(below, HEAD_START)
        send([root], signal.SIGTERM)
        await self._until_gone(family, PATIENCE)
        return await self.kill(root, mark, within, family)

    async def kill(self, root: Member, mark: str, within: float, known: Iterable[Member] = ()) -> list[Member]:
        """Kill a process and its family, again and again, until none is left.

        Args:
            root: the process.
            mark: what its family has in its environment, or an empty text.
            within: when that is given up, in seconds.
            known: members that were seen before.

        Returns:
            Those that cannot be ended.
        """
        deadline = self._reactor.seconds() + within
        family = dict.fromkeys(known)
        while True:
            family.update(dict.fromkeys(await self._list(root, mark)))
            left, time_left = still_there(family), deadline - self._reactor.seconds()
            if not left or time_left <= 0:
                return left
            # The root first: it could start others in the place of those that it misses.
            send(sorted(left, key=lambda member: member != root), signal.SIGKILL)
            await self._until_gone(left, min(time_left, _LOOK_AGAIN))

    async def _list(self, root: Member, mark: str) -> list[Member]:
        pool = self._reactor.getThreadPool()
        found: list[Member] = await deferToThreadPool(self._reactor, pool, self._find, root, mark)
        return found

    async def _until_gone(self, members: list[Member], within: float) -> None:
        began = self._reactor.seconds()
        while still_there(members) and (waited := self._reactor.seconds() - began) < within:
            await deferLater(self._reactor, _LOOK_INTERVAL if waited < _SOON else _LATER_LOOK_INTERVAL)
