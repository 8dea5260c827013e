"""Threads that find the MD5 of files: small ones fast, and none held up by another that is large or hangs.

- A hasher takes small files in batches, so that a hand-over is paid for many.
- A file that is large is left to a hasher of its own; few of them read at a time, since a disk gives no more then.
- Nobody can interrupt a thread that waits for a file system which does not answer. So a watcher looks around: from a
  hasher that has been at one small file for long it takes the rest of the batch, and has another go on with it.
- While files take long and the processor has nothing to do, it is the disk that takes its time for each: then more
  hashers ask at once. Otherwise one is fastest, since two would pass the interpreter's lock to and fro.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ocs.agents.pysmurf_monitor.messages import Announcement
from ocs.agents.pysmurf_monitor.reading import LARGE, Reader
from ocs.agents.pysmurf_monitor.roots import Roots

__all__ = ["Hashers", "Item", "next_wanted"]

BATCH: Final = 64
"""So many small files are taken at a time: about a millisecond of work."""
DELIVER: Final = 0.05
"""What is finished waits so long at most (s) for more to be delivered with it."""
TICK: Final = 0.05
"""How often the watcher looks (s)."""
STUCK: Final = 0.1
"""A small file that takes longer (s) gets its hasher for itself."""
SILENT: Final = 2.0
"""A large file of which nothing has been read for so long (s) does not count among those that are read."""
IDLE: Final = 10.0
"""A hasher without work ends after so long (s)."""
FEW: Final = 400.0
"""Small files a second and hasher below which more hashers may help."""
MANY: Final = 4000.0
"""The same, above which fewer do as well."""
BUSY_PROCESSOR: Final = 0.6
"""The share of a processor that the process takes, above which more hashers do not help."""


class Item:
    """A file on its way to the table, and what has been found out about it.

    Args:
        announcement: the file.
        index: of its announcement in the journal; -1 if it is not from there.
        attempt: how often it has been tried before.
        since: when it was announced (unix s).

    Attributes:
        md5: in hexadecimal, once it is known.
        size: in bytes, as soon as the MD5 is known.
        trouble: what is wrong with the file now; it may be better later.
        refused: the reason why it is not entered, ever.
    """

    __slots__ = ("announcement", "attempt", "index", "md5", "refused", "since", "size", "trouble")

    def __init__(self, announcement: Announcement, index: int = -1, *, attempt: int = 0, since: float = 0.0) -> None:
        self.announcement = announcement
        self.index = index
        self.attempt = attempt
        self.since = since
        self.md5 = ""
        self.size = 0
        self.trouble = ""
        self.refused = ""

    def __repr__(self) -> str:
        found = self.refused or self.trouble or self.md5 or "not looked at"
        return f"<Item {self.index} {self.announcement.path!a}: {found}>"


def next_wanted(wanted: int, rate: float, processor: float, *, waiting: bool, most: int) -> int:
    """Return how many hashers are to take small files at once.

    Args:
        wanted: how many do now.
        rate: how many files each of them has done in a second.
        processor: the share of a processor that the process has taken.
        waiting: whether files wait.
        most: how many there can be.
    """
    if rate > MANY:
        return max(1, wanted - 1)
    if waiting and rate < FEW and processor < BUSY_PROCESSOR:
        return min(most, wanted + 1)
    return wanted


class _Hasher:
    """What one hasher has in hand. It is the hasher's own, but others look, and take the rest of the batch away."""

    def __init__(self, roots: Roots) -> None:
        self.reader = Reader(roots)
        self.hand: deque[Item] = deque()
        self.done: deque[Item] = deque()
        self.item: Item | None = None
        self.began = 0.0
        self.is_large = False
        self.is_idle = True
        self.count = 0
        self.counted = 0
        self.bytes_seen = 0
        self.moved = 0.0

    def take(self, items: Iterable[Item], *, is_large: bool) -> None:
        """Take a batch in hand."""
        self.is_idle, self.is_large = False, is_large
        self.began = self.moved = time.monotonic()
        self.hand.extend(items)

    def is_small_and_moving(self, now: float) -> bool:
        """Tell whether it is working on small files, and not stuck in one."""
        return not self.is_idle and not self.is_large and now - self.began < STUCK

    def is_large_and_moving(self, now: float) -> bool:
        """Tell whether it is reading a large file, and gets something."""
        return not self.is_idle and self.is_large and now - self.moved < SILENT

    def look(self, now: float) -> int:
        """Note whether something has been read; return how many files it has done since the last look."""
        if self.reader.bytes_read != self.bytes_seen:
            self.bytes_seen, self.moved = self.reader.bytes_read, now
        done, self.counted = self.count - self.counted, self.count
        return done


def _popped(items: "deque[Item]", most: int) -> list[Item]:
    """Take items that somebody else may be taking at the same time: each goes to one of both."""
    taken: list[Item] = []
    try:
        while len(taken) < most:
            taken.append(items.popleft())
    except IndexError:
        pass
    return taken


class Hashers:
    """A pool of hashers. Threads are started as they are needed.

    Args:
        roots: the folders in which files are allowed.
        on_done: called with files that are done, in a thread of the pool; must not wait.
        threads: how many large files are read at a time.
        most: how many hashers there can be, those that hang among them.
    """

    def __init__(
        self, roots: Roots, *, on_done: Callable[[list[Item]], None], threads: int = 2, most: int = 16
    ) -> None:
        self._roots = roots
        self._on_done = on_done
        self._most_large = min(threads, max(1, most - 1))
        self._most = most
        self._lock = threading.Lock()
        self._calls = threading.Condition(self._lock)
        self._stirs = threading.Condition(self._lock)
        self._ending = threading.Event()
        self._closed = False
        self._small: deque[Item] = deque()
        self._large: deque[Item] = deque()
        self._hashers: list[_Hasher] = []
        self._threads: set[threading.Thread] = set()
        self._watched = False
        self._wanted = 1
        self._bytes = 0
        self._looked = self._processor = 0.0

    # From outside

    def put(self, items: Iterable[Item]) -> None:
        """Take files to be hashed. Any thread; never waits."""
        with self._lock:
            if self._ending.is_set():
                return
            self._small.extend(items)
            self._call_somebody()
            if not self._watched:
                self._watched = True
                self._start("watcher", self._watch)
            self._stirs.notify()

    @property
    def waiting(self) -> int:
        """How many files nobody has begun with."""
        with self._lock:
            return len(self._small) + len(self._large) + sum(len(hasher.hand) for hasher in self._hashers)

    @property
    def busy(self) -> list[tuple[Item, float]]:
        """What is being hashed, each with when that began (monotonic clock, s)."""
        with self._lock:
            working = [(hasher.item, hasher.began) for hasher in self._hashers]
        return [(item, began) for item, began in working if item is not None]

    @property
    def hashed_bytes(self) -> int:
        """How much has been read, in bytes, large files on their way among it."""
        with self._lock:
            return self._bytes + sum(hasher.reader.bytes_read for hasher in self._hashers)

    def stop(self, timeout: float) -> None:
        """End; what nobody has finished is left alone, and nothing is delivered any more.

        Args:
            timeout: how long to wait (s) for what is being read; a thread that hangs is left behind.
        """
        deadline = time.monotonic() + timeout
        self._ending.set()
        with self._lock:
            for hasher in self._hashers:
                hasher.reader.stopped = True
            self._calls.notify_all()
            self._stirs.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            left = [item for hasher in self._hashers for item in _popped(hasher.done, BATCH)]
            self._closed = True
        if left:
            self._on_done(left)

    # A hasher

    def _start(self, name: str, function: Callable[..., None], *args: object) -> None:
        # A daemon, since one that hangs in a file system cannot be ended, and the process has to.
        thread = threading.Thread(target=function, args=args, name=f"pysmurf-{name}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _hash(self, hasher: _Hasher) -> None:
        try:
            while self._take(hasher):
                self._hash_batch(hasher)
        finally:
            hasher.reader.close()
            with self._lock:
                self._hashers.remove(hasher)
                self._bytes += hasher.reader.bytes_read
                self._threads.discard(threading.current_thread())

    def _take(self, hasher: _Hasher) -> bool:
        """Wait for work; return False if there is to be none."""
        with self._lock:
            hasher.is_idle = True
            while not self._ending.is_set():
                if batch := self._batch(hasher):
                    if batch[1:] or self._small or self._large:
                        self._call_somebody()
                    return True
                if not self._calls.wait(IDLE) and not self._is_work():
                    return False
            return False

    def _batch(self, hasher: _Hasher) -> list[Item]:
        now = time.monotonic()
        if self._may_take_large(now):
            batch, is_large = [self._large.popleft()], True
        elif self._may_take_small(now):
            batch, is_large = _popped(self._small, BATCH), False
        else:
            return []
        hasher.take(batch, is_large=is_large)
        return batch

    def _hash_batch(self, hasher: _Hasher) -> None:
        limit = None if hasher.is_large else LARGE
        hand, done, read = hasher.hand, hasher.done, hasher.reader.read
        deliver_at = hasher.began + DELIVER
        while not self._ending.is_set() and (items := _popped(hand, 1)):
            hasher.item = item = items[0]
            hasher.began = now = time.monotonic()
            if now > deliver_at:
                self._deliver(_popped(done, BATCH))
                deliver_at = now + DELIVER
            if read(item, limit):
                done.append(item)
            elif not self._ending.is_set():
                self._large.append(item)
            hasher.count += 1
        hasher.reader.close()
        hasher.item = None
        self._deliver(_popped(done, BATCH))

    def _deliver(self, items: list[Item]) -> None:
        if items and not self._closed:
            self._on_done(items)

    # Who does what; with the lock

    def _may_take_small(self, now: float) -> bool:
        return bool(self._small) and sum(each.is_small_and_moving(now) for each in self._hashers) < self._wanted

    def _may_take_large(self, now: float) -> bool:
        if not self._large or sum(each.is_large and not each.is_idle for each in self._hashers) >= max(
            1, self._most - 1
        ):
            return False
        return sum(each.is_large_and_moving(now) for each in self._hashers) < self._most_large

    def _is_work(self) -> bool:
        now = time.monotonic()
        return self._may_take_small(now) or self._may_take_large(now)

    def _call_somebody(self) -> None:
        """Have one more hasher look for work, if there is any that it may take."""
        if not self._is_work():
            return
        if any(hasher.is_idle for hasher in self._hashers):
            self._calls.notify()
        elif len(self._hashers) < self._most:
            hasher = _Hasher(self._roots)
            self._hashers.append(hasher)
            self._start("hasher", self._hash, hasher)

    # The watcher

    def _watch(self) -> None:
        while not self._ending.wait(TICK):
            self._deliver(self._look(time.monotonic()))
            with self._lock:
                self._stirs.wait_for(lambda: self._ending.is_set() or self._is_anything())

    def _is_anything(self) -> bool:
        return bool(self._small or self._large) or not all(hasher.is_idle for hasher in self._hashers)

    def _look(self, now: float) -> list[Item]:
        """Relieve hashers that are stuck, and find out how many are wanted; return what is to be delivered."""
        with self._lock:
            moving = sum(hasher.is_small_and_moving(now) for hasher in self._hashers)
            done = sum(hasher.look(now) for hasher in self._hashers)
            self._decide(done / max(1, moving), now)
            finished = self._relieve(now)
            self._call_somebody()
        return finished

    def _decide(self, done: float, now: float) -> None:
        passed, processor = now - self._looked, time.process_time()
        share = (processor - self._processor) / passed
        waiting = bool(self._small)
        self._wanted = next_wanted(self._wanted, done / passed, share, waiting=waiting, most=self._most)
        self._looked, self._processor = now, processor

    def _relieve(self, now: float) -> list[Item]:
        finished: list[Item] = []
        for hasher in self._hashers:
            if not hasher.is_idle and not hasher.is_large and now - hasher.began >= STUCK:
                self._small.extendleft(reversed(_popped(hasher.hand, BATCH)))
                finished += _popped(hasher.done, BATCH)
        return finished
