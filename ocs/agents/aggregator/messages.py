"""What a feed's event says: its envelope and its blocks, taken apart without trusting either.

Everything here is pure and never raises, whatever the event holds; what cannot be used is returned as a `Fault`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

__all__ = [
    "DEFAULT_FRAME_LENGTH",
    "DEFAULT_FRESH_TIME",
    "Envelope",
    "Fault",
    "RawBlock",
    "bare",
    "brief",
    "raw_blocks",
    "read_envelope",
    "text_length",
    "weight",
]

DEFAULT_FRAME_LENGTH: Final = 300.0
"""Seconds between two frames of a feed that does not say otherwise."""

DEFAULT_FRESH_TIME: Final = 180.0
"""Seconds without data after which a feed that does not say otherwise is taken off the list of providers."""

_MAX_ADDRESS: Final = 1024
_TEXT_PER_VALUE: Final = 32
_BRIEF: Final = 60
_MALFORMED_WEIGHT: Final = 1 << 15


class Fault(NamedTuple):
    """Something in a message that could not be used as it came."""

    cause: str
    """One word out of few; what is dropped is counted under it."""
    values: int
    """How many values were dropped."""
    detail: str
    """One line for the operator: which thing, and what is wrong with it."""


class Envelope(NamedTuple):
    """What the aggregator needs to know of the feed that an event came from."""

    address: str
    session_id: str
    frame_length: float
    fresh_time: float
    excluded: bool


class RawBlock(NamedTuple):
    """One block of a message: lists of one length, their values not looked at yet."""

    name: object
    timestamps: list[Any]
    fields: tuple[Any, ...]
    columns: tuple[list[Any], ...]


def brief(value: object) -> str:
    """Return a short one-line description of any value, for a log line."""
    if isinstance(value, str):
        shown = repr(value[:_BRIEF])
    elif isinstance(value, bool | float | type(None)) or (isinstance(value, int) and value.bit_length() < _BRIEF):
        return repr(value)
    else:
        return f"a value of type {type(value).__name__}"
    return shown if len(value) <= _BRIEF else f"{shown}… ({len(value)} characters)"


def weight(data: Any) -> int:
    """Return about how many values ``data`` holds, a long text counting as several; cheap, for the reactor's thread.

    What is not built like a message counts as much as the largest of them: nobody looks into it here.
    """
    packed: int | None = getattr(data, "values_packed", None)
    if packed is not None:
        return packed
    try:
        return sum(_block_weight(block["timestamps"], block["data"]) for block in data.values())
    except (TypeError, LookupError, AttributeError):
        return _MALFORMED_WEIGHT


def _block_weight(timestamps: list[Any], columns: dict[Any, Any]) -> int:
    texts = [column for column in columns.values() if column and type(column[0]) is str]
    return len(timestamps) * len(columns) + sum(text_length(column) // _TEXT_PER_VALUE for column in texts)


def text_length(column: Sequence[Any]) -> int:
    """Return how many characters the texts of a column have."""
    return sum(len(value) for value in column if isinstance(value, str))


def read_envelope(feed: Mapping[str, Any]) -> Envelope | Fault:
    """Read what matters of an event's envelope; `agg_params` that make no sense give the defaults.

    Args:
        feed: the second half of the event, a map.

    Returns:
        The envelope, or the fault that makes the event unusable: nobody can tell which feed it is of.
    """
    address = feed.get("address")
    if address is None:
        address = _joined_address(feed)
    if not isinstance(address, str) or not 0 < len(address) <= _MAX_ADDRESS or not address.isprintable():
        return Fault("envelope", 0, f"the feed's address is {brief(address)}")
    params = feed.get("agg_params")
    if not isinstance(params, dict):
        params = {}
    return Envelope(
        address=address,
        session_id=_session_id(feed.get("session_id")),
        frame_length=_seconds(params.get("frame_length"), DEFAULT_FRAME_LENGTH),
        fresh_time=_seconds(params.get("fresh_time"), DEFAULT_FRESH_TIME),
        # In doubt it is recorded.
        excluded=params.get("exclude_aggregator") in (True, 1),
    )


def _joined_address(feed: Mapping[str, Any]) -> str | None:
    agent, name = feed.get("agent_address"), feed.get("feed_name")
    return f"{agent}.feeds.{name}" if isinstance(agent, str) and isinstance(name, str) else None


def _session_id(value: object) -> str:
    if isinstance(value, str) and len(value) <= _MAX_ADDRESS and value.isprintable():
        return value
    return str(value) if isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64) else "unknown"  # noqa: PLR2004 - bits of a machine word


def _seconds(value: object, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if 0 < value < math.inf else default


def raw_blocks(data: object) -> Iterator[RawBlock | Fault]:
    """Take a message apart into blocks whose columns all have the length of their timestamps.

    A field that does not fit is left out and reported; the others stay.

    Args:
        data: the first half of the event: block name → `{"timestamps": [...], "data": {field: [...]}}`; one
            sample without lists (`timestamp` and bare values) is understood too.

    Yields:
        Blocks and faults, in the order of the message.
    """
    if not isinstance(data, dict):
        yield Fault("structure", 0, f"the message is {brief(data)} where a map of blocks belongs")
        return
    for name, block in data.items():
        yield from _raw_block(name, block)


def _raw_block(name: object, block: object) -> Iterator[RawBlock | Fault]:
    if not isinstance(block, dict) or not isinstance(block.get("data"), dict):
        yield Fault("structure", 0, f"block {brief(name)} has no map of fields")
        return
    timestamps, data = block.get("timestamps"), block["data"]
    if timestamps is None and "timestamp" in block:
        timestamps, data = [block["timestamp"]], {field: [value] for field, value in data.items()}
    if not _is_column(timestamps):
        yield Fault("timestamps", _value_count(data), f"block {brief(name)}: timestamps is {brief(timestamps)}")
        return
    length = len(timestamps)
    if not length or not data:
        return
    if type(timestamps) is list and all(type(column) is list and len(column) == length for column in data.values()):
        yield RawBlock(name, timestamps, tuple(data), tuple(data.values()))
        return
    yield from _fitting_part(name, bare(timestamps), data)


def _value_count(data: Mapping[Any, Any]) -> int:
    return sum(len(column) if _is_column(column) else 1 for column in data.values())


def _fitting_part(name: object, timestamps: list[Any], data: Mapping[Any, Any]) -> Iterator[RawBlock | Fault]:
    """Yield the columns that have the length of the timestamps, as one block, and a fault for each other one."""
    good: dict[Any, list[Any]] = {}
    length = len(timestamps)
    for field, column in data.items():
        if not _is_column(column):
            yield Fault("structure", 1, f"field {brief(field)} of block {brief(name)} is {brief(column)}, not a list")
        elif len(column) != length:
            yield Fault(
                "lengths",
                len(column),
                f"field {brief(field)} of block {brief(name)} has {len(column)} values for {length} timestamps",
            )
        else:
            good[field] = bare(column)
    if good:
        yield RawBlock(name, timestamps, tuple(good), tuple(good.values()))


def _is_column(value: object) -> TypeGuard[Sequence[Any]]:
    # NumPy arrays come only from callers in the same process; one dimension is what a column has.
    return isinstance(value, list | tuple) or getattr(value, "ndim", None) == 1


def bare(column: Sequence[Any]) -> list[Any]:
    """Return a list, a tuple or a NumPy array as a list of plain Python values."""
    tolist = getattr(column, "tolist", None)
    return list(column) if tolist is None else list(tolist())
