"""Reading audits back: of many agents, over the files that were set aside, also while they are written."""

import fnmatch
import glob
import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from ocs.audit.record import AuditRecord
from ocs.audit.rotating import rotated
from ocs.errors import AuditError

__all__ = ["ENDING", "Follower", "Wanted", "audit_files", "read_records"]

ENDING: Final = ".audit.jsonl"
"""How the name of an audit file ends; before it is the agent's address."""

_LONGEST: Final = 1 << 20
"""The longest line that is read, in bytes; an audit's are far shorter."""
_MARGIN: Final = 3
"""How many more files than there are are looked for: some may be set aside meanwhile."""
_DIGITS: Final = 4
"""From how many digits on a number is none of a file that was set aside."""


@dataclass(frozen=True)
class Wanted:
    """Which records are asked for.

    Attributes:
        since: none that are older (unix s).
        who: a name or a shell pattern, of who asked; empty for anybody.
        agent: of the instance-id.
        op: of the operation or grant.
        action: of the action.
        refused: only what was refused or has failed.
    """

    since: float = float("-inf")
    who: str = ""
    agent: str = ""
    op: str = ""
    action: str = ""
    refused: bool = False

    def takes(self, record: AuditRecord) -> bool:
        """Tell whether a record is asked for."""
        return (
            record.time >= self.since
            and not (self.refused and record.code == 0)
            and (_fits(self.who, record.who) or _fits(self.who, record.name or ""))
            and _fits(self.agent, record.instance)
            and _fits(self.op, record.op)
            and _fits(self.action, record.action)
        )


def _fits(pattern: str, text: str) -> bool:
    return not pattern or fnmatch.fnmatchcase(text, pattern)


def audit_files(places: Iterable[Path]) -> list[Path]:
    """Return the audit files in some places; those that were set aside belong to them and are not named.

    Args:
        places: files, and folders that have audit files in them or, as a state folder, one level below.

    Raises:
        AuditError: a place is not there.
    """
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            here = [path for depth in ("", "*/") for path in place.glob(f"{depth}*{ENDING}*")]
            found.update(dict.fromkeys(sorted({_base(path) for path in here})))
        elif place.exists():
            found[_base(place)] = None
        else:
            raise AuditError(f"there is no {place}; name an audit file, or the folder that it is in")
    return list(found)


def _base(path: Path) -> Path:
    """Return the file that is written to, for one that was set aside."""
    name, dot, number = path.name.rpartition(".")
    return path.with_name(name) if dot and number.isdigit() and name.endswith(ENDING) else path


def read_records(paths: Sequence[Path], wanted: Wanted, most: int = 0) -> tuple[list[AuditRecord], int]:
    """Return what some audit files hold.

    Args:
        paths: as `audit_files` gives them.
        wanted: which records.
        most: the latest so many; 0 for all.

    Returns:
        The records by time, and how many lines could not be read.

    Raises:
        AuditError: a file cannot be read.
    """
    follower = Follower(paths, wanted)
    try:
        found = follower.read()
        records = heapq.nlargest(most, found, key=_time) if most else list(found)
    finally:
        follower.close()
    return sorted(records, key=_time), follower.broken


def _time(record: AuditRecord) -> float:
    return record.time


class Follower:
    """Reads audit files, first what there is, then what is added; files that are set aside are read to their end.

    Args:
        paths: the files that are written to; they need not be there yet.
        wanted: which records.

    Attributes:
        broken: how many lines could not be read so far.
    """

    def __init__(self, paths: Sequence[Path], wanted: Wanted) -> None:
        self.broken = 0
        self._wanted = wanted
        self._sources = {path: _Source(path, wanted.since) for path in paths}

    def add(self, paths: Iterable[Path]) -> None:
        """Follow these too, unless they are followed already."""
        for path in paths:
            if path not in self._sources:
                self._sources[path] = _Source(path, self._wanted.since)

    def read(self) -> Iterator[AuditRecord]:
        """Yield what has not been read yet, file by file.

        Raises:
            AuditError: a file cannot be read.
        """
        for path, source in list(self._sources.items()):
            try:
                yield from self._records(source)
            except OSError as error:
                raise AuditError(f"cannot read {path}: {error.strerror}; whoever runs the agent may read it") from None

    def _records(self, source: "_Source") -> Iterator[AuditRecord]:
        for line in source.lines():
            try:
                record = AuditRecord.from_line(line)
            except ValueError:
                self.broken += bool(line.strip())
                continue
            if self._wanted.takes(record):
                yield record

    def close(self) -> None:
        """Close the files. A line without an end is a broken one."""
        for source in self._sources.values():
            self.broken += source.close()


class _Source:
    """One file that is written to, with those that it was before it was set aside."""

    def __init__(self, path: Path, since: float) -> None:
        self._path = path
        self._since = since
        self._file: BinaryIO | None = None
        self._newer: list[BinaryIO] = []
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that are there by now and have not been yet."""
        self._newer = self._begun_later()
        if self._file is not None:
            yield from self._lines(self._file)
        while self._newer:
            yield self._end()  # what has no end by now will not get one
            self._file = self._newer.pop()
            yield from self._lines(self._file)

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        while piece := file.readline(_LONGEST):
            line = self._rest + piece
            if line.endswith(b"\n"):
                self._rest = b""
                yield line
            else:  # unfinished; of one that is too long the beginning is enough to be no record
                self._rest = line[:_LONGEST]

    def _begun_later(self) -> list[BinaryIO]:
        """Open the files that were begun after the one at hand, the newest first.

        In this order nothing is missed that is set aside meanwhile: it is met a second time, and known.
        """
        known = {_identity(self._file)} if self._file else set()
        found: list[BinaryIO] = []
        for number in range(self._oldest() + _MARGIN):
            file = self._open(number)
            if file is None:
                continue
            identity, state = _identity(file), os.fstat(file.fileno())
            if identity not in known and state.st_mtime >= self._since:
                known.add(identity)
                found.append(file)
                continue
            file.close()
            if self._file and identity == _identity(self._file):
                break
        return found

    def _oldest(self) -> int:
        """Return the number of the file that was set aside first."""
        numbers = [path.name.rpartition(".")[2] for path in self._path.parent.glob(f"{glob.escape(self._path.name)}.*")]
        return max((int(number) for number in numbers if number.isdecimal() and len(number) < _DIGITS), default=0)

    def _open(self, number: int) -> BinaryIO | None:
        with suppress(FileNotFoundError):
            return rotated(self._path, number).open("rb")
        return None

    def _end(self) -> bytes:
        rest, self._rest = self._rest, b""
        if self._file is not None:
            self._file.close()
        self._file = None
        return rest

    def close(self) -> int:
        """Close the files; return how many lines there are that are not finished."""
        for file in self._newer:
            file.close()
        self._newer = []
        return bool(self._end().strip())


def _identity(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_dev, state.st_ino
