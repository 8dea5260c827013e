"""Feeds: what an agent publishes, checked where it is published, buffered, and handed on to the router.

A recorded feed takes samples from any thread. Each sample is checked in its caller's stack frame and put into a block,
which is a set of lists that share their timestamps. The blocks leave ``buffer_time`` seconds after the first sample
came, or sooner when there are many; a large batch leaves in several messages, each of a size that every router takes.
"""

import threading
from collections.abc import Mapping
from typing import Any

from ocs.errors import BlockMismatchError, FeedError, FeedTypeError, FeedValueError
from ocs.feeds.block import Block, mismatch
from ocs.feeds.checks import all_fit, check_block, checked_columns, float_columns, unfit_kinds
from ocs.feeds.names import enforce_field_name_rules, verify_data_field_string
from ocs.feeds.outbox import Parcel
from ocs.feeds.packing import Piece, open_ended, packed_events, packed_floats, packed_pieces
from ocs.plain import plain, plain_or_null
from ocs.wamp.transport import MESSAGE_LIMIT, pack

__all__ = ["Block", "BlockMismatchError", "Feed", "FeedError"]

_FLUSH_AT = 40_000
"""Values in a feed's buffer above which it leaves at once: bounds memory, and keeps each flush short."""
_ROOM_FOR_HEAD = 1024
_LARGE = 2_000
"""Values in one message above which it does not go through the buffer."""
_SAFE = frozenset((float, bool))
"""Types whose every value can be sent."""


class Feed:
    """One topic that an agent publishes.

    Args:
        agent: the agent it belongs to.
        feed_name: the last part of its topic.
        record: whether its messages are samples, to be recorded.
        agg_params: advice to recorders: ``frame_length`` (s), ``fresh_time`` (s), ``exclude_aggregator`` (bool),
            ``exclude_influx`` (bool).
        buffer_time: how long samples may wait for others to share a message with, in seconds.
        max_messages: no longer used; kept since agents give it.
    """

    def __init__(
        self,
        agent: Any,
        feed_name: str,
        record: bool = False,
        agg_params: dict[str, Any] | None = None,
        buffer_time: float = 0,
        max_messages: int = 0,
    ) -> None:
        self.agent = agent
        self.feed_name = feed_name
        self.record = record
        self.agg_params = plain(agg_params or {}, f"feed {feed_name}: agg_params")
        self.buffer_time = buffer_time
        self.max_messages = max_messages
        self.agent_address = agent.agent_address
        self.address = f"{agent.agent_address}.feeds.{feed_name}"
        self.blocks: dict[str, Block] = {}
        self._lock = threading.Lock()
        self._filled: list[Block] = []
        self._buffered = 0
        self._flush_due = False
        self._numbered = record and self.agg_params.get("exclude_aggregator") not in (True, 1)
        self._envelope: bytes | None = None
        self._timer: Any = None

    def encoded(self) -> dict[str, Any]:
        """Return the envelope that goes with every message: who published it, and how to record it."""
        return {
            "agent_address": self.agent_address,
            "agg_params": self.agg_params,
            "feed_name": self.feed_name,
            "address": self.address,
            "record": self.record,
            "session_id": self.agent.agent_session_id,
            "agent_class": self.agent.class_name,
        }

    def publish_message(self, message: Any, timestamp: float | None = None) -> None:  # noqa: ARG002 - no longer needed
        """Publish a message, from any thread.

        A thread other than the reactor's waits here while the router cannot keep up.

        Args:
            message: for a recorded feed one sample, ``{"block_name", "timestamp", "data": {field: value}}``, or many,
                ``{"block_name", "timestamps": [...], "data": {field: [...]}}``. Times are unix seconds; values are
                float, int, str or bool, or NumPy's scalars and arrays of these. For any other feed anything that can be
                sent.
            timestamp: no longer used; kept since agents give it.

        Raises:
            FeedTypeError: (a TypeError) for a value that cannot be published.
            FeedValueError: (a ValueError) for an illegal field name, lists of different lengths, an integer beyond 64
                bits.
            FeedKeyError: (a KeyError) if the message lacks a part.
        """
        if not self.record:
            self.agent.outbox.put(Parcel(self.address, self.pack_message(message), 0))
            return
        try:
            data = message["data"]
            block = self.blocks.get(message["block_name"])
            stamp = message["timestamp"]
            plain_sample = (
                type(stamp) is float
                and stamp - stamp == 0.0  # finite
                and data.keys() == block.data.keys()  # type: ignore[union-attr]
                and (_SAFE.issuperset(map(type, data.values())) or all_fit(data.values()))
                and "influxdb_tags" not in message
            )
        except (AttributeError, KeyError, TypeError):
            plain_sample = False  # not the common form: the slow way finds out, and says, what it is
        if plain_sample:
            self._append(block, stamp, data)  # type: ignore[arg-type]
        elif not self._send_large(message):
            self._extend(message)

    def _append(self, block: Block, stamp: float, data: Mapping[str, Any]) -> None:
        with self._lock:
            if not block.timestamps:
                self._filled.append(block)
            block.timestamps.append(stamp)
            columns = block.data
            for key, value in data.items():
                columns[key].append(value)
            self._buffered += len(columns) + 1
            due = self._flush_due
            self._flush_due = True
        if not due or self._buffered > _FLUSH_AT:
            self._arrange_flush()

    def _send_large(self, message: Any) -> bool:
        """Pack and send a message of many floats as it is; return False, having done nothing, if it is another kind.

        That all values are floats shows in the packed bytes, so that nothing has to look at them one by one.
        """
        columns = float_columns(message, _LARGE)
        if columns is None:
            return False
        name, times, data = columns
        packed = packed_floats(name, times, data)
        if packed is None:
            return False
        with self._lock:
            self._block(name, data)
            self._flush_locked()
            self._put(packed)
        self.agent.outbox.wait_for_room()
        return True

    def _extend(self, message: Any) -> None:
        name, stamps, columns = checked_columns(message, self.feed_name)
        tags = plain(message.get("influxdb_tags"), f"feed {self.feed_name}: influxdb_tags")
        with self._lock:
            block = self._block(name, columns)
            if not block.timestamps and stamps:
                self._filled.append(block)
            block.timestamps.extend(stamps)
            for key, column in columns.items():
                block.data[key].extend(column)
            if tags:
                block.tags = tags
            self._buffered += len(stamps) * (len(columns) + 1)
            due, self._flush_due = self._flush_due, True
        if not due or self._buffered > _FLUSH_AT:
            self._arrange_flush()

    def _block(self, name: str, columns: Mapping[str, Any]) -> Block:
        block = self.blocks.get(name)
        if block is None:
            check_block(name, columns, self.feed_name)
            block = self.blocks[name] = Block(name, columns)
        elif columns.keys() != block.data.keys():
            raise BlockMismatchError(f"feed {self.feed_name}: {mismatch(name, block.data, columns)}")
        return block

    def _arrange_flush(self) -> None:
        if self._buffered > _FLUSH_AT:
            self.flush_buffer()
            self.agent.outbox.wait_for_room()
        elif self.buffer_time > 0:
            self.agent.call_in_reactor(self._flush_later)
        else:
            self.agent.call_in_reactor(self.flush_buffer)

    def _flush_later(self) -> None:
        """Have the buffer leave in time. One timer a feed: what is running already fires soon enough."""
        if self._timer is None or not self._timer.active():
            self._timer = self.agent.reactor.callLater(self.buffer_time, self.flush_buffer)

    def flush_buffer(self) -> None:
        """Send what is buffered, from any thread."""
        with self._lock:
            self._flush_locked()

    def _flush_locked(self) -> None:
        self._flush_due = False
        if not self._buffered:
            return
        self._buffered = 0
        filled, self._filled = self._filled, []
        pieces = [piece for block in filled for piece in packed_pieces(block)]
        for block in filled:
            block.clear()
        self._put(pieces)

    def _put(self, pieces: list[Piece]) -> None:
        """Hand packed blocks on, under the lock, so that they leave in the order of their samples."""
        for payload, samples in packed_events(pieces, self._packed_envelope()):
            if len(payload) <= MESSAGE_LIMIT - _ROOM_FOR_HEAD:
                self._hand_over(payload, samples)
            else:  # a router may cut us off for it
                self.agent.log.error(
                    "feed {feed}: dropped a sample of {size} bytes, more than a message may have",
                    feed=self.feed_name,
                    size=len(payload),
                )

    def _hand_over(self, payload: bytearray, samples: int) -> None:
        if self._numbered:
            self.agent.outbox.put_numbered(self.address, payload, samples)
        else:
            self.agent.outbox.put(Parcel(self.address, payload, samples))

    def _packed_envelope(self) -> bytes:
        """Return the envelope; of a numbered feed, with room for the number."""
        if self._envelope is None:
            entries = self._entries()
            self._envelope = open_ended(entries, "seq") if self._numbered else pack(entries)
        return self._envelope

    def _entries(self) -> dict[str, Any]:
        # What agent authors' tests use for an agent may have objects of any kind for its names.
        entries: dict[str, Any] = plain_or_null(self.encoded())[0]
        return entries

    def pack_message(self, message: Any, **extra: int) -> bytes:
        """Return a message of a feed that is not recorded as the packed arguments of an event.

        Args:
            message: the message.
            extra: further entries of its envelope.

        Raises:
            NotSendableError: (a TypeError and ValueError) if something in it cannot be sent; names it.
            FeedValueError: if it is larger than what a router is sure to take.
        """
        envelope = pack({**self._entries(), **extra}) if extra else self._packed_envelope()
        payload = b"\x91\x92" + pack(plain(message, f"feed {self.feed_name}: message")) + envelope
        if len(payload) > MESSAGE_LIMIT - _ROOM_FOR_HEAD:
            raise FeedValueError(
                f"feed {self.feed_name}: the message takes {len(payload):,} bytes, more than the {MESSAGE_LIMIT:,} that"
                " a router is sure to take; publish it in parts."
            )
        return payload

    @staticmethod
    def verify_message_data_type(value: Any) -> None:
        """Check that a value, or a list of values, can go into a recorded feed.

        Raises:
            TypeError: if it cannot.
        """
        wrong = unfit_kinds(value if isinstance(value, list) else [value])
        if wrong:
            raise FeedTypeError(
                f"message 'data' block contains invalid data types: {wrong}; use float, int, str or bool."
            )

    verify_data_field_string = staticmethod(verify_data_field_string)
    enforce_field_name_rules = staticmethod(enforce_field_name_rules)
