"""Docker Compose files beside the site file: is there a service for each instance, and the other way round?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ocs.errors import SiteConfigError
from ocs.inspection.managers import docker_options, managers_of
from ocs.inspection.problems import Level, Problem, error, note, warning
from ocs.scf.model import HostConfig, InstanceConfig
from ocs.scf.reading import Document, read_text
from ocs.scf.survey import Described, Survey, nearest

__all__ = ["check_compose", "services_of"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and where it is described."""

    name: str
    file: str
    line: int


def services_of(path: Path) -> list[Service]:
    """Return the services that a compose file describes, and those of files that it includes.

    Nothing is interpreted, so that whatever Compose knows may stand in it.

    Raises:
        SiteConfigError: a file is missing, or no YAML; the text has file and line.
    """
    return [service for file in _with_included(path) for service in _own_services(file)]


def _with_included(path: Path) -> list[Document]:
    found: dict[Path, Document] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop().resolve()
        if file in found:
            continue
        document = found[file] = _read(file)
        waiting += [file.parent / name for name in _included(document.root)]
    return list(found.values())


def _read(file: Path) -> Document:
    try:
        return Document(read_text(str(file)), str(file))
    except FileNotFoundError:
        raise SiteConfigError(f"the compose file {file} is not there") from None


def _included(root: yaml.Node | None) -> list[str]:
    entries = _child(root, "include")
    paths: list[Any] = []
    for entry in entries.value if isinstance(entries, yaml.SequenceNode) else ():
        path = _child(entry, "path") if isinstance(entry, yaml.MappingNode) else entry
        paths += path.value if isinstance(path, yaml.SequenceNode) else [path]
    names = [node.value for node in paths if isinstance(node, yaml.ScalarNode)]
    return [name for name in names if "$" not in name and "://" not in name]


def _own_services(document: Document) -> list[Service]:
    services = _child(document.root, "services")
    if not isinstance(services, yaml.MappingNode):
        return []
    return [
        Service(str(key.value), document.path, key.start_mark.line + 1)
        for key, _value in services.value
        if isinstance(key, yaml.ScalarNode) and key.value != "<<"
    ]


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def check_compose(found: Survey, host: HostConfig, base: Path, beside: Path | None = None) -> Iterator[Problem]:
    """Compare the docker instances of a host with the services that its HostManager is told of.

    Args:
        found: the site.
        host: a host whose files are on this machine.
        base: what relative paths are meant from, unless the HostManager is told its own ``--working-dir``.
        beside: where else they may be meant from, as nobody has said; systemd starts a HostManager in the site file's
            folder.
    """
    managers = managers_of(found, host)
    options = docker_options(managers[0].instance) if len(managers) == 1 else None
    if options is None or not options.files:
        return
    keys = (*managers[0].keys, "arguments")
    folders = [base / options.working_dir] if options.working_dir else [base, *([beside] if beside else [])]
    services: dict[str, Service] = {}
    complete = True
    for name in options.files:
        path = next((folder / name for folder in folders if (folder / name).exists()), folders[0] / name)
        if path.parent != (folders[0] / name).parent:
            yield note(f"{name} is not in {folders[0]}: a HostManager that runs in {path.parent} finds it there", keys)
        try:
            known = services_of(path)
        except SiteConfigError as problem:
            complete = False
            yield error(str(problem), keys)
            continue
        yield from _given_twice(services, known)
        services |= {service.name: service for service in known}
    if complete:
        described = [one for one in found.instances if one.host is host]
        yield from _compare(described, services, options.prefix)


def _given_twice(services: Mapping[str, Service], more: Sequence[Service]) -> Iterator[Problem]:
    for service in more:
        first = services.get(service.name)
        if first is not None and first.file != service.file:
            message = f"the service {service.name} is in {first.file} already: one instance would have two containers"
            yield Problem(Level.ERROR, message, file=service.file, line=service.line)


def _compare(described: Sequence[Described], services: Mapping[str, Service], prefix: str) -> Iterator[Problem]:
    expected = {f"{prefix}{one.instance.instance_id}": one for one in described}
    for name, one in expected.items():
        if one.instance.manage.startswith("docker") and name not in services:
            yield error(_no_service(one.instance, name, services), one.keys)
    for name, service in services.items():
        claimed = expected.get(name)
        if claimed is None and name.startswith(prefix):
            message = f"the service {name} belongs to no instance of this host: the HostManager only watches it"
            yield Problem(Level.WARNING, message, file=service.file, line=service.line)
        elif claimed is not None and claimed.instance.manage.startswith("host"):
            yield warning(
                f"{claimed.instance.instance_id} is run by the host (manage: {claimed.instance.manage}), and the"
                f" service {name} in {service.file}:{service.line} would run it once more",
                claimed.keys,
            )


def _no_service(instance: InstanceConfig, name: str, services: Mapping[str, Service]) -> str:
    near = nearest(name, services)
    hint = f"; did you mean {near}?" if near else f"; there are: {', '.join(sorted(services)) or 'none'}"
    return f"{instance.instance_id} is to run in docker, and no compose file has the service {name}{hint:.200}"
