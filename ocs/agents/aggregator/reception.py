"""The reactor's side of recording: which messages are taken in, and what is asked of the agents that published them.

`Streams` decides; here its decisions are carried out. All of it belongs to the reactor's thread, and none of it waits.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgpack
from twisted.internet.task import LoopingCall

from ocs.agents.aggregator.inbox import FORGET, Inbox, Item, Kind
from ocs.agents.aggregator.messages import weight
from ocs.agents.aggregator.notebook import Notebook, note_item
from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.streams import Fetched, Key, Lost, Request, Streams, stream_of
from ocs.feeds.recorded import is_recorded
from ocs.wamp.frames import ARGUMENTS, Frame, pack_event, takes_frame

__all__ = ["Reception"]

_TURN: Final = 0.25
"""Seconds between two looks at what is to be asked."""

_PATIENCE: Final = 20.0
"""Seconds that an agent gets to answer."""

_BYTES_PER_VALUE: Final = 9
_NOTE_VALUES: Final = 6


class Reception:
    """Takes in what agents publish, and asks them for what is missing.

    Until `start`, and after `stop`, only messages without a number are taken: the others can be had later.

    Args:
        agent: the OCSAgent by which to call others.
        inbox: where messages go.
        notebook: where it is noted what is lost, and which agents are there.

    Attributes:
        streams: what is known of the streams, None while nothing is being recorded.
        counts: what is shown of them as ``session.data``: how many are behind, and counts of messages. Made anew every
            time it changes, for the recording thread to look at.
        take: the handler of events: takes one as it came from the wire, if it is of use. Never waits, never raises.
    """

    def __init__(self, agent: Any, inbox: Inbox, notebook: Notebook) -> None:
        self.streams: Streams | None = None
        self.counts: dict[str, int] = {}
        self._agent = agent
        self._inbox = inbox
        self._notebook = notebook
        self._asking = LoopingCall(self._turn_or_tell)
        from ocs.feeds.packed import PackedReader  # noqa: PLC0415 - NumPy is slow to load: not for --help

        self.take = takes_frame(self._take, PackedReader())

    def _take(self, event: Any, frame: Frame | None = None) -> None:
        if not self._inbox.is_open:
            return
        if is_recorded(event):
            self._take_recorded(event, frame)
        elif self.streams is not None and _is_heartbeat(event):
            self.note(self.streams.heartbeat(event[1], time.time()))

    def _take_recorded(self, event: Any, frame: Frame | None) -> None:
        feed = event[1]
        stream = stream_of(feed)
        if stream is None:
            frame = frame or _frame(event)
            self._inbox.put(event, Kind.MESSAGE + frame.serializer if frame else 0, frame.payload if frame else b"")
        elif self.streams is not None and self.streams.accept(feed, room=self._inbox.room):
            key, number = stream
            frame = frame or _frame(event)
            if frame is None:
                item = _position(key, number + 1)._replace(event=(event[0], feed))
            else:
                item = Item(Kind.MESSAGE + frame.serializer, frame.payload, (event[0], feed), key, number + 1)
            self._inbox.add(item, weight(event[0]))

    # Asking

    def start(self, streams: Streams) -> None:
        """Begin to take messages that have numbers.

        Args:
            streams: what is known of them.
        """
        self.streams = streams
        self.counts = {}
        if self._agent.realm_joined:
            streams.link_up()
        if not self._asking.running:
            self._asking.clock = self._agent.reactor
            self._asking.start(_TURN)

    def stop(self, *, leave: bool = False) -> None:
        """Take no more messages that have numbers.

        Args:
            leave: tell the agents to keep nothing for this recorder.
        """
        streams, self.streams = self.streams, None
        if self._asking.running:
            self._asking.stop()
        if leave and streams is not None:
            for request in streams.farewells():
                self._agent.call(f"{request.agent}.replay", request.body).addErrback(lambda _: None)

    def link_up(self) -> None:
        """Our own link is up: everybody has to be asked what we have missed."""
        if self.streams is not None:
            self.streams.link_up()

    def link_down(self) -> None:
        """Our own link is down."""
        if self.streams is not None:
            self.streams.link_down()

    def when_arrived(self, function: Callable[[], Any]) -> None:
        """Have a function called once all that the router has sent by now is here; at once if the link is down."""
        if not self._agent.realm_joined:
            function()
            return

        def arrived(_: Any) -> None:
            if self.streams is not None:
                self._show(self.streams)
            function()

        # What the router sends comes in order: the answer to any question comes behind it.
        self._agent.call("wamp.session.count").addBoth(arrived)

    def safe(self, news: Mapping[Key, int]) -> None:
        """Note what is on our disk: the agents will be told."""
        if self.streams is not None:
            self.streams.durable(news)

    def _turn_or_tell(self) -> None:
        """Take a turn; one that fails does not keep the next from being taken."""
        try:
            self._turn()
        except Exception:  # whatever it is, to stop asking would cost data
            self._agent.log.failure("asking for what is missing failed; trying again")

    def _turn(self) -> None:
        streams = self.streams
        if streams is None or not self._agent.realm_joined:
            return
        self.note(streams.tick(time.time()))
        for request in streams.requests(self._agent.reactor.seconds(), room=self._inbox.room):
            self._ask(streams, request)
        self._show(streams)
        for agent, why in streams.troubles():
            self._agent.log.warn("{agent} cannot be asked for what is missing: {why}", agent=agent, why=why)

    def _ask(self, streams: Streams, request: Request) -> None:
        def answered(reply: Any) -> None:
            if streams is self.streams:
                self._take_results(streams, streams.answered(request, reply))
                for following in streams.fetches(self._agent.reactor.seconds(), room=self._inbox.room):
                    self._ask(streams, following)

        def failed(failure: Any) -> None:
            if streams is self.streams:
                self._take_results(streams, streams.failed(request, failure.getErrorMessage()))

        call = self._agent.call(f"{request.agent}.replay", request.body)
        call.addTimeout(_PATIENCE, self._agent.reactor).addCallbacks(answered, failed)

    def _take_results(self, streams: Streams, results: Iterable[Fetched | Lost]) -> None:
        for result in results:
            if isinstance(result, Fetched):
                item = Item(Kind.MESSAGE + ARGUMENTS, result.payload, None, result.key, result.seq + 1)
                self._inbox.add(item, len(result.payload) // _BYTES_PER_VALUE)
            else:
                self._lose(result)
        for key, number in streams.moved():
            self._inbox.add(_position(key, number), 1)
        for key in streams.forgotten():
            self._inbox.add(_position(key, FORGET), 1)
        self._show(streams)

    def _lose(self, lost: Lost) -> None:
        self._agent.log.warn(
            "{agent}: {count} messages are lost: {why}", agent=lost.agent, count=lost.end - lost.first, why=lost.why
        )
        self.note(lost_notes(lost))

    # What is shown, also to the recording thread

    def _show(self, streams: Streams) -> None:
        self.counts = {
            "behind": streams.behind,
            "fetched": streams.fetched,
            "let_go": streams.early,
            "duplicates": streams.duplicates,
            "lost": streams.lost_messages,
        }

    # Notes

    def note(self, notes: Iterable[Note]) -> None:
        """Publish notes, and put them into the archive."""
        for note in notes:
            self._inbox.add(note_item(self._notebook.publish(note)), _NOTE_VALUES)


def _is_heartbeat(event: Any) -> bool:
    pair = isinstance(event, list) and len(event) == 2 and isinstance(event[1], dict)  # noqa: PLR2004 - data, envelope
    return pair and event[1].get("feed_name") == "heartbeat"


def _position(key: Key, number: int) -> Item:
    return Item(Kind.POSITION, msgpack.packb([*key, number]), None, key, number)


def _frame(event: Any) -> Frame | None:
    """Return a frame for an event that came without one; None if what is in it has no form on the wire."""
    try:
        return pack_event([event])
    except ValueError:
        return None


def lost_notes(lost: Lost) -> list[Note]:
    """Return what is to be noted of a loss: feed by feed, as far as the agent knows."""
    if not lost.samples:
        why = f"{lost.end - lost.first} messages: {lost.why}"
        return [Note("lost", lost.agent, lost.since, lost.until, 0, why)]
    return [
        Note("lost", f"{lost.agent}.feeds.{feed}", lost.since, lost.until, samples, lost.why)
        for feed, samples in lost.samples.items()
    ]
