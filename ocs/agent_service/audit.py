"""The audit log: who asked for what, from where, and what came of it; a JSON object a line, in files that rotate."""

import json
import logging
import os
import queue
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

__all__ = ["AuditFile", "AuditLog", "NoAuditLog", "refusals_path"]

MAX_BYTES: Final = 10 << 20
"""Of one file, in bytes: some 20,000 requests."""
KEPT: Final = 10
"""Full files that are kept beside the one that is written."""
_MOST_WAITING: Final = 10_000
"""Lines that wait for a slow disk; what comes then is counted as lost."""
_LAST_LINES: Final = 5.0
"""How long (s) the end of the service waits for the last lines."""

_log = logging.getLogger(__name__)


class AuditFile:
    """Lines appended to a file that only its owner reads; belongs to the thread that writes.

    Args:
        path: the file.
        max_bytes: when it is full.
        kept: how many full ones stay, as ``NAME.1`` (the newest) to ``NAME.N``.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept

    def append(self, lines: str) -> None:
        """Write complete lines.

        Raises:
            OSError: the disk does not take them.
        """
        data = lines.encode()
        if self._size() and self._size() + len(data) > self._max_bytes:
            self._rotate()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "ab", opener=_private) as file:
            file.write(data)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        for number in range(self._kept - 1, -1, -1):
            if (old := self._numbered(number)).exists():
                old.replace(self._numbered(number + 1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def refusals_path(path: Path) -> Path:
    """Return the file of what was refused: apart, so that nobody without a token can push others' requests out."""
    return path.with_name(f"{path.stem}-refused{path.suffix}")


class NoAuditLog:
    """An audit log that forgets."""

    trouble = ""

    def note(self, event: str, **fields: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Nothing is open."""


class AuditLog(NoAuditLog):
    """Writes the audit log in a thread of its own, so that no request waits for a disk.

    Args:
        path: the file; what was refused goes to one beside it.
        now: tells the time of day.

    Attributes:
        trouble: why the last lines could not be written; empty while all is well.
    """

    def __init__(self, path: Path, now: Any = lambda: datetime.now(UTC)) -> None:
        self.trouble = ""
        self._now = now
        self._files = {False: AuditFile(path), True: AuditFile(refusals_path(path))}
        self._waiting: queue.Queue[tuple[bool, str] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="audit log", daemon=True)
        self._thread.start()

    def note(self, event: str, **fields: Any) -> None:
        """Add a line.

        Args:
            event: ``request``, ``result`` or ``refused``.
            fields: what else it says; anything that JSON takes.
        """
        line = f"{json.dumps({'time': self._now().isoformat(timespec='milliseconds'), 'event': event, **fields})}\n"
        try:
            self._waiting.put_nowait((event == "refused", line))
        except queue.Full:
            self._tell("the disk is too slow for it, and lines are lost")

    def close(self) -> None:
        """Write what waits; gives up a disk that takes longer than 5 s."""
        try:
            self._waiting.put(None, timeout=_LAST_LINES)
        except queue.Full:
            return
        self._thread.join(_LAST_LINES)

    def _write_all(self) -> None:
        while (entry := self._waiting.get()) is not None:
            is_refusal, line = entry
            try:
                self._files[is_refusal].append(line)
            except OSError as error:
                self._tell(f"{error.filename or 'the disk'}: {error.strerror}")
            else:
                self.trouble = ""

    def _tell(self, trouble: str) -> None:
        if not self.trouble:
            _log.error("the audit log cannot be written: %s", trouble)
        self.trouble = trouble
