"""How the receiver is going, in figures: over all the processes that have received since the agent's start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["ReceiverStatus", "Tally"]


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """How the receiver is going. Counts are from the agent's start on, over all receivers it has had."""

    port: int = 0
    """The UDP port; 0 while there is none."""
    received: int = 0
    """Datagrams taken from the socket."""
    written: int = 0
    """The next index: all entries below it are in the journal's files."""
    dropped: int = 0
    """Datagrams for which there was no room, neither on the disk nor in memory."""
    kernel_drops: int = 0
    """Datagrams that the kernel had no room for in the socket's buffer."""
    buffer_bytes: int = 0
    """The socket's buffer, bytes, with what the kernel needs around each datagram."""
    journal_bytes: int = 0
    """The journal, bytes, about."""
    waiting_bytes: int = 0
    """What waits in memory to be written, bytes."""
    trouble: str = ""
    """What is wrong, one line, or empty."""
    running: bool = False
    """Whether there is a receiver."""
    restarts: int = 0
    """How often one has ended by itself."""


class Tally:
    """Adds up what receivers report, each of which counts from 0."""

    def __init__(self) -> None:
        self._received = self._dropped = 0  # by those before the present one
        self._heard_any = False
        self._heard = False

    def begin(self) -> None:
        """Expect the reports of another process."""
        self._heard = False

    def merge(self, status: ReceiverStatus, report: Mapping[str, Any]) -> ReceiverStatus:
        """Return the status after a report.

        Args:
            status: what it was.
            report: as the receiver gives it: some of the status' fields.
        """
        if not self._heard:
            self._received = status.received + self._unreported(status, report)
            self._dropped = status.dropped
            self._heard = self._heard_any = True
        changes = {
            **report,
            "received": self._received + report["received"],
            "dropped": self._dropped + report["dropped"],
            "written": max(status.written, report["written"]),
        }
        return replace(status, **changes, running=True)

    def _unreported(self, status: ReceiverStatus, report: Mapping[str, Any]) -> int:
        """Return how many datagrams the one before has written without a word: it was killed."""
        if not self._heard_any:
            return 0  # what is there may be from an earlier agent's receiver
        return max(0, int(report["written"] - status.written - report["received"]))
