"""Names of components: prefix and type, and the WAMP procedure by which a component exists."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote, unquote

__all__ = ["TYPES", "ComponentId", "Prefix", "agent_of", "component_of", "uri_of"]

TYPES: Final = ("Machine", "SequenceComponent", "Sequencer", "Service", "Agent")
"""A SpawnAgent, a sequence component, a sequence script that one has loaded, a service, and any agent of OCS."""

AGENTS: Final = "OCS"
"""The subsystem of agents that are nothing else: their name is their instance-id."""

_LONGEST: Final = 200
_LONGEST_SHOWN: Final = 60
_SUBSYSTEM: Final = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """The name of a component: ``SUBSYSTEM.name``.

    Args:
        subsystem: letters, digits and underscores; kept in upper case.
        name: without dots, and without spaces at its ends.

    Raises:
        ValueError: one of them cannot be.
    """

    subsystem: str
    name: str

    def __post_init__(self) -> None:
        if not _SUBSYSTEM.fullmatch(self.subsystem):
            raise ValueError(f"{_shown(self.subsystem)} is no subsystem: letters, digits and underscores")
        object.__setattr__(self, "subsystem", self.subsystem.upper())
        if trouble := _name_trouble(self.name):
            raise ValueError(f"the name {_shown(self.name)} {trouble}")
        if len(self.subsystem) + len(self.name) >= _LONGEST:
            raise ValueError(f"a prefix has at most {_LONGEST} characters, not as {_shown(self.name)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the prefix that a text is, such as ``ESW.primary``; the subsystem in any case.

        Raises:
            ValueError: it is none; one line says why.
        """
        if not isinstance(text, str):
            raise ValueError(f"{_shown(text)} is no prefix: a text like ESW.primary")  # noqa: TRY004 - one error for all
        subsystem, dot, name = text.partition(".")
        if not dot:
            raise ValueError(f"{_shown(text)} is no prefix: subsystem and name with a dot between, like ESW.primary")
        return cls(subsystem, name)

    def __str__(self) -> str:
        return f"{self.subsystem}.{self.name}"


def _name_trouble(name: str) -> str:
    if not name:
        return "is empty"
    if "." in name:
        return "has a dot in it"
    if name != name.strip():
        return "has a space at one of its ends"
    return "" if name.isprintable() else "has characters in it that cannot be printed"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


@dataclass(frozen=True, slots=True, order=True)
class ComponentId:
    """What a component is: its prefix and its type.

    Args:
        prefix: its name.
        component_type: one of `TYPES`.

    Raises:
        ValueError: there is no such type.
    """

    prefix: Prefix
    component_type: str

    def __post_init__(self) -> None:
        if self.component_type not in TYPES:
            raise ValueError(f"{_shown(self.component_type)} is no type of component; known: {', '.join(TYPES)}")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Return the component that a JSON object names.

        Args:
            value: ``{"prefix": "ESW.primary", "componentType": "SequenceComponent"}``.

        Raises:
            ValueError: it names none; one line says why.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f"{_shown(value)} is no component: an object with prefix and componentType")  # noqa: TRY004 - one error for all
        missing = [key for key in ("prefix", "componentType") if key not in value]
        if missing:
            raise ValueError(f"a component has prefix and componentType; missing: {', '.join(missing)}")
        return cls(Prefix.parse(value["prefix"]), value["componentType"])

    def to_json(self) -> dict[str, str]:
        """Return it as it stands in requests and answers."""
        return {"prefix": str(self.prefix), "componentType": self.component_type}

    def __str__(self) -> str:
        return f"{self.component_type} {self.prefix}"


def uri_of(root: str, component: ComponentId) -> str:
    """Return the procedure by whose registration a component exists.

    Args:
        root: the site's address root.
        component: the component.
    """
    prefix = component.prefix
    return f"{root}.components.{component.component_type}.{prefix.subsystem}.{quote(prefix.name, safe='')}"


def component_of(root: str, uri: str) -> ComponentId | None:
    """Return the component that a registered procedure is; None if it is another's.

    Args:
        root: the site's address root.
        uri: the procedure.
    """
    head = f"{root}.components."
    parts = uri.removeprefix(head).split(".")
    if not uri.startswith(head) or len(parts) != 3:  # noqa: PLR2004 - type, subsystem, name
        return None
    try:
        found = ComponentId(Prefix(parts[1], unquote(parts[2], errors="strict")), parts[0])
    except ValueError:
        return None
    return found if uri_of(root, found) == uri else None


def agent_of(root: str, uri: str) -> ComponentId | None:
    """Return the agent whose own procedure a registered procedure is; None if it is another's.

    Args:
        root: the site's address root.
        uri: the procedure.
    """
    name = uri.removeprefix(f"{root}.")
    if name == uri or _name_trouble(name) or len(name) + len(AGENTS) >= _LONGEST:
        return None
    return ComponentId(Prefix(AGENTS, name), "Agent")
