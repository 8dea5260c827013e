"""A file of lines that is set aside when it has become large, and of which so many are kept."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["KEPT_FILES", "ROTATE_AT", "RotatingFile", "rotated"]

ROTATE_AT: Final = 20 << 20
"""Size at which an audit file is set aside, in bytes: some 70,000 requests."""
KEPT_FILES: Final = 9
"""How many are kept that were set aside."""

_MODE: Final = 0o640
"""Who may read it: the owner and the group. There are no secrets in it, but who did what."""


def rotated(path: Path, number: int) -> Path:
    """Return where a file is that was set aside.

    Args:
        path: the file that is written to.
        number: 1 for the latest that was set aside; 0 for the file itself.
    """
    return path.with_name(f"{path.name}.{number}") if number else path


class RotatingFile:
    """Appends to a file; one thread at a time. Several processes may write to one.

    Args:
        path: the file; its folder is made with the first line.
        limit: size at which it is set aside, in bytes.
        keep: how many are kept that were set aside.
    """

    def __init__(self, path: Path, limit: int = ROTATE_AT, keep: int = KEPT_FILES) -> None:
        self.path = path
        self._limit = limit
        self._keep = keep
        self._fd = -1

    def write(self, lines: bytes) -> int:
        """Append lines, and return how many bytes of them the disk has taken: all, or less if it became full.

        Args:
            lines: whole lines.

        Raises:
            OSError: it has taken none.
        """
        size = self._ready()
        if size and size + len(lines) > self._limit:
            self._rotate()
            size = self._ready()
        # A line that was not finished, for a disk that was full or a process that was killed, spoils no other.
        head = b"\n" if size and os.pread(self._fd, 1, size - 1) != b"\n" else b""
        return max(os.write(self._fd, head + lines) - len(head), 0)

    def _ready(self) -> int:
        """See that the file is open which is at the path by now; return its size in bytes."""
        if self._fd >= 0:
            state = os.fstat(self._fd)
            with suppress(OSError):
                there = self.path.stat()
                if (there.st_dev, there.st_ino) == (state.st_dev, state.st_ino):
                    return state.st_size
            self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        return os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """Set the file aside; where that is not possible it is written on."""
        with suppress(OSError):
            for number in range(self._keep, 0, -1):
                with suppress(FileNotFoundError):
                    rotated(self.path, number - 1).replace(rotated(self.path, number))

    def close(self) -> None:
        """Close the file; the next `write` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
