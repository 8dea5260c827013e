"""The recorder's decisions: which messages are taken, what is fetched, and what is lost. Pure: no I/O, no clock.

The design is in docs/decisions/0005-lossless-recording.md. All of it belongs to one thread.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, Final

from ocs.agents.aggregator.asking import Asking, pause
from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.presence import Presence
from ocs.agents.aggregator.publisher import Publisher, Request
from ocs.agents.aggregator.replies import (
    MAX_NUMBER,
    Check,
    MalformedReplyError,
    is_number,
    is_session_id,
    read_batch,
    read_check,
)
from ocs.agents.aggregator.roll import MAX_ADDRESS, Roll
from ocs.agents.aggregator.stream import ENDED, Fetched, Key, Lost, Stream

__all__ = ["GIVE_UP", "Fetched", "Key", "Lost", "Request", "Streams", "stream_of"]

GIVE_UP: Final = 900.0
"""Seconds after which a gap is given up if the agent is there but does not fill it: what comes has to be recorded."""

_LOUD_AFTER: Final = 10
"""Failures after which somebody should look."""

_KEPT_RUNS: Final = 4
"""Earlier runs of an agent that are remembered when it offers nothing of them any more, should it do so yet again."""

_MAX_TROUBLES: Final = 100


def stream_of(feed: Mapping[str, Any]) -> tuple[Key, int] | None:
    """Return the stream and the number of a message, or None if it has no number.

    Args:
        feed: the message's envelope.
    """
    agent, run, seq = feed.get("agent_address"), feed.get("session_id"), feed.get("seq")
    if is_number(seq) and is_session_id(run) and type(agent) is str and 0 < len(agent) <= MAX_ADDRESS:
        return (agent, run), seq
    return None


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
        every: float = 0.5,
    ) -> None:
        self.duplicates = self.early = self.fetched = self.lost_messages = 0
        self._since = since
        self._presence = Presence()
        self._roll = Roll(root, self._presence, positions or {})
        self._streams = self._roll.streams
        self._asking = Asking(recorder_id, since, every, self._roll.agents, self._presence)
        self._moved: dict[Key, None] = {}
        self._troubles: dict[tuple[str, str], None] = {}

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
        agent = self._roll.agents[stream.key[0]]
        stream.show(number)
        self._asking.feed(agent)
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
        if not self._roll.is_callable(address) or not is_session_id(run):
            return []
        if type(last) is int and 0 <= last < MAX_NUMBER and (stream := self._heard((address, run), last + 1)):
            self._roll.agents[address].run = run
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

    def _heard(self, key: Key, wanted: int) -> Stream | None:
        """Return the stream of a run that is going on."""
        # If the agent was known before it, the run began while we recorded: then nothing of it is too old.
        return self._stream(key, start=1, wanted=1 if key[0] in self._roll.agents else wanted)

    def _stream(self, key: Key, start: int, wanted: int) -> Stream | None:
        """Return a stream, a new one if need be; None if nobody could be called for it, or if there are too many."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._roll.add(key, start, wanted, self._asking.now)
            if stream is not None:
                self._asking.recheck(self._roll.agents[key[0]])
        return stream

    def forgotten(self) -> list[Key]:
        """Return the streams that were forgotten since the last call: the journal may forget them too."""
        return self._roll.forgotten()

    def moved(self) -> list[tuple[Key, int]]:
        """Return the streams that have moved on without a message since the last call, and the next number wanted."""
        moved, self._moved = self._moved, {}
        return [(key, self._streams[key].next) for key in moved if key in self._streams]

    def troubles(self) -> list[tuple[str, str]]:
        """Return what was wrong with whose answers since the last call: agent, and one line."""
        troubles, self._troubles = self._troubles, {}
        return list(troubles)

    def _complain(self, agent: Publisher, why: str) -> None:
        if len(self._troubles) < _MAX_TROUBLES:
            self._troubles[agent.address, why] = None

    @property
    def positions(self) -> dict[Key, int]:
        """The next number wanted of each stream of which anything is settled. It may be ahead of the journal."""
        return {key: stream.next for key, stream in self._streams.items() if stream.next >= max(stream.wanted, 2)}

    @property
    def behind(self) -> int:
        """How many streams are behind."""
        return self._asking.behind

    def durable(self, positions: Mapping[Key, int]) -> None:
        """Note what is safe in the journal: of each stream, everything below the number. The agents will be told."""
        for key, number in positions.items():
            stream = self._streams.get(key)
            if stream is not None and number > stream.safe:
                stream.safe = min(number, stream.next)
                agent = self._roll.agents[key[0]]
                self._wake(agent)
                self._asking.tell(agent)

    # What is asked

    def link_up(self) -> None:
        """Our own link is up: every agent is checked when it is heard of."""
        self._asking.link_up()
        self._presence.link_up()

    def link_down(self) -> None:
        """Our own link is down: what was asked will not be answered."""
        self._asking.link_down()
        self._presence.link_down()

    def _wake(self, agent: Publisher) -> None:
        if self._asking.wake(agent):
            self._roll.renew(agent)

    def requests(self, now: float, *, room: bool) -> list[Request]:
        """Return what is to be asked now.

        Args:
            now: the time (s); of any clock, best of one that nobody sets.
            room: whether there is room for messages that are fetched.

        Returns:
            Each is to be answered by a call of `answered` or `failed`, unless our link goes down.
        """
        return self._asking.requests(now, room=room)

    def fetches(self, now: float, *, room: bool) -> list[Request]:
        """Return what is to be fetched now, after an answer: who is far behind is not to wait for the next turn.

        Args:
            now: the time (s), of the same clock as for `requests`.
            room: whether there is room for messages that are fetched.
        """
        return self._asking.fetches(now, room=room)

    def farewells(self) -> list[Request]:
        """Return what to say to all agents, for them to keep nothing for this recorder. Nobody waits for answers."""
        return self._asking.farewells()

    # What was answered

    def answered(self, request: Request, reply: object) -> list[Fetched | Lost]:
        """Take an answer, which nobody vouches for.

        Returns:
            What came with it, and what turns out to be lost, in order: for the journal.
        """
        agent = self._asking.end_call(request)
        if agent is None:
            return []
        read = self._batch if "run" in request.body else self._checked
        try:
            results: list[Any] = read(agent, request, reply)
        except MalformedReplyError as error:
            self._complain(agent, str(error))
            results = self._fail(agent, request, str(error))
        self._asking.schedule(agent)
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
        agent = self._asking.end_call(request)
        if agent is None:
            return []
        lost = self._fail(agent, request, why)
        self._asking.schedule(agent)
        return self._counted(lost)

    def _counted(self, results: list[Any]) -> list[Any]:
        self.lost_messages += sum(result.end - result.first for result in results if isinstance(result, Lost))
        return results

    def _fail(self, agent: Publisher, request: Request, why: str) -> list[Any]:
        run = request.body.get("run", agent.run)
        stream = agent.runs.get(run)
        failed = stream if "run" in request.body and stream else agent
        failed.not_before = self._asking.now + pause(failed.failures)
        failed.failures += 1
        if failed.failures == _LOUD_AFTER:
            self._complain(agent, f"it does not answer: {why}")
        return self._stick(agent, stream, why) if stream and run == agent.run and stream.behind else []

    def _stick(self, agent: Publisher, stream: Stream, why: str) -> list[Lost]:
        """Note that a gap could not be filled; give it up if the agent is there, and has not filled it for long."""
        if not self._presence.is_on(agent.address):
            stream.stuck = None
        elif stream.stuck is None:
            stream.stuck = self._asking.now
        elif self._asking.now - stream.stuck >= GIVE_UP:
            return self._give_up(agent, stream, f"the agent could not be asked for them: {why}")
        return []

    def _give_up(self, agent: Publisher, stream: Stream, why: str) -> list[Lost]:
        self._moved[stream.key] = None
        return stream.give_up(why, agent.gone, self._since)

    def _batch(self, agent: Publisher, request: Request, reply: object) -> list[Fetched | Lost]:
        stream = agent.runs[request.body["run"]]
        start = stream.next
        batch = read_batch(reply, stream.key[1], start)
        results, is_all = stream.take(batch, agent.gone, self._since)
        if stream.next > start:
            stream.failures, stream.not_before, stream.stuck = 0, -inf, None
            if not results or not isinstance(results[-1], Fetched):
                self._moved[stream.key] = None
        elif is_all:
            # Nothing there, though there should be: the agent has to say what it has.
            results += self._fail(agent, request, "it has nothing of what it should have")
        agent.checked = is_all and stream.next > start
        return results

    def _checked(self, agent: Publisher, request: Request, reply: object) -> list[Lost]:
        check = read_check(reply)
        agent.checked, agent.run, agent.gone = True, check.run, check.gone
        agent.failures, agent.not_before = 0, -inf
        for run, number in request.body["have"].items():
            agent.runs[run].told = max(agent.runs[run].told, number)
        self._discover(agent, check)
        lost = [lost for stream in list(agent.runs.values()) for lost in self._compare(agent, stream, check)]
        self._asking.feed(agent)
        self._forget_ended(agent, check)
        return lost

    def _discover(self, agent: Publisher, check: Check) -> None:
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

    def _compare(self, agent: Publisher, stream: Stream, check: Check) -> list[Lost]:
        run = stream.key[1]
        given = check.given.get(run, 0)
        if run != check.run:  # it may have lost its end with the power
            return self._compare_ended(agent, stream, given)
        if given and given < stream.told:
            self._complain(agent, f"it says that it has given out {given - 1} messages, but has given us more")
        if given:
            stream.correct(given)
            if not self._presence.is_on(agent.address):
                stream.top = max(stream.top, given - 1)
        return []

    def _compare_ended(self, agent: Publisher, stream: Stream, given: int) -> list[Lost]:
        """Look at a run that has ended: what the agent does not have of it now, nobody has.

        Twice, with time between: two runs of one agent may be there for a moment.
        """
        if given > stream.next or not stream.behind:
            stream.struck = None
        elif stream.struck is None or stream.struck[1] != stream.top:
            stream.struck = self._asking.now, stream.top
        elif self._asking.now - stream.struck[0] >= self._asking.every:
            return self._give_up(agent, stream, ENDED)
        return []

    def _forget_ended(self, agent: Publisher, check: Check) -> None:
        """Forget runs of which the agent does not speak any more, but for the last few."""
        spoken = {check.run, *check.given, *(gone.run for gone in check.gone)}
        ended = [
            stream
            for run, stream in agent.runs.items()
            if run not in spoken and not stream.behind and stream.safe == stream.next
        ]
        for stream in ended[:-_KEPT_RUNS]:
            self._roll.forget(stream)
