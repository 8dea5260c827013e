"""Which fields are meant: full names, parts of names, patterns."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from ocs.errors import RecordingError

__all__ = ["UnknownFieldError", "chosen_names"]

_SUGGESTIONS: Final = 3
_WILDCARDS: Final = {"*": "[^.]*", "?": "[^.]"}


class UnknownFieldError(RecordingError, KeyError):
    """No field of the archive is called so."""


def chosen_names(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the names that are meant.

    Args:
        patterns: full names, or some of a name's parts (what is between the dots) in their order, for example
            ``fake-1.channel_00``. In a part ``*`` stands for any characters, and ``?`` for one.
        names: the names that there are.

    Returns:
        The names, each once, in the order of the patterns, then of ``names``.

    Raises:
        UnknownFieldError: a pattern fits no name.
    """
    known = set(names)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [pattern] if pattern in known else _fitting(pattern, names)
        if not found:
            raise UnknownFieldError(_unknown(pattern, names))
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _fitting(pattern: str, names: Sequence[str]) -> list[str]:
    parts = [_part(part) for part in pattern.split(".")]
    # One part after the other, others between, before and after them.
    fits = re.compile(r"(?:.*\.)?" + r"\.(?:.*\.)?".join(parts) + r"(?:\..*)?", re.DOTALL).fullmatch
    return [name for name in names if fits(name)]


def _part(part: str) -> str:
    if part == "*":
        return "[^.]+"
    return "".join(_WILDCARDS.get(character) or re.escape(character) for character in part)


def _unknown(pattern: str, names: Sequence[str]) -> str:
    if not names:
        return f"There is no field {pattern}: the archive has none at all"
    last = {name.rpartition(".")[2]: name for name in names}
    near = difflib.get_close_matches(pattern, names, _SUGGESTIONS, 0.7)
    near += [last[one] for one in difflib.get_close_matches(pattern.rpartition(".")[2], list(last), _SUGGESTIONS)]
    hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "`ocs data list` shows what there is"
    return f"There is no field {pattern}: {hint}"
