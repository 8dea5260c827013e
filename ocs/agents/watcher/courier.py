"""Couriers: each carries the letters of one target, in a thread of its own, and tries again when nobody opens."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ocs.agents.watcher.rules import Target
from ocs.agents.watcher.ways import UndeliveredError, send

__all__ = ["MAX_AGE", "MAX_LETTERS", "Counts", "Courier", "pause_after"]

MAX_LETTERS = 100
"""Letters of a target that wait; the oldest go, and are counted."""
MAX_AGE = 86400.0
"""A letter of this age, in seconds, is not brought any more."""
LONGEST_PAUSE = 60.0
"""Between two attempts, in seconds."""


@dataclass(slots=True)
class Counts:
    """What has become of a target's letters since the agent's start."""

    sent: int = 0
    retried: int = 0
    dropped: int = 0
    trouble: str | None = None
    """Why the last attempt failed; None: it did not."""


def pause_after(failures: int) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    return float(min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 6)))


class Courier:
    """Delivers the letters of one target, in their order. `put`, `close` and the counts are for any thread.

    Args:
        target: who gets them.
        letters: what an earlier run had not delivered.
        send: delivers one letter; raises `UndeliveredError`.
        now: unix s.
    """

    def __init__(
        self,
        target: Target,
        letters: Iterable[dict[str, Any]] = (),
        *,
        send: Callable[[Any, dict[str, Any]], None] = send,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.target = target
        self.counts = Counts()
        self._send = send
        self._now = now
        self._letters: deque[dict[str, Any]] = deque(letters, MAX_LETTERS)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"courier-{target.name}", daemon=True)
        self._thread.start()

    def put(self, letter: dict[str, Any]) -> None:
        """Have a letter delivered."""
        with self._changed:
            if len(self._letters) == MAX_LETTERS:
                self.counts.dropped += 1
            self._letters.append(letter)
            self._changed.notify_all()

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """The letters that have not been delivered."""
        with self._changed:
            return list(self._letters)

    def close(self) -> None:
        """End, soon; what has not been delivered then is still in `waiting`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the end, for at most so many seconds."""
        self._thread.join(timeout)

    def _work(self) -> None:
        failures = 0
        while (letter := self._next(pause_after(failures) if failures else 0.0)) is not None:
            failures = 0 if self._deliver(letter) else failures + 1

    def _next(self, pause: float) -> dict[str, Any] | None:
        """Return the letter that is to be delivered, None at the end; after a failure wait first."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self._closed, pause)
            self._changed.wait_for(lambda: self._closed or self._letters)
            return None if self._closed else self._letters[0]

    def _deliver(self, letter: dict[str, Any]) -> bool:
        """Try once; return whether to go on with the next letter."""
        if self._now() - letter["time"] > MAX_AGE:
            return self._done(letter, dropped=True)
        try:
            self._send(self.target.way, letter)
        except UndeliveredError as error:
            self.counts.trouble = str(error)
            if error.for_good:
                return self._done(letter, dropped=True)
            self.counts.retried += 1
            return False
        except Exception as error:  # a letter that trips up somebody's library must not hold up all others
            self.counts.trouble = f"cannot be sent: {type(error).__name__}: {error}"
            return self._done(letter, dropped=True)
        self.counts.trouble = None
        return self._done(letter, dropped=False)

    def _done(self, letter: dict[str, Any], *, dropped: bool) -> bool:
        with self._changed:
            if self._letters and self._letters[0] is letter:  # else it has made room for others meanwhile
                self._letters.popleft()
            elif not dropped:
                self.counts.dropped -= 1
        if dropped:
            self.counts.dropped += 1
        else:
            self.counts.sent += 1
        return True
