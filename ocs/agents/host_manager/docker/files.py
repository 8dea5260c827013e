"""Compose files as they are on the disk: when they have changed, where a mistake stands, what they say without compose.

Blocks: for a thread.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocs.agents.host_manager.docker.answers import default_image
from ocs.agents.host_manager.docker.model import Project, Service
from ocs.agents.host_manager.docker.text import one_line
from ocs.errors import ComposeFileError, SiteConfigError
from ocs.scf.reading import Document, read_text

__all__ = ["Signature", "explain", "read_plainly", "references", "signature"]

_MOST_FILES = 64
"""How many files that a compose file refers to are watched."""

Signature = tuple[tuple[str, int, int, int], ...]
"""What changes whenever one of several files does."""


def signature(files: tuple[Path, ...]) -> Signature:
    """Return what changes whenever one of the files does, or comes or goes."""
    return tuple(_stamp(path) for path in files)


def references(file: Path) -> tuple[Path, ...]:
    """Return a compose file and what is read with it: ``.env``, and what it includes, extends, takes variables from."""
    found = {file: None, file.parent / ".env": None}
    waiting = [file]
    while waiting and len(found) < _MOST_FILES:
        for path, has_more in _referred(waiting.pop()):
            if path not in found:
                found[path] = None
                waiting += [path] if has_more else []
    return tuple(found)[:_MOST_FILES]


def read_plainly(file: Path, env: Mapping[str, str] = os.environ) -> Project:
    """Return what a compose file says, as far as YAML alone tells: no variables, no ``extends``, no ``include``.

    Raises:
        ComposeFileError: it cannot be read, or has a mistake; the text has file and line.
    """
    document = _document(file)
    try:
        value = document.value()
    except SiteConfigError as error:
        raise ComposeFileError(str(error)) from None
    services = value.get("services") if isinstance(value, dict) else None
    if not isinstance(services, dict):
        raise ComposeFileError(f"{file}:{document.line_of(['services'])}: describes no services")
    project = str(value.get("name") or env.get("COMPOSE_PROJECT_NAME") or _folder_name(file))
    for name, each in services.items():
        if not isinstance(each, dict):
            raise ComposeFileError(f"{file}:{document.line_of(['services', name])}: service {name} is no mapping")
    return Project(file, project, {str(name): _service(str(name), each, project) for name, each in services.items()})


def explain(file: Path, complaint: str) -> str:
    """Return why compose refuses a file, with file and line.

    Args:
        file: the compose file.
        complaint: what compose has to say.
    """
    try:
        document = _document(file)
    except ComposeFileError as error:
        return str(error)  # a mistake in the YAML itself: our parser names line and column
    said = complaint.removeprefix(f"validating {file}: ").removesuffix(": invalid compose project")
    keys = _place(document, said)
    return one_line(f"{file}:{document.line_of(keys)}: {said}" if keys else f"{file}: {said}")


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return str(path), 0, -1, 0
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino


def _document(file: Path) -> Document:
    try:
        document = Document(read_text(str(file)), str(file))
    except FileNotFoundError:
        raise ComposeFileError(f"{file}: there is no such file") from None
    except SiteConfigError as error:
        raise ComposeFileError(str(error)) from None
    if document.duplicates:
        raise ComposeFileError(document.duplicates[0])
    return document


def _service(name: str, value: dict[str, Any], project: str) -> Service:
    image = value.get("image")
    pulled = bool(image) and not value.get("build") and "$" not in str(image)
    return Service(name, str(image) if image else default_image(project, name), pulled)


def _folder_name(file: Path) -> str:
    """Return the name that compose gives to the project of a folder."""
    return re.sub(r"[^a-z0-9_-]", "", file.parent.name.lower()).lstrip("_-")


def _place(document: Document, said: str) -> list[str | int]:
    """Return the keys that lead to what a complaint is about; empty if it names nothing that is there."""
    for name in sorted(_service_names(document), key=len, reverse=True):
        match = re.search(rf'(?:services\.{re.escape(name)}|service "{re.escape(name)}")((?:\.[\w-]+)*)', said)
        if match:
            unknown = re.search(r"additional propert(?:y|ies) '([^']*)'", said)
            deeper = [key for key in match[1].split(".") if key] + ([unknown[1]] if unknown else [])
            return ["services", name, *(int(key) if key.isdecimal() else key for key in deeper)]
    return []


def _service_names(document: Document) -> list[str]:
    node = document.node_at(["services"])
    pairs = node.value if node is not None and isinstance(node.value, list) else []
    return [str(pair[0].value) for pair in pairs if isinstance(pair, tuple)]


def _referred(file: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the files that one refers to, and whether they may refer to more."""
    try:
        value = _document(file).value()
    except (SiteConfigError, ComposeFileError):
        return
    if not isinstance(value, dict):
        return
    services = value.get("services")
    for each in _several(value.get("include")):
        for path in _several(each.get("path") if isinstance(each, dict) else each):
            yield from _at(file, path, has_more=True)
    for service in services.values() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        extends = service.get("extends")
        if isinstance(extends, dict):
            yield from _at(file, extends.get("file"), has_more=True)
        for each in _several(service.get("env_file")):
            yield from _at(file, each.get("path") if isinstance(each, dict) else each, has_more=False)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _at(file: Path, name: Any, *, has_more: bool) -> Iterator[tuple[Path, bool]]:
    if isinstance(name, str) and name and "\0" not in name and "$" not in name:
        yield file.parent / name, has_more
