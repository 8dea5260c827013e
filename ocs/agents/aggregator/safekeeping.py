"""The journal in step with the files: what is brought to the disk when, who is told, and what may go."""

from collections.abc import Callable, Iterable

from ocs.agents.aggregator.inbox import Item
from ocs.agents.aggregator.ledger import MAX_BYTES, Ledger
from ocs.agents.aggregator.provider import Provider
from ocs.agents.aggregator.streams import Key
from ocs.agents.aggregator.writer import G3FileRotator

__all__ = ["Safekeeping"]


class Safekeeping:
    """Looks after the journal, turn by turn; without one it does nothing. For one thread only.

    Args:
        ledger: the journal.
        writer: writes the files.
        safe: called with what has come to the journal's disk: stream → next number.

    Attributes:
        trouble: one line that says why the journal takes nothing, empty when all is well.
    """

    def __init__(self, ledger: Ledger | None, writer: G3FileRotator, safe: Callable[[dict[Key, int]], None]) -> None:
        self.trouble = ""
        self._ledger = ledger
        self._writer = writer
        self._safe = safe

    def enter(self, item: Item) -> int | None:
        """Enter what has been taken in; return its number in the journal, if it has one."""
        return self._ledger.add(item) if self._ledger and item.kind else None

    @property
    def too_old(self) -> int:
        """The number below which messages are to be brought into files, lest the journal become too large."""
        return self._ledger.middle if self._ledger and self._ledger.size > MAX_BYTES else 0

    def keep(self, providers: Iterable[Provider]) -> None:
        """Bring the journal to the disk, tell what is safe now, and let go of what is in files.

        Args:
            providers: those that hold what is in no file yet.
        """
        ledger = self._ledger
        if ledger is None:
            return
        try:
            ledger.sync_if_due(again=bool(self.trouble))
            self.trouble = ""
            self._shorten(ledger, providers)
        except OSError as error:
            self.trouble = f"the journal takes nothing: {error.strerror or error} ({error.filename or 'disk'})"
        self._tell(ledger)

    def _shorten(self, ledger: Ledger, providers: Iterable[Provider]) -> None:
        oldest = [provider.first_index for provider in providers if provider.first_index is not None]
        if self._writer.first_waiting is not None:
            oldest.append(self._writer.first_waiting)
        needed = min(oldest, default=ledger.next_index)
        if ledger.can_release(needed):
            self._writer.sync()
            ledger.release(needed)

    def _tell(self, ledger: Ledger) -> None:
        if news := ledger.news():
            self._safe(news)

    def close(self, *, forget: bool) -> None:
        """Close the journal, once all that could be written is in files, and those are closed.

        Args:
            forget: delete it, unless there is something in it that is in no file.
        """
        ledger = self._ledger
        if ledger is None:
            return
        done = not self._writer.waiting_bytes
        try:
            ledger.close(empty=done, remove=done and forget)
        except OSError as error:
            self.trouble = f"the journal cannot be closed: {error.strerror or error} ({error.filename or 'disk'})"
        self._tell(ledger)

    @property
    def size(self) -> int:
        """How much of the disk the journal takes (bytes)."""
        return self._ledger.size if self._ledger else 0
