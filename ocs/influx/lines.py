"""The line protocol of InfluxDB, as pure functions: columns of values become lines, a line for each moment.

Names and texts are escaped so that what is read back is what was given. What the protocol has no word for (NaN, an
infinity, an integer beyond 64 bits, None) is left out and counted, value by value; the rest of its line is kept.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeGuard

import ujson

__all__ = [
    "LATEST",
    "Floats",
    "Lines",
    "chunks",
    "encode",
    "exactly",
    "in_microseconds",
    "is_name",
    "key",
    "line_times",
    "measurement",
    "parts_of",
    "rows_of",
    "text",
]

_LARGEST: Final = (1 << 63) - 1
LATEST: Final = _LARGEST / 1e9
"""Seconds since 1970 up to which a moment can be told in nanoseconds of 64 bits, and before which."""

_NAME: Final = re.compile(r'(?!#)[^\n\r\0"]{1,1024}(?<!\\)')
"""A line that begins with # is a comment, a quote would hide where a line ends, and a backslash takes what follows."""

_MOST_KNOWN: Final = 1 << 13
"""Names whose form in a line is remembered."""

_FEW: Final = 3
"""Values up to which `repr` takes no longer than a call of something faster."""


class Floats(list[float]):
    """A column of which it is known that it has floats alone."""


class Lines(NamedTuple):
    """Lines, and what is not in them."""

    rows: list[str]
    """The lines, without line ends between them; a text may have line ends of its own."""
    left_out: Counter[str]
    """How many values were left out, by reason: ``not_finite``, ``too_large``, ``type``, ``name``, ``time``."""


def is_name(name: object) -> TypeGuard[str]:
    """Tell whether the protocol can express a name of a measurement, tag or field."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


@lru_cache(_MOST_KNOWN)
def _field(name: object) -> str:
    """Return a field's name as it stands in a line; "" if it is no name, or one that the server would pass over."""
    return key(name) if is_name(name) and name != "time" else ""


def key(name: str) -> str:
    """Return a tag's or a field's name, or a tag's value, as it stands in a line."""
    return measurement(name).replace("=", "\\=")


def measurement(name: str) -> str:
    """Return a measurement's name as it stands in a line."""
    return name.replace(",", "\\,").replace(" ", "\\ ")


def text(value: str) -> str:
    """Return a text as it stands between its quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def exactly(seconds: float) -> int:
    """Return unix time (s) in nanoseconds, as the published publisher has it."""
    return int(seconds * 1e9)


def in_microseconds(seconds: float) -> int:
    """Return unix time (s) in nanoseconds, rounded to microseconds, as the protocol ``json`` has them."""
    return round(seconds * 1e6) * 1000


def line_times(timestamps: Sequence[Any], nanoseconds: Callable[[float], int] = exactly) -> list[int | None]:
    """Return moments in nanoseconds since 1970.

    Args:
        timestamps: unix times (s).
        nanoseconds: makes one of the other.

    Returns:
        As many; None for what is no moment, or one that 64 bits cannot hold.
    """
    kinds = set(map(type, timestamps))
    if kinds <= {float, int} and all(-LATEST < t < LATEST for t in timestamps):
        return [nanoseconds(t) for t in timestamps]
    return [nanoseconds(t) if _is_time(t) else None for t in timestamps]


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LATEST < value < LATEST


@lru_cache(_MOST_KNOWN)
def _head(name: str, feed: str) -> str:
    return f"{measurement(name)},feed={key(feed)} ".replace("%", "%%")


def encode(name: str, feed: str, times: Sequence[int | None], columns: Mapping[str, Sequence[Any]]) -> Lines:
    """Make lines of the samples of a block.

    Args:
        name: the measurement.
        feed: the value of the tag ``feed``.
        times: the samples' moments (ns since 1970); None for one that is left out.
        columns: field → values, as many as moments.
    """
    left_out: Counter[str] = Counter()
    good = {field: column for given, column in columns.items() if (field := _field(given))}
    if len(good) < len(columns):
        left_out["name"] += (len(columns) - len(good)) * len(times)
    if None in times:
        times, good = _with_times(times, good, left_out)
    plain: list[str] = []
    patched: list[Sequence[Any]] = []
    values: list[Sequence[Any]] = []
    for field, column in good.items():
        form, found = _uniform(column)
        if form:
            plain.append(f"{field.replace('%', '%%')}={form}")
            values.append(found)
        else:
            patched.append(_patches(field, column, left_out))
    if not patched:
        return Lines(_rows(_head(name, feed), plain, values, times) if plain else [], left_out)
    return Lines(_patched_rows(_head(name, feed), plain, values, patched, times), left_out)


def _with_times(
    times: Sequence[int | None], columns: Mapping[str, Sequence[Any]], left_out: Counter[str]
) -> tuple[list[int | None], dict[str, Sequence[Any]]]:
    """Return the samples that have a moment; the others are counted."""
    kept = [time is not None for time in times]
    left_out["time"] += kept.count(False) * len(columns)
    rows = [i for i, keep in enumerate(kept) if keep]
    return [times[i] for i in rows], {field: [column[i] for i in rows] for field, column in columns.items()}


def _uniform(column: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return the form of a column's values if one serves them all, with the values it takes; "" if none does."""
    kinds = {float} if type(column) is Floats else set(map(type, column))
    if len(kinds) != 1:
        return "", column
    kind = kinds.pop()
    if kind is float:
        return _uniform_floats(column)
    if kind is int:
        return ("%ri" if max(column) <= _LARGEST and min(column) >= -_LARGEST - 1 else ""), column
    if kind is bool:
        return "%r", column
    if kind is str:
        return '"%s"', [text(value) for value in column]
    return "", column


def _uniform_floats(column: Sequence[float]) -> tuple[str, Sequence[Any]]:
    # The sum is finite only if every value is; if it overflows, they are looked at one by one.
    if not math.isfinite(sum(column)):
        return "", column
    return ("%s", _float_texts(column)) if len(column) > _FEW else ("%r", column)


def _float_texts(column: Sequence[float]) -> list[str]:
    """Return finite floats as texts, the shortest that mean the same numbers, several times as fast as `repr`."""
    texts: list[str] = ujson.dumps(column)[1:-1].split(",")
    return texts


def _rows(head: str, plain: list[str], values: list[Sequence[Any]], times: Sequence[Any]) -> list[str]:
    form = f"{head}{','.join(plain)} %d"
    return [form % row for row in zip(*values, times, strict=True)]


def _patched_rows(
    head: str, plain: list[str], values: list[Sequence[Any]], patched: list[Sequence[Any]], times: Sequence[Any]
) -> list[str]:
    """Make lines in which some fields are missing here and there, and those that would have none left out."""
    if plain:
        form = f"{head}{','.join(plain)}{'%s' * len(patched)} %d"
        return [form % row for row in zip(*values, *patched, times, strict=True)]
    head = head.replace("%%", "%")
    together = ["".join(row) for row in zip(*patched, strict=True)]
    return [f"{head}{fields[1:]} {time}" for fields, time in zip(together, times, strict=True) if fields]


def _patches(field: str, column: Sequence[Any], left_out: Counter[str]) -> list[str]:
    """Return for each value its field with a comma before it, or "" where there is nothing to be said."""
    if set(map(type, column)) == {int, float}:  # one type for a field: what is a float once is one all along
        column = [_as_float(value) for value in column]
    found = []
    for value in column:
        literal, reason = _literal(value)
        if reason:
            left_out[reason] += 1
        found.append(f",{field}={literal}" if literal else "")
    return found


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _literal(value: Any) -> tuple[str, str]:
    """Return a value as it stands in a line, or why it cannot."""
    if isinstance(value, bool):
        return repr(value), ""
    if isinstance(value, int):
        return (f"{int(value)}i", "") if -_LARGEST - 1 <= value <= _LARGEST else ("", "too_large")
    if isinstance(value, float):
        return (repr(float(value)), "") if math.isfinite(value) else ("", "not_finite")
    if isinstance(value, str):
        return f'"{text(value)}"', ""
    return "", "type"


def chunks(rows: list[str], most: int) -> list[tuple[int, bytes]]:
    """Join lines to bodies.

    Args:
        rows: lines.
        most: how large a body gets, about (bytes).

    Returns:
        How many lines, and the body, in the lines' order.
    """
    whole = "\n".join(rows).encode("utf-8", "replace")  # half a surrogate pair has no form in UTF-8
    if len(whole) <= most or len(rows) <= 1:
        return [(len(rows), whole)] if rows else []
    half = len(rows) // 2
    return chunks(rows[:half], most) + chunks(rows[half:], most)


_ROW: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"\n])+', re.DOTALL)
_PARTS: Final = re.compile(r"(.+?)(?<!\\) (.+) (-?\d+)", re.DOTALL)


def rows_of(body: str) -> list[str]:
    """Take a body apart into its lines again; no name in it has a quote."""
    return _ROW.findall(body) if '"' in body else body.split("\n")


def parts_of(row: str) -> tuple[str, str, str]:
    """Return a line's measurement with its tag, its fields, and its time, as they stand in it.

    Raises:
        ValueError: it is no line.
    """
    found = _PARTS.fullmatch(row)
    if found is None:
        raise ValueError(f"no line: {row[:80]}")
    return found[1], found[2], found[3]
