"""A blocking client of one agent, over the router's HTTP bridge: calls, and errors that say what to do.

It loads neither Twisted nor any other networking package, so that a control script starts at once.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocs.clients.call_errors import CONNECTION_ERROR, REQUEST_ERROR, own_error, remote_error
from ocs.clients.http_connection import (
    DeadlineError,
    ExchangeError,
    HttpConnection,
    NoAnswerError,
    NotDeliveredError,
    find_route,
)
from ocs.clients.patience import Patience
from ocs.clients.permission import Permission
from ocs.errors import ControlClientError

if TYPE_CHECKING:  # an open site pays nothing for keys
    from ocs.keys.finding import SiteKeys

__all__ = ["CONNECTION_ERROR", "DEFAULT_TIMEOUT", "REQUEST_ERROR", "ControlClient", "ControlClientError"]

DEFAULT_TIMEOUT = 30.0
"""How long a call may take, in seconds: agents answer within milliseconds, with a busy reactor within some seconds."""

_MAX_IDLE_TIME = 30.0
"""A connection that was idle for longer is not used again, in seconds: a firewall may have dropped it in silence."""

_MAX_IDLE_CONNECTIONS = 8

_READING = frozenset(
    {"get_api", "get_tasks", "get_processes", "get_feeds", "get_agent_class", "status", "wait"},
)
"""First arguments of calls that change nothing, so that they may be repeated."""


class ControlClient:
    """Calls the procedures of one agent.

    It may be shared between threads; each call then uses a connection of its own. A connection that the router has
    closed meanwhile is opened again, once, without the caller noticing. A request that changes something is never sent
    a second time when the first may have arrived.

    Args:
        agent_addr: the agent's address, as in ``observatory.faker-1``.
        url: the router's HTTP bridge.
        realm: the WAMP realm; the bridge has one of its own, so that this is for information only.
        timeout: the longest time that a call may take, in seconds, on top of a timeout that is an argument of the call.
        keys: the site's keys, with the key to show; none at an open site.

    Raises:
        ControlClientError: if the URL is not one.
    """

    def __init__(
        self,
        agent_addr: str,
        url: str = "http://127.0.0.1:8001/call",
        realm: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        keys: "SiteKeys | None" = None,
    ) -> None:
        self.agent_addr = agent_addr
        self.call_url = url
        self.realm = realm
        self.timeout = timeout
        self._permission = Permission(keys.key if keys else None, realm or "")
        self._process = os.getpid()
        self._idle: deque[HttpConnection] = deque()
        try:
            authority = str(keys.ca) if keys and keys.ca else None
            self._route = find_route(url)._replace(authority=authority)
        except ValueError as error:
            raise own_error(REQUEST_ERROR, str(error)) from error

    def __repr__(self) -> str:
        return f"ControlClient({self.agent_addr!r}, url={self.call_url!r}, realm={self.realm!r})"

    def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    def stop(self) -> None:
        """Close the connections; a later call opens one again."""
        while self._idle:
            self._idle.pop().close()

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> Any:
        """Call any procedure at the router.

        Args:
            procedure: its full address.
            args: its positional arguments.
            kwargs: its keyword arguments; a ``timeout`` among them (s) prolongs the call's own.

        Returns:
            The result, or a list of results where there are several.

        Raises:
            ControlClientError: if there is none.
        """
        deadline = time.monotonic() + self.timeout + _patience_asked_for(kwargs)
        payload: dict[str, Any] = {"procedure": procedure, "args": args, "kwargs": kwargs}
        status, body = self._exchange(_encode(payload), deadline, procedure, repeatable=_is_repeatable(args, kwargs))
        return _result(status, body, procedure, self.call_url)

    def get_api(self, simple: bool = False) -> dict[str, Any]:
        """Return the agent's description of itself.

        Args:
            simple: only the names of feeds, processes and tasks, without their details.

        Raises:
            ControlClientError: if the agent does not answer.
        """
        api: dict[str, Any] = self.call(self.agent_addr, "get_api")
        if simple:
            api.update({kind: _names(api[kind]) for kind in ("feeds", "processes", "tasks") if kind in api})
        return api

    def get_tasks(self) -> list[Any]:
        """Return a list of ``[name, session, info]``."""
        tasks: list[Any] = self.call(self.agent_addr, "get_tasks")
        return tasks

    def get_processes(self) -> list[Any]:
        """Return a list of ``[name, session, info]``."""
        processes: list[Any] = self.call(self.agent_addr, "get_processes")
        return processes

    def get_feeds(self) -> list[Any]:
        """Return a list of ``[name, feed]``."""
        feeds: list[Any] = self.call(self.agent_addr, "get_feeds")
        return feeds

    def request(self, action: str, op_name: str, params: Mapping[str, Any] | None = {}, **kw: Any) -> list[Any]:
        """Ask something of an operation.

        A ``wait`` goes on for as long as it is asked to, also over restarts of the router: it is made of calls of some
        seconds each.

        Args:
            action: ``start``, ``stop``, ``abort``, ``wait`` or ``status``.
            op_name: the operation.
            params: the operation's parameters.
            kw: ``timeout`` (s) of a wait, ``password``.

        Returns:
            ``[code, message, session]``.

        Raises:
            ControlClientError: if there is no answer.
        """
        if action == "wait":
            return self.wait(op_name, params=params, **kw)
        return self._request(action, op_name, params, **kw)

    def wait(
        self,
        op_name: str,
        timeout: float | None = None,
        *,
        params: Mapping[str, Any] | None = {},
        session: Mapping[str, Any] | None = None,
        **kw: Any,
    ) -> list[Any]:
        """Wait for an operation's end, as `request` does.

        Args:
            op_name: the operation.
            timeout: seconds; None waits for however long it takes.
            params: as for a request.
            session: the session to wait for, where it is known from its start; the end of another one is an error.
            kw: ``password``.

        Returns:
            ``[code, message, session]``.

        Raises:
            ControlClientError: if there is no answer, and an outage lasts too long.
        """
        patience = Patience(timeout, time.monotonic(), session)
        while True:
            try:
                reply = self._request("wait", op_name, params, timeout=patience.slice(time.monotonic()), **kw)
            except ControlClientError as error:
                delay = patience.delay(error, time.monotonic())
                if delay is None:
                    raise
                time.sleep(delay)
                continue
            final = patience.judge(reply, time.monotonic())
            if final is not None:
                return final

    def special(self, subaddr: str, *args: Any, **kw: Any) -> Any:
        """Call a further procedure of the agent, ``{address}.{subaddr}``.

        Raises:
            ControlClientError: if there is no result.
        """
        return self.call(f"{self.agent_addr}.{subaddr}", *args, **kw)

    def _request(self, *args: Any, **kw: Any) -> list[Any]:
        reply: list[Any] = self.special("ops", *args, **kw)
        return reply

    def _exchange(self, body: bytes, deadline: float, procedure: str, *, repeatable: bool) -> tuple[int, bytes]:
        connection = self._kept_connection()
        try:
            if connection is not None:
                try:
                    return self._use(connection, body, deadline)
                except NotDeliveredError:
                    pass
                except NoAnswerError:
                    if not repeatable:
                        raise
            return self._use(HttpConnection(self._route), body, deadline)
        except ExchangeError as error:
            raise own_error(CONNECTION_ERROR, _describe(error, self.call_url, procedure, repeatable)) from error

    def _use(self, connection: HttpConnection, body: bytes, deadline: float) -> tuple[int, bytes]:
        answer = connection.exchange(body, deadline, self._permission.fields())
        if len(self._idle) < _MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        return answer

    def _kept_connection(self) -> HttpConnection | None:
        if self._process != os.getpid():  # a fork: the connections are the parent's
            self._process, self._idle = os.getpid(), deque()
        now = time.monotonic()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_usable and now - connection.last_used < _MAX_IDLE_TIME:
                return connection
            connection.close()


def _patience_asked_for(kwargs: Mapping[str, Any]) -> float:
    timeout = kwargs.get("timeout")
    return max(0.0, timeout) if isinstance(timeout, int | float) else 0.0


def _is_repeatable(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    action = args[0] if args else kwargs.get("action", kwargs.get("q"))
    return isinstance(action, str) and action in _READING


def _names(entries: Sequence[Any]) -> list[Any]:
    return [entry[0] for entry in entries]


def _describe(error: ExchangeError, url: str, procedure: str, repeatable: bool) -> str:
    if isinstance(error, NotDeliveredError) and "SSL" in str(error):
        advice = "compare ca.crt in the folder of keys (--site-keys, $OCS_KEYS, the site config file's 'keys')"
        return f"What answers at {url} is not known as this site's router ({error}): {advice}"
    if isinstance(error, NotDeliveredError):
        return f"No router at {url} ({error}): start the router, or check wamp_http in the site config file"
    if isinstance(error, DeadlineError):
        return f"{procedure}: the router at {url} {error}: the agent or the router hangs or is overloaded"
    unsure = "" if repeatable else "; the request may have been carried out, ask for the status"
    return f"{procedure}: the router at {url} {error}{unsure}"


def _numbers(value: Any) -> Any:
    """Turn NumPy's scalars and arrays into numbers and lists."""
    to_list = getattr(value, "tolist", None)
    if to_list is None:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return to_list()


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_numbers)


def _encode(payload: dict[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(payload).encode()
    except (TypeError, ValueError, RecursionError):
        place, reason = _find_culprit([*payload["args"], payload["kwargs"]], payload["procedure"], 0) or (
            "the request",
            "has no form in JSON",
        )
        raise own_error(REQUEST_ERROR, f"{place} cannot be sent: it {reason}") from None


def _find_culprit(value: Any, place: str, depth: int) -> tuple[str, str] | None:
    """Return which part of a request has no form in JSON, and why."""
    if isinstance(value, float) and not math.isfinite(value):
        return place, f"is {value}, which JSON does not have; None may stand for it"
    if isinstance(value, bytes | bytearray):
        return place, "is bytes; decode it, or send it as base64 text"
    items: Any = ()
    if isinstance(value, Mapping):
        items = ((f"{place}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        items = ((f"{place}, argument {i}" if depth == 0 else f"{place}[{i}]", v) for i, v in enumerate(value))
    elif hasattr(value, "tolist"):
        return _find_culprit(value.tolist(), place, depth + 1)
    elif not isinstance(value, str | int | float | None):
        return place, f"is of type {type(value).__name__}, which has no form in JSON"
    if depth >= 64:  # noqa: PLR2004 - it holds itself, or might as well
        return place, "is nested too deeply"
    return next((found for where, item in items if (found := _find_culprit(item, where, depth + 1))), None)


def _result(status: int, body: bytes, procedure: str, url: str) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or status != 200:  # noqa: PLR2004 - HTTP's OK
        raise own_error(REQUEST_ERROR, _describe_status(status, answer, url), http_status=status)
    if "error" in answer:
        arguments, keywords = answer.get("args") or [], answer.get("kwargs") or {}
        raise remote_error(answer["error"], arguments, keywords, procedure=procedure, url=url)
    results = answer.get("args") or [None]
    return results[0] if len(results) == 1 else results


def _said(answer: Any) -> str:
    reasons = answer.get("args") if isinstance(answer, dict) else None
    return str(reasons[0]) if isinstance(reasons, list) and reasons else "it asks for a token"


def _describe_status(status: int, answer: Any, url: str) -> str:
    if status == 401:  # noqa: PLR2004 - HTTP's Unauthorized
        return f"The router at {url} does not admit us: {_said(answer)}"
    said = f": {answer['error']}" if isinstance(answer, dict) and answer.get("error") else ""
    if status in (200, 404, 405):
        return f"{url} is not a router's HTTP bridge (HTTP {status}{said}): check wamp_http in the site config file"
    return f"The router's HTTP bridge at {url} refused the request (HTTP {status}{said})"
