"""When which agent is asked what: checks, which tell it what is safe, and fetches. Pure: no I/O, no clock.

To each agent one call at a time is under way, so what an answer means never depends on another.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final

from ocs.agents.aggregator.presence import Presence
from ocs.agents.aggregator.publisher import Publisher, Request
from ocs.agents.aggregator.stream import Stream

__all__ = ["BATCH_BYTES", "EVERY_PER_AGENT", "MAX_CHECKS", "MAX_FETCHES", "QUIET", "Asking", "pause"]

MAX_FETCHES: Final = 4
"""Fetches under way at once: what comes has to be held until it is in the journal."""

MAX_CHECKS: Final = 50
"""Checks begun at once."""

BATCH_BYTES: Final = 1 << 20
"""What a fetch asks for; half as much after each failure, in case it was too much for somebody on the way."""

EVERY_PER_AGENT: Final = 0.01
"""Seconds between two calls to whomever."""

QUIET: Final = 2.0
"""How many times as long an agent of which nothing comes is left alone: it would take us for away after 2.5 times."""

_LONGEST_PAUSE: Final = 10.0
_SHORTEST_PAUSE: Final = 0.25
_MOST_DOUBLINGS: Final = 6
_SLEEP_AFTER: Final = 8
"""Failures after which an agent without a heartbeat is not called any more, until it is heard of."""


def pause(failures: int) -> float:
    """Return how long to wait (s) after something failed so many times before."""
    return min(_LONGEST_PAUSE, _SHORTEST_PAUSE * (1 << min(failures, _MOST_DOUBLINGS)))


class Asking:
    """Decides whom to ask. Our own link is taken for down at first.

    Args:
        recorder_id: by which the agents know this recorder.
        since: when this recorder began to record (unix, s).
        every: how often an agent of which messages come is called (s); with many agents less often.
        agents: all that are known.
        presence: which of them are on.

    Attributes:
        now: the time (s) of the last turn.
    """

    def __init__(
        self, recorder_id: str, since: float, every: float, agents: Mapping[str, Publisher], presence: Presence
    ) -> None:
        self.now = -inf
        self._id = recorder_id
        self._since = since
        self._every = every
        self._agents = agents
        self._presence = presence
        self._up = False
        self._hungry: OrderedDict[str, None] = OrderedDict()
        """Agents with streams that are behind; the one whose turn is next comes first."""
        self._due: list[tuple[float, str]] = []
        """A heap of when to check whom; what an agent's `due` does not confirm is void."""
        self._fetching: set[str] = set()
        self._turn = 0

    @property
    def every(self) -> float:
        """Seconds between two calls of an agent of which messages come."""
        return max(self._every, EVERY_PER_AGENT * len(self._presence))

    @property
    def behind(self) -> int:
        """How many streams are behind."""
        return sum(stream.behind for stream in self._hungry_streams())

    def _hungry_streams(self) -> Iterator[Stream]:
        for address in self._hungry:
            if address in self._agents:
                yield from self._agents[address].runs.values()

    # What there is to ask

    def wake(self, agent: Publisher) -> bool:
        """Have an agent checked that was asleep: it has been heard of. Return whether it was."""
        if not (agent.asleep and self._up):
            return False
        agent.start_anew()
        self._hasten(agent, self.now)
        return True

    def recheck(self, agent: Publisher) -> None:
        """Have an agent checked before anything more is fetched from it."""
        agent.checked = False
        if not agent.asleep:
            self._hasten(agent, self.now)

    def tell(self, agent: Publisher) -> None:
        """Have an agent told what is safe."""
        self._hasten(agent, agent.checked_at + self.every)

    def feed(self, agent: Publisher) -> None:
        """Have fetched what is missing of an agent's streams."""
        if agent.behind:
            self._hungry.setdefault(agent.address)

    def _hasten(self, agent: Publisher, due: float) -> None:
        due = max(due, agent.not_before)
        if self._up and agent.call is None and due < agent.due:
            agent.due = due
            heapq.heappush(self._due, (due, agent.address))

    # Asking

    def requests(self, now: float, *, room: bool) -> list[Request]:
        """Return what is to be asked now, if our link is up."""
        if now < self.now:
            self._restart_clock(now)
        self.now = now
        if not self._up:
            return []
        if not room:
            self._excuse()
        return [*self._checks(), *(self._fetches() if room else ())]

    def fetches(self, now: float, *, room: bool) -> list[Request]:
        """Return what is to be fetched at once, since something was answered; checks wait for their turn."""
        if not (self._up and room and now >= self.now):
            return []
        self.now = now
        return list(self._fetches())

    def _restart_clock(self, now: float) -> None:
        self._due.clear()
        for agent in self._agents.values():
            due, agent.due = agent.due, inf
            agent.checked_at = min(agent.checked_at, now)
            agent.start_anew()
            if due < inf:
                self._hasten(agent, now)

    def _excuse(self) -> None:
        """Note that nobody could fill a gap: there is no room for it."""
        for stream in self._hungry_streams():
            stream.stuck = None

    def _checks(self) -> Iterator[Request]:
        count = 0
        while self._due and self._due[0][0] <= self.now and count < MAX_CHECKS:
            due, address = heapq.heappop(self._due)
            agent = self._agents.get(address)
            if agent is not None and agent.due == due:
                count += 1
                yield self._check(agent)

    def _check(self, agent: Publisher) -> Request:
        for stream in agent.runs.values():
            stream.recent = 0
        agent.checked_at = self.now
        return self._ask(agent, have=agent.have)

    def _fetches(self) -> Iterator[Request]:
        for address in list(self._hungry):
            agent = self._agents.get(address)
            if len(self._fetching) >= MAX_FETCHES:
                return
            if agent is None or not agent.behind:
                del self._hungry[address]
            elif stream := agent.to_fetch(self.now):
                self._hungry.move_to_end(address)
                yield self._fetch(agent, stream)

    def _fetch(self, agent: Publisher, stream: Stream) -> Request:
        self._turn += 1
        stream.turn = self._turn
        self._fetching.add(agent.address)
        since = self._since if stream.next < stream.wanted else 0.0
        limit = BATCH_BYTES >> min(stream.failures, _MOST_DOUBLINGS)
        return self._ask(agent, run=stream.key[1], since=since, limit=limit, **{"from": stream.next})

    def _ask(self, agent: Publisher, **body: Any) -> Request:
        agent.due = inf
        agent.call = Request(agent.address, {"recorder": self._id, "every": self.every, **body})
        return agent.call

    def farewells(self) -> list[Request]:
        """Return what to say to all agents, for them to keep nothing for this recorder."""
        return [Request(address, {"recorder": self._id, "leave": True}) for address in self._agents]

    # Afterwards

    def end_call(self, request: Request) -> Publisher | None:
        """Return whose call has ended; None if nobody waits for it any more. `schedule` has to follow."""
        agent = self._agents.get(request.agent)
        if agent is None or agent.call is not request:
            return None
        agent.call = None
        self._fetching.discard(agent.address)
        return agent

    def schedule(self, agent: Publisher) -> None:
        """Set when to check an agent next, after a call."""
        if agent.failures > _SLEEP_AFTER and not self._presence.is_on(agent.address):
            return
        self._hasten(agent, agent.checked_at + QUIET * self.every)
        if not agent.checked:
            self._hasten(agent, self.now)
        elif agent.is_awaiting:
            self.tell(agent)

    def link_up(self) -> None:
        """Our own link is up: every agent is checked when it is heard of."""
        self.link_down()
        self._up = True

    def link_down(self) -> None:
        """Our own link is down: what was asked will not be answered."""
        self._up = False
        self._fetching.clear()
        self._due.clear()
        for agent in self._agents.values():
            agent.call, agent.checked, agent.due = None, False, inf
            agent.start_anew()
