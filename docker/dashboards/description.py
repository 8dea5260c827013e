"""What a dashboard is here: panels with their questions, said once for both databases; nothing of Grafana's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto

__all__ = ["Backend", "Board", "Kind", "Panel", "Query", "Section", "State", "Variable"]


class Backend(StrEnum):
    """Where the data come from."""

    PROMETHEUS = "prometheus"
    """What the exporter tells: the state of agents, recorders and hosts, as Prometheus scrapes it."""
    INFLUXDB = "influxdb"
    """What feeds publish, by InfluxQL: version 1, and version 2 through its compatibility interface."""

    @property
    def uid(self) -> str:
        """What panels call the data source."""
        return f"ocs-{self.value}"

    @property
    def label(self) -> str:
        """Its name for people."""
        return {"prometheus": "Prometheus", "influxdb": "InfluxDB"}[self.value]


class Kind(StrEnum):
    """How a panel shows its data."""

    STATES = auto()
    """A bar over time for each series, coloured by its state."""
    TILES = auto()
    """The newest value of each series, large."""
    LINES = auto()
    TABLE = auto()
    """The newest value of each series, a line each."""


@dataclass(frozen=True, slots=True)
class State:
    """What a number means."""

    text: str
    color: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a database.

    Attributes:
        text: in the database's language, with Grafana's variables.
        legend: what a series is called, in the database's own notation; empty for tables.
    """

    text: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows.
        says: how to read it, and what to do about it; shown beside the title.
        kind: how.
        queries: the question for each database that can answer it.
        unit: of the values, by Grafana's names; empty for a plain number.
        states: what values mean: numbers, or in tables words.
        colored: in tables, the column that `states` and `limits` are about.
        limits: value → colour from there on; below the least, green.
        width: of 24 columns.
        height: in Grafana's rows of 30 pixels.
    """

    title: str
    says: str
    kind: Kind
    queries: Mapping[Backend, Query]
    unit: str = ""
    states: Mapping[int, State] | Mapping[str, State] = field(default_factory=dict)
    limits: Mapping[float, str] = field(default_factory=dict)
    colored: str = "Value"
    width: int = 12
    height: int = 8


@dataclass(frozen=True, slots=True)
class Variable:
    """Something that is chosen above the panels.

    Attributes:
        name: by which queries refer to it.
        label: what people see.
        query: what lists the values; empty for one that is typed in, or for given choices.
        choices: the values, if they are always the same.
        regex: which values are shown; with a group, which part of them.
        many: whether several may be chosen, and all of them.
        hidden: whether it is found out and not shown.
    """

    name: str
    label: str
    query: str = ""
    choices: tuple[str, ...] = ()
    regex: str = ""
    many: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard, for each database that can answer a question of it.

    Attributes:
        name: what file and address are called by; never changes.
        title: what people see.
        says: what it is for.
        sections: what is on it.
        variables: what is chosen above, for each database.
        since: how far it looks back at first.
    """

    name: str
    title: str
    says: str
    sections: tuple[Section, ...]
    variables: Mapping[Backend, tuple[Variable, ...]] = field(default_factory=dict)
    since: str = "now-1h"

    def sections_for(self, backend: Backend) -> tuple[Section, ...]:
        """Return what a database can show of it."""
        able = (
            (part.title, tuple(panel for panel in part.panels if backend in panel.queries)) for part in self.sections
        )
        return tuple(Section(title, panels) for title, panels in able if panels)
