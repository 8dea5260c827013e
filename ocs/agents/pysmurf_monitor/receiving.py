"""The agent's side of the receiver: has the socket, starts the program, hears how far it is, starts it again.

The agent opens the socket and gives it to the program. So a program that dies costs nothing of what the kernel holds:
the next one goes on with the same socket.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from errno import EADDRINUSE
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

import ocs
from ocs.agents.pysmurf_monitor.receiver_socket import buffer_bytes, buffer_warning, open_socket
from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus, Tally
from ocs.errors import ReceiverError

__all__ = ["ReceiverError", "ReceiverStatus", "Receiving"]

_MODULE = "ocs.agents.pysmurf_monitor.receiver"
_SOCKET_FD = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # s, between attempts
_SOUND = 60.0  # s; a receiver that has run for so long is started again without a pause
_QUIET = 3.0  # s, in which the receiver of an agent that has ended may still have the port
_STOP_PATIENCE = 30.0  # s; the receiver itself gives up on its disk before
_DROPS_TOLD = 60.0  # s, between lines about the kernel's drops
_LONGEST_LINE = 1 << 16  # bytes
_MOST_COMPLAINTS = 100  # lines of a receiver's that are logged


class Receiving:
    """Keeps a receiver running. All of it is on the reactor's thread.

    Args:
        reactor: starts the process and keeps the time.
        directory: the journal's folder.
        bind: the address to listen at; empty: all of IPv4.
        port: the UDP port; 0: any that is free.
        journal_bytes: how large the journal may become, bytes.
        socket_bytes: the buffer that is asked of the kernel, bytes.
        on_news: called when more has been written.
        log: the agent's logger.

    Attributes:
        status: how it is going.
    """

    def __init__(
        self,
        reactor: Any,
        directory: Path,
        *,
        bind: str,
        port: int,
        journal_bytes: int,
        socket_bytes: int,
        on_news: Callable[[], None],
        log: Any,
    ) -> None:
        self.status = ReceiverStatus()
        self._reactor = reactor
        self._directory = directory
        self._bind, self._port, self._socket_bytes = bind, port, socket_bytes
        self._journal_bytes = journal_bytes
        self._on_news = on_news
        self._log = log
        self._socket: socket.socket | None = None
        self._process: _Process | None = None
        self._tally = Tally()
        self._first_index = 0
        self._failure: ReceiverError | None = None
        self._waiting: list[Deferred[int]] = []
        self._stopping: Deferred[None] | None = None
        self._timer: DelayedCall | None = None
        self._pause = _FIRST_PAUSE
        self._told = ""  # the trouble that was logged last
        self._tell_drops_at = 0.0
        self._began = 0.0

    def start(self) -> None:
        """Start receiving; returns at once."""
        self._began = self._reactor.seconds()
        self._attempt()

    def stop(self) -> Deferred[None]:
        """Have the receiver take what is there, bring it to the disk and end; fires when it has."""
        if self._stopping is None:
            self._stopping = Deferred()
            self._cancel_timer()
            self._close_socket()
            self._answer(ReceiverError("receiving was stopped"))
            if self._process:
                self._process.finish()
                self._timer = self._reactor.callLater(_STOP_PATIENCE, self._leave)
            else:
                self._stopping.callback(None)
        return _following(self._stopping)

    def drop_before(self, index: int) -> None:
        """Let go of all entries below an index. No later datagram gets one below it, whatever became of the disk.

        Call it before `start` with where reading is to go on: a power cut may have cost the journal its last second.
        """
        if index > self._first_index:
            self._first_index = index
            if self._process:
                self._process.send(f"drop {index}\n".encode())

    async def ready(self) -> int:
        """Return the port when datagrams are received.

        Raises:
            ReceiverError: they are not: the port is taken or not allowed, or the program does not start. It is
                tried again and again.
        """
        if self.status.running:
            return self.status.port
        if self._failure:
            raise self._failure
        answer: Deferred[int] = Deferred()
        self._waiting.append(answer)
        return await answer

    # Beginning.

    def _attempt(self) -> None:
        self._timer = None
        try:
            self._start_process(self._socket or self._open_socket())
        except ReceiverError as error:
            if not (_is_taken(error) and self._reactor.seconds() < self._began + _QUIET):
                self._fail(error)
            self._try_later()

    def _open_socket(self) -> socket.socket:
        opened = self._socket = open_socket(self._bind, self._port, self._socket_bytes)
        self.status = replace(self.status, port=opened.getsockname()[1], buffer_bytes=buffer_bytes(opened))
        warning = buffer_warning(self.status.buffer_bytes, self._socket_bytes)
        if warning:
            self._log.warn("{warning}", warning=warning)
        return opened

    def _start_process(self, datagrams: socket.socket) -> None:
        argv = [sys.executable, "-P", "-m", _MODULE, f"--socket-fd={_SOCKET_FD}", f"--directory={self._directory}"]
        argv += [f"--journal-bytes={self._journal_bytes}", f"--first-index={self._next_index()}"]
        files = {0: "w", 1: "r", 2: "r", _SOCKET_FD: datagrams.fileno()}
        process = _Process(self._heard, self._complained, self._ended, self._reactor.seconds())
        try:
            self._reactor.spawnProcess(process, argv[0], argv, _environment(), childFDs=files)
        except OSError as error:
            raise ReceiverError(f"the receiver cannot be started: {error.strerror or error}") from error
        self._process = process
        self._tally.begin()

    def _next_index(self) -> int:
        return max(self._first_index, self.status.written)

    def _try_later(self) -> None:
        self._timer = self._reactor.callLater(self._pause, self._attempt)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    # While it runs.

    def _heard(self, report: dict[str, Any]) -> None:
        before = self.status
        self.status = self._tally.merge(before, report)
        self._failure = None
        self._tell_trouble()
        self._tell_drops(self.status.kernel_drops - before.kernel_drops)
        self._answer(self.status.port)
        if self.status.written > before.written:
            self._on_news()

    def _tell_trouble(self) -> None:
        trouble = self.status.trouble
        if trouble != self._told:
            self._told = trouble
            if trouble:
                self._log.warn("{trouble}", trouble=trouble)
            else:
                self._log.info("datagrams are received as they should be")

    def _tell_drops(self, more: int) -> None:
        if more > 0 and self._reactor.seconds() >= self._tell_drops_at:
            self._tell_drops_at = self._reactor.seconds() + _DROPS_TOLD
            self._log.warn(
                "the kernel had no room for {total} datagrams by now, which are lost: they came faster than they were "
                "taken; a larger net.core.rmem_max helps",
                total=self.status.kernel_drops,
            )

    def _complained(self, line: str) -> None:
        self._log.warn("receiver: {line}", line=line)

    # Ending.

    def _ended(self, process: "_Process", how: str) -> None:
        self._process = None
        self.status = replace(self.status, running=False)
        if self._stopping:
            self._cancel_timer()
            self._stopping.callback(None)
            return
        self._start_again(process, how)

    def _start_again(self, process: "_Process", how: str) -> None:
        if self._reactor.seconds() - process.began > _SOUND:
            self._pause = _FIRST_PAUSE
        self.status = replace(self.status, restarts=self.status.restarts + 1)
        self._fail(ReceiverError(f"the receiver has ended ({how}); another is started"))
        self._try_later()

    def _leave(self) -> None:
        self._timer = None
        self._log.warn("the receiver still waits for the disk; it ends by itself when it has been served")
        if self._process:
            self._process.forget()
        self._process = None
        if self._stopping:
            self._stopping.callback(None)

    def _fail(self, error: ReceiverError) -> None:
        self._failure = error
        self.status = replace(self.status, trouble=str(error))
        self._tell_trouble()
        self._answer(error)

    def _answer(self, answer: int | ReceiverError) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if isinstance(answer, ReceiverError):
                each.errback(answer)
            else:
                each.callback(answer)

    def _close_socket(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def _cancel_timer(self) -> None:
        if self._timer and self._timer.active():
            self._timer.cancel()
        self._timer = None


class _Process(ProcessProtocol):
    """One receiver.

    Args:
        on_report: called with each report.
        on_complaint: called with each line of its standard error, up to a bound.
        on_end: called with this and how it ended, when it has.
        began: when it was started, the reactor's seconds.
    """

    transport: Any

    def __init__(
        self,
        on_report: Callable[[dict[str, Any]], None],
        on_complaint: Callable[[str], None],
        on_end: Callable[["_Process", str], None],
        began: float,
    ) -> None:
        self.began = began
        self._on_report = on_report
        self._on_complaint = on_complaint
        self._on_end = on_end
        self._reports = _Lines()
        self._complaints = _Lines()
        self._complained = 0
        self._last_words = ""

    def send(self, order: bytes) -> None:
        """Say a line to it."""
        self.transport.write(order)

    def finish(self) -> None:
        """Have it take what there is, and end."""
        self.transport.closeStdin()

    def forget(self) -> None:
        """Listen to it no more, whenever it ends."""
        self._on_report = self._on_complaint = _ignore
        self._on_end = _ignore
        self.transport.loseConnection()

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Pass on what it reports; what was overtaken by a later line at once is left out."""
        lines = self._reports.feed(data)
        if lines:
            self._on_report(json.loads(lines[-1]))

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Pass on what it complains about."""
        for line in self._complaints.feed(data):
            self._last_words = line.decode(errors="replace").strip() or self._last_words
            self._complained += 1
            if self._complained <= _MOST_COMPLAINTS:
                self._on_complaint(self._last_words)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Tell how it ended."""
        how = _how_it_ended(reason.value)
        self._on_end(self, f"{how}: {self._last_words}" if self._last_words else how)


class _Lines:
    """Cuts what comes in pieces into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        return lines


def _is_taken(error: ReceiverError) -> bool:
    return getattr(error.__cause__, "errno", None) == EADDRINUSE


def _how_it_ended(reason: Any) -> str:
    if not isinstance(reason, ProcessTerminated):
        return "by itself"
    return f"signal {reason.signal}" if reason.signal else f"exit code {reason.exitCode}"


def _environment() -> dict[str, str]:
    """Return an environment in which the program finds this package, wherever it was loaded from."""
    paths = [str(Path(ocs.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _following(original: Deferred[None]) -> Deferred[None]:
    """Return a Deferred of the caller's own that fires when another has or does."""
    if original.called:
        return succeed(None)
    own: Deferred[None] = Deferred()
    original.addCallback(lambda _result: own.callback(None))
    return own


def _ignore(*_args: Any) -> None:
    pass
