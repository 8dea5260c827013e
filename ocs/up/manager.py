"""The HostManager of a run: how it is started, how patient one is with it, and the end of what it may have left."""

import os
import signal
import sys
from collections.abc import Mapping

from ocs.supervisor import Command, Policy, SendSignal, end_leftovers
from ocs.up.folder import DataFolder
from ocs.up.plan import SitePlan

__all__ = ["MANAGER_POLICY", "end_left_agents", "end_left_processes", "manager_command"]

MANAGER_POLICY = Policy(
    # It ends its agents first, each by up to three signals within 20 s; each further SIGTERM has it hurry.
    stop_signals=(
        (SendSignal(signal.SIGTERM), 30.0),
        (SendSignal(signal.SIGTERM), 10.0),
        (SendSignal(signal.SIGTERM), 5.0),
        (SendSignal(signal.SIGKILL, group=True), 5.0),
    ),
    # Its agents run on without it: nothing speaks against a quick start.
    first_delay=0.2,
)

_PATIENCE = 25.0
"""How long an earlier run's manager gets to end its agents, in seconds."""


def manager_command(plan: SitePlan, folder: DataFolder) -> Command:
    """Return how the manager of a plan is started."""
    argv = [sys.executable, "-m", "ocs.agent_cli", "--instance-id", plan.manager]
    argv += ["--site-file", str(plan.site_file), "--site-host", plan.host, "--working-dir", str(folder.root)]
    argv += ["--output-dir", str(folder.logs), "--crossbar-timeout", "0"]
    # What an agent prints is shown when it is printed, not when a buffer is full.
    env = {**_without_keys(os.environ), "PYTHONUNBUFFERED": "1", "OCS_STATE_DIR": str(folder.state)}
    return Command(plan.manager, tuple(argv), env, folder.root, folder.logs / f"{plan.manager}.log")


def _without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the user's own key: each agent has one of its own, by the site file."""
    return {name: value for name, value in environ.items() if name not in ("OCS_KEYS", "OCS_KEY_FILE")}


def end_left_agents(folder: DataFolder, timeout: float = 10.0) -> list[str]:
    """End the agents that a manager which is no more has left running. Blocks.

    Args:
        folder: the run's.
        timeout: time between the polite signal and SIGKILL, in seconds.

    Returns:
        Their names.
    """
    # Of whatever manager there has been: the site file may have changed since.
    return [name for ledger in folder.state.glob("*/*/processes.json") for name in end_leftovers(ledger, timeout)]


def end_left_processes(folder: DataFolder) -> list[str]:
    """End what a run that was killed has left running. Blocks.

    Returns:
        The names of what was running.
    """
    return [*end_leftovers(folder.ledger, _PATIENCE), *end_left_agents(folder)]
