"""What rules make of heartbeats, of values on feeds, and of the figures in session.data. Pure functions."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ocs.access.rules import pattern_match
from ocs.agents.watcher.alarms import Sight
from ocs.agents.watcher.rules import OPERATION_KINDS, Kind, Rule
from ocs.base import OpCode

__all__ = [
    "FIGURES",
    "clock",
    "figure",
    "is_outside",
    "numbers",
    "sight_of_agent",
    "sight_of_code",
    "sight_of_figure",
    "sights_of_operations",
    "sights_of_values",
]

_STOPPED = (OpCode.NONE, OpCode.SUCCEEDED, OpCode.FAILED)

FIGURES: Mapping[Kind, tuple[tuple[str, str, str], ...]] = {
    Kind.GAP: (
        ("AggregatorAgent", "record", "messages.lost"),
        ("AggregatorAgent", "record", "dropped"),
        ("InfluxDBAgent", "record", "dropped"),
        ("InfluxDBAgentv2", "record", "dropped"),
    ),
    Kind.DISK: (
        ("AggregatorAgent", "record", "disk_free_bytes"),
        ("HostManager", "manager", "host.disk_free_bytes"),
    ),
    Kind.QUEUE: (
        ("AggregatorAgent", "record", "waiting_bytes"),
        ("InfluxDBAgent", "record", "spool_bytes"),
        ("InfluxDBAgentv2", "record", "spool_bytes"),
        ("PysmurfMonitor", "run", "receiver.journal_bytes"),
    ),
}
"""Where agents of which class tell what: operation, and the figure's place in its session.data."""


def clock(when: float) -> str:
    """Return unix time (s) as people read it in a message."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# Heartbeats


def sight_of_agent(agent: Any) -> Sight:
    """Judge whether an agent is alive.

    Args:
        agent: its entry in the roster.
    """
    if not agent.expired:
        return Sight(bad=False)
    return Sight(bad=True, message=f"no heartbeat since {clock(agent.last_updated)}")


def sights_of_operations(rule: Rule, agent: Any) -> Iterator[tuple[str, Sight]]:
    """Judge the operations of an agent that a rule is about: yields their names with what is seen.

    Args:
        rule: one of `OPERATION_KINDS`.
        agent: its entry in the roster.
    """
    for name, code in agent.op_codes.items():
        if pattern_match(name, rule.operations):
            yield name, sight_of_code(rule.kind, code)


def sight_of_code(kind: Kind, code: int) -> Sight:
    """Judge an operation by its code; of an agent that is silent nothing can be told."""
    if code == OpCode.EXPIRED or kind not in OPERATION_KINDS:
        return Sight(bad=None)
    if kind is Kind.OPERATION_FAILED:
        return Sight(code == OpCode.FAILED, code, "has failed")
    if kind is Kind.DEGRADED:
        return Sight(code == OpCode.DEGRADED, code, "is degraded")
    if code not in _STOPPED:
        return Sight(bad=False)
    return Sight(bad=True, value=code, message="has never run" if code == OpCode.NONE else "does not run")


# Values


def numbers(values: Any) -> Iterator[float]:
    """Yield the finite numbers among the values of a field."""
    for value in values if isinstance(values, list | tuple) else ():
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield float(value)


def is_outside(rule: Rule, value: float, *, was: bool) -> bool:
    """Tell whether a value is beyond a rule's limits; to be inside again it has to be so by the hysteresis.

    Args:
        rule: has the limits.
        value: in the field's unit.
        was: whether the value before was outside.
    """
    margin = rule.hysteresis if was else 0.0
    low = -math.inf if rule.low is None else rule.low + margin
    high = math.inf if rule.high is None else rule.high - margin
    return not low <= value <= high


def sights_of_values(rule: Rule, values: Iterable[float], *, was: bool) -> Iterator[Sight]:
    """Judge values in their order; one sight for each that differs from the one before, and for the last.

    Args:
        rule: has the limits.
        values: numbers.
        was: whether the value before the first was outside.
    """
    last: float | None = None
    for value in values:
        outside = is_outside(rule, value, was=was)
        if outside != was:
            yield _sight_of_value(rule, value, outside=outside)
        was, last = outside, value
    if last is not None:
        yield _sight_of_value(rule, last, outside=was)


def _sight_of_value(rule: Rule, value: float, *, outside: bool) -> Sight:
    return Sight(outside, value, f"is {value:g}, {_limits(rule)}" if outside else "")


def _limits(rule: Rule) -> str:
    if rule.low is None:
        return f"above {rule.high:g}"
    return f"below {rule.low:g}" if rule.high is None else f"outside {rule.low:g} to {rule.high:g}"


# Figures


def figure(data: Any, path: str) -> float | None:
    """Return the figure at a place in session.data; the sum of a map of numbers. None: there is none.

    Args:
        data: the map.
        path: keys joined by dots.
    """
    for key in path.split("."):
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    if isinstance(data, Mapping):
        return sum(numbers(list(data.values())))
    return next(numbers([data]), None)


def sight_of_figure(rule: Rule, path: str, value: float | None, *, was: bool) -> Sight:
    """Judge a figure.

    Args:
        rule: has the limits.
        path: its place, for the message.
        value: the figure; None: there is none.
        was: whether it was outside before.
    """
    if value is None:
        return Sight(bad=None)
    outside = is_outside(rule, value, was=was)
    shown = _size_text(value) if rule.kind in (Kind.DISK, Kind.QUEUE) else f"{value:g}"
    limit = rule.low if rule.low is not None and value <= rule.low + rule.hysteresis else rule.high
    limits = f"the limit is {_size_text(limit or 0)}" if rule.kind in (Kind.DISK, Kind.QUEUE) else _limits(rule)
    return Sight(outside, value, f"{path} is {shown}, {limits}" if outside else "")


def _size_text(value: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 10240:  # noqa: PLR2004 - five digits at most
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.0f} TiB"
