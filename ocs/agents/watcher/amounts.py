"""Lengths of time and sizes as people write them: ``5 min``, ``2h``, ``10 GiB``."""

import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["duration", "number", "seconds_text", "size"]

_AMOUNT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)
_SECONDS = {"": 1, "ms": 1e-3, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    "": 1,
    "B": 1,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}


def _amount(value: Any, units: Mapping[str, float], what: str) -> float:
    match = None if isinstance(value, bool) else _AMOUNT.fullmatch(str(value)[:40])
    if match is None or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"{value!r:.40} is no {what}: write a number and a unit, one of {known}")
    return float(match[1]) * units[match[2]]


def duration(value: Any) -> float:
    """Return a length of time in seconds; a number alone means seconds.

    Raises:
        ValueError: it is none.
    """
    return _amount(value, _SECONDS, "length of time")


def size(value: Any) -> float:
    """Return a size in bytes; a number alone means bytes.

    Raises:
        ValueError: it is none.
    """
    return _amount(value, _BYTES, "size")


def number(value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no number")
    return float(value)


def seconds_text(seconds: float) -> str:
    """Return a length of time (s) as people say it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
