"""Keeping the index of a file while it is being recorded."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ocs.hk.describe import FrameInfo, describe
from ocs.hk.index import FINGERPRINT_BYTES, FrameEntry, IndexLines, fingerprint, index_path

__all__ = ["IndexWriter"]

_MOST_WAITING: Final = 256 * 1024


class IndexWriter:
    """Writes the index of the file that is being recorded, a line for each frame. For one thread only.

    It never fails its caller: where an index cannot be written, it is removed and given up, and who reads the archive
    makes it anew.

    Args:
        report: called with one line when an index is given up.
    """

    def __init__(self, report: Callable[[str], None] = lambda line: None) -> None:  # noqa: ARG005 - nobody listens
        self._report = report
        self._path: Path | None = None
        self._lines: IndexLines | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._begun = False
        self._first_frame = 0

    def add(self, path: str, offset: int, length: int, info: FrameInfo) -> None:
        """Note a frame that has reached its file; written at the next `flush`.

        Args:
            path: the file. A frame of another file than before completes the index of that one.
            offset: bytes before the frame in it.
            length: the frame's bytes.
            info: what is in it, see `ocs.hk.describe`.
        """
        self._turn_to(path, offset, length)
        if self._lines is None:
            return
        if offset != self._lines.summary.covered:
            self._give_up(f"a frame is missing before byte {offset}")
            return
        line = self._lines.frame(FrameEntry(offset, length, info))
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes > _MOST_WAITING:
            self.flush()

    def add_frame(self, path: str, offset: int, content: bytes) -> None:
        """Do the same as `add`, with the frame itself: what is in it is read from its bytes.

        Args:
            path: the file.
            offset: bytes before the frame in it.
            content: the whole frame, as it is in the file.
        """
        try:
            info = describe(content)
        except ValueError as error:
            self._turn_to(path, offset, len(content))
            self._give_up(str(error))
        else:
            self.add(path, offset, len(content), info)

    def _turn_to(self, path: str, offset: int, length: int) -> None:
        """Begin another index if a frame, of this length, is in another file than the last one, or begins one anew."""
        if str(self._path) == path and offset:
            return
        if str(self._path) != path:
            self.close()
        self._clear()
        self._path = Path(path)
        self._lines = IndexLines(self._path.name)
        self._first_frame = length
        self._begun = False

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._path is None or not self._waiting:
            return
        try:
            self._write(self._path, b"".join(self._waiting))
        except OSError as error:
            self._give_up(error.strerror or str(error))
        self._clear()

    def _clear(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _write(self, path: Path, lines: bytes) -> None:
        where = index_path(path)
        if not self._begun:
            where.parent.mkdir(parents=True, exist_ok=True)
            lines = self._first_line(path) + lines
        # Opened each time, so that it may be replaced by who has made a better one.
        with where.open("ab" if self._begun else "wb") as file:
            file.write(lines)
        self._begun = True

    def _first_line(self, path: Path) -> bytes:
        with path.open("rb") as file:
            beginning = file.read(FINGERPRINT_BYTES)
        return IndexLines(path.name).first(fingerprint(beginning, self._first_frame))

    def _give_up(self, why: str) -> None:
        if self._lines is None:
            return
        self._lines = None
        self._clear()
        if self._path is not None:
            self._report(f"the index of {self._path} is given up ({why}); who reads the archive makes it anew")
            with contextlib.suppress(OSError):
                index_path(self._path).unlink()

    def close(self) -> None:
        """Complete the index of the file: nothing more is going to be written to it."""
        if self._lines is not None and self._lines.summary.frames:
            self._waiting.append(self._lines.last())
            self.flush()
        self._path = self._lines = None
