"""Alert rules for Grafana: those of Prometheus in its form, and some for a site that has InfluxDB alone."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from grafana_foundation_sdk.builders import expr
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import alerting
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.expr import TypeMath
from grafana_foundation_sdk.models.prometheus import Dataquery as PromQuery

from dashboards.description import Backend
from dashboards.influxql import InfluxQuery
from ocs.base import OpCode

__all__ = ["FOLDER", "INFLUX_RULES", "InfluxRule", "from_influxdb", "from_prometheus"]

FOLDER: Final = "OCS alerts"
"""Where Grafana shows the rules."""

_GROUP: Final = "ocs"
_EVERY: Final = 30
"""Seconds between two looks."""

_EXPRESSION: Final = DataSourceRef(type_val="__expr__", uid="__expr__")
_CONDITION: Final = "condition"

_EXISTS: Final = "is_number($query) || is_nan($query) || is_inf($query)"
"""A rule of Prometheus fires for each series that there is, whatever its value."""


@dataclass(frozen=True, slots=True)
class InfluxRule:
    """A rule on what feeds have written into InfluxDB.

    Attributes:
        name: what it is called by; never changes.
        title: what people see.
        queries: what is asked, by the name that `condition` calls the newest value of each series: how many seconds ago
            the range begins, how many it ends, and the query.
        condition: in Grafana's mathematics; other than 0 fires.
        lasts: for how long it has to, such as "1m".
        severity: info, warning or critical.
        summary: what has happened, with Grafana's templates.
        silence: whether having no data at all is what it fires for.
    """

    name: str
    title: str
    queries: Mapping[str, tuple[int, int, str]]
    condition: str
    lasts: str
    severity: str
    summary: str
    silence: bool = False


def _told(begin: int, end: int) -> tuple[int, int, str]:
    """Ask what the registry has told of each operation between two moments (s ago)."""
    return begin, end, """SELECT last(/.*/) FROM /.*/ WHERE "feed" = 'agent_operations' AND $timeFilter"""


_NOT_RUNNING: Final = f"($now == {OpCode.NONE:d} || $now == {OpCode.SUCCEEDED:d} || $now == {OpCode.FAILED:d})"
_RAN: Final = f"$before == {OpCode.RUNNING:d} && $long_before == {OpCode.RUNNING:d}"

INFLUX_RULES: Final = (
    InfluxRule(
        "agent-expired",
        "Agent expired",
        {"now": _told(120, 0)},
        f"$now == {OpCode.EXPIRED:d}",
        "30s",
        "critical",
        "An agent has fallen silent: {{ $labels }}.",
    ),
    InfluxRule(
        "operation-failed",
        "Operation failed",
        {"now": _told(120, 0)},
        f"$now == {OpCode.FAILED:d}",
        "0s",
        "warning",
        "The last run of an operation has failed: {{ $labels }}.",
    ),
    InfluxRule(
        "process-stopped",
        "Process stopped",
        # A task that runs for 5 minutes, or happens to run at both moments, looks the same; a shorter one never does.
        {"now": _told(120, 0), "before": _told(420, 300), "long_before": _told(720, 600)},
        f"{_NOT_RUNNING} && {_RAN}",
        "0s",
        "critical",
        "What ran for the last minutes does not any more: {{ $labels }}.",
    ),
    InfluxRule(
        "operation-degraded",
        "Operation degraded",
        {"now": _told(120, 0)},
        f"$now == {OpCode.DEGRADED:d}",
        "10m",
        "warning",
        "An operation has run degraded for 10 minutes: {{ $labels }}.",
    ),
    InfluxRule(
        "no-data",
        "No data for 5 minutes",
        {"now": (300, 0, """SELECT count(/.*/) FROM /.*/ WHERE "feed" != 'agent_operations' AND $timeFilter""")},
        "$now < 1",
        "0s",
        "critical",
        "Nothing but states of operations has got into InfluxDB for 5 minutes.",
        silence=True,
    ),
)
"""What a recorder has lost, how full disks and spools are, only Prometheus is told."""


def from_influxdb(rules: Iterable[InfluxRule] = INFLUX_RULES) -> dict[str, Any]:
    """Return rules on InfluxDB in the form of Grafana's provisioning files."""
    return _file("InfluxDB", [_influx_rule(rule) for rule in rules])


def from_prometheus(*files: Path) -> dict[str, Any]:
    """Return the alert rules in files of Prometheus in the form of Grafana's provisioning files.

    Args:
        files: as Prometheus reads them.
    """
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return _file("Prometheus", [_prometheus_rule(rule) for rule in rules])


def _file(name: str, rules: list[alerting.Rule]) -> dict[str, Any]:
    group = {"orgId": 1, "name": f"{_GROUP} {name}", "folder": FOLDER, "interval": f"{_EVERY}s"}
    return {"apiVersion": 1, "groups": [{**group, "rules": [_provisioned(rule) for rule in rules]}]}


def _provisioned(rule: alerting.Rule) -> dict[str, Any]:
    """Return a rule as a file has it, which says folder, group and organisation once for all."""
    known = rule.to_json()
    return {name: value for name, value in known.items() if name not in {"folderUID", "orgID", "ruleGroup"}}


def _prometheus_rule(rule: Mapping[str, Any]) -> alerting.Rule:
    query = PromQuery(expr=rule["expr"].strip(), ref_id="query", instant=True, range_val=False)
    annotations = {name: _adapted(text) for name, text in rule.get("annotations", {}).items()}
    return alerting.Rule(
        uid=f"ocs-{_kebab(rule['alert'])}",
        title=_words(rule["alert"]),
        condition=_CONDITION,
        data=[
            _query("query", query, Backend.PROMETHEUS, 600, 0),
            *_decision(_EXISTS),
        ],
        for_val=rule.get("for", "0s"),
        labels={**rule.get("labels", {}), "source": "prometheus"},
        annotations=annotations,
        no_data_state="OK",
        exec_err_state="Error",
        is_paused=False,
    )


def _influx_rule(rule: InfluxRule) -> alerting.Rule:
    data = []
    for name, (begin, end, text) in rule.queries.items():
        data.append(
            _query(f"{name}_values", InfluxQuery(text, f"{name}_values", "$m $col"), Backend.INFLUXDB, begin, end)
        )
        data.append(_expression(name, expr.TypeReduce().expression(f"{name}_values").reducer("last")))
    return alerting.Rule(
        uid=f"ocs-influxdb-{rule.name}",
        title=f"{rule.title} (InfluxDB)",
        condition=_CONDITION,
        data=[*data, *_decision(rule.condition)],
        for_val=rule.lasts,
        labels={"severity": rule.severity, "source": "influxdb"},
        annotations={"summary": rule.summary},
        no_data_state="Alerting" if rule.silence else "NoData",
        exec_err_state="Error",
        is_paused=False,
    )


def _query(name: str, model: Dataquery, backend: Backend, begin: int, end: int) -> alerting.Query:
    return alerting.Query(
        ref_id=name,
        datasource_uid=backend.uid,
        model=model,
        relative_time_range=alerting.RelativeTimeRange(from_val=begin, to=end),
    )


def _expression(name: str, made: Builder[Dataquery]) -> alerting.Query:
    model = made.build()
    model.ref_id, model.datasource = name, _EXPRESSION  # type: ignore[attr-defined] # every expression has them
    return alerting.Query(ref_id=name, datasource_uid="__expr__", model=model)


def _decision(condition: str) -> list[alerting.Query]:
    math: Builder[TypeMath] = expr.TypeMath().expression(condition)
    return [_expression(_CONDITION, math)]


def _adapted(text: str) -> str:
    """Rewrite a template of Prometheus: Grafana calls the value by the name of its query."""
    return re.sub(r"\$value\b", "$values.query.Value", text)


def _words(alert: str) -> str:
    words = re.findall(r"[A-Z][a-z]+|[A-Z]+(?![a-z])|\d+", alert.removeprefix("Ocs"))
    return " ".join(words).capitalize()


def _kebab(alert: str) -> str:
    return _words(alert).lower().replace(" ", "-")
