"""What the registry publishes: the state of every operation, as one number per block."""

from collections.abc import Iterator
from typing import Any

from ocs.feeds.names import enforce_field_name_rules
from ocs.presence.roster import RegisteredAgent

__all__ = ["block_name", "samples"]

_UNDERSCORES = str.maketrans(".-", "__")


def block_name(address: str, op_name: str) -> str:
    """Return the name of an operation's block, which is also that of its one field.

    Args:
        address: the agent's address.
        op_name: the operation's name.

    Returns:
        A legal field name, in which dots and hyphens have become underscores.
    """
    return enforce_field_name_rules(f"{address}_{op_name}".translate(_UNDERSCORES))


def samples(agent: RegisteredAgent, when: float) -> Iterator[dict[str, Any]]:
    """Make the messages that tell the state of an agent's operations.

    Args:
        agent: the agent.
        when: their timestamp (unix s).

    Yields:
        A message for a recorded feed per operation.
    """
    for op_name, code in agent.op_codes.items():
        name = block_name(agent.agent_address, op_name)
        yield {"block_name": name, "timestamp": when, "data": {name: code}}
