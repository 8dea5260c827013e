"""An order of keys by when each was last touched."""

from collections import OrderedDict
from itertools import islice, takewhile

__all__ = ["Timetable"]


class Timetable:
    """Remembers when each key was touched last, oldest first.

    Touching a key and finding an overdue one cost the same however many keys there are, since touched keys move to the
    end. Times never go back; where one does, the key counts as touched at the latest time seen.
    """

    def __init__(self) -> None:
        self._when: OrderedDict[str, float] = OrderedDict()
        self._latest = float("-inf")

    def __len__(self) -> int:
        return len(self._when)

    def __contains__(self, key: str) -> bool:
        return key in self._when

    def touch(self, key: str, when: float) -> None:
        """Put ``key`` last.

        Args:
            key: known or new.
            when: now, in seconds of any clock.
        """
        self._latest = max(self._latest, when)
        self._when[key] = self._latest
        self._when.move_to_end(key)

    def hurry(self, key: str) -> None:
        """Put ``key`` first: it is overdue whatever the time."""
        self._when[key] = float("-inf")
        self._when.move_to_end(key, last=False)

    def forget(self, key: str) -> None:
        """Take ``key`` out, if it is there."""
        self._when.pop(key, None)

    def oldest(self) -> str | None:
        """Return the key that was touched longest ago."""
        return next(iter(self._when), None)

    def overdue(self, before: float, limit: int) -> list[tuple[str, float]]:
        """Find the keys that were touched last before a certain time; they stay in.

        Args:
            before: seconds of the same clock.
            limit: return no more than this.

        Returns:
            Pairs of key and time, oldest first.
        """
        return list(islice(takewhile(lambda item: item[1] < before, self._when.items()), limit))
