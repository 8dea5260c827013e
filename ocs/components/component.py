"""Being a component: an agent registers a name of which the router allows one, and describes itself under it."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import deferLater

from ocs.components.description import Description
from ocs.components.names import ComponentId, agent_of, uri_of
from ocs.core.membership import callees
from ocs.errors import ComponentTakenError
from ocs.wamp.lean_autobahn import ApplicationError, RegisterOptions, TransportLost

__all__ = ["SPAWNED_BY", "Component", "be_agent", "own_metadata"]

SPAWNED_BY: Final = "OCS_SPAWNED_BY"
"""The variable by which a SpawnAgent tells what it starts who has started it: its own prefix."""

_TAKEN: Final = "wamp.error.procedure_already_exists"
_TRY_AGAIN: Final = 1.0
_REMEMBERED: Final = 100
"""How many of our earlier WAMP sessions we know again."""
_ANSWERS_WITHIN: Final = 2.0
"""How long who has our name may take to say where it is, in seconds."""
_COMPLAIN_EVERY: Final = 30.0


def own_metadata() -> dict[str, Any]:
    """Return what every component says of its process: ``pid``, ``host``, and ``agentPrefix`` if it was spawned."""
    spawned_by = os.environ.get(SPAWNED_BY)
    return {"pid": os.getpid(), "host": socket.gethostname(), **({"agentPrefix": spawned_by} if spawned_by else {})}


class Component:
    """Keeps an agent registered as a component, and as further ones, over all reconnects.

    Args:
        agent: the agent; it has not been run yet.
        component: what it is.
        metadata: what it says of itself; pid, host, start and SpawnAgent it says by itself.
        on_taken: called with one line when another has the name; unless given, the agent ends with that line.
    """

    def __init__(
        self,
        agent: Any,
        component: ComponentId,
        metadata: Mapping[str, Any],
        *,
        on_taken: Callable[[str], None] | None = None,
    ) -> None:
        self._agent = agent
        self._on_taken = on_taken or agent.give_up
        self._root = agent.agent_address.rpartition(".")[0]
        self._started = time.time()
        self._wanted: dict[ComponentId, Mapping[str, Any]] = {component: metadata}
        self._held: dict[ComponentId, Any] = {}
        self._complained = float("-inf")
        self._earlier: deque[int] = deque(maxlen=_REMEMBERED)
        # The agent itself takes note of the join after all who listen for it.
        agent.on("join", lambda _, details: agent.reactor.callLater(0, self._joined, details.session))

    def add(self, component: ComponentId, metadata: Mapping[str, Any]) -> "Deferred[Any]":
        """Be a further component, from now on.

        Args:
            component: what to be.
            metadata: what to say of it.

        Returns:
            A Deferred that fires when the router has it, or once it is noted while the router is away. It fails with
            `ComponentTakenError` if another has the name.
        """
        self._wanted[component] = metadata
        session = self._earlier[-1] if self._earlier else None
        if session is None or not self._agent.is_current(session):
            return succeed(None)
        return ensureDeferred(self._hold(component, session, waits=False)).addErrback(self._unwant, component)

    def _unwant(self, failure: Any, component: ComponentId) -> Any:
        self._wanted.pop(component, None)
        return failure

    def remove(self, component: ComponentId) -> "Deferred[Any]":
        """Be a component no more; it is no mistake if it was none.

        Returns:
            A Deferred that fires when the router has noted it, or is away.
        """
        self._wanted.pop(component, None)
        held = self._held.pop(component, None)
        if held is None or not held.active or not self._agent.realm_joined:
            return succeed(None)
        undoing: Deferred[Any] = held.unregister()
        return undoing.addErrback(lambda failure: failure.trap(ApplicationError, TransportLost) and None)

    def _joined(self, session: int) -> None:
        if not self._agent.is_current(session):
            return
        self._held.clear()
        self._earlier.append(session)
        for component in list(self._wanted):
            ensureDeferred(self._hold(component, session, waits=True)).addErrback(self._lost_name)

    def _lost_name(self, failure: Any) -> None:
        if failure.check(ComponentTakenError):
            self._on_taken(str(failure.value))
        else:
            self._agent.log.failure("a component could not be registered", failure)

    async def _hold(self, component: ComponentId, session: int, *, waits: bool) -> None:
        """Register a component.

        Args:
            component: the component.
            session: the WAMP session; what it no longer is ends the work.
            waits: wait until the router drops one that has the name and does not answer.

        Raises:
            ComponentTakenError: another has the name.
        """
        uri, options = uri_of(self._root, component), None
        while self._agent.is_current(session) and component in self._wanted:
            try:
                held = await self._agent.register(partial(self._describe, component), uri, options)
            except TransportLost:
                return
            except ApplicationError as error:
                options = await self._options_after(error, component, uri, waits=waits)
                if options is None:
                    await deferLater(self._agent.reactor, _TRY_AGAIN)
            else:
                await self._keep(component, held)
                return

    async def _keep(self, component: ComponentId, held: Any) -> None:
        """Note that a component is registered, if it still is to be one."""
        self._held[component] = held
        if component not in self._wanted:
            await self.remove(component)

    async def _options_after(
        self, error: Any, component: ComponentId, uri: str, *, waits: bool
    ) -> RegisterOptions | None:
        """Return how to register after a refusal: over our own earlier session, or again in a while (None).

        Raises:
            ComponentTakenError: another has the name.
        """
        if error.error != _TAKEN:
            self._complain(f"the router refuses {uri}: {error}")
            return None
        holders = await self._holders(uri)
        if holders and holders <= set(self._earlier):
            return RegisterOptions(force_reregister=True)
        if not holders:
            return None
        where = await self._where(component, uri)
        if where or not waits:
            raise ComponentTakenError(f"{component} is registered already: {where or 'by one that does not answer'}")
        # After a loss of power, for one: the router has not noticed yet that our predecessor is no more.
        self._complain(f"{component} is held by a connection that does not answer, and which the router will drop")
        return None

    async def _holders(self, uri: str) -> set[int]:
        """Return the sessions that have registered a procedure; none where the router does not tell."""
        try:
            holders: set[int] = await callees(self._agent, uri)
        except (ApplicationError, TransportLost) as trouble:
            self._agent.log.debug("cannot ask who has {uri}: {why}", uri=uri, why=trouble)
            return set()
        return holders

    async def _where(self, component: ComponentId, uri: str) -> str:
        """Return in words where the one is that has our name; empty if it does not answer."""
        asking: Deferred[Any] = self._agent.call(uri)
        try:
            words = await asking.addTimeout(_ANSWERS_WITHIN, self._agent.reactor)
        except (ApplicationError, TransportLost, DeferredTimeout, CancelledError):
            return ""
        metadata = words.get("metadata") if isinstance(words, Mapping) else None
        return Description(component, uri, metadata if isinstance(metadata, Mapping) else {}).where()

    def _complain(self, why: str) -> None:
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_EVERY:
            self._complained = now
            self._agent.log.warn("{why}; trying again", why=why)

    def _describe(self, component: ComponentId) -> dict[str, Any]:
        metadata = {**own_metadata(), "started": self._started, **self._wanted.get(component, {})}
        return {**component.to_json(), "metadata": metadata}


def be_agent(agent: Any) -> None:
    """Have an agent that a SpawnAgent has started say so, and where it is, as a component of type Agent."""
    address = agent.agent_address
    if found := agent_of(address.rpartition(".")[0], address):
        Component(agent, found, {"instanceId": agent.instance_id})
