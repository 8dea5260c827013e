"""The index of a recorded file: what is in which frame, as lines of JSON in a hidden folder beside the data.

The first line names the file. Then comes a line for each frame, and at last, when the file is complete, one that sums
up the whole file. A block's fields are told where they first appear, and where they change. The index is a cache: who
does not find one, or one that does not fit, makes it anew from the file itself.
"""

import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ocs.hk.describe import DATA, BlockInfo, FrameInfo

__all__ = [
    "FINGERPRINT_BYTES",
    "FileSummary",
    "FrameEntry",
    "IndexLines",
    "IndexedFrames",
    "Series",
    "StaleIndexError",
    "fingerprint",
    "index_path",
    "parse_lines",
    "parse_summary",
]

_FORMAT: Final = "ocs.hk.index"
_VERSION: Final = 1
_TIMECODE_FOLDER: Final = re.compile(r"[0-9]{5}")

FINGERPRINT_BYTES: Final = 512
"""How much of a file's beginning tells it from another of its name (bytes): it holds the recording session's id."""


class StaleIndexError(ValueError):
    """An index is of another file, or of another version of this package, or damaged."""


def index_path(path: Path) -> Path:
    """Return where the index of a ``.g3`` file is.

    That is the folder ``.index`` of the data folder, which is the one above ``path``'s if that is named for five digits
    of the time; or else ``path``'s own.
    """
    folder = path.parent
    name = f"{path.name}.jsonl"
    if _TIMECODE_FOLDER.fullmatch(folder.name):
        return folder.parent / ".index" / folder.name / name
    return folder / ".index" / name


class FrameEntry(NamedTuple):
    """A frame, and where in its file it is."""

    offset: int
    """Bytes before it."""
    length: int
    """Its own bytes."""
    info: FrameInfo
    """What is in it."""


class Series(NamedTuple):
    """What a file holds of a block as long as its fields are the same."""

    address: str
    """The feed's address."""
    name: str
    """The block's name."""
    start: int
    """Time of the earliest sample, in steps of 10 ns since 1970."""
    end: int
    """Time of the latest one."""
    samples: int
    """How many there are."""
    offset: int
    """Where in the file the frame with the latest sample begins (bytes)."""
    length: int
    """That frame's bytes."""
    position: int
    """Which of its blocks it is, from 0 on."""
    fields: Mapping[str, str]
    """Field → its type, a letter as in `BlockInfo`."""

    def with_block(self, entry: FrameEntry, position: int, block: BlockInfo) -> "Series":
        """Return the series with one more block; of two samples of the same time the one written last is the latest."""
        newest = (entry.offset, entry.length, position)
        if block.end < self.end:
            newest = (self.offset, self.length, self.position)
        span = min(self.start, block.start), max(self.end, block.end)
        return Series(self.address, self.name, *span, self.samples + block.samples, *newest, self.fields)


class FileSummary:
    """What a file holds, all frames together.

    Attributes:
        covered: how many bytes of the file have been looked at: all whole frames from its beginning on.
        frames: how many frames these are.
        series: what they hold.
    """

    def __init__(self, covered: int = 0, frames: int = 0, series: Iterable[Series] = ()) -> None:
        self.covered = covered
        self.frames = frames
        self._series = {_series_key(one.address, one.name, one.fields): one for one in series}

    @property
    def series(self) -> list[Series]:
        """What the frames hold."""
        return list(self._series.values())

    def add(self, entry: FrameEntry) -> None:
        """Count in a frame."""
        self.covered = entry.offset + entry.length
        self.frames += 1
        info = entry.info
        for position, block in enumerate(info.blocks):
            if not block.samples:
                continue
            key = _series_key(info.address, block.name, block.fields)
            known = self._series.get(key)
            if known is None:
                place = entry.offset, entry.length, position
                span = block.start, block.end, block.samples
                self._series[key] = Series(info.address, block.name, *span, *place, block.fields)
            else:
                self._series[key] = known.with_block(entry, position, block)


def _series_key(address: str, block: str, fields: Mapping[str, str]) -> tuple[Any, ...]:
    return address, block, tuple(fields), "".join(fields.values())


def fingerprint(beginning: bytes, first_frame: int) -> list[int]:
    """Return what tells a file from another of its name.

    Args:
        beginning: the first bytes of the file, `FINGERPRINT_BYTES` if it has as many.
        first_frame: length of its first frame (bytes).
    """
    size = min(FINGERPRINT_BYTES, first_frame)
    return [size, zlib.crc32(beginning[:size])]


class IndexLines:
    """Makes the lines of one file's index.

    Args:
        name: the file's name, without its folder.

    Attributes:
        summary: the frames so far, all together.
    """

    def __init__(self, name: str) -> None:
        self.summary = FileSummary()
        self._name = name
        self._fields: dict[tuple[str, str], Mapping[str, str]] = {}

    def first(self, mark: list[int]) -> bytes:
        """Return the line that names the file.

        Args:
            mark: its `fingerprint`.
        """
        return _line({"format": _FORMAT, "version": _VERSION, "file": self._name, "head": mark})

    def frame(self, entry: FrameEntry) -> bytes:
        """Return the line of a frame; the frames have to come in the order they have in the file."""
        self.summary.add(entry)
        info = entry.info
        if info.kind != DATA:
            return _line({"o": entry.offset, "n": entry.length, "k": info.kind})
        blocks = [self._block(info.address, block) for block in info.blocks]
        return _line({"o": entry.offset, "n": entry.length, "a": info.address, "s": info.session, "b": blocks})

    def _block(self, address: str, block: BlockInfo) -> list[Any]:
        told = [block.name, block.start, block.end, block.samples]
        if self._fields.get((address, block.name)) != block.fields:
            self._fields[address, block.name] = block.fields
            return [*told, dict(block.fields)]
        return told

    def last(self) -> bytes:
        """Return the line that sums up the file."""
        summary = self.summary
        feeds: dict[str, list[Any]] = {}
        for one in summary.series:
            feeds.setdefault(one.address, []).append([*one[1:-1], dict(one.fields)])
        return _line({"end": summary.covered, "frames": summary.frames, "feeds": feeds})


def _line(record: dict[str, Any]) -> bytes:
    return _dump(record).encode() + b"\n"


_dump = json.JSONEncoder(separators=(",", ":")).encode


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records of whole lines, up to one that is torn."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        try:
            record = json.loads(line)
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        yield record


class IndexedFrames(NamedTuple):
    """What an index has."""

    entries: list[FrameEntry]
    """The frames, without a hole from the file's beginning on."""
    covered: int
    """How many bytes of the file these are, with those that were passed over."""


def parse_lines(
    lines: Iterable[bytes], name: str, beginning: bytes, addresses: Collection[str] | None = None
) -> IndexedFrames:
    """Read an index.

    Args:
        lines: its lines.
        name: the name of the file that it should be of.
        beginning: that file's first `FINGERPRINT_BYTES` bytes.
        addresses: pass over the data frames of other feeds, which is several times quicker. None: read all.

    Raises:
        StaleIndexError: it is not of this file, or of no use for another reason.
    """
    rest = iter(lines)
    _check_first(next(_records(rest), {}), name, beginning)
    records = _records(rest) if addresses is None else _records_of(rest, addresses)
    entries: list[FrameEntry] = []
    fields: dict[tuple[str, str], dict[str, str]] = {}
    covered = 0
    try:
        for record in records:
            # Two that write the index at the same time may leave a frame twice, or a hole.
            if "o" not in record or record["o"] < covered:
                continue
            if record["o"] > covered:
                break
            covered += _length(record)
            if len(record) > len(_PASSED_OVER):
                entries.append(_entry(record, fields))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StaleIndexError(f"the index of {name} is damaged") from error
    return IndexedFrames(entries, covered)


_PASSED_OVER: Final = ("o", "n")
_BEGINNING: Final = re.compile(rb'\{"o":([0-9]+),"n":([0-9]+),"a":("(?:[^"\\]|\\.)*"),.*\}\n')


def _records_of(lines: Iterable[bytes], addresses: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the records of whole lines; of data frames of other feeds no more than where they are."""
    wanted = {_dump(address).encode() for address in addresses}
    begins = _BEGINNING.fullmatch
    for line in lines:
        found = begins(line)
        if found and found[3] not in wanted:
            yield {"o": int(found[1]), "n": int(found[2])}
            continue
        record = next(_records([line]), None)
        if record is None:
            return
        yield record


def _length(record: dict[str, Any]) -> int:
    length = record["n"]
    if not isinstance(length, int) or length < 1:
        raise ValueError("a frame has a length")
    return length


def _check_first(record: dict[str, Any], name: str, beginning: bytes) -> None:
    mark = record.get("head")
    known = record.get("format") == _FORMAT and record.get("version") == _VERSION and record.get("file") == name
    if not known or not isinstance(mark, list) or not mark or not isinstance(mark[0], int):
        raise StaleIndexError(f"there is no index of {name} that this version can read")
    if mark[0] < 1 or len(beginning) < mark[0] or fingerprint(beginning, mark[0]) != mark:
        raise StaleIndexError(f"the index of {name} is of another file of this name")


def _entry(record: dict[str, Any], fields: dict[tuple[str, str], dict[str, str]]) -> FrameEntry:
    offset, length = record["o"], record["n"]
    if "a" not in record:
        return FrameEntry(offset, length, FrameInfo(record["k"]))
    address = record["a"]
    blocks = tuple(_block(address, told, fields) for told in record["b"])
    return FrameEntry(offset, length, FrameInfo(DATA, address, record["s"], blocks))


_TOLD_WITH_FIELDS: Final = 5


def _block(address: str, told: list[Any], fields: dict[tuple[str, str], dict[str, str]]) -> BlockInfo:
    name, start, end, samples = told[:4]
    if len(told) == _TOLD_WITH_FIELDS:
        fields[address, name] = told[4]
    return BlockInfo(name, start, end, samples, fields[address, name])


def parse_summary(first: bytes, last: bytes, name: str, beginning: bytes) -> FileSummary | None:
    """Read the line that sums up a file.

    Args:
        first: the first line of its index.
        last: the last one.
        name: the file's name.
        beginning: its first `FINGERPRINT_BYTES` bytes.

    Returns:
        The summary; None if the last line is none.

    Raises:
        StaleIndexError: the index is not of this file, or of no use for another reason.
    """
    _check_first(next(_records([first]), {}), name, beginning)
    record = next(_records([last]), {})
    if "end" not in record:
        return None
    try:
        series = [Series(address, *told) for address, many in record["feeds"].items() for told in many]
        return FileSummary(record["end"], record["frames"], series)
    except (KeyError, TypeError, AttributeError) as error:
        raise StaleIndexError(f"the index of {name} is damaged") from error
