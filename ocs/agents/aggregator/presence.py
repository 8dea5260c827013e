"""Which agents are on, by their heartbeats. Pure: time comes in, notes go out."""

from collections import OrderedDict
from typing import Final, NamedTuple

from ocs.agents.aggregator.notes import Note

__all__ = ["GRACE", "MAX_AGENTS", "OFF_AFTER", "Presence"]

OFF_AFTER: Final = 10.0
"""Seconds without a heartbeat after which an agent is off; it beats once a second."""

GRACE: Final = 15.0
"""Seconds after our own link came up before anybody is declared off: others are finding their way back too."""

MAX_AGENTS: Final = 20_000

_STEP: Final = 5.0
"""Seconds between two looks beyond which our own clock was set, or we slept: that says nothing about agents."""


class _Beat(NamedTuple):
    session_id: str
    when: float


class Presence:
    """Tells who comes and who goes. Our own link is taken for down at first."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Beat] = OrderedDict()
        """Agents that are on, the one heard of longest ago first."""
        self._ended: dict[str, str] = {}
        """Agent → session id of the run before, of agents that are on."""
        self._up = False
        self._grace_until: float | None = None
        self._looked: float | None = None

    def __len__(self) -> int:
        return len(self._last)

    def is_on(self, agent: str) -> bool:
        """Tell whether the agent's heart beats, as far as is known."""
        return agent in self._last

    def beat(self, agent: str, session_id: str, now: float) -> list[Note]:
        """Take a heartbeat.

        Args:
            agent: its address.
            session_id: its run.
            now: the time (unix, s).

        Returns:
            What there is to note: that the agent is on, perhaps that its run before is off.
        """
        last = self._last.get(agent)
        if last is None:
            return self._on(agent, session_id, now) if len(self._last) < MAX_AGENTS else []
        if last.session_id == session_id:
            self._last[agent] = _Beat(session_id, now)
            self._last.move_to_end(agent)
            return []
        if self._ended.get(agent) == session_id:
            return []  # a straggler; or a second agent at the same address: to note each beat would help nobody
        off = self._off(agent)
        self._ended[agent] = last.session_id
        return [off, *self._on(agent, session_id, now)]

    def _on(self, agent: str, session_id: str, now: float) -> list[Note]:
        self._last[agent] = _Beat(session_id, now)
        return [Note("on", agent, now, None, 0, session_id)]

    def _off(self, agent: str) -> Note:
        beat = self._last.pop(agent)
        self._ended.pop(agent, None)
        return Note("off", agent, beat.when, None, 0, beat.session_id)

    def tick(self, now: float) -> list[Note]:
        """Look who has gone silent.

        Args:
            now: the time (unix, s).

        Returns:
            A note for each.
        """
        if self._looked is not None and not 0 <= now - self._looked <= _STEP:
            self._restart_clock(now)
        self._looked = now
        if not self._may_tell(now):
            return []
        notes = []
        while self._last and now - next(iter(self._last.values())).when > OFF_AFTER:
            notes.append(self._off(next(iter(self._last))))
        return notes

    def _restart_clock(self, now: float) -> None:
        self._grace_until = None
        for agent, beat in self._last.items():
            self._last[agent] = beat._replace(when=min(beat.when, now))

    def _may_tell(self, now: float) -> bool:
        if self._up and self._grace_until is None:
            self._grace_until = now + GRACE
        return self._up and self._grace_until is not None and now >= self._grace_until

    def link_up(self) -> None:
        """Our own link is up."""
        self._up, self._grace_until = True, None

    def link_down(self) -> None:
        """Our own link is down: nothing is known of anybody."""
        self._up = False
