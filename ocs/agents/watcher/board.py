"""All alarms of the site, what people have said about them, and what has to be told to whom.

Free of clocks and of WAMP: what is seen and done comes in with its time; what follows is fetched by `take_changes` and
`take_notices`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from heapq import nsmallest
from typing import Any

from ocs.agents.watcher.alarms import (
    Alarm,
    Key,
    Phase,
    Sight,
    after_acknowledging,
    after_sight,
    after_time,
    as_shown,
    state_of,
)
from ocs.agents.watcher.rules import SEVERITIES, Kind, Rule
from ocs.errors import WatcherError

__all__ = ["MAX_ALARMS", "MAX_MUTES", "Board", "Change", "Mute", "Notice"]

MAX_ALARMS = 20_000
"""Alarms that are kept at the same time; further ones are counted."""
MAX_MUTES = 1_000
SLICE = 500
"""Alarms that time passes for before others get a turn."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Alarms that nobody is told of for a while. Both patterns are shell globs."""

    rule: str
    subject: str
    until: float
    """Unix s."""
    by: str = ""

    def fits(self, key: Key) -> bool:
        """Tell whether it is about an alarm."""
        return fnmatchcase(key.rule, self.rule) and fnmatchcase(key.subject, self.subject)


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm has another state now, as people see it."""

    key: Key
    state: str
    severity: str
    value: float | None
    message: str
    time: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody is to be told of an alarm: ``firing``, ``latched``, ``escalated`` or ``resolved``."""

    what: str
    key: Key
    severity: str
    targets: tuple[str, ...]
    since: float
    time: float
    value: float | None
    message: str


class Board:
    """The alarms, and the mutes.

    Attributes:
        alarms: those that are not ok.
        mutes: those in force.
        refused: how many alarms found no room.
        touched: set when something has changed that the next run has to know; to be cleared by who has kept it.
    """

    def __init__(self) -> None:
        self.alarms: dict[Key, Alarm] = {}
        self.mutes: list[Mute] = []
        self.refused = 0
        self.touched = False
        self.rules: Mapping[str, Rule] = {}
        self._by_agent: dict[str, set[Key]] = {}
        self._states: dict[Key, str] = {}
        self._changes: list[Change] = []
        self._notices: list[Notice] = []

    # What is seen

    def see(self, rule: Rule, subject: str, sight: Sight, now: float) -> None:
        """Take in what has been seen of a rule's subject.

        Args:
            rule: the rule.
            subject: what was looked at; up to its first dot, the instance-id of an agent.
            sight: what was seen.
            now: unix s.
        """
        key = Key(rule.name, subject)
        before = self.alarms.get(key)
        if before is None and (not sight.bad or not self._has_room()):
            return
        wait = 0.0 if rule.kind is Kind.NO_DATA else rule.wait  # the silence has lasted for as long already
        self._put(key, after_sight(before, sight, now, wait=wait, latch=rule.latch), now)

    def _has_room(self) -> bool:
        if len(self.alarms) < MAX_ALARMS:
            return True
        self.refused += 1
        return False

    def tick(self, now: float) -> None:
        """Let time pass: pending alarms ripen, mutes end, alarms that nobody acknowledges are escalated."""
        for _ in self.turns(now):
            pass

    def turns(self, now: float) -> Iterator[None]:
        """Do what `tick` does; yields where others may have a turn."""
        left = [mute for mute in self.mutes if mute.until > now]
        mutes_ended, self.mutes = len(left) < len(self.mutes), left
        for number, key in enumerate(list(self.alarms)):
            alarm = self.alarms.get(key)  # it may have ended in others' turns
            if alarm is not None and (mutes_ended or self._may_be_due(key, alarm)):
                self._put(key, after_time(alarm, now), now)
            if number % SLICE == SLICE - 1:
                yield

    def _may_be_due(self, key: Key, alarm: Alarm) -> bool:
        """Tell cheaply whether time can do anything to an alarm; to most of a thousand it cannot."""
        rule = self.rules.get(key.rule)
        waits = alarm.phase is Phase.PENDING or alarm.told_at is None
        return rule is not None and (waits or (alarm.steps < len(rule.escalate) and not alarm.acknowledged_by))

    def set_rules(self, rules: Iterable[Rule], still: Callable[[Rule, str], bool], now: float) -> None:
        """Go by other rules from now on; alarms that none of them is about any more are over.

        Args:
            rules: the rules.
            still: tells whether a rule is about a subject.
            now: unix s.
        """
        before, self.rules = self.rules, {rule.name: rule for rule in rules}
        for key in list(self.alarms):
            rule = self.rules.get(key.rule)
            if rule is None or not still(rule, key.subject):
                self._put(key, None, now, rule or before.get(key.rule))

    def of_agent(self, instance_id: str) -> list[tuple[Key, Alarm]]:
        """Return the alarms that are about an agent."""
        return [(key, self.alarms[key]) for key in self._by_agent.get(instance_id, ())]

    # What people do

    def acknowledge(self, rule: str, subject: str, by: str, comment: str, now: float) -> int:
        """Note that somebody looks after alarms; return how many.

        Args:
            rule: a rule's name, or a glob.
            subject: a subject, or a glob.
            by: who.
            comment: what they have to say.
            now: unix s.

        Raises:
            WatcherError: there is no such alarm.
        """
        keys = [key for key in self._fitting(rule, subject) if self.alarms[key].phase is not Phase.PENDING]
        if not keys:
            raise WatcherError(f"{_named(rule, subject)} is no alarm now; there is: {self._some()}")
        for key in keys:
            self._put(key, after_acknowledging(self.alarms[key], by, comment, now), now)
        return len(keys)

    def reset(self, rule: str, subject: str, now: float, *, is_gone: Callable[[str], bool]) -> list[Key]:
        """End latched alarms, and those about agents that are gone; return which. Others stay, with their cause.

        Args:
            rule: a rule's name, or a glob.
            subject: a subject, or a glob.
            now: unix s.
            is_gone: tells whether an agent of this instance-id is not there any more.

        Raises:
            WatcherError: there is none.
        """
        keys = [
            key
            for key in self._fitting(rule, subject)
            if self.alarms[key].phase is Phase.LATCHED or is_gone(key.subject.partition(".")[0])
        ]
        if not keys:
            raise WatcherError(f"{_named(rule, subject)} is not latched: there is nothing to reset")
        for key in keys:
            self._put(key, None, now)
        return keys

    def mute(self, mute: Mute, now: float) -> None:
        """Tell nobody of alarms for a while; a mute of the same alarms is replaced.

        Raises:
            WatcherError: there is no such rule, or there are too many mutes.
        """
        if not any(fnmatchcase(name, mute.rule) for name in self.rules):
            raise WatcherError(f"there is no rule '{mute.rule:.100}'; there is: {', '.join(self.rules) or 'none'}")
        others = [other for other in self.mutes if (other.rule, other.subject) != (mute.rule, mute.subject)]
        if len(others) >= MAX_MUTES:
            raise WatcherError(f"there are {MAX_MUTES} mutes already: use patterns, or unmute some")
        self.mutes = [*others, mute]
        self._touch_all(now)

    def unmute(self, rule: str, subject: str, now: float) -> int:
        """End mutes; return how many.

        Raises:
            WatcherError: there is no such mute.
        """
        left = [mute for mute in self.mutes if not (mute.rule == rule and mute.subject == subject)]
        ended = len(self.mutes) - len(left)
        if not ended:
            known = ", ".join(_named(mute.rule, mute.subject) for mute in self.mutes) or "nothing"
            raise WatcherError(f"{_named(rule, subject)} is not muted; muted is: {known}")
        self.mutes = left
        self._touch_all(now)
        return ended

    def _touch_all(self, now: float) -> None:
        self.touched = True
        for key, alarm in list(self.alarms.items()):
            self._put(key, alarm, now)

    def _fitting(self, rule: str, subject: str) -> list[Key]:
        return [key for key in self.alarms if fnmatchcase(key.rule, rule) and fnmatchcase(key.subject, subject)]

    def _some(self) -> str:
        keys = [_named(*key) for key, alarm in self.alarms.items() if alarm.phase is not Phase.PENDING]
        return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "") or "none"  # noqa: PLR2004 - a line

    # What follows

    def _put(self, key: Key, alarm: Alarm | None, now: float, rule: Rule | None = None) -> None:
        """Put an alarm in the place of what was there, and note what is to be told of it."""
        rule = rule or self.rules.get(key.rule)
        before, muted = self.alarms.get(key), self._is_muted(key)
        self._note_change(key, alarm or before, state_of(alarm, muted=muted), rule, now)
        if rule is not None and not muted:
            alarm = self._tell(key, before, alarm, rule, now)
        self.touched |= _essence(alarm) != _essence(before)
        if alarm is None:
            self._remove(key)
        elif alarm is not before:
            self.alarms[key] = alarm
            self._by_agent.setdefault(key.subject.partition(".")[0], set()).add(key)

    def _remove(self, key: Key) -> None:
        self.alarms.pop(key, None)
        agent = key.subject.partition(".")[0]
        keys = self._by_agent.get(agent, set())
        keys.discard(key)
        if not keys:
            self._by_agent.pop(agent, None)

    def _note_change(self, key: Key, alarm: Alarm | None, state: str, rule: Rule | None, now: float) -> None:
        if state == self._states.get(key, "ok") or alarm is None:
            return
        if state == "ok":
            del self._states[key]
        else:
            self._states[key] = state
        severity = rule.severity if rule else SEVERITIES[0]
        self._changes.append(Change(key, state, severity, alarm.value, alarm.message, now))

    def _tell(self, key: Key, before: Alarm | None, alarm: Alarm | None, rule: Rule, now: float) -> Alarm | None:
        """Note who is to be told what, and return the alarm as one that they have been told of."""
        if alarm is None:
            if before is not None and before.told:
                self._notice("resolved", key, before, rule, before.told, now)
            return None
        if alarm.phase is Phase.PENDING or alarm.acknowledged_by:
            return alarm
        if alarm.told_at is None:
            self._notice(str(alarm.phase), key, alarm, rule, rule.notify, now)
            return replace(alarm, told_at=now, told=tuple(dict.fromkeys((*alarm.told, *rule.notify))))
        if alarm.phase is Phase.LATCHED and before is not None and before.phase is Phase.FIRING:
            self._notice("latched", key, alarm, rule, alarm.told, now)
        return self._escalate(key, alarm, rule, now)

    def _escalate(self, key: Key, alarm: Alarm, rule: Rule, now: float) -> Alarm:
        while alarm.told_at is not None and alarm.steps < len(rule.escalate):
            step = rule.escalate[alarm.steps]
            if now < alarm.told_at + step.after:
                break
            self._notice("escalated", key, alarm, rule, step.targets, now)
            told = tuple(dict.fromkeys((*alarm.told, *step.targets)))
            alarm = replace(alarm, steps=alarm.steps + 1, told=told)
        return alarm

    def _notice(self, what: str, key: Key, alarm: Alarm, rule: Rule, targets: tuple[str, ...], now: float) -> None:
        if targets:
            self._notices.append(
                Notice(what, key, rule.severity, targets, alarm.since, now, alarm.value, alarm.message)
            )

    def _is_muted(self, key: Key) -> bool:
        return any(mute.fits(key) for mute in self.mutes)

    def take_changes(self) -> list[Change]:
        """Return what has changed since the last time."""
        changes, self._changes = self._changes, []
        return changes

    def take_notices(self) -> list[Notice]:
        """Return what is to be told since the last time."""
        notices, self._notices = self._notices, []
        return notices

    # What is shown

    def shown(self, most: int) -> list[dict[str, Any]]:
        """Return the alarms as clients see them, the worst first.

        Args:
            most: how many.
        """

        def rank(key: Key) -> tuple[int, bool, float]:
            alarm = self.alarms[key]
            return -SEVERITIES.index(self._severity(key)), alarm.phase is Phase.PENDING, alarm.since

        keys = nsmallest(most, self.alarms, key=rank)
        return [as_shown(key, self.alarms[key], self._severity(key), muted=self._is_muted(key)) for key in keys]

    def _severity(self, key: Key) -> str:
        rule = self.rules.get(key.rule)
        return rule.severity if rule else SEVERITIES[0]

    def counts(self) -> dict[str, int]:
        """Return how many alarms are in each state."""
        found: dict[str, int] = {}
        for state in self._states.values():
            found[state] = found.get(state, 0) + 1
        return found

    def restore(self, alarms: Mapping[Key, Alarm], mutes: Iterable[Mute]) -> None:
        """Take up what an earlier run has left; what was told then is not told again."""
        self.mutes = list(mutes)[:MAX_MUTES]
        for key, alarm in list(alarms.items())[:MAX_ALARMS]:
            self.alarms[key] = alarm
            self._by_agent.setdefault(key.subject.partition(".")[0], set()).add(key)
            self._states[key] = state_of(alarm, muted=self._is_muted(key))


def _essence(alarm: Alarm | None) -> Alarm | None:
    """Return an alarm without what changes with every value."""
    return None if alarm is None else replace(alarm, value=None, message="")


def _named(rule: str, subject: str) -> str:
    return f"{rule:.100} of {subject:.100}"
