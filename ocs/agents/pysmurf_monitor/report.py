"""What operators see of the monitor: counters, what is wrong, and what has been refused."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocs.agents.pysmurf_monitor.receiver_status import ReceiverStatus
from ocs.agents.pysmurf_monitor.state import Pending

__all__ = ["Counters", "Database", "Lost", "Refusals", "Snapshot", "dropped", "session_data", "troubles"]

SHOWN = 50
"""So many pending files are shown in session.data."""
COMPLAIN_EVERY = 60.0
"""Seconds between two log lines about refusals for the same reason."""
SAMPLE = 80
"""So many bytes of what is refused are logged."""
REMEMBERED_LOSS = 60.0
"""For so many seconds after datagrams have been lost the monitor is degraded."""
NEARLY_FULL = 0.8
"""The share of the journal's bound from which on the monitor is degraded."""
OK = "ok"


@dataclass(slots=True)
class Counters:
    """What has been done since the agent's start. Each is written by one thread."""

    announced: int = 0
    hashed: int = 0
    hashed_bytes: int = 0
    entered: int = 0
    known: int = 0
    published: int = 0
    ignored: int = 0
    """Datagrams that publishers send for others."""
    overflowed: int = 0
    """Datagrams that were handed to `datagramReceived` beyond what waits there."""
    missed: int = 0
    """Datagrams that the journal had lost before they were read."""
    last_entered: dict[str, Any] = field(default_factory=dict)


class Refusals:
    """Counts what is refused, and says so once a minute for each reason. Any thread.

    Args:
        warn: takes a line for the log.
        steady: a clock, in seconds.
    """

    def __init__(self, warn: Callable[[str], None], steady: Callable[[], float] = time.monotonic) -> None:
        self._warn = warn
        self._steady = steady
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many were refused, by reason."""
        with self._lock:
            return dict(self._counts)

    def add(self, reason: str, detail: str = "", sample: bytes | str = b"", sender: str = "") -> None:
        """Count one.

        Args:
            reason: one of few words.
            detail: what is wrong with it, for a person.
            sample: what was refused; its first bytes are logged.
            sender: where it came from.
        """
        with self._lock:
            self._counts[reason] += 1
            count, now = self._counts[reason], self._steady()
            told, before = self._told.get(reason, (-COMPLAIN_EVERY, 0))
            if now - told < COMPLAIN_EVERY:
                return
            self._told[reason] = (now, count)
        self._warn(_line(reason, detail, sample, sender, count - before))

    def add_many(self, reason: str, count: int) -> None:
        """Count several that have been told of in another way."""
        with self._lock:
            self._counts[reason] += count


def _line(reason: str, detail: str, sample: bytes | str, sender: str, count: int) -> str:
    origin = f" from {sender}" if sender else ""
    times = f", {count} since the last such line" if count > 1 else ""
    shown = f": {sample[:SAMPLE]!r}" if sample else ""
    why = f" ({_printable(detail)})" if detail else ""
    return f"refused: {reason}{why}{origin}{times}{shown}"


def _printable(text: str) -> str:
    return ascii(text[:200])[1:-1]


@dataclass(frozen=True, slots=True)
class Database:
    """How the transfer database does: `state` is "ok" or the kind of trouble, `since` when that began (unix s)."""

    path: str
    state: str = OK
    message: str = ""
    since: float = 0.0

    def encoded(self) -> dict[str, Any]:
        """Return it as session.data has it."""
        return {"path": self.path, "state": self.state, "message": self.message, "since": self.since}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the pipeline does at a moment."""

    database: Database
    queued: int = 0
    pending_count: int = 0
    pending: Sequence[Pending] = ()
    slow: Sequence[str] = ()
    state_trouble: str = ""
    notices: Sequence[str] = ()
    """What happened to the state file, oldest first."""


def session_data(
    counters: Counters, refused: dict[str, int], receiver: ReceiverStatus, now: Snapshot
) -> dict[str, Any]:
    """Return what clients see of the process `run`."""
    return {
        "datagrams_received_total": receiver.received,
        "datagrams_dropped_total": dropped(counters, receiver),
        "datagrams_refused_total": sum(refused.values()),
        "datagrams_ignored_total": counters.ignored,
        "files_announced_total": counters.announced,
        "files_queued": now.queued,
        "files_hashed_total": counters.hashed,
        "bytes_hashed_total": counters.hashed_bytes,
        "files_entered_total": counters.entered,
        "files_known_total": counters.known,
        "files_pending": now.pending_count,
        "messages_published_total": counters.published,
        "refused": refused,
        "pending": [_shown(each) for each in now.pending[:SHOWN]],
        "database": now.database.encoded(),
        "receiver": {name: getattr(receiver, name) for name in _OF_RECEIVER},
        "in_work": list(now.slow[:SHOWN]),
        "last_entered": counters.last_entered,
    }


_OF_RECEIVER = (
    "port",
    "running",
    "buffer_bytes",
    "journal_bytes",
    "waiting_bytes",
    "kernel_drops",
    "restarts",
    "trouble",
)


def dropped(counters: Counters, receiver: ReceiverStatus) -> int:
    """Return how many datagrams have been lost, wherever that was."""
    return receiver.dropped + receiver.kernel_drops + counters.missed + counters.overflowed


def _shown(pending: Pending) -> dict[str, Any]:
    return {
        "path": pending.path,
        "since": pending.since,
        "attempts": pending.attempts,
        "next": pending.next,
        "reason": pending.reason,
    }


class Lost:
    """Remembers for a while that datagrams were lost.

    Args:
        steady: a clock, in seconds.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._count = 0
        self._last = float("-inf")

    def lately(self, count: int) -> bool:
        """Tell whether the count of lost datagrams has grown within the last minute."""
        now = self._steady()
        if count > self._count:
            self._count, self._last = count, now
        return now - self._last < REMEMBERED_LOSS


def troubles(receiver: ReceiverStatus, now: Snapshot, *, lost: int, journal_bound: int) -> dict[str, str]:
    """Return what is wrong, a line for each kind of trouble; nothing if the monitor does its work.

    Args:
        receiver: how receiving does.
        now: how the pipeline does.
        lost: how many datagrams were lost altogether, if some were lately.
        journal_bound: how large the journal may become, bytes.
    """
    found = {}
    if now.database.state != OK:
        found[f"database {now.database.state}"] = now.database.message
    if now.state_trouble:
        found["state"] = now.state_trouble
    if receiver.trouble:
        found["receiver"] = receiver.trouble
    if lost:
        found["lost"] = f"datagrams are being lost, {lost} so far: enter their files with the task rescan"
    if receiver.journal_bytes > NEARLY_FULL * journal_bound:
        found["journal"] = (
            f"the journal has {receiver.journal_bytes >> 20} MiB of {journal_bound >> 20} MiB: when it is full,"
            " datagrams are dropped (--journal-size)"
        )
    return found
