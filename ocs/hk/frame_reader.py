"""Values out of the frames of a file: no more of it is read than is asked for, and no more decoded than has to be.

Frames of one feed mostly look like the one before. So it is guessed that the values are where they were in that one,
and the words before them, which name the field, its type and the number of its values, tell whether the guess was
right. A frame that is different is read whole; one that is unfamiliar is left to spt3g.
"""

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ocs.hk.archive import ChangedFileError, file_error
from ocs.hk.describe import FrameInfo
from ocs.hk.index import FrameEntry
from ocs.hk.layout import BlockPlace, FieldPlace, UnfamiliarError, block_places, frame_head, texts_at
from ocs.hk.library import LIBRARY_ERRORS, decode, quiet_library, reason, translator

_NOT_AS_USUAL: Final = (ValueError, KeyError, IndexError, struct.error)
"""What the reading of bytes raises that are not laid out as usual."""

__all__ = ["FrameReader", "Sink"]

_FIXED: Final = frozenset("fb")
_TYPES: Final = {("f", 8): "<f8", ("b", 1): "?", **{("i", width): f"<i{width}" for width in (1, 2, 4, 8)}}
_WORTH_A_READ: Final = 32 * 1024
"""Bytes that nobody asked for are read along if they are fewer: another call of the system costs as much."""


class Sink(NamedTuple):
    """Where the samples of one block of a frame go."""

    position: int
    """Which block of the frame it is, from 0 on."""
    ticks: NDArray[np.int64]
    """For the times, in steps of 10 ns; as long as the block."""
    columns: Mapping[str, NDArray[Any]]
    """Field → for its values; of type object for texts."""


class _Expected(NamedTuple):
    """Values in a frame, and the words before them."""

    begin: int
    words: bytes
    values: int
    end: int
    type: str

    @classmethod
    def at(cls, frame: bytes, begin: int, values: int, count: int, kind: str) -> Self:
        end = values + count * np.dtype(kind).itemsize
        return cls(begin, frame[begin:values], values, end, kind)


class _Layout(NamedTuple):
    """Where everything was in a frame that others should look like."""

    head: _Expected
    ticks: list[_Expected]
    fields: list[dict[str, _Expected]]

    def plan(self, sinks: Iterable[Sink]) -> "_Plan":
        """Return how to read from such a frame what goes into sinks like these."""
        wanted = [self.head]
        for sink in sinks:
            fields = self.fields[sink.position]
            wanted += [self.ticks[sink.position], *(fields[field] for field in sink.columns)]
        return _Plan.of(wanted)


class _Plan(NamedTuple):
    """How to read some values of a frame."""

    runs: list[tuple[int, int]]
    """The stretches of the frame to be read."""
    size: int
    """Bytes of all of them."""
    steps: list[tuple[int, int, bytes, str]]
    """For each of the values: where in what was read the words before them begin and end, these words, their type."""

    @classmethod
    def of(cls, wanted: Sequence[_Expected]) -> Self:
        runs: list[tuple[int, int]] = []
        shifts = {}
        before = 0  # bytes of the earlier runs
        for one in sorted(wanted):
            if runs and one.begin - runs[-1][1] < _WORTH_A_READ:
                runs[-1] = runs[-1][0], one.end
            else:
                before += runs[-1][1] - runs[-1][0] if runs else 0
                runs.append((one.begin, one.end))
            shifts[one.begin] = before - runs[-1][0]
        size = sum(end - begin for begin, end in runs)
        steps = [(one.begin + shifts[one.begin], one.values + shifts[one.begin], one.words, one.type) for one in wanted]
        return cls(runs, size, steps)


class FrameReader:
    """Reads the samples of a file. A context manager.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        self._plans: dict[tuple[Any, ...], _Plan] = {}
        self._buffer = bytearray()
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise file_error(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, entry: FrameEntry, sinks: Sequence[Sink]) -> None:
        """Read blocks of a frame.

        Args:
            entry: the frame, out of the file's index.
            sinks: where its blocks go.

        Raises:
            ChangedFileError: the file does not have what its index says.
            RecordingError: it cannot be read.
        """
        like = _signature(entry.info)
        key = (like, *((sink.position, *sink.columns) for sink in sinks))
        try:
            plan = self._plan(like, key, sinks) if like else None
            if plan is None or not self._read_as(plan, entry, sinks):
                self._plans.pop(key, None)
                self._read_whole(entry, sinks, like)
        except OSError as error:
            raise file_error(self._path, error) from error

    def block(self, offset: int, length: int, position: int) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Read all of one block.

        Args:
            offset: bytes before its frame.
            length: the frame's bytes.
            position: which of the frame's blocks it is, from 0 on.

        Returns:
            The times, in steps of 10 ns, and field → values.

        Raises:
            ChangedFileError: the file does not have what its index says.
            RecordingError: it cannot be read.
        """
        try:
            content = os.pread(self._file.fileno(), length, offset)
        except OSError as error:
            raise file_error(self._path, error) from error
        try:
            place = _places(content)[1][position]
            columns = {name: _values(content, field, place.samples) for name, field in place.fields.items()}
            return np.frombuffer(content, "<i8", place.samples, place.ticks), columns
        except _NOT_AS_USUAL:
            decoded = self._decoded(content, position)
            return np.array(decoded.times), {str(name): np.array(decoded[name]) for name in decoded.keys()}  # noqa: SIM118 - spt3g's map

    def _plan(self, like: tuple[Any, ...], key: tuple[Any, ...], sinks: Sequence[Sink]) -> _Plan | None:
        plan = self._plans.get(key)
        if plan is None and (layout := self._layouts.get(like)):
            plan = self._plans[key] = layout.plan(sinks)
        return plan

    def _read_as(self, plan: _Plan, entry: FrameEntry, sinks: Sequence[Sink]) -> bool:
        """Read a frame that should look like an earlier one; tell whether it does."""
        buffer = self._read_runs(plan, entry.offset)
        # The words before the blocks have to be there, but no values belong to them.
        for begin, end, words, _ in plan.steps:
            if buffer[begin:end] != words:
                return False
        steps = iter(plan.steps[1:])
        for sink in sinks:
            for out in (sink.ticks, *sink.columns.values()):
                _, place, _, kind = next(steps)
                out[:] = np.frombuffer(buffer, kind, len(out), place)
        return True

    def _read_runs(self, plan: _Plan, offset: int) -> bytearray:
        if len(self._buffer) < plan.size:
            self._buffer = bytearray(plan.size)
        view = memoryview(self._buffer)
        filled = 0
        for begin, end in plan.runs:
            part = view[filled : filled + end - begin]
            if os.preadv(self._file.fileno(), [part], offset + begin) < len(part):
                raise ChangedFileError(f"{self._path} is shorter than its index says")
            filled += end - begin
        return self._buffer

    def _read_whole(self, entry: FrameEntry, sinks: Sequence[Sink], like: tuple[Any, ...] | None) -> None:
        content = os.pread(self._file.fileno(), entry.length, entry.offset)
        try:
            begin, places = _places(content)
            _fill(content, places, sinks)
        except _NOT_AS_USUAL:
            self._read_decoded(content, sinks)
        else:
            if like is not None:
                self._layouts[like] = _layout(content, begin, places)

    def _read_decoded(self, content: bytes, sinks: Sequence[Sink]) -> None:
        for sink in sinks:
            block = self._decoded(content, sink.position)
            try:
                sink.ticks[:] = np.asarray(block.times)
                for field, out in sink.columns.items():
                    out[:] = np.array(block[field])
            except LIBRARY_ERRORS as error:
                raise self._changed(reason(error)) from error

    def _decoded(self, content: bytes, position: int) -> Any:
        """Have spt3g decode a frame, and return one of its blocks."""
        try:
            with quiet_library():
                (frame,) = translator()(decode(content))
            return frame["blocks"][position]
        except (*LIBRARY_ERRORS, IndexError) as error:
            raise self._changed(reason(error)) from error

    def _changed(self, why: str) -> ChangedFileError:
        return ChangedFileError(f"{self._path} is not what its index says: {why}")


def _places(content: bytes) -> tuple[int, list[BlockPlace]]:
    """Return where the blocks of a frame begin, and where what they hold is."""
    begin, end = frame_head(lambda place, count: content[place : place + count]).pieces["blocks"]
    return begin, block_places(content, begin, end)


def _signature(info: FrameInfo) -> tuple[Any, ...] | None:
    """Return what two frames have in common that look alike; None for one that has values of no fixed size."""
    for block in info.blocks:
        if not _FIXED.issuperset(block.fields.values()):
            return None
    return (info.address, info.session, *((id(block.fields), block.samples) for block in info.blocks))


def _fill(content: bytes, places: Sequence[BlockPlace], sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        block = places[sink.position]
        if block.samples != len(sink.ticks):
            raise UnfamiliarError("a block has another number of samples than the index says")
        sink.ticks[:] = np.frombuffer(content, "<i8", block.samples, block.ticks)
        for field, out in sink.columns.items():
            out[:] = _values(content, block.fields[field], block.samples)


def _values(content: bytes, place: FieldPlace, samples: int) -> Any:
    if place.values != samples:
        raise UnfamiliarError("a field has another number of values than its block has times")
    if place.kind == "s":
        return np.array(texts_at(content, place.offset, samples), dtype=object)
    return np.frombuffer(content, _TYPES[place.kind, place.width], samples, place.offset)


_PIECE_NAME_BYTES: Final = 8 + len("blocks") + 8


def _layout(content: bytes, begin: int, places: Sequence[BlockPlace]) -> _Layout:
    """Note where everything in a frame is, whose values are all of a fixed size."""
    head = _Expected.at(content, begin - _PIECE_NAME_BYTES, begin, 0, "?")
    ticks, fields = [], []
    end = begin
    for block in places:
        known = {}
        for name, place in block.fields.items():
            known[name] = _Expected.at(content, end, place.offset, place.values, _TYPES[place.kind, place.width])
            end = known[name].end
        fields.append(known)
        ticks.append(_Expected.at(content, end, block.ticks, block.samples, "<i8"))
        end = ticks[-1].end
    return _Layout(head, ticks, fields)
