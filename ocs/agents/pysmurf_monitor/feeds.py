"""What goes on to the feeds: the publisher's sessions as they are, metadata as recorded samples."""

import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ocs.agents.pysmurf_monitor.messages import FeedMessage
from ocs.agents.pysmurf_monitor.names import Ambiguous, Names, NamesExhaustedError
from ocs.ocs_feed import Feed
from ocs.plain import INT_MAX, INT_MIN

__all__ = ["MOST_FIELDS", "MOST_STREAMS", "SESSION_FEED", "Feeds", "Outgoing"]

SESSION_FEED = "pysmurf_session_data"
MOST_STREAMS = 64
"""So many streams can have a feed: each is registered for good."""
MOST_FIELDS = 4_000
"""So many fields can a stream's feed have; a SMuRF has some hundreds."""
MOST_FIELDS_ALTOGETHER = 32_000
"""So many fields can all streams have together: about 40 MB."""
MOST_TEXT = 10_000
"""Longest text that is a value, in characters."""
PLAUSIBLE = 86_400.0
"""A message whose time is further from that of its arrival, in seconds, is taken to have come when it did."""
BUFFER_TIME = 1.0
"""How long metadata waits for more, to travel together (s)."""

_NOT_IN_FEED_NAME = re.compile(r"[^A-Za-z0-9_-]")

Refuse = Callable[[str, str], None]
"""Counts what cannot be published: the reason in a word, and what is wrong with it."""


class Outgoing(NamedTuple):
    """What is to be published: on which feed, and what."""

    feed_name: str
    recorded: bool
    message: dict[str, Any]


class Feeds:
    """Makes samples of metadata, and publishes. `prepare` is for any thread, `publish` for the reactor's.

    Args:
        agent: the OCSAgent.
        refuse: counts what cannot be published.
        ambiguous: remembers names over restarts.
    """

    def __init__(self, agent: Any, refuse: Refuse, ambiguous: Ambiguous) -> None:
        self._agent = agent
        self._refuse = refuse
        self._ambiguous = ambiguous
        self._lock = threading.Lock()
        self._streams = Names(_feed_name, MOST_STREAMS, ambiguous, "", self._tell_clash)
        self._fields: dict[str, Names] = {}
        self._registered: set[str] = set()
        agent.register_feed(SESSION_FEED)

    def prepare(self, messages: Iterable[tuple[FeedMessage, float]]) -> list[Outgoing]:
        """Return what is to be published, in order; what cannot be is counted.

        Args:
            messages: each with the time of its arrival (unix s).
        """
        return [out for message, arrived in messages if (out := self._prepared(message, arrived))]

    def _prepared(self, message: FeedMessage, arrived: float) -> Outgoing | None:
        if message.kind == "session":
            return Outgoing(SESSION_FEED, False, message.whole)
        stream, path, value = (message.payload[key] for key in ("stream_id", "path", "value"))
        if trouble := unfit(value):
            self._refuse("bad_value", f"{path}: {trouble}")
            return None
        try:
            with self._lock:
                feed_name, field = self._streams.name(stream), self._field(stream, path)
        except NamesExhaustedError as error:
            self._refuse("too_many_names", f"{stream} {path}: {error}")
            return None
        stamp = plausible(message.time, arrived)
        return Outgoing(feed_name, True, {"block_name": field, "timestamp": stamp, "data": {field: value}})

    def _field(self, stream: str, path: str) -> str:
        names = self._fields.get(stream)
        if names is None:
            legal = Feed.enforce_field_name_rules
            names = self._fields[stream] = Names(legal, MOST_FIELDS, self._ambiguous, stream, self._tell_clash)
        if path not in names and sum(map(len, self._fields.values())) >= MOST_FIELDS_ALTOGETHER:
            raise NamesExhaustedError(f"more than {MOST_FIELDS_ALTOGETHER} altogether")
        return names.name(path)

    def _tell_clash(self, first: str, second: str) -> None:
        self._agent.log.warn(
            "{second} would have the name of {first}: its own gets a suffix from now on",
            first=ascii(first[:200]),
            second=ascii(second[:200]),
        )

    def publish(self, outgoing: Iterable[Outgoing]) -> int:
        """Publish, in the reactor's thread; return how many were. What a feed does not take is counted."""
        return sum(map(self._publish_one, outgoing))

    def _publish_one(self, outgoing: Outgoing) -> bool:
        if outgoing.recorded and outgoing.feed_name not in self._registered:
            self._agent.register_feed(outgoing.feed_name, record=True, buffer_time=BUFFER_TIME)
            self._registered.add(outgoing.feed_name)
        try:
            self._agent.publish_to_feed(outgoing.feed_name, outgoing.message, from_reactor=True)
        except (TypeError, ValueError) as error:
            self._refuse("not_publishable", str(error))
            return False
        return True


def _feed_name(stream_id: str) -> str:
    """Return the feed of a stream: dots would part its topic."""
    return f"{_NOT_IN_FEED_NAME.sub('_', stream_id)[:100]}_meta"


def plausible(time: float, arrived: float) -> float:
    """Return a message's own time if that can be, or else when it came (unix s)."""
    return float(time) if abs(time - arrived) <= PLAUSIBLE else arrived


def unfit(value: Any) -> str:
    """Return why a value has no place in a recorded feed, or ""."""
    if isinstance(value, bool | float):
        return ""
    if isinstance(value, int):
        return "" if INT_MIN <= value <= INT_MAX else "an integer beyond 64 bits"
    if isinstance(value, str):
        return "" if len(value) <= MOST_TEXT else f"a text of {len(value)} characters, at most {MOST_TEXT}"
    return f"a {type(value).__name__}, not a number, text or boolean"
