"""Where the receiver puts what it takes: into memory at once, and from there into the journal.

Two threads: the one that receives calls the public methods and never waits for a disk; the keeper's own does all that
the disk is needed for. An attribute that both read is written by one of them only.
"""

import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

from ocs.errors import JournalError, JournalInUseError
from ocs.journal.journal import Journal

__all__ = ["MEMORY_BYTES", "Keeper"]

MEMORY_BYTES = 32 << 20
"""How much waits in memory while the disk takes nothing."""

_ENTRY_BYTES = 128  # what an entry takes in memory besides its body, about; on the disk it is less
_LARGEST_BYTES = 128 << 10  # room enough for any datagram
_SEGMENT_BYTES = 8 << 20
_LEAST_SEGMENT_BYTES = 64 << 10
_SEGMENTS = 8  # at least, so that a full journal has some that can be dropped
_SYNC_INTERVAL = 1.0  # s
_SYNC_BYTES = 4 << 20  # what has not been synced is kept in memory too
_RETRY_INTERVAL = 1.0  # s
_LOCK_INTERVAL = 0.05  # s
_LOCK_PATIENCE = 20.0  # s, in which a predecessor can finish
_MOST_MOVED = 1000


class Keeper:
    """Keeps bodies, in order, in a journal; in memory while there is trouble with it.

    Args:
        directory: the journal's folder.
        journal_bytes: how large the journal may become, bytes.
        first_index: no body gets an index below it.

    Attributes:
        next_index: what the next body gets.
        written: all bodies below this index have been handed to the system.
        dropped: bodies for which there was no room.
    """

    def __init__(self, directory: Path, journal_bytes: int, first_index: int = 0) -> None:
        self._directory = directory
        self._journal_bytes = journal_bytes
        # The receiving thread's.
        self.next_index = first_index
        self.dropped = 0
        self._begun = False  # the journal has told which index is next
        self._held: deque[bytes] = deque()  # what came before that
        self._held_bytes = 0
        self._kept_bytes = 0
        self._room = 0  # bytes, in this turn
        self._drop_to = 0
        # The keeper's thread's.
        self.written = first_index
        self._journal: Journal | None = None
        self._disk_trouble = ""
        self._written_bytes = self._synced_bytes = 0
        self._size = (0, 0)  # the journal's, bytes, when so many had been written
        self._dropped_to = 0
        self._sync_due = 0.0
        self._patient_until = time.monotonic() + _LOCK_PATIENCE
        # From one to the other.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._ended = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)

    # The receiving thread's side.

    def start(self) -> None:
        """Start the keeper's thread."""
        self._thread.start()

    def begin_turn(self) -> None:
        """Find out how much room there is; to be called before a row of `keep`."""
        if self._journal and (self._held or not self._begun):
            self._begin(self._journal)
        self._room = min(MEMORY_BYTES - self.waiting_bytes, self._journal_bytes - self.journal_bytes)

    def keep(self, body: bytes) -> None:
        """Take a body; if there is no room it is counted as dropped."""
        size = len(body) + _ENTRY_BYTES
        if size > self._room:
            self.dropped += 1
            return
        self._room -= size
        self._kept_bytes += size
        if self._begun and not self._held:
            self._append(body)
        else:
            self._held.append(body)
            self._held_bytes += size

    def end_turn(self) -> None:
        """Have what was kept written."""
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def drop_before(self, index: int) -> None:
        """Let go of what is below an index. No later body gets one below it."""
        self._drop_to = max(self._drop_to, index)
        self.next_index = max(self.next_index, index)
        self.end_turn()

    def finish(self, patience: float) -> int:
        """Bring all to the disk and let go of the journal.

        Args:
            patience: how long to try, s.

        Returns:
            How many bodies are lost.
        """
        deadline = time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < deadline:
            self.begin_turn()
            if not self._held:
                self._ended.set()
            self.end_turn()
            self._thread.join(0.02)
        if not self.waiting_bytes:
            return 0
        return len(self._held) + (max(0, self.next_index - self.written) if self._begun else 0)

    def _begin(self, journal: Journal) -> None:
        """Give indices to what came before the journal was open, some in each turn."""
        if not self._begun:
            self.next_index = max(self.next_index, _after(journal))
            self._begun = True
        for _ in range(min(_MOST_MOVED, len(self._held))):
            body = self._held.popleft()
            self._append(body)
            self._held_bytes -= len(body) + _ENTRY_BYTES
        self.end_turn()

    def _append(self, body: bytes) -> None:
        self._journal.append(self.next_index, 0, body)  # type: ignore[union-attr]  # it has begun
        self.next_index += 1

    # Either side may ask.

    @property
    def is_alive(self) -> bool:
        """Whether the keeper's thread runs."""
        return self._thread.is_alive()

    @property
    def waiting_bytes(self) -> int:
        """What waits in memory to be written, bytes."""
        return self._kept_bytes - self._written_bytes

    @property
    def journal_bytes(self) -> int:
        """The journal with what waits to be written to it, bytes; about, at most too much."""
        written, size = self._size
        return size + self._kept_bytes - written

    @property
    def trouble(self) -> str:
        """What is wrong with the disk or the journal, one line, or empty."""
        if self._disk_trouble:
            full = self.waiting_bytes > MEMORY_BYTES - _LARGEST_BYTES
            return (
                f"{self._disk_trouble}; {'memory is full, datagrams are lost' if full else 'datagrams wait in memory'}"
            )
        if self.journal_bytes > self._journal_bytes - min(_LARGEST_BYTES, self._journal_bytes // 8):
            return (
                f"the journal in {self._directory} is full ({self._journal_bytes / 2**20:.0f} MiB): "
                "datagrams are lost until the agent has got on with what is there"
            )
        return ""

    # The keeper's thread's side.

    def _run(self) -> None:
        while True:
            ending = self._ended.is_set()
            pause = self._try_to_work()
            if ending and (not pause or (self._journal is None and not self._held)):
                break
            self._wait(pause)
        self._close()

    def _try_to_work(self) -> float:
        """Return after how many seconds to try again, or 0."""
        try:
            self._work(self._journal or self._open())
        except JournalInUseError as error:
            if time.monotonic() > self._patient_until:
                self._disk_trouble = str(error)
            return _LOCK_INTERVAL
        except JournalError as error:
            self._disk_trouble = str(error)
        except OSError as error:
            self._disk_trouble = f"{self._directory} cannot be written to: {error.strerror or error}"
        else:
            self._disk_trouble = ""
            return 0.0
        return _RETRY_INTERVAL

    def _open(self) -> Journal:
        segment_bytes = max(_LEAST_SEGMENT_BYTES, min(_SEGMENT_BYTES, self._journal_bytes // _SEGMENTS))
        journal = Journal(self._directory, segment_bytes=segment_bytes)
        self.written = max(self.written, _after(journal))
        self._size = (0, journal.size)
        self._journal = journal
        return journal

    def _work(self, journal: Journal) -> None:
        """Do what is due.

        Raises:
            OSError: the disk is in trouble; nothing is lost.
        """
        if self._drop_to > self._dropped_to:  # first: it may be what makes room
            self._drop(journal, self._drop_to)
        self._write(journal)
        if self._is_sync_due():
            self._sync(journal)

    def _drop(self, journal: Journal, index: int) -> None:
        journal.drop_before(index)
        self._dropped_to = index
        self._look(journal)

    def _write(self, journal: Journal) -> None:
        # In this order: what is read here has been appended then, whatever the other thread does meanwhile.
        held_bytes, kept_bytes, index = self._held_bytes, self._kept_bytes, self.next_index
        journal.write()
        self.written = max(self.written, index)
        self._written_bytes = max(self._written_bytes, kept_bytes - held_bytes)

    def _is_sync_due(self) -> bool:
        unsynced = self._written_bytes - self._synced_bytes
        due = time.monotonic() >= self._sync_due or self._ended.is_set()
        return unsynced > _SYNC_BYTES or (unsynced > 0 and due)

    def _sync(self, journal: Journal) -> None:
        written = self._written_bytes
        journal.sync()
        self._synced_bytes = written
        self._sync_due = time.monotonic() + _SYNC_INTERVAL
        self._look(journal)

    def _look(self, journal: Journal) -> None:
        self._size = (self._written_bytes, journal.size)

    def _wait(self, pause: float) -> None:
        if pause and self._ended.is_set():
            time.sleep(min(pause, 0.1))
        elif pause:
            self._ended.wait(pause)
        else:
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        unsynced = self._written_bytes > self._synced_bytes
        try:
            self._bell.get(timeout=max(0.001, self._sync_due - time.monotonic()) if unsynced else None)
        except Empty:
            return
        self._rung = False

    def _close(self) -> None:
        if self._journal:
            self._journal.close()


def _after(journal: Journal) -> int:
    return 0 if journal.last_index is None else journal.last_index + 1
