"""What an observer learns of a site by listening to its feeds: who lives, what runs, how fast data comes.

Bookkeeping alone: `SiteMonitor.feed` takes what WAMP subscriptions to `{root}..feeds.` deliver (heartbeats are among
those events), `SiteMonitor.agents` answers. Memory is bounded, and nobody's malformed event does harm.
"""

import math
import reprlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AgentView", "LastMessage", "RateWindow", "SiteMonitor", "samples_in", "summary_of"]

EXPIRE_AFTER = 5.0
"""Silence after which an agent counts as gone, in seconds: what the registry uses."""

RATE_WINDOW = 10.0
"""Time over which rates are averaged, in seconds: several of the buffers of 1 s in which most feeds send."""

_TEXT_LIMIT = 200

_TEXT_INTERVAL = 0.25
"""The gist of an agent's messages is not made more often than this, in seconds: nobody could read it."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _TEXT_LIMIT


@dataclass(frozen=True, slots=True)
class LastMessage:
    """The last thing an agent published besides its heartbeat."""

    feed_name: str
    time: float
    """When it came, in seconds on the clock given to `SiteMonitor.feed`."""
    text: str
    """Its gist, for people."""


@dataclass(frozen=True, slots=True)
class AgentView:
    """One agent as it is known at one moment."""

    address: str
    agent_class: str
    op_codes: Mapping[str, int]
    """Operation name to op code, as in the last heartbeat."""
    expired: bool
    """No heartbeat for `EXPIRE_AFTER`."""
    heartbeat_age: float | None
    """Seconds since the last heartbeat; None if there was none."""
    samples_per_s: float
    """Rate of samples (time stamps) in recorded feeds, averaged over `RATE_WINDOW`."""
    samples: int
    """Samples since the observer joined."""
    last: LastMessage | None
    session_id: str
    """Names the run of the agent: it changes when the agent is started again."""

    @property
    def instance_id(self) -> str:
        """The last part of the address."""
        return self.address.rpartition(".")[2]


class RateWindow:
    """A count per second over a sliding window, in whole seconds, so that memory does not grow with the rate.

    Args:
        window: length, in seconds.
    """

    def __init__(self, window: float = RATE_WINDOW) -> None:
        self._window = window
        self._began: float | None = None
        self._counts: deque[tuple[int, int]] = deque()

    def add(self, count: int, now: float) -> None:
        """Count ``count`` things at ``now``, in seconds."""
        self._forget(now)
        if self._began is None:
            self._began = now
        second = math.floor(now)
        if self._counts and self._counts[-1][0] >= second:
            last, before = self._counts.pop()
            self._counts.append((last, before + count))
        else:
            self._counts.append((second, count))

    def rate(self, now: float) -> float:
        """Return things per second over the window that ends now, or over what there is of it."""
        self._forget(now)
        if self._began is None or not self._counts:
            return 0.0
        # A feed that sends once a second has by now sent for half a second more than lies between its messages.
        young = now - self._began + 0.5
        span = max(1.0, min(now - self._first_second(now), young))
        return sum(count for _, count in self._counts) / span

    def _forget(self, now: float) -> None:
        while self._counts and self._counts[0][0] < self._first_second(now):
            self._counts.popleft()

    def _first_second(self, now: float) -> int:
        """Return the first whole second in the window."""
        return math.floor(now - self._window) + 1


@dataclass(slots=True)
class _Agent:
    address: str
    agent_class: str = "?"
    session_id: str = ""
    op_codes: dict[str, int] = field(default_factory=dict)
    heartbeat: float | None = None
    samples: int = 0
    rate: RateWindow = field(default_factory=RateWindow)
    last: LastMessage | None = None
    text_time: float = -math.inf

    def heard(self, feed_name: str, data: Any, now: float) -> None:
        """Remember a message, other than a heartbeat, as the last one."""
        if self.last and now - self.text_time < _TEXT_INTERVAL:
            self.last = LastMessage(self.last.feed_name, now, self.last.text)
            return
        self.text_time = now
        self.last = LastMessage(feed_name[:_TEXT_LIMIT], now, summary_of(data))

    def view(self, now: float) -> AgentView:
        age = None if self.heartbeat is None else max(0.0, now - self.heartbeat)
        return AgentView(
            address=self.address,
            agent_class=self.agent_class,
            op_codes=dict(self.op_codes),
            expired=age is None or age > EXPIRE_AFTER,
            heartbeat_age=age,
            samples_per_s=self.rate.rate(now),
            samples=self.samples,
            last=self.last,
            session_id=self.session_id,
        )


class SiteMonitor:
    """Keeps one record per agent, from the events of its feeds.

    Args:
        max_agents: how many agents are followed; the one unheard longest makes room for a new one.
    """

    def __init__(self, max_agents: int = 20_000) -> None:
        self.malformed = 0
        """Events that were no feed message of an agent."""
        self._max_agents = max_agents
        self._agents: dict[str, _Agent] = {}

    def feed(self, event: Any, now: float) -> bool:
        """Take one event of a feed.

        Args:
            event: the event's argument, ``[data, envelope]``.
            now: the present, in seconds on any clock that never runs backwards.

        Returns:
            Whether it could be made sense of; if not, it has been counted.
        """
        match event:
            case [data, {"agent_address": str(address), "feed_name": str(feed_name), **envelope}] if address:
                agent = self._agent(address)
                agent.agent_class = str(envelope.get("agent_class") or "?")
                agent.session_id = str(envelope.get("session_id", ""))
                return self._take(agent, feed_name, data, envelope, now)
        self.malformed += 1
        return False

    def agents(self, now: float) -> list[AgentView]:
        """Return all known agents, by address."""
        return [self._agents[address].view(now) for address in sorted(self._agents)]

    def agent(self, address: str, now: float) -> AgentView | None:
        """Return one agent, or None if it has never been heard."""
        known = self._agents.get(address)
        return known.view(now) if known else None

    def _agent(self, address: str) -> _Agent:
        # Taken out and put in again: the first in the dict is the one unheard longest.
        agent = self._agents.pop(address, None)
        if agent is None:
            agent = _Agent(address)
            if len(self._agents) >= self._max_agents:
                del self._agents[next(iter(self._agents))]
        self._agents[address] = agent
        return agent

    def _take(self, agent: _Agent, feed_name: str, data: Any, envelope: Mapping[Any, Any], now: float) -> bool:
        if feed_name == "heartbeat":
            return self._take_heartbeat(agent, data, now)
        if envelope.get("record") is True:
            count = samples_in(data)
            agent.samples += count
            agent.rate.add(count, now)
        agent.heard(feed_name, data, now)
        return True

    def _take_heartbeat(self, agent: _Agent, data: Any, now: float) -> bool:
        agent.heartbeat = now
        if not isinstance(data, dict):
            self.malformed += 1
            return False
        agent.op_codes = {str(name): code for name, code in data.items() if isinstance(code, int)}
        return True


def samples_in(data: Any) -> int:
    """Return how many samples (time stamps) a message of a recorded feed holds."""
    if not isinstance(data, dict):
        return 0
    stamps = (block.get("timestamps") for block in data.values() if isinstance(block, dict))
    return sum(len(stamp) for stamp in stamps if isinstance(stamp, list))


def summary_of(data: Any) -> str:
    """Return the gist of a message in one line: of blocks the last value of each field, of anything else itself."""
    blocks = [block for block in data.values() if _is_block(block)] if isinstance(data, dict) else []
    if not blocks:
        return _shown(data)
    parts: list[str] = []
    for name, values in ((name, values) for block in blocks for name, values in block["data"].items()):
        if isinstance(values, list) and values:
            parts.append(f"{name}={_shown(values[-1])}")
        if sum(map(len, parts)) > _TEXT_LIMIT:
            break
    return " ".join(parts)[:_TEXT_LIMIT]


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("data"), dict)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | bytes | list | tuple):
        value = value[:_TEXT_LIMIT]
    text = value if isinstance(value, str) else _REPR.repr(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_TEXT_LIMIT]).split())
