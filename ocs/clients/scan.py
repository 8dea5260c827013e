"""Who is alive at a site, and what a listener to feeds means: the logic of ``ocs-client-cli``, without its network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ocs.base import OpCode
from ocs.errors import TopicError
from ocs.monitor import SiteMonitor

__all__ = [
    "AgentFound",
    "Topic",
    "activity",
    "as_json",
    "from_monitor",
    "from_registry",
    "op_code_name",
    "report",
    "resolve_topic",
]


_TOPIC = re.compile(r"[^\s#]+")


class AgentFound(NamedTuple):
    """An agent, and the state of its operations."""

    instance_id: str
    agent_class: str
    op_codes: Mapping[str, int]
    """Operation name to op code."""
    expired: bool = False
    """Whether it has fallen silent."""


class Topic(NamedTuple):
    """What to subscribe to."""

    uri: str
    match: str | None
    """How WAMP is to match it: None for exactly, ``wildcard`` where parts of it are empty."""


def resolve_topic(selector: str, address_root: str) -> Topic:
    """Return the topic that a person means.

    Args:
        selector: an address (``observatory.faker-1.feeds.heartbeat``), one relative to the address root
            (``faker-1.feeds.heartbeat``), an instance-id alone, for all of its feeds; ``..`` is any part.
        address_root: the first part of the site's addresses.

    Raises:
        TopicError: if there are characters in it that no topic has.
    """
    if not _TOPIC.fullmatch(selector):
        raise TopicError(
            f"{selector!r} is no topic: it has no blanks and no '#'; write for example fake-1.feeds.heartbeat"
        )
    parts = selector.split(".")
    if parts[0] == address_root or (parts[0] and parts[2:3] == ["feeds"]):
        uri = selector
    elif len(parts) == 1:
        uri = f"{address_root}.{selector}.feeds."
    elif selector.startswith(".."):
        uri = f"{address_root}{selector}"
    else:
        uri = f"{address_root}.{selector}"
    return Topic(uri, "wildcard" if "" in uri.split(".") else None)


def from_monitor(monitor: SiteMonitor, now: float) -> list[AgentFound]:
    """Return the agents whose heartbeats came, by address.

    Args:
        monitor: has heard them.
        now: on the clock that it was told.
    """
    return [
        AgentFound(view.instance_id, view.agent_class, view.op_codes, view.expired)
        for view in monitor.agents(now)
        if view.heartbeat_age is not None
    ]


def from_registry(data: Mapping[str, Any]) -> list[AgentFound]:
    """Return the agents of a registry's ``session.data``, by address."""
    return [
        AgentFound(
            address.rpartition(".")[2],
            str(entry.get("agent_class") or "?"),
            entry.get("op_codes") or {},
            bool(entry.get("expired")),
        )
        for address, entry in sorted(data.items())
        if isinstance(entry, Mapping)
    ]


def op_code_name(code: Any) -> str:
    """Return the name of an op code; a number that we do not know is shown as it is."""
    try:
        return OpCode(code).name
    except ValueError:
        return str(code)


def report(agents: Sequence[AgentFound], *, details: bool) -> list[str]:
    """Return the lines that tell a person who is there.

    Args:
        agents: the agents.
        details: whether each operation gets a line.
    """
    width = max((len(agent.instance_id) for agent in agents), default=0)
    class_width = max((len(agent.agent_class) for agent in agents), default=0)
    lines = []
    for agent in agents:
        head = f"  {agent.instance_id:{width}}  {agent.agent_class:{class_width}}"
        lines.append(f"{head}  {activity(agent)}".rstrip())
        if details:
            lines += _operation_lines(agent)
    return lines


def activity(agent: AgentFound) -> str:
    """Return what an agent does, for a person: its operations that run or have failed."""
    if agent.expired:
        return "expired: no heartbeat"
    active = [f"{name} {op_code_name(code).lower()}" for name, code in agent.op_codes.items() if _is_noteworthy(code)]
    return ", ".join(active) or "idle"


def _is_noteworthy(code: Any) -> bool:
    return code not in (OpCode.NONE, OpCode.SUCCEEDED)


def _operation_lines(agent: AgentFound) -> Iterable[str]:
    return (f"    {name:20s}: {op_code_name(code)}" for name, code in agent.op_codes.items())


def as_json(agents: Sequence[AgentFound]) -> list[dict[str, Any]]:
    """Return the same for machines."""
    return [
        {
            "instance_id": agent.instance_id,
            "agent_class": agent.agent_class,
            "expired": agent.expired,
            "operations": {name: op_code_name(code) for name, code in agent.op_codes.items()},
        }
        for agent in agents
    ]
