"""One stream, the numbered messages of one run of an agent: which is wanted next, and what has become of the others."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final, NamedTuple

from ocs.agents.aggregator.replies import Batch, Gone

__all__ = ["ENDED", "NO_LONGER", "Fetched", "Key", "Lost", "Stream"]

Key = tuple[str, str]
"""Agent address, session id."""

NO_LONGER: Final = "the agent no longer had them"
ENDED: Final = "the agent ended before it could be asked for them"
_GIVEN_UP: Final = "the agent had to give them up"
_AT_MOST: Final = "the agent had to give them up, with others: the samples are counted together"


class Lost(NamedTuple):
    """Messages that nobody has: numbers from `first` up to, not including, `end`."""

    agent: str
    session_id: str
    first: int
    end: int
    since: float | None
    """Published between this (unix, s), if it is known…"""
    until: float | None
    """…and this."""
    samples: dict[str, int]
    """Feed → samples, as far as is known."""
    why: str


class Fetched(NamedTuple):
    """A message that came in answer to a request."""

    key: Key
    seq: int
    payload: bytes


class Stream:
    """What is known of one stream.

    It is *behind* while a number is known to have been given out (`top`) that is not below the one wanted `next`; then
    its events are let go, and everything from `next` on is fetched. Otherwise it is *live*: events are taken in order.

    Numbers below `wanted` were given out before anything was heard of the stream: they are wanted only if they
    were published since recording began, and nobody can tell how many those are.

    Args:
        key: agent address and session id.
        start: the next number wanted.
        wanted: the first number that is wanted whenever it was published.
    """

    __slots__ = (
        "asked",
        "failures",
        "key",
        "next",
        "not_before",
        "noted",
        "recent",
        "safe",
        "struck",
        "stuck",
        "told",
        "top",
        "turn",
        "wanted",
    )

    def __init__(self, key: Key, start: int, wanted: int) -> None:
        self.key = key
        self.next = start
        self.wanted = wanted
        self.safe = start
        """Everything below is on our disk."""
        self.told = 0
        """The agent has heard so of everything below."""
        self.top = 0
        """The highest number that is known to have been given out, if it is not below `next`."""
        self.recent = 0
        """The highest number seen since the agent was last asked what it has."""
        self.asked = 0
        """The agent has been asked about all gaps below this number."""
        self.noted: Gone | None = None
        """The agent's last word on what it gave up that led to a loss."""
        self.struck: tuple[float, int] | None = None
        """When (s) the agent, in another run now, first had no more of this one, and `top` at that time."""
        self.stuck: float | None = None
        """Since when (s) the agent does not give what is asked for."""
        self.failures = 0
        """Fetches that failed, one after the other."""
        self.not_before = -inf
        """When (s) it may be fetched from again."""
        self.turn = 0
        """When it was last fetched from, counted in fetches."""

    def start_anew(self) -> None:
        """Forget how long something has been going on, and how often it has failed."""
        self.failures, self.not_before = 0, -inf
        self.struck = self.stuck = None

    @property
    def behind(self) -> bool:
        """Whether something is to be fetched."""
        return self.top >= self.next

    def show(self, number: int) -> None:
        """Note that a number has been given out."""
        if not self.behind:
            self.stuck = None
        self.recent = max(self.recent, number)
        self.top = max(self.top, number)

    def take(self, batch: Batch, gone: Sequence[Gone], since: float) -> tuple[list[Fetched | Lost], bool]:
        """Take what has been fetched from `next` on.

        Args:
            batch: it.
            gone: the agent's losses, as of the last time that it was asked what it has.
            since: when recording began (unix, s).

        Returns:
            What came and what is lost, in order; and whether there is no gap that `gone` does not explain. If there is,
            the agent is to be asked what it has, and then for the messages from `next` on again.
        """
        results: list[Fetched | Lost] = []
        first = batch.messages[0][0] if batch.messages else batch.end
        if self.next < self.wanted < first:
            # Old messages were left out, and so were those that are wanted although they are old: they come next.
            return results, self._pass_over(self.wanted, gone, since, results)
        for number, payload in batch.messages:
            if not self._pass_over(number, gone, since, results):
                return results, False
            results.append(Fetched(self.key, number, payload))
            self.next = number + 1
            self.wanted = min(self.wanted, number)
        return results, self._pass_over(batch.end, gone, since, results)

    def _pass_over(self, end: int, gone: Sequence[Gone], since: float, results: list[Fetched | Lost]) -> bool:
        """Go on to a number; tell whether it was possible, or the reason for a gap has to be asked first."""
        if self._explains(gone, end):
            self._lose(end, gone, since, results)
            return True
        self._lose(self.asked, gone, since, results)
        self.asked = end
        return False

    def _explains(self, gone: Sequence[Gone], end: int) -> bool:
        """Tell whether nothing more can be found out about what is missing up to a number."""
        place = max(self.next, self.asked)
        for entry in gone:
            if entry.run == self.key[1] and entry.first <= place:
                place = max(place, entry.end)
        return place >= end

    def _lose(self, end: int, gone: Sequence[Gone], since: float, results: list[Fetched | Lost]) -> None:
        if end > self.next:
            results += self._losses(end, gone, since)
            self.next = end

    def _losses(self, end: int, gone: Sequence[Gone], since: float, why: str = NO_LONGER) -> Iterator[Lost]:
        """Yield what is lost between `next` and a number, which is what is missing and not unwanted."""
        place = self.next
        for entry in gone:
            if entry.run != self.key[1]:
                continue
            first = max(entry.first, place, self.wanted if entry.until < since else 0)
            last = min(entry.end, end)
            if first < last:
                yield from self._missing(place, first, why)
                yield self._given_up(entry, first, last)
                place = last
        yield from self._missing(place, end, why)

    def _given_up(self, entry: Gone, first: int, end: int) -> Lost:
        why = _GIVEN_UP if (first, end) == (entry.first, entry.end) else _AT_MOST
        samples, before = entry.samples, self.noted
        if before and before.first == entry.first and before.end <= first:
            # The agent has added to what it told before.
            samples = {feed: count - before.samples.get(feed, 0) for feed, count in samples.items()}
            samples = {feed: count for feed, count in samples.items() if count > 0}
        self.noted = entry
        return Lost(*self.key, first, end, entry.since, entry.until, samples, why)

    def _missing(self, first: int, end: int, why: str) -> Iterator[Lost]:
        first = max(first, self.wanted)
        if first < end:
            yield Lost(*self.key, first, end, None, None, {}, why)

    def give_up(self, why: str, gone: Sequence[Gone], since: float) -> list[Lost]:
        """Go on behind everything that is known to have been given out.

        Args:
            why: one line, for what ``gone`` does not explain.
            gone: the agent's losses, as of the last time that it was asked what it has.
            since: when recording began (unix, s).

        Returns:
            What that costs.
        """
        lost = list(self._losses(self.top + 1, gone, since, why))
        self.next = max(self.next, self.top + 1)
        self.start_anew()
        return lost

    def correct(self, given: int) -> None:
        """Take the agent's word, from its current run, that ``given`` is the next number to be given out."""
        self.struck = None
        if self.top >= given:
            self.top = max(self.recent, given - 1)
