"""Turning what operations produce into what can be sent: plain maps, lists, strings, numbers, booleans and null."""

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["INT_MAX", "INT_MIN", "NotSendableError", "plain", "plain_or_null", "sendable_text"]

INT_MIN, INT_MAX = -(2**63), 2**64 - 1
"""The integers that every serializer of the wire can carry."""

_MAX_DEPTH = 64
_LONG = 1000
"""Length of a text, in characters, from which it is weighed."""
_PER_ITEM = 9
"""What a value takes on the wire, in bytes: that of a float."""


_Place = str | tuple[Any, Any]
"""Where a value stands: a name, or the place of its container and its key there. Made into text only if needed."""


def _path(place: _Place) -> str:
    return place if isinstance(place, str) else f"{_path(place[0])}[{place[1]!r}]"


class NotSendableError(ValueError, TypeError):
    """A value has no form on the wire; the message names its place and says why.

    It is a ValueError and a TypeError, since callers have met both for such values.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place} {reason}")
        self.place = place
        self.reason = reason


class _Judge:
    """Decides about what cannot be sent, and keeps account of how much more may be.

    Args:
        verdict: called with a place and a reason; what it returns stands for the value.
        room: how many bytes the whole may take, roughly.
    """

    def __init__(self, verdict: Callable[[str, str], Any], room: float = math.inf) -> None:
        self._verdict = verdict
        self._room = self.room = room

    def refuse(self, place: _Place, reason: str) -> Any:
        """Return what stands for a value that cannot be sent, or raise."""
        return self._verdict(_path(place), reason)

    def weigh(self, size: float) -> bool:
        """Tell whether there is room for ``size`` more bytes, and take it."""
        if size > self.room:
            return False
        self.room -= size
        return True

    def too_large(self, place: _Place, size: float) -> Any:
        """Refuse a value for its size."""
        return self._verdict(_path(place), f"takes about {size:,} bytes, more than there is room for.")


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
    return _convert(value, name, _Judge(_raise), 0)


def plain_or_null(value: Any, name: str = "value", room: float = math.inf) -> tuple[Any, list[str]]:
    """Return a plain copy of ``value`` in which what cannot be sent is None, and the reasons.

    Args:
        value: what is to be sent.
        name: how to call it in the reasons.
        room: how many bytes the whole may take, roughly; lists, arrays and texts for which there is none are None.

    Returns:
        The copy, and a sentence for each value left out.
    """
    reasons: list[str] = []
    judge = _Judge(lambda place, reason: reasons.append(f"{place} {reason}"), room)
    return _convert(value, name, judge, 0), reasons


def _raise(place: str, reason: str) -> Any:
    raise NotSendableError(place, reason)


def _convert(value: Any, place: _Place, judge: _Judge, depth: int) -> Any:
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind is str:
        return _convert_text(value, place, judge)
    if kind is float:
        return _convert_float(value, place, judge)
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else judge.refuse(place, "is an integer of more than 64 bits.")
    if depth >= _MAX_DEPTH:
        return judge.refuse(place, f"is nested more than {_MAX_DEPTH} deep.")
    return _convert_other(value, place, judge, depth)


def _convert_text(value: str, place: _Place, judge: _Judge) -> str | None:
    if len(value) >= _LONG and not judge.weigh(len(value)):
        return judge.too_large(place, len(value))  # type: ignore[no-any-return]
    if not _is_unicode(value):
        return judge.refuse(place, "is text that is not valid Unicode (a lone surrogate).")  # type: ignore[no-any-return]
    return value


def _convert_float(value: float, place: _Place, judge: _Judge) -> float | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return judge.refuse(place, "is infinite, which has no form on the wire; use NaN or None for 'no value'.")  # type: ignore[no-any-return]


def _convert_other(value: Any, place: _Place, judge: _Judge, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _convert_map(value, place, judge, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _convert_items(value, place, judge, depth)
    if isinstance(value, bool | int | float | str):  # an enum or another subclass: its plain value
        base = next(base for base in (bool, int, float, str) if isinstance(value, base))
        return _convert(base.__str__(value) if base is str else base(value), place, judge, depth + 1)
    tolist = getattr(value, "tolist", None)  # NumPy's scalars and arrays, and those of its relatives
    if callable(tolist) and hasattr(value, "dtype"):
        size = getattr(value, "nbytes", 0)
        if isinstance(size, int) and size > judge.room:
            return judge.too_large(place, size)
        return _convert(tolist(), place, judge, depth + 1)
    return judge.refuse(place, f"is a {kind_name(value)}, which has no form on the wire.")


def kind_name(value: Any) -> str:
    """Return the name of a value's type, for messages."""
    return type(value).__name__


def _convert_map(value: Mapping[Any, Any], place: _Place, judge: _Judge, depth: int) -> dict[Any, Any]:
    # Taken in one step: another thread may be adding keys meanwhile.
    items = list(value.items())
    if not judge.weigh(2 * _PER_ITEM * len(items)):
        return judge.too_large(place, 2 * _PER_ITEM * len(items))  # type: ignore[no-any-return]
    return {sendable_text(_key(key)): _convert(item, (place, key), judge, depth + 1) for key, item in items}


def _key(key: Any) -> str:
    """Return a map key that every serializer takes; a key that is not text is written as JSON would write it."""
    if type(key) is str:
        return key
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key.value if hasattr(key, "value") and hasattr(key, "name") else key)


def _convert_items(value: Any, place: _Place, judge: _Judge, depth: int) -> list[Any]:
    items = list(value)
    if not judge.weigh(_PER_ITEM * len(items)):
        return judge.too_large(place, _PER_ITEM * len(items))  # type: ignore[no-any-return]
    kinds = set(map(type, items))
    if kinds <= _ALWAYS_PLAIN or (kinds == {float} and all(map(math.isfinite, items))):
        return items
    if kinds == {int} and min(items) >= INT_MIN and max(items) <= INT_MAX:
        return items
    return [_convert(item, (place, i), judge, depth + 1) for i, item in enumerate(items)]


_ALWAYS_PLAIN = {bool, type(None)}


def sendable_text(text: str) -> str:
    """Return ``text`` with what is not valid Unicode, as in file names of an unknown encoding, as question marks."""
    return text if _is_unicode(text) else text.encode("utf-8", "replace").decode()


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
