"""What an agent has published and the router has not taken yet.

Feeds put packed messages in, from any thread; the reactor sends them as fast as the router takes them. While the link
is down they wait here. The box is bounded: at the limit the oldest go, are counted, and said so once in a while.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.python import threadable

from ocs.feeds.packing import set_number

__all__ = ["MessageKeep", "Outbox", "Parcel"]

_HIGH_WATER = 48 << 20
_TURN = 1 << 20
_PATIENCE = 5.0
_COMPLAIN_EVERY = 60.0


class Parcel(NamedTuple):
    """One message on its way: the topic, and the packed arguments of the event.

    ``number`` is its place among the numbered messages of the agent's run, from 1 on; 0 for one without.
    """

    topic: str
    payload: bytes | bytearray
    samples: int
    number: int = 0

    @property
    def feed(self) -> str:
        """The name of the feed."""
        return self.topic.partition(".feeds.")[2]


class MessageKeep(Protocol):
    """Where numbered messages stay until their recorders have them."""

    def add(self, parcel: Parcel) -> None:
        """Take the message with the next number. Never waits."""

    def holds(self, number: int) -> bool:
        """Tell whether a message is still there."""


class Outbox:
    """Holds messages until the router takes them.

    Threads put; only the reactor's thread sends. `put` never loses order.

    Args:
        send: sends one parcel and returns whether the link took it; called in the reactor's thread.
        reactor: the reactor.
        log: the agent's logger.
        keep: is given each numbered parcel, in the order of the numbers and in the thread that puts.
        limit: how many bytes may wait.

    Attributes:
        last_sent: the highest number that the link has taken; 0 for none.
        dropped_messages, dropped_samples: what was dropped at the limit.
        dropped_kept: how many of these messages recorders could still get from the keep.
    """

    def __init__(
        self,
        send: Callable[[Parcel], bool],
        *,
        reactor: Any,
        log: Any,
        keep: MessageKeep | None = None,
        limit: int = 64 << 20,
    ) -> None:
        self.dropped_messages = 0
        self.dropped_samples = 0
        self.dropped_kept = 0
        self.last_sent = 0
        self._last_number = 0
        self._keep = keep
        self._send = send
        self._reactor = reactor
        self._log = log
        self._limit = limit
        self._waiting: deque[Parcel] = deque()
        self._bytes = 0
        self._room = threading.Condition(threading.Lock())
        self._open = False
        self._paused = False
        self._scheduled = False
        self._complained = float("-inf")
        self._on_empty: list[Callable[[], None]] = []

    @property
    def size(self) -> int:
        """How many bytes are waiting."""
        return self._bytes

    @property
    def is_open(self) -> bool:
        """Whether the link is up."""
        return self._open

    def put(self, parcel: Parcel) -> None:
        """Take a message, to be sent as soon as possible. Never waits."""
        with self._room:
            self._put(parcel)

    def put_numbered(self, topic: str, payload: bytearray, samples: int) -> None:
        """Take a message, give it the next number, and have it kept until recorders have it. Never waits.

        Args:
            topic: the topic.
            payload: the packed arguments, with room for the number; to be left alone from now on.
            samples: how many samples are in it.
        """
        with self._room:
            number = self._last_number = self._last_number + 1
            set_number(payload, number)
            parcel = Parcel(topic, payload, samples, number)
            if self._keep is not None:  # under the lock, so that messages are kept and sent in the order of numbers
                self._keep.add(parcel)
            self._put(parcel)

    def _put(self, parcel: Parcel) -> None:
        self._waiting.append(parcel)
        self._bytes += len(parcel.payload)
        if self._bytes > self._limit:
            self._drop_oldest()
        if self._open and not self._scheduled:
            self._schedule()

    def wait_for_room(self) -> None:
        """Wait, a few seconds at most, while the router cannot keep up.

        The reactor's thread never waits, and nobody does while the link is down.
        """
        if self._bytes > _HIGH_WATER and self._open and not threadable.isInIOThread():
            with self._room:
                self._room.wait_for(lambda: self._bytes <= _HIGH_WATER or not self._open, _PATIENCE)

    def _schedule(self) -> None:
        self._scheduled = True
        self._reactor.callFromThread(self._drain)

    def _drop_oldest(self) -> None:
        while self._bytes > self._limit and len(self._waiting) > 1:
            parcel = self._waiting.popleft()
            self._bytes -= len(parcel.payload)
            self.dropped_messages += 1
            self.dropped_samples += parcel.samples
            if parcel.number and self._keep is not None and self._keep.holds(parcel.number):
                self.dropped_kept += 1
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_EVERY:
            self._complained = now
            self._log.error(
                "the router takes nothing and {limit} MiB are waiting: dropped the oldest,"
                " {messages} messages with {samples} samples so far, of which {kept} messages are kept for recorders",
                limit=self._limit >> 20,
                messages=self.dropped_messages,
                samples=self.dropped_samples,
                kept=self.dropped_kept,
            )

    def open(self) -> None:
        """The link is up: begin to send. Call it in the reactor's thread."""
        with self._room:
            self._open, self._paused = True, False
            self._schedule()

    def close(self) -> None:
        """The link is down: keep what comes. Call it in the reactor's thread."""
        with self._room:
            self._open = False
            self._room.notify_all()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's IPushProducer
        """Stop sending: the connection has enough to do."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's IPushProducer
        """Send on."""
        self._paused = False
        self._drain()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's IPushProducer
        """The connection has gone; `close` follows."""
        self._paused = True

    def when_empty(self, function: Callable[[], None]) -> None:
        """Have ``function`` called, in the reactor's thread, once all has been sent or the link is down."""
        if not self._waiting or not self._open:
            function()
        else:
            self._on_empty.append(function)

    def _drain(self) -> None:
        """Send what the connection takes; after a megabyte let the reactor do something else."""
        self._scheduled = False
        sent = 0
        while self._waiting and self._open and not self._paused and sent < _TURN:
            with self._room:
                parcel = self._waiting.popleft()
                self._bytes -= len(parcel.payload)
                if self._bytes <= _HIGH_WATER:
                    self._room.notify_all()
            sent += len(parcel.payload)
            if not self._send(parcel):
                self._put_back(parcel)
                break
            if parcel.number:
                self.last_sent = parcel.number
        if self._waiting and self._open and not self._paused:
            self._scheduled = True
            self._reactor.callLater(0, self._drain)
        elif not self._waiting or not self._open:
            self._tell_empty()

    def _put_back(self, parcel: Parcel) -> None:
        with self._room:
            self._waiting.appendleft(parcel)
            self._bytes += len(parcel.payload)
            self._open = False
            self._room.notify_all()

    def _tell_empty(self) -> None:
        functions, self._on_empty = self._on_empty, []
        for function in functions:
            function()
