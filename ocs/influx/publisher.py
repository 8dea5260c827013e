"""What both publishers do: events come from the reactor's thread, and go as lines to the spool and to the database."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ocs.influx.lines import chunks, exactly, in_microseconds
from ocs.influx.points import is_wanted
from ocs.influx.runs import run_lines, runs_of
from ocs.influx.sender import Sender, merged
from ocs.influx.server import Server
from ocs.influx.spool import DISK_BYTES, Spool

__all__ = ["Inbox", "Publisher"]

_TURN: Final = 0.25
"""Seconds between two looks at what has come: so much at most is lost when the process is killed."""

_SHOW_EVERY: Final = 1.0
_MOST_VALUES: Final = 1_000_000
"""Values that may wait in the inbox, some 40 MB of memory."""

_CROWDED_SHARE: Final = 8
"""With so small a share of its room taken (an eighth), the inbox is looked at without delay."""

_PACKED_SHARE: Final = 4
"""Packed values that take as much memory as one that is not."""

_ENTRY_BYTES: Final = 256 << 10


class Inbox:
    """A bounded queue between the reactor's thread, which puts, and the publisher's, which takes. Closed at first.

    Attributes:
        malformed: events that were no messages of a feed.
        lost: messages that had no room.
    """

    def __init__(self, most_values: int = _MOST_VALUES) -> None:
        self.malformed = 0
        self.lost = 0
        self._most = most_values
        self._lock = threading.Lock()
        self._events: deque[tuple[Any, int]] = deque()
        self._values = 0
        self._open = False
        self._called = threading.Event()

    def open(self) -> None:
        """Let events in."""
        self._open = True

    def close(self) -> None:
        """Let no more events in; those that wait can be taken."""
        self._open = False

    def put(self, event: Any) -> None:
        """Accept an event, if it is of a feed that is wanted. Never waits, never raises."""
        if not self._open:
            return
        if not is_wanted(event):
            self.malformed += not _is_event(event)
            return
        values = _weight(event[0])
        with self._lock:
            self._events.append((event, values))
            self._values += values
            while self._values > self._most and len(self._events) > 1:
                self._values -= self._events.popleft()[1]
                self.lost += 1
        if self._values > self._most // _CROWDED_SHARE:
            self._called.set()

    def take(self) -> list[Any]:
        """Return what waits."""
        with self._lock:
            events, self._events = self._events, deque()
            self._values = 0
        return [event for event, _ in events]

    def wait(self, seconds: float) -> None:
        """Wait so long, or until much has come, or `call` is called."""
        self._called.wait(seconds)
        self._called.clear()

    def call(self) -> None:
        """End the wait. Any thread may do that."""
        self._called.set()


def _is_event(event: Any) -> bool:
    return isinstance(event, list | tuple) and len(event) == 2 and isinstance(event[1], dict)  # noqa: PLR2004 - a pair


def _weight(data: Any) -> int:
    """Return about how many values a message has; what is not built like one counts as a large one."""
    packed: int | None = getattr(data, "values_packed", None)
    if packed is not None:
        return packed // _PACKED_SHARE + 1
    try:
        return sum(len(block["timestamps"]) * len(block["data"]) for block in data.values()) + 1
    except (TypeError, LookupError, AttributeError):
        return 1 << 12


class Publisher:
    """One run of a publisher's process.

    Args:
        inbox: the events.
        server: the database.
        folder: where to keep what waits; None: in memory alone.
        compress: whether lines are sent gzipped.
        microseconds: round times to these.
        spool_bytes: how much may wait on the disk.
        tell: called with what the operator should know.
        clock: gives the time (unix, s).

    Attributes:
        spool: what waits.
        sender: what sends it.
    """

    def __init__(
        self,
        inbox: Inbox,
        server: Server,
        folder: Path | None,
        *,
        compress: bool = False,
        microseconds: bool = False,
        spool_bytes: int = DISK_BYTES,
        tell: Callable[[str], Any] = lambda text: None,  # noqa: ARG005 - nobody listens
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spool = Spool(folder, disk_bytes=spool_bytes, clock=clock)
        self.sender = Sender(self.spool, server, compress=compress, tell=tell, clock=clock)
        self._inbox = inbox
        self._nanoseconds = in_microseconds if microseconds else exactly
        self._tell = tell
        self._clock = clock
        self._left_out: Counter[str] = Counter()
        self._last_updated: float | None = None
        self._disk_trouble = ""
        self._next_shown = 0.0

    def run(self, session: Any, *, once: bool = False) -> None:
        """Publish until the session is no longer running.

        Args:
            session: the process's session; its data, and whether it is degraded, are kept current.
            once: take what waits, send it if that can be done, and end.

        Raises:
            JournalInUseError: another process has the spool.
        """
        self.spool.open()
        self.sender.start()
        self._inbox.open()
        try:
            while session.status == "running":
                self._turn(session)
                self._inbox.wait(_TURN)
                if once:
                    break
        finally:
            self._inbox.close()
            self._end(session)

    def call(self) -> None:
        """Have `run` look at its session at once. Any thread may do that."""
        self._inbox.call()

    def _turn(self, session: Any) -> None:
        self._take()
        self.spool.write()
        if time.monotonic() >= self._next_shown:
            self._next_shown = time.monotonic() + _SHOW_EVERY
            self._show(session)

    def _end(self, session: Any) -> None:
        self._take()
        self.spool.write()
        self.sender.stop()
        self.spool.close()
        self._show(session)

    def _take(self) -> None:
        for run in runs_of(self._inbox.take()):
            try:
                lines = run_lines(run, self._nanoseconds)
            except Exception as error:  # nobody's message may end the publishing of all others
                self._left_out["structure"] += len(run.messages)
                self._tell(f"a message of {str(run.feed.get('address'))[:200]} cannot be used: {error!r}")
                continue
            self._left_out += lines.left_out
            for points, body in chunks(lines.rows, _ENTRY_BYTES):
                self.spool.put(body, points)
                self._last_updated = self._clock()
            if self.spool.crowded:
                self.spool.write()

    def _show(self, session: Any) -> None:
        session.data = self.data()
        state, trouble = self.sender.state, self.spool.trouble
        session.degraded = bool(state.trouble or trouble)
        if trouble and trouble != self._disk_trouble:
            self._tell(trouble)
        self._disk_trouble = trouble

    def data(self) -> dict[str, Any]:
        """Return what clients see."""
        state, spool = self.sender.state, self.spool
        oldest = spool.oldest or state.oldest
        return {
            "connected": state.connected,
            "last_updated": self._last_updated,
            "last_written": state.written,
            "points": state.points,
            "waiting_points": spool.waiting,
            "spool_bytes": spool.size,
            "lag": max(0.0, self._clock() - oldest) if oldest and spool.waiting else 0.0,
            "dropped": merged(state.dropped, dict(spool.dropped)),
            "left_out": merged(state.left_out, dict(self._left_out)),
            "malformed": self._inbox.malformed,
            "lost_messages": self._inbox.lost,
            "retry_in": self.sender.retry_in,
            "last_error": state.trouble or spool.trouble or None,
        }
