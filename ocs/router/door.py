"""The connections to a closed router of which it does not know yet whose they are: not too many, and not for long."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["JOIN_WITHIN_S", "MOST_UNKNOWN", "Door", "Place"]

JOIN_WITHIN_S: Final = 10.0
"""How long a connection may take to show a key, in seconds, whatever it sends in the meantime."""

MOST_UNKNOWN: Final = 1000
"""How many connections may be without having shown a key, at a time: more than a site's agents that all come back
after a restart of the router."""

Place = tuple[str, int]
"""Where a connection comes from: address and port."""


class Door:
    """Those who have come and not shown who they are.

    Where there are too many, the oldest one goes of the address that has most of them: a flood drives itself out.

    Args:
        clock: seconds.
        most: how many there may be.
    """

    def __init__(self, clock: Callable[[], float], most: int = MOST_UNKNOWN) -> None:
        self._clock = clock
        self._most = most
        self._waiting: OrderedDict[Place, tuple[float, Callable[[], None]]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def arrive(self, place: Place, close: Callable[[], None]) -> None:
        """Take note of a connection.

        Args:
            place: where it comes from.
            close: closes it.
        """
        self.settle(place)
        self._waiting[place] = self._clock(), close
        self._counts[place[0]] += 1
        if len(self._waiting) > self._most:
            self._send_away(self._most_crowded())

    def settle(self, place: Place) -> None:
        """Take note that a connection has shown whose it is, or is gone."""
        if self._waiting.pop(place, None) is not None:
            self._counts[place[0]] -= 1
            if not self._counts[place[0]]:
                del self._counts[place[0]]

    def sweep(self) -> None:
        """Close those who have had their time."""
        oldest = self._clock() - JOIN_WITHIN_S
        while self._waiting:
            place, (since, _) = next(iter(self._waiting.items()))
            if since > oldest:
                return
            self._send_away(place)

    def _most_crowded(self) -> Place:
        address = max(self._counts, key=self._counts.__getitem__)
        return next(place for place in self._waiting if place[0] == address)

    def _send_away(self, place: Place) -> None:
        close = self._waiting[place][1]
        self.settle(place)
        close()
