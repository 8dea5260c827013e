"""What a feed published, as points for InfluxDB: the measurement is the agent's address, the tag ``feed`` the feed.

A message is taken apart without trusting it; what cannot be used is counted by reason, and nothing here raises.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ocs.feeds.recorded import is_recorded
from ocs.influx.lines import Lines, encode, exactly, is_name, line_times

__all__ = ["Block", "blocks_of", "is_wanted", "message_lines", "source_of"]


class Block(NamedTuple):
    """Samples that were taken together."""

    timestamps: Sequence[Any]
    """When (unix, s)."""
    columns: dict[str, Sequence[Any]]
    """Field → values, as many as timestamps."""


def is_wanted(event: object) -> bool:
    """Tell whether an event is of a feed that goes to InfluxDB; cheap, for the reactor's thread."""
    if not is_recorded(event):
        return False
    params = event[1].get("agg_params")
    # In doubt it is written.
    return not (isinstance(params, dict) and params.get("exclude_influx") in (True, 1))


def source_of(feed: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the agent's address and the feed's name from a message's envelope; None if nobody can tell."""
    agent, name = feed.get("agent_address"), feed.get("feed_name")
    if not (isinstance(agent, str) and isinstance(name, str)):
        agent, _, name = str(feed.get("address")).partition(".feeds.")
    return (agent, name) if is_name(agent) and is_name(name) else None


def message_lines(data: Any, feed: Mapping[str, Any], nanoseconds: Callable[[float], int] = exactly) -> Lines:
    """Make lines of a message.

    Args:
        data: block name → block.
        feed: the envelope.
        nanoseconds: makes times for InfluxDB of unix times (s).

    Returns:
        The lines, and what was left out, by the reasons of `Lines` and ``structure``, ``length``, ``envelope``.
    """
    left_out: Counter[str] = Counter()
    source = source_of(feed)
    if source is None:
        return Lines([], Counter(envelope=1))
    rows: list[str] = []
    for block in blocks_of(data, left_out):
        lines = encode(*source, line_times(block.timestamps, nanoseconds), block.columns)
        rows += lines.rows
        left_out += lines.left_out
    return Lines(rows, left_out)


def blocks_of(data: Any, left_out: Counter[str]) -> Iterator[Block]:
    """Take a message apart; what does not fit is counted.

    Args:
        data: block name → ``{"timestamps": [...], "data": {field: [...]}}``, or one sample without lists
            (``timestamp``, and bare values).
        left_out: what is counted.
    """
    if not isinstance(data, dict):
        left_out["structure"] += 1
        return
    for block in data.values():
        fields = block.get("data") if isinstance(block, dict) else None
        if not isinstance(fields, dict):
            left_out["structure"] += 1
            continue
        timestamps = block.get("timestamps")
        if timestamps is None and "timestamp" in block:
            timestamps, fields = [block["timestamp"]], {field: [value] for field, value in fields.items()}
        if not isinstance(timestamps, list | tuple):
            left_out["time"] += _count(fields)
            continue
        if columns := _columns(fields, len(timestamps), left_out):
            yield Block(timestamps, columns)


def _columns(fields: Mapping[Any, Any], length: int, left_out: Counter[str]) -> dict[str, Sequence[Any]]:
    good: dict[str, Sequence[Any]] = {
        field: column for field, column in fields.items() if isinstance(column, list | tuple) and len(column) == length
    }
    if len(good) < len(fields):
        left_out["length"] += _count({field: column for field, column in fields.items() if field not in good})
    return good if length else {}


def _count(fields: Mapping[Any, Any]) -> int:
    return sum(len(column) if isinstance(column, list | tuple) else 1 for column in fields.values())
