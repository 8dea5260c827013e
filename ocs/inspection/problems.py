"""One thing that is wrong with a site, and where."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Level", "Problem", "error", "note", "warning"]

Keys = tuple[str | int, ...]


class Level(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    """Something will not work."""
    WARNING = "warning"
    """Something is probably not as it was meant."""
    NOTE = "note"
    """Something that one may want to know."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong.

    Attributes:
        level: how bad it is.
        message: what is wrong with what, and the remedy, in one line.
        keys: what leads to it from the top of the site file; empty: the file as a whole.
        file: another file that it is in; empty: the site file.
        line: in that other file, from 1; 0: the file as a whole.
    """

    level: Level
    message: str
    keys: Keys = ()
    file: str = ""
    line: int = 0


def error(message: str, keys: Iterable[str | int] = ()) -> Problem:
    """Return a problem that makes something not work."""
    return Problem(Level.ERROR, message, tuple(keys))


def warning(message: str, keys: Iterable[str | int] = ()) -> Problem:
    """Return a problem that is probably none that was meant."""
    return Problem(Level.WARNING, message, tuple(keys))


def note(message: str, keys: Iterable[str | int] = ()) -> Problem:
    """Return something that one may want to know."""
    return Problem(Level.NOTE, message, tuple(keys))
