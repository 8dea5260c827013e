"""Feeds for tests of publishers: agents of the tests' own session that publish messages as any agent does."""

from typing import Any

AGENT = "observatory.source"


def envelope(feed: str = "temps", agent: str = AGENT, **changes: Any) -> dict[str, Any]:
    return {
        "agent_address": agent,
        "agg_params": {},
        "feed_name": feed,
        "address": f"{agent}.feeds.{feed}",
        "record": True,
        "session_id": "1790000000.5",
        "agent_class": "AnyAgent",
        **changes,
    }


def message(timestamps: Any, **fields: Any) -> dict[str, Any]:
    return {"block": {"block_name": "block", "timestamps": timestamps, "data": fields}}


class Publishing:
    """Publishes on feeds, through a session of autobahn.

    Args:
        session: the session.
        agent: the address of the agent that it plays.
    """

    def __init__(self, session: Any, agent: str = AGENT) -> None:
        self._session = session
        self._agent = agent

    def __call__(self, timestamps: Any, feed: str = "temps", changes: Any = None, **fields: Any) -> None:
        self.raw([message(timestamps, **fields), envelope(feed, self._agent, **(changes or {}))], feed)

    def raw(self, event: Any, feed: str = "temps") -> None:
        """Publish any event on the topic of a feed."""
        self._session.publish(f"{self._agent}.feeds.{feed}", event)
