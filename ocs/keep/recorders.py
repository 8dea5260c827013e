"""Which recorders an agent knows, what each of them has, and which are away."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FORGET_LAST_S", "FORGET_S", "MOST_RECORDERS", "Recorder", "Recorders"]

FORGET_S = 86_400.0
"""How long nothing is heard of a recorder, in seconds, until nothing is kept for it any more."""
FORGET_LAST_S = 7 * FORGET_S
"""The same for one beside which no other has called: it may only be a long weekend."""
MOST_RECORDERS = 16

_MISSED_CALLS = 2.5
_LEAST_PATIENCE = 1.0


@dataclass(slots=True)
class Recorder:
    """One recorder.

    Attributes:
        every: how often it means to call, in seconds.
        contact: when it last called, by the monotonic clock.
        have: of each run, the number below which it has everything.
    """

    every: float
    contact: float
    have: dict[str, int] = field(default_factory=dict)

    @property
    def patience(self) -> float:
        """How long it may be silent before it is taken for away, in seconds."""
        return _MISSED_CALLS * self.every


class Recorders:
    """The recorders that are known. Times are those of a monotonic clock."""

    def __init__(self) -> None:
        self._known: dict[str, Recorder] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    @property
    def known(self) -> Mapping[str, Recorder]:
        """Each recorder by its id."""
        return self._known

    def meet(self, name: str, every: float, contact: float) -> Recorder:
        """Note a call, of a new recorder or one that is known; at most 16 are known, the longest silent goes."""
        recorder = self._known.get(name)
        if recorder is None:
            recorder = self._known[name] = Recorder(every, contact)
            if len(self._known) > MOST_RECORDERS:
                others = (other for other in self._known if other != name)
                del self._known[min(others, key=lambda other: self._known[other].contact)]
        recorder.every, recorder.contact = every, contact
        return recorder

    def leave(self, name: str) -> None:
        """Keep nothing for a recorder any more."""
        self._known.pop(name, None)

    def forget(self, now: float) -> list[str]:
        """Forget those that have been silent for too long.

        Returns:
            Their ids.
        """
        silent = {name: now - recorder.contact for name, recorder in self._known.items()}
        limit = FORGET_S if min(silent.values(), default=0) <= FORGET_S else FORGET_LAST_S
        gone = [name for name, age in silent.items() if age > limit]
        for name in gone:
            del self._known[name]
        return gone

    def floor(self, run: str) -> int | None:
        """Return the number below which all have everything of a run; None if there is no recorder."""
        return min((recorder.have.get(run, 0) for recorder in self._known.values()), default=None)

    def away(self, now: float) -> bool:
        """Tell whether there is a recorder that should have called and has not."""
        return any(now - recorder.contact > recorder.patience for recorder in self._known.values())

    @property
    def patience(self) -> float:
        """How long a message may stay unconfirmed while all recorders call, in seconds."""
        return max(_LEAST_PATIENCE, max((recorder.patience for recorder in self._known.values()), default=math.inf))
