"""Writing an audit in a thread of its own, so that whoever serves requests never waits for a disk.

Who owns what: `put` may be called from any thread and only queues; the file belongs to the writer's thread.
"""

import threading
import time
from collections import deque
from typing import Final, Protocol

from ocs.audit.record import LEFT_OUT, AuditRecord

__all__ = ["MOST_WAITING", "AuditWriter", "LineFile", "Log"]

MOST_WAITING: Final = 20_000
"""How many records wait for a disk at most; those beyond are counted and left out."""

_BATCH: Final = 1000
"""Records in one write at most."""
_TOGETHER: Final = 0.02
"""Seconds in which records are gathered for one write."""
_PATIENCE: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between two attempts to write to a disk that refuses."""


class Log(Protocol):
    """Where the writer tells of trouble; from its own thread."""

    def error(self, format: str, **values: object) -> None:  # noqa: A002 - Twisted's name
        """Tell of an error."""

    def info(self, format: str, **values: object) -> None:  # noqa: A002 - Twisted's name
        """Tell of something."""


class LineFile(Protocol):
    """Where lines are written to."""

    def write(self, lines: bytes) -> int:
        """Append lines; return how many bytes were taken."""

    def close(self) -> None:
        """Close it."""


class AuditWriter:
    """Writes records, in the order in which they come, in batches.

    A disk that refuses is told of in one line of the log, and tried again; the agent goes on meanwhile. What is left
    out then is counted, and said in the file once it can be written again.

    Args:
        file: where to.
        instance: the agent's instance-id, for the records of what is missing.
        log: the agent's logger.
        most: how many records may wait.
        patience: seconds between attempts; the last is repeated.
    """

    def __init__(
        self,
        file: LineFile,
        instance: str,
        log: Log,
        *,
        most: int = MOST_WAITING,
        patience: tuple[float, ...] = _PATIENCE,
    ) -> None:
        self.left_out = 0
        """How many records were left out so far."""
        self._told = 0
        self._file = file
        self._instance = instance
        self._log = log
        self._most = most
        self._patience = patience
        self._refusals = 0
        self._waiting: deque[AuditRecord] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._idle = True
        self._thread: threading.Thread | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there has been anything to write."""
        return self._thread is not None

    def put(self, record: AuditRecord) -> None:
        """Have a record written; one for which there is no room is counted."""
        if len(self._waiting) >= self._most or self._ending:
            with self._changed:
                self.left_out += 1
            return
        self._waiting.append(record)
        if self._idle:  # it says so before it looks what is waiting for the last time
            self._wake()

    def _wake(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
                self._thread.start()
            self._idle = False
            self._changed.notify()

    def stop(self, timeout: float = 2.0) -> int:
        """Write what is waiting, and end; from any thread but the reactor's.

        Args:
            timeout: how long to wait for the disk, in seconds.

        Returns:
            How many records have not been written.
        """
        with self._changed:
            self._ending = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(timeout)
        return len(self._waiting)

    # In the thread

    def _work(self) -> None:
        while batch := self._next():
            written = self._write(batch)
            self._put_back(batch[written:])
            if written < len(batch):
                if self._ending:
                    break
                self._rest()
        self._file.close()

    def _next(self) -> list[AuditRecord]:
        """Return what is to be written now; [] when that is all."""
        with self._changed:
            self._idle = True
            while not self._waiting and not self._ending:
                self._changed.wait()
            self._idle = False
            if not self._refusals and len(self._waiting) < _BATCH:
                self._changed.wait_for(lambda: self._ending, _TOGETHER)
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _put_back(self, records: list[AuditRecord]) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(records))

    def _write(self, records: list[AuditRecord]) -> int:
        """Write records; return how many of them are in the file."""
        missing = self.left_out - self._told
        lines = [_line(record) for record in ([self._gap(missing), *records] if missing else records)]
        try:
            taken = self._file.write(b"".join(lines))
        except OSError as error:
            self._refused(error.strerror or str(error))
            return 0
        written = _whole_lines(lines, taken)
        self._note(written, len(lines))
        if missing and written:
            self._told += missing
            written -= 1
        return written

    def _note(self, written: int, wanted: int) -> None:
        if written < wanted:
            self._refused("the disk is full")
        elif self._refusals:
            self._refusals = 0
            self._log.info("the audit is written again; {count} records were left out", count=self.left_out)

    def _refused(self, why: str) -> None:
        if not self._refusals:
            self._log.error(
                "cannot write the audit to {file}: {why}; make room, or make it writable. It is tried again;"
                " up to {most} requests are kept until then",
                file=getattr(self._file, "path", "its file"),
                why=why,
                most=self._most,
            )
        self._refusals += 1

    def _rest(self) -> None:
        """Wait before the next attempt; the last one is made at once."""
        with self._changed:
            until = time.monotonic() + self._patience[min(self._refusals, len(self._patience)) - 1]
            while not self._ending and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def _gap(self, count: int) -> AuditRecord:
        why = f"{count} records are missing here: there were more than could be written"
        return AuditRecord(time.time(), self._instance, LEFT_OUT, "", who="agent itself", code=-1, message=why)


def _line(record: AuditRecord) -> bytes:
    """Return a record as a line; of one that has no form in JSON, which an author's code has made, that it was."""
    try:
        return record.line()
    except (TypeError, ValueError, RecursionError) as error:
        told = f"this record could not be written: {type(error).__name__}"
        return AuditRecord(record.time, record.instance, str(record.action)[:40], "", code=-1, message=told).line()


def _whole_lines(lines: list[bytes], taken: int) -> int:
    count = 0
    for line in lines:
        taken -= len(line)
        if taken < 0:
            break
        count += 1
    return count
