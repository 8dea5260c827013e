"""The watcher's time: shown as that of day, but going as steadily as a clock that nobody sets."""

from collections.abc import Callable

from ocs.presence.roster import Moment

__all__ = ["apart", "moment_of"]

STEP = 1e-6
"""Seconds between samples of the same moment."""
LARGEST_DRIFT = 60.0
"""Where the time of day has been set by more than this, in seconds, the watcher's own follows it."""


def moment_of(read: Callable[[], Moment]) -> Callable[[], Moment]:
    """Return a function that tells the present; setting the machine's clock by less than a minute does not move it.

    Alarms ripen and mutes end by the time of day, since that is what survives a restart.

    Args:
        read: reads both clocks.
    """
    ahead = 0.0

    def now() -> Moment:
        nonlocal ahead
        moment = read()
        if abs(moment.wall - moment.steady - ahead) > LARGEST_DRIFT:
            ahead = moment.wall - moment.steady
        return Moment(moment.steady + ahead, moment.steady)

    return now


def apart(when: float, before: float) -> float:
    """Return a time that no other sample has: of samples of one moment, a database keeps the last alone.

    Args:
        when: what the sample is about happened (unix s).
        before: the time of the sample before; one from before the clock was set does not count.
    """
    return before + STEP if when <= before < when + 1.0 else when
