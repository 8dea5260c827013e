"""Points for InfluxDB from the messages of feeds, for programs that write them by themselves."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ocs.influx.lines import line_times
from ocs.influx.points import blocks_of, message_lines, source_of

__all__ = ["format_data", "timestamp2influxtime"]


def timestamp2influxtime(time: float, protocol: str) -> int | str:
    """Convert a timestamp to what InfluxDB takes.

    Args:
        time: unix time (s).
        protocol: ``line`` or ``json``.

    Returns:
        Nanoseconds since 1970 for ``line``; for ``json`` date and time in ISO format (UTC, without saying so).

    Raises:
        ValueError: there is no such protocol, or no such time.
    """
    if _is_json(protocol):
        return datetime.fromtimestamp(time, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    (found,) = line_times([time])
    if found is None:
        raise ValueError(f"{time!r} is no unix time that InfluxDB can hold")
    return found


def format_data(data: Mapping[str, Any], feed: Mapping[str, Any], protocol: str) -> list[str] | list[dict[str, Any]]:
    """Format the data of a feed's message for InfluxDB.

    Args:
        data: the message's data: block name → block.
        feed: the message's envelope.
        protocol: ``line`` or ``json``.

    Returns:
        A line for each point; or for each point a map with ``measurement``, ``time``, ``fields`` and ``tags``.

    Raises:
        ValueError: there is no such protocol.
    """
    if not _is_json(protocol):
        return message_lines(data, feed).rows
    source = source_of(feed)
    if source is None:
        return []
    return [
        {
            "measurement": source[0],
            "time": timestamp2influxtime(moment, protocol),
            "fields": dict(zip(block.columns, row, strict=True)),
            "tags": {"feed": source[1]},
        }
        for block in blocks_of(data, Counter())
        for moment, row in zip(block.timestamps, zip(*block.columns.values(), strict=True), strict=True)
    ]


def _is_json(protocol: str) -> bool:
    if protocol not in ("line", "json"):
        raise ValueError(f"protocol must be 'line' or 'json', not {protocol!r}")
    return protocol == "json"
