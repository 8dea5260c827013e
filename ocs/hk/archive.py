"""The files of an archive, each with its index: found, read, made where it is missing."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from ocs.errors import RecordingError
from ocs.hk.describe import FrameInfo, describe, describe_decoded
from ocs.hk.index import (
    FINGERPRINT_BYTES,
    FileSummary,
    FrameEntry,
    IndexedFrames,
    IndexLines,
    StaleIndexError,
    fingerprint,
    index_path,
    parse_lines,
    parse_summary,
)
from ocs.hk.layout import FrameHead, TornFrameError, UnfamiliarError, frame_head
from ocs.hk.library import LIBRARY_ERRORS, decode, quiet_library, reason, translator

__all__ = [
    "ChangedFileError",
    "DamagedFileError",
    "IndexedFile",
    "Progress",
    "archive_files",
    "file_error",
    "nobody",
    "open_archive",
    "with_archive",
]

Progress = Callable[[str, int, int], None]
"""Called with what is being done (``indexing``, ``reading``), and how many bytes of how many are done."""

_WINDOW: Final = 64 * 1024
_MANY_FRAMES: Final = 100
"""So many frames without a line are worth writing the index anew."""
_QUIET: Final = 3600.0
"""After so long (s) nobody is going to complete an index any more."""
_LAST_LINE: Final = 64 * 1024


def nobody(what: str, done: int, total: int) -> None:
    """Watch no progress."""


class DamagedFileError(RecordingError):
    """A file ends in the middle of a frame, or is no housekeeping file at all.

    Attributes:
        path: the file.
        frames: how many frames before the damage could be read.
    """

    def __init__(self, path: Path, frames: int, why: str) -> None:
        super().__init__(f"{path} is damaged after {frames} frames: {why}")
        self.path = path
        self.frames = frames


class ChangedFileError(RecordingError):
    """A file is not what its index says."""


def file_error(path: Path, error: OSError) -> RecordingError:
    """Return the error that says that a file cannot be read."""
    return RecordingError(f"{path} cannot be read: {error.strerror or error}")


def archive_files(target: str | os.PathLike[str]) -> list[Path]:
    """Return the ``.g3`` files of a folder and those below it, oldest name first; a file is its own list.

    Raises:
        RecordingError: there is no such file or folder, or no ``.g3`` file in it.
    """
    path = Path(target)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RecordingError(f"There is no file or folder {path}")
    files = sorted(path.rglob("*.g3"), key=lambda file: (file.name, str(file)))
    if not files:
        raise RecordingError(f"There is no .g3 file in {path}: is the aggregator recording, and into this folder?")
    return files


class IndexedFile:
    """A file of an archive, and what is where in it. Make it with `open`.

    Attributes:
        path: the file.
        summary: what it holds, all together.
        damage: what is wrong with it, None if all of it can be read; what comes before the damage is in the index.
    """

    def __init__(
        self, path: Path, summary: FileSummary, entries: list[FrameEntry] | None, damage: DamagedFileError | None
    ) -> None:
        self.path = path
        self.summary = summary
        self.damage = damage
        self._entries = entries

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        rebuild: bool = False,
        keep: bool = True,
        advance: Callable[[int], None] = lambda size: None,  # noqa: ARG005 - nobody watches
    ) -> "IndexedFile":
        """Read the index of a file, and the frames of the file that are not in it.

        Args:
            path: the file.
            rebuild: do not trust the index that is there; every frame is read and checked against its checksum.
            keep: write the index where it is missing or old, if the folder can be written to.
            advance: called with the number of bytes of every frame that is read.

        Raises:
            RecordingError: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                return _Opening(path, file, advance).open(rebuild=rebuild, keep=keep)
        except OSError as error:
            raise file_error(path, error) from error

    def entries(self, addresses: Collection[str] | None = None) -> list[FrameEntry]:
        """Return the file's frames.

        Args:
            addresses: data frames of other feeds than these may be missing. None: all frames are wanted.

        Raises:
            RecordingError: the file cannot be read any more.
        """
        if self._entries is not None:
            return self._entries
        # The summary had no need of them.
        stored = _stored_frames(self.path, addresses)
        if stored.covered < self.summary.covered:
            self._entries = IndexedFile.open(self.path, rebuild=True).entries()
            return self._entries
        if addresses is None:
            self._entries = stored.entries
        return stored.entries


def _stored_frames(path: Path, addresses: Collection[str] | None = None) -> IndexedFrames:
    try:
        with path.open("rb") as file:
            beginning = file.read(FINGERPRINT_BYTES)
        with index_path(path).open("rb") as lines:
            return parse_lines(lines, path.name, beginning, addresses)
    except (OSError, StaleIndexError):
        return IndexedFrames([], 0)


def _summed_up(entries: Iterable[FrameEntry]) -> FileSummary:
    summary = FileSummary()
    for entry in entries:
        summary.add(entry)
    return summary


class _Opening:
    """How one file is opened."""

    def __init__(self, path: Path, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._path = path
        self._file = file
        self._advance = advance
        self._size = os.fstat(file.fileno()).st_size
        self._beginning = os.pread(file.fileno(), FINGERPRINT_BYTES, 0)

    def open(self, *, rebuild: bool, keep: bool) -> IndexedFile:
        summary = None if rebuild else self._stored_summary()
        if summary is not None:
            return self._go_on(summary, None, _MANY_FRAMES if keep else None)
        stored = [] if rebuild else self._stored_entries()
        # An index without a last line is being written, or was abandoned.
        enough = _MANY_FRAMES if stored and self._growing() else 0
        return self._go_on(_summed_up(stored), stored, enough if keep else None)

    def _go_on(self, summary: FileSummary, known: list[FrameEntry] | None, enough: int | None) -> IndexedFile:
        """Read what the index has not; write it anew if it lacks at least ``enough`` frames.

        Args:
            summary: what the index says; completed.
            known: the frames that the index has, None if nobody has asked for them yet.
            enough: None: never write it.
        """
        rest: list[FrameEntry] = []
        damage = None
        try:
            for entry in _scan(self._path, self._file, summary.covered, summary.frames, self._advance):
                summary.add(entry)
                rest.append(entry)
        except DamagedFileError as error:
            damage = error
        if known is None and rest:
            known = self._stored_entries()
        entries = None if known is None else [*known, *rest]
        if entries and enough is not None and len(rest) >= enough:
            self._save(entries)
        return IndexedFile(self._path, summary, entries, damage)

    def _stored_entries(self) -> list[FrameEntry]:
        stored = _stored_frames(self._path)
        return stored.entries if stored.covered <= self._size else []

    def _stored_summary(self) -> FileSummary | None:
        """Return the summary from the index, if it has one that fits."""
        try:
            with index_path(self._path).open("rb") as index:
                first = index.readline()
                summary = parse_summary(first, _last_line(index), self._path.name, self._beginning)
        except (OSError, StaleIndexError):
            return None
        return summary if summary and summary.covered <= self._size else None

    def _growing(self) -> bool:
        return time.time() - os.fstat(self._file.fileno()).st_mtime < _QUIET

    def _save(self, entries: list[FrameEntry]) -> None:
        where = index_path(self._path)
        new = where.with_name(f"{where.name}.{os.getpid()}.{threading.get_ident()}.new")
        lines = IndexLines(self._path.name)
        # A folder that only others may write to is as good, only slower.
        with contextlib.suppress(OSError):
            where.parent.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("wb") as file:
                    file.write(lines.first(fingerprint(self._beginning, entries[0].length)))
                    file.writelines(map(lines.frame, entries))
                    file.write(lines.last())
                new.replace(where)
            except OSError:
                new.unlink(missing_ok=True)
                raise


def _last_line(index: BinaryIO) -> bytes:
    size = index.seek(0, os.SEEK_END)
    length = min(_LAST_LINE, size)
    while True:
        index.seek(size - length)
        line = index.read(length)
        start = line.rstrip(b"\n").rfind(b"\n")
        if start >= 0 or length == size:
            return line[start + 1 :]
        length = min(length * 16, size)


class _Window:
    """The bytes of a file from a place on, read a good piece at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._start = 0
        self._offset = 0
        self._content = b""

    def at(self, start: int) -> bool:
        """Count places from here on; tell whether there is anything."""
        self._start = start
        return bool(self(0, 1))

    def __call__(self, place: int, count: int) -> bytes:
        begin = self._start + place - self._offset
        if begin < 0 or begin + count > len(self._content):
            self._offset = self._start + place
            self._content = os.pread(self._descriptor, max(count, _WINDOW), self._offset)
            begin = 0
        return self._content[begin : begin + count]


def _scan(path: Path, file: BinaryIO, offset: int, frames: int, advance: Callable[[int], None]) -> Iterator[FrameEntry]:
    """Read the frames of a file from a place on.

    Raises:
        DamagedFileError: after the last whole frame of a damaged file.
    """
    read = _Window(file.fileno())
    describer = _Describer()
    try:
        while read.at(offset):
            head = frame_head(read)
            with quiet_library():
                info = describer(head, read(0, head.length))
            yield FrameEntry(offset, head.length, info)
            advance(head.length)
            offset += head.length
            frames += 1
    except (TornFrameError, *LIBRARY_ERRORS) as error:
        raise DamagedFileError(path, frames, reason(error)) from error


class _Describer:
    """Tells what is in the frames of a file, having checked them."""

    def __init__(self) -> None:
        self._translate: Callable[[Any], list[Any]] | None = None

    def __call__(self, head: FrameHead, content: bytes) -> FrameInfo:
        frame = decode(content)
        try:
            return describe(content, head)
        except UnfamiliarError:
            self._translate = self._translate or translator()
            return describe_decoded(frame, self._translate)


def open_archive(
    files: Iterable[Path], *, rebuild: bool = False, keep: bool = True, progress: Progress = nobody
) -> list[IndexedFile]:
    """Read the indexes of files, and make those that are missing.

    Args:
        files: the files.
        rebuild: make all of them anew.
        keep: write those that are made to the disk, if the folder can be written to.
        progress: told how it goes.

    Raises:
        RecordingError: a file cannot be read.
    """
    paths = list(files)
    sizes = [_size(path) for path in paths]
    total = sum(sizes)
    done = 0
    archive = []
    for path, size in zip(paths, sizes, strict=True):
        within = done

        def advance(length: int) -> None:
            nonlocal within
            within += length
            progress("indexing", within, total)

        archive.append(IndexedFile.open(path, rebuild=rebuild, keep=keep, advance=advance))
        done += size
        progress("indexing", done, total)
    return archive


Result = TypeVar("Result")


def with_archive(
    files: Iterable[Path], use: Callable[[list[IndexedFile]], Result], progress: Progress = nobody
) -> Result:
    """Do something with an archive; once more, with new indexes, if one turns out to be wrong.

    Args:
        files: its files.
        use: what to do.
        progress: told how it goes.

    Returns:
        What ``use`` returns.

    Raises:
        RecordingError: a file cannot be read.
    """
    paths = list(files)
    try:
        return use(open_archive(paths, progress=progress))
    except ChangedFileError:
        return use(open_archive(paths, rebuild=True, progress=progress))


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0
