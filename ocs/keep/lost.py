"""What of a run had to be given up: ranges of numbers, with times and samples, few and merged."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

__all__ = ["MOST_RANGES", "LostRange", "LostRanges"]

MOST_RANGES = 100


@dataclass(slots=True)
class LostRange:
    """Messages that were given up, and that a recorder still lacked.

    Attributes:
        first: the first number.
        end: the number after the last.
        since: when the first was published, unix s.
        until: the same of the last.
        samples: of each feed, how many samples.
    """

    first: int
    end: int
    since: float
    until: float
    samples: Counter[str] = field(default_factory=Counter)

    def encoded(self) -> list[Any]:
        """Return it as it is told to recorders, and kept in a file."""
        return [self.first, self.end, self.since, self.until, dict(self.samples)]

    def absorb(self, other: "LostRange") -> None:
        """Become one with another range."""
        self.first, self.end = min(self.first, other.first), max(self.end, other.end)
        self.since, self.until = min(self.since, other.since), max(self.until, other.until)
        self.samples.update(other.samples)


class LostRanges:
    """The ranges of one run, in the order of their numbers.

    Args:
        ranges: what `encoded` returned in an earlier run.

    Attributes:
        changes: grows with every change, so that one can tell whether a file is up to date.
    """

    def __init__(self, ranges: list[list[Any]] | None = None) -> None:
        self.changes = 0
        self._ranges = [
            LostRange(first, end, since, until, Counter(samples)) for first, end, since, until, samples in ranges or ()
        ]

    def __iter__(self) -> Iterator[LostRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, number: int, when: float, feed: str, samples: int) -> None:
        """Enter one message.

        Args:
            number: its number.
            when: when it was published, unix s.
            feed: its feed.
            samples: how many samples are in it.
        """
        self.changes += 1
        for known in reversed(self._ranges):
            if known.end == number:
                known.end = number + 1
                known.since, known.until = min(known.since, when), max(known.until, when)
                known.samples[feed] += samples
                return
        self._insert(LostRange(number, number + 1, when, when, Counter({feed: samples})))

    def miss(self, first: int, end: int, since: float, until: float) -> bool:
        """Enter messages of which nothing but their numbers is known.

        Args:
            first: the first number.
            end: the number after the last.
            since: they were published no sooner, unix s.
            until: they were published no later, unix s.

        Returns:
            Whether that is new.
        """
        if any(known.first <= first and end <= known.end for known in self._ranges):
            return False
        self.changes += 1
        self._insert(LostRange(first, end, since, until))
        return True

    def _insert(self, fresh: LostRange) -> None:
        self._ranges.append(fresh)
        self._ranges.sort(key=lambda known: known.first)
        if len(self._ranges) > MOST_RANGES:
            self._merge_closest()

    def _merge_closest(self) -> None:
        """Make one of the two ranges with the fewest numbers between them."""
        gaps = [right.first - left.end for left, right in pairwise(self._ranges)]
        place = gaps.index(min(gaps))
        self._ranges[place].absorb(self._ranges.pop(place + 1))

    def pass_over(self, floor: int) -> None:
        """Drop what lies wholly below a number: all recorders have gone past it."""
        left = [known for known in self._ranges if known.end > floor]
        if len(left) != len(self._ranges):
            self._ranges = left
            self.changes += 1

    def encoded(self) -> list[list[Any]]:
        """Return all ranges as lists."""
        return [known.encoded() for known in self._ranges]
