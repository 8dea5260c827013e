"""What the task `logs` shows of an instance's output."""

from typing import Any

from ocs.agents.host_manager.hosted import HostedRunner
from ocs.agents.host_manager.instances import ManagedInstance

__all__ = ["log_page"]


async def log_page(minst: ManagedInstance, lines: int, position: int | None) -> dict[str, Any]:
    """Return what an instance has printed.

    Args:
        minst: the instance.
        lines: how many lines at most.
        position: what came after it is wanted; None: the last lines.
    """
    runner = minst.prot
    if not isinstance(runner, HostedRunner):
        return {"instance_id": minst.instance_id, "lines": [], "position": 0, "log_file": ""}
    found, position = runner.child.output.read_since(position, lines)
    log_file = runner.child.command.log_file
    return {
        "instance_id": minst.instance_id,
        "lines": found,
        "position": position,
        "log_file": str(log_file or ""),
    }
