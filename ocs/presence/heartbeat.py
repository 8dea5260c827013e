"""Reading heartbeats, which come from anybody."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeGuard

from ocs.errors import OCSError

__all__ = [
    "MAX_CODE",
    "MAX_NAME",
    "MAX_OPS",
    "Heartbeat",
    "MalformedHeartbeatError",
    "check_op_codes",
    "read_heartbeat",
]

MAX_OPS = 1000
"""Operations of one agent; more than that is a mistake, and would make its row in the registry a burden to all."""
MAX_NAME = 255
"""Characters of an address, a class or an operation's name; as long as a field name can be."""
MAX_CODE = 255
"""Largest op code that is taken: room for codes that this version does not know yet."""


class MalformedHeartbeatError(OCSError):
    """A message on a heartbeat topic is no heartbeat; the text says why."""


class Heartbeat(NamedTuple):
    """One heartbeat. Its op codes are as they came: ``check_op_codes`` is for those that differ from the last ones."""

    address: str
    agent_class: str | None
    op_codes: dict[str, Any]


def read_heartbeat(event: Any) -> Heartbeat:
    """Take a heartbeat apart.

    Args:
        event: what came: a pair of op codes (operation to code) and feed envelope.

    Returns:
        The heartbeat; what it costs does not depend on the number of operations.

    Raises:
        MalformedHeartbeatError: if it has another shape.
    """
    if not isinstance(event, list | tuple) or len(event) != 2:  # noqa: PLR2004 - a pair
        raise MalformedHeartbeatError(f"a heartbeat is a pair of op codes and feed, not {_shown(event)}.")
    codes, feed = event
    if not isinstance(feed, Mapping):
        raise MalformedHeartbeatError(f"the feed of a heartbeat is a map, not {_shown(feed)}.")
    address, agent_class = feed.get("agent_address"), feed.get("agent_class")
    if not _is_name(address):
        raise MalformedHeartbeatError(f"a heartbeat's agent_address is {_shown(address)}.")
    if agent_class is not None and not _is_name(agent_class):
        raise MalformedHeartbeatError(f"the heartbeat of {address} has the agent_class {_shown(agent_class)}.")
    if not isinstance(codes, dict):
        raise MalformedHeartbeatError(f"the op codes of {address} are {_shown(codes)}, not a map.")
    return Heartbeat(address, agent_class, codes)


def check_op_codes(heartbeat: Heartbeat) -> dict[str, int]:
    """Check the op codes of a heartbeat.

    Returns:
        A copy of them.

    Raises:
        MalformedHeartbeatError: if there are too many, or one is not a name and a small number.
    """
    codes = heartbeat.op_codes
    if len(codes) > MAX_OPS:
        raise MalformedHeartbeatError(f"{heartbeat.address} has {len(codes)} operations; at most {MAX_OPS} are taken.")
    for name, code in codes.items():
        if not _is_name(name) or not _is_code(code):
            raise MalformedHeartbeatError(
                f"the heartbeat of {heartbeat.address} gives operation {_shown(name)} the code {_shown(code)}."
            )
    return {name: int(code) for name, code in codes.items()}


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _is_code(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CODE


def _shown(value: Any) -> str:
    """Return a short picture of anything, at a cost that does not depend on its size."""
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("..." if len(value) > 40 else "")  # noqa: PLR2004 - a message stays a line
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 64 else "a huge integer"  # noqa: PLR2004 - bits of the wire's integers
    return f"a {type(value).__name__}"
