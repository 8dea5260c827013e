"""The file of observing modes: which resources each needs and which sequencers; every mistake has a file and a line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocs.components.names import Prefix
from ocs.errors import ObsModeError, SiteConfigError
from ocs.scf.reading import Document, as_yaml, read_text

__all__ = ["ObsMode", "ObsModes", "SequencerWanted", "parse", "read"]

_TOP = "obsModes"
_KEYS = ("resources", "sequencers")

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SequencerWanted:
    """A sequencer that a mode needs."""

    prefix: Prefix
    script: str | None = None
    """The name of its script; None: that of the mode."""


@dataclass(frozen=True, slots=True)
class ObsMode:
    """What one observing mode needs."""

    name: str
    resources: tuple[str, ...]
    sequencers: tuple[SequencerWanted, ...]


ObsModes = Mapping[str, ObsMode]


class _MistakeError(Exception):
    """Something is not as it should be, at the end of these keys."""

    def __init__(self, problem: str, keys: Keys) -> None:
        super().__init__(problem)
        self.keys = keys


def read(path: Path) -> ObsModes:
    """Return the modes of a file.

    Args:
        path: a YAML or JSON file.

    Raises:
        ObsModeError: it is missing, cannot be read, or has a mistake; one line with file and line.
    """
    try:
        text = read_text(str(path))
    except FileNotFoundError:
        raise ObsModeError(f"{path}: there is no such file of observing modes; give --obs-mode-file") from None
    except SiteConfigError as error:
        raise ObsModeError(str(error).replace("site config file", "file of observing modes")) from None
    return parse(text, str(path))


def parse(text: str, path: str) -> ObsModes:
    """Return the modes that a text describes.

    Args:
        text: YAML or JSON.
        path: where it came from, for messages; ``.json`` is read as JSON.

    Raises:
        ObsModeError: it has a mistake; one line with file and line.
    """
    try:
        document = Document(as_yaml(text, path), path)
        found = document.value()
    except SiteConfigError as error:
        raise ObsModeError(str(error)) from None
    try:
        return _modes(found)
    except _MistakeError as mistake:
        place = ".".join(map(str, mistake.keys))
        where = f"{path}:{document.line_of(mistake.keys)}"
        raise ObsModeError(f"{where}: {place}: {mistake}" if place else f"{where}: {mistake}") from None


def _modes(found: Any) -> ObsModes:
    _refuse_unless(isinstance(found, Mapping) and _TOP in found, f"needs the key {_TOP}, a map of observing modes", ())
    for key in found:
        _refuse_unless(key == _TOP, f"is not a key of this file, which has {_TOP} alone", (key,))
    modes = found[_TOP]
    _refuse_unless(isinstance(modes, Mapping) and modes, "must be a map of at least one observing mode", (_TOP,))
    return {str(name): _mode(name, wanted, (_TOP, name)) for name, wanted in modes.items()}


def _mode(name: Any, wanted: Any, keys: Keys) -> ObsMode:
    _prefix("ESW", name, keys)
    _refuse_unless(isinstance(wanted, Mapping), f"must be a map with {' and '.join(_KEYS)}", keys)
    for key in wanted:
        _refuse_unless(key in _KEYS, f"is not a key of an observing mode; these are: {', '.join(_KEYS)}", (*keys, key))
    resources = _list(wanted, "resources", keys)
    for number, resource in enumerate(resources):
        good = isinstance(resource, str) and bool(resource.strip())
        _refuse_unless(good, f"a resource must be a name, not {resource!r:.60}", (*keys, "resources", number))
    sequencers = [
        _sequencer(name, entry, (*keys, "sequencers", number))
        for number, entry in enumerate(_list(wanted, "sequencers", keys))
    ]
    _refuse_unless(bool(sequencers), "needs at least one sequencer", (*keys, "sequencers"))
    _refuse_repeated(resources, (*keys, "resources"))
    _refuse_repeated([str(each.prefix) for each in sequencers], (*keys, "sequencers"))
    return ObsMode(str(name), tuple(resources), tuple(sequencers))


def _list(wanted: Mapping[str, Any], key: str, keys: Keys) -> Sequence[Any]:
    value = wanted.get(key) or []
    _refuse_unless(isinstance(value, list), "must be a list", (*keys, key))
    return value


def _sequencer(mode: Any, entry: Any, keys: Keys) -> SequencerWanted:
    """Return a sequencer from ``ESW``, or from ``ESW: script``."""
    if isinstance(entry, str):
        return SequencerWanted(_prefix(entry, mode, keys))
    pair = next(iter(entry.items())) if isinstance(entry, Mapping) and len(entry) == 1 else None
    if pair is None or not all(isinstance(part, str) and part for part in pair):
        raise _MistakeError(f"must be a subsystem, or a subsystem with a script, not {entry!r:.60}", keys)
    return SequencerWanted(_prefix(pair[0], mode, keys), pair[1])


def _prefix(subsystem: str, name: Any, keys: Keys) -> Prefix:
    _refuse_unless(isinstance(name, str), f"the name of an observing mode must be text, not {name!r}: quote it", keys)
    try:
        return Prefix.parse(f"{subsystem}.{name}")
    except ValueError as error:
        raise _MistakeError(str(error), keys) from None


def _refuse_unless(good: Any, problem: str, keys: Keys) -> None:
    if not good:
        raise _MistakeError(problem, keys)


def _refuse_repeated(names: Sequence[str], keys: Keys) -> None:
    for number, name in enumerate(names):
        _refuse_unless(name not in names[:number], f"{name} is given twice", (*keys, number))
