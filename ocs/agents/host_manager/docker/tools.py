"""The programs: which of them work here, how they are called, and how long they may take."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocs.agents.host_manager.docker.answers import parse_version
from ocs.agents.host_manager.docker.calls import Calls, Patience
from ocs.errors import DockerError

__all__ = ["Limits", "Programs", "Tools", "find_tools"]

_NEEDED_MAJOR = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, and how often they are done; all in seconds."""

    look: float = 20.0
    """A question to the engine; a busy machine answers within a few."""
    config: float = 30.0
    """Compose's reading of a file."""
    silence: float = 90.0
    """Without a word while containers are made or images fetched, which takes as long as it takes."""
    stop: float = 30.0
    """Stopping containers, beyond the time that they have for themselves."""
    poll: float = 30.0
    """Between looks at the engine though nothing has happened."""
    files: float = 2.0
    """Between looks at the compose files' time stamps."""
    first_pause: float = 1.0
    """Before the engine is tried again; twice as long each time, up to ``poll``."""

    @property
    def question(self) -> Patience:
        """For a question to the engine."""
        return Patience(self.look)

    @property
    def work(self) -> Patience:
        """For what takes as long as it takes, and tells how it goes."""
        return Patience(self.silence, renewed=True)


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs as an operator names them; None: those that are found."""

    docker: str | None = None
    compose: str | None = None
    """The stand-alone Compose program; a relative path is meant from the working directory."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that work here."""

    docker: tuple[str, ...] = ()
    """How a call of docker begins; empty: there is none."""
    compose: tuple[str, ...] = ()
    """How a call of Compose begins; empty: there is none that works."""
    trouble: str = ""
    """What is missing, and what to do."""

    def on_engine(self, *words: str) -> tuple[str, ...]:
        """Return a call of docker.

        Raises:
            DockerError: there is no docker.
        """
        if not self.docker:
            raise DockerError(self.trouble)
        return (*self.docker, *words)

    def compose_on(self, file: Path, *words: str) -> tuple[str, ...]:
        """Return a call of Compose on a file.

        All its profiles are meant: each service is started by its name, and one that is asleep is no orphan.

        Raises:
            DockerError: there is no Compose.
        """
        if not self.compose:
            raise DockerError(self.trouble)
        return (*self.compose, "-f", str(file), "--profile", "*", *words)


async def find_tools(calls: Calls, programs: Programs, limit: float) -> Tools:
    """Find out which programs work.

    Args:
        calls: runs them.
        programs: what the operator has named.
        limit: how long each may take to say its version, in seconds.
    """
    docker = shutil.which(programs.docker or "docker")
    if docker is None:
        return Tools(
            trouble=f"There is no program {programs.docker or 'docker'} here: install Docker (Debian: docker.io)"
        )
    refused = []
    for compose in _candidates(docker, programs.compose):
        trouble = await _trouble_with(calls, compose, limit)
        if not trouble:
            return Tools((docker,), compose)
        refused.append(trouble)
    return Tools((docker,), trouble=f"No Docker Compose (version 2) works here: {'; '.join(refused)}")


def _candidates(docker: str, given: str | None) -> list[tuple[str, ...]]:
    if given:
        path = Path(given).absolute()
        return [(str(path) if path.exists() or "/" in given else shutil.which(given) or str(path),)]
    alone = shutil.which("docker-compose")
    return [(docker, "compose"), *([(alone,)] if alone else [])]


async def _trouble_with(calls: Calls, compose: Sequence[str], limit: float) -> str:
    """Return what keeps a Compose program from being used; empty: nothing."""
    name = " ".join([Path(compose[0]).name if len(compose) > 1 else compose[0], *compose[1:]])
    try:
        answer = await calls.run([*compose, "version", "--short"], Patience(limit))
    except DockerError as error:
        return str(error)
    version = parse_version(answer.out)
    if answer.code or version is None:
        return f"{name}: {answer.reason}"
    if version[0] < _NEEDED_MAJOR:
        return f"{name} is version {answer.out.strip()}, too old"
    return ""
