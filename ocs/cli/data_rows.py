"""Samples of several fields, side by side: a row for each moment at which any of them was measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocs.hk import FieldData

__all__ = ["Rows", "plain", "short_names"]


class Rows:
    """Fields side by side.

    Args:
        fields: name → samples.

    Attributes:
        times: the rows' times (unix, s).
    """

    def __init__(self, fields: Mapping[str, FieldData]) -> None:
        self._fields = list(fields.values())
        distinct = {id(field.times): field.times for field in self._fields}
        keys = {which: _keys(times) for which, times in distinct.items()}
        every = np.unique(np.concatenate([np.zeros(0, _KEY), *keys.values()]))
        self.times: NDArray[np.float64] = every["time"]
        self._rows = {which: np.searchsorted(every, mine) for which, mine in keys.items()}

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, first: int = 0) -> Iterator[tuple[float, list[Any]]]:
        """Yield each row's time and values, None where a field was not measured, from a row on."""
        columns = [self._column(field) for field in self._fields]
        for row in range(first, len(self)):
            yield float(self.times[row]), [column(row) for column in columns]

    def _column(self, field: FieldData) -> Any:
        rows = self._rows[id(field.times)]
        values = field.values
        if len(rows) == len(self):
            return lambda row: values[row].item()
        places = np.full(len(self), -1)
        places[rows] = np.arange(len(rows))
        return lambda row: values[places[row]].item() if places[row] >= 0 else None


_KEY = np.dtype([("time", np.float64), ("turn", np.int64)])


def _keys(times: NDArray[np.float64]) -> NDArray[Any]:
    """Return what tells samples apart: their time, and which one of that time it is."""
    keys = np.zeros(len(times), _KEY)
    keys["time"] = times
    first = np.searchsorted(times, times)
    keys["turn"] = np.arange(len(times)) - first
    return keys


def plain(value: Any) -> Any:
    """Return a value as JSON can have it, which has no word for NaN and the infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_names(names: Sequence[str]) -> list[str]:
    """Return names without the parts that they can do without and still differ."""
    parts = [name.split(".") for name in names]
    longest = max(map(len, parts), default=1)
    for count in range(1, longest):
        short = [".".join(one[-count:]) for one in parts]
        if len(set(short)) == len(set(names)):
            return short
    return list(names)
