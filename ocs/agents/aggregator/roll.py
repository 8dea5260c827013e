"""Whom the recorder knows: agents that number their messages, and their streams, up to a bound."""

import re
from collections.abc import Mapping
from itertools import islice
from math import inf
from typing import Final, TypeGuard

from ocs.agents.aggregator.presence import Presence
from ocs.agents.aggregator.publisher import Publisher
from ocs.agents.aggregator.replies import is_session_id
from ocs.agents.aggregator.stream import Key, Stream

__all__ = ["MAX_ADDRESS", "MAX_AGENTS", "MAX_STREAMS", "Roll"]

MAX_AGENTS: Final = 20_000
MAX_STREAMS: Final = 20_000
MAX_ADDRESS: Final = 255

_FULL_FOR: Final = 10.0
"""Seconds until it is tried again to make room for more."""

_ADDRESS: Final = re.compile(r"[^\s.#]+(\.[^\s.#]+)*")


class Roll:
    """The agents and streams that are known.

    Args:
        root: the address root: only agents below it can be called.
        presence: which agents are on: those are not forgotten.
        positions: the next number wanted of each stream, from the journal, the oldest first.

    Attributes:
        agents: by address, the one heard of longest ago first.
        streams: by agent address and session id.
    """

    def __init__(self, root: str, presence: Presence, positions: Mapping[Key, int]) -> None:
        self.agents: dict[str, Publisher] = {}
        self.streams: dict[Key, Stream] = {}
        self._prefix = f"{root}."
        self._presence = presence
        self._full_until = -inf
        self._forgotten: list[Key] = []
        for key, number in islice(positions.items(), max(0, len(positions) - MAX_STREAMS), None):
            self.add(key, number, number, -inf)

    def is_callable(self, address: object) -> TypeGuard[str]:
        """Tell whether somebody at an address can be called: it is below the root, and legal."""
        return (
            type(address) is str
            and address.startswith(self._prefix)
            and len(address) <= MAX_ADDRESS
            and _ADDRESS.fullmatch(address) is not None
        )

    def add(self, key: Key, start: int, wanted: int, now: float) -> Stream | None:
        """Begin to know a stream.

        Args:
            key: agent address and session id.
            start: the next number wanted.
            wanted: the first number that is wanted whenever it was published.
            now: the time (s).

        Returns:
            It; None if nobody can be called for it, or if there are too many.
        """
        address, run = key
        if not self.is_callable(address) or not is_session_id(run) or not self._has_room(address, now):
            return None
        agent = self.agents.setdefault(address, Publisher(address))
        stream = self.streams[key] = agent.runs[run] = Stream(key, start, wanted)
        return stream

    def _has_room(self, address: str, now: float) -> bool:
        if len(self.streams) < MAX_STREAMS and (len(self.agents) < MAX_AGENTS or address in self.agents):
            return True
        return now >= self._full_until and self._forget_oldest(address, now)

    def _forget_oldest(self, address: str, now: float) -> bool:
        for agent in self.agents.values():
            is_busy = self._presence.is_on(agent.address) or agent.call or agent.behind
            if not is_busy and agent.address != address:
                for stream in list(agent.runs.values()):
                    self.forget(stream)
                return True
        self._full_until = now + _FULL_FOR
        return False

    def renew(self, agent: Publisher) -> None:
        """Note that an agent has been heard of: it is not the one to be forgotten next."""
        self.agents[agent.address] = self.agents.pop(agent.address)

    def forget(self, stream: Stream) -> None:
        """Forget a stream, and its agent with the last one."""
        address, run = stream.key
        agent = self.agents[address]
        del self.streams[stream.key], agent.runs[run]
        self._forgotten.append(stream.key)
        if not agent.runs:
            del self.agents[address]

    def forgotten(self) -> list[Key]:
        """Return the streams that were forgotten since the last call."""
        forgotten, self._forgotten = self._forgotten, []
        return [key for key in forgotten if key not in self.streams]
