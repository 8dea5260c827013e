"""Values as they came, made into arrays of one type each.

The quick way looks at a whole column at once; only a column that is not of one kind is looked at value by value.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.agents.aggregator.messages import brief

__all__ = ["TICKS_PER_SECOND", "Column", "Ticks", "Values", "as_ticks", "as_times", "split_kinds", "ticks_of", "widest"]

TICKS_PER_SECOND: Final = 100_000_000
"""G3Time counts steps of 10 ns."""

_LATEST: Final = 9.2e10
"""Seconds since 1970 that still fit the 64 bits of a G3Time, either side."""

Ticks = NDArray[np.int64]
Values = NDArray[Any] | list[str]
"""The values of a column: a bool, int64 or float64 array, or a list of texts."""

Rows = NDArray[np.intp] | None
"""Which rows are meant; None: all of them."""


class Column(NamedTuple):
    """The values of one kind, number or text, out of a column as it came."""

    text: bool
    values: Values
    rows: Rows


def as_ticks(timestamps: Sequence[Any]) -> tuple[Ticks, Rows, str]:
    """Make G3 times of unix timestamps, exact to 10 ns.

    Args:
        timestamps: seconds since 1970; anything else among them is left out.

    Returns:
        The times that could be used, which rows they are of, and a description of the first one left out
        (empty if none was).
    """
    try:
        if set(map(type, timestamps)) <= {float, int}:
            ticks = ticks_of(np.array(timestamps, dtype=np.float64))
            if ticks is not None:
                return ticks, None, ""
    except OverflowError:
        pass  # an integer beyond any float: found again below, one by one
    usable = [_is_time(value) for value in timestamps]
    rows = np.flatnonzero(usable)
    chosen = [float(value) for value, good in zip(timestamps, usable, strict=True) if good]
    first_bad = brief(timestamps[usable.index(False)]) if not all(usable) else ""
    return _ticks(np.array(chosen, dtype=np.float64)), rows, first_bad


def ticks_of(seconds: NDArray[np.float64]) -> Ticks | None:
    """Return G3 times of unix timestamps (s), exact to 10 ns; None if there is one that is no time."""
    return _ticks(seconds) if (np.abs(seconds) < _LATEST).all() else None


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(abs(value) < _LATEST)


def _ticks(seconds: NDArray[np.float64]) -> Ticks:
    # Whole seconds and the rest apart: their product with 1e8 would need more bits than a float has.
    whole = np.floor(seconds)
    fraction = np.rint((seconds - whole) * TICKS_PER_SECOND)
    return whole.astype(np.int64) * TICKS_PER_SECOND + fraction.astype(np.int64)


def as_times(ticks: Ticks) -> NDArray[np.float64]:
    """Return G3 times as unix timestamps (s), the inverse of `as_ticks`."""
    whole, rest = np.divmod(ticks, TICKS_PER_SECOND)
    return whole + rest / TICKS_PER_SECOND


def split_kinds(values: Sequence[Any]) -> tuple[list[Column], list[int]]:
    """Sort a column's values by kind: numbers and texts.

    Integers and booleans among floats become floats, booleans among integers become integers, and an integer over
    64 bits makes its column one of floats. `None` means that there is no value.

    Args:
        values: plain Python values.

    Returns:
        One `Column` per kind, the kind of the first usable value first, and the rows that have no usable value.
    """
    kinds = set(map(type, values))
    if kinds <= {float, int, bool} and (array := _numbers(values, kinds)) is not None:
        return [Column(False, array, None)], []
    if kinds == {str}:
        return [Column(True, [_encodable(value) for value in values], None)], []
    return _split_one_by_one(values)


def _numbers(values: Sequence[Any], kinds: set[type]) -> NDArray[Any] | None:
    """Return numbers as an array of the narrowest type that holds them; None where one is beyond any float."""
    dtype: type = float if float in kinds else int if int in kinds else bool
    try:
        return np.array(values, dtype=dtype)
    except OverflowError:
        pass
    try:
        return np.array(values, dtype=float)
    except OverflowError:
        return None


def _split_one_by_one(values: Sequence[Any]) -> tuple[list[Column], list[int]]:
    rows: dict[bool, list[int]] = {}
    plain = [_plain(value) for value in values]
    unusable = []
    for row, value in enumerate(plain):
        if value is None:
            unusable.append(row)
        else:
            rows.setdefault(isinstance(value, str), []).append(row)
    return [_column(text, [plain[row] for row in chosen], chosen) for text, chosen in rows.items()], unusable


def _column(text: bool, values: list[Any], rows: list[int]) -> Column:
    numbers = None if text else _numbers(values, set(map(type, values)))
    return Column(text, values if numbers is None else numbers, np.array(rows, dtype=np.intp))


def _plain(value: object) -> bool | int | float | str | None:
    """Return a value as one of the four types that are recorded, or None if it is of no use."""
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        value = item()
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if _fits_float(value) else None
    return float(value) if isinstance(value, float) else None


def _fits_float(value: int) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _encodable(text: str) -> str:
    # Half a surrogate pair, which JSON can carry, has no UTF-8 form.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def widest(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the type that holds values of all the given ones: bool, then int64, then float64."""
    return max(types, key=lambda dtype: "biuf".index(dtype.kind))
