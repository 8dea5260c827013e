"""What the service counts of itself, in the text that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0)
"""Upper bounds (s) of what durations are sorted into: a status takes milliseconds, a spawn seconds, 20 s at most."""

_PREFIX: Final = "ocs_agent_service_"


@dataclass(slots=True)
class _Durations:
    """How long requests of one kind have taken."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    total: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        self.total += seconds
        self.count += 1
        for position, bound in enumerate(BUCKETS):
            self.buckets[position] += seconds <= bound


class Metrics:
    """Counts requests. What it counts under are names of this program, never a caller's words, so that they are few."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str]] = Counter()
        self._refusals: Counter[int] = Counter()
        self._durations: dict[str, _Durations] = {}
        self.running = 0
        """Requests that are being carried out."""

    def answered(self, request: str, answer: str, seconds: float) -> None:
        """Count a request that has been carried out.

        Args:
            request: its kind.
            answer: the kind of its answer.
            seconds: how long it took.
        """
        self._answers[request, answer] += 1
        self._durations.setdefault(request, _Durations()).add(seconds)

    def refused(self, status: int) -> None:
        """Count a request that was answered with another status than 200."""
        self._refusals[status] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]], components: Mapping[str, int]) -> str:
        """Return all in Prometheus's text.

        Args:
            gauges: name → (help, value) of what is measured now.
            components: how many components there are, by type.
        """
        return "\n".join([*self._lines(gauges, components), ""])

    def _lines(self, gauges: Mapping[str, tuple[str, float]], components: Mapping[str, int]) -> Iterator[str]:
        by_answer = [
            (_labels(request=request, answer=answer), count)
            for (request, answer), count in sorted(self._answers.items())
        ]
        yield from _family("requests_total", "counter", "Requests carried out, by kind and answer.", by_answer)
        refused = [(_labels(status=str(status)), count) for status, count in sorted(self._refusals.items())]
        yield from _family("refused_total", "counter", "Requests answered with another status than 200.", refused)
        yield from self._histogram()
        yield from _family("running", "gauge", "Requests being carried out.", [("", self.running)])
        found = [(_labels(type=kind), count) for kind, count in sorted(components.items())]
        yield from _family("components", "gauge", "Components registered with the router, by type.", found)
        for name, (text, value) in gauges.items():
            yield from _family(name, "gauge", text, [("", value)])

    def _histogram(self) -> Iterator[str]:
        name = f"{_PREFIX}request_seconds"
        yield f"# HELP {name} How long requests took, by kind."
        yield f"# TYPE {name} histogram"
        for request, durations in sorted(self._durations.items()):
            for bound, count in zip(BUCKETS, durations.buckets, strict=True):
                yield f"{name}_bucket{_labels(request=request, le=f'{bound:g}')} {count}"
            yield f"{name}_bucket{_labels(request=request, le='+Inf')} {durations.count}"
            yield f"{name}_sum{_labels(request=request)} {durations.total:.6f}"
            yield f"{name}_count{_labels(request=request)} {durations.count}"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        yield f"{_PREFIX}{name}{labels} {value:g}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
