"""The one seam between the reactor's thread, which leaves messages here, and the recording thread, which takes them."""

import threading
from collections import deque
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ocs.agents.aggregator.messages import weight
from ocs.feeds.recorded import is_recorded

__all__ = ["FORGET", "MAX_VALUES", "Event", "Inbox", "Item", "Kind"]

MAX_VALUES: Final = 2_000_000
"""Values that may wait for the recording thread, some 64 MiB of Python lists."""

Event = tuple[Any, dict[str, Any]]
"""What a feed's event holds: the data, and the envelope."""


class Kind(IntEnum):
    """What an entry of the recorder's journal is. The numbers are on disks: they stay as they are."""

    STATE = 1
    """The state of all streams, as a map: what a segment begins with."""
    POSITION = 2
    """The next number that is wanted of a stream, where it moved on without a message."""
    FRAME = 3
    """A frame that is about to be written."""
    MESSAGE = 16
    """An event as it came; the number of its serializer (`ocs.wamp.frames`) is added."""


FORGET: Final = 0
"""The number after a stream that is over, of which nothing need be known any more."""


class Item(NamedTuple):
    """Something for the journal, and for the archive."""

    kind: int
    body: bytes
    event: Event | None
    """What is in the message, where it has been taken apart already."""
    stream: tuple[str, str] | None = None
    """Agent address and session id, for a message that has a number."""
    next: int = 0
    """The number after the message's; `FORGET` for a stream that is over."""


class Inbox:
    """A bounded queue. `put` and `add` belong to the reactor's thread, `take` and `wait` to the recording thread.

    It is closed while nothing is being recorded: what arrives then is not for the archive. Messages without a number
    come but once: when there are too many, the oldest go. Messages with a number can be had again: they are to be
    refused, by whoever gives them, while there is no `room`.

    Args:
        max_values: how many values may wait, a long text counting as several.
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self._max_values = max_values
        self._lock = threading.Lock()
        self._call = threading.Event()
        self._once: deque[tuple[Item, int]] = deque()
        self._again: list[Item] = []
        self._values = 0
        self._lost = 0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether anything is being recorded."""
        return self._open

    @property
    def room(self) -> bool:
        """Whether messages that can be had again should come now."""
        return self._open and self._values < self._max_values // 2

    def open(self) -> None:
        """Let messages in."""
        with self._lock:
            self._open = True
            self._call.clear()

    def close(self) -> None:
        """Let no more messages in; those that wait stay for `take`."""
        with self._lock:
            self._open = False

    def put(self, event: object, kind: int = 0, body: bytes = b"") -> None:
        """Accept an event that comes but once, if it is of a recorded feed. Never waits, never raises."""
        if not (self._open and is_recorded(event)):
            return
        values = weight(event[0])
        with self._lock:
            self._once.append((Item(kind, body, (event[0], event[1])), values))
            self._values += values
            while self._values > self._max_values and len(self._once) > 1:
                _, lost = self._once.popleft()
                self._values -= lost
                self._lost += lost
        self._call_if_crowded()

    def add(self, item: Item, values: int) -> None:
        """Accept what can be had again, if there is `room`: it is not dropped. Never waits, never raises."""
        with self._lock:
            if not self._open:
                return  # what is not in the journal will be asked for the next time
            self._again.append(item)
            self._values += values
        self._call_if_crowded()

    def _call_if_crowded(self) -> None:
        if self._values > self._max_values // 4:
            self._call.set()

    def take(self) -> tuple[list[Item], int]:
        """Take all that waits.

        Returns:
            The messages, of each agent the oldest first, and how many values have been dropped since the last call.
        """
        with self._lock:
            once, self._once = self._once, deque()
            again, self._again = self._again, []
            lost, self._lost, self._values = self._lost, 0, 0
        return [item for item, _ in once] + again, lost

    def wait(self, timeout: float) -> None:
        """Wait until there is much to do, or `call` is called, or ``timeout`` seconds have passed."""
        self._call.wait(timeout)
        self._call.clear()

    def call(self) -> None:
        """End the recording thread's wait. Any thread may do that."""
        self._call.set()
