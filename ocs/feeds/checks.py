"""Checks of what an agent publishes, made in its own stack frame, so that the traceback names the culprit."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocs.errors import FeedKeyError, FeedTypeError, FeedValueError
from ocs.feeds.names import verify_data_field_string
from ocs.plain import INT_MAX, INT_MIN, kind_name

__all__ = ["all_fit", "check_block", "checked_columns", "float_columns", "unfit_kinds"]

_SCALARS = frozenset((float, int, str, bool))
_SAMPLE_LIMIT = 900_000
"""Largest sample, in bytes: with its envelope it still fits a message."""
_FIELD_OVERHEAD = 13
"""What a field of a sample takes beside its name, in bytes: a float64 and the heads of name, column and value."""


def _kinds(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def _numpy(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "tolist")


def check_block(name: str, keys: Iterable[Any], feed_name: str) -> None:
    """Refuse a new block that recorders cannot use, or whose every sample is larger than a message.

    Raises:
        FeedError: one of its kinds, naming the feed and the field.
    """
    _check_unicode(name, "block_name", feed_name)
    size = 0
    for key in keys:
        _check_name(key, feed_name)
        size += len(key) + _FIELD_OVERHEAD
    if size > _SAMPLE_LIMIT:
        raise FeedValueError(
            f"feed {feed_name}: a sample of block {name[:80]} takes {size:,} bytes or more, with its field names; a"
            f" message takes {_SAMPLE_LIMIT:,}. Use several blocks."
        )


def _check_name(key: Any, feed_name: str) -> None:
    """Refuse a field name that recorders cannot use."""
    if not isinstance(key, str):
        raise FeedTypeError(f"feed {feed_name}: field name {key!r} is a {kind_name(key)}, not text.")
    try:
        verify_data_field_string(key)
    except ValueError as error:
        raise FeedValueError(f"feed {feed_name}: {error}") from None


def checked_columns(message: Any, feed: str) -> tuple[str, list[float], dict[str, list[Any]]]:
    """Return a message's block name, timestamps and columns, all checked; one sample makes columns of one.

    Raises:
        FeedError: one of its kinds, naming the feed, the field and the reason.
    """
    if not isinstance(message, Mapping):
        raise FeedTypeError(f"feed {feed}: a message of a recorded feed is a map, not a {kind_name(message)}.")
    name, data = _part(message, "block_name", feed), _part(message, "data", feed)
    if not isinstance(name, str) or not isinstance(data, Mapping):
        raise FeedTypeError(f"feed {feed}: block_name must be text and data a map of field names to values.")
    if "timestamp" in message:
        stamps: Any = [message["timestamp"]]
        columns = {key: [value] for key, value in data.items()}
    else:
        stamps = _part(message, "timestamps", feed)
        columns = {key: _as_list(value, key, feed) for key, value in data.items()}
        stamps = _as_list(stamps, "timestamps", feed)
    checked = {key: _checked(column, key, feed) for key, column in columns.items()}
    times = _checked_times(stamps, feed, name)
    for key, column in checked.items():
        if len(column) != len(times):
            raise FeedValueError(
                f"feed {feed}: field {key} of block {name} has {len(column)} values for {len(times)} timestamps."
            )
    _check_samples(checked, feed, name)
    return name, times, checked


def _part(message: Mapping[str, Any], key: str, feed: str) -> Any:
    try:
        return message[key]
    except KeyError:
        wanted = "timestamp (or timestamps)" if key == "timestamps" else key
        raise FeedKeyError(f"feed {feed}: the message has no {wanted!r}.") from None


def _as_list(value: Any, key: str, feed: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if _numpy(value) and getattr(value, "ndim", 0) == 1:
        items: list[Any] = value.tolist()
        return items
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise FeedTypeError(f"feed {feed}: {key} must be a list of values, not a {kind_name(value)}.")


def _checked(column: list[Any], key: str, feed: str) -> list[Any]:
    kinds = _kinds(column)
    if not kinds <= _SCALARS:
        column = [_scalar(value, key, feed) for value in column]
        kinds = _kinds(column)
    if int in kinds:
        _check_ints(column, key, feed)
    if str in kinds:
        _check_text(column, key, feed)
    return column


def _scalar(value: Any, key: str, feed: str) -> Any:
    """Return one value as a plain float, int, str or bool."""
    if _numpy(value) and getattr(value, "ndim", 0) == 0:
        value = value.item() if hasattr(value, "item") else value.tolist()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value) if kind is not str else str.__str__(value)
    hint = "; use float('nan') for 'no value'" if value is None else ""
    raise FeedTypeError(
        f"feed {feed}: field {key} cannot hold a {kind_name(value)}, only float, int, str or bool{hint}."
    )


def _check_ints(column: list[Any], key: str, feed: str) -> None:
    for value in column:
        if type(value) is int and not INT_MIN <= value <= INT_MAX:
            raise FeedValueError(f"feed {feed}: field {key} holds {str(value)[:40]}, an integer of more than 64 bits.")


def _check_text(column: list[Any], key: str, feed: str) -> None:
    for value in column:
        if type(value) is not str:
            continue
        if len(value) * 4 > _SAMPLE_LIMIT and _size(value) > _SAMPLE_LIMIT:
            raise FeedValueError(f"feed {feed}: field {key} holds a text of more than {_SAMPLE_LIMIT:,} bytes.")
        if not value.isascii():
            _check_unicode(value, key, feed)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _size(value: Any) -> int:
    return len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0


def _check_samples(columns: Mapping[str, list[Any]], feed: str, block: str) -> None:
    """Refuse a sample whose texts are too large together, though none of them is alone.

    A column is taken for one of texts by its first value, so that numbers cost nothing here.
    """
    texts = [column for column in columns.values() if column and type(column[0]) is str]
    if sum(max(map(_length, column)) for column in texts) * 4 <= _SAMPLE_LIMIT:
        return
    for sample in zip(*texts, strict=True):
        size = sum(map(_size, sample))
        if size > _SAMPLE_LIMIT:
            raise FeedValueError(
                f"feed {feed}: the texts of a sample of block {block[:80]} take {size:,} bytes; a message takes"
                f" {_SAMPLE_LIMIT:,}."
            )


def _check_unicode(value: str, key: str, feed: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FeedValueError(
            f"feed {feed}: field {key} holds text that is not valid Unicode (a lone surrogate)."
        ) from None


def _checked_times(stamps: list[Any], feed: str, block: str) -> list[float]:
    if _kinds(stamps) == {float} and all(map(math.isfinite, stamps)):
        return stamps
    return [_time(stamp, feed, block) for stamp in stamps]


def _time(stamp: Any, feed: str, block: str) -> float:
    if _numpy(stamp) and getattr(stamp, "ndim", 0) == 0:
        stamp = stamp.item()
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        raise FeedTypeError(f"feed {feed}: timestamp of block {block} is {stamp!r}, not a number of unix seconds.")
    if not math.isfinite(stamp):
        raise FeedValueError(f"feed {feed}: timestamp of block {block} is {stamp!r}, not a moment.")
    return float(stamp)


_SHORT = 1000


def all_fit(values: Iterable[Any]) -> bool:
    """Tell quickly whether values can be published as they are; False where that takes a closer look."""
    for value in values:
        kind = type(value)
        if kind is int:
            if not INT_MIN <= value <= INT_MAX:
                return False
        elif kind is str:
            if len(value) > _SHORT or not value.isascii():
                return False
        elif kind is not float and kind is not bool:
            return False
    return True


FloatColumns = tuple[str, Sequence[float], Mapping[str, Sequence[float]]]


def float_columns(message: Any, least: int) -> FloatColumns | None:
    """Return the parts of a message of many samples that may well be floats only.

    Args:
        message: what is to be published.
        least: how many values make it worth while.

    Returns:
        Block name, timestamps and columns (lists, or arrays of float64), of equal lengths; None if it is another kind
        of message, or one to be refused.
    """
    if not isinstance(message, dict) or message.keys() != _MANY:
        return None
    name, times, data = message["block_name"], message["timestamps"], message["data"]
    if not isinstance(name, str) or not isinstance(data, dict) or not _float_sequence(times):
        return None
    count = len(times)
    if count * (len(data) + 1) < least or not all(_float_sequence(v) and len(v) == count for v in data.values()):
        return None
    if not _finite(times) or not all(isinstance(key, str) for key in data):
        return None
    return name, times, data


def _finite(times: Sequence[float]) -> bool:
    try:
        return math.isfinite(sum(times))
    except TypeError:  # not only floats: the closer look will say which
        return False


_MANY = {"block_name", "timestamps", "data"}


def _float_sequence(value: Any) -> bool:
    """Tell whether a value is a list, or an array of float64, of at least one item, the first of which is a float."""
    if type(value) is list:
        return bool(value) and type(value[0]) is float
    return _numpy(value) and getattr(value, "ndim", 0) == 1 and str(value.dtype) == "float64" and len(value) > 0


def unfit_kinds(values: Iterable[Any]) -> list[str]:
    """Return the names of the types, among those of ``values``, that have no place in a recorded feed."""
    return sorted({kind_name(v) for v in values if not isinstance(v, float | int | str | bool) and not _numpy(v)})
