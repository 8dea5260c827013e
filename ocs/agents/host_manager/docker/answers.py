"""What the docker and compose programs print, and what it means; garbage is an error that quotes it."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ocs.agents.host_manager.docker.model import Container, Project, Service
from ocs.agents.host_manager.docker.text import one_line, warnings
from ocs.errors import DockerError

__all__ = [
    "CONTAINER_FORMAT",
    "EVENT_FORMAT",
    "IMAGE_FORMAT",
    "LIST_FORMAT",
    "concerns",
    "default_image",
    "full_name",
    "is_container_id",
    "is_image_name",
    "only_missing",
    "parse_containers",
    "parse_images",
    "parse_list",
    "parse_project",
    "parse_version",
]

_LABEL = "com.docker.compose."
DEFAULT_STOP_TIMEOUT = 10.0
"""How long docker lets a container take to stop, unless it is told otherwise, in seconds."""
NOT_KNOWN = 127
"""The exit code where none is known."""

LIST_FORMAT = f'[{{{{json .ID}}}},{{{{json (.Label "{_LABEL}project")}}}}]'
CONTAINER_FORMAT = (
    '{"id":{{json .ID}},"name":{{json .Name}},"image":{{json .Image}},"labels":{{json .Config.Labels}},'
    '"stop_timeout":{{json .Config.StopTimeout}},"state":{{json .State.Status}},"running":{{json .State.Running}},'
    '"pid":{{json .State.Pid}},"started":{{json .State.StartedAt}},"finished":{{json .State.FinishedAt}},'
    '"exit_code":{{json .State.ExitCode}},"health":{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}}}'
)
IMAGE_FORMAT = "[{{json .ID}},{{json .RepoTags}},{{json .RepoDigests}}]"
EVENT_FORMAT = "{{json .}}"

_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}")
_VERSION = re.compile(r"v?(\d+)\.(\d+)[\w.+~-]*")
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")
_NO_SUCH = re.compile(r"no such (object|image|container)|invalid reference format", re.IGNORECASE)


def parse_list(text: str, projects: Iterable[str]) -> list[str]:
    """Return the ids of the containers that belong to projects.

    Args:
        text: what ``docker ps`` printed as `LIST_FORMAT`.
        projects: the names of the projects.

    Raises:
        DockerError: it is something else.
    """
    wanted = set(projects)
    found = []
    for value in _lines(text, "docker ps"):
        if not (isinstance(value, list) and len(value) == 2 and is_container_id(value[0])):  # noqa: PLR2004 - a pair
            raise _garbage("docker ps", value)
        if isinstance(value[1], str) and value[1] in wanted:
            found.append(value[0])
    return found


def parse_containers(text: str) -> list[Container]:
    """Return containers.

    Args:
        text: what ``docker inspect`` printed as `CONTAINER_FORMAT`.

    Raises:
        DockerError: it is something else.
    """
    return [_container(value) for value in _lines(text, "docker inspect")]


def parse_images(text: str, names: Iterable[str]) -> dict[str, str]:
    """Return the ids of images by the names under which they were looked for; those that are not here are left out.

    Args:
        text: what ``docker image inspect`` printed as `IMAGE_FORMAT`.
        names: what it was asked for.

    Raises:
        DockerError: it is something else.
    """
    ids: dict[str, str] = {}
    for value in _lines(text, "docker image inspect"):
        if not (isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)):  # noqa: PLR2004 - as IMAGE_FORMAT
            raise _garbage("docker image inspect", value)
        for name in [*_texts(value[1]), *_texts(value[2])]:
            ids[full_name(name)] = value[0]
        ids[value[0]] = value[0]
    return {name: found for name in names if (found := _find_image(name, ids))}


def parse_project(text: str, errors: str, file: Path) -> Project:
    """Return what a compose file says.

    Args:
        text: what ``compose config --format json`` printed.
        errors: what it complained of.
        file: the compose file.

    Raises:
        DockerError: it is something else.
    """
    value = _json(text, "compose config")
    services = value.get("services") if isinstance(value, dict) else None
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not (services is None or isinstance(services, dict)):
        raise _garbage("compose config", value)
    found = {key: _service(key, each, name) for key, each in (services or {}).items()}
    return Project(file, name, found, tuple(warnings(errors)))


def parse_version(text: str) -> tuple[int, int] | None:
    """Return major and minor number of what ``compose version --short`` printed, None if that is no version."""
    match = _VERSION.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match and len(match[0]) < 64 else None  # noqa: PLR2004 - any sane length


def concerns(line: str, projects: Iterable[str]) -> bool:
    """Tell whether an event may change what is known: a line that ``docker events`` printed as `EVENT_FORMAT`.

    What cannot be read may: a look costs little.
    """
    try:
        event = _json(line, "docker events")
        attributes = event["Actor"]["Attributes"]
        return event["Type"] != "container" or attributes.get(f"{_LABEL}project") in set(projects)
    except (DockerError, LookupError, TypeError, AttributeError):
        return True


def only_missing(errors: str) -> bool:
    """Tell whether all that a program complains of is that something is not there."""
    lines = [line for line in errors.splitlines() if line.strip()]
    return bool(lines) and all(_NO_SUCH.search(line) for line in lines)


def is_container_id(value: object) -> bool:
    """Tell whether something is a container's id, rather than an option or garbage."""
    return isinstance(value, str) and _CONTAINER_ID.fullmatch(value) is not None


def is_image_name(value: object) -> bool:
    """Tell whether something could name an image."""
    return isinstance(value, str) and _IMAGE_NAME.fullmatch(value) is not None


def full_name(image: str) -> str:
    """Return an image's name as docker means it: with its registry, repository and tag, or digest."""
    name, at, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first in ("docker.io", "index.docker.io"):
        first, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    if at:
        return f"{first}/{_without_tag(rest)}@{digest}"
    return f"{first}/{rest}" if ":" in rest.rpartition("/")[2] else f"{first}/{rest}:latest"


def default_image(project: str, service: str) -> str:
    """Return the name that compose gives to the image that it builds for a service."""
    return f"{project}-{service}"


def _without_tag(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def _find_image(name: str, ids: Mapping[str, str]) -> str:
    if found := ids.get(full_name(name)) or ids.get(name):
        return found
    digits = name.removeprefix("sha256:")
    if not _CONTAINER_ID.fullmatch(digits):
        return ""
    return next((found for found in ids.values() if found.startswith(f"sha256:{digits}")), "")


def _service(name: str, value: Any, project: str) -> Service:
    if not isinstance(value, dict):
        raise _garbage("compose config", value)
    image, built = value.get("image"), bool(value.get("build"))
    pulled = bool(image) and not built and value.get("pull_policy") not in ("never", "build")
    return Service(name, str(image) if image else default_image(project, name), pulled)


def _container(value: Any) -> Container:
    if not (isinstance(value, dict) and is_container_id(value.get("id"))):
        raise _garbage("docker inspect", value)
    labels = value.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    exit_code, pid = value.get("exit_code"), value.get("pid")
    return Container(
        id=value["id"],
        name=str(value.get("name") or "").removeprefix("/"),
        project=str(labels.get(f"{_LABEL}project") or ""),
        service=str(labels.get(f"{_LABEL}service") or ""),
        number=_number(labels.get(f"{_LABEL}container-number")),
        one_off=str(labels.get(f"{_LABEL}oneoff")).lower() == "true",
        config_files=tuple(filter(None, str(labels.get(f"{_LABEL}project.config_files") or "").split(","))),
        image=str(value.get("image") or ""),
        state=str(value.get("state") or ""),
        running=value.get("running") is True,
        exit_code=exit_code if isinstance(exit_code, int) else NOT_KNOWN,
        health=str(value.get("health") or ""),
        stop_timeout=_seconds(value.get("stop_timeout")),
        pid=pid if isinstance(pid, int) and pid > 0 else None,
        started=_moment(value.get("started")),
        finished=_moment(value.get("finished")),
    )


def _number(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 10 else 1  # noqa: PLR2004 - sane


def _seconds(value: Any) -> float:
    sane = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if sane else DEFAULT_STOP_TIMEOUT


def _moment(value: Any) -> float | None:
    """Return a time of docker's (RFC 3339, nanoseconds) in unix s; None for the year 1, which is its "never"."""
    if not (isinstance(value, str) and len(value) < 64):  # noqa: PLR2004 - any sane length
        return None
    try:
        moment = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", value))
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo and moment.year > 1970 else None  # noqa: PLR2004 - where unix time begins


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _lines(text: str, program: str) -> Iterator[Any]:
    for line in text.split("\n"):
        if line.strip():
            yield _json(line, program)


def _json(text: str, program: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _garbage(program, text) from None


def _garbage(program: str, value: Any) -> DockerError:
    quoted = one_line(value if isinstance(value, str) else repr(value), 120)
    return DockerError(f"{program} answers what makes no sense: {quoted or 'nothing'}")
