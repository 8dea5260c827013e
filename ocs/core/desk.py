"""Where an agent answers: the two procedures that clients call."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThread

from ocs.base import ERROR
from ocs.core.callers import caller_of
from ocs.core.operations import AgentOp
from ocs.plain import plain

__all__ = ["AgentDesk"]

_ACTIONS = ("start", "stop", "abort", "status")


_ARGUMENTS = ("action", "op_name", "params", "timeout", "password")


def _what_is_wrong(args: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return what is wrong with the arguments of a call, or nothing."""
    if len(args) > len(_ARGUMENTS):
        return f"{len(args)} arguments; there are {len(_ARGUMENTS)}: {', '.join(_ARGUMENTS)}."
    if unknown := named.keys() - set(_ARGUMENTS):
        return f"Unknown arguments: {sorted(unknown)}."[:300]
    twice = [name for name in _ARGUMENTS[: len(args)] if name in named]
    return f"Given twice: {', '.join(twice)}." if twice else ""


class AgentDesk:
    """Serves ``{address}`` and ``{address}.ops``. A user's mistake is an answer, never an exception.

    Args:
        agent: the agent; its ``start``, ``stop``, ``abort``, ``status`` and ``wait`` are what is served.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self._queries: dict[str, Callable[[], Any]] = {
            "get_api": self._api,
            "get_tasks": lambda: self._operations(agent.tasks),
            "get_processes": lambda: self._operations(agent.processes),
            "get_feeds": self._feeds,
            "get_agent_class": lambda: agent.class_name,
        }

    def serve_ops(self, *args: Any, call_details: Any = None, **named: Any) -> Any:
        """Answer a call to ``{address}.ops``. Who calls is in ``call_details``, which no caller can set.

        Args:
            args: action, operation, parameters, timeout (s) and password, as far as they are given.
            call_details: autobahn's `CallDetails`.
            named: the others, by the names in `_ARGUMENTS`.

        Returns:
            ``(code, message, session map)``, or a Deferred of it.
        """
        wrong = _what_is_wrong(args, named)
        if wrong:
            return ERROR, wrong, {}
        asked = dict(zip(_ARGUMENTS, args, strict=False)) | named
        action, op_name, params, timeout, password = map(asked.get, _ARGUMENTS)
        if action == "wait":
            return self._agent.wait(op_name, timeout=timeout, password=password)
        if action not in _ACTIONS:
            return ERROR, f'No action called "{str(action)[:80]}"; known: start, stop, abort, wait, status.', {}
        if action == "status":
            return self._agent.status(op_name, params=params, password=password)
        ask = partial(self._agent.judge, action, op_name, params, password, caller_of(call_details))
        return deferToThread(ask) if self._agent.access.is_slow(password) else ask()

    def serve_query(self, *args: Any, **named: Any) -> Any:
        """Answer a call to ``{address}``: what this agent is and offers; the question is ``q``, or the one argument."""
        q = args[0] if args else named.get("q")
        answer = self._queries.get(q) if isinstance(q, str) else None
        return answer() if answer else {"error": f"unknown query {str(q)[:80]!r}; known: {', '.join(self._queries)}"}

    def _api(self) -> dict[str, Any]:
        return {
            "agent_class": self._agent.class_name,
            "instance_hostname": socket.gethostname(),
            "instance_pid": os.getpid(),
            "feeds": self._feeds(),
            "processes": self._operations(self._agent.processes),
            "tasks": self._operations(self._agent.tasks),
            "access_control": self._agent.access.encoded(),
        }

    def _feeds(self) -> list[Any]:
        return [[name, plain(feed.encoded())] for name, feed in self._agent.feeds.items()]

    def _operations(self, ops: dict[str, AgentOp]) -> list[Any]:
        return [[name, self._session(name), op.encoded()] for name, op in sorted(ops.items())]

    def _session(self, name: str) -> dict[str, Any]:
        session = self._agent.sessions[name]
        return session.encoded_for_client() if session else {"op_name": name, "status": "no_history"}
