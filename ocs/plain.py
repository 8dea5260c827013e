"""Turning what operations produce into what can be sent: plain maps, lists, strings, numbers, booleans and null."""

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["INT_MAX", "INT_MIN", "NotSendableError", "plain", "plain_or_null"]

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""The integers that every serializer of the wire can carry."""

_MAX_DEPTH = 64


class NotSendableError(ValueError, TypeError):
    """A value has no form on the wire; the message names its place and says why.

    It is a ValueError and a TypeError, since callers have met both for such values.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} {reason}")
        self.place = place
        self.reason = reason


_Refuse = Callable[[str, str], Any]


def plain(value: Any, name: str = "value") -> Any:
    """Return a copy of ``value`` made of plain values only.

    NumPy scalars and arrays become numbers and lists, NaN becomes None, tuples and sets become lists.

    Args:
        value: what is to be sent.
        name: how to call it in an error.

    Returns:
        The plain copy; later changes of ``value`` do not reach it.

    Raises:
        NotSendableError: for an infinity, an integer beyond 64 bits, bytes, or any other type; names the place.
    """
    return _convert(value, name, _raise, 0)


def plain_or_null(value: Any, name: str = "value") -> tuple[Any, list[str]]:
    """Return a plain copy of ``value`` in which what cannot be sent is None, and the reasons.

    Args:
        value: what is to be sent.
        name: how to call it in the reasons.

    Returns:
        The copy, and a sentence for each value left out.
    """
    reasons: list[str] = []
    return _convert(value, name, lambda place, reason: reasons.append(f"{place} {reason}"), 0), reasons


def _raise(place: str, reason: str) -> Any:
    raise NotSendableError(place, reason)


def _convert(value: Any, place: str, refuse: _Refuse, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is float:
        return _convert_float(value, place, refuse)
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else refuse(place, "is an integer of more than 64 bits.")
    if depth >= _MAX_DEPTH:
        return refuse(place, f"is nested more than {_MAX_DEPTH} deep.")
    return _convert_other(value, place, refuse, depth)


def _convert_float(value: float, place: str, refuse: _Refuse) -> float | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return refuse(place, "is infinite, which has no form on the wire; use NaN or None for 'no value'.")  # type: ignore[no-any-return]


def _convert_other(value: Any, place: str, refuse: _Refuse, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _convert_map(value, place, refuse, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _convert_items(value, place, refuse, depth)
    if isinstance(value, bool | int | float | str):  # an enum or another subclass: its plain value
        base = next(base for base in (bool, int, float, str) if isinstance(value, base))
        return _convert(base.__str__(value) if base is str else base(value), place, refuse, depth + 1)
    tolist = getattr(value, "tolist", None)  # NumPy's scalars and arrays, and those of its relatives
    if callable(tolist) and hasattr(value, "dtype"):
        return _convert(tolist(), place, refuse, depth + 1)
    return refuse(place, f"is a {kind_name(value)}, which has no form on the wire.")


def kind_name(value: Any) -> str:
    """Return the name of a value's type, for messages."""
    return type(value).__name__


def _convert_map(value: Mapping[Any, Any], place: str, refuse: _Refuse, depth: int) -> dict[Any, Any]:
    # Taken in one step: another thread may be adding keys meanwhile.
    items = list(value.items())
    return {_key(key): _convert(item, f"{place}[{key!r}]", refuse, depth + 1) for key, item in items}


def _key(key: Any) -> Any:
    """Return a map key that every serializer takes; a key that is not text is written as JSON would write it."""
    if type(key) is str:
        return key
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key.value if hasattr(key, "value") and hasattr(key, "name") else key)


def _convert_items(value: Any, place: str, refuse: _Refuse, depth: int) -> list[Any]:
    items = list(value)
    kinds = set(map(type, items))
    if kinds <= _ALWAYS_PLAIN or (kinds == {float} and all(map(math.isfinite, items))):
        return items
    return [_convert(item, f"{place}[{i}]", refuse, depth + 1) for i, item in enumerate(items)]


_ALWAYS_PLAIN = {str, bool, type(None)}
