"""Clients in Twisted's manner, over WAMP: control scripts with Deferreds or coroutines, and an asynchronous OCSClient.

from ocs import client_t

async def script(app, args):
    faker = await client_t.AsyncOCSClient.connect(app, f"{args.address_root}.faker-1")
    print(await faker.delay_task(delay=2, check=True))

client_t.run_control_script(script)
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from typing import Any, Self

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.task import deferLater

from ocs import site_config
from ocs.base import ResponseCode
from ocs.clients.call_errors import SESSION_LOST, own_error, remote_error
from ocs.clients.control_session import ControlSession, run_in_session
from ocs.clients.op_handles import Operation, OpSpec, make_operations
from ocs.clients.patience import Patience
from ocs.clients.reply import OCSReply, check_reply
from ocs.errors import ControlClientError, OCSError
from ocs.ocs_client import find_password
from ocs.wamp.lean_autobahn import ApplicationError, ApplicationSession, SubscribeOptions, TransportLost

__all__ = [
    "AsyncOCSClient",
    "ControlSession",
    "OperationClient",
    "ProcessClient",
    "TaskClient",
    "call_procedure",
    "run_control_script",
]

DEFAULT_TIMEOUT = 30.0
"""How long an agent gets to answer, in seconds, on top of what a wait is to last."""


def run_control_script(
    function: Callable[..., Any], parser: argparse.ArgumentParser | None = None, *args: Any, **kwargs: Any
) -> Any:
    """Run ``function(app, parsed_args, *args, **kwargs)`` inside a joined WAMP session.

    Expected trouble (no site config file, no router, no agent) ends the program with one line and exit code 1; an error
    of the script's own with a traceback and exit code 1; Ctrl-C with exit code 130. Twisted's reactor is started for it
    and cannot be started again.

    Args:
        function: a generator function whose ``yield`` waits for Deferreds, a coroutine function, or a function that
            returns a Deferred or nothing. ``app`` is a `ControlSession`, with ``app.call`` and ``app.subscribe``.
        parser: has the script's own arguments; those of the site config are added.
        args: further arguments of the function.
        kwargs: further keyword arguments of the function.

    Returns:
        What the function returned.
    """
    try:
        parsed = site_config.parse_args(site_config.CONTROL, parser)
        return run_in_session(lambda app: function(app, parsed, *args, **kwargs), parsed)
    except OCSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # the script's own
        traceback.print_exc()
        sys.exit(1)


class OperationClient:
    """One operation of an agent; requests return a Deferred of ``(code, message, session)``.

    Args:
        app: a joined WAMP session.
        root_address: the agent's address, as in ``observatory.faker-1``.
        op_name: the operation.
    """

    def __init__(self, app: Any, root_address: str, op_name: str) -> None:
        self.app = app
        self.root_address = root_address
        self.op_name = op_name

    def request(
        self, action: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> "Deferred[OCSReply]":
        """Ask something of the operation.

        Args:
            action: ``start``, ``stop``, ``abort``, ``wait`` or ``status``.
            params: the operation's parameters.
            timeout: of a wait, in seconds.
        """
        caller = _AsyncCaller(self.app, self.root_address)
        return caller.ask(self.op_name, action, params or {}, timeout)

    def start(self, params: Mapping[str, Any] | None = None) -> "Deferred[OCSReply]":
        """Start the operation."""
        return self.request("start", params)

    def wait(self, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> "Deferred[OCSReply]":
        """Wait for its end, ``timeout`` seconds at most."""
        return self.request("wait", params, timeout)

    def status(self, params: Mapping[str, Any] | None = None) -> "Deferred[OCSReply]":
        """Ask for its current or last session."""
        return self.request("status", params)


class TaskClient(OperationClient):
    """A task of an agent."""

    def abort(self, params: Mapping[str, Any] | None = None) -> "Deferred[OCSReply]":
        """Ask it to end before it is done."""
        return self.request("abort", params)


class ProcessClient(OperationClient):
    """A process of an agent."""

    def stop(self, params: Mapping[str, Any] | None = None) -> "Deferred[OCSReply]":
        """Ask it to end."""
        return self.request("stop", params)


class AsyncOCSClient:
    """A client of one agent with an attribute per operation, as OCSClient, whose methods return Deferreds.

    It is made by `connect`. In coroutines, ``await`` what the methods return; in generators, ``yield`` it.
    """

    def __init__(
        self, app: Any, address: str, api: Mapping[str, Any], *, privs: str | int | None = None, check: bool = False
    ) -> None:
        self.instance_id = address.rpartition(".")[2]
        self._app = app
        self._address = address
        self._api = api
        caller = _AsyncCaller(app, address, find_password(privs, api, self.instance_id), check)
        self._operations: dict[str, Operation[Deferred[OCSReply]]] = make_operations(api, caller)
        self.__dict__.update(self._operations)

    @classmethod
    @inlineCallbacks
    def connect(
        cls, app: Any, address: str, privs: str | int | None = None, *, check: bool = False
    ) -> Generator["Deferred[Any]", Any, Self]:
        """Ask an agent for its operations and return a client.

        Args:
            app: a joined WAMP session: that of `run_control_script`, or an agent.
            address: the agent's address, as in ``observatory.faker-1``.
            privs: a password, or a level from 1 to 3 that is looked up in the password file.
            check: raise an `ocs.errors.OperationError` when a request or an operation fails.

        Returns:
            A Deferred of the client.

        Raises:
            ControlClientError: if the agent does not answer.
        """
        api = yield call_procedure(app, address, "get_api", timeout=DEFAULT_TIMEOUT)
        return cls(app, address, api, privs=privs, check=check)

    def __getattr__(self, name: str) -> "Operation[Deferred[OCSReply]]":
        operations = ", ".join(sorted(self.__dict__.get("_operations", ())))
        raise AttributeError(f"{self.__dict__.get('instance_id')} has no operation {name!r}; it has: {operations}")

    def __repr__(self) -> str:
        operations = ", ".join(sorted(self._operations))
        return f"<AsyncOCSClient {self.instance_id} ({self._api.get('agent_class')}): {operations}>"

    def subscribe(self, feed: str, handler: Callable[[Any], Any]) -> "Deferred[Callable[[], Deferred[None]]]":
        """Listen to one of the agent's feeds, also after the router was away.

        Args:
            feed: its name.
            handler: is called with each event: a list of the data and the feed's envelope.

        Returns:
            A Deferred of a function that ends the listening.
        """
        return follow(self._app, f"{self._address}.feeds.{feed}", lambda event, _topic: handler(event))


def follow(
    app: Any, topic: str, handler: Callable[[Any, str], Any], match: str | None = None
) -> "Deferred[Callable[[], Deferred[None]]]":
    """Subscribe to a topic, and again whenever the session has joined anew.

    Args:
        app: a joined WAMP session.
        topic: the topic.
        handler: is called with the one argument of each event, and its topic.
        match: ``prefix`` or ``wildcard``, where the topic is a pattern.

    Returns:
        A Deferred of a function that ends it.

    Raises:
        ControlClientError: if the router refuses it.
    """
    current: list[Any] = []
    options = SubscribeOptions(match=match, details=True)

    def handle(event: Any = None, *_more: Any, details: Any = None, **_named: Any) -> Any:
        return handler(event, details.topic or topic)

    def subscribe(*_: Any) -> "Deferred[None]":
        # An agent has a subscribe of its own, which allows one subscription per topic.
        subscribing: Deferred[Any] = ApplicationSession.subscribe(app, handle, topic, options)
        return subscribing.addCallback(lambda subscription: current.__setitem__(slice(None), [subscription]))

    def stop() -> "Deferred[None]":
        app.off("join", subscribe)
        return current.pop().unsubscribe() if current and current[0].active else maybeDeferred(lambda: None)

    def keep(_: Any) -> Callable[[], "Deferred[None]"]:
        app.on("join", subscribe)  # not earlier: the join that is going on would count
        return stop

    return subscribe().addCallbacks(keep, _translate, errbackArgs=(topic, _router_of(app)))


class _AsyncCaller:
    """Makes an agent's requests over WAMP."""

    def __init__(self, app: Any, address: str, password: str | None = None, check: bool = False) -> None:
        self._app = app
        self._address = address
        self._check = check
        self._credentials = {} if password is None else {"password": password}

    def request(
        self, spec: OpSpec, action: str, *, params: Mapping[str, Any], timeout: float | None, check: bool | None
    ) -> "Deferred[OCSReply]":
        """Ask for one action; return a Deferred of the reply."""
        return self.ask(spec.name, action, params, timeout).addCallback(self._checked, spec.name, action, check)

    @inlineCallbacks
    def run(
        self, spec: OpSpec, params: Mapping[str, Any], *, check: bool | None
    ) -> Generator["Deferred[OCSReply]", OCSReply, OCSReply]:
        """Start an operation and wait for its end; return a Deferred of the last reply."""
        started = yield self.request(spec, "start", params=params, timeout=None, check=check)
        if started.status != ResponseCode.OK:
            return started
        ended = yield self._wait(spec.name, {}, None, started.session)
        return self._checked(ended, spec.name, "wait", check)

    def ask(self, op_name: str, action: str, params: Mapping[str, Any], timeout: float | None) -> "Deferred[OCSReply]":
        """Ask for one action, by the operation's name; return a Deferred of the reply."""
        if action == "wait":
            return self._wait(op_name, params, timeout)
        return self._ask_once(op_name, action, params)

    @inlineCallbacks
    def _wait(
        self,
        op_name: str,
        params: Mapping[str, Any],
        timeout: float | None,
        session: Mapping[str, Any] | None = None,
    ) -> Generator["Deferred[Any]", Any, OCSReply]:
        clock = _reactor()
        patience = Patience(timeout, clock.seconds(), session)
        while True:
            try:
                reply = yield self._ask_once(op_name, "wait", params, patience.slice(clock.seconds()))
            except ControlClientError as error:
                delay = patience.delay(error, clock.seconds())
                if delay is None:
                    raise
                yield deferLater(clock, delay)
                continue
            final = patience.judge(reply, clock.seconds())
            if final is not None:
                return OCSReply(*final)

    def _ask_once(
        self, op_name: str, action: str, params: Mapping[str, Any], timeout: float | None = None
    ) -> "Deferred[OCSReply]":
        kwargs: dict[str, Any] = dict(self._credentials)
        if timeout is not None:
            kwargs["timeout"] = timeout
        limit = DEFAULT_TIMEOUT + max(0.0, timeout or 0.0)
        asking = call_procedure(
            self._app, f"{self._address}.ops", action, op_name, dict(params), timeout=limit, kwargs=kwargs
        )
        return asking.addCallback(lambda reply: OCSReply(*reply))

    def _checked(self, reply: OCSReply, op_name: str, action: str, check: bool | None) -> OCSReply:
        if check or (check is None and self._check):
            outcome = action == "wait" or (action == "status" and check is True)
            check_reply(reply, self._address.rpartition(".")[2], op_name, action, outcome=outcome)
        return reply


def _reactor() -> Any:
    """Return the reactor that runs: nobody hands it to a script's clients."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it chooses it

    return reactor


def call_procedure(
    app: Any, procedure: str, *args: Any, timeout: float, kwargs: Mapping[str, Any] | None = None
) -> "Deferred[Any]":
    """Call a procedure.

    Args:
        app: a joined WAMP session.
        procedure: its full address.
        args: its positional arguments.
        timeout: how long the answer may take, in seconds.
        kwargs: its keyword arguments.

    Returns:
        A Deferred of the result; it fails with a `ControlClientError` where there is none.
    """
    calling = maybeDeferred(app.call, procedure, *args, **(kwargs or {}))
    calling.addTimeout(timeout, _reactor(), lambda *_: _give_up(procedure, timeout))
    return calling.addErrback(_translate, procedure, _router_of(app))


def _router_of(app: Any) -> str:
    return str(getattr(app, "url", "the router"))


def _give_up(procedure: str, timeout: float) -> Any:
    raise own_error(
        SESSION_LOST, f"{procedure}: no answer in {timeout:g} s: the agent or the router hangs or is overloaded"
    )


def _translate(failure: Any, procedure: str, url: str) -> Any:
    error = failure.value
    if isinstance(error, ApplicationError):
        raise remote_error(error.error, error.args, error.kwargs or {}, procedure=procedure, url=url)
    if isinstance(error, TransportLost):
        raise own_error(SESSION_LOST, f"{procedure}: the connection to the router is lost")
    return failure
