"""The manager's side of the template: has agents forked that would otherwise be started as programs of their own."""

import json
import os
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ocs.supervisor.process import Command, LaunchError
from ocs.supervisor.template import ANEW, PID, READY, REFUSED, UNFIT, WHY
from ocs.supervisor.template_process import TemplateProcess

__all__ = ["Template"]

_PREFIX = (sys.executable, "-m", "ocs.agent_cli")
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
"""A template that has been told to end and has not by then is killed, in seconds."""


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
        self._modules = list(modules)
        self._log = log or Logger(namespace=__name__)
        self._phase = _Phase.DOWN
        self._requests: deque[_Request] = deque()
        self._process: TemplateProcess | None = None
        self._living: set[TemplateProcess] = set()
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
        if self._requests:
            self._be_patient()
            if self._phase is _Phase.DOWN:
                self._env = self._requests[0].command.env if self._env is None else self._env
                self._start()
        while self._phase is _Phase.READY and self._requests and not self._requests[0].sent:
            self._send(self._requests[0])

    def _be_patient(self) -> None:
        """Begin to wait for the template, unless somebody does already."""
        if not (self._patience and self._patience.active()):
            patience = _ANSWER_PATIENCE if self._phase is _Phase.READY else _START_PATIENCE
            self._patience = self._reactor.callLater(patience, self._hangs)

    def _send(self, request: _Request) -> None:
        request.sent = True
        try:
            if self._process:
                self._process.send(request.message(), request.fds)
        except OSError as error:
            # Too long for a packet, or the template has just gone, of which we shall hear.
            self._answer(LaunchError(f"the template could not be asked: {error.strerror}"))

    def _answer(self, answer: int | LaunchError) -> None:
        _cancel(self._patience)
        request = self._requests.popleft()
        request.done.callback(answer) if isinstance(answer, int) else request.done.errback(answer)

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
        process = TemplateProcess(self._reactor, self._told, self._ended, self._log)
        self._phase = _Phase.STARTING
        try:
            process.start(self._env or {}, self._modules)
        except OSError as error:
            self._failed(f"it cannot be started: {error.strerror}")
            return
        self._process = process
        self._living.add(process)
        self._alarm = self._reactor.callLater(_LONGEST_START, process.kill)

    def _told(self, process: TemplateProcess, message: Mapping[str, Any]) -> None:
        if process is not self._process or self._phase is _Phase.STOPPED:
            return
        if READY in message:
            self._is_ready()
        elif UNFIT in message:
            self._is_unfit(message[UNFIT], message[WHY])
        elif ANEW in message:
            self._is_outdated(message[ANEW])
        elif self._requests and self._requests[0].sent:
            self._answer(message[PID] if PID in message else LaunchError(message[REFUSED]))
            self._go_on()

    def _is_ready(self) -> None:
        _cancel(self._alarm, self._patience)
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
        _cancel(self._alarm, self._patience)
        self._process, self._phase = None, _Phase.DOWN
        self._go_on()

    def _ended(self, process: TemplateProcess, how: str) -> None:
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


def _cancel(*calls: DelayedCall | None) -> None:
    for call in calls:
        if call and call.active():
            call.cancel()
