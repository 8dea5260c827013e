"""Feeds that have fallen silent, and counters that have grown. Each remembers what one rule needs."""

from ocs.agents.watcher.alarms import Sight
from ocs.agents.watcher.judging import clock
from ocs.agents.watcher.rules import Rule

__all__ = ["MAX_FEEDS", "Growth", "Silence"]

MAX_FEEDS = 20_000
"""Feeds that a rule keeps an eye on; further ones are not."""


class Silence:
    """Keeps an eye on when feeds were heard, for one rule. What a message costs does not depend on how many there are.

    Args:
        rule: of the kind ``no_data_for``.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._heard: dict[str, tuple[float, float]] = {}
        self._silent: dict[str, tuple[float, float]] = {}

    def expect(self, subject: str, steady: float) -> None:
        """Count a feed as one that has to speak, though it has not been heard yet."""
        if subject not in self._silent:
            self._heard.setdefault(subject, (steady, 0.0))

    def hear(self, subject: str, steady: float, wall: float) -> bool:
        """Note that a feed has been heard; return whether it was silent, or is new."""
        was_silent = self._silent.pop(subject, None) is not None
        known = self._heard.pop(subject, None) is not None
        if not known and not was_silent and len(self._heard) + len(self._silent) >= MAX_FEEDS:
            return False
        self._heard[subject] = (steady, wall)  # last in the order
        return was_silent or not known

    def overdue(self, steady: float, hearing_since: float) -> list[tuple[str, Sight]]:
        """Return the feeds that have just fallen silent.

        Args:
            steady: now (s).
            hearing_since: since when the watcher has been able to hear anybody (s), of the same clock.
        """
        found: list[tuple[str, Sight]] = []
        while self._heard and steady - hearing_since > self.rule.wait:
            subject, (heard, wall) = next(iter(self._heard.items()))
            if steady - heard <= self.rule.wait:
                break
            self._silent[subject] = self._heard.pop(subject)
            found.append((subject, _silent_sight(steady - heard, wall)))
        return found


def _silent_sight(seconds: float, wall: float) -> Sight:
    message = f"no data since {clock(wall)}" if wall else "no data yet"
    return Sight(True, seconds, message)


class Growth:
    """Tells whether a counter has grown lately, for one rule.

    Args:
        rule: of the kind ``gap``.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._last: dict[str, float] = {}
        self._grown: dict[str, tuple[float, float]] = {}

    def see(self, subject: str, count: float | None, steady: float) -> Sight:
        """Judge a counter. One that has fallen began anew, with its agent.

        Args:
            subject: whose it is.
            count: what it says; None: it cannot be told.
            steady: now (s).
        """
        if count is None:
            return Sight(bad=None)
        before = self._last.get(subject)
        grown = 0.0 if before is None else count if count < before else count - before
        self._last[subject] = count
        more, when = self._grown.get(subject, (0.0, steady))
        if grown:
            self._grown[subject] = more, when = more + grown, steady
        if not more or steady - when > self.rule.within:
            self._grown.pop(subject, None)
            return Sight(False)
        return Sight(True, more, f"{more:.0f} more have been lost")
