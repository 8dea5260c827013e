"""One alarm: the states that it goes through, as a pure function of what is seen and done."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

__all__ = ["Alarm", "Key", "Phase", "Sight", "after_acknowledging", "after_sight", "after_time", "as_shown", "state_of"]


class Key(NamedTuple):
    """What an alarm is known by."""

    rule: str
    subject: str


class Phase(StrEnum):
    """Where an alarm is in its life; what has none is ok."""

    PENDING = "pending"
    """Its cause is there, but has not been for long enough."""
    FIRING = "firing"
    LATCHED = "latched"
    """Its cause has gone, and nobody has reset it yet."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What has been seen of a rule's subject.

    Attributes:
        bad: whether the cause of an alarm is there; None: it cannot be told now.
        value: the figure that it was decided by.
        message: what is wrong, for a person.
    """

    bad: bool | None
    value: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm from its first sign to its end."""

    phase: Phase
    since: float
    """When its cause came about (unix s)."""
    ripe: float
    """When it fires, or has fired (unix s)."""
    value: float | None = None
    message: str = ""
    acknowledged_by: str = ""
    comment: str = ""
    acknowledged_at: float | None = None
    """When it was acknowledged (unix s)."""
    told_at: float | None = None
    """When people have first been told (unix s)."""
    steps: int = 0
    """How far it has been escalated."""
    told: tuple[str, ...] = field(default=())
    """The targets that have been told, and will be told when it is over."""


def after_sight(alarm: Alarm | None, sight: Sight, now: float, *, wait: float, latch: bool) -> Alarm | None:
    """Return what becomes of an alarm by what has been seen.

    Args:
        alarm: as it is; None: all is well.
        sight: what has been seen.
        now: unix s.
        wait: how long the cause has to be there before the alarm fires, in seconds.
        latch: whether it stays when its cause has gone.
    """
    if sight.bad is None:
        return None if alarm is not None and alarm.phase is Phase.PENDING else alarm
    if not sight.bad:
        return _without_cause(alarm, latch=latch)
    if alarm is None or alarm.phase is Phase.LATCHED:
        began = Alarm(Phase.PENDING, now, now + wait, sight.value, sight.message)
        if alarm is not None:  # it is being shown; a new occurrence, which nobody has acknowledged
            began = replace(began, phase=Phase.FIRING, ripe=now, told=alarm.told)
        return after_time(began, now)
    return after_time(replace(alarm, value=sight.value, message=sight.message), now)


def _without_cause(alarm: Alarm | None, *, latch: bool) -> Alarm | None:
    if alarm is None or alarm.phase is Phase.PENDING:
        return None
    return replace(alarm, phase=Phase.LATCHED) if latch else None


def after_time(alarm: Alarm, now: float) -> Alarm:
    """Return what becomes of an alarm by the time that passes: a pending one ripens."""
    ripe = alarm.phase is Phase.PENDING and now >= alarm.ripe
    return replace(alarm, phase=Phase.FIRING, ripe=now) if ripe else alarm


def after_acknowledging(alarm: Alarm, by: str, comment: str, now: float) -> Alarm:
    """Return an alarm that somebody looks after: it is neither told nor escalated any further."""
    return replace(alarm, acknowledged_by=by, comment=comment, acknowledged_at=now)


def state_of(alarm: Alarm | None, *, muted: bool) -> str:
    """Return the state as people see it: ok, pending, firing, acknowledged, muted or latched."""
    if alarm is None:
        return "ok"
    if muted and alarm.phase is not Phase.PENDING:
        return "muted"
    if alarm.phase is Phase.FIRING and alarm.acknowledged_by:
        return "acknowledged"
    return str(alarm.phase)


def as_shown(key: Key, alarm: Alarm, severity: str, *, muted: bool) -> dict[str, Any]:
    """Return an alarm as clients see it."""
    return {
        "rule": key.rule,
        "subject": key.subject,
        "severity": severity,
        "state": state_of(alarm, muted=muted),
        "since": alarm.since,
        "value": alarm.value,
        "message": alarm.message,
        "acknowledged_by": alarm.acknowledged_by or None,
        "comment": alarm.comment,
    }
