"""The operations of one agent: launching them, stopping them, and answering for them.

Who owns what: the reactor's thread starts, ends and reports operations. A blocking function gets a thread of its own;
it touches its session, which locks itself, and hands its result back to the reactor. `Operations.start` and its sisters
may be called from any thread.
"""

import itertools
import math
import threading
import traceback
from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python import threadable
from twisted.python.failure import Failure

from ocs.base import ERROR, OK, TIMEOUT, OpCode, ResponseCode
from ocs.core.registered import AgentOp, AgentProcess, AgentTask, OpFunction
from ocs.core.restarting import Restarter
from ocs.ocs_twisted import OperationThread
from ocs.op_session import OpSession
from ocs.params import ParamError, check_params

__all__ = ["AgentOp", "AgentProcess", "AgentTask", "Operations", "Reply"]

Reply = tuple[ResponseCode, str, dict[str, Any]]


class Operations:
    """Runs the operations of one agent and keeps their sessions.

    Args:
        app: the agent, handed to sessions and functions.
        reactor: the reactor.
        log: the agent's logger.
        on_done: called with each session that has ended, in the reactor's thread.
        restarts: process name to when it is started again, in place of what it is registered with.
        on_again: called with the name, the parameters and the answer where a process has been started again.

    Attributes:
        ending: set once the agent is on its way out; nothing is started any more.
    """

    def __init__(
        self,
        app: Any,
        *,
        reactor: Any,
        log: Any,
        on_done: Callable[[OpSession], None],
        restarts: Mapping[str, str] | None = None,
        on_again: Callable[[str, Any, "Reply"], None] = lambda *_: None,
    ) -> None:
        self.tasks: dict[str, AgentTask] = {}
        self.processes: dict[str, AgentProcess] = {}
        self.sessions: dict[str, OpSession | None] = {}
        self.ending = False
        self._app = app
        self._reactor = reactor
        self._log = log
        self._on_done = on_done
        self._on_again = on_again
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._restarts = dict(restarts or {})
        self._restarter = Restarter(reactor, self._start_again)

    def register(self, name: str, op: AgentOp) -> None:
        """Make an operation known.

        Raises:
            ValueError: if the name is taken.
        """
        if name in self.sessions:
            raise ValueError(f"An operation called {name!r} is already registered.")
        if isinstance(op, AgentTask):
            self.tasks[name] = op
        elif isinstance(op, AgentProcess):
            op.restart = self._restarts.get(name, op.restart)
            self.processes[name] = op
        self.sessions[name] = None

    def find(self, name: Any) -> AgentOp | None:
        """Return the operation of that name, or None."""
        if not isinstance(name, str):
            return None
        return self.tasks.get(name) or self.processes.get(name)

    def op_codes(self) -> dict[str, int]:
        """Return each operation's state, as heartbeats carry it."""
        return {name: int(session.op_code if session else OpCode.NONE) for name, session in list(self.sessions.items())}

    def active(self) -> list[OpSession]:
        """Return the sessions that have not ended."""
        return [session for session in list(self.sessions.values()) if session and session.status != "done"]

    def start(self, name: str, params: dict[str, Any] | None, cred_level: int = 1) -> Reply:
        """Launch an operation. A restart that it waits for is cancelled.

        Returns:
            OK as soon as it is scheduled; ERROR with the active session if there is one, if a parameter is refused, or
            if the agent is ending.
        """
        return self._start(name, params, cred_level, times=0)

    def _start(self, name: str, given: dict[str, Any] | None, cred_level: int, *, times: int) -> Reply:
        op = self.find(name)
        if op is None:
            return self.unknown(name)
        if self.ending:
            return ERROR, f'Did not start "{name}": the agent is ending.', {}
        if active := self._active(name):
            return _in_progress(active)
        try:
            params = check_params(op.launcher, given)
        except ParamError as error:
            return ERROR, f'Did not start "{name}": {error.msg}', {}
        with self._lock:
            active = self._active(name)  # another thread may have been quicker
            if active is None:
                session = self.sessions[name] = OpSession(
                    next(self._ids), name, app=self._app, cred_level=cred_level, quiet=op.quiet
                )
        if active is not None:
            return _in_progress(active)
        if _restart_of(op) != "never":
            self._restarter.began(name, given, cred_level, times)
        self._launch(op, session, params)
        return OK, f'Started operation "{name}".', session.encoded_for_client()

    def _active(self, name: str) -> OpSession | None:
        session = self.sessions[name]
        return None if session is None or session.status == "done" else session

    def end_early(self, name: str, verb: str, params: dict[str, Any] | None) -> Reply:
        """Hand a stop (of a process) or an abort (of a task) to its function.

        Args:
            name: the operation.
            verb: ``stop`` or ``abort``.
            params: handed to the function.
        """
        op = self.find(name)
        if op is None:
            return self.unknown(name)
        if op.verb != verb:
            return ERROR, f'"{name}" is a {op.op_type}; use {op.verb}, not {verb}.', {}
        session = self.sessions[name]
        if session is None or session.status == "done":
            return self._call_off(name, session)
        if op.ender is None:
            return ERROR, f'"{name}" offers no way to {verb} it.', session.encoded_for_client()
        if not session.claim_end():
            return ERROR, f'Operation "{name}" is already stopping.', session.encoded_for_client()
        self._run(op.ender, session, params, op.ender_blocking, self._ender_returned)
        return OK, f'Requested {verb} of {op.op_type} "{name}".', session.encoded_for_client()

    def _call_off(self, name: str, session: OpSession | None) -> Reply:
        """Answer the stop of an operation that does not run; it may be waiting to be started again."""
        if session is None or not self._restarter.cancel(name):
            return ERROR, "No session active.", session.encoded_for_client() if session else {}
        session.add_message("Stopped: it does not start again.")
        return OK, f'Process "{name}" will not start again.', session.encoded_for_client()

    # Starting again

    def _start_again(self, name: str, params: dict[str, Any] | None, cred_level: int, times: int) -> None:
        reply = self._start(name, params, cred_level, times=times)
        self._on_again(name, params, reply)
        if reply[0] != OK:
            self._log.error("{op} is not started again: {message}", op=name, message=reply[1])

    def unknown_restarts(self) -> list[str]:
        """Return the names of processes that are to be started again and are not there."""
        return sorted(set(self._restarts) - set(self.processes))

    def begin_end(self) -> None:
        """Start nothing any more, be it for the first time or again."""
        self.ending = True
        self._restarter.cancel_all()

    # Answering

    def status(self, name: str) -> Reply:
        """Return an operation's current or last session."""
        if self.find(name) is None:
            return self.unknown(name)
        session = self.sessions[name]
        if session is None:
            return OK, "No session active.", {}  # the words that scripts look for
        word = "Session active." if session.status != "done" else f"Last session {_outcome(session)}."
        return OK, word, session.encoded_for_client()

    def wait(self, name: str, timeout: float | None) -> "Deferred[Reply]":
        """Return a Deferred that fires when the operation has ended, or the time is up.

        Args:
            name: the operation.
            timeout: seconds; None waits to the end, a negative one answers at once.
        """
        if self.find(name) is None:
            return succeed(self.unknown(name))
        if timeout is not None and not _is_time(timeout):
            return succeed((ERROR, f"timeout must be a number of seconds or None, not {timeout!r}.", {}))
        session = self.sessions[name]
        if session is None:
            return succeed((OK, f'"{name}" has not run since the agent started.', {}))
        if session.status == "done":
            return succeed(_ended(session))
        if timeout is not None and timeout < 0:
            return succeed(_still_going(session))
        return self._wait_for(session, timeout)

    def _wait_for(self, session: OpSession, timeout: float | None) -> "Deferred[Reply]":
        timer = None

        def stop_waiting(done: Deferred[Reply]) -> None:
            forget()
            if timer is not None and timer.active():
                timer.cancel()
            done.callback(_still_going(session))

        # Cancelled when the caller has gone: it is answered all the same, there is nothing to complain about.
        done: Deferred[Reply] = Deferred(stop_waiting)

        def ended(_session: OpSession) -> None:
            self._in_reactor(answer)

        def answer() -> None:
            if done.called:
                return
            if timer is not None and timer.active():
                timer.cancel()
            done.callback(_ended(session))

        forget = session.call_when_done(ended)
        if timeout is not None and not done.called:
            timer = self._reactor.callLater(timeout, stop_waiting, done)
        return done

    def unknown(self, name: Any) -> Reply:
        """Return the answer to a request for an operation that is not there."""
        known = ", ".join(sorted(self.sessions)) or "none"
        return ERROR, f'No task or process called "{str(name)[:80]}"; known: {known}.', {}

    def _launch(self, op: AgentOp, session: OpSession, params: Any) -> None:
        def function(session: OpSession, params: Any) -> Any:
            if session.status == "starting":
                session.set_status("running")
            return op.launcher(session, params)

        self._run(function, session, params, op.blocking, self._launcher_returned)

    def _run(
        self,
        function: OpFunction,
        session: OpSession,
        params: Any,
        blocking: bool,
        returned: Callable[[OpSession, Any], None],
    ) -> None:
        """Call a function where it belongs, then ``returned(session, result or Failure)`` in the reactor."""
        if blocking:
            thread = OperationThread(
                f"{session.op_name}:{session.session_id}",
                lambda: self._reactor.callFromThread(returned, session, _call(function, session, params)),
            )
            thread.start()
        else:
            # Not at once: the answer to the request goes out first, whatever the function does.
            self._in_reactor(
                self._reactor.callLater,
                0,
                lambda: maybeDeferred(function, session, params).addBoth(lambda result: returned(session, result)),
            )

    def _in_reactor(self, function: Callable[..., Any], *args: Any) -> None:
        if threadable.isInIOThread():
            function(*args)
        else:
            self._reactor.callFromThread(function, *args)

    def _launcher_returned(self, session: OpSession, result: Any) -> None:
        success, message = self._outcome(session, result)
        name, asked = session.op_name, session.ending or self.ending
        notice = str(self._restarter.ended(name, _restart_of(self.find(name)), success=success, asked=asked))
        if message and notice:
            session.add_message(message)
        session.finish(success, notice or message)
        if session.ending:  # asked to, by another thread, while it was ending
            self._restarter.cancel(name)
        self._on_done(session)

    def _ender_returned(self, session: OpSession, result: Any) -> None:
        """Note what the stopping function said; the session itself ends when the operation's own function returns.

        The session is stopping from now on, not before: stopping functions ask whether it is running. One that has
        refused, or crashed, may be called again.
        """
        refused = isinstance(result, Failure) or (_is_result(result) and not result[0])
        message = "" if result is None else self._outcome(session, result)[1]
        if message and session.status != "done":
            session.add_message(message)
        if refused:
            session.release_end()
        else:
            session.set_status("stopping")

    def _outcome(self, session: OpSession, result: Any) -> tuple[bool, str]:
        if isinstance(result, Failure):
            return False, self._describe_failure(session, result)
        if not _is_result(result):
            return False, f"ERROR: the operation returned {_shown(result)}, not (ok, message)."
        success, message = result
        return bool(success), "" if message is None else str(message)

    def _describe_failure(self, session: OpSession, failure: Failure) -> str:
        if failure.check(ParamError):
            return f"ERROR: {failure.value.msg}"  # type: ignore[union-attr]
        self._log.error(
            "operation {op} crashed:\n{trace}", op=session.op_name, trace=failure.getTraceback(elideFrameworkCode=True)
        )
        return f"CRASH: {type(failure.value).__name__}: {failure.getErrorMessage()}{_where(failure)}"


def _restart_of(op: AgentOp | None) -> str:
    return op.restart if isinstance(op, AgentProcess) else "never"


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _call(function: OpFunction, session: OpSession, params: Any) -> Any:
    try:
        return function(session, params)
    except BaseException:  # the function is the agent author's; whatever it raises must end its session, not be lost
        return Failure()


def _is_result(result: Any) -> bool:
    """Tell whether a function of an operation returned what it should: a pair whose first says yes or no."""
    if not isinstance(result, tuple | list) or len(result) != 2:  # noqa: PLR2004 - (ok, message)
        return False
    try:
        return bool(result[0]) in (True, False) and str(result[1]) is not None
    except Exception:  # the objects are the agent author's
        return False


def _shown(result: Any) -> str:
    if isinstance(result, Deferred | CoroutineType):
        return f"a {type(result).__name__} from a blocking function (register it with blocking=False)"
    try:
        return f"{result!r:.80}"
    except Exception:  # the object is the agent author's
        return f"a {type(result).__name__}"


def _where(failure: Failure) -> str:
    frames = traceback.extract_tb(failure.getTracebackObject())
    return f" ({frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""


def _in_progress(session: OpSession) -> Reply:
    return ERROR, f'Operation "{session.op_name}" already in progress.', session.encoded_for_client()


def _outcome(session: OpSession) -> str:
    return "SUCCEEDED" if session.success else "FAILED"


def _ended(session: OpSession) -> Reply:
    return OK, f'Operation "{session.op_name}" is done: {_outcome(session)}.', session.encoded_for_client()


def _still_going(session: OpSession) -> Reply:
    return TIMEOUT, f'Operation "{session.op_name}" is still going on; wait timed out.', session.encoded_for_client()
