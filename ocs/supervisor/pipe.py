"""The pipe that a child prints into, which outlives the process that reads it.

It is a FIFO that both sides hold open for reading and writing: a child never writes to a pipe without a reader, so that
the death of a supervisor gives it no error; what is in the pipe stays there for the next one. Where none can be made
(no state folder, no room in it) a nameless pipe does the same, as long as `/proc` leads to it.
"""

import array
import fcntl
import os
import stat
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ocs.supervisor.output import ChildOutput

__all__ = ["Pipe", "PipeRoom", "pipe_name"]

_SIZE = 1 << 20
"""What a pipe holds while nobody reads it, in bytes: all that the system gives without privileges."""

_LEAST_SIZE = 1 << 16
"""What a pipe is to hold at least, in bytes."""

_CHUNK = 1 << 18
"""What is read at once, in bytes."""

_DRAIN_PATIENCE = 1.0
"""Time for what a child has left in its pipe, in seconds. It is not lost after that, but read later."""

_FLAGS = os.O_RDWR | os.O_CLOEXEC


class PipeRoom:
    """What the pipes of one supervisor hold: each as much, and together no more than the system gives one user.

    Without privileges that is 64 MiB in all; who comes after gets two pages, unless the others make room.
    """

    def __init__(self) -> None:
        self._size = _SIZE
        self._pipes: set[int] = set()

    def enter(self, fd: int) -> None:
        """Give a pipe its room."""
        self._pipes.add(fd)
        while not _resized(fd, self._size) and self._size > _LEAST_SIZE:
            self._size //= 2
            for other in self._pipes:
                _resized(other, self._size)

    def leave(self, fd: int) -> None:
        """Give back the room of a pipe that is about to be closed."""
        self._pipes.discard(fd)


def _resized(fd: int, size: int) -> bool:
    try:
        # Never to less than is in it.
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        return False
    return True


class Pipe:
    """The pipe of one child, over all its restarts.

    Args:
        reactor: reads it.
        path: where it is; None: nowhere in the file system.
        output: takes what is read.
        room: shared with the other pipes of a supervisor.
    """

    def __init__(self, reactor: Any, path: Path | None, output: ChildOutput, room: PipeRoom | None = None) -> None:
        self._reactor = reactor
        self._path = path
        self._output = output
        self._room = room or PipeRoom()
        self._fd = -1
        self._reading = False
        self._read_bytes = 0
        self._waiting: list[_Drain] = []

    def open(self) -> None:
        """Make the pipe, if that has not been done, and read it.

        Raises:
            OSError: there is no room for its descriptors.
        """
        if self._fd < 0:
            self._hold(_fifo(self._path) if self._path else _nameless())
        self.read()

    def take_over(self, pid: int) -> None:
        """Open the pipe that a process prints into; it is read from `read` on.

        Raises:
            OSError: it cannot be opened.
        """
        # What the process holds counts: the file may have been removed, or made anew, since.
        held = Path(f"/proc/{pid}/fd/1")
        try:
            source = held if stat.S_ISFIFO(held.stat().st_mode) else None
        except OSError:
            source = None
        self._hold(_open(source) if source else _fifo(self._path) if self._path else _nameless())

    def read(self) -> None:
        """Read from now on."""
        if self._fd >= 0 and not self._reading and not self._output.is_full():
            self._reading = True
            self._reactor.addReader(self)

    def writing_end(self) -> int:
        """Return a new descriptor for a child to print into; the caller closes it.

        Raises:
            OSError: there is no room for it.
        """
        # Opened anew, not copied: a copy would share our own's refusal to wait.
        return os.open(_reopened(self._fd), _FLAGS)

    def drained(self) -> "Deferred[None]":
        """Return a Deferred that fires when what is in the pipe now has been read, or after a second."""
        left = self._left()
        if left == 0:
            return succeed(None)
        drain = _Drain(self._reactor, self._read_bytes + left)
        self._waiting.append(drain)
        return drain.done

    def close(self, *, remove: bool = False) -> None:
        """Let go of the pipe.

        Args:
            remove: nobody will need it again.
        """
        self._pause()
        for drain in self._waiting:
            drain.finish()
        if self._fd >= 0:
            self._room.leave(self._fd)
            os.close(self._fd)
            self._fd = -1
        if remove and self._path:
            with suppress(OSError):
                self._path.unlink()

    def fileno(self) -> int:
        """Return the descriptor, for the reactor."""
        return self._fd

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Take what is there; leave it there while the disk cannot follow, so that the child waits."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        self._read_bytes += len(data)
        self._output.write(data)
        self._waiting = [drain for drain in self._waiting if not drain.reached(self._read_bytes)]
        if not data:
            # A system that has no way to hold both ends: all who wrote have gone.
            self._pause()
        elif self._output.is_full():
            self._pause()
            self._output.when_not_full(self.read)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Stop with the reactor."""
        self._pause()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """Return what the reactor calls this in its log."""
        return f"pipe {self._path or ''}"

    def _hold(self, fd: int) -> None:
        self._fd = fd
        self._room.enter(fd)

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def _left(self) -> int:
        if self._fd < 0:
            return 0
        count = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, count)
        return count[0]


class _Drain:
    """One who waits until so many bytes in all have been read."""

    def __init__(self, reactor: Any, goal: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._goal = goal
        self._timer: DelayedCall | None = reactor.callLater(_DRAIN_PATIENCE, self._expired)

    def reached(self, read_bytes: int) -> bool:
        if read_bytes >= self._goal:
            self.finish()
        return self._timer is None

    def finish(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._expired()

    def _expired(self) -> None:
        self._timer = None
        self.done.callback(None)


def pipe_name(name: str) -> str:
    """Return what the pipe of a child is called: its name, where that can be a file's."""
    quoted = quote(name, safe="")
    return quoted.replace(".", "%2E", 1) if quoted.startswith(".") else quoted


def _fifo(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_fifo(path):
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        return _open(path)
    except OSError:
        # No room for a name. It can be taken over nevertheless: the child's own descriptor leads to it.
        return _nameless()


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _nameless() -> int:
    inner, outer = os.pipe()
    try:
        return _open(_reopened(inner))
    finally:
        os.close(inner)
        os.close(outer)


def _open(path: Path) -> int:
    return os.open(path, _FLAGS | os.O_NONBLOCK)


def _reopened(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}")
