"""What an agent holds in the realm, and takes up again after every reconnect: its address and its subscriptions."""

import inspect
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred, succeed
from twisted.internet.task import deferLater

from ocs.wamp.lean_autobahn import ApplicationError, RegisterOptions, SubscribeOptions, TransportLost

__all__ = ["CALL_DETAILS", "Membership", "Subscription", "callees"]

_REGISTER_EVERY = 1.0
_REMEMBERED = 100
"""How many of our earlier WAMP sessions we know again."""
_COMPLAIN_EVERY = 30.0

Handler = Callable[..., Any]
Subscription = tuple[Handler, str, Any]
"""A handler, a topic, and options: a dict or None."""

CALL_DETAILS = "call_details"
"""A procedure that has a parameter of this name is told who calls: it gets autobahn's `CallDetails`."""

Steps = Generator[Deferred[Any], Any, Any]


@inlineCallbacks
def callees(session: Any, procedure: str) -> Steps:
    """Ask the router who has registered a procedure.

    Args:
        session: the WAMP session to ask by.
        procedure: its address.

    Returns:
        A Deferred of a set of WAMP session ids; it fails if the router does not tell.
    """
    registration = yield session.call("wamp.registration.match", procedure)
    if registration is None:
        return set()
    return set((yield session.call("wamp.registration.list_callees", registration)))


class Membership:
    """Takes an agent's address, and keeps its subscriptions, over all connections.

    Args:
        agent: the agent.
        subscribe: subscribes now, as autobahn does: handler, topic, `SubscribeOptions`.
    """

    def __init__(self, agent: Any, subscribe: Callable[[Handler, str, Any], Any]) -> None:
        self.topics: set[str] = set()
        self._wanted: list[Subscription] = []
        self._made: dict[str, list[Any]] = {}
        self._agent = agent
        self._subscribe = subscribe
        self._earlier: deque[int] = deque(maxlen=_REMEMBERED)
        self._subscribed: int | None = None

    @property
    def hears_others(self) -> bool:
        """Whether there is a subscription, so that what others publish has to be taken as it is."""
        return bool(self._wanted)

    def want(self, wanted: Subscription, *, force: bool) -> "Deferred[Any]":
        """Subscribe, now if joined, and after every reconnect; a second time to one topic only if forced."""
        topic = wanted[1]
        if topic in self.topics and not force:
            self._agent.log.warn("already subscribed to {topic}; the second subscription is refused", topic=topic)
            return succeed(False)
        self.topics.add(topic)
        self._wanted.append(wanted)
        # Before the round over all subscriptions of a new connection has begun, that round will make this one.
        now = self._subscribed is not None and self._agent.is_current(self._subscribed)
        return self._subscribe_wanted(wanted) if now else succeed(None)

    def give_up(self, topic: str) -> None:
        """Undo all subscriptions to a topic."""
        self.topics.discard(topic)
        self._wanted = [wanted for wanted in self._wanted if wanted[1] != topic]
        for subscription in self._made.pop(topic, []):
            self._undo(subscription)

    def _undo(self, subscription: Any) -> None:
        if subscription and subscription.active and self._agent.realm_joined:
            maybeDeferred(subscription.unsubscribe).addErrback(
                lambda failure: self._agent.log.debug("cannot unsubscribe: {why}", why=failure.getErrorMessage())
            )

    @inlineCallbacks
    def subscribe_all(self, session: int, others: list[Subscription]) -> Steps:
        """Make all subscriptions of a new connection.

        Args:
            session: the WAMP session; what it no longer is ends the work.
            others: subscriptions beside the wanted ones.
        """
        self._subscribed = session
        self._made.clear()
        for other in others:
            if self._agent.is_current(session):
                yield self._subscribe_now(other)
        for wanted in list(self._wanted):
            if self._agent.is_current(session) and wanted in self._wanted:
                yield self._subscribe_wanted(wanted)

    def _subscribe_now(self, wanted: Subscription) -> "Deferred[Any]":
        handler, topic, options = wanted
        if isinstance(options, dict):
            options = SubscribeOptions(**options)

        def refused(failure: Any) -> bool:
            self._agent.log.error("cannot subscribe to {topic}: {why}", topic=topic, why=failure.getErrorMessage())
            return False

        return maybeDeferred(self._subscribe, handler, topic, options).addErrback(refused)

    def _subscribe_wanted(self, wanted: Subscription) -> "Deferred[Any]":
        def made(subscription: Any) -> Any:
            if wanted in self._wanted:
                self._made.setdefault(wanted[1], []).append(subscription)
            else:  # given up while the router was answering
                self._undo(subscription)
            return subscription

        return self._subscribe_now(wanted).addCallback(made)

    @inlineCallbacks
    def take_address(self, session: int, procedures: dict[str, Handler]) -> Steps:
        """Register the agent's procedures as soon as they are free.

        After a half-open connection the router may still hold them for our own earlier session: they are taken over.
        A second agent of the same name waits here for the first to end.

        Args:
            session: the WAMP session.
            procedures: address to function.

        Returns:
            A Deferred of whether this session still lives, with the address taken.
        """
        complained = float("-inf")
        while self._agent.is_current(session):
            ours = yield self._held_by_us(procedures)
            refusal = yield self._register(procedures, take_over=ours)
            if refusal is None:
                self._earlier.append(session)
                return self._agent.is_current(session)
            if time.monotonic() - complained > _COMPLAIN_EVERY:
                complained = time.monotonic()
                self._agent.log.warn("{why}; trying again", why=self._why(refusal))
            yield deferLater(self._agent.reactor, _REGISTER_EVERY, lambda: None)
        return False

    @inlineCallbacks
    def _register(self, procedures: dict[str, Handler], *, take_over: bool) -> Steps:
        """Register all procedures, or none; return the error, or None."""
        taken = []
        for address, function in procedures.items():
            try:
                taken.append((yield self._agent.register(function, address, _options(function, take_over=take_over))))
            except (ApplicationError, TransportLost) as error:
                yield self._give_back(taken)
                return error
        return None

    @inlineCallbacks
    def _give_back(self, taken: list[Any]) -> Steps:
        for registration in taken:
            try:
                yield registration.unregister()
            except (ApplicationError, TransportLost) as error:
                self._agent.log.debug("cannot give {procedure} back: {why}", procedure=registration, why=error)

    @inlineCallbacks
    def _held_by_us(self, procedures: dict[str, Handler]) -> Steps:
        """Ask the router whether only our own earlier sessions hold the procedures; False where it does not say."""
        holders: set[int] = set()
        try:
            for address in procedures if self._earlier else ():
                holders |= yield callees(self._agent, address)
        except (ApplicationError, TransportLost) as error:
            self._agent.log.debug("cannot ask who holds the address: {why}", why=error)
            return False
        return bool(holders) and holders <= set(self._earlier)

    def _why(self, refusal: Exception) -> str:
        address = self._agent.agent_address
        if getattr(refusal, "error", "") == "wamp.error.procedure_already_exists":
            return (
                f"{address} is held by another connection: an older one of this agent, which the router will drop,"
                " or a second agent of this name, to be stopped"
            )
        return f"the router refuses {address}: {refusal}"


def _options(function: Handler, *, take_over: bool) -> RegisterOptions | None:
    wants = CALL_DETAILS if _has_parameter(function, CALL_DETAILS) else None
    return RegisterOptions(force_reregister=take_over or None, details_arg=wants) if wants or take_over else None


def _has_parameter(function: Handler, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a function of a C library does not tell
        return False
