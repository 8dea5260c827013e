"""What a child prints: the last lines in memory, all of it in log files that rotate.

The reactor's side hands bytes over with `ChildOutput.write`; a thread of the pool writes them to disk, one piece at a
time per child. A child that prints faster than the disk takes it is made to wait, so that memory stays bounded and
nothing is lost. Bytes stay bytes until somebody looks: no encoding error can hurt.
"""

import os
import re
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["ChildOutput", "LogFile", "Tail"]

_RECALLED = 1 << 16
"""How much is read of a log file whose child has been taken over, in bytes."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Tail:
    """The last lines of a stream of bytes.

    Args:
        lines: how many are kept.
        width: how many bytes are kept of each.
    """

    def __init__(self, lines: int = 400, width: int = 1000) -> None:
        self.count = 0
        """How many whole lines there have been in all."""
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._partial = b""
        self._width = width

    def feed(self, data: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        pieces = data.rsplit(b"\n", self._lines.maxlen or 0)
        if len(pieces) == 1:
            self._partial = (self._partial + data[: self._width])[: self._width]
            return
        first, *middle, last = pieces
        self.count += data.count(b"\n")
        # Of more lines than are kept, the first piece holds all the oldest: only its last line is wanted.
        head = first.rpartition(b"\n")
        self._lines.append((head[2] if head[1] else self._partial + first)[: self._width])
        self._lines.extend(piece[: self._width] for piece in middle)
        self._partial = last[: self._width]

    def end_line(self) -> bool:
        """End a line that has been begun: nobody will go on with it.

        Returns:
            Whether there was one.
        """
        begun = bool(self._partial)
        if begun:
            self.feed(b"\n")
        return begun

    def lines(self) -> list[str]:
        """Return the lines, oldest first, without control characters; what is not UTF-8 is replaced."""
        found = [*self._lines, self._partial] if self._partial else self._lines
        return [_readable(line) for line in found]

    def last_line(self) -> str:
        """Return the last line that is not blank, or an empty string."""
        return next((line for line in reversed(self.lines()) if line.strip()), "")

    def since(self, position: int, limit: int) -> tuple[list[str], int]:
        """Return whole lines after the first ``position`` ones, as far as they are kept, and the position after them.

        Args:
            position: one beyond the end counts as 0.
            limit: how many lines at most.
        """
        oldest = self.count - len(self._lines)
        begin = max(oldest, position if position <= self.count else 0)
        found = list(islice(self._lines, begin - oldest, begin - oldest + limit))
        return [_readable(line) for line in found], begin + len(found)


def _readable(line: bytes) -> str:
    return _CONTROL.sub("", line.decode(errors="replace")).rstrip()


class LogFile:
    """A file that is renamed to ``name.1`` (and that to ``name.2``...) when it has become too large.

    It belongs to one thread at a time.

    Args:
        path: the file; its folder exists.
        max_bytes: size at which the next one is begun.
        keep: how many old ones are kept.
    """

    def __init__(self, path: Path, max_bytes: int = 10_000_000, keep: int = 3) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def append(self, data: bytes) -> None:
        """Write at the end.

        Raises:
            OSError: the disk is full, or the folder is gone or not writable.
        """
        with self.path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0 or size + len(data) <= self._max_bytes:
                _write_all(file.fileno(), data)
                return
        self._rotate()
        with self.path.open("ab", buffering=0) as file:
            _write_all(file.fileno(), data)

    def _rotate(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{i}") for i in range(1, self._keep + 1))]
        for older, newer in zip(reversed(names), list(reversed(names))[1:], strict=False):
            if newer.exists():
                newer.replace(older)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _end_of(path: Path, size: int) -> bytes:
    """Return the last whole lines of a file, ``size`` bytes at most; nothing of a file that cannot be read."""
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(begin)
            data = file.read(size)
    except OSError:
        return b""
    return data.partition(b"\n")[2] if begin else data


class ChildOutput:
    """Everything one instance prints, over all its restarts.

    Args:
        reactor: gives the pool of threads that write.
        log: where it is kept; None: only the last lines are.
        limit: bytes that may wait for the disk before the child is made to wait, in bytes.
        writers: shared with other outputs, so that a disk that hangs takes only so many threads; None: a thread each.
    """

    log_of_trouble = Logger()

    def __init__(
        self, reactor: Any, log: LogFile | None, limit: int = 1 << 20, writers: DeferredSemaphore | None = None
    ) -> None:
        self.tail = Tail()
        self.lost_bytes = 0
        """Bytes that the disk refused."""
        self.trouble = ""
        """Why it refused the last ones; empty while all is well."""
        self._reactor = reactor
        self._log = log
        self._limit = limit
        self._writers = writers or DeferredSemaphore(1)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writing = False
        self._untold_bytes = 0
        self._resume: Callable[[], None] | None = None
        self._idle: list[Deferred[None]] = []

    def write(self, data: bytes) -> None:
        """Take bytes from the child. Called in the reactor's thread."""
        self.tail.feed(data)
        self._keep(data)

    def note(self, text: str) -> None:
        """Put a line of our own into the log file, indented to tell it from the child's; never a last line."""
        begun = b"\n" if self.tail.end_line() else b""
        self._keep(begun + f"  --- {text}\n".encode())

    def log_to(self, log: LogFile | None) -> None:
        """Keep what comes from now on in another file."""
        self._log = log

    def recall(self) -> "Deferred[None]":
        """Read the last lines from the end of the log file, for a child that has been taken over, before any others."""
        if self._log is None:
            return succeed(None)
        reading = self._in_thread(_end_of, self._log.path, _RECALLED)
        return reading.addCallback(self.tail.feed)

    def read_since(self, position: int | None = None, limit: int = 100) -> tuple[list[str], int]:
        """Return what has been printed since an earlier call: whole lines, of the last 400.

        Args:
            position: as the earlier call gave it; None: the last ``limit`` lines. One of an earlier supervisor gives
                all lines that there are.
            limit: how many lines at most.

        Returns:
            The lines, oldest first, and the position for the next call. If some had to be left out since they came too
            fast, a line says how many.
        """
        if position is None:
            position = max(0, self.tail.count - limit)
            return self.tail.since(position, limit)
        lines, following = self.tail.since(position, limit)
        missed = following - len(lines) - position
        if missed > 0:
            lines.insert(0, f"  --- {missed} lines came too fast to be shown; the log file has them")
        return lines, following

    def is_full(self) -> bool:
        """Whether the child should be made to wait."""
        return self._waiting_bytes > self._limit

    def when_not_full(self, resume: Callable[[], None]) -> None:
        """Call ``resume`` once when the child may go on."""
        self._resume = resume

    def drained(self) -> "Deferred[None]":
        """Return a Deferred that fires when all that was taken is on disk, or lost and counted."""
        waiter: Deferred[None] = Deferred()
        self._idle.append(waiter)
        if not self._writing:
            self._finished()
        return waiter

    def _keep(self, data: bytes) -> None:
        if self._log is None:
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if not self._writing:
            self._flush(self._log)

    def _flush(self, log: LogFile) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._writing = True
        writing = self._writers.run(self._in_thread, log.append, self._confession() + data)
        writing.addCallbacks(self._written, self._refused, errbackArgs=(len(data),))
        writing.addBoth(self._next)

    def _in_thread(self, function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)

    def _confession(self) -> bytes:
        if not self._untold_bytes:
            return b""
        return f"\n  --- {self._untold_bytes} bytes are missing here: {self.trouble}\n".encode()

    def _written(self, _result: None) -> None:
        self.trouble, self._untold_bytes = "", 0

    def _refused(self, failure: Failure, size: int) -> None:
        if not self.trouble:
            self.log_of_trouble.warn("a log file cannot be written: {reason}", reason=failure.value)
        self.trouble = str(failure.value)
        self.lost_bytes += size
        self._untold_bytes += size

    def _next(self, _result: None) -> None:
        self._writing = False
        self._waiting_bytes = sum(map(len, self._waiting))
        if self._resume and not self.is_full():
            resume, self._resume = self._resume, None
            resume()
        if self._waiting and self._log:
            self._flush(self._log)
        else:
            self._finished()

    def _finished(self) -> None:
        waiters, self._idle = self._idle, []
        for waiter in waiters:
            waiter.callback(None)
