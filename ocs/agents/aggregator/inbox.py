"""The one seam between the reactor's thread, which leaves events here, and the recording thread, which takes them."""

import threading
from collections import deque
from typing import Any, Final

from ocs.agents.aggregator.messages import is_recorded, weight

__all__ = ["MAX_VALUES", "Inbox"]

MAX_VALUES: Final = 2_000_000
"""Values that may wait for the recording thread, some 64 MiB of Python lists; beyond it the oldest event is dropped."""

Event = tuple[Any, dict[str, Any]]


class Inbox:
    """A bounded queue of recorded events. `put` belongs to the reactor's thread, the rest to the recording thread.

    It is closed while nothing is being recorded: what arrives then is not for the archive.

    Args:
        max_values: how many values may wait, a long text counting as several.
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self._max_values = max_values
        self._lock = threading.Lock()
        self._call = threading.Event()
        self._events: deque[tuple[Event, int]] = deque()
        self._values = 0
        self._lost = 0
        self._open = False

    def open(self) -> None:
        """Let events in."""
        with self._lock:
            self._open = True
            self._call.clear()

    def close(self) -> None:
        """Let no more events in; those that wait stay for `take`."""
        with self._lock:
            self._open = False

    def put(self, event: object) -> None:
        """Accept an event as it came from the wire, if it is of a recorded feed. Never waits, never raises."""
        if self._open and is_recorded(event):
            self._append((event[0], event[1]), weight(event[0]))

    def _append(self, event: Event, values: int) -> None:
        with self._lock:
            self._events.append((event, values))
            self._values += values
            while self._values > self._max_values and len(self._events) > 1:
                _, lost = self._events.popleft()
                self._values -= lost
                self._lost += lost
            crowded = self._values > self._max_values // 4
        if crowded:
            self._call.set()

    def take(self) -> tuple[list[Event], int]:
        """Take all events that wait.

        Returns:
            The events, oldest first, and how many values have been dropped unseen since the last call.
        """
        with self._lock:
            events, self._events = self._events, deque()
            lost, self._lost, self._values = self._lost, 0, 0
        return [event for event, _ in events], lost

    def wait(self, timeout: float) -> None:
        """Wait until there is much to do, or `call` is called, or ``timeout`` seconds have passed."""
        self._call.wait(timeout)
        self._call.clear()

    def call(self) -> None:
        """End the recording thread's wait. Any thread may do that."""
        self._call.set()
