"""The feed on which the recorder notes what was lost, refused or repaired, and which agents were there."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from ocs.agents.aggregator.inbox import Event, Item, Kind
from ocs.agents.aggregator.notes import Note
from ocs.wamp.frames import pack_event

__all__ = ["FEED", "Notebook", "note_item"]

FEED: Final = "notes"
"""The feed's name."""

_BLOCK: Final = "notes"
_SHOWN: Final = 20


class Notebook:
    """Publishes notes, and gives them the form in which they are recorded. Any thread may use it.

    The recorder writes its own notes into its archive; other recorders leave them alone.

    Args:
        agent: the OCSAgent.
        clock: gives the time (unix, s).

    Attributes:
        latest: the last notes, oldest first.
    """

    def __init__(self, agent: Any, *, clock: Callable[[], float] = time.time) -> None:
        self.latest: deque[Note] = deque(maxlen=_SHOWN)
        self._agent = agent
        self._clock = clock
        agent.register_feed(FEED, record=True, agg_params={"exclude_aggregator": True}, buffer_time=0)

    def publish(self, note: Note) -> Event:
        """Publish a note.

        Returns:
            The event to be recorded.
        """
        self.latest.append(note)
        when, fields = self._clock(), _fields(note)
        self._agent.publish_to_feed(FEED, {"block_name": _BLOCK, "timestamp": when, "data": fields})
        columns = {field: [value] for field, value in fields.items()}
        envelope = {**self._agent.feeds[FEED].encoded(), "agg_params": {}}
        return {_BLOCK: {"block_name": _BLOCK, "timestamps": [when], "data": columns}}, envelope

    def began(self, away_since: float | None) -> list[Note]:
        """Return what is to be noted when a recording begins.

        Args:
            away_since: when the recorder was last at work before (unix, s), None if it never was.
        """
        recorder, now = self._agent.agent_address, self._clock()
        away = [] if away_since is None else [Note("off", recorder, away_since, now, 0, "the recorder was away")]
        return [*away, Note("on", recorder, now, None, 0, "the recorder is at work")]

    def ends(self) -> list[Note]:
        """Return what is to be noted when a recording ends."""
        return [Note("off", self._agent.agent_address, self._clock(), None, 0, "the recorder is stopped")]

    def encoded(self) -> list[dict[str, Any]]:
        """Return the latest notes for ``session.data``."""
        return [note._asdict() for note in self.latest]


def _fields(note: Note) -> dict[str, Any]:
    return {
        "kind": note.kind,
        "subject": note.subject,
        "since": math.nan if note.since is None else float(note.since),
        "until": math.nan if note.until is None else float(note.until),
        "samples": note.samples,
        "detail": note.detail,
    }


def note_item(event: Sequence[Any]) -> Item:
    """Return a note's event for the journal and the archive."""
    frame = pack_event([list(event)])
    return Item(Kind.MESSAGE + frame.serializer, frame.payload, (event[0], event[1]))
