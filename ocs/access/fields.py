"""Records read from the wire or from a YAML file: every field is checked, and an error names record and field."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Self

from ocs.errors import AccessError

__all__ = [
    "NOT_ON_THE_WIRE",
    "Check",
    "Checks",
    "CredLevel",
    "Record",
    "flag",
    "level",
    "levels",
    "optional",
    "record",
    "records",
    "seconds",
    "text",
]

Check = Callable[[str, Any], Any]
"""Takes a field's name and its value; returns the value as it is kept, or raises an AccessError naming the field."""

Checks = Mapping[str, Check]
"""The checks of a kind of record, by field."""

NOT_ON_THE_WIRE = {"wire": False}
"""Metadata of a field that stays in the process."""


class CredLevel(IntEnum):
    """What a client may do; an operation's ``min_privs`` is compared with it."""

    BLOCKED = 0
    BASIC = 1
    ADVANCED = 2
    FULL = 3
    SUPERUSER = 4
    """The agent itself, for example when it starts an operation at start-up."""

    def __str__(self) -> str:
        """Return number and name, as in ``2-ADVANCED``."""
        return f"{self.value}-{self.name}"


def text(name: str, value: Any) -> str:
    """Accept a string. The error tells the type alone: the value may be a password."""
    if isinstance(value, str):
        return value
    hint = "; put it in quotes" if isinstance(value, int | float) else ""
    raise AccessError(f"{name} is of type {type(value).__name__}, it must be text{hint}")


def flag(name: str, value: Any) -> bool:
    """Accept true or false; null counts as false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise AccessError(f"{name} is of type {type(value).__name__}, it must be true or false")


def seconds(name: str, value: Any) -> float:
    """Accept a time span that is more than nothing and not endless."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise AccessError(f"{name} is {value!r:.40}, it must be a number of seconds above 0")


def level(name: str, value: Any) -> CredLevel:
    """Accept a credential level, 0 to 4."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= CredLevel.SUPERUSER:
        return CredLevel(value)
    raise AccessError(f"{name} is {value!r:.40}, it must be a whole number, 0 to 4")


def levels(name: str, value: Any) -> list[CredLevel]:
    """Accept a list of credential levels; null counts as an empty one."""
    return [level(f"{name}[{i}]", item) for i, item in enumerate(_sequence(name, value))]


def optional(check: Check) -> Check:
    """Make a check that lets null through."""
    return lambda name, value: None if value is None else check(name, value)


def record(kind: "type[Record]") -> Check:
    """Make a check for a nested record: one of its kind, or a map that becomes one."""
    return lambda name, value: kind.from_dict(value, name)


def records(kind: "type[Record]") -> Check:
    """Make a check for a list of records; null counts as an empty list."""
    return lambda name, value: [kind.from_dict(item, f"{name}[{i}]") for i, item in enumerate(_sequence(name, value))]


def _sequence(name: str, value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return value
    raise AccessError(f"{name} is of type {type(value).__name__}, it must be a list")


@dataclass(frozen=True)
class Record:
    """Base of the records: checked when made, whether from keyword arguments or from a map."""

    checks: ClassVar[Checks] = {}

    def __post_init__(self) -> None:
        """Check each field, and turn nested maps into records."""
        for name, check in self.checks.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> Self:
        """Make a record from a map as found on the wire; unknown keys are passed over.

        Args:
            data: the map, or a record of this class, which is returned as it is.
            where: what an error calls the record, for example ``access rule 3``.

        Raises:
            AccessError: a required field is missing or a value is not of its type.
        """
        if isinstance(data, cls):
            return data
        try:
            return cls(**cls._known(data))
        except AccessError as error:
            raise AccessError(f"{where or cls.__name__}: {error}") from None

    @classmethod
    def _known(cls, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise AccessError(f"is of type {type(data).__name__}, it must be a map")
        for each in fields(cls):
            if each.name not in data and each.default is MISSING and each.default_factory is MISSING:
                raise AccessError(f"{each.name} is missing")
        return {each.name: data[each.name] for each in fields(cls) if each.name in data}

    @classmethod
    def unknown_keys(cls, data: Mapping[Any, Any]) -> list[str]:
        """Return the keys of a map that no field answers to: most often misspelled ones."""
        names = {each.name for each in fields(cls)}
        return [str(key) for key in data if key not in names]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a plain map, as it goes on the wire."""
        return {
            each.name: _plain(getattr(self, each.name)) for each in fields(self) if each.metadata != NOT_ON_THE_WIRE
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, CredLevel) else value
