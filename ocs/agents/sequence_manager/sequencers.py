"""Loading and unloading sequencers in sequence components, over WAMP: all of a mode's, or none."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.task import deferLater

from ocs.agents.sequence_manager.obs_modes import SequencerWanted
from ocs.client_t import AsyncOCSClient
from ocs.clients.reply import check_reply
from ocs.components.names import ComponentId, Prefix
from ocs.errors import OCSError, SequenceError

__all__ = ["Sequencers", "Trouble"]

_LOAD_TIME = 60.0
"""How long a script may take to be loaded, in seconds: its imports count."""
_NOTICE_TIME = 10.0
"""How long the router's word of a sequencer's beginning or end may take, in seconds."""
_ASK_AGAIN = 0.05

Trouble = str
Find = Callable[[ComponentId], Any]


class Sequencers:
    """Has sequence components load and unload scripts.

    Args:
        session: the agent whose WAMP session makes the calls, and its reactor.
        find: returns a component's description, None where there is none.
        address_root: the first part of all agents' addresses.
    """

    def __init__(self, session: Any, find: Find, address_root: str) -> None:
        self._session = session
        self._find = find
        self._root = address_root

    async def load_all(self, chosen: Mapping[SequencerWanted, Prefix]) -> list[Trouble]:
        """Load each sequencer in its sequence component; where one cannot be, unload those that were.

        Args:
            chosen: sequencer → sequence component.

        Returns:
            What went wrong; nothing where all are loaded and the router knows them.
        """
        pairs = list(chosen.items())
        troubles = await _each([self._load(*pair) for pair in pairs])
        if not any(troubles):
            return []
        undone = [place for (_, place), trouble in zip(pairs, troubles, strict=True) if trouble is None]
        more = await _each([self._undo(place) for place in undone])
        return [trouble for trouble in (*troubles, *more) if trouble]

    async def unload_all(self, places: Mapping[Prefix, Prefix], *, force: bool) -> list[Trouble]:
        """Unload sequencers.

        Args:
            places: sequencer → sequence component.
            force: abort sequences that run.

        Returns:
            What went wrong.
        """
        troubles = await _each([self._unload(each, place, force=force) for each, place in places.items()])
        return [trouble for trouble in troubles if trouble]

    async def _load(self, wanted: SequencerWanted, place: Prefix) -> None:
        mode, subsystem = wanted.prefix.name, wanted.prefix.subsystem
        await self._run(place, "load_script", obs_mode=mode, script=wanted.script, subsystem=subsystem)
        await self._noticed(wanted.prefix, there=True)

    async def _undo(self, place: Prefix) -> None:
        await self._run(place, "unload_script", force=False)

    async def _unload(self, sequencer: Prefix, place: Prefix, *, force: bool) -> None:
        await self._run(place, "unload_script", force=force)
        await self._noticed(sequencer, there=False)

    async def _run(self, place: Prefix, task: str, **params: Any) -> None:
        """Run a task of a sequence component."""
        described = self._find(ComponentId(place, "SequenceComponent"))
        instance = None if described is None else described.metadata.get("instanceId")
        if not isinstance(instance, str):
            raise SequenceError(f"{place} is gone, or does not say which agent it is")
        client = await AsyncOCSClient.connect(self._session, f"{self._root}.{instance}")
        calling = getattr(client, task)(**params)
        calling.addTimeout(_LOAD_TIME, self._session.reactor, lambda *_: _too_long(place, task))
        check_reply(await calling, str(place), task, "wait", outcome=True)

    async def _noticed(self, sequencer: Prefix, *, there: bool) -> None:
        """Wait until the router's own word has come, so that what is decided next is decided rightly."""
        component = ComponentId(sequencer, "Sequencer")
        until = self._session.reactor.seconds() + _NOTICE_TIME
        while (self._find(component) is not None) != there:
            if self._session.reactor.seconds() > until:
                word = "to be registered" if there else "to be gone"
                raise SequenceError(f"{sequencer} ought {word} and is not, {_NOTICE_TIME:g} s later")
            await deferLater(self._session.reactor, _ASK_AGAIN)


def _too_long(place: Prefix, task: str) -> Any:
    raise SequenceError(f"{place}: {task} has not ended in {_LOAD_TIME:g} s")


async def _each(works: Sequence[Awaitable[None]]) -> list[Trouble | None]:
    """Do several things at the same time; return what went wrong with each."""
    running: list[Deferred[None]] = [ensureDeferred(work) for work in works]  # type: ignore[arg-type]
    return [_told(result) for _, result in await DeferredList(running, consumeErrors=True)]


def _told(result: Any) -> Trouble | None:
    if result is None:
        return None
    if result.check(OCSError, AttributeError):  # AttributeError: an agent that has no such task
        return str(result.value)
    result.raiseException()
    return None
