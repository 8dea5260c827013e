"""How the agents of this host are started: their command line and their environment."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocs import site_config, systemd
from ocs.supervisor import Command

__all__ = ["AgentCommands", "child_environment", "given_options"]

_HANDED_ON = ("site_hub", "site_http", "site_realm", "address_root", "site_keys", "log_dir", "state_dir")
"""Options that children get if the manager itself was given them."""

_OURS_ALONE = (*systemd.ENVIRONMENT, "INSTANCE_ID", "OCS_KEY_FILE")


def given_options(words: Sequence[str]) -> tuple[str, ...]:
    """Return those of the manager's own command-line words that its children are to get as well."""
    parser = site_config.add_arguments(argparse.ArgumentParser(add_help=False, allow_abbrev=False))
    given = parser.parse_known_args(list(words))[0]
    found = ((name, getattr(given, name)) for name in _HANDED_ON)
    return tuple(word for name, value in found if value for word in (f"--{name.replace('_', '-')}", str(value)))


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of children: the manager's own, without what is meant for it alone."""
    env = {name: value for name, value in own.items() if name not in _OURS_ALONE}
    # What an agent prints is kept when it is printed, not when a buffer is full.
    return {**env, "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class AgentCommands:
    """Makes the commands of one manager's children."""

    site_host: str
    working_dir: Path
    handed_on: tuple[str, ...] = ()
    log_dir: Path | None = None
    """Folder for what children print; None: only their last lines are kept."""

    def make(self, instance_id: str, site_file: str) -> Command:
        """Return the command that starts an instance as the site file says."""
        argv: tuple[str, ...] = (
            sys.executable,
            "-m",
            "ocs.agent_cli",
            "--instance-id",
            instance_id,
            "--site-file",
            site_file,
        )
        argv += ("--site-host", self.site_host, "--working-dir", str(self.working_dir), *self.handed_on)
        return Command(instance_id, argv, child_environment(os.environ), self.working_dir, self.log_file(instance_id))

    def log_file(self, instance_id: str) -> Path | None:
        """Return where is kept what an instance prints."""
        return None if self.log_dir is None else self.log_dir / f"{instance_id.replace('/', '_')}.log"
