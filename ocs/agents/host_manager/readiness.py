"""Who has been heard since it was started: an agent is ready at its first heartbeat of a new session."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ocs.agents.host_manager.instances import steady_time
from ocs.monitor import SiteMonitor

__all__ = ["Readiness"]

_SLACK = 2.0
"""How much earlier than its start an agent's session may seem to have begun, in seconds."""


@dataclass(frozen=True, slots=True)
class _Start:
    wall: float
    steady: float


class Readiness:
    """Listens for the heartbeats of agents that have been started, each until it has come.

    Args:
        agent: the OCSAgent that subscribes.
        address_root: first part of the agents' addresses.
        on_ready: called with an instance-id when it has been heard.
    """

    def __init__(self, agent: Any, address_root: str, on_ready: Callable[[str], None]) -> None:
        self._agent = agent
        self._root = address_root
        self._on_ready = on_ready
        self._expected: dict[str, _Start] = {}

    def expect(self, instance_id: str, *, started: float | None = None) -> None:
        """Listen for an agent that is started now.

        Args:
            instance_id: the agent.
            started: when it was started, if that was earlier (unix s); 0 takes any heartbeat.
        """
        now = time.time()
        wall = now if started is None else started
        known = instance_id in self._expected
        self._expected[instance_id] = _Start(wall, steady_time() - (now - wall))
        if not known:
            self._agent.subscribe(self._hear, self._topic(instance_id))

    def expects(self, instance_id: str) -> bool:
        """Tell whether an agent is still to be heard."""
        return instance_id in self._expected

    def forget(self, instance_id: str) -> None:
        """Listen for an agent no longer."""
        if self._expected.pop(instance_id, None):
            self._agent.unsubscribe(self._topic(instance_id))

    def forget_all(self) -> None:
        """Listen for nobody."""
        for instance_id in list(self._expected):
            self.forget(instance_id)

    def _topic(self, instance_id: str) -> str:
        return f"{self._root}.{instance_id}.feeds.heartbeat"

    def _hear(self, event: Any) -> None:
        monitor = SiteMonitor(max_agents=1)
        monitor.feed(event, 0.0)
        for view in monitor.agents(0.0):
            start = self._expected.get(view.instance_id)
            if start is not None and _is_new(view.session_id, start):
                self.forget(view.instance_id)
                self._on_ready(view.instance_id)


def _is_new(session_id: str, start: _Start) -> bool:
    """Tell whether a session began after a start; the clock may have been set in between, forth or back."""
    try:
        began = float(session_id)
    except ValueError:
        return True  # no time: another kind of agent, which nothing is known of
    start_by_clock_of_now = time.time() - (steady_time() - start.steady)
    return began >= min(start.wall, start_by_clock_of_now) - _SLACK
