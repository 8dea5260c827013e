"""What an archive holds: feeds and fields, how many samples, from when to when, and the newest values."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from ocs.hk.archive import DamagedFileError, IndexedFile, Progress, nobody, with_archive
from ocs.hk.frame_reader import FrameReader
from ocs.hk.index import Series
from ocs.hk.plan import TICKS_PER_SECOND, in_span, overlapping

__all__ = ["FeedSummary", "FieldSummary", "summarize", "summarize_archive"]

_WIDENING: Final = {"b": "bool", "i": "int", "f": "float", "s": "text"}


@dataclasses.dataclass
class FieldSummary:
    """What an archive holds of one field.

    Attributes:
        newest: time of its newest sample (unix, s).
        value: that sample's value, if it was asked for.
        oldest: time of its oldest sample.
        samples: how many there are.
        type: ``float``, ``int``, ``bool`` or ``text``; the widest, if it has been recorded as several.
    """

    newest: float
    value: Any = None
    oldest: float = float("inf")
    samples: int = 0
    type: str = "bool"


@dataclasses.dataclass
class FeedSummary:
    """What an archive holds of one feed.

    Attributes:
        address: the feed's address.
        samples: how many times something was measured; each may have a value for every field.
        values: how many values were recorded.
        oldest: time of the first sample (unix, s).
        newest: time of the last one (unix, s).
        fields: the fields by name.
    """

    address: str
    samples: int = 0
    values: int = 0
    oldest: float = float("inf")
    newest: float = float("-inf")
    fields: dict[str, FieldSummary] = dataclasses.field(default_factory=dict)

    @property
    def instance(self) -> str:
        """The instance-id of the agent that publishes the feed."""
        return self.address.partition(".feeds.")[0].rpartition(".")[2]

    @property
    def feed(self) -> str:
        """The feed's name, without the agent's address."""
        return self.address.partition(".feeds.")[2] or self.address


class _Part(NamedTuple):
    """Some samples, and the block that the newest of them are in."""

    end: int
    file: int
    offset: int
    position: int
    series: Series


def summarize(
    files: Iterable[Path], *, progress: Progress = nobody
) -> tuple[list[FeedSummary], list[DamagedFileError]]:
    """Sum up what files hold, with the newest value of every field.

    Args:
        files: the files; damaged ones are read up to the damage.
        progress: told how it goes.

    Returns:
        The feeds, sorted by address, and the damage found.

    Raises:
        RecordingError: a file cannot be read.
    """

    def use(archive: list[IndexedFile]) -> tuple[list[FeedSummary], list[DamagedFileError]]:
        return summarize_archive(archive, values=True), [file.damage for file in archive if file.damage]

    return with_archive(files, use, progress)


def summarize_archive(
    archive: Iterable[IndexedFile], start: float | None = None, stop: float | None = None, *, values: bool = False
) -> list[FeedSummary]:
    """Sum up what an archive holds.

    Args:
        archive: its files.
        start: samples before it (unix, s) do not count.
        stop: samples at it and after it do not count.
        values: whether the newest values of the fields are wanted.

    Returns:
        The feeds, sorted by address.

    Raises:
        ChangedFileError: a file is not what its index says.
        RecordingError: a file cannot be read.
    """
    files = list(archive)
    feeds: dict[str, FeedSummary] = {}
    newest: dict[tuple[str, str], _Part] = {}
    for number, file in enumerate(files):
        for series in _series(file, start, stop):
            address = series.address
            _count(feeds.setdefault(address, FeedSummary(address)), series)
            part = _Part(series.end, number, series.offset, series.position, series)
            for field in series.fields:
                newest[address, field] = max(newest.get((address, field), part), part, key=lambda one: one[:-1])
    if values:
        _read_newest(files, feeds, newest)
    return [feeds[address] for address in sorted(feeds)]


def _series(file: IndexedFile, start: float | None, stop: float | None) -> Iterator[Series]:
    """Yield what a file holds within a span of time."""
    if start is None and stop is None:
        yield from file.summary.series
        return
    if not any(overlapping(one, start, stop) for one in file.summary.series):
        return
    with FrameReader(file.path) as reader:
        for entry in file.entries():
            for position, block in enumerate(entry.info.blocks):
                if overlapping(block, start, stop):
                    place = entry.offset, entry.length, position
                    span = block.start, block.end, block.samples
                    yield from _cut(
                        Series(entry.info.address, block.name, *span, *place, block.fields), reader, start, stop
                    )


def _cut(one: Series, reader: FrameReader, start: float | None, stop: float | None) -> Iterator[Series]:
    """Yield what of a block is in the span; only at its edges the times themselves have to be looked at."""
    within = (start is None or one.start / TICKS_PER_SECOND >= start) and (
        stop is None or one.end / TICKS_PER_SECOND < stop
    )
    if within:
        yield one
        return
    ticks = np.sort(reader.block(one.offset, one.length, one.position)[0])
    ticks = ticks[in_span(ticks / TICKS_PER_SECOND, start, stop)]
    if len(ticks):
        yield one._replace(start=int(ticks[0]), end=int(ticks[-1]), samples=len(ticks))


def _count(feed: FeedSummary, series: Series) -> None:
    oldest, newest = _seconds(series.start), _seconds(series.end)
    feed.samples += series.samples
    feed.values += series.samples * len(series.fields)
    feed.oldest = min(feed.oldest, oldest)
    feed.newest = max(feed.newest, newest)
    for name, kind in series.fields.items():
        field = feed.fields.setdefault(name, FieldSummary(newest))
        field.newest = max(field.newest, newest)
        field.oldest = min(field.oldest, oldest)
        field.samples += series.samples
        field.type = max(field.type, _WIDENING[kind], key=list(_WIDENING.values()).index)


def _seconds(ticks: int) -> float:
    whole, rest = divmod(int(ticks), TICKS_PER_SECOND)
    return whole + rest / TICKS_PER_SECOND


def _read_newest(files: list[IndexedFile], feeds: dict[str, FeedSummary], newest: dict[tuple[str, str], _Part]) -> None:
    """Read the newest value of every field, each block once."""
    wanted: dict[int, dict[tuple[int, int, int], list[FieldSummary]]] = defaultdict(lambda: defaultdict(list))
    names: dict[int, str] = {}
    for (address, name), part in newest.items():
        field = feeds[address].fields[name]
        names[id(field)] = name
        wanted[part.file][part.offset, part.series.length, part.position].append(field)
    for number, blocks in wanted.items():
        with FrameReader(files[number].path) as reader:
            for place, fields in blocks.items():
                ticks, columns = reader.block(*place)
                latest = int(ticks.argmax())
                for field in fields:
                    field.value = _plain(columns[names[id(field)]][latest])


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)
    return value if item is None else item()
