"""Checks on what a site config file says; each mistake knows the keys that lead to it."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from ocs.errors import SiteConfigError

__all__ = [
    "ConfigMistakeError",
    "flat_words",
    "kind",
    "mapping",
    "required",
    "required_text",
    "seconds",
    "text",
    "under",
]

_T = TypeVar("_T")

_DEEPEST = 20
_MOST_WORDS = 10_000
"""Lists within lists, and words in all, that are still taken for arguments."""


class ConfigMistakeError(SiteConfigError):
    """A mistake in the site config, with the keys that lead to it.

    Args:
        problem: what is wrong, and what would be right.
        keys: from the top of the file to the mistake.
    """

    def __init__(self, problem: str, keys: tuple[str | int, ...] = ()) -> None:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.keys = keys

    def below(self, *keys: str | int) -> "ConfigMistakeError":
        """Return the same mistake, seen from further up."""
        return ConfigMistakeError(self.problem, (*keys, *self.keys))


def under(keys: tuple[str | int, ...], build: Callable[[], _T]) -> _T:
    """Call ``build``; a mistake it meets is told as seen from above ``keys``."""
    try:
        return build()
    except ConfigMistakeError as mistake:
        raise mistake.below(*keys) from None


def kind(value: Any) -> str:
    """Return what a message calls ``value``."""
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), repr(value))


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return ``value``, which has to be a mapping; ``what`` is its name in the message."""
    if not isinstance(value, Mapping):
        raise ConfigMistakeError(f"{what} has to be a mapping, not {kind(value)}")
    return value


def required(data: Mapping[str, Any], key: str) -> Any:
    """Return a value whose key has to be there."""
    if key not in data:
        meant = next((found for found in data if str(found).replace("_", "-") == key.replace("_", "-")), None)
        hint = f" ('{meant}' is there: write it '{key}')" if meant is not None else ""
        raise ConfigMistakeError(f"the key '{key}' is missing{hint}")
    return data[key]


def text(data: Mapping[str, Any], key: str) -> str | None:
    """Return a value as text, None where it is absent or empty."""
    value = data.get(key)
    if isinstance(value, bool):
        raise ConfigMistakeError(f"has to be text, and YAML reads this as {value}: put it in quotes", (key,))
    if value is not None and not isinstance(value, str | int | float):
        raise ConfigMistakeError(f"has to be text, not {kind(value)}", (key,))
    return None if value is None else str(value)


def required_text(data: Mapping[str, Any], key: str) -> str:
    """Return a value that has to be there and be text."""
    required(data, key)
    value = text(data, key)
    if not value:
        raise ConfigMistakeError("must not be empty", (key,))
    return value


def seconds(value: str | float) -> int | float:
    """Return a length of time in s, 0 or more; whole ones as int.

    Raises:
        ValueError: it is no number, negative, infinite or NaN.
    """
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError(f"{value} is not a length of time in seconds (0 or more)")
    return int(number) if number.is_integer() else number


def flat_words(data: Mapping[str, Any], key: str) -> list[str]:
    """Return a list, possibly of lists, as one list of strings; an empty one where ``key`` is absent or empty."""
    words = data.get(key)
    if words is None:
        return []
    if not isinstance(words, list | tuple):
        raise ConfigMistakeError(f"has to be a list like [--mode, acq], not {kind(words)}", (key,))
    flat = under((key,), lambda: list(islice(_flatten(words), _MOST_WORDS + 1)))
    if len(flat) > _MOST_WORDS:
        raise ConfigMistakeError(f"has more than {_MOST_WORDS} words", (key,))
    return flat


def _flatten(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, Mapping):
        raise ConfigMistakeError(f"{dict(value)} is a mapping; a word and its value are written [--word, value]")
    if not isinstance(value, list | tuple):
        yield str(value)
        return
    if depth > _DEEPEST:
        raise ConfigMistakeError(f"is nested more than {_DEEPEST} levels deep")
    for item in value:
        yield from _flatten(item, depth + 1)
