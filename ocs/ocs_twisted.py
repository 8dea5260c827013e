"""Locks, pacing and thread questions for the functions of an agent's operations."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python import threadable

__all__ = ["OperationThread", "Pacemaker", "TimeoutLock", "in_reactor_context"]


class OperationThread(threading.Thread):
    """The thread of one blocking operation.

    Each run has a thread of its own, so that a hundred processes never wait for a place in a pool. It is a daemon: an
    operation that ignores its stop cannot keep the agent from exiting.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, target=work, daemon=True)


def in_reactor_context() -> bool:
    """Tell whether the caller runs in the reactor's thread.

    Returns:
        True in the reactor's thread, False in the thread of a blocking operation or of the reactor's thread pool.

    Raises:
        RuntimeError: in any other thread: the framework does not know it, and its owner has to say what may be done.
    """
    if threadable.isInIOThread():
        return True
    thread = threading.current_thread()
    if isinstance(thread, OperationThread) or thread in _pool_threads():
        return False
    if threadable.ioThread is None and thread is threading.main_thread():
        return True  # no reactor has run yet: what is called now, at import or in a unit test, is what it will run
    raise RuntimeError(f"Thread {thread.name!r} is neither the reactor's nor one of its pool.")


def _pool_threads() -> list[threading.Thread]:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    pool = getattr(reactor, "threadpool", None)
    return list(pool.threads) if pool else []


class TimeoutLock:
    """A lock whose ``acquire`` gives up after a while, and that remembers what it is held for.

    Args:
        default_timeout: how long ``acquire`` waits, in seconds, where its caller does not say; 0 does not wait at all,
            -1 waits for ever.
    """

    def __init__(self, default_timeout: float = 0) -> None:
        self.job: str | None = None
        self._default_timeout = default_timeout
        # A waiter passes the inner gate first; release_and_acquire holds the gate back until a waiter has had its turn.
        self._lock = threading.Lock()
        self._gate = threading.Lock()

    def acquire(self, timeout: float | None = None, job: str | None = None) -> bool:
        """Take the lock.

        Args:
            timeout: seconds to wait; 0 does not wait, -1 waits for ever, None takes the default.
            job: what the lock is held for; shown to those who ask why they cannot have it.

        Returns:
            True if the lock is now held.
        """
        if timeout is None:
            timeout = self._default_timeout
        deadline = None if timeout < 0 else time.monotonic() + timeout
        if not _acquire_until(self._gate, deadline):
            return False
        try:
            taken = _acquire_until(self._lock, deadline)
        finally:
            self._gate.release()
        if taken:
            self.job = job
        return taken

    def release(self) -> None:
        """Let the lock go."""
        self.job = None
        self._lock.release()

    def release_and_acquire(self, timeout: float | None = None) -> bool:
        """Let a waiting thread have the lock first, then take it again, for the same job.

        Args:
            timeout: as for `acquire`.

        Returns:
            True if the lock is held again.
        """
        job = self.job
        self.release()
        return self.acquire(timeout=timeout, job=job)

    @contextmanager
    def acquire_timeout(self, timeout: float | None = None, job: str = "unnamed") -> Iterator[bool]:
        """Hold the lock for the length of a ``with`` block.

        Args:
            timeout: as for `acquire`.
            job: what the lock is held for.

        Yields:
            Whether the lock was acquired; the block runs either way.
        """
        taken = self.acquire(timeout=timeout, job=job)
        try:
            yield taken
        finally:
            if taken:
                self.release()


def _acquire_until(lock: threading.Lock, deadline: float | None) -> bool:
    if deadline is None:
        return lock.acquire()
    left = deadline - time.monotonic()
    return lock.acquire(timeout=left) if left > 0 else lock.acquire(blocking=False)


class Pacemaker:
    """Keeps a loop at its rate, whatever the work inside takes.

    Args:
        sample_freq: rounds per second (Hz).
        quantize: land on a grid that starts at each whole second, so that several agents sample together; whole-number
            rates only.

    Raises:
        ValueError: if ``quantize`` is asked for with a rate that does not divide the second into whole rounds.
    """

    def __init__(self, sample_freq: float, quantize: bool = False) -> None:
        if not sample_freq > 0:
            raise ValueError(f"sample_freq must be more than 0 Hz, not {sample_freq}.")
        if quantize and sample_freq % 1:
            raise ValueError(f"quantize needs a whole number of samples per second, not {sample_freq}.")
        self.sample_freq = sample_freq
        self.sample_time = 1.0 / sample_freq
        self.quantize = quantize
        self.next_sample = time.time()
        if quantize:
            self.next_sample = math.ceil(self.next_sample * sample_freq) / sample_freq

    def _time_left(self) -> float:
        """Return the seconds to the next round; a round that was missed is not made up for."""
        now = time.time()
        self.next_sample += self.sample_time
        if self.next_sample <= now:
            missed = math.floor((now - self.next_sample) / self.sample_time) + 1
            self.next_sample += missed * self.sample_time
        if self.quantize:
            self.next_sample = round(self.next_sample * self.sample_freq) / self.sample_freq
        return max(0.0, self.next_sample - now)

    def sleep(self) -> None:
        """Wait for the next round; for blocking operations."""
        time.sleep(self._time_left())

    def dsleep(self, reactor: Any = None) -> "Deferred[None]":
        """Wait for the next round without blocking.

        Args:
            reactor: the clock to wait by; the global reactor unless given.

        Returns:
            A Deferred that fires at the next round.
        """
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one
        return deferLater(reactor, self._time_left(), lambda: None)
