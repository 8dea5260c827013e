"""Calls of programs: each a process with a time limit, of which a bounded part of the output is kept."""

import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ocs.agents.host_manager.docker.text import MOST_OUTPUT, Lines, last_words, seconds
from ocs.errors import DockerError
from ocs.supervisor.proc import reap_group, signal_group

__all__ = ["Answer", "CallTimeoutError", "Calls", "Patience"]

MOST_CALLS = 64
"""How many calls may be under way; more are there only if processes cannot even be killed."""
_MOST_ERROR_OUTPUT = 64 << 10
_LAST_OUTPUT_TIME = 2.0
"""How long output may still come when a program has ended, in seconds."""
_KILL_TIME = 5.0
"""How long a killed process may take to go, in seconds; it is given up then."""
_SIGKILL = 9
_PYTHON_SETSID = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"


class CallTimeoutError(DockerError):
    """A program has not answered in time, and was killed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program has said."""

    argv: tuple[str, ...]
    code: int
    """Its exit code; minus the signal that has ended it."""
    out: str
    err: str
    """The last of its standard error."""

    @property
    def reason(self) -> str:
        """Why it failed, in a line: its own words where it has said any."""
        return last_words(self.err) or last_words(self.out) or f"{_title(self.argv)} ended with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take."""

    limit: float
    """In seconds."""
    renewed: bool = False
    """Whether the time begins anew with all that is printed: for work that takes as long as it takes."""


class Calls:
    """Runs programs; belongs to the reactor's thread.

    Args:
        reactor: spawns them and keeps the time.
        env: their environment; this program's own unless given.
    """

    def __init__(self, reactor: Any, env: Mapping[str, str] | None = None) -> None:
        self._reactor = reactor
        self._env = {**(os.environ if env is None else env), **_ENV}
        self._under_way: set[_Call] = set()
        self._stopped = False

    async def run(
        self,
        argv: Sequence[str],
        patience: Patience | None,
        *,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        keep_last: bool = False,
    ) -> Answer:
        """Run a program until it ends.

        Args:
            argv: the program and its arguments.
            patience: how long it may take; None: for ever.
            cwd: the folder that it runs in, if there is such a folder.
            on_line: takes its output, line by line; nothing of it is kept then.
            keep_last: of too much output, keep the last instead of giving up.

        Raises:
            CallTimeoutError: it took too long, and was killed.
            DockerError: it cannot be started, was killed by `stop` or comes after that, or printed too much.
        """
        if self._stopped:
            raise DockerError(f"{_title(argv)} is not begun: the end has come")
        if len(self._under_way) >= MOST_CALLS:
            raise DockerError(f"{_title(argv)}: {MOST_CALLS} calls are under way already; do they hang?")
        call = _Call(self._reactor, tuple(argv), patience, on_line, keep_last=keep_last)
        self._under_way.add(call)
        try:
            call.start(self._env, cwd)
            return await call.ended()
        finally:
            self._under_way.discard(call)

    def allow(self) -> None:
        """Begin calls again."""
        self._stopped = False

    def stop(self) -> "Deferred[Any]":
        """Kill all that is under way, and begin nothing more until `allow`.

        Returns:
            Fires when it has gone.
        """
        self._stopped = True
        return DeferredList([call.kill(f"{_title(call.argv)} was broken off") for call in list(self._under_way)])


_ENV = {
    "COMPOSE_ANSI": "never",
    "COMPOSE_IGNORE_ORPHANS": "1",  # of which the manager tells by itself
    "BUILDKIT_PROGRESS": "plain",
    "DOCKER_CLI_HINTS": "false",
}


class _Call(ProcessProtocol):
    """One program that runs."""

    transport: Any

    def __init__(
        self,
        reactor: Any,
        argv: tuple[str, ...],
        patience: Patience | None,
        on_line: Callable[[str], None] | None,
        *,
        keep_last: bool,
    ) -> None:
        super().__init__()
        self.argv = argv
        self._reactor = reactor
        self._patience = patience
        self._on_line = on_line
        self._out_lines, self._err_lines = Lines(), Lines()
        self._out = _Output(MOST_OUTPUT, keep_last=keep_last)
        self._err = _Output(MOST_OUTPUT if keep_last else _MOST_ERROR_OUTPUT, keep_last=True)
        self._pid = 0
        self._code: int | None = None
        self._alarm: DelayedCall | None = None
        self._error: DockerError | None = None
        self._waiting: list[Deferred[None]] = []
        self._over = False

    def start(self, env: Mapping[str, str], cwd: Path | None) -> None:
        """Start it, in a session of its own, so that what it starts ends with it."""
        argv = _in_own_session(self.argv)
        folder = str(cwd) if cwd and cwd.is_dir() else None
        try:
            self._reactor.spawnProcess(self, argv[0], argv, env, folder)
        except OSError as error:
            raise DockerError(f"{self.argv[0]} cannot be started: {error.strerror or error}") from error
        if self._patience and not self._over:
            self._set_alarm(self._patience.limit, self._too_slow)

    async def ended(self) -> Answer:
        """Wait for the end, and return the answer."""
        await self._end()
        if self._error:
            raise self._error
        code = -1 if self._code is None else self._code
        return Answer(self.argv, code, self._out.text(), self._err.text())

    def kill(self, reason: str, kind: type[DockerError] = DockerError) -> "Deferred[None]":
        """Kill it and all it has started; fires when that has gone."""
        self._error = self._error or kind(reason)
        if not self._over:
            self._signal_group()
            with suppress(ProcessExitedAlready):
                # It may not have come to lead a group of its own yet.
                self.transport.signalProcess("KILL")
            self._set_alarm(_KILL_TIME, self._finish)
        return self._end()

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Note who it is, while the transport knows; nobody types there."""
        self._pid = self.transport.pid
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take output."""
        self._take(data, self._out_lines, self._out)
        if self._out.overflowed and not self._over and not self._error:
            self.kill(f"{_title(self.argv)} printed more than {MOST_OUTPUT >> 20} MiB")

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what it has to complain of; keep the last."""
        self._err.add(data)
        self._take(data, self._err_lines, None)

    def processExited(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Take note of the end; what it has started must not outlive it."""
        self._code = _code_of(reason.value)
        self._signal_group()
        self._set_alarm(_LAST_OUTPUT_TIME, self._finish)

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002, N802 - Twisted's signature
        """All that it had to say has been read."""
        self._finish()

    def _take(self, data: bytes, lines: Lines, output: "_Output | None") -> None:
        if self._patience and self._patience.renewed and self._code is None and not self._error:
            self._set_alarm(self._patience.limit, self._too_slow)
        if self._on_line is None:
            if output is not None:
                output.add(data)
            return
        for line in lines.feed(data):
            self._on_line(line)

    def _too_slow(self) -> None:
        patience = self._patience or Patience(0.0)
        nothing = "has said nothing for" if patience.renewed else "gave no answer within"
        self.kill(f"{_title(self.argv)} {nothing} {seconds(patience.limit)}, and was killed", CallTimeoutError)

    def _signal_group(self) -> None:
        if self._pid:
            signal_group(self._pid, _SIGKILL)

    def _set_alarm(self, delay: float, function: Callable[[], Any]) -> None:
        self._drop_alarm()
        self._alarm = self._reactor.callLater(delay, function)

    def _drop_alarm(self) -> None:
        if self._alarm and self._alarm.active():
            self._alarm.cancel()

    def _end(self) -> "Deferred[None]":
        end: Deferred[None] = Deferred()
        if self._over:
            end.callback(None)
        else:
            self._waiting.append(end)
        return end

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self._drop_alarm()
        self.transport.loseConnection()
        if self._code is None:
            self._error = self._error or DockerError(f"{_title(self.argv)} does not end, not even killed")
        else:
            reap_group(self._pid)
        waiting, self._waiting = self._waiting, []
        for end in waiting:
            end.callback(None)


class _Output:
    """A bounded part of what is printed: the first, or the last."""

    def __init__(self, most: int, *, keep_last: bool) -> None:
        self.overflowed = False
        self._most = most
        self._keep_last = keep_last
        self._parts: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        if self.overflowed:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._most and not self._keep_last:
            self.overflowed = True
            self._parts.clear()
        while self._size > self._most and len(self._parts) > 1:
            self._size -= len(self._parts.popleft())

    def text(self) -> str:
        return b"".join(self._parts).decode("utf-8", "replace")


def _in_own_session(argv: tuple[str, ...]) -> tuple[str, ...]:
    setsid = shutil.which("setsid")
    return (setsid, *argv) if setsid else (sys.executable, "-I", "-S", "-c", _PYTHON_SETSID, *argv)


def _code_of(reason: Any) -> int:
    with suppress(AttributeError):
        return -int(reason.signal) if reason.signal else int(reason.exitCode)
    return 0


def _title(argv: Sequence[str]) -> str:
    """Return a call as a person would name it: the program, and the words that say what is wanted."""
    words = iter(argv[1:])
    named = [Path(argv[0]).name]
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif _VERB.fullmatch(word):
            named.append(word)
        else:
            break
    return " ".join(named[:4])


_VALUED = ("-f", "--profile")
"""Options with a value, that come before the word that says what is wanted."""
_VERB = re.compile(r"[a-z]{2,12}")
