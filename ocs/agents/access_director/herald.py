"""Publishing the rules: to those who may have them."""

from typing import Any

from ocs.wamp.lean_autobahn import PublishOptions, TransportLost

__all__ = ["FEED", "RULE_BEARERS", "Herald"]

FEED = "controls"

RULE_BEARERS = ("agent", "director")
"""Roles, as the router vouches for them, that need the rules. Others may hear all topics of the site, but not these."""


class Herald:
    """Publishes on the feed `controls`, on the connection that there is; what is said while there is none is lost.

    A new connection begins with everything anyhow, and rules that waited would be old ones.

    Args:
        agent: the OCSAgent.

    Attributes:
        connection: the last WAMP session; None before the first.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._feed = agent.register_feed(FEED)
        self._closed = False
        self.connection: int | None = None
        agent.on("join", self._joined)

    def _joined(self, _session: Any, details: Any) -> None:
        self.connection = details.session
        self._closed = getattr(details, "authrole", None) in RULE_BEARERS

    def say(self, message: dict[str, Any], session: int | None = None) -> bool:
        """Publish a message.

        Args:
            message: as the protocol has it.
            session: the one WAMP session that it is for; None: all that need it.

        Returns:
            Whether it has been handed to the router.
        """
        if not self._agent.realm_joined:
            return False
        options = PublishOptions(
            eligible=[session] if session is not None else None,
            eligible_authrole=list(RULE_BEARERS) if self._closed else None,
        )
        try:
            self._agent.publish(self._feed.address, [message, self._feed.encoded()], options=options)
        except TransportLost:
            return False
        return True
