"""What has to be read: which blocks of which frames, and in which arrays their samples end up."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.hk.archive import IndexedFile, Progress, nobody
from ocs.hk.describe import BlockInfo
from ocs.hk.frame_reader import FrameReader, Sink
from ocs.hk.index import FrameEntry, Series

__all__ = ["TICKS_PER_SECOND", "BlockRef", "Table", "block_refs", "in_span", "overlapping", "read_tables"]

TICKS_PER_SECOND: Final = 100_000_000
"""Times are kept in steps of 10 ns."""

_DTYPES: Final = {"b": np.dtype(np.bool_), "i": np.dtype(np.int64), "f": np.dtype(np.float64), "s": np.dtype(object)}
_WIDENING: Final = "bifs"


class BlockRef(NamedTuple):
    """One block of one frame; they sort by time, and by place where the times are the same."""

    start: int
    """Time of its earliest sample (ticks)."""
    end: int
    """Time of its latest one."""
    samples: int
    """How many there are."""
    file: str
    """Path of the file."""
    offset: int
    """Where in it the frame begins (bytes)."""
    position: int
    """Which of the frame's blocks it is, from 0 on."""
    entry: FrameEntry
    """The frame."""

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the block, with their types."""
        return self.entry.info.blocks[self.position].fields


def overlapping(one: BlockInfo | Series, start: float | None, stop: float | None) -> bool:
    """Tell whether some samples may be in a span of time.

    Args:
        one: some samples.
        start: beginning of the span (unix, s), None for no limit.
        stop: its end, which does not belong to it.
    """
    if not one.samples:
        return False
    return (start is None or one.end / TICKS_PER_SECOND >= start) and (
        stop is None or one.start / TICKS_PER_SECOND < stop
    )


Choice = Callable[[str, BlockInfo | Series], Hashable | None]
"""Gives, for a feed's address and a block, what the block's samples are to be collected under; None for not at all."""


def block_refs(
    archive: Iterable[IndexedFile], choose: Choice, start: float | None = None, stop: float | None = None
) -> dict[Hashable, list[BlockRef]]:
    """Find blocks in an archive.

    Args:
        archive: its files.
        choose: says which blocks.
        start: beginning of the span of time that they should reach into (unix, s), None for no limit.
        stop: its end.

    Returns:
        What `choose` gave → the blocks, in no particular order.
    """
    found: dict[Hashable, list[BlockRef]] = defaultdict(list)
    for file in archive:
        series = [one for one in file.summary.series if overlapping(one, start, stop)]
        addresses = {one.address for one in series if choose(one.address, one) is not None}
        if not addresses:
            continue
        path = str(file.path)
        for entry in file.entries(addresses):
            for position, block in enumerate(entry.info.blocks):
                if overlapping(block, start, stop) and (key := choose(entry.info.address, block)) is not None:
                    place = path, entry.offset, position
                    found[key].append(BlockRef(block.start, block.end, block.samples, *place, entry))
    return found


class Table:
    """Samples of some fields that were measured together, to be filled by `read_tables`.

    Args:
        refs: the blocks that hold them.
        fields: the fields wanted; each of the blocks has all of them.

    Attributes:
        ticks: the samples' times, in steps of 10 ns since 1970.
        columns: field → values, as long as the times.
    """

    def __init__(self, refs: Iterable[BlockRef], fields: Sequence[str]) -> None:
        self._refs = sorted(refs, key=lambda ref: ref[:-1])
        size = sum(ref.samples for ref in self._refs)
        self.ticks: NDArray[np.int64] = np.empty(size, np.int64)
        self.columns: dict[str, NDArray[Any]] = {field: np.empty(size, self._dtype(field)) for field in fields}

    def _dtype(self, field: str) -> np.dtype[Any]:
        """Return the type that holds what all blocks have of a field."""
        kinds = {ref.fields[field] for ref in self._refs}
        return _DTYPES[max(kinds, key=_WIDENING.index)] if kinds else _DTYPES["f"]

    def sinks(self) -> Iterator[tuple[BlockRef, Sink]]:
        """Yield each block with where its samples go."""
        begin = 0
        for ref in self._refs:
            part = slice(begin, begin + ref.samples)
            yield ref, Sink(ref.position, self.ticks[part], {name: out[part] for name, out in self.columns.items()})
            begin = part.stop

    def finish(self, start: float | None, stop: float | None) -> None:
        """Bring what was read into the order of time, texts into arrays of texts, and cut it to a span of time."""
        for field, values in self.columns.items():
            if values.dtype == object:
                self.columns[field] = np.array([str(value) for value in values])
        if np.any(self.ticks[1:] < self.ticks[:-1]):
            self._take(np.argsort(self.ticks, kind="stable"))
        chosen = in_span(self.times, start, stop)
        if chosen != slice(0, len(self.ticks)):
            self._take(chosen)

    def _take(self, chosen: "NDArray[np.intp] | slice") -> None:
        self.ticks = self.ticks[chosen]
        self.columns = {field: values[chosen] for field, values in self.columns.items()}

    @property
    def times(self) -> NDArray[np.float64]:
        """The samples' times (unix, s)."""
        seconds: NDArray[np.float64] = self.ticks / TICKS_PER_SECOND
        return seconds


def in_span(times: NDArray[np.float64], start: float | None, stop: float | None) -> slice:
    """Return which of some sorted times (s) are from ``start`` up to, not including, ``stop``."""
    first = 0 if start is None else int(np.searchsorted(times, start))
    last = len(times) if stop is None else int(np.searchsorted(times, stop))
    return slice(first, max(first, last))


def read_tables(
    archive: Iterable[IndexedFile],
    tables: Iterable[Table],
    start: float | None = None,
    stop: float | None = None,
    progress: Progress = nobody,
) -> None:
    """Fill tables from an archive.

    Args:
        archive: its files.
        tables: what is wanted.
        start: samples before it (unix, s) are left out.
        stop: samples at it or after it are left out.
        progress: told how it goes.

    Raises:
        ChangedFileError: a file is not what its index says.
        RecordingError: a file cannot be read.
    """
    wanted = list(tables)
    tasks: dict[str, dict[int, tuple[FrameEntry, list[Sink]]]] = defaultdict(dict)
    for table in wanted:
        for ref, sink in table.sinks():
            tasks[ref.file].setdefault(ref.offset, (ref.entry, []))[1].append(sink)
    total = sum(entry.length for frames in tasks.values() for entry, _ in frames.values())
    done = 0
    for file in archive:
        frames = tasks.get(str(file.path))
        if not frames:
            continue
        with FrameReader(file.path) as reader:
            for _, (entry, sinks) in sorted(frames.items(), key=lambda item: item[0]):
                reader.read(entry, sinks)
                done += entry.length
                progress("reading", done, total)
    for table in wanted:
        table.finish(start, stop)
