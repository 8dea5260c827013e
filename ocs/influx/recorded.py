"""Recorded blocks as lines, the same that the publisher wrote when they were published."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ocs.hk.samples import Samples
from ocs.influx.lines import Lines, encode, is_name, line_times

__all__ = ["lines_of"]

_TICKS: Final = 100_000_000
"""Times are recorded in steps of 10 ns."""


def lines_of(samples: Samples, start: float | None = None, end: float | None = None) -> tuple[Lines, bool]:
    """Make lines of a recorded block.

    Args:
        samples: the block.
        start: samples before it (unix, s) are left out.
        end: samples at it or after it are left out.

    Returns:
        The lines, and whether samples were left out for their times.
    """
    agent, _, feed = samples.address.partition(".feeds.")
    if not (is_name(agent) and is_name(feed)):
        return Lines([], Counter(envelope=1)), False
    # The very numbers that were published: then a point that is loaded is the point that the publisher wrote.
    whole_seconds, rest = np.divmod(np.asarray(samples.ticks), _TICKS)
    seconds = whole_seconds + rest / _TICKS
    kept = np.ones(len(seconds), bool)
    if start is not None:
        kept &= seconds >= start
    if end is not None:
        kept &= seconds < end
    whole = bool(kept.all())
    names = [str(name) for name in samples.columns.keys()]  # noqa: SIM118 - spt3g's map
    columns = {name: _values(samples.columns[name], kept, whole=whole) for name in names}
    times = line_times((seconds if whole else seconds[kept]).tolist())
    return encode(agent, feed, times, columns), not whole


def _values(column: Any, kept: Any, *, whole: bool) -> Sequence[Any]:
    """Return a column's values in Python's own types."""
    if type(column).__name__ == "G3VectorString":
        texts = [str(value) for value in column]
        return texts if whole else [text for text, keep in zip(texts, kept, strict=True) if keep]
    array = np.asarray(column)
    if type(column).__name__ == "G3VectorBool":
        array = array.astype(bool)
    found: list[Any] = (array if whole else array[kept]).tolist()
    return found
