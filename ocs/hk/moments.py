"""Moments, as people and programs give them."""

import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ocs.errors import OCSError

__all__ = ["Moment", "MomentError", "seconds_of", "span_of", "timestamp_of"]

Moment = float | str | datetime
"""Unix time (s), ISO 8601 text, a time span before now (``-1h``), or a `datetime`; without a time zone it is UTC."""

_UNITS: Final = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|min|m|h|d|w)")


class MomentError(OCSError, ValueError):
    """A moment or a time span is not given in any known way."""


def seconds_of(span: str) -> float:
    """Return a time span such as ``1h``, ``30 min``, ``1.5d`` in seconds.

    Raises:
        MomentError: it is none.
    """
    found = _SPAN.fullmatch(span.strip())
    if found is None:
        raise MomentError(f"{span!r} is no time span: say 30s, 10min, 1h, 2d or 1w")
    return float(found[1]) * _UNITS[found[2]]


def span_of(
    start: Moment | None, stop: Moment | None, clock: Callable[[], float] = time.time
) -> tuple[float | None, float | None]:
    """Return a span of time as unix times (s); None stays None, for no limit.

    Raises:
        MomentError: one of them is not given in a known way, or the end is before the beginning.
    """
    first = None if start is None else timestamp_of(start, clock)
    last = None if stop is None else timestamp_of(stop, clock)
    if first is not None and last is not None and last < first:
        raise MomentError(f"the end, {stop}, is before the beginning, {start}")
    return first, last


def timestamp_of(moment: Moment, clock: Callable[[], float] = time.time) -> float:
    """Return a moment as unix time (s).

    Args:
        moment: the moment.
        clock: gives the time (unix, s).

    Raises:
        MomentError: it is not given in a known way.
    """
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not isinstance(moment, str):
        return _finite(float(moment), moment)
    text = moment.strip()
    if text == "now":
        return clock()
    if text.startswith("-") and _SPAN.fullmatch(text[1:]):
        return clock() - seconds_of(text[1:])
    return _from_text(text)


def _from_text(text: str) -> float:
    try:
        return _finite(float(text), text)
    except ValueError:
        pass
    try:
        return timestamp_of(datetime.fromisoformat(text))
    except ValueError:
        raise MomentError(
            f"{text!r} is no time: give unix seconds, a date and time such as 2026-01-31T12:00 (UTC), or -1h"
        ) from None


def _finite(seconds: float, given: object) -> float:
    if not math.isfinite(seconds):
        raise MomentError(f"{given!r} is no time")
    return seconds
