"""The manager's side of the template: has agents forked that would otherwise be started as programs of their own."""

import json
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ocs.supervisor.process import Command, LaunchError
from ocs.supervisor.template import ANEW, PID, READY, REFUSED, TITLE_ROOM, UNFIT, WHY

__all__ = ["Template"]

_PREFIX = (sys.executable, "-m", "ocs.agent_cli")
_SOCKET = 3
_ROOM = 512

_START_PATIENCE = 8.0
_ANSWER_PATIENCE = 5.0
"""How long who asks for an agent waits for the template to be there, and to answer, in seconds."""
_LONGEST_START = 60.0
"""A template that has not come up by then is ended, in seconds."""
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""How long after its death a template is started again, at first and at last, in seconds."""
_STABLE_AFTER = 60.0
"""A template that has lived as long is started again after the first pause, in seconds."""
_STOP_PATIENCE = 2.0
_LONGEST_ANSWER = 1 << 16
_MOST_LINES = 20
"""Of what a template prints (it should print nothing), as many lines are logged."""
_LONGEST_LINE = 500


class _Phase(Enum):
    DOWN = auto()
    """It has not been needed yet, or is made anew."""
    STARTING = auto()
    READY = auto()
    PAUSING = auto()
    """It has failed; the next is started when the pause is over."""
    STOPPED = auto()


class _Request:
    """One agent to be forked."""

    def __init__(self, command: Command, output_fd: int, gate_fd: int) -> None:
        self.command = command
        self.fds = (output_fd, gate_fd)
        self.sent = False
        self.renewed = False
        """Whether the template has been made anew for it."""
        self.done: Deferred[int] = Deferred()

    def message(self) -> bytes:
        """Return what the template is told."""
        command = self.command
        cwd = str(command.cwd or Path.cwd())
        return json.dumps({"argv": command.argv, "env": dict(command.env), "cwd": cwd}).encode()


class Template:
    """Starts agents by having a warm process fork them: a `Launcher`.

    The process is started when it is first needed, or by `start`; when it dies, again after growing pauses. What cannot
    be forked raises `LaunchError`, for the caller to start it plainly. All of this belongs to the reactor's thread.

    Args:
        reactor: spawns, reads and keeps the time. The process itself should be a child subreaper before it launches.
        env: what agents have in common of their environment; None: the environment of the first one.
        modules: further modules to load ahead. One that cannot be (it fails, starts a thread, makes a reactor) is left
            out, which the log says.
        log: where trouble goes.
    """

    def __init__(
        self, reactor: Any, *, env: Mapping[str, str] | None = None, modules: Sequence[str] = (), log: Any = None
    ) -> None:
        self._reactor = reactor
        self._env = env
        self._cwd: str | None = None
        self._modules = list(modules)
        self._log = log or Logger(namespace=__name__)
        self._phase = _Phase.DOWN
        self._requests: deque[_Request] = deque()
        self._process: _Process | None = None
        self._living: set[_Process] = set()
        self._patience: DelayedCall | None = None
        self._alarm: DelayedCall | None = None
        self._pause = _FIRST_PAUSE
        self._trouble = ""
        self._stopped: Deferred[None] = Deferred()

    @property
    def pid(self) -> int | None:
        """The template's process; None while there is none."""
        return self._process.pid if self._process else None

    @property
    def trouble(self) -> str:
        """Why agents are started plainly at present; empty while all is well."""
        return self._trouble

    def start(self) -> None:
        """Start the process now, so that it is warm when the first agent is wanted."""
        if self._phase is _Phase.DOWN:
            self._env = {**os.environ, "PYTHONUNBUFFERED": "1"} if self._env is None else self._env
            self._start()

    async def launch(self, command: Command, output_fd: int, gate_fd: int) -> int:
        """Have an agent forked.

        Args:
            command: the agent, as ``python -m ocs.agent_cli ...`` of this interpreter.
            output_fd: what it prints into.
            gate_fd: what it reads a byte from before it begins; at its end it exits.

        Returns:
            Its process id; it is our own child.

        Raises:
            LaunchError: it has to be started plainly.
        """
        if command.argv[: len(_PREFIX)] != _PREFIX:
            raise LaunchError(f"{command.name} is not an agent of this interpreter")
        if self._phase in (_Phase.PAUSING, _Phase.STOPPED):
            raise LaunchError(self._trouble or "the template has been stopped")
        request = _Request(command, output_fd, gate_fd)
        self._requests.append(request)
        self._go_on()
        return await request.done

    def stop(self) -> "Deferred[None]":
        """End the process; what it has forked runs on.

        Returns:
            A Deferred that fires when it has gone.
        """
        self._phase = _Phase.STOPPED
        _cancel(self._patience, self._alarm)
        self._turn_away(LaunchError("the template is being stopped"))
        for process in self._living:
            process.end()
        if self._living:
            self._alarm = self._reactor.callLater(_STOP_PATIENCE, self._kill_all)
        elif not self._stopped.called:
            self._stopped.callback(None)
        done: Deferred[None] = Deferred()
        self._stopped.addCallback(done.callback)
        return done

    # Requests, one after the other.

    def _go_on(self) -> None:
        _cancel(self._patience)
        if not self._requests:
            return
        head = self._requests[0]
        patience = _ANSWER_PATIENCE if self._phase is _Phase.READY else _START_PATIENCE
        self._patience = self._reactor.callLater(patience, self._hangs)
        if self._phase is _Phase.DOWN:
            self._env = head.command.env if self._env is None else self._env
            self._cwd = str(head.command.cwd) if head.command.cwd else None
            self._start()
        elif self._phase is _Phase.READY and not head.sent:
            self._send(head)

    def _send(self, request: _Request) -> None:
        request.sent = True
        try:
            if self._process:
                self._process.send(request.message(), request.fds)
        except OSError as error:
            # Too long for a packet, or the template has just gone, of which we shall hear.
            self._answered(LaunchError(f"the template could not be asked: {error.strerror}"))

    def _answered(self, answer: int | LaunchError) -> None:
        request = self._requests.popleft()
        request.done.callback(answer) if isinstance(answer, int) else request.done.errback(answer)
        self._go_on()

    def _turn_away(self, error: LaunchError) -> None:
        requests, self._requests = self._requests, deque()
        for request in requests:
            request.done.errback(error)

    def _hangs(self) -> None:
        if self._phase is _Phase.READY and self._process:
            self._process.kill()
            self._failed(f"it has not answered for {_ANSWER_PATIENCE:g} s")
        else:
            self._turn_away(LaunchError(f"the template is not ready after {_START_PATIENCE:g} s"))

    # The process.

    def _start(self) -> None:
        process = _Process(self._reactor, self._told, self._ended, self._log)
        self._phase = _Phase.STARTING
        try:
            process.start(self._env, self._cwd, self._modules)
        except OSError as error:
            self._failed(f"it cannot be started: {error.strerror}")
            return
        self._process = process
        self._living.add(process)
        self._alarm = self._reactor.callLater(_LONGEST_START, process.kill)

    def _told(self, process: "_Process", message: Mapping[str, Any]) -> None:
        if process is not self._process or self._phase is _Phase.STOPPED:
            return
        if READY in message:
            self._is_ready()
        elif UNFIT in message:
            self._is_unfit(message[UNFIT], message[WHY])
        elif ANEW in message:
            self._is_outdated(message[ANEW])
        elif self._requests and self._requests[0].sent:
            self._answered(message[PID] if PID in message else LaunchError(message[REFUSED]))

    def _is_ready(self) -> None:
        _cancel(self._alarm)
        self._phase = _Phase.READY
        if self._trouble:
            self._log.info("agents are forked from a template again")
        self._trouble = ""
        self._go_on()

    def _is_unfit(self, module: str, why: str) -> None:
        if module in self._modules:
            self._log.warn("{module} is not loaded ahead for agents: {why}", module=module, why=why)
            self._modules.remove(module)
            self._renew()
        else:
            self._failed(f"{module} cannot be loaded ahead: {why}")

    def _is_outdated(self, why: str) -> None:
        self._log.debug("a new template is started for agents: {why}", why=why)
        head = self._requests[0] if self._requests else None
        if head:
            head.sent, again, head.renewed = False, head.renewed, True
            if again:
                self._requests.popleft().done.errback(LaunchError(f"{why} again and again"))
        self._renew()

    def _renew(self) -> None:
        """Replace the process, which ends by itself."""
        _cancel(self._alarm)
        self._process, self._phase = None, _Phase.DOWN
        self._go_on()

    def _ended(self, process: "_Process", how: str) -> None:
        self._living.discard(process)
        if self._phase is _Phase.STOPPED:
            if not self._living and not self._stopped.called:
                _cancel(self._alarm)
                self._stopped.callback(None)
        elif process is self._process:
            self._failed(f"it has ended, with {how}")

    def _failed(self, why: str) -> None:
        """Start another one after a pause; meanwhile agents are started plainly."""
        _cancel(self._patience, self._alarm)
        if self._process and self._process.age >= _STABLE_AFTER:
            self._pause = _FIRST_PAUSE
        if not self._trouble:
            self._log.warn("agents are started one by one, the template for them has failed: {why}", why=why)
        self._trouble = f"the template has failed: {why}"
        self._process, self._phase = None, _Phase.PAUSING
        self._alarm = self._reactor.callLater(self._pause, self._start)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._turn_away(LaunchError(self._trouble))

    def _kill_all(self) -> None:
        for process in self._living:
            process.kill()


class _Process(ProcessProtocol):
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
        on_message: Callable[["_Process", Mapping[str, Any]], None],
        on_end: Callable[["_Process", str], None],
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

    @property
    def age(self) -> float:
        """How long ago it was started, in seconds."""
        return float(self._reactor.seconds() - self._began)

    def start(self, env: Mapping[str, str] | None, cwd: str | None, modules: Sequence[str]) -> None:
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
                self._reactor.spawnProcess(self, argv[0], argv, {**(env or {}), **room}, cwd, childFDs=files)
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

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: ARG002, N802, N803 - Twisted's names
        """Log what it prints, up to a point."""
        for line in data.decode(errors="replace").splitlines():
            if self._lines < _MOST_LINES and line.strip():
                self._lines += 1
                self._log.warn("template for agents: {line}", line=line[:_LONGEST_LINE])

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        """Pass the end on."""
        self.end()
        end: Any = reason.value
        self._on_end(self, f"signal {end.signal}" if end.signal else f"exit code {end.exitCode}")


def _cancel(*calls: DelayedCall | None) -> None:
    for call in calls:
        if call and call.active():
            call.cancel()
