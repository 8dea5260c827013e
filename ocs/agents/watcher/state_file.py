"""What a watcher leaves to its next run: alarms, acknowledgements, mutes, and letters that nobody has taken yet."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ocs.agents.watcher.alarms import Alarm, Key, Phase
from ocs.agents.watcher.board import Board, Mute

__all__ = ["Left", "read_state", "state_text", "write_state"]

_VERSION = 1
_FIELDS = tuple(one.name for one in fields(Alarm))


@dataclass(slots=True)
class Left:
    """What an earlier run has left."""

    alarms: dict[Key, Alarm] = field(default_factory=dict)
    mutes: list[Mute] = field(default_factory=list)
    letters: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By target."""
    trouble: str | None = None
    """Why there is nothing, or less; None: all was read, or there was no file."""


def state_text(board: Board, letters: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return the text of the file."""
    return json.dumps(
        {
            "version": _VERSION,
            "alarms": [_entry(key, alarm) for key, alarm in board.alarms.items()],
            "mutes": [asdict(mute) for mute in board.mutes],
            "letters": {name: waiting for name, waiting in letters.items() if waiting},
        }
    )


def _entry(key: Key, alarm: Alarm) -> dict[str, Any]:
    """Return an alarm as it is kept; `asdict` copies deeply, which takes ten times as long."""
    return {**key._asdict(), **{name: getattr(alarm, name) for name in _FIELDS}}


def write_state(path: Path, text: str) -> None:
    """Put the text in the place of the file, whole or not at all. Blocks.

    Raises:
        OSError: the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_state(path: Path | None) -> Left:
    """Return what is in the file; what is damaged in it is left out, and said. Blocks."""
    if path is None:
        return Left()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _left(found, path)
    except FileNotFoundError:
        return Left()
    except (OSError, ValueError, RecursionError) as error:
        return Left(trouble=f"{path} cannot be read, alarms and mutes begin anew: {error}")


def _left(found: Any, path: Path) -> Left:
    if not isinstance(found, dict):
        raise ValueError("it is no map")  # noqa: TRY004 - damage to a file is told as such
    left, bad = Left(), 0
    for entry in _list(found.get("alarms")):
        try:
            left.alarms[Key(str(entry["rule"]), str(entry["subject"]))] = _alarm(entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            bad += 1
    for entry in _list(found.get("mutes")):
        try:
            left.mutes.append(Mute(str(entry["rule"]), str(entry["subject"]), float(entry["until"]), str(entry["by"])))
        except (KeyError, TypeError, ValueError):
            bad += 1
    letters = found.get("letters")
    for name, waiting in letters.items() if isinstance(letters, dict) else ():
        left.letters[str(name)] = [letter for letter in _list(waiting) if _is_letter(letter)]
    if bad:
        left.trouble = f"{path} is damaged: {bad} of its entries are left out"
    return left


def _alarm(entry: dict[str, Any]) -> Alarm:
    known = {name: entry[name] for name in _FIELDS if name in entry}
    known["phase"] = Phase(known["phase"])
    known["since"], known["ripe"] = float(known["since"]), float(known["ripe"])
    known["told"] = tuple(str(name) for name in _list(known.get("told")))
    known["steps"] = int(known.get("steps", 0))
    for name in ("value", "acknowledged_at", "told_at"):
        known[name] = None if known.get(name) is None else float(known[name])
    for name in ("message", "acknowledged_by", "comment"):
        known[name] = str(known.get(name, ""))
    return Alarm(**known)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_letter(letter: Any) -> bool:
    with suppress(TypeError, KeyError):
        return isinstance(letter["time"], int | float) and {"watcher", "text", "summary"} <= set(letter)
    return False
