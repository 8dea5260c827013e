"""Other agents, as a sequence script sees them: calls over WAMP that block the script's thread and nothing else.

An agent that is away is waited for: a request that cannot have been carried out is made again once the agent is there,
and a wait goes on. What may have been carried out is never sent twice.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail

from ocs.base import ResponseCode
from ocs.client_t import call_procedure
from ocs.clients.call_errors import SESSION_LOST, may_pass, own_error
from ocs.clients.op_handles import Operation, OpSpec, make_operations
from ocs.clients.patience import Patience
from ocs.clients.reply import OCSReply, check_reply
from ocs.errors import ControlClientError
from ocs.ocs_client import find_password

__all__ = ["Calls", "Line", "RemoteAgent", "connect"]

_CALL_TIME = 30.0
"""How long an agent gets to answer, in seconds, on top of what a wait is to last."""
_RETRY = 0.5
"""Between two attempts to reach an agent that is away, in seconds."""
_READING = ("get_api", "status", "wait")


class Line(Protocol):
    """What a call needs of the run: its thread's waits, its clock, and somebody to tell who is away."""

    def point(self) -> None:
        """Go on, wait, or raise `SequenceEnd`."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def await_reply(self, future: "Future[Any]") -> Any:
        """Wait for a result."""

    def set_away(self, what: str | None) -> None:
        """Note what is waited for."""


class Calls:
    """Makes calls of one agent, and makes them again while it is away.

    Args:
        session: the agent that calls: its WAMP session and its reactor.
        address: the agent that is called.
        line: the run.
        patience: how long to wait for an agent that is away, in seconds.
    """

    def __init__(self, session: Any, address: str, line: Line, patience: float | None) -> None:
        self.address = address
        self.line = line
        self.instance_id = address.rpartition(".")[2]
        self._session = session
        self._clock: Callable[[], float] = session.reactor.seconds
        self._patience = math.inf if patience is None else patience

    def now(self) -> float:
        """Return the time on a steady clock (s)."""
        return self._clock()

    def once(
        self, procedure: str, *args: Any, kwargs: Mapping[str, Any] | None = None, limit: float = _CALL_TIME
    ) -> Any:
        """Make one call.

        Args:
            procedure: what to call.
            args: its arguments.
            kwargs: its keyword arguments.
            limit: how long the answer may take, in seconds.

        Raises:
            ControlClientError: there is no answer.
            SequenceEnd: the run was aborted meanwhile.
        """

        def begin() -> "Deferred[Any]":
            if not self._session.realm_joined:
                return fail(own_error(SESSION_LOST, f"{procedure}: the router is away", not_sent=True))
            return call_procedure(self._session, procedure, *args, timeout=limit, kwargs=kwargs)

        future: Future[Any] = Future()
        self._session.reactor.callFromThread(_hand_over, begin, future, self._session.reactor)
        return self.line.await_reply(future)

    def insist(self, call: Callable[[], Any], *, repeatable: bool, until: float = math.inf) -> Any:
        """Make a call, again and again while the agent is away.

        Args:
            call: makes it once.
            repeatable: whether it changes nothing, so that one that was lost on its way can be made again.
            until: make no further attempt after this time, on the clock of `now` (s).

        Raises:
            ControlClientError: the agent was away for too long, or the call may have been carried out.
        """
        until = min(until, self.now() + self._patience)
        while True:
            self.line.point()
            try:
                result = call()
            except ControlClientError as error:
                if self.now() >= until or not _is_worth_another(error, repeatable=repeatable):
                    self.line.set_away(None)
                    raise
                self.line.set_away(str(error))
                self.line.sleep(_RETRY)
            else:
                self.line.set_away(None)
                return result


def _is_worth_another(error: ControlClientError, *, repeatable: bool) -> bool:
    """Whether the other end is away, and the call was not carried out or does not mind."""
    never_there = error.name == "wamp.error.no_such_procedure" or error.args[0][6].get("not_sent", False)
    return may_pass(error) and (repeatable or never_there)


def _hand_over(begin: Callable[[], "Deferred[Any]"], future: "Future[Any]", reactor: Any) -> None:
    """Have a Deferred's result go to a future, and the future's cancelling to the Deferred; in the reactor's thread."""
    calling = begin()

    def cancelled(done: "Future[Any]") -> None:
        if done.cancelled():
            reactor.callFromThread(calling.cancel)

    def succeeded(result: Any) -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(result)

    def failed(failure: Any) -> None:
        if future.set_running_or_notify_cancel():
            future.set_exception(failure.value)

    future.add_done_callback(cancelled)
    calling.addCallbacks(succeeded, failed)


class RemoteAgent:
    """A client of one agent, with an attribute per operation; requests block the script's thread; see `connect`."""

    def __init__(self, instance_id: str, api: Mapping[str, Any], caller: "_BlockingCaller") -> None:
        self.instance_id = instance_id
        self._api = api
        self._operations: dict[str, Operation[OCSReply]] = make_operations(api, caller)
        self.__dict__.update(self._operations)

    def __getattr__(self, name: str) -> Operation[OCSReply]:
        operations = ", ".join(sorted(self.__dict__.get("_operations", ())))
        raise AttributeError(f"{self.__dict__.get('instance_id')} has no operation {name!r}; it has: {operations}")

    def __repr__(self) -> str:
        return f"<agent {self.instance_id} ({self._api.get('agent_class')}): {', '.join(sorted(self._operations))}>"


def connect(calls: Calls, privs: str | int | None, *, check: bool) -> RemoteAgent:
    """Ask an agent for its operations and return a client.

    Args:
        calls: makes the calls.
        privs: a password, or a level from 1 to 3 that is looked up in the password file.
        check: raise an `OperationError` when a request or an operation fails.

    Raises:
        ControlClientError: the agent does not answer, for longer than its patience.
    """
    api = calls.insist(lambda: calls.once(calls.address, "get_api"), repeatable=True)
    password = find_password(privs, api, calls.instance_id)
    return RemoteAgent(calls.instance_id, api, _BlockingCaller(calls, password, check=check))


class _BlockingCaller:
    """Makes an agent's requests for the handles of its operations."""

    def __init__(self, calls: Calls, password: str | None, *, check: bool) -> None:
        self._calls = calls
        self._check = check
        self._credentials: dict[str, Any] = {} if password is None else {"password": password}

    def request(
        self, spec: OpSpec, action: str, *, params: Mapping[str, Any], timeout: float | None, check: bool | None
    ) -> OCSReply:
        """Ask for one action and return the reply."""
        if action == "wait":
            return self._checked(self._wait(spec, timeout), spec, action, check)
        reply = self._calls.insist(lambda: self._ask(spec, action, params), repeatable=action in _READING)
        return self._checked(reply, spec, action, check)

    def run(self, spec: OpSpec, params: Mapping[str, Any], *, check: bool | None) -> OCSReply:
        """Start an operation and wait for its end."""
        started = self.request(spec, "start", params=params, timeout=None, check=check)
        if started.status != ResponseCode.OK:
            return started
        return self._checked(self._wait(spec, None, started.session), spec, "wait", check)

    def _wait(self, spec: OpSpec, timeout: float | None, session: Mapping[str, Any] | None = None) -> OCSReply:
        """Wait in slices, for which an agent or router that is away counts as time."""
        patience = Patience(timeout, self._calls.now(), session)
        until = math.inf if timeout is None else self._calls.now() + timeout
        while True:
            reply = self._calls.insist(lambda: self._slice(spec, patience), repeatable=True, until=until)
            final = patience.judge(reply, self._calls.now())
            if final is not None:
                return OCSReply(*final)

    def _slice(self, spec: OpSpec, patience: Patience) -> OCSReply:
        return self._ask(spec, "wait", {}, patience.slice(self._calls.now()))

    def _ask(self, spec: OpSpec, action: str, params: Mapping[str, Any], timeout: float | None = None) -> OCSReply:
        kwargs = self._credentials if timeout is None else {**self._credentials, "timeout": timeout}
        limit = _CALL_TIME + max(0.0, timeout or 0.0)
        procedure = f"{self._calls.address}.ops"
        return OCSReply(*self._calls.once(procedure, action, spec.name, dict(params), kwargs=kwargs, limit=limit))

    def _checked(self, reply: OCSReply, spec: OpSpec, action: str, check: bool | None) -> OCSReply:
        if check or (check is None and self._check):
            outcome = action == "wait" or (action == "status" and check is True)
            check_reply(reply, self._calls.instance_id, spec.name, action, outcome=outcome)
        return reply
