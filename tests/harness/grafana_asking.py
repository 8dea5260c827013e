"""Asks real databases what dashboards and rules of Grafana ask, and evaluates rules on the answers, as Grafana does."""

import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.harness.grafana import NoValuesError, Question, Values, fill, questions, resolve, rule_questions

LOOKS_BACK = 600
"""Seconds before now that a dashboard shows in tests."""

Labels = tuple[tuple[str, str], ...]


class Influx:
    """InfluxDB 1 as a data source.

    Args:
        server: a running `tests.harness.influx.Influxd`.
        database: its name.
    """

    name = "influxdb"
    own: ClassVar[Values] = {"__interval": ["1s"]}

    def __init__(self, server: Any, database: str) -> None:
        self._server = server
        self._database = database

    def listed(self, text: str) -> list[str]:
        """Return what a variable's query lists: of fields the keys, of tags the values."""
        column = 1 if "TAG VALUES" in text else 0
        return [row[column] for series in self._server.query(text, self._database) for row in series["values"]]

    def newest(self, asked: Question, text: str, now: float) -> dict[Labels, float]:
        """Return the newest value of each series between two times; the name of its column is its only label."""
        begin, end = now - (asked.begin or LOOKS_BACK), now - asked.end
        span = f"time >= {begin * 1e9:.0f} AND time <= {end * 1e9:.0f}"
        found = self._server.query(text.replace("$timeFilter", span), self._database)
        return dict(pair for series in found for pair in self._columns(series))

    def rows(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of a table."""
        found = self._server.query(text, self._database)
        return [dict(zip(series["columns"], row, strict=True)) for series in found for row in series["values"]]

    def _columns(self, series: Mapping[str, Any]) -> list[tuple[Labels, float]]:
        tags = tuple(sorted(series.get("tags", {}).items()))
        columns = zip(*series["values"], strict=True)
        named = zip(series["columns"][1:], list(columns)[1:], strict=True)
        told = ((name, [value for value in values if value is not None]) for name, values in named)
        return [((("name", f"{series['name']} {name}"), *tags), values[-1]) for name, values in told if values]


class Prometheus:
    """Prometheus as a data source.

    Args:
        url: of its server, such as "http://127.0.0.1:9090".
        scrape_interval: seconds.
    """

    name = "prometheus"

    def __init__(self, url: str, scrape_interval: float = 1.0) -> None:
        self._url = url
        rate = f"{max(4 * scrape_interval, 5):g}s"
        self.own: Values = {"__interval": ["5s"], "__rate_interval": [rate], "__range": [f"{LOOKS_BACK}s"]}

    def listed(self, text: str) -> list[str]:
        """Return what `label_values(series, label)` lists."""
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", text).groups()
        return self._get(f"label/{label}/values", {"match[]": series})

    def newest(self, asked: Question, text: str, now: float) -> dict[Labels, float]:
        """Return the newest value of each series."""
        if asked.over_time:
            span = {"start": now - (asked.begin or LOOKS_BACK), "end": now - asked.end, "step": 1}
            found = self._get("query_range", {"query": text, **span})["result"]
        else:
            found = self._get("query", {"query": text, "time": now})["result"]
        values = ((entry["metric"], entry["values"][-1] if "values" in entry else entry["value"]) for entry in found)
        return {tuple(sorted(labels.items())): float(value) for labels, (_, value) in values}

    def _get(self, path: str, asked: Mapping[str, Any]) -> Any:
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(asked)}", timeout=20) as answer:
            return json.loads(answer.read())["data"]


def unanswered(dashboard: Mapping[str, Any], source: Influx | Prometheus) -> list[str]:
    """Return which questions of a dashboard have no answer, with the query as it was asked."""
    try:
        values = resolve(dashboard, source.own, lambda backend, text: source.listed(text))
    except NoValuesError as error:
        return [f"{dashboard['uid']}: {error}"]
    return [
        f"{asked.place}: {text}"
        for asked in questions(dashboard)
        for text in [_filled(asked, values, source)]
        if not _real(source.newest(asked, text, time.time()))
    ]


def panel_shows(dashboard: Mapping[str, Any], title: str, source: Influx | Prometheus) -> dict[Labels, float]:
    """Return the newest values that the first panel of a title shows."""
    values = resolve(dashboard, source.own, lambda backend, text: source.listed(text))
    asked = next(asked for asked in questions(dashboard) if asked.place.endswith(f": {title}"))
    return source.newest(asked, _filled(asked, values, source), time.time())


def answers(asked: Question, source: Influx | Prometheus) -> dict[Labels, float]:
    """Return what a rule's question is answered."""
    return source.newest(asked, _filled(asked, source.own, source), time.time())


def _filled(asked: Question, values: Values, source: Influx | Prometheus) -> str:
    return fill(asked.text, {**values, "timeFilter": ["$timeFilter"]}, source.name)


def _real(found: Mapping[Labels, Any]) -> bool:
    return any(not isinstance(value, float) or math.isfinite(value) for value in found.values())


def firing(rule: Mapping[str, Any], source: Influx) -> set[str] | None:
    """Evaluate a rule of which every query is reduced to its newest value.

    Returns:
        The names of the series for which it fires; None: a query found nothing.
    """
    names = [query["refId"].removesuffix("_values") for query in rule["data"] if query["refId"].endswith("_values")]
    found = [answers(asked, source) for asked in rule_questions(rule)]
    if not all(found):
        return None
    condition = rule["data"][-1]["model"]["expression"].replace("&&", "and").replace("||", "or").replace("$", "")
    common = set.intersection(*map(set, found))
    values = {labels: {name: entry[labels] for name, entry in zip(names, found, strict=True)} for labels in common}
    # The condition is of our own file.
    return {labels[0][1] for labels in common if eval(condition, {}, values[labels])}  # noqa: S307 - our own alert rules
