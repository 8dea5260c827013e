"""A reactor that is stepped by the test: time stands still, and calls from threads wait to be pumped."""

import queue
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock


class SteppedReactor(Clock):
    """Twisted's Clock, with `callFromThread`; the test plays the reactor's thread."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def callFromThread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._calls.put(lambda: function(*args, **kwargs))

    def pump(self) -> None:
        """Do all that is due now."""
        while True:
            self.advance(0)
            try:
                self._calls.get_nowait()()
            except queue.Empty:
                if not any(call.getTime() <= self.seconds() for call in self.getDelayedCalls()):
                    return

    def pump_until(self, reached: Callable[[], bool], timeout: float = 10.0) -> None:
        """Do what comes from threads until a condition holds; fails the test after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self.pump()
        while not reached():
            left = deadline - time.monotonic()
            assert left > 0, "what the test waits for did not happen"
            try:
                self._calls.get(timeout=min(left, 0.05))()
            except queue.Empty:
                continue
            self.pump()
