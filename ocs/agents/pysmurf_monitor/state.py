"""What the monitor remembers over a restart or a crash: how far it has come, and what has been put off."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocs.agents.pysmurf_monitor.hashing import Item
    from ocs.agents.pysmurf_monitor.messages import Announcement

__all__ = ["Pending", "State"]


@dataclass(frozen=True, slots=True)
class Pending:
    """An announced file that has been put off."""

    announcement: "Announcement"
    index: int
    attempts: int
    since: float
    next: float
    reason: str

    @property
    def path(self) -> str:
        """The file."""
        return self.announcement.path


class State:
    """The state file. Any thread.

    Args:
        path: where it is.

    Attributes:
        notices: what an operator should hear of: a damaged file that was set aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []

    @property
    def cursor(self) -> int:
        """The journal index below which everything is done with."""
        raise NotImplementedError

    def put_off(self, items: Iterable["Item"], reason: str, next_time: float) -> None:
        """Put files off."""
        raise NotImplementedError

    def due(self, now: float, limit: int = 1000) -> list[Pending]:
        """Hand out what is due; not again before it has been put off again, or the monitor has restarted."""
        raise NotImplementedError

    def next_due(self) -> float | None:
        """Return when the next file is due that has not been handed out (unix s)."""
        raise NotImplementedError

    @property
    def pending_count(self) -> int:
        """How many files are put off, those that are handed out included."""
        raise NotImplementedError

    def pending_list(self, limit: int = 50) -> list[Pending]:
        """Return files that are put off, the longest first."""
        raise NotImplementedError

    def sync(self) -> None:
        """Have everything on the disk; to be called before the journal below the cursor is dropped."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it."""
        raise NotImplementedError
