"""The template as a process of the manager's, and the socket to it; what is said over it is `forking`'s."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ocs.supervisor.template import TITLE_ROOM

__all__ = ["TemplateProcess"]

_SOCKET = 3
_ROOM = 512
"""For the titles of agents, beside the template's own command line and environment, in bytes."""
_LONGEST_ANSWER = 1 << 16
"""In bytes."""
_MOST_LINES = 20
"""Of what a template prints (it should print nothing), as many lines are logged."""
_LONGEST_LINE = 500
"""In characters."""


class TemplateProcess(ProcessProtocol):
    """One template's process, and the socket to it.

    Args:
        reactor: spawns and reads.
        on_message: called with this, and what the template says.
        on_end: called once with this, and how it has ended.
        log: gets what it prints.
    """

    transport: Any

    def __init__(
        self,
        reactor: Any,
        on_message: Callable[["TemplateProcess", Mapping[str, Any]], None],
        on_end: Callable[["TemplateProcess", str], None],
        log: Any,
    ) -> None:
        self.pid: int | None = None
        self._reactor = reactor
        self._on_message = on_message
        self._on_end = on_end
        self._log = log
        self._began = reactor.seconds()
        self._socket: socket.socket | None = None
        self._lines = 0
        self._partial: dict[int, bytes] = {}

    @property
    def age(self) -> float:
        """How long ago it was started, in seconds."""
        return float(self._reactor.seconds() - self._began)

    def start(self, env: Mapping[str, str], modules: Sequence[str]) -> None:
        """Start it.

        Raises:
            OSError: the system refused.
        """
        argv = [sys.executable, "-m", "ocs.supervisor.template", "--socket", str(_SOCKET), *modules]
        room = {TITLE_ROOM: "." * _ROOM}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._socket = ours
        try:
            with theirs, Path(os.devnull).open("rb") as nothing:
                # Pipes for what is printed: an agent's streams are to be like those of one that is started plainly.
                files = {0: nothing.fileno(), 1: "r", 2: "r", _SOCKET: theirs.fileno()}
                self._reactor.spawnProcess(self, argv[0], argv, {**env, **room}, childFDs=files)
        except OSError:
            self._socket = None
            ours.close()
            raise
        self.pid = self.transport.pid
        self._reactor.addReader(self)

    def send(self, message: bytes, fds: Sequence[int]) -> None:
        """Say something to it.

        Raises:
            OSError: it is too long, or nobody listens.
        """
        if self._socket:
            socket.send_fds(self._socket, [message], list(fds))

    def end(self) -> None:
        """Let it end, by hanging up."""
        if self._socket:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None

    def kill(self) -> None:
        """End it at once."""
        self.end()
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def fileno(self) -> int:
        """Return the socket's descriptor, for the reactor."""
        return self._socket.fileno() if self._socket else -1

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        """Take what it says."""
        try:
            data = self._socket.recv(_LONGEST_ANSWER) if self._socket else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_message(self, json.loads(data))
        else:
            self.end()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's name
        """Stop with the reactor."""
        self.end()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """Return what the reactor calls this in its log."""
        return "template"

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted's names
        """Log what it prints, up to a point."""
        *lines, rest = (self._partial.get(childFD, b"") + data).split(b"\n")
        self._partial[childFD] = rest[:_LONGEST_LINE]
        self._tell(lines)

    def _tell(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._lines < _MOST_LINES and line.strip():
                self._lines += 1
                self._log.warn("template for agents: {line}", line=line[:_LONGEST_LINE].decode(errors="replace"))

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Pass the end on."""
        self._tell(self._partial.values())
        self.end()
        end: Any = reason.value
        self._on_end(self, f"signal {end.signal}" if end.signal else f"exit code {end.exitCode}")
