"""The published names of this folder: one service by itself, without the care of a manager."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from ocs.agents.host_manager.docker.compose import Compose
from ocs.agents.host_manager.services import ServiceRunner
from ocs.errors import ComposeFileError, DockerError

__all__ = ["DockerContainerHelper", "parse_docker_state"]

Described = dict[str, dict[str, Any]]


class DockerContainerHelper(ServiceRunner):
    """Starts and stops the container of one service; one thing at a time, the last wish counts.

    Args:
        service: what `parse_docker_state` says of it.
        docker_bin: the docker program; else that in PATH.
        docker_compose_bin: the stand-alone Compose program; else ``docker compose``, else ``docker-compose`` in PATH.
        reactor: the global one unless given.

    Attributes:
        instance_id: the service's name.
    """

    def __init__(
        self,
        service: Mapping[str, Any],
        docker_bin: str | None = None,
        *,
        docker_compose_bin: str | None = None,
        reactor: Any = None,
    ) -> None:
        files = [Path(service["compose_file"])]
        reactor = reactor or _global_reactor()
        self._one = Compose(reactor, files, docker_bin=docker_bin, compose_bin=docker_compose_bin)
        super().__init__(self._one, service["service"], lambda: None)
        self.instance_id = self.service
        self.update(service)

    def update(self, service: Mapping[str, Any]) -> None:
        """Take newer knowledge of the service."""
        self._one.services = {**self._one.services, self.service: dict(service)}


def parse_docker_state(
    docker_compose_file: str | Path,
    *,
    docker_bin: str | None = None,
    docker_compose_bin: str | None = None,
    reactor: Any = None,
) -> "Deferred[tuple[Described, Described]]":
    """Find out which services a compose file describes, and what runs of them.

    Args:
        docker_compose_file: the file.
        docker_bin: the docker program; else that in PATH.
        docker_compose_bin: the stand-alone Compose program; else ``docker compose``, else ``docker-compose`` in PATH.
        reactor: the global one unless given.

    Returns:
        Fires with two dicts: services by name, and orphans by container id: containers that were made from this file
        for services that are no longer in it. In each entry: ``compose_file`` and ``service``; of services
        ``image_tag``, the image that the file names, and ``image_id``, its id, or "unknown" where it is not here;
        ``container_found``; ``container_id`` (None if there is none); ``running``; ``running_image``, the id of the
        container's image (or None); ``exit_code``, of the last end, 127 where none is known; ``state``, docker's own
        word; ``health``. Fails with a `DockerError` if the engine or Compose cannot be asked, with a
        `ComposeFileError` if the file has a mistake.
    """
    compose = Compose(
        reactor or _global_reactor(),
        [Path(docker_compose_file)],
        docker_bin=docker_bin,
        compose_bin=docker_compose_bin,
    )
    return ensureDeferred(_state_of(compose))


async def _state_of(compose: Compose) -> tuple[Described, Described]:
    await compose.look()
    for ok, _time, text in compose.status.values():
        if not ok and not compose.trouble:
            raise ComposeFileError(text)
    if compose.trouble:
        raise DockerError(compose.trouble)
    return dict(compose.services), dict(compose.orphans)


def _global_reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    return reactor
