"""What Grafana does with a dashboard or a rule before it asks a database: finds the questions, fills in the variables.

No Grafana server can be installed where CI runs, so this stands for the part of it between our files and the databases;
the databases that are asked are real.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ALL = "$__all"
VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
REGEX_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")

Values = Mapping[str, Sequence[str]]


class NoValuesError(Exception):
    """A variable's query lists nothing, so that what depends on it cannot be asked."""


class Question(NamedTuple):
    """What a panel or a rule asks.

    Attributes:
        place: where, for a person: dashboard and panel.
        backend: "prometheus" or "influxdb".
        text: the query, with variables.
        over_time: whether it asks for a range of times, and not for the newest values.
        begin: how many seconds ago the range begins; None: as the dashboard has it.
        end: how many seconds ago it ends.
    """

    place: str
    backend: str
    text: str
    over_time: bool = True
    begin: int | None = None
    end: int = 0


def read_dashboards(folder: Path) -> list[dict[str, Any]]:
    """Read all dashboards below a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Find the panels of a dashboard, also those in collapsed rows."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from (inner for inner in panel.get("panels", ()))


def questions(dashboard: Mapping[str, Any]) -> Iterator[Question]:
    """Find what a dashboard asks."""
    for panel in panels(dashboard):
        backend = panel["datasource"]["type"]
        for target in panel["targets"]:
            text = target["expr"] if backend == "prometheus" else target["query"]
            place = f"{dashboard['uid']}: {panel['title']}"
            yield Question(place, backend, text, not target.get("instant", False))


def read_rules(path: Path) -> list[dict[str, Any]]:
    """Read the rules of a provisioning file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def rule_questions(rule: Mapping[str, Any]) -> Iterator[Question]:
    """Find what a rule asks the databases."""
    for query in rule["data"]:
        backend = query["datasourceUid"].removeprefix("ocs-")
        if backend == "__expr__":
            continue
        model, span = query["model"], query["relativeTimeRange"]
        text = model["expr"] if backend == "prometheus" else model["query"]
        yield Question(f"rule {rule['uid']}", backend, text, not model.get("instant"), span["from"], span["to"])


def fill(text: str, values: Values, backend: str) -> str:
    """Put the values of variables into a text.

    Args:
        text: with `$name`, `${name}` or `${name:format}`; the formats that are known are `raw` and `regex`.
        values: of each variable; of Grafana's own too.
        backend: the type of the data source, which decides on what a variable without format becomes.

    Raises:
        KeyError: if a variable is not known, or its format is not.
    """

    def filled(found: re.Match) -> str:
        name, form = found[1] or found[3], found[2]
        return FORMATS[form or backend](values[name])

    return VARIABLE.sub(filled, text)


def _raw(chosen: Sequence[str]) -> str:
    return ",".join(chosen)


def _regex(chosen: Sequence[str]) -> str:
    escaped = [REGEX_SPECIAL.sub(r"\\\g<0>", value) for value in chosen]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _prometheus(chosen: Sequence[str]) -> str:
    # In a string of PromQL a backslash is written twice.
    return chosen[0] if len(chosen) == 1 else _regex(chosen).replace("\\", "\\\\")


FORMATS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "raw": _raw,
    "regex": _regex,
    "prometheus": _prometheus,
    "influxdb": _raw,
}


def resolve(
    dashboard: Mapping[str, Any], own: Values, ask: Callable[[str, str], list[str]]
) -> dict[str, Sequence[str]]:
    """Find out what the variables of a dashboard are when it is opened: all values, or the first.

    Args:
        dashboard: as its file has it.
        own: Grafana's own variables.
        ask: (backend, query) → values that a variable's query lists.

    Raises:
        NoValuesError: if a variable has none.
    """
    values = dict(own)
    for variable in dashboard["templating"].get("list", ()) if "templating" in dashboard else ():
        values[variable["name"]] = list(_choices(variable, values, ask))
    return values


def _choices(variable: Mapping[str, Any], values: Values, ask: Callable[[str, str], list[str]]) -> Sequence[str]:
    if variable["type"] == "textbox":
        return [variable["query"]]
    if variable["type"] == "custom":
        return variable["query"].split(",")[:1]
    backend = variable["datasource"]["type"]
    listed = sorted(set(ask(backend, fill(variable["query"], values, backend))))
    if regex := variable.get("regex"):
        listed = [value for value in listed if re.search(fill(regex, values, backend).strip("/"), value)]
    if not listed:
        raise NoValuesError(f"the variable {variable['name']} has no values")
    return listed if variable.get("includeAll") else listed[:1]
