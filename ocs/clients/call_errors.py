"""Why a call to an agent brought no result, in one line for the operator; the same for all clients."""

from collections.abc import Mapping, Sequence
from typing import Any

from ocs.errors import ControlClientError

__all__ = [
    "CONNECTION_ERROR",
    "REQUEST_ERROR",
    "SESSION_LOST",
    "is_agent_away",
    "may_pass",
    "own_error",
    "remote_error",
]

CONNECTION_ERROR = "client_http.error.connection_error"
"""Name of the error where the router cannot be reached, or the connection is lost before an answer."""

REQUEST_ERROR = "client_http.error.request_error"
"""Name of the error where the request cannot be sent as it is, or the answer is none."""

SESSION_LOST = "client_t.error.connection_error"
"""Name of the error where a WAMP session has lost its router, or an agent does not answer in time."""

_AGENT_AWAY = frozenset({"wamp.error.no_such_procedure", "wamp.error.canceled"})
_PASSING = _AGENT_AWAY | {CONNECTION_ERROR, SESSION_LOST}
"""Errors that a restart of the router or of the agent brings with it."""


def own_error(name: str, summary: str, **details: Any) -> ControlClientError:
    """Return an error of the client itself.

    Args:
        name: one of the names above.
        summary: the line for the operator.
        details: further facts, found in ``args[0][6]``.
    """
    return ControlClientError([0, 0, 0, 0, name, [summary], details], summary)


def remote_error(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, procedure: str, url: str
) -> ControlClientError:
    """Return an error that the router or the agent reports.

    Args:
        name: the error's name, as in ``wamp.error.no_such_procedure``.
        args: its arguments.
        kwargs: its keyword arguments.
        procedure: what was called.
        url: the router.
    """
    record = [0, 0, 0, 0, name, list(args), dict(kwargs)]
    return ControlClientError(record, _explain(name, procedure, url) or f"{procedure}: {name}: {_joined(args)}")


def _joined(args: Sequence[Any]) -> str:
    return " ".join(" ".join(map(str, args)).split()) or "(no reason given)"


def _explain(name: str, procedure: str, url: str) -> str | None:
    return {
        "wamp.error.no_such_procedure": f"Nobody serves {procedure} at {url}: the agent is not running, "
        "or it has another instance-id or address root",
        "wamp.error.not_authorized": f"The router at {url} gives no access to {procedure}: check the address root, "
        "and at a closed site the role of our key",
        "wamp.error.canceled": f"{procedure}: the agent went away in the middle of the call",
    }.get(name)


def is_agent_away(error: ControlClientError) -> bool:
    """Return whether there is a router that does not know the agent."""
    return error.name in _AGENT_AWAY


def may_pass(error: ControlClientError) -> bool:
    """Return whether a restart of the router or the agent may be behind an error, so that it is worth a second try."""
    return error.name in _PASSING or error.args[0][6].get("http_status", 0) >= 500  # noqa: PLR2004 - the server's fault
