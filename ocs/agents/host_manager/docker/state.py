"""What the compose files describe against what there is: services, orphans, images that are yet to be fetched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocs.agents.host_manager.docker.answers import NOT_KNOWN
from ocs.agents.host_manager.docker.model import Container, Project, Service, Sight
from ocs.agents.host_manager.docker.text import one_line

__all__ = ["UNKNOWN_IMAGE", "Overview", "clashes", "containers_of", "describe"]

UNKNOWN_IMAGE = "unknown"
"""The id of an image that is not here."""
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Overview:
    """All that is to be known, as `parse_docker_state` documents it."""

    services: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    orphans: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    new_tags: Mapping[str, str] = field(default_factory=dict)

    def unknown(self) -> "Overview":
        """Return the same without what only the engine could tell now."""
        services = {name: {**service, "running": None} for name, service in self.services.items()}
        return Overview(services, self.orphans, self.new_tags)


def describe(projects: Sequence[Project], sight: Sight) -> Overview:
    """Return what there is of each service, and what there is beside.

    Args:
        projects: the readings of the compose files; of services of the same name the first counts.
        sight: the containers and images.
    """
    services: dict[str, dict[str, Any]] = {}
    new_tags: dict[str, str] = {}
    for project in projects:
        for name, service in project.services.items():
            if name in services:
                continue
            services[name] = _described(project, service, sight)
            if service.pulled and service.image not in sight.images:
                new_tags[name] = service.image
    return Overview(services, _orphans(projects, sight), new_tags)


def containers_of(project: Project, service: str, sight: Sight) -> list[Container]:
    """Return a service's containers, that which counts first: one that runs, of those the one that was made first."""
    found = [
        each
        for each in sight.containers
        if each.project == project.name and each.service == service and not each.one_off
    ]
    return sorted(found, key=lambda each: (not each.running, each.number, each.id))


def clashes(projects: Sequence[Project]) -> dict[Path, str]:
    """Return, by file, a line on services that an earlier file describes too, and that are run from there."""
    first: dict[str, Path] = {}
    found: dict[Path, str] = {}
    for project in projects:
        twice = [name for name in project.services if name in first]
        if twice:
            others = ", ".join(dict.fromkeys(str(first[name]) for name in twice))
            found[project.file] = (
                f"{project.file}: {', '.join(twice)} {'is' if len(twice) == 1 else 'are'} in {others} too, "
                f"which counts: rename or remove {'it' if len(twice) == 1 else 'them'} in one of the files"
            )
        for name in project.services:
            first.setdefault(name, project.file)
    return found


def _described(project: Project, service: Service, sight: Sight) -> dict[str, Any]:
    found = next(iter(containers_of(project, service.name, sight)), None)
    return {
        "compose_file": str(project.file),
        "service": service.name,
        "image_tag": service.image,
        "image_id": sight.images.get(service.image, UNKNOWN_IMAGE),
        **_as_found(found),
    }


def _as_found(container: Container | None) -> dict[str, Any]:
    return {
        "container_found": container is not None,
        "container_id": container.id if container else None,
        "running": bool(container and container.running),
        "running_image": container.image if container else None,
        "exit_code": container.exit_code if container else NOT_KNOWN,
        "state": container.state if container else "",
        "health": container.health if container else "",
        "pid": container.pid if container else None,
        "started": container.started if container else None,
        "finished": container.finished if container else None,
    }


def _orphans(projects: Iterable[Project], sight: Sight) -> dict[str, dict[str, Any]]:
    described: dict[str, set[str]] = {}
    files: dict[str, dict[str, Path]] = {}
    for project in projects:
        described.setdefault(project.name, set()).update(project.services)
        files.setdefault(project.name, {})[str(project.file)] = project.file
    orphans = {}
    for each in sight.containers:
        if each.one_off or each.service in described.get(each.project, {each.service}):
            continue
        file = _made_from(each, files[each.project])
        if file is not None:
            name = one_line(each.service, _LONGEST_NAME)
            orphans[each.id] = {"compose_file": str(file), "service": name, **_as_found(each)}
    return orphans


def _made_from(container: Container, files: Mapping[str, Path]) -> Path | None:
    """Return which of our files a container was made from; None: from a file of somebody else's in the same folder."""
    if not container.config_files:
        return next(iter(files.values()))
    return next((files[name] for name in container.config_files if name in files), None)
