"""What the exporter knows of a site: who is alive, what was answered, and the figures of both. Free of WAMP."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ocs.agents.prometheus_exporter.figures import ASKED, Figure, figures_of, text
from ocs.base import OpCode
from ocs.presence.asking import Question
from ocs.presence.roster import Moment, Roster

__all__ = ["AGENT_TIMEOUT", "SiteView", "Snapshot"]

AGENT_TIMEOUT = 5.0
"""Silence, in seconds, after which an agent has expired: as the registry has it."""
SLICE = 200
"""Agents that are dealt with before the reactor gets a turn."""
_LARGEST_COUNT = 2**63


class _Row(NamedTuple):
    """One agent at one moment; nothing in it changes any more."""

    instance_id: str
    agent_class: str
    expired: bool
    heard: float
    """unix s"""
    op_codes: Mapping[str, int]


class _Answer(NamedTuple):
    steady: float
    figures: list[Figure]


class Snapshot(NamedTuple):
    """All that is known at one moment, for another thread to read."""

    now: float
    """unix s"""
    hears: bool
    """Whether heartbeats arrive: if not, nobody knows who is alive."""
    rows: Sequence[_Row]
    messages: Mapping[str, int]
    """Number of the last message on recorded feeds, by instance-id."""
    answers: Sequence[Sequence[Figure]]

    def figures(self) -> Iterator[Figure]:
        """Make the figures of others, the most important first."""
        if self.hears:
            yield from self._counts()
            for row in self.rows:
                yield Figure("ocs_agent_up", (row.instance_id, row.agent_class), float(not row.expired))
            for row in self.rows:
                yield from _operations(row)
        for answer in self.answers:
            yield from answer
        for row in self.rows:
            labels = (row.instance_id, row.agent_class)
            yield Figure("ocs_agent_heartbeat_age_seconds", labels, max(0.0, self.now - row.heard))
        for instance_id, number in self.messages.items():
            yield Figure("ocs_agent_messages_total", (instance_id,), float(number))

    def _counts(self) -> Iterator[Figure]:
        expired = sum(row.expired for row in self.rows)
        yield Figure("ocs_agents", ("alive",), float(len(self.rows) - expired))
        yield Figure("ocs_agents", ("expired",), float(expired))


def _operations(row: _Row) -> Iterator[Figure]:
    for operation, code in row.op_codes.items():
        labels = (row.instance_id, row.agent_class, text(operation))
        yield Figure("ocs_operation_code", labels, float(code))
        yield Figure("ocs_operation_degraded", labels, float(code == OpCode.DEGRADED))


class SiteView:
    """Keeps what is heard and answered.

    Args:
        root: the first part of all addresses.
        stale_after: how long an answer is told on, in seconds.
        forget_after: how long an agent that has expired is told on, in seconds.

    Attributes:
        roster: who is alive.
        asked: questions by agent class and result, ``answered`` or ``unanswered``.
    """

    def __init__(self, root: str, stale_after: float, forget_after: float) -> None:
        self.roster = Roster(AGENT_TIMEOUT)
        self.asked: Counter[tuple[str, str]] = Counter()
        self._root = root
        self._stale_after = stale_after
        self._forget_after = forget_after
        self._messages: dict[str, int] = {}
        self._answers: dict[Question, _Answer] = {}

    def hear(self, event: Any, now: Moment) -> None:
        """Take in a heartbeat.

        Raises:
            MalformedHeartbeatError: if it is none; it has been counted.
        """
        self.roster.hear(event, now)
        feed = event[1]
        number, address = feed.get("last_seq"), feed["agent_address"]
        known = address in self.roster.agents
        if known and isinstance(number, int) and not isinstance(number, bool) and 0 <= number < _LARGEST_COUNT:
            self._messages[address] = number

    def tick(self, now: Moment) -> Iterator[None]:
        """Expire who is silent, and forget who has been for long; yields after each slice of work."""
        while self.roster.expire_silent(now, SLICE):
            yield
        for address in self._long_gone(now):
            self.roster.forget(address)
        for address in self._messages.keys() - self.roster.agents.keys():
            del self._messages[address]
        for question in [each for each, answer in self._answers.items() if self._is_stale(answer, now)]:
            del self._answers[question]

    def _long_gone(self, now: Moment) -> list[str]:
        limit = now.wall - self._forget_after
        return [
            address for address, agent in self.roster.agents.items() if agent.expired and agent.last_updated < limit
        ]

    def _is_stale(self, answer: _Answer, now: Moment) -> bool:
        return now.steady - answer.steady > self._stale_after

    def questions(self) -> list[Question]:
        """Return whom to ask what: the process of each living agent of a class that has figures."""
        return [
            Question(self._instance(address), ASKED[agent.agent_class][0])
            for address, agent in self.roster.agents.items()
            if not agent.expired and agent.agent_class is not None and agent.agent_class in ASKED
        ]

    def answer(self, question: Question, session: Mapping[str, Any], now: Moment) -> None:
        """Take in the status of an agent's process."""
        agent_class = self._class_of(question)
        if agent_class in ASKED:
            self.asked[agent_class, "answered"] += 1
            figures = figures_of(agent_class, question.instance_id, session.get("data"), now.wall)
            self._answers[question] = _Answer(now.steady, figures)

    def no_answer(self, question: Question) -> None:
        """Note that an agent has not answered in time; what it said before is told until it is stale."""
        self.asked[self._class_of(question), "unanswered"] += 1

    def _class_of(self, question: Question) -> str:
        agent = self.roster.agents.get(f"{self._root}.{question.instance_id}")
        return (agent.agent_class if agent is not None else None) or "unknown"

    def snapshot(self, now: Moment, *, hears: bool) -> Snapshot:
        """Return what is known; its cost is a look at each agent."""
        rows = [
            _Row(
                text(self._instance(address)),
                text(agent.agent_class or ""),
                agent.expired,
                agent.last_updated,
                agent.op_codes,  # made anew whenever it changes
            )
            for address, agent in self.roster.agents.items()
        ]
        messages = {text(self._instance(address)): number for address, number in self._messages.items()}
        answers = [answer.figures for answer in self._answers.values() if not self._is_stale(answer, now)]
        return Snapshot(now.wall, hears, rows, messages, answers)

    def _instance(self, address: str) -> str:
        return address.removeprefix(f"{self._root}.")
