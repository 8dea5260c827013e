"""What an agent does with others: hears what they publish, and calls their operations."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ocs.core.membership import Membership

__all__ = ["Hearing"]

Handler = Callable[..., Any]


class Hearing:
    """The part of an agent that listens to others and calls them; subscriptions come back with every reconnect."""

    _membership: Membership
    call: Callable[..., "Deferred[Any]"]

    def subscribe(
        self, handler: Handler, topic: str, options: dict[str, Any] | None = None, force_subscribe: bool = False
    ) -> "Deferred[Any]":
        """Subscribe to a topic, also after every reconnect.

        Args:
            handler: called with the event's one argument.
            topic: the topic, or a pattern.
            options: how to match, as in ``{"match": "wildcard"}``.
            force_subscribe: subscribe even if there is a subscription to that topic already.

        Returns:
            A Deferred that fires with the subscription; with False if one to that topic is there already; with None if
            the router is away, in which case it follows later.
        """
        return self._membership.want((handler, topic, options), force=force_subscribe)

    def unsubscribe(self, topic: str) -> None:
        """Undo all subscriptions to a topic; one that there is none to is no error.

        Args:
            topic: the topic, or the pattern, as it was given to `subscribe`.
        """
        self._membership.give_up(topic)

    @property
    def hears_others(self) -> bool:
        """Whether the agent has subscribed to what others publish."""
        return self._membership.hears_others

    def subscribe_to_feed(
        self,
        agent_addr: str,
        feed_name: str,
        handler: Handler,
        options: dict[str, Any] | None = None,
        force_subscribe: bool = False,
    ) -> "Deferred[Any]":
        """Subscribe to a feed of an agent, as `subscribe` does.

        Args:
            agent_addr: the agent's address.
            feed_name: the feed.
            handler: called with ``[data, feed]``.
            options: how to match.
            force_subscribe: subscribe even if there is a subscription to that topic already.
        """
        return self.subscribe(handler, f"{agent_addr}.feeds.{feed_name}", options, force_subscribe)

    def subscribe_on_start(
        self,
        handler: Handler,
        topic: str,
        options: dict[str, Any] | None = None,
        force_subscribe: bool | None = None,
    ) -> None:
        """Subscribe once the agent has joined, and again after every reconnect.

        Args:
            handler: called with the event's one argument.
            topic: the topic, or a pattern.
            options: how to match.
            force_subscribe: subscribe even if there is a subscription to that topic already.
        """
        self.subscribe(handler, topic, options, bool(force_subscribe))

    # Other agents

    def call_op(
        self,
        agent_address: str,
        op_name: str,
        action: str,
        params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> "Deferred[Any]":
        """Call another agent's operation.

        Args:
            agent_address: the other agent's address.
            op_name: the operation.
            action: ``start``, ``stop``, ``abort``, ``wait`` or ``status``.
            params: the operation's parameters.
            timeout: for ``wait``: seconds.

        Returns:
            A Deferred of ``[code, message, session]``.
        """
        return self.call(f"{agent_address}.ops", action, op_name, params=params, timeout=timeout)
