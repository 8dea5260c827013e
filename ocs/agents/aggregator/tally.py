"""The count of what was dropped, and how it is told: a log line for each cause and feed, and a note in the archive."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from ocs.agents.aggregator.messages import Fault
from ocs.agents.aggregator.notes import Note

__all__ = ["QUIET_TIME", "Log", "Tally"]

QUIET_TIME: Final = 600.0
"""Seconds during which the same trouble of the same feed is counted without another log line."""

_MAX_REMEMBERED: Final = 1000

_LOSSES: Final = frozenset({"queue", "disk", "unforeseen"})
"""Causes that are none of the publisher's doing."""


class Log(Protocol):
    """The part of a logger that is used here."""

    def warn(self, format: str | None = None, **kwargs: object) -> None:  # noqa: A002 - Twisted's signature
        """Log a warning."""


class Tally:
    """Counts faults by cause and logs the first of each feed and cause.

    Args:
        log: where the lines go.
        clock: gives the time (unix, s).

    Attributes:
        dropped: cause → values dropped.
        messages: cause → faults, whether or not they cost a value.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self.dropped: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._log = log
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._unnoted: OrderedDict[tuple[str, str], Note] = OrderedDict()

    def count(self, address: str, fault: Fault) -> None:
        """Count a fault found in what ``address`` sent, and log it unless that was done lately."""
        self.dropped[fault.cause] += fault.values
        self.faults[fault.cause] += 1
        key = address, fault.cause
        if fault.values:
            self._remember(key, fault)
        since, silent = self._logged.get(key, (None, 0))
        now = self._clock()
        if since is not None and now - since < QUIET_TIME:
            self._logged[key] = since, silent + 1
            return
        self._logged[key] = now, 0
        self._logged.move_to_end(key)
        if len(self._logged) > _MAX_REMEMBERED:
            self._logged.popitem(last=False)
        self._warn(address, fault, silent)

    def _remember(self, key: tuple[str, str], fault: Fault) -> None:
        now = self._clock()
        note = self._unnoted.get(key) or Note(
            "lost" if fault.cause in _LOSSES else "refused", key[0], now, now, 0, fault.detail
        )
        self._unnoted[key] = note._replace(until=now, samples=note.samples + fault.values)
        if len(self._unnoted) > _MAX_REMEMBERED:
            self._unnoted.popitem(last=False)

    def notes(self) -> list[Note]:
        """Return what was dropped since the last call: a note for each feed and cause."""
        unnoted, self._unnoted = self._unnoted, OrderedDict()
        return list(unnoted.values())

    def _warn(self, address: str, fault: Fault, silent: int) -> None:
        again = f" ({silent} more like it before)" if silent else ""
        loss = f"; {fault.values} values dropped" if fault.values else ""
        self._log.warn("{address}: {what}{loss}{again}", address=address, what=fault.detail, loss=loss, again=again)
