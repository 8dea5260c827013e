"""Times, numbers and texts of anybody's making, as people read them on a terminal."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["count", "duration", "printable", "when"]

_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """Return a time span (s) as people say it."""
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def when(timestamp: float, digits: int = 0) -> str:
    """Return unix time (s) as date and time, UTC, with so many digits of the seconds' fraction (up to 6)."""
    try:
        moment = datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{timestamp:.0f}"  # beyond the calendar
    fraction = f".{moment:%f}"[: digits + 1] if digits else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"


def count(number: int, thing: str) -> str:
    """Return a number with what it counts, in the singular or plural."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def printable(text: str, longest: int = 200) -> str:
    """Return a text in one line, short, without anything that a terminal would take for a command."""
    shown = text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
