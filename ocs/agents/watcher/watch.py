"""What the watcher hears, brought to the rules that it concerns. Free of WAMP; every time comes in as an argument."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ocs.access.rules import pattern_match
from ocs.agents.watcher.alarms import Key, Phase, Sight
from ocs.agents.watcher.board import Board
from ocs.agents.watcher.judging import (
    FIGURES,
    figure,
    numbers,
    sight_of_agent,
    sight_of_figure,
    sights_of_operations,
    sights_of_values,
)
from ocs.agents.watcher.rules import OPERATION_KINDS, Kind, Rule, Ruleset
from ocs.agents.watcher.silence import Growth, Silence
from ocs.presence.asking import Question
from ocs.presence.roster import Moment, Roster

__all__ = ["HEARTBEAT_TIMEOUT", "Watch"]

HEARTBEAT_TIMEOUT = 5.0
"""Silence, in seconds, after which an agent has expired: as the registry has it."""
SLICE = 200
"""Agents that are dealt with before the reactor gets a turn."""
MAX_ROUTES = 50_000
"""Feeds for which it is remembered which rules they concern."""

_GLOB = set("*?[!")


class _Route(NamedTuple):
    """What a message on a feed has to be brought to."""

    subject: str
    silences: list[Silence]
    values: list[Rule]


class Watch:
    """Brings what is heard to the rules, and what they make of it to the board.

    Args:
        root: the first part of all addresses.
        board: the alarms.
        roster: who is alive.

    Attributes:
        rules: those in force.
    """

    def __init__(self, root: str, board: Board, roster: Roster | None = None) -> None:
        self.board = board
        self.roster = roster or Roster(HEARTBEAT_TIMEOUT)
        self.rules = Ruleset()
        self._root = root
        self._hearing_since: float | None = None
        self._silences: list[Silence] = []
        self._growths: dict[str, Growth] = {}
        self._routes: dict[tuple[str, str, Any], _Route] = {}
        self._outside: dict[Key, bool] = {}

    # The rules, and the link

    def set_rules(self, rules: Ruleset, now: Moment) -> None:
        """Go by other rules from now on; what is known of all agents is judged by them at once."""
        known = {silence.rule: silence for silence in self._silences}
        self.rules = rules
        self._silences = [known.get(rule) or Silence(rule) for rule in rules.rules if rule.kind is Kind.NO_DATA]
        growths = {growth.rule: growth for growth in self._growths.values()}
        self._growths = {rule.name: growths.get(rule) or Growth(rule) for rule in rules.rules if rule.kind is Kind.GAP}
        self._routes.clear()
        self.board.set_rules(rules.rules, self._is_still_about, now.wall)
        self._outside = {
            key: alarm.phase is not Phase.LATCHED
            for key, alarm in self.board.alarms.items()
            if self.board.rules[key.rule].kind in _WITH_LIMITS
        }
        if self._hearing_since is not None:
            self._expect(now)
        for agent in self.roster.agents.values():
            self._judge(agent, now)

    def _is_still_about(self, rule: Rule, subject: str) -> bool:
        instance, _, rest = subject.partition(".")
        if subject.startswith("/"):
            return subject in rule.paths
        if rule.kind is Kind.ROUTER or subject == "router":
            return rule.kind is Kind.ROUTER and subject == "router"
        agent = self.roster.agents.get(f"{self._root}.{instance}")
        fits = pattern_match(instance, rule.agents) if agent is None else rule.fits(instance, agent.agent_class)
        return fits and _is_about(rule, rest)

    def link_up(self, now: Moment) -> None:
        """Note that others can be heard from now on; until one timeout has passed nobody counts as silent."""
        self._hearing_since = now.steady
        self._expect(now)

    def link_down(self) -> None:
        """Note that nobody can be heard, which says nothing about them."""
        self._hearing_since = None

    def _expect(self, now: Moment) -> None:
        """Have the feeds that are named one by one missed also if they never speak."""
        for silence in self._silences:
            for agent in _named(silence.rule.agents):
                for feed in _named(silence.rule.feeds):
                    silence.expect(f"{agent}.{feed}", now.steady)

    # Heartbeats

    def hear_heartbeat(self, event: Any, now: Moment) -> None:
        """Take in a heartbeat.

        Raises:
            MalformedHeartbeatError: it is none.
        """
        agent = self.roster.hear(event, now)
        if agent is not None:
            self._judge(agent, now)

    def _judge(self, agent: Any, now: Moment) -> None:
        instance = _instance(agent.agent_address)
        for rule in self.rules.rules:
            if rule.kind is Kind.EXPIRED and rule.fits(instance, agent.agent_class):
                self.board.see(rule, instance, sight_of_agent(agent), now.wall)
            elif rule.kind in OPERATION_KINDS and rule.fits(instance, agent.agent_class):
                for name, sight in sights_of_operations(rule, agent):
                    self._see_operation(rule, f"{instance}.{name}", sight, now)
        self._end_of_gone_operations(instance, agent, now)

    def _see_operation(self, rule: Rule, subject: str, sight: Sight, now: Moment) -> None:
        """Bring an operation to the board, with what the agent has said of it already."""
        before = self.board.alarms.get(Key(rule.name, subject))
        if sight.bad and before is not None and before.message.startswith(f"{sight.message}: "):
            sight = replace(sight, message=before.message)
        self.board.see(rule, subject, sight, now.wall)

    def _end_of_gone_operations(self, instance: str, agent: Any, now: Moment) -> None:
        """End alarms about operations that the agent does not have any more, since its program is another now."""
        for key, _alarm in self.board.of_agent(instance):
            rule = self.board.rules.get(key.rule)
            gone = key.subject.partition(".")[2] not in agent.op_codes
            if rule is not None and rule.kind in OPERATION_KINDS and gone and not agent.expired:
                self.board.see(rule, key.subject, Sight(bad=False), now.wall)

    # Feeds

    def topics(self) -> list[str]:
        """Return the topics that the rules need beside the heartbeats; those with empty parts are patterns."""
        found = set()
        for rule in self.rules.rules:
            if rule.kind in (Kind.NO_DATA, Kind.VALUE):
                agents, feeds = _all_named(rule.agents), _all_named(rule.feeds)
                found |= {f"{self._root}.{agent}.feeds.{feed}" for agent in agents for feed in feeds}
        return sorted(found)

    def hear_message(self, event: Any, now: Moment) -> None:
        """Take in what came on a feed, whatever it is."""
        if not isinstance(event, list | tuple) or len(event) != 2 or not isinstance(event[1], Mapping):  # noqa: PLR2004 - data and envelope
            return
        route = self._route(event[1])
        if route is None:
            return
        for silence in route.silences:
            if silence.hear(route.subject, now.steady, now.wall):
                self.board.see(silence.rule, route.subject, Sight(bad=False), now.wall)
        for rule in route.values:
            self._judge_values(rule, route.subject, event[0], now)

    def _route(self, feed: Mapping[str, Any]) -> _Route | None:
        address, name, agent_class = feed.get("agent_address"), feed.get("feed_name"), feed.get("agent_class")
        if not isinstance(address, str) or not isinstance(name, str) or not isinstance(agent_class, str | None):
            return None
        known = self._routes.get((address, name, agent_class))
        if known is None and len(self._routes) < MAX_ROUTES:
            known = self._routes[address, name, agent_class] = self._new_route(_instance(address), name, agent_class)
        return known

    def _new_route(self, instance: str, feed: str, agent_class: str | None) -> _Route:
        def about(rule: Rule) -> bool:
            return rule.fits(instance, agent_class) and pattern_match(feed, rule.feeds)

        return _Route(
            f"{instance}.{feed}",
            [silence for silence in self._silences if about(silence.rule)],
            [rule for rule in self.rules.rules if rule.kind is Kind.VALUE and about(rule)],
        )

    def _judge_values(self, rule: Rule, subject: str, data: Any, now: Moment) -> None:
        for name, values in _fields(data):
            if pattern_match(name, rule.fields):
                key = Key(rule.name, f"{subject}.{name}")
                for sight in sights_of_values(rule, numbers(values), was=self._outside.get(key, False)):
                    self._see_limit(rule, key.subject, sight, now)

    def _see_limit(self, rule: Rule, subject: str, sight: Sight, now: Moment) -> None:
        """Bring what a limit says to the board, and remember on which side it was, for the hysteresis."""
        if sight.bad:
            self._outside[Key(rule.name, subject)] = True
        elif sight.bad is not None:
            self._outside.pop(Key(rule.name, subject), None)
        self.board.see(rule, subject, sight, now.wall)

    # What agents are asked

    def questions(self) -> list[Question]:
        """Return whose status the rules need now, of those who are alive."""
        rules = [rule for rule in self.rules.rules if rule.kind in FIGURES or rule.kind is Kind.DATA]
        found: dict[Question, None] = {}
        for agent in self.roster.agents.values() if rules else ():
            for rule in rules if not agent.expired else ():
                for operation in _operations(rule, agent.agent_class):
                    if operation in agent.op_codes and rule.fits(_instance(agent.agent_address), agent.agent_class):
                        found[Question(_instance(agent.agent_address), operation)] = None
        return list(found)

    def answer(self, question: Question, session: Mapping[str, Any], now: Moment) -> None:
        """Take in a session.

        Args:
            question: whose it is.
            session: as the agent tells it.
            now: the present.
        """
        instance, operation = question
        agent = self.roster.agents.get(f"{self._root}.{instance}")
        if agent is None:
            return
        for rule in self.rules.rules:
            if operation in _operations(rule, agent.agent_class) and rule.fits(instance, agent.agent_class):
                self._judge_figures(rule, instance, agent.agent_class, operation, session.get("data"), now)

    def _judge_figures(
        self, rule: Rule, instance: str, agent_class: str | None, operation: str, data: Any, now: Moment
    ) -> None:
        if rule.kind is Kind.GAP:
            paths = [path for kind, name, path in FIGURES[Kind.GAP] if (kind, name) == (agent_class, operation)]
            counts = [count for path in paths if (count := figure(data, path)) is not None]
            growth = self._growths[rule.name]
            sight = growth.see(instance, sum(counts) if counts else None, now.steady)
            self.board.see(rule, instance, sight, now.wall)
            return
        for path in _paths(rule, agent_class, operation):
            was = self._outside.get(Key(rule.name, instance), False)
            self._see_limit(rule, instance, sight_of_figure(rule, path, figure(data, path), was=was), now)

    def disks(self) -> list[str]:
        """Return the folders of this machine whose disks the rules are about."""
        return sorted({path for rule in self.rules.rules for path in rule.paths})

    def see_disks(self, free: Mapping[str, float | None], now: Moment) -> None:
        """Take in how much room there is, in bytes by folder; None: it cannot be told."""
        for rule in self.rules.rules:
            for path in rule.paths:
                if path in free:
                    was = self._outside.get(Key(rule.name, path), False)
                    self._see_limit(rule, path, sight_of_figure(rule, "free space", free[path], was=was), now)

    def last_words(self, key: Key, text: str, now: Moment) -> None:
        """Add to an alarm what the agent itself says about it."""
        alarm, rule = self.board.alarms.get(key), self.board.rules.get(key.rule)
        if alarm is None or rule is None or alarm.phase is Phase.LATCHED:
            return
        plain = alarm.message.partition(": ")[0]
        self.board.see(rule, key.subject, Sight(bad=True, value=alarm.value, message=f"{plain}: {text}"), now.wall)

    def reset(self, rule: str, subject: str, now: Moment) -> int:
        """End latched alarms, and those about agents that are gone, which are forgotten; return how many.

        Args:
            rule: a rule's name, or a glob.
            subject: a subject, or a glob.
            now: the present.

        Raises:
            WatcherError: there is none.
        """
        keys = self.board.reset(rule, subject, now.wall, is_gone=self._is_gone)
        for key in keys:
            self.roster.forget(f"{self._root}.{key.subject.partition('.')[0]}")
        return len(keys)

    def _is_gone(self, instance_id: str) -> bool:
        agent = self.roster.agents.get(f"{self._root}.{instance_id}")
        return agent is None or agent.expired

    # Time

    def tick(self, now: Moment) -> Iterator[None]:
        """Let time pass; yields where others may have a turn."""
        since = self._hearing_since
        if since is not None:
            settled = now.steady - since > HEARTBEAT_TIMEOUT
            # Before that the roster is told all the same that we are awake, or it would wait for a timeout of its own.
            while silent := self.roster.expire_silent(now, SLICE if settled else 0):
                for agent in silent:
                    self._judge(agent, now)
                yield
            if settled:
                self._miss_named_agents(now)
        if since is not None:
            for silence in self._silences:
                for subject, sight in silence.overdue(now.steady, since):
                    self.board.see(silence.rule, subject, sight, now.wall)
        for rule in self.rules.rules:
            if rule.kind is Kind.ROUTER:
                sight = Sight(bad=since is None, message="there is no connection to the router")
                self.board.see(rule, "router", sight, now.wall)
        yield from self.board.turns(now.wall)

    def _miss_named_agents(self, now: Moment) -> None:
        """Miss agents that a rule names one by one, and that have never been heard."""
        for rule in self.rules.rules:
            for instance in _named(rule.agents) if rule.kind is Kind.EXPIRED else ():
                if f"{self._root}.{instance}" not in self.roster.agents:
                    sight = Sight(bad=True, message="has not been heard since the watcher started")
                    self.board.see(rule, instance, sight, now.wall)


_WITH_LIMITS = (Kind.VALUE, Kind.DISK, Kind.QUEUE, Kind.DATA)


def _is_about(rule: Rule, rest: str) -> bool:
    """Tell whether a rule is about what follows the instance-id in a subject."""
    if rule.kind in OPERATION_KINDS:
        return bool(rest) and pattern_match(rest, rule.operations)
    if rule.kind not in (Kind.NO_DATA, Kind.VALUE):
        return not rest
    feed, _, field = rest.partition(".")
    return pattern_match(feed, rule.feeds) and bool(field) == (rule.kind is Kind.VALUE) and _fits_field(rule, field)


def _fits_field(rule: Rule, field: str) -> bool:
    return not field or pattern_match(field, rule.fields)


def _instance(address: str) -> str:
    return address.rpartition(".")[2]


def _all_named(pattern: str) -> list[str]:
    """Return the names of a pattern; one empty name, which stands for all, where it is more than a list of names."""
    names = [part.strip() for part in pattern.split(",") if part.strip()]
    return [""] if not names or any(_GLOB & set(name) for name in names) else names


def _named(pattern: str) -> list[str]:
    return [name for name in _all_named(pattern) if name]


def _operations(rule: Rule, agent_class: str | None) -> Iterable[str]:
    if rule.kind is Kind.DATA:
        return (rule.operations,)
    return {name for kind, name, _ in FIGURES.get(rule.kind, ()) if kind == agent_class}


def _paths(rule: Rule, agent_class: str | None, operation: str) -> list[str]:
    if rule.kind is Kind.DATA:
        return [rule.path]
    return [path for kind, name, path in FIGURES.get(rule.kind, ()) if (kind, name) == (agent_class, operation)]


def _fields(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a recorded feed's message with their values."""
    for block in data.values() if isinstance(data, Mapping) else ():
        fields = block.get("data") if isinstance(block, Mapping) else None
        for name, values in fields.items() if isinstance(fields, Mapping) else ():
            if isinstance(name, str):
                yield name, values
