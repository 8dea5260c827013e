"""What is known of docker: what compose files describe, and which containers and images there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Container", "Project", "Service", "Sight"]


@dataclass(frozen=True, slots=True)
class Service:
    """What a compose file says of one service."""

    name: str
    image: str
    """Its image's name; where the file names none, that which compose gives to what it builds."""
    pulled: bool
    """Whether the image comes from a registry, rather than from a build on this machine."""


@dataclass(frozen=True, slots=True)
class Project:
    """One reading of a compose file."""

    file: Path
    name: str
    """The project's name, which all its containers carry."""
    services: Mapping[str, Service]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container that compose has made."""

    id: str
    name: str
    project: str
    service: str
    number: int
    one_off: bool
    """Whether it was made by ``compose run``, beside the service's own."""
    config_files: tuple[str, ...]
    """The compose files that it was made from; empty where nobody knows."""
    image: str
    """The id of the image that it was made of."""
    state: str
    """In docker's words: created, running, paused, restarting, exited, dead, removing."""
    running: bool
    exit_code: int
    health: str
    """What its health check says; empty where it has none."""
    stop_timeout: float
    """How long it may take to stop before it is killed, in seconds."""
    pid: int | None = None
    """Its first process, as docker's machine counts; None while it does not run."""
    started: float | None = None
    """When it was last started, unix s."""
    finished: float | None = None
    """When it last ended, unix s."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at the engine has shown."""

    containers: tuple[Container, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    """The ids of the images that are here, by the names under which they were looked for."""
