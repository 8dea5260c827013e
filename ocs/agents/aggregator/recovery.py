"""What has become of frames that were about to be written when the recorder died.

The journal names each frame before it is written: file, place, length, checksum. Here the files are held against that:
a frame is in its file if the bytes are there; at the first that is not, the file is cut.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgpack

__all__ = ["Announced", "Cut", "Layouts", "Source"]

Source = tuple[str, str]
"""Feed address and session id of a provider."""

_CHUNK: Final = 1 << 20


class Announced(NamedTuple):
    """A frame that was about to be written."""

    path: str
    """The file, relative to the data folder where it is below it."""
    offset: int
    length: int
    checksum: int
    source: Source | None
    """Its provider; None for a session or status frame."""
    last: int
    """The journal's number of the last message that is in it."""

    @classmethod
    def of(cls, path: str, offset: int, content: bytes, source: Source | None, last: int | None) -> Self:
        """Describe a frame and its place."""
        return cls(path, offset, len(content), zlib.crc32(content), source, last or 0)

    def packed(self) -> bytes:
        """Return the entry for the journal."""
        packed: bytes = msgpack.packb(tuple(self))
        return packed

    @classmethod
    def unpacked(cls, body: bytes) -> Self:
        """Read an entry of the journal."""
        path, offset, length, checksum, source, last = msgpack.unpackb(body)
        return cls(path, offset, length, checksum, tuple(source) if source else None, last)

    @property
    def end(self) -> int:
        """Bytes of the file up to the frame's end."""
        return self.offset + self.length


class Cut(NamedTuple):
    """A file that was cut back to its last whole frame."""

    path: str
    size: int
    """Bytes taken off."""


class Layouts:
    """The files as they were meant to be."""

    def __init__(self) -> None:
        self._files: dict[str, list[Announced]] = {}

    def add(self, announced: Announced) -> None:
        """Take note of a frame; what was to be at its place or behind it before has not come to be."""
        frames = self._files.setdefault(announced.path, [])
        while frames and frames[-1].end > announced.offset:
            frames.pop()
        frames.append(announced)

    def settle(self, base: Path) -> tuple[dict[Source, int], list[Cut]]:
        """Look at the files, and cut those that end in the middle of a frame.

        Args:
            base: the data folder.

        Returns:
            For each provider the number of the last message that is in a file; and the files that were cut.

        Raises:
            OSError: a file cannot be read or cut.
        """
        framed: dict[Source, int] = {}
        cuts = []
        for path, frames in self._files.items():
            whole, cut = _settle_file(base / path, frames)
            if cut:
                cuts.append(Cut(str(base / path), cut))
            for frame in whole:
                if frame.source is not None:
                    framed[frame.source] = max(frame.last, framed.get(frame.source, 0))
        return framed, cuts


def _settle_file(path: Path, frames: list[Announced]) -> tuple[list[Announced], int]:
    """Return the frames that are in the file, and how many bytes were cut off behind them."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Written, and taken away since: files are moved to where they are kept. One that was never begun has no frames.
        return frames, 0
    try:
        whole = list(_whole(descriptor, frames))
        end = whole[-1].end if whole else frames[0].offset
        cut = os.fstat(descriptor).st_size - end
        if cut > 0:
            os.ftruncate(descriptor, end)
        os.fsync(descriptor)  # the dead may have left it to the system
    finally:
        os.close(descriptor)
    return whole, max(cut, 0)


def _whole(descriptor: int, frames: list[Announced]) -> Iterator[Announced]:
    """Give the frames up to the first that is not there whole."""
    for frame in frames:
        if _checksum(descriptor, frame.offset, frame.length) != frame.checksum:
            return
        yield frame


def _checksum(descriptor: int, offset: int, length: int) -> int | None:
    """Return the checksum of a part of a file; None if the file is shorter."""
    checksum = 0
    while length:
        chunk = os.pread(descriptor, min(length, _CHUNK), offset)
        if not chunk:
            return None
        checksum = zlib.crc32(chunk, checksum)
        offset, length = offset + len(chunk), length - len(chunk)
    return checksum
