"""Checks on what a site config file says; each mistake knows the keys that lead to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from reprlib import Repr
from typing import Any, TypeVar

from ocs.errors import SiteConfigError

__all__ = [
    "PROCESS_RESTARTS",
    "ConfigMistakeError",
    "flat_words",
    "kind",
    "mapping",
    "printable",
    "process_restart",
    "required",
    "required_text",
    "seconds",
    "shown",
    "text",
    "under",
]

_T = TypeVar("_T")

PROCESS_RESTARTS = ("never", "on-failure", "always")
"""When a process of an agent is started again after it has ended without having been asked to."""

_DEEPEST = 20
_MOST_WORDS = 2_000
"""Lists within lists, and words and lists in all, that are still taken for the arguments of one instance."""

_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring, _SHORT.maxother = 2, 3, 3, 60, 60
"""A value may be a billion times what stands in the file, by references to references."""


class ConfigMistakeError(SiteConfigError):
    """A mistake in the site config, with the keys that lead to it.

    Args:
        problem: what is wrong, and what would be right.
        keys: from the top of the file to the mistake.
    """

    def __init__(self, problem: str, keys: tuple[str | int, ...] = ()) -> None:
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
        super().__init__(printable(f"{place}: {problem}" if place else problem))
        self.problem = problem
        self.keys = keys

    def below(self, *keys: str | int) -> "ConfigMistakeError":
        """Return the same mistake, seen from further up."""
        return ConfigMistakeError(self.problem, (*keys, *self.keys))


def printable(message: str) -> str:
    """Return a message as one line that no terminal takes for a command; what it quotes may hold anything."""
    return "".join(char if char.isprintable() else " " for char in message)


def under(keys: tuple[str | int, ...], build: Callable[[], _T]) -> _T:
    """Call ``build``; a mistake it meets is told as seen from above ``keys``."""
    try:
        return build()
    except ConfigMistakeError as mistake:
        raise mistake.below(*keys) from None


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, whatever it is."""
    return _SHORT.repr(value)


def kind(value: Any) -> str:
    """Return what a message calls ``value``."""
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value)) or shown(value)


def mapping(value: Any, what: str, keys: tuple[str | int, ...] = ()) -> Mapping[str, Any]:
    """Return ``value``, which has to be a mapping; ``what`` is its name in the message, ``keys`` lead to it."""
    if not isinstance(value, Mapping):
        raise ConfigMistakeError(f"{what} has to be a mapping, not {kind(value)}", keys)
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
    return None if value is None else _word(value)


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


def process_restart(word: str) -> tuple[str, str]:
    """Return a process and when it is to be started again, from ``NAME`` or ``NAME=POLICY``.

    Raises:
        ValueError: there is no name, or no such policy.
    """
    name, equals, policy = word.partition("=")
    policy = policy if equals else "on-failure"
    if not name or policy not in PROCESS_RESTARTS:
        raise ValueError(f"{word!r:.80} is not NAME[=POLICY], with a policy of {', '.join(PROCESS_RESTARTS)}")
    return name, policy


def flat_words(data: Mapping[str, Any], key: str) -> list[str]:
    """Return a list, possibly of lists, as one list of strings; an empty one where ``key`` is absent or empty."""
    words = data.get(key)
    if words is None:
        return []
    if not isinstance(words, list | tuple):
        raise ConfigMistakeError(f"has to be a list like [--mode, acq], not {kind(words)}", (key,))
    return under((key,), lambda: _flatten(words))


def _flatten(words: Sequence[Any]) -> list[str]:
    seen = list(islice(_all_in(words), _MOST_WORDS + 1))
    if len(seen) > _MOST_WORDS:
        raise ConfigMistakeError(f"has more than {_MOST_WORDS} words")
    return [_word(item) for item in seen if not isinstance(item, list | tuple)]


def _all_in(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield a value and all that is in it; lists too, so that also lists of nothing count."""
    yield value
    if not isinstance(value, list | tuple):
        return
    if depth > _DEEPEST:
        raise ConfigMistakeError(f"is nested more than {_DEEPEST} levels deep")
    for item in value:
        yield from _all_in(item, depth + 1)


def _word(item: Any) -> str:
    if isinstance(item, Mapping):
        raise ConfigMistakeError(f"{shown(item)} is a mapping; a word and its value are written [--word, value]")
    try:
        return str(item)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        raise ConfigMistakeError("has a number that is too long: put it in quotes") from None
