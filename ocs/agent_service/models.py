"""Requests and answers of the agent service: what is in their JSON, and what is wrong with one that is malformed."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from ocs.components.names import ComponentId, Prefix
from ocs.errors import MalformedRequestError

__all__ = [
    "ANSWERS",
    "EXAMPLES",
    "Request",
    "request_of",
]

_LONGEST_PREFIX: Final = 200
_LONGEST_NAME: Final = 150
"""Of a component's name, in characters: it becomes part of the names of files."""
_LONGEST_PATH: Final = 4096
_LONGEST_VERSION: Final = 100
_MOST_FAULTS: Final = 3
"""Told of one request; a machine that sends garbage need not get a book back."""
_LONGEST_SHOWN: Final = 60


def _is_plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"must be printable, not {_shown(text)}")
    return text


def _prefix(text: str) -> str:
    return str(Prefix.parse(_is_plain(text)))


def _name(text: str) -> str:
    return Prefix("ESW", _is_plain(text)).name


_PREFIX_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_]+\.[^.\s]([^.]*[^.\s])?$",
    "maxLength": _LONGEST_PREFIX,
    "description": "subsystem and name with a dot between",
    "examples": ["ESW.machine1"],
}
_NAME_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^[^.\s]([^.]*[^.\s])?$",
    "maxLength": _LONGEST_NAME,
    "description": "a name without a dot, and without a space at either end",
    "examples": ["primary"],
}

PrefixText = Annotated[str, Field(max_length=_LONGEST_PREFIX), AfterValidator(_prefix), WithJsonSchema(_PREFIX_SCHEMA)]
NameText = Annotated[
    str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_name), WithJsonSchema(_NAME_SCHEMA)
]
PathText = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATH), AfterValidator(_is_plain)]
Version = Annotated[
    Annotated[str, Field(min_length=1, max_length=_LONGEST_VERSION), AfterValidator(_is_plain)] | None,
    Field(description="the version of what is spawned; none: whichever that machine has"),
]
InstanceText = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_name)]


class _Model(BaseModel):
    """Fields are taken as they are ("yes" is no boolean); keys that nobody knows are passed over."""

    model_config = ConfigDict(strict=True, frozen=True)


class ComponentIdModel(_Model):
    """Names a component."""

    model_config = ConfigDict(title="ComponentId")

    prefix: PrefixText
    componentType: Literal["Machine", "SequenceComponent", "Sequencer", "Service", "Agent"]  # noqa: N815 - on the wire

    def component(self) -> ComponentId:
        """Return what the rest of the package knows components by."""
        return ComponentId(Prefix.parse(self.prefix), self.componentType)


class SpawnSequenceManager(_Model):
    """Start a sequence manager on a machine."""

    type_: Literal["SpawnSequenceManager"] = Field(alias="_type")
    agentPrefix: PrefixText  # noqa: N815 - on the wire, as the rest of this module's camels
    obsModeConfigPath: PathText = Field(description="the file of observing modes")  # noqa: N815
    isConfigLocal: bool = Field(  # noqa: N815
        description="true: the file is on the SpawnAgent's machine; false: below its site's folder of configuration"
    )
    version: Version = None


class SpawnSequenceComponent(_Model):
    """Start a sequence component on a machine; its subsystem is that of the machine's SpawnAgent."""

    type_: Literal["SpawnSequenceComponent"] = Field(alias="_type")
    agentPrefix: PrefixText  # noqa: N815
    componentName: NameText  # noqa: N815
    version: Version = None


class SpawnContainers(_Model):
    """Start all components that a host configuration file lists, on one machine."""

    type_: Literal["SpawnContainers"] = Field(alias="_type")
    agentPrefix: PrefixText  # noqa: N815
    hostConfigPath: PathText = Field(description="the host configuration file, YAML or JSON")  # noqa: N815
    isConfigLocal: bool = Field(  # noqa: N815
        description="true: the file is on the SpawnAgent's machine; false: below its site's folder of configuration"
    )


class SpawnAgent(_Model):
    """Start an OCS agent that the site config file describes for a machine."""

    type_: Literal["SpawnAgent"] = Field(alias="_type")
    agentPrefix: PrefixText  # noqa: N815
    instanceId: InstanceText = Field(description="the instance-id in the site config file")  # noqa: N815
    version: Version = None


class KillComponent(_Model):
    """End a component, and all that it has started."""

    type_: Literal["KillComponent"] = Field(alias="_type")
    componentId: ComponentIdModel  # noqa: N815


class GetAgentStatus(_Model):
    """Tell which SpawnAgents there are, their sequence components, and what these have loaded; needs no token."""

    type_: Literal["GetAgentStatus"] = Field(alias="_type")


Request = SpawnSequenceManager | SpawnSequenceComponent | SpawnContainers | SpawnAgent | KillComponent | GetAgentStatus
_REQUEST: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="type_")])

REQUESTS: Final = (
    SpawnSequenceManager,
    SpawnSequenceComponent,
    SpawnContainers,
    SpawnAgent,
    KillComponent,
    GetAgentStatus,
)

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "SpawnSequenceComponent": {
        "_type": "SpawnSequenceComponent",
        "agentPrefix": "ESW.machine1",
        "componentName": "primary",
    },
    "SpawnSequenceManager": {
        "_type": "SpawnSequenceManager",
        "agentPrefix": "ESW.machine1",
        "obsModeConfigPath": "/site/obs-modes.yaml",
        "isConfigLocal": True,
    },
    "SpawnAgent": {"_type": "SpawnAgent", "agentPrefix": "ESW.machine1", "instanceId": "thermometer-1"},
    "SpawnContainers": {
        "_type": "SpawnContainers",
        "agentPrefix": "ESW.machine1",
        "hostConfigPath": "/site/machine1.yaml",
        "isConfigLocal": True,
    },
    "KillComponent": {
        "_type": "KillComponent",
        "componentId": {"prefix": "ESW.primary", "componentType": "SequenceComponent"},
    },
    "GetAgentStatus": {"_type": "GetAgentStatus"},
}
"""A good request of each kind, for the documentation."""


def request_of(body: bytes) -> Request:
    """Return the request that a body is.

    Args:
        body: JSON, as it has come.

    Raises:
        MalformedRequestError: one line that names the field.
    """
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        raise MalformedRequestError(faults_in(error), _kind_in(error)) from None


def _kind_in(error: ValidationError) -> str:
    """Return the kind of a request that is malformed elsewhere; empty where there is no telling."""
    place = error.errors(include_url=False)[0]["loc"]
    return str(place[0]) if place and place[0] in _NAMES_OF_REQUESTS else ""


def faults_in(error: ValidationError) -> str:
    """Return what is wrong with a request, or with a file, in one line."""
    found = error.errors(include_url=False)
    told = [_fault(each) for each in found[:_MOST_FAULTS]]
    more = [f"and {len(found) - _MOST_FAULTS} more"] if len(found) > _MOST_FAULTS else []
    return "; ".join([*told, *more])


def _fault(error: Any) -> str:
    kind, given = error["type"], error["input"]
    if kind == "json_invalid":
        return f"body: is no JSON: {error['ctx']['error']}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return f"_type: {_tag_fault(given)}"
    place = ".".join(str(part) for part in error["loc"] if part not in _NAMES_OF_REQUESTS) or "body"
    return f"{place}: {_words(kind, error, given)}"


def _tag_fault(given: Any) -> str:
    tag = given.get("_type") if isinstance(given, dict) else None
    return f"{'is missing' if tag is None else _shown(tag)}; it is one of {', '.join(_NAMES_OF_REQUESTS)}"


def _words(kind: str, error: Any, given: Any) -> str:
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    wanted = _WANTED.get(kind, "")
    expected = wanted.format(**error.get("ctx", {})) if wanted else _decapitalized(error["msg"])
    return f"{expected}, not {_shown(given)}"


_NAMES_OF_REQUESTS: Final = tuple(model.__name__ for model in REQUESTS)
_WANTED: Final = {
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "literal_error": "must be one of {expected}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have {max_length} characters at most",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "model_attributes_type": "must be a JSON object",
    "list_type": "must be a list",
}


def _decapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    """Return a value as it may stand in a line of any terminal."""
    kinds: dict[type, str] = {dict: "an object", list: "a list"}
    text = kinds.get(type(value)) or ascii(json.dumps(value) if value is None or isinstance(value, bool) else value)
    text = text.strip("'") if value is None or isinstance(value, bool) else text
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


# What is answered. These are for the documentation and for tests: answers are made as plain dicts.


class Spawned(_Model):
    """It is there."""

    type_: Literal["Spawned"] = Field(alias="_type")


class Killed(_Model):
    """It is gone."""

    type_: Literal["Killed"] = Field(alias="_type")


class Failed(_Model):
    """It is not done, and nothing of it is left."""

    type_: Literal["Failed"] = Field(alias="_type")
    msg: str = Field(description="why, for a person")


class Completed(_Model):
    """What became of each component of a host configuration file."""

    type_: Literal["Completed"] = Field(alias="_type")
    res: dict[str, Annotated[Spawned | Failed, Field(discriminator="type_")]] = Field(
        description="by the prefix of the component"
    )


class Connection(_Model):
    """What is at a location."""

    prefix: str
    componentType: Literal["Machine", "SequenceComponent", "Sequencer", "Service", "Agent"]  # noqa: N815
    connectionType: Literal["wamp"]  # noqa: N815


class WampLocation(_Model):
    """Where a component is."""

    type_: Literal["WampLocation"] = Field(alias="_type")
    connection: Connection
    uri: str = Field(description="of the WAMP procedure that describes it")
    metadata: dict[str, Any] = Field(description="what it says of itself: pid, host, and more")


class SeqCompStatus(_Model):
    """A sequence component."""

    seqCompId: ComponentIdModel  # noqa: N815
    sequencerLocation: list[WampLocation] = Field(max_length=1, description="the sequencer that it runs")  # noqa: N815


class AgentStatus(_Model):
    """A SpawnAgent."""

    agentId: ComponentIdModel  # noqa: N815
    seqCompsStatus: list[SeqCompStatus]  # noqa: N815


class Success(_Model):
    """What there is."""

    type_: Literal["Success"] = Field(alias="_type")
    agentStatus: list[AgentStatus]  # noqa: N815
    seqCompsWithoutAgent: list[SeqCompStatus] = Field(  # noqa: N815
        description="started by hand, or by a SpawnAgent that is gone"
    )


class LocationServiceError(_Model):
    """The router does not tell what there is."""

    type_: Literal["LocationServiceError"] = Field(alias="_type")
    reason: str


class BadRequest(_Model):
    """The request is malformed."""

    type_: Literal["BadRequest"] = Field(alias="_type")
    msg: str = Field(description="the field, and what is wrong with it")


class Refused(_Model):
    """The request is not carried out."""

    type_: str = Field(alias="_type")
    msg: str


Answer = Spawned | Killed | Failed | Completed | Success | LocationServiceError
ANSWERS: Final[TypeAdapter[Answer]] = TypeAdapter(Annotated[Answer, Field(discriminator="type_")])
"""All that is answered with status 200."""
