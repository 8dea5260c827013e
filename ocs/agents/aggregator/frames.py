"""Frames of the housekeeping archive: the one place where the aggregator meets so3g and spt3g."""

import binascii
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from ocs.agents.aggregator.blocks import FinishedBlock
from ocs.agents.aggregator.columns import TICKS_PER_SECOND, Values, as_ticks
from ocs.agents.aggregator.messages import Fault
from ocs.errors import RecordingLibraryError

try:
    import so3g  # noqa: F401 - makes the spt3g that comes with it importable
    from so3g.hk import HKSessionHelper
    from spt3g import core
except ImportError as error:
    raise RecordingLibraryError.because(error) from error

__all__ = [
    "DESCRIPTION",
    "HKAGG_VERSION",
    "data_frame",
    "encode",
    "fill",
    "frame_kind",
    "g3_cast",
    "generate_id",
    "new_session",
    "value_count",
]

HKAGG_VERSION: Final = 2
DESCRIPTION: Final = "HK data"

_KINDS: Final = {0: "session", 1: "status", 2: "data"}


def new_session(start_time: float) -> Any:
    """Begin a recording session.

    Args:
        start_time: unix time (s).

    Returns:
        The so3g `HKSessionHelper`, which numbers providers and makes session and status frames.
    """
    hksess = HKSessionHelper(hkagg_version=HKAGG_VERSION, start_time=start_time, description=DESCRIPTION)
    hksess.session_id = generate_id(hksess)
    return hksess


def generate_id(hksess: Any) -> int:
    """Return the id of a recording session: unique, and in the order of the start times.

    Args:
        hksess: the session helper; its ``start_time`` (unix, s) and ``description`` are used.

    Returns:
        32 bits of the start time, 14 of this process's id, 14 of the CRC-32 of the description.
    """
    start = int(hksess.start_time) % (1 << 32)
    checksum = binascii.crc32(str(hksess.description).encode())
    return (start << 28) | ((os.getpid() % (1 << 14)) << 14) | (checksum % (1 << 14))


def data_frame(hksess: Any, prov_id: int, timestamp: float) -> Any:
    """Return a data frame without blocks.

    Args:
        hksess: the session helper, or None for a frame that belongs to no session.
        prov_id: the provider's number.
        timestamp: when the frame is made (unix, s).
    """
    if hksess is None:
        hksess = HKSessionHelper(session_id=0, hkagg_version=HKAGG_VERSION, start_time=timestamp)
    frame = hksess.data_frame(prov_id, timestamp=timestamp)
    if "block_names" not in frame:  # a session of schema version 0 or 1
        frame["block_names"] = core.G3VectorString()
    return frame


def fill(
    frame: Any, address: str, session_id: str, blocks: Iterable[FinishedBlock], report: Callable[[Fault], None]
) -> None:
    """Put a provider's blocks into its data frame.

    Args:
        frame: as `data_frame` made it.
        address: the feed's address.
        session_id: the session id of the agent that publishes the feed.
        blocks: what goes in.
        report: called with a fault for a block that the library refuses; the others go in.
    """
    frame["address"] = address
    frame["provider_session_id"] = session_id
    for block in blocks:
        try:
            samples = _samples(block)
        except Exception as error:  # values from anybody meet a foreign library here: lose a block, not the recording
            report(Fault("values", block.values, f"block {block.name!r} cannot be written: {error}"))
        else:
            frame["blocks"].append(samples)
            frame["block_names"].append(block.name)


def _samples(block: FinishedBlock) -> Any:
    samples = core.G3TimesampleMap()
    samples.times = core.G3VectorTime(block.ticks)
    for field, values in block.columns.items():
        samples[field] = _vector(values)
    return samples


def _vector(values: Values) -> Any:
    if isinstance(values, list):
        return core.G3VectorString(values)
    vectors = {"b": core.G3VectorBool, "i": core.G3VectorInt, "f": core.G3VectorDouble}
    return vectors[values.dtype.kind](values)


def value_count(frame: Any) -> int:
    """Return how many recorded values a data frame holds, times not counted."""
    return sum(len(samples.times) * len(samples.keys()) for samples in frame["blocks"])


def frame_kind(frame: Any) -> str:
    """Return ``session``, ``status`` or ``data``; ``other`` for a frame that is none of the archive's."""
    return _KINDS.get(int(frame["hkagg_type"]), "other") if "hkagg_type" in frame else "other"


def encode(frame: Any) -> bytes:
    """Return the frame as the bytes that a ``.g3`` file consists of."""
    # The state that spt3g pickles is the very form that its writer puts into a file.
    return bytes(frame.__getstate__()[1])


_SCALARS: Final = {bool: core.G3Bool, int: core.G3Int, float: core.G3Double, str: core.G3String}
_VECTORS: Final = {
    bool: core.G3VectorBool,
    int: core.G3VectorInt,
    float: core.G3VectorDouble,
    str: core.G3VectorString,
}


def g3_cast(data: Any, time: bool = False) -> Any:
    """Make a G3 object of a plain value or a list of them.

    Args:
        data: an int, float, str or bool, or a list of values of one of these types.
        time: the values are unix timestamps (s); the result is a `G3Time` or a `G3VectorTime`.

    Returns:
        `G3Int`, `G3Double`, `G3String`, `G3Bool`, or the `G3Vector…` of these.

    Raises:
        TypeError: a value of another type, or a list of several types or of none.
        OverflowError: an integer over 64 bits.
        ValueError: a timestamp that is no time.
    """
    if not isinstance(data, list | tuple | np.ndarray):
        kind = _kind(data)
        return _time(data) if time else _SCALARS[kind](data)
    values = list(data)
    if time:
        return core.G3VectorTime(_checked_ticks(values))
    return _VECTORS[_common_kind(values)](values)


def _kind(value: object) -> type:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind
    raise TypeError(f"g3_cast takes int, float, str and bool, not {type(value).__name__}")


def _common_kind(values: Sequence[object]) -> type:
    kinds = {_kind(value) for value in values}
    if kinds == {bool, int}:
        return int
    if len(kinds) != 1:
        raise TypeError(f"g3_cast takes a list of one type, not of {len(kinds)}")
    return kinds.pop()


def _time(value: float) -> Any:
    return core.G3Time(int(_checked_ticks([value])[0]))


def _checked_ticks(values: list[Any]) -> Any:
    ticks, rows, bad = as_ticks(values)
    if rows is not None:
        raise ValueError(f"{bad} is not a unix timestamp that a G3Time (steps of {1 / TICKS_PER_SECOND:g} s) can hold")
    return ticks
