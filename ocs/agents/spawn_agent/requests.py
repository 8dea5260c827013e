"""What is asked of a spawn agent, checked: which component it is about, and how it is to be started."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from ocs.components.names import ComponentId, Prefix
from ocs.errors import InvalidRequestError

T = TypeVar("T")

__all__ = [
    "FIELDS",
    "SEQUENCE_MANAGER",
    "ConfigFile",
    "Wanted",
    "containers_request",
    "killed_component",
    "requested_component",
    "spawn_request",
]

SEQUENCE_MANAGER = ComponentId(Prefix("ESW", "sequence_manager"), "Service")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "SequenceComponent": ("componentName", "version"),
    "SequenceManager": ("obsModeConfigPath", "isConfigLocal", "version"),
    "Agent": ("instanceId", "version"),
}
"""What a request of each kind may have beside its ``kind``."""

_LONGEST_NAME = 150
"""Of a component's name as it stands in file names, in bytes: systems take 255, and something is put around it."""
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of configuration that a request names."""

    field: str
    """What the request calls it."""
    path: str
    is_local: bool
    """Whether the path is one of this machine, and not one below the site's folder of configuration."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A component that is to be started."""

    component: ComponentId
    instance_id: str
    """The last part of the address that the agent will have."""
    agent_class: str = ""
    """The class to start without a site config file; empty: the file describes the instance."""
    obs_mode_file: ConfigFile | None = None
    """The file of observing modes, of a sequence manager."""
    version: str = ""
    """The version that it is to be; empty: whichever is installed."""


def spawn_request(value: Any, subsystem: str) -> Wanted:
    """Return what a request to spawn is for.

    Args:
        value: the request, as it has come.
        subsystem: that of the spawn agent, which its sequence components share.

    Raises:
        InvalidRequestError: it is malformed; the line names the field.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"request: must be an object, not {_shown(value)}")
    kind = _text(value, "kind")
    if kind not in _KINDS:
        raise InvalidRequestError(f"kind: must be one of {', '.join(_KINDS)}, not {_shown(kind)}")
    return _KINDS[kind](value, subsystem)


def containers_request(value: Any) -> ConfigFile:
    """Return the file that lists what is to be spawned.

    Args:
        value: ``{"hostConfigPath", "isConfigLocal"}``, as it has come.

    Raises:
        InvalidRequestError: it is malformed; the line names the field.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"request: must be an object, not {_shown(value)}")
    return _config_file(value, "hostConfigPath")


def killed_component(value: Any) -> ComponentId:
    """Return the component that a request to kill names.

    Args:
        value: ``{"prefix", "componentType"}``, as it has come.

    Raises:
        InvalidRequestError: it is malformed; the line names the field.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"componentId: must be an object with prefix and componentType, not {_shown(value)}")
    fields = {field: _text(value, field) for field in ("prefix", "componentType")}
    return _checked("componentId", lambda: ComponentId.from_json(fields))


def requested_component(value: Any) -> ComponentId:
    """Return the component that an operator names: as an object, or as ``SequenceComponent.ESW.primary``.

    Raises:
        InvalidRequestError: it is malformed; the line names the field.
    """
    if not isinstance(value, str):
        return killed_component(value)
    component_type, _, prefix = value.strip().partition(".")
    return _checked("component", lambda: ComponentId.from_json({"prefix": prefix, "componentType": component_type}))


def _sequence_component(value: Mapping[str, Any], subsystem: str) -> Wanted:
    name = _text(value, "componentName")
    prefix = _checked("componentName", lambda: Prefix.parse(f"{subsystem}.{name}"))
    _check_name("componentName", name)
    # The name keeps its case, and what cannot stand in an address is written so that no two names become one.
    instance_id = f"seqcomp-{subsystem.lower()}-{quote(name, safe='')}"
    component = ComponentId(prefix, "SequenceComponent")
    return Wanted(component, instance_id, "SequenceComponent", version=_version(value))


def _sequence_manager(value: Mapping[str, Any], _subsystem: str) -> Wanted:
    file = _config_file(value, "obsModeConfigPath")
    return Wanted(SEQUENCE_MANAGER, "sequence-manager", "SequenceManager", obs_mode_file=file, version=_version(value))


def _config_file(value: Mapping[str, Any], field: str) -> ConfigFile:
    path = _text(value, field)
    if (length := len(path.encode(errors="replace"))) > _LONGEST_PATH:
        raise InvalidRequestError(f"{field}: must have {_LONGEST_PATH} bytes at most, not {length}")
    is_local = value.get("isConfigLocal")
    if not isinstance(is_local, bool):
        raise InvalidRequestError(f"isConfigLocal: must be true or false, not {_shown(is_local)}")
    return ConfigFile(field, path, is_local)


def _agent(value: Mapping[str, Any], _subsystem: str) -> Wanted:
    instance_id = _text(value, "instanceId")
    if instance_id.startswith("-") or any(character in "./#" or character.isspace() for character in instance_id):
        raise InvalidRequestError(f"instanceId: {_shown(instance_id)} cannot be the name of an instance")
    _check_name("instanceId", instance_id)
    prefix = _checked("instanceId", lambda: Prefix("OCS", instance_id))
    return Wanted(ComponentId(prefix, "Agent"), instance_id, version=_version(value))


_KINDS: dict[str, Callable[[Mapping[str, Any], str], Wanted]] = {
    "SequenceComponent": _sequence_component,
    "SequenceManager": _sequence_manager,
    "Agent": _agent,
}


def _text(value: Mapping[str, Any], field: str) -> str:
    text = value.get(field)
    if text is None:
        raise InvalidRequestError(f"{field}: is missing")
    if not isinstance(text, str) or not text:
        raise InvalidRequestError(f"{field}: must be a text that is not empty, not {_shown(text)}")
    if not text.isprintable():
        raise InvalidRequestError(f"{field}: must be printable, not {_shown(text)}")
    return text


def _version(value: Mapping[str, Any]) -> str:
    return "" if value.get("version") is None else _text(value, "version")


def _check_name(field: str, name: str) -> None:
    if len(quote(name, safe="")) > _LONGEST_NAME:
        raise InvalidRequestError(f"{field}: {_shown(name)} is too long; {_LONGEST_NAME} letters is the most")


def _checked(field: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except (ValueError, LookupError, TypeError) as error:
        text = str(error)
        raise InvalidRequestError(text if text.startswith(f"{field}:") else f"{field}: {text}") from None


def _shown(value: Any) -> str:
    """Return a value as it may stand in a line."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - as long as a line can bear
