"""Which recorded files a database has already: a line of JSON for each, written when all of it is in."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from ocs.errors import RecordingError

__all__ = ["Loaded"]

Mark = tuple[int, int]
"""A file's length (bytes) and when it was changed (ns): as long as they stay, it is the same file."""


class Loaded:
    """The notes of what is in a database. Use it as a context.

    Args:
        path: the file with the notes, made where it is missing; it may have those of many databases.
        place: which database.

    Raises:
        RecordingError: the notes cannot be read or written.
    """

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._place = place
        self._known: dict[str, Mark] = {}
        self._file: TextIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
            self._file.seek(0)
            torn = False
            for line in self._file:
                torn = not line.endswith("\n")
                self._read(line)
            if torn:
                self._file.write("\n")  # what was being written when somebody pulled the plug
        except OSError as error:
            raise RecordingError(f"{path} cannot be used for notes: {error.strerror}; see --notes") from error

    def _read(self, line: str) -> None:
        try:
            note: dict[str, Any] = json.loads(line)
            if note["place"] == self._place:
                self._known[str(note["path"])] = (int(note["size"]), int(note["mtime"]))
        except (ValueError, TypeError, KeyError):
            return  # a line that was not written whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def mark(self, path: Path) -> Mark:
        """Return what a file is now."""
        status = path.stat()
        return status.st_size, status.st_mtime_ns

    def has(self, path: Path) -> bool:
        """Tell whether all of a file, as it is now, is in the database."""
        return self._known.get(os.path.realpath(path)) == self.mark(path)

    def add(self, path: Path, mark: Mark) -> None:
        """Note that all of a file is in.

        Args:
            path: the file.
            mark: what it was before it was read.

        Raises:
            RecordingError: the notes cannot be written.
        """
        name = os.path.realpath(path)
        self._known[name] = mark
        note = {"place": self._place, "path": name, "size": mark[0], "mtime": mark[1]}
        try:
            assert self._file is not None  # noqa: S101 - opened at construction
            self._file.write(json.dumps(note) + "\n")
            self._file.flush()
        except OSError as error:
            raise RecordingError(f"{self._path} cannot be written: {error.strerror}; see --notes") from error
