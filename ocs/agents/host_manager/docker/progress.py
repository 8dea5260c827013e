"""Progress of long work, as a bounded number of lines."""

import re
from collections.abc import Callable

from ocs.agents.host_manager.docker.text import one_line

__all__ = ["Failures", "Progress"]

INTERVAL = 0.5
"""Between two lines that only tell how far a download is, in seconds."""
MOST_LINES = 500
"""How many lines a piece of work may have."""
_LONGEST = 200
_MOST_FAILURES = 20
_FAILED = re.compile(r"\W*([\w.-]+) +(?:Error|Warning) +(.+)")
_MILESTONES = ("pulled", "error", "failed", "denied", "not found", "skipped")


class Progress:
    """Passes lines on: all that tell of an end, of the others one every half second.

    Args:
        say: takes the lines.
        clock: tells the time in seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._last_line = ""
        self._last_time = float("-inf")
        self._said = 0

    def __call__(self, line: str) -> None:
        """Take a line."""
        text, now = one_line(line, _LONGEST), self._clock()
        milestone = any(word in text.lower() for word in _MILESTONES)
        if not text or text == self._last_line or self._said >= MOST_LINES:
            return
        if not milestone and now - self._last_time < INTERVAL:
            return
        self._last_line, self._last_time = text, now
        self._said += 1
        self._say(text if self._said < MOST_LINES else f"{text} (and more, which is not told)")


class Failures:
    """Gathers the services whose images could not be fetched, though the others were."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def take(self, line: str) -> None:
        """Take a line of what Compose prints."""
        match = _FAILED.fullmatch(line.rstrip())
        if match and len(self._reasons) < _MOST_FAILURES:
            self._reasons[match[1]] = one_line(match[2], _LONGEST)

    @property
    def text(self) -> str:
        """What failed, in a line; empty: nothing."""
        return "; ".join(f"{name}: {reason}" for name, reason in self._reasons.items())
