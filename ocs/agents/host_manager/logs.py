"""What the task `logs` shows of an instance's output."""

import time
from typing import Any, Final

from ocs.agents.host_manager.hosted import HostedRunner
from ocs.agents.host_manager.instances import ManagedInstance
from ocs.agents.host_manager.services import Composed, ServiceRunner

__all__ = ["log_page"]

_RUN: Final = time.time()
"""When this manager began (unix s): whoever follows an output learns by it that positions are counted anew."""


async def log_page(
    minst: ManagedInstance, lines: int, position: int | None, compose: Composed | None
) -> dict[str, Any]:
    """Return what an instance has printed.

    Args:
        minst: the instance.
        lines: how many lines at most.
        position: what came after it is wanted; None: the last lines.
        compose: has the output of docker services.

    Raises:
        OCSError: docker cannot tell.
    """
    runner, log_file = minst.prot, None
    found: list[str] = []
    if isinstance(runner, HostedRunner):
        found, position = runner.child.output.read_since(position, lines)
        log_file = runner.child.command.log_file
    elif compose and isinstance(runner, ServiceRunner):
        found = await compose.logs(runner.service, lines)
    return {
        "instance_id": minst.instance_id,
        "lines": found,
        "position": position or 0,
        "log_file": str(log_file or ""),
        "run": _RUN,
    }
