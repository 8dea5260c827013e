"""What a spawn agent remembers of each component that it has started, also over its own end."""

import json
import os
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from ocs.components.names import ComponentId

__all__ = ["ExitNote", "Record", "RecordsFile", "read_records", "surplus"]

_log = Logger()

_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_EXITS = 10
"""How many exits of a component are remembered."""


@dataclass(frozen=True, slots=True)
class ExitNote:
    """How a component's process has ended."""

    started: float
    """When it was started (unix s)."""
    ended: float
    """When it ended (unix s)."""
    code: int | None
    """Its exit code; None if a signal ended it, or nobody knows."""
    signal: int | None
    """The signal that ended it."""
    text: str
    """All this in words."""

    def to_json(self) -> dict[str, Any]:
        """Return the note as plain values."""
        return asdict(self)


@dataclass(eq=False)
class Record:
    """One component, from its first spawn here."""

    component: ComponentId
    instance_id: str
    confirmed: str = ""
    """The stamp of the process that has registered it: one that never has is not left behind."""
    exits: deque[ExitNote] = field(default_factory=lambda: deque(maxlen=_EXITS))
    """The last ones, the newest last."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            "component": self.component.to_json(),
            "instance_id": self.instance_id,
            "confirmed": self.confirmed,
            "exits": [note.to_json() for note in self.exits],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Record":
        """Return what `to_json` has made plain.

        Raises:
            ValueError, LookupError, TypeError: it has not.
        """
        exits = [ExitNote(**{name: note[name] for name in ExitNote.__slots__}) for note in value["exits"]]
        record = cls(ComponentId.from_json(value["component"]), str(value["instance_id"]), str(value["confirmed"]))
        record.exits.extend(exits)
        return record


def surplus(records: Mapping[str, Record], running: Iterable[str], most: int) -> list[str]:
    """Return the names of those to be forgotten: of more than ``most``, the ones that ended the longest ago."""
    alive = set(running)
    ended = sorted((name for name in records if name not in alive), key=lambda name: _ended(records[name]))
    return ended[: max(0, len(records) - most)]


def _ended(record: Record) -> float:
    return record.exits[-1].ended if record.exits else 0.0


def read_records(path: Path | None) -> dict[str, Record]:
    """Return what a file of records says, by name; without those that cannot be read.

    Args:
        path: the file; None: there is none.
    """
    records: dict[str, Record] = {}
    for name, value in _values(path) if path else ():
        try:
            records[name] = Record.from_json(value)
        except _DAMAGE as error:
            _log.error(
                "{path}: the record of {name} is damaged, and forgotten: {why!r}", path=path, name=name, why=error
            )
    return records


def _values(path: Path) -> list[tuple[str, Any]]:
    try:
        return list(json.loads(path.read_text()).items())
    except FileNotFoundError:
        return []
    except (OSError, *_DAMAGE) as error:
        _log.error("{path} cannot be read; what had ended is forgotten: {why!r}", path=path, why=error)
        return []


class RecordsFile:
    """Keeps records on the disk; writes in a thread, one after the other, the latest only.

    Args:
        reactor: lends the thread.
        path: the file, in a folder that exists; None: they are kept nowhere.
    """

    log = Logger()

    def __init__(self, reactor: Any, path: Path | None) -> None:
        self.trouble = ""
        """Why the file does not say what it should; empty while it does."""
        self._reactor = reactor
        self._path = path
        self._next: str | None = None
        self._writing: Deferred[None] | None = None

    def save(self, records: Mapping[str, Record]) -> None:
        """Have the file say this soon."""
        self._next = json.dumps({name: record.to_json() for name, record in records.items()}, indent=1)
        if self._path and self._writing is None:
            self._write(self._path)

    def written(self) -> "Deferred[None]":
        """Return a Deferred that fires when what was saved is on the disk, or the disk has refused it."""
        if self._writing is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._writing.addCallback(lambda _result: self.written().chainDeferred(done))
        return done

    def _write(self, path: Path) -> None:
        text, self._next = self._next or "{}", None
        self._writing = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _replace, path, text)
        self._writing.addCallbacks(lambda _result: self._tell(""), lambda failure: self._tell(str(failure.value)))
        self._writing.addCallback(lambda _result: self._written(path))

    def _tell(self, trouble: str) -> None:
        if trouble and not self.trouble:
            self.log.error("what has become of components cannot be written: {reason}", reason=trouble)
        self.trouble = trouble

    def _written(self, path: Path) -> None:
        self._writing = None
        if self._next is not None:
            self._write(path)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
