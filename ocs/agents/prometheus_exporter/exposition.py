"""Figures as the text that Prometheus reads, by its own library."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from ocs.agents.prometheus_exporter.figures import FAMILIES, Figure

__all__ = ["Exposition", "expose"]


class Exposition(NamedTuple):
    """The answer to a scrape."""

    content_type: str
    body: bytes
    series: int
    left_out: int
    """Series that there was no room for."""


class _Gathered:
    """Figures by name; of two with the same labels the last one counts, since Prometheus takes only one.

    Args:
        max_series: how many there is room for.
    """

    def __init__(self, max_series: int) -> None:
        self.series = self.left_out = 0
        self._room = max_series
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def add(self, figure: Figure) -> None:
        """Take a figure, if there is room."""
        if figure.labels not in self._values.get(figure.name, ()):
            if self.series >= self._room:
                self.left_out += 1
                return
            self.series += 1
        self.put(figure)

    def put(self, figure: Figure) -> None:
        """Take a figure, whether there is room or not."""
        self._values.setdefault(figure.name, {})[figure.labels] = figure.value

    def collect(self) -> Iterator[Metric]:
        for name, values in self._values.items():
            yield _metric(name, values)


def _metric(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = FAMILIES[name]
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = made(name.removesuffix("_total") if family.kind == "counter" else name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric


def expose(own: Iterable[Figure], figures: Iterable[Figure], accept: str, max_series: int) -> Exposition:
    """Make the answer to a scrape; blocks for as long as that takes.

    Args:
        own: what the exporter says of itself, for which there is always room.
        figures: what it says of others, the most important first.
        accept: the request's header ``Accept``.
        max_series: how many series there may be.
    """
    gathered = _Gathered(max_series)
    for figure in figures:
        gathered.add(figure)
    series, left_out = gathered.series, gathered.left_out
    counts = {"ocs_exporter_series": series, "ocs_exporter_left_out_series": left_out}
    for figure in (*own, *(Figure(name, (), float(count)) for name, count in counts.items())):
        gathered.put(figure)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(gathered)
    encode, content_type = choose_encoder(accept)
    return Exposition(content_type, encode(registry), series, left_out)
