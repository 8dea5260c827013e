"""The recorder's decisions: which messages are taken, what is asked of which agent, and when. Pure: no I/O, no clock.

The design is in docs/decisions/0005-lossless-recording.md. All of it belongs to one thread. To each agent
one call at a time is under way, so what an answer means never depends on another.
"""

import heapq
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import islice
from math import inf
from typing import Any, Final, NamedTuple, TypeGuard

from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.presence import Presence
from ocs.agents.aggregator.replies import (
    MAX_NUMBER,
    Check,
    Gone,
    MalformedReplyError,
    is_number,
    is_session_id,
    read_batch,
    read_check,
)
from ocs.agents.aggregator.stream import ENDED, Fetched, Key, Lost, Stream

__all__ = ["Fetched", "Key", "Lost", "Request", "Streams", "stream_of"]

MAX_AGENTS: Final = 20_000
MAX_STREAMS: Final = 20_000
MAX_FETCHES: Final = 4
"""Fetches under way at once: what comes has to be held until it is in the journal."""

MAX_CHECKS: Final = 50
"""Checks begun at once."""

BATCH_BYTES: Final = 1 << 20
"""What a fetch asks for; half as much after each failure, in case it was too much for somebody on the way."""

EVERY_PER_AGENT: Final = 0.01
"""Seconds between two calls to whomever."""

QUIET: Final = 2.5
"""How many times as long an agent of which nothing comes is left alone: it would take us for away after three times."""

GIVE_UP: Final = 900.0
"""Seconds after which a gap is given up if the agent is there but does not fill it: what comes has to be recorded."""

_LONGEST_PAUSE: Final = 10.0
_SHORTEST_PAUSE: Final = 0.25
_HALVINGS: Final = 6
_SLEEP_AFTER: Final = 8
"""Failures after which an agent without a heartbeat is not called any more, until it is heard of."""

_KEPT_RUNS: Final = 4
"""Earlier runs of an agent that are remembered when it offers nothing of them any more, should it do so yet again."""

_FULL_FOR: Final = 10.0
"""Seconds until it is tried again to make room for more agents."""

_MAX_ADDRESS: Final = 255
_MAX_TROUBLES: Final = 100
_ADDRESS: Final = re.compile(r"[^\s.#]+(\.[^\s.#]+)*")


class Request(NamedTuple):
    """Something to ask: call `{agent}.replay` with the body, and hand the answer to `Streams`."""

    agent: str
    body: dict[str, Any]


def stream_of(feed: Mapping[str, Any]) -> tuple[Key, int] | None:
    """Return the stream and the number of a message, or None if it has no number.

    Args:
        feed: the message's envelope.
    """
    agent, run, seq = feed.get("agent_address"), feed.get("session_id"), feed.get("seq")
    if is_number(seq) and is_session_id(run) and type(agent) is str and 0 < len(agent) <= _MAX_ADDRESS:
        return (agent, run), seq
    return None


class _Agent:
    """What is known of an agent with numbered messages."""

    __slots__ = (
        "address", "call", "checked", "checked_at", "due", "failures", "gone", "not_before", "run", "runs",
    )  # fmt: skip

    def __init__(self, address: str) -> None:
        self.address = address
        self.runs: dict[str, Stream] = {}
        self.run = ""
        """The current run, as far as is known."""
        self.gone: list[Gone] = []
        """What it has given up, as of the last check."""
        self.call: Request | None = None
        """Under way."""
        self.checked = False
        """Whether it has been asked what it has since there was reason to; until then nothing is fetched."""
        self.checked_at = -inf
        self.due = inf
        """When to check next; never, if nothing has been heard of it."""
        self.not_before = -inf
        self.failures = 0

    @property
    def behind(self) -> bool:
        return any(stream.behind for stream in self.runs.values())

    @property
    def has_news(self) -> bool:
        return any(stream.safe > max(stream.told, 1) for stream in self.runs.values())

    def forget_delays(self) -> None:
        """Begin anew to count how long something has been going on."""
        for stream in self.runs.values():
            stream.struck = stream.stuck = None

    def to_fetch(self) -> Stream | None:
        """Return the stream that has waited longest."""
        waiting = (stream for stream in self.runs.values() if stream.behind and stream.struck is None)
        return min(waiting, key=lambda stream: stream.turn, default=None)


class Streams:
    """Knows all streams. Our own link is taken for down until `link_up`.

    What moves a stream on without a message (`moved`) has to go to the journal as messages do, in the same order.

    Args:
        recorder_id: by which the agents know this recorder.
        root: the address root: only agents below it are called.
        since: when this recorder began to record (unix, s): older messages of runs unknown to it are not wanted.
        positions: the next number wanted of each stream, from the journal.
        every: how often an agent of which messages come is called (s); with many agents less often.

    Attributes:
        duplicates: messages that came again.
        early: messages let go since others before them are missing, or for lack of room; they are fetched later.
        fetched: messages that were fetched.
        lost_messages: messages that nobody has.
    """

    def __init__(
        self,
        recorder_id: str,
        *,
        root: str,
        since: float,
        positions: Mapping[Key, int] | None = None,
        every: float = 1.0,
    ) -> None:
        self.duplicates = self.early = self.fetched = self.lost_messages = 0
        self._id = recorder_id
        self._prefix = f"{root}."
        self._since = since
        self._every = every
        self._presence = Presence()
        self._streams: dict[Key, Stream] = {}
        self._agents: dict[str, _Agent] = {}
        self._hungry: OrderedDict[str, _Agent] = OrderedDict()
        """Agents with streams that are behind; the one whose turn is next comes first."""
        self._due: list[tuple[float, str]] = []
        """A heap of when to check whom; what an agent's `due` does not confirm is void."""
        self._fetching: set[str] = set()
        self._turn = 0
        self._up = False
        self._now = -inf
        self._full_until = -inf
        self._moved: dict[Key, None] = {}
        self._forgotten: list[Key] = []
        self._troubles: dict[tuple[str, str], None] = {}
        known = positions or {}
        for key, number in islice(known.items(), max(0, len(known) - MAX_STREAMS), None):
            self._stream(key, start=number, wanted=number)

    # What comes

    def accept(self, feed: Mapping[str, Any], *, room: bool) -> bool:
        """Decide about a message that came as an event.

        Args:
            feed: its envelope.
            room: whether there is room for it.

        Returns:
            Whether it is to be taken. If it is, the stream has moved on, and it has to go to the journal.
        """
        try:
            stream = self._streams[feed["agent_address"], feed["session_id"]]
            seq = feed["seq"]
            if seq == stream.next > stream.top and room and type(seq) is int:
                stream.next = seq + 1
                return True
        except (KeyError, TypeError):
            pass
        return self._consider(feed, room=room)

    def _consider(self, feed: Mapping[str, Any], *, room: bool) -> bool:
        numbered = stream_of(feed)
        stream = numbered and self._heard(numbered[0], wanted=numbered[1])
        if not numbered or not stream:
            return room
        seq = numbered[1]
        if seq < stream.next:
            self.duplicates += 1
            return False
        if seq == stream.next > stream.top and room:
            stream.next = seq + 1
            return True
        self.early += 1
        stream.wanted = min(stream.wanted, seq)
        self._show(stream, seq)
        return False

    def _show(self, stream: Stream, number: int) -> None:
        """Note that a stream's agent is there, and has given out a number."""
        agent = self._agents[stream.key[0]]
        stream.show(number)
        if stream.behind:
            self._hungry.setdefault(agent.address, agent)
        self._wake(agent)

    def heartbeat(self, feed: Mapping[str, Any], now: float) -> list[Note]:
        """Take a heartbeat.

        Args:
            feed: its envelope.
            now: the time (unix, s).

        Returns:
            What there is to note: agents that come and go.
        """
        address, run, last = feed.get("agent_address"), feed.get("session_id"), feed.get("last_seq")
        if not self._is_callable(address) or not is_session_id(run):
            return []
        if type(last) is int and 0 <= last < MAX_NUMBER and (stream := self._heard((address, run), last + 1)):
            self._agents[address].run = run
            self._show(stream, last)
        return self._presence.beat(address, run, now)

    def tick(self, now: float) -> list[Note]:
        """Look which agents have gone silent.

        Args:
            now: the time (unix, s).

        Returns:
            A note for each.
        """
        return self._presence.tick(now)

    # Knowing streams

    def _is_callable(self, address: object) -> TypeGuard[str]:
        return (
            type(address) is str
            and address.startswith(self._prefix)
            and len(address) <= _MAX_ADDRESS
            and _ADDRESS.fullmatch(address) is not None
        )

    def _heard(self, key: Key, wanted: int) -> Stream | None:
        """Return the stream of a run that is going on."""
        # If the agent was known before it, the run began while we recorded: then nothing of it is too old.
        return self._stream(key, start=1, wanted=1 if key[0] in self._agents else wanted)

    def _stream(self, key: Key, start: int, wanted: int) -> Stream | None:
        """Return a stream, a new one if need be; None if nobody could be called for it, or if there are too many."""
        stream = self._streams.get(key)
        if stream is not None:
            return stream
        address, run = key
        if not self._is_callable(address) or not is_session_id(run) or not self._has_room(address):
            return None
        agent = self._agents.get(address)
        if agent is None:
            agent = self._agents[address] = _Agent(address)
        stream = self._streams[key] = agent.runs[run] = Stream(key, start, wanted)
        agent.checked = False
        if agent.due < inf:
            self._hasten(agent, self._now)
        return stream

    def _has_room(self, address: str) -> bool:
        if len(self._streams) < MAX_STREAMS and (len(self._agents) < MAX_AGENTS or address in self._agents):
            return True
        return self._now >= self._full_until and self._forget_oldest(address)

    def _forget_oldest(self, address: str) -> bool:
        for agent in self._agents.values():
            is_silent = not (self._presence.is_on(agent.address) or agent.call or agent.behind)
            if is_silent and agent.address != address:
                for stream in list(agent.runs.values()):
                    self._forget(agent, stream)
                return True
        self._full_until = self._now + _FULL_FOR
        return False

    def _forget(self, agent: _Agent, stream: Stream) -> None:
        del self._streams[stream.key], agent.runs[stream.key[1]]
        self._forgotten.append(stream.key)
        self._moved.pop(stream.key, None)
        if not agent.runs:
            del self._agents[agent.address]
            self._hungry.pop(agent.address, None)
            agent.due = inf

    def forgotten(self) -> list[Key]:
        """Return the streams that were forgotten since the last call: the journal may forget them too."""
        forgotten, self._forgotten = self._forgotten, []
        return [key for key in forgotten if key not in self._streams]

    def moved(self) -> list[tuple[Key, int]]:
        """Return the streams that have moved on without a message since the last call, and the next number wanted."""
        moved, self._moved = self._moved, {}
        return [(key, self._streams[key].next) for key in moved]

    def troubles(self) -> list[tuple[str, str]]:
        """Return what was wrong with whose answers since the last call: agent, and one line."""
        troubles, self._troubles = self._troubles, {}
        return list(troubles)

    def _complain(self, agent: _Agent, why: str) -> None:
        if len(self._troubles) < _MAX_TROUBLES:
            self._troubles[agent.address, why] = None

    @property
    def positions(self) -> dict[Key, int]:
        """The next number wanted of each stream of which anything is settled. It may be ahead of the journal."""
        return {key: stream.next for key, stream in self._streams.items() if stream.next >= max(stream.wanted, 2)}

    @property
    def behind(self) -> int:
        """How many streams are behind."""
        return sum(stream.behind for agent in self._hungry.values() for stream in agent.runs.values())

    def durable(self, positions: Mapping[Key, int]) -> None:
        """Note what is safe in the journal: of each stream, everything below the number. The agents will be told."""
        for key, number in positions.items():
            stream = self._streams.get(key)
            if stream is not None and number > stream.safe:
                stream.safe = min(number, stream.next)
                agent = self._agents[key[0]]
                self._wake(agent)
                self._hasten(agent, agent.checked_at + self.every)

    # When to call

    @property
    def every(self) -> float:
        """Seconds between two calls of an agent of which messages come."""
        return max(self._every, EVERY_PER_AGENT * len(self._presence))

    def link_up(self) -> None:
        """Our own link is up: every agent is checked when it is heard of."""
        self.link_down()
        self._up = True
        self._presence.link_up()

    def link_down(self) -> None:
        """Our own link is down: what was asked will not be answered."""
        self._up = False
        self._presence.link_down()
        self._fetching.clear()
        self._due.clear()
        for agent in self._agents.values():
            agent.call, agent.checked, agent.due = None, False, inf
            agent.forget_delays()

    def _wake(self, agent: _Agent) -> None:
        """Have an agent checked that was not going to be: it has been heard of."""
        if agent.due == inf and agent.call is None and self._up:
            agent.failures, agent.not_before = 0, -inf
            agent.forget_delays()
            self._agents[agent.address] = self._agents.pop(
                agent.address
            )  # to the end: it is not the one to be forgotten
            self._hasten(agent, self._now)

    def _hasten(self, agent: _Agent, due: float) -> None:
        due = max(due, agent.not_before)
        if self._up and agent.call is None and due < agent.due:
            agent.due = due
            heapq.heappush(self._due, (due, agent.address))

    def _schedule(self, agent: _Agent) -> None:
        """Set when to check an agent next, after a call."""
        if agent.failures > _SLEEP_AFTER and not self._presence.is_on(agent.address):
            return
        self._hasten(agent, agent.checked_at + QUIET * self.every)
        if not agent.checked:
            self._hasten(agent, self._now)
        elif agent.has_news or any(stream.struck for stream in agent.runs.values()):
            self._hasten(agent, agent.checked_at + self.every)

    def requests(self, now: float, *, room: bool) -> list[Request]:
        """Return what is to be asked now.

        Args:
            now: the time (s); of any clock, best of one that nobody sets.
            room: whether there is room for messages that are fetched.

        Returns:
            Each is to be answered by a call of `answered` or `failed`, unless our link goes down.
        """
        if now < self._now:
            self._restart_clock(now)
        self._now = now
        if not self._up:
            return []
        if not room:
            self._excuse()
        return [*self._checks(), *(self._fetches() if room else ())]

    def _excuse(self) -> None:
        """Note that nobody could fill a gap: there is no room for it."""
        for agent in self._hungry.values():
            for stream in agent.runs.values():
                stream.stuck = None

    def _restart_clock(self, now: float) -> None:
        self._due.clear()
        for agent in self._agents.values():
            due, agent.due = agent.due, inf
            agent.checked_at, agent.not_before = min(agent.checked_at, now), min(agent.not_before, now)
            agent.forget_delays()
            if due < inf:
                self._hasten(agent, now)

    def _checks(self) -> Iterator[Request]:
        count = 0
        while self._due and self._due[0][0] <= self._now and count < MAX_CHECKS:
            due, address = heapq.heappop(self._due)
            agent = self._agents.get(address)
            if agent is not None and agent.due == due:
                count += 1
                yield self._check(agent)

    def _check(self, agent: _Agent) -> Request:
        have = {run: stream.safe for run, stream in agent.runs.items() if stream.safe > 1}
        for stream in agent.runs.values():
            stream.recent = 0
        agent.checked_at = self._now
        return self._ask(agent, have=have)

    def _fetches(self) -> Iterator[Request]:
        for address, agent in list(self._hungry.items()):
            if len(self._fetching) >= MAX_FETCHES:
                return
            if not agent.behind:
                del self._hungry[address]
            elif self._may_fetch(agent) and (stream := agent.to_fetch()):
                self._hungry.move_to_end(address)
                yield self._fetch(agent, stream)

    def _may_fetch(self, agent: _Agent) -> bool:
        return agent.call is None and agent.checked and agent.due < inf and agent.not_before <= self._now

    def _fetch(self, agent: _Agent, stream: Stream) -> Request:
        self._turn += 1
        stream.turn = self._turn
        self._fetching.add(agent.address)
        since = self._since if stream.next < stream.wanted else 0.0
        limit = BATCH_BYTES >> min(agent.failures, _HALVINGS)
        return self._ask(agent, run=stream.key[1], since=since, limit=limit, **{"from": stream.next})

    def _ask(self, agent: _Agent, **body: Any) -> Request:
        agent.due = inf
        agent.call = Request(agent.address, {"recorder": self._id, "every": self.every, **body})
        return agent.call

    def farewells(self) -> list[Request]:
        """Return what to say to all agents, for them to keep nothing for this recorder. Nobody waits for answers."""
        return [Request(address, {"recorder": self._id, "leave": True}) for address in self._agents]

    # What was answered

    def answered(self, request: Request, reply: object) -> list[Fetched | Lost]:
        """Take an answer, which nobody vouches for.

        Returns:
            What came with it, and what turns out to be lost, in order: for the journal.
        """
        agent = self._end_call(request)
        if agent is None:
            return []
        try:
            results = (
                self._batch(agent, request, reply) if "run" in request.body else self._checked(agent, request, reply)
            )
        except MalformedReplyError as error:
            self._complain(agent, str(error))
            results = self._fail(agent, str(error))
        self._schedule(agent)
        self.fetched += sum(isinstance(result, Fetched) for result in results)
        return self._counted(results)

    def failed(self, request: Request, why: str) -> list[Lost]:
        """Note that a call failed; it is made again later.

        Args:
            request: what was asked.
            why: one line.

        Returns:
            What is lost, if that has gone on for too long.
        """
        agent = self._end_call(request)
        if agent is None:
            return []
        lost = self._fail(agent, why)
        self._schedule(agent)
        return self._counted(lost)

    def _counted(self, results: list[Any]) -> list[Any]:
        self.lost_messages += sum(result.end - result.first for result in results if isinstance(result, Lost))
        return results

    def _end_call(self, request: Request) -> _Agent | None:
        """Return the agent, or None if the call is one that nobody waits for any more."""
        agent = self._agents.get(request.agent)
        if agent is None or agent.call is not request:
            return None
        agent.call = None
        self._fetching.discard(agent.address)
        return agent

    def _fail(self, agent: _Agent, why: str) -> list[Any]:
        self._pause(agent)
        stream = agent.runs.get(agent.run)
        if stream is None or not stream.behind:
            return []
        if not self._presence.is_on(agent.address):
            stream.stuck = None
        elif stream.stuck is None:
            stream.stuck = self._now
        elif self._now - stream.stuck >= GIVE_UP:
            return self._give_up(agent, stream, f"the agent could not be asked for them: {why}")
        return []

    def _pause(self, agent: _Agent) -> None:
        agent.not_before = self._now + min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(agent.failures, 10))
        agent.failures += 1

    def _give_up(self, agent: _Agent, stream: Stream, why: str) -> list[Lost]:
        self._moved[stream.key] = None
        return stream.give_up(why, agent.gone, self._since)

    def _batch(self, agent: _Agent, request: Request, reply: object) -> list[Fetched | Lost]:
        stream = agent.runs[request.body["run"]]
        start = stream.next
        batch = read_batch(reply, stream.key[1], start)
        results, is_all = stream.take(batch, agent.gone, self._since)
        if stream.next > start:
            agent.failures, agent.not_before, stream.stuck = 0, -inf, None
            if not results or not isinstance(results[-1], Fetched):
                self._moved[stream.key] = None
        elif is_all:
            # Nothing there, though there should be: the agent says what it has.
            self._pause(agent)
        agent.checked = is_all and stream.next > start
        return results

    def _checked(self, agent: _Agent, request: Request, reply: object) -> list[Lost]:
        check = read_check(reply)
        agent.checked, agent.run, agent.gone = True, check.run, check.gone
        agent.failures, agent.not_before = 0, -inf
        for run, number in request.body["have"].items():
            agent.runs[run].told = max(agent.runs[run].told, number)
        self._discover(agent, check)
        lost = [lost for stream in list(agent.runs.values()) for lost in self._compare(agent, stream, check)]
        if agent.behind:
            self._hungry.setdefault(agent.address, agent)
        self._forget_ended(agent, check)
        return lost

    def _discover(self, agent: _Agent, check: Check) -> None:
        """Note which numbers have been given out of runs that have ended, and of runs that are new to us."""
        given = dict(check.given)
        for gone in check.gone:
            given[gone.run] = max(given.get(gone.run, 0), gone.end)
        for run, end in given.items():
            if run in agent.runs and run == check.run:
                continue  # its events are on their way
            # A run that is the current one now, and was not when the agent was heard of, began while we recorded.
            if end > 1 and (stream := self._stream((agent.address, run), 1, 1 if run == check.run else end)):
                stream.top = max(stream.top, end - 1)
        agent.checked = True

    def _compare(self, agent: _Agent, stream: Stream, check: Check) -> list[Lost]:
        run = stream.key[1]
        given = check.given.get(run, 0)
        if given and given < stream.told:
            self._complain(agent, f"it says that it has given out {given - 1} messages, but has given us more")
        if run != check.run:
            return self._compare_ended(agent, stream, given)
        if given:
            stream.correct(given)
            if not self._presence.is_on(agent.address):
                stream.top = max(stream.top, given - 1)
        return []

    def _compare_ended(self, agent: _Agent, stream: Stream, given: int) -> list[Lost]:
        """Look at a run that has ended: what the agent does not have of it now, nobody has.

        Twice, with time between: two runs of one agent may be there for a moment.
        """
        if given > stream.next or not stream.behind:
            stream.struck = None
        elif stream.struck is None or stream.struck[1] != stream.top:
            stream.struck = self._now, stream.top
        elif self._now - stream.struck[0] >= self.every:
            return self._give_up(agent, stream, ENDED)
        return []

    def _forget_ended(self, agent: _Agent, check: Check) -> None:
        """Forget runs of which the agent does not speak any more, but for the last few."""
        spoken = {check.run, *check.given, *(gone.run for gone in check.gone)}
        ended = [
            stream
            for run, stream in agent.runs.items()
            if run not in spoken and not stream.behind and stream.safe == stream.next
        ]
        for stream in ended[:-_KEPT_RUNS]:
            self._forget(agent, stream)
