"""The location service for asyncio: where components are, and calls of their procedures."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred

from ocs.components.description import Description
from ocs.components.locator import Locator
from ocs.components.names import ComponentId
from ocs.errors import CallLostError
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost

__all__ = ["Location", "RouterLocation"]

_NOT_SERVED: Final = "wamp.error.no_such_procedure"
_BROKEN_OFF: Final = "wamp.error.canceled"


class Location(Protocol):
    """Knows what is registered with the router, and can call it."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the router."""

    @property
    def complete(self) -> bool:
        """Whether all that is registered is known."""

    @property
    def trouble(self) -> str:
        """Why the router does not tell what is registered; empty while it does."""

    def find(self, component: ComponentId) -> Description | None:
        """Return a component that is there; None if it is not."""

    def of_type(self, component_type: str) -> list[Description]:
        """Return all components of a type, by name."""

    def counts(self) -> dict[str, int]:
        """Return how many components of each type there are."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a function called after each change of any of the above."""

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the locator has it
        """Wait until all is known, so many seconds at most; return whether it is."""

    async def call(self, procedure: str, *args: Any) -> Any:
        """Call a procedure, and return its answer.

        Raises:
            CallLostError: there was none.
        """


class RouterLocation:
    """The location service of an agent that is joined to the router, or will be.

    Args:
        agent: whose connection is used.
        locator: follows the router over it.
        loop: the loop that drives Twisted's reactor too.
    """

    def __init__(self, agent: Any, locator: Locator, loop: asyncio.AbstractEventLoop) -> None:
        self._agent = agent
        self._locator = locator
        self._loop = loop
        self.find = locator.find
        self.of_type = locator.of_type
        self.counts = locator.counts
        self.on_change = locator.on_change

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the router."""
        return bool(self._agent.realm_joined)

    @property
    def complete(self) -> bool:
        """Whether all that is registered is known."""
        return self._locator.complete

    @property
    def trouble(self) -> str:
        """Why the router does not tell what is registered; empty while it does."""
        return self._locator.trouble

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the locator has it
        """Wait until all is known that the router has told of, so many seconds at most; return whether it is."""
        return self._locator.is_settled or await self._locator.ready(timeout).asFuture(self._loop)

    async def call(self, procedure: str, *args: Any) -> Any:
        """Call a procedure, and return its answer.

        Args:
            procedure: its address.
            args: what it is given.

        Raises:
            CallLostError: there was no answer.
        """
        try:
            calling: Deferred[Any] = self._agent.call(procedure, *args)
            return await calling.asFuture(self._loop)
        except TransportLost:
            raise CallLostError("the connection to the router was lost", may_be_done=True) from None
        except CancelledError:  # the deadline's, which has an answer of its own
            raise asyncio.CancelledError from None
        except ApplicationError as error:
            raise _lost(error) from None


def _lost(error: Any) -> CallLostError:
    if error.error == _NOT_SERVED:
        return CallLostError("it does not take requests", may_be_done=False)
    if error.error == _BROKEN_OFF:
        return CallLostError("it has lost its connection to the router", may_be_done=True)
    words = " ".join(str(each) for each in error.args) or error.error
    return CallLostError(f"it could not carry that out: {words[:500]}", may_be_done=True)
