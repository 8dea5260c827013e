"""Who is alive, and in which state each operation is: free of WAMP and of the clock.

Everything here is done in the reactor's thread. What a heartbeat costs depends on its own agent only, and what a tick
costs on the agents that have something due, never on how many agents there are.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from ocs.base import OpCode
from ocs.presence.heartbeat import MalformedHeartbeatError, check_op_codes, read_heartbeat
from ocs.presence.timetable import Timetable

__all__ = ["MAX_AGENTS", "Moment", "RegisteredAgent", "Roster"]

MAX_AGENTS = 50_000
"""Agents that are remembered, dead or alive; a bound on what a publisher of made-up addresses can do."""


class Moment(NamedTuple):
    """Now, by two clocks: the wall's is shown to people; the steady one decides, since nobody sets it."""

    wall: float
    """Unix seconds."""
    steady: float
    """Seconds since some start."""

    @classmethod
    def now(cls) -> Self:
        """Read both clocks."""
        return cls(time.time(), time.monotonic())


class RegisteredAgent:
    """What the registry knows of one agent. Its attributes are the entry of ``session.data``.

    Args:
        feed: the envelope of the agent's heartbeat feed.
        now: unix seconds; the present unless given.

    Attributes:
        expired: whether the agent has fallen silent.
        time_expired: when that happened (unix s), None while it is alive.
        last_updated: when it was last heard (unix s).
        op_codes: the state of each operation, by name.
        agent_class: the agent's class.
        agent_address: the agent's address.
    """

    def __init__(self, feed: Mapping[str, Any], now: float | None = None) -> None:
        self.expired = False
        self.time_expired: float | None = None
        self.last_updated = time.time() if now is None else now
        self.op_codes: dict[str, int] = {}
        self.agent_class: str | None = feed.get("agent_class")
        self.agent_address: str = feed["agent_address"]

    def refresh(self, op_codes: Mapping[str, int] | None = None, now: float | None = None) -> None:
        """Note that the agent is alive.

        Args:
            op_codes: the states of all its operations; None leaves them as they are.
            now: unix seconds; the present unless given.
        """
        self.expired = False
        self.time_expired = None
        self.last_updated = time.time() if now is None else now
        if op_codes is not None:
            self.op_codes = dict(op_codes)

    def expire(self, when: float | None = None) -> None:
        """Note that the agent has fallen silent; the first time counts.

        Args:
            when: unix seconds; the present unless given.
        """
        if self.expired:
            return
        self.expired = True
        self.time_expired = time.time() if when is None else when
        self.op_codes = dict.fromkeys(self.op_codes, int(OpCode.EXPIRED))

    def encoded(self) -> dict[str, Any]:
        """Return a copy of the entry."""
        return {**vars(self), "op_codes": dict(self.op_codes)}


class Roster:
    """All agents that have been heard.

    Args:
        timeout: an agent that is silent for longer has expired, in seconds.
        max_agents: how many are remembered; beyond that the one that expired first makes room for a new one.

    Attributes:
        agents: by address.
        records: the entry of each agent, by address; always up to date, without being rebuilt.
        heartbeats: how many have come.
        malformed: how many of them were none.
        forgotten: how many expired agents had to make room.
        refused: how many heartbeats of new agents found no room.
    """

    def __init__(self, timeout: float, max_agents: int = MAX_AGENTS) -> None:
        self.agents: dict[str, RegisteredAgent] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.heartbeats = self.malformed = self.forgotten = self.refused = 0
        self._timeout = timeout
        self._max_agents = max_agents
        self._alive = Timetable()
        self._expired = Timetable()
        self._published = Timetable()
        self._last_awake = float("-inf")
        self._hearing_since = float("-inf")

    def hear(self, event: Any, now: Moment) -> RegisteredAgent | None:
        """Take in a heartbeat.

        Args:
            event: what came on a heartbeat topic, whatever it is.
            now: when it came.

        Returns:
            The agent, if it is new, alive again, or the state of an operation has changed; else None.

        Raises:
            MalformedHeartbeatError: if it is no heartbeat; it has been counted, and nothing else has changed.
        """
        self.heartbeats += 1
        self._awake(now)
        try:
            heartbeat = read_heartbeat(event)
            known = self.agents.get(heartbeat.address)
            news = known is None or known.expired or known.op_codes != heartbeat.op_codes
            codes = check_op_codes(heartbeat) if news else None
        except MalformedHeartbeatError:
            self.malformed += 1
            raise
        agent = known or self._admit({"agent_address": heartbeat.address}, now)
        if agent is None:
            return None
        agent.agent_class = heartbeat.agent_class
        agent.refresh(codes, now.wall)
        self._alive.touch(heartbeat.address, now.steady)
        self._expired.forget(heartbeat.address)
        return agent if news else None

    def _admit(self, feed: Mapping[str, Any], now: Moment) -> RegisteredAgent | None:
        if len(self.agents) >= self._max_agents and not self._make_room():
            self.refused += 1
            return None
        agent = RegisteredAgent(feed, now.wall)
        self.agents[agent.agent_address] = agent
        self.records[agent.agent_address] = vars(agent)
        return agent

    def _make_room(self) -> bool:
        address = self._expired.oldest()
        if address is None:
            return False
        self._drop(address)
        self.forgotten += 1
        return True

    def forget(self, address: str) -> bool:
        """Remember an expired agent no longer, as if it had never been heard; return whether there was one.

        Args:
            address: the agent's address.
        """
        if address not in self._expired:
            return False
        self._drop(address)
        return True

    def _drop(self, address: str) -> None:
        del self.agents[address], self.records[address]
        self._expired.forget(address)
        self._published.forget(address)

    def _awake(self, now: Moment) -> None:
        """Note that the registry is at work.

        After a pause as long as the timeout (the machine slept, the process was stopped) nothing has been heard of
        anybody: all agents get the full timeout anew before one counts as silent.
        """
        if now.steady - self._last_awake > self._timeout:
            self._hearing_since = now.steady
        self._last_awake = now.steady

    def expire_silent(self, now: Moment, limit: int) -> list[RegisteredAgent]:
        """Expire the agents that have been silent for longer than the timeout.

        Their ``time_expired`` is the moment at which the timeout ran out, however late it is noticed.

        Args:
            now: the present.
            limit: expire no more than this at once.

        Returns:
            Those that have just expired.
        """
        self._awake(now)
        if now.steady - self._hearing_since <= self._timeout:
            return []
        silent = self._alive.overdue(now.steady - self._timeout, limit)
        return [self._expire(address, heard, now) for address, heard in silent]

    def _expire(self, address: str, heard: float, now: Moment) -> RegisteredAgent:
        ran_out = max(heard, self._hearing_since) + self._timeout
        agent = self.agents[address]
        agent.expire(now.wall - (now.steady - ran_out))
        self._alive.forget(address)
        self._expired.touch(address, now.steady)
        return agent

    def due(self, now: Moment, wait_time: float, limit: int) -> list[RegisteredAgent]:
        """Find the agents whose op codes were published longest ago.

        Args:
            now: the present.
            wait_time: how old a publication may be, in seconds.
            limit: return no more than this.
        """
        overdue = self._published.overdue(now.steady - wait_time, limit)
        return [self.agents[address] for address, _ in overdue]

    def published(self, agent: RegisteredAgent, now: Moment) -> None:
        """Note that an agent's op codes have just been published."""
        self._published.touch(agent.agent_address, now.steady)

    def publish_all_again(self) -> None:
        """Make the op codes of every agent due."""
        for address in self.agents:
            self._published.hurry(address)

    def counts(self) -> dict[str, int]:
        """Return how many agents, and how many heartbeats of which kind, there have been."""
        return {
            "agents": len(self.agents),
            "expired": len(self._expired),
            "heartbeats": self.heartbeats,
            "malformed": self.malformed,
            "forgotten": self.forgotten,
            "refused": self.refused,
        }
