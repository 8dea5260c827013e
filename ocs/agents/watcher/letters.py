"""What people are told: many alarms in one letter, and no more letters than they can read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from ocs.agents.watcher.alarms import Key
from ocs.agents.watcher.board import Notice
from ocs.agents.watcher.rules import SEVERITIES, Target

__all__ = ["MOST_IN_A_LETTER", "Basket", "make_letter", "trial_letter"]

MOST_IN_A_LETTER = 50
"""Alarms that a letter describes; of the others it tells how many there are."""

_WORST_FIRST = {"escalated": 0, "firing": 1, "latched": 2, "resolved": 3}


class Basket:
    """Gathers what one target is to be told. Of several notices about an alarm the last one counts.

    Args:
        target: gives the times.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._notices: dict[Key, Notice] = {}
        self._first = 0.0
        self._sent = float("-inf")

    def __len__(self) -> int:
        return len(self._notices)

    def put(self, notice: Notice, now: float) -> None:
        """Put a notice in.

        Args:
            notice: what is to be told.
            now: seconds of any clock.
        """
        if not self._notices:
            self._first = now
        self._notices.pop(notice.key, None)
        self._notices[notice.key] = notice

    def take(self, now: float) -> list[Notice]:
        """Return what is to be told now: all that is in, or nothing yet."""
        if not self._notices or now < max(self._first + self.target.gather, self._sent + self.target.interval):
            return []
        return self.empty(now)

    def empty(self, now: float) -> list[Notice]:
        """Return all that is in, due or not."""
        notices, self._notices = list(self._notices.values()), {}
        self._sent = now
        return notices


def make_letter(notices: Iterable[Notice], watcher: str) -> dict[str, Any]:
    """Return a letter, as it is sent to a webhook; mail is made of the same.

    Args:
        notices: at least one.
        watcher: the watcher's address.
    """
    ordered = sorted(notices, key=_rank)
    shown = ordered[:MOST_IN_A_LETTER]
    counts = Counter(notice.what for notice in ordered)
    return {
        "watcher": watcher,
        "time": max(notice.time for notice in ordered),
        "text": _text(shown, len(ordered) - len(shown)),
        "summary": _summary(ordered, counts),
        "counts": dict(counts),
        "alarms": [_entry(notice) for notice in shown],
        "more": len(ordered) - len(shown),
    }


def trial_letter(watcher: str, now: float) -> dict[str, Any]:
    """Return a letter that says that it is a test."""
    text = f"This is a test of {watcher}: notifications arrive here."
    return {"watcher": watcher, "time": now, "text": text, "summary": text, "counts": {}, "alarms": [], "more": 0}


def _rank(notice: Notice) -> tuple[int, int, float]:
    return -SEVERITIES.index(notice.severity), _WORST_FIRST.get(notice.what, 9), notice.since


def _summary(ordered: Sequence[Notice], counts: Counter[str]) -> str:
    if len(ordered) == 1:
        [only] = ordered
        return f"[{only.severity}] {only.what}: {only.key.rule}: {only.key.subject}"
    how_many = ", ".join(f"{number} {what}" for what, number in counts.items())
    rules = ", ".join(list(dict.fromkeys(notice.key.rule for notice in ordered))[:3])
    return f"[{ordered[0].severity}] {how_many}: {rules}"


def _text(shown: Sequence[Notice], more: int) -> str:
    lines = [_line(notice) for notice in shown]
    return "\n".join([*lines, f"... and {more} more"] if more else lines)


def _line(notice: Notice) -> str:
    since = datetime.fromtimestamp(notice.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    head = f"{notice.what.upper()} [{notice.severity}] {notice.key.rule}: {notice.key.subject}"
    return f"{head}: {notice.message} (since {since})"


def _entry(notice: Notice) -> dict[str, Any]:
    return {
        "rule": notice.key.rule,
        "subject": notice.key.subject,
        "severity": notice.severity,
        "state": notice.what,
        "since": notice.since,
        "value": notice.value,
        "message": notice.message,
    }
