"""A thread that waits for the disk, so that the reactor does not."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["Worker"]


class Worker:
    """Does one job after the other, in a thread that begins with the first one and ends with the program.

    The reactor's own threads are not for this: a disk that hangs would keep them from others, and the program from its
    end.

    Args:
        reactor: results are handed over in its thread.
        name: the thread's name.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self.waiting = 0
        self._reactor = reactor
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Deferred[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, job: Callable[[], Any]) -> "Deferred[Any]":
        """Have a job done.

        Args:
            job: the job.

        Returns:
            A Deferred of what it returns, or raises.
        """
        done: Deferred[Any] = Deferred()
        self.waiting += 1
        self._jobs.put((done, job))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        return done

    def end(self) -> None:
        """Let the thread end when all jobs are done; the next job would begin another."""
        if self._thread is not None:
            self._thread = None
            self._jobs.put(None)

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            done, job = item
            try:
                result = job()
            except BaseException:  # whoever waits for the job is told
                result = Failure()
            self._reactor.callFromThread(self._hand_over, done, result)

    def _hand_over(self, done: "Deferred[Any]", result: Any) -> None:
        self.waiting -= 1
        done.callback(result)
