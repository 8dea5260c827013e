"""Where components are: follows the router's registrations for as long as an agent runs."""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, ensureDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import deferLater

from ocs.components.description import Description
from ocs.components.directory import Directory
from ocs.components.names import ComponentId
from ocs.wamp.lean_autobahn import ApplicationError, ApplicationSession, TransportLost
from ocs.wamp.link import within

__all__ = ["Locator"]

_AT_ONCE: Final = 64
"""Questions to the router, and to components, that are under way at the same time."""
_DESCRIBES_WITHIN: Final = 3.0
"""How long a component may take to describe itself, in seconds; one that does not is asked again."""
_ASK_AGAIN: Final = 5.0
"""When one that did not describe itself is asked again, and a router that did not tell, in seconds."""

_TROUBLE = (ApplicationError, TransportLost, DeferredTimeout, CancelledError)


class Locator:
    """Tells where components are, from what the router has registered; belongs to the reactor's thread.

    Nothing in it goes stale: a component is known for as long as its registration lasts. While the router is away,
    nothing is known.

    Args:
        agent: whose connection to the router is used.

    Attributes:
        trouble: why the router does not tell what is registered; empty while it does.
    """

    def __init__(self, agent: Any) -> None:
        self.trouble = ""
        self._agent = agent
        self._directory = Directory(agent.agent_address.rpartition(".")[0])
        self._told = self._directory.revision
        self._session: int | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._waiting: list[Callable[[], None]] = []
        self._turns = DeferredSemaphore(_AT_ONCE)

    def start(self) -> None:
        """Follow the router from the agent's joining on, and again after each reconnect."""
        # The agent itself takes note of the join after all who listen for it.
        self._agent.on("join", lambda _, details: self._agent.reactor.callLater(0, self._begin, details.session))
        self._agent.on("disconnect", lambda *_, **__: self._end())

    @property
    def complete(self) -> bool:
        """Whether all that is registered with the router is known."""
        return self._is_now(self._session) and self._directory.is_complete

    def find(self, component: ComponentId) -> Description | None:
        """Return a component that is registered; None if it is not, or the router is away."""
        return self._directory.find(component) if self._is_now(self._session) else None

    def serves(self, component: ComponentId) -> bool:
        """Tell whether a component is registered, and one that is an agent at its own address too."""
        return self._is_now(self._session) and self._directory.serves(component)

    def of_type(self, component_type: str) -> list[Description]:
        """Return all components of a type, by name; none while the router is away."""
        return self._directory.of_type(component_type) if self._is_now(self._session) else []

    def counts(self) -> dict[str, int]:
        """Return how many components of each type there are."""
        return self._directory.counts()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a function called whenever a component has come or gone, or the directory has become complete."""
        self._callbacks.append(callback)

    def resolve(self, component: ComponentId, timeout: float) -> "Deferred[Description | None]":
        """Wait for a component.

        Args:
            component: the component.
            timeout: how long, in seconds.

        Returns:
            A Deferred of its description; of None when the time is up.
        """
        return self._until(lambda: self.find(component), timeout)

    @property
    def is_settled(self) -> bool:
        """Whether all is known that the router has told of up to now."""
        return self.complete and not self._directory.undescribed

    def ready(self, timeout: float) -> "Deferred[bool]":
        """Wait until all is known that the router has told of before: who has been spawned is then found at once.

        Args:
            timeout: how long, in seconds.

        Returns:
            A Deferred of whether it is complete; one that does not describe itself is waited for, but in vain.
        """
        told = self._directory.undescribed
        known = self._until(lambda: self.complete and not told & self._directory.undescribed, timeout)
        return known.addCallback(lambda _: self.complete)

    def _until(self, look: Callable[[], Any], timeout: float) -> "Deferred[Any]":
        there: Deferred[None] = Deferred()

        def check() -> None:
            if look() and not there.called:
                there.callback(None)

        def answer(_: Any) -> Any:
            self._waiting.remove(check)
            return look()

        self._waiting.append(check)
        check()
        return within(self._agent.reactor, there, timeout).addCallback(answer)

    # Following

    def _begin(self, session: int) -> None:
        if self._agent.is_current(session):
            self._session = session
            self._directory.clear()
            ensureDeferred(self._follow(session)).addErrback(self._stumble)

    def _end(self) -> None:
        self._session = None
        self._directory.clear()
        self._tell_news()

    def _is_now(self, session: int | None) -> bool:
        return session is not None and session == self._session and bool(self._agent.is_current(session))

    async def _follow(self, session: int) -> None:
        """First hear what changes, then ask for what there is: so that nothing falls between."""
        while self._is_now(session):
            try:
                await self._hear("wamp.registration.on_create", lambda _, made: self._made(session, made))
                await self._hear("wamp.registration.on_delete", lambda _, number: self._lost(session, number))
                listed = await self._agent.call("wamp.registration.list")
            except _TROUBLE as error:
                self._complain(str(error))
                await deferLater(self._agent.reactor, _ASK_AGAIN)
            else:
                self.trouble = ""
                await self._learn(session, listed["exact"])
                return

    def _hear(self, topic: str, handler: Callable[..., None]) -> "Deferred[Any]":
        hearing: Deferred[Any] = ApplicationSession.subscribe(self._agent, handler, topic)
        return hearing

    def _complain(self, why: str) -> None:
        if not self.trouble and self._agent.realm_joined:
            self._agent.log.error("the router does not tell what is registered: {why}", why=why)
        self.trouble = why

    async def _learn(self, session: int, registrations: list[int]) -> None:
        unknown = self._directory.expect(registrations)
        self._tell_news()
        await DeferredList([self._in_turn(self._get, session, number) for number in unknown])

    def _in_turn(self, work: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        doing = self._turns.run(lambda: ensureDeferred(work(*args)))
        return doing.addErrback(self._stumble)

    def _stumble(self, failure: Any) -> None:
        self._agent.log.failure("the locator stumbled", failure)

    async def _get(self, session: int, number: int) -> None:
        try:
            made = await self._agent.call("wamp.registration.get", number)
        except _TROUBLE:  # it is gone by now
            self._lost(session, number)
        else:
            await self._take(session, made)

    def _made(self, session: int, made: Any) -> None:
        self._in_turn(self._take, session, made)

    async def _take(self, session: int, made: Any) -> None:
        """Take a registration as the router describes it; ask the component, if it is one's."""
        if not self._is_now(session):
            return
        if self._directory.add(made["id"], made["uri"]):
            await self._describe(session, made["id"], made["uri"])
        self._tell_news()

    async def _describe(self, session: int, number: int, uri: str) -> None:
        words = await self._ask(uri)
        if self._is_now(session):
            self._directory.describe(number, words)
            self._tell_news()
            if words is None and self._directory.has(number):
                self._agent.reactor.callLater(_ASK_AGAIN, self._in_turn, self._describe, session, number, uri)

    async def _ask(self, uri: str) -> Any:
        """Return a component's answer; None where it gives none."""
        asking: Deferred[Any] = self._agent.call(uri)
        try:
            return await asking.addTimeout(_DESCRIBES_WITHIN, self._agent.reactor)
        except _TROUBLE:
            return None

    def _lost(self, session: int, number: int) -> None:
        if self._is_now(session):
            self._directory.drop(number)
            self._tell_news()

    def _tell_news(self) -> None:
        """Tell those who want to know, if there is anything that they have not been told."""
        if self._told != self._directory.revision:
            self._told = self._directory.revision
            for callback in (*self._callbacks, *self._waiting):
                callback()
