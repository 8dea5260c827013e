"""How components are started: their command line, without a shell, and their environment."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ocs
from ocs import site_config, systemd
from ocs.agents.spawn_agent.family import MARK
from ocs.agents.spawn_agent.requests import ConfigFile, Wanted
from ocs.components.component import SPAWNED_BY
from ocs.errors import SpawnError
from ocs.supervisor import Command

__all__ = ["Commands", "child_environment"]

_NOT_INHERITED = (*systemd.ENVIRONMENT, "INSTANCE_ID", "CROSSBAR_TIMEOUT", "OCS_KEY_FILE")


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of components: the spawn agent's own, without what is meant for it alone."""
    env = {name: value for name, value in own.items() if name not in _NOT_INHERITED}
    # What a component prints is kept when it is printed, not when a buffer is full.
    return {**env, "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Commands:
    """Makes the commands of one spawn agent's components."""

    spawned_by: str
    """The spawn agent's prefix."""
    working_dir: Path
    site_words: tuple[str, ...] = ()
    site_file: str | None = None
    """Describes the instances of this machine; None: there is no such file."""
    site_host: str | None = None
    """The section of that file; None: that of the system's host name."""
    config_dir: Path | None = None
    """Where files of configuration that are not local are looked for; None: nowhere."""
    agent_service_url: str | None = None
    sequence_component: str = "SequenceComponent"
    """The agent class of sequence components."""
    output_dir: Path | None = None
    """Where is kept what components print; None: only the last lines are."""
    mark: str = ""
    """Tells this spawn agent's processes from those of any other."""

    def make(self, name: str, wanted: Wanted) -> Command:
        """Return the command that starts a component. It reads files: not in the reactor's thread.

        Args:
            name: what the component's process is called.
            wanted: the component.

        Raises:
            SpawnError: this machine does not have what is wanted.
            SiteConfigError: the site config file does not describe the instance.
        """
        self._check_version(wanted)
        words = self._words_of_class(wanted) if wanted.agent_class else self._words_of_instance(wanted)
        if self.output_dir:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, "-m", "ocs.agent_cli", *words, f"--working-dir={self.working_dir}")
        return self.command(name, argv)

    def command(self, name: str, argv: tuple[str, ...] = ()) -> Command:
        """Return a command of these words; without any, one for a process that is there already."""
        marks = {SPAWNED_BY: self.spawned_by, MARK: self.mark_of(name)}
        # Without the file itself: sequence scripts, for one, are looked for beside it.
        beside = {"OCS_CONFIG_DIR": str(Path(self.site_file).parent)} if self.site_file else {}
        env = {**child_environment(os.environ), **beside, **marks}
        log_file = self.output_dir / f"{name.replace('/', '_')}.log" if self.output_dir else None
        return Command(name, argv, env, self.working_dir, log_file)

    def mark_of(self, name: str) -> str:
        """Return what a component's family has in its environment."""
        return f"{self.mark}:{name}"

    def _check_version(self, wanted: Wanted) -> None:
        if wanted.version not in ("", ocs.__version__):
            raise SpawnError(f"version: {wanted.version!r} is not installed here; this machine has {ocs.__version__}")

    def _words_of_class(self, wanted: Wanted) -> tuple[str, ...]:
        is_own = wanted.component.component_type == "SequenceComponent"
        agent_class = self.sequence_component if is_own else wanted.agent_class
        words: tuple[str, ...] = (f"--agent-class={agent_class}", f"--instance-id={wanted.instance_id}")
        # It never gives up a router that is away: nobody would start it again.
        words += (f"--prefix={wanted.component.prefix}", "--crossbar-timeout=0", *self.site_words)
        return words + self._words_of_manager(wanted.obs_mode_file) if wanted.obs_mode_file else words

    def _words_of_manager(self, obs_mode_file: ConfigFile) -> tuple[str, ...]:
        path, url = self.config_file(obs_mode_file), self.agent_service_url
        return (f"--obs-mode-file={path}", *((f"--agent-service-url={url}",) if url else ()))

    def _words_of_instance(self, wanted: Wanted) -> tuple[str, ...]:
        if not self.site_file:
            raise SpawnError("instanceId: this spawn agent has no site config file that would describe an instance")
        place = argparse.Namespace(site=None, site_file=self.site_file, site_host=self.site_host)
        place.instance_id = wanted.instance_id
        site_config.get_config(place)
        words = (f"--instance-id={wanted.instance_id}", f"--site-file={self.site_file}")
        return words + ((f"--site-host={self.site_host}",) if self.site_host else ())

    def config_file(self, file: ConfigFile) -> Path:
        """Return the path of a file that a request names. It asks the disk: not in the reactor's thread.

        Args:
            file: the file.

        Raises:
            SpawnError: there is no such file, or it is not in the folder where it is to be.
        """
        path = self.working_dir / file.path if file.is_local else self._shared_file(file.field, file.path)
        if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for a name that no file can have
            raise SpawnError(f"{file.field}: {path}: there is no such file on this machine")
        return path

    def _shared_file(self, field: str, given: str) -> Path:
        if self.config_dir is None:
            raise SpawnError(f"{field}: this spawn agent has no folder of shared configuration: give it --config-dir")
        path = (self.config_dir / given).resolve()
        if not path.is_relative_to(self.config_dir.resolve()):
            raise SpawnError(f"{field}: {given!r} leads out of the folder of shared configuration")
        return path
