"""Feeds: what an agent publishes, checked where it is published, buffered, and handed on to the router.

A recorded feed takes samples from any thread. Each sample is checked in its caller's stack frame and put into a block (a
set of lists that share their timestamps). The blocks leave ``buffer_time`` seconds after the first sample came, or
sooner when there are many; a large batch leaves in several messages, each of a size that every router takes.
"""

import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocs.errors import OCSError
from ocs.field_names import enforce_field_name_rules, verify_data_field_string
from ocs.outbox import Parcel
from ocs.plain import INT_MAX, INT_MIN, kind_name, plain
from ocs.wamp import MESSAGE_LIMIT, pack

__all__ = ["Block", "BlockMismatchError", "Feed", "FeedError"]

_SCALARS = frozenset((float, int, str, bool))
_SPLIT_AT = 256 << 10
"""Size of a message, in bytes, above which a batch is split."""
_FLUSH_AT = 40_000
"""Values in a feed's buffer above which it leaves at once: bounds memory, and keeps each flush short."""
_STRING_LIMIT = 900_000
"""Longest text in a sample, in bytes: with its envelope it still fits a message."""


class FeedError(OCSError):
    """A message cannot be published; the text names the feed, the field and the reason."""


class FeedTypeError(FeedError, TypeError):
    """A value, or the message itself, is of a type that has no place in a feed."""


class FeedValueError(FeedError, ValueError):
    """A value is out of range, or lists differ in length."""


class FeedKeyError(FeedError, KeyError):
    """A message lacks ``block_name``, ``timestamp`` or ``data``."""


class BlockMismatchError(FeedValueError):
    """A sample's fields are not those that its block began with."""


class Block:
    """Samples that were taken together: one list of timestamps, and a list of values per field.

    Args:
        name: the block's name, unique within the feed.
        keys: the names of its fields; they stay the same for the block's life.
    """

    def __init__(self, name: str, keys: Iterable[str]) -> None:
        self.name = name
        self.timestamps: list[float] = []
        self.tags: dict[str, Any] | None = None
        self.data: dict[str, list[Any]] = {key: [] for key in keys}

    def append(self, d: Mapping[str, Any]) -> None:
        """Add one sample.

        Args:
            d: a map with ``timestamp`` (unix s) and ``data`` (field name to value).

        Raises:
            BlockMismatchError: if the fields differ from the block's.
        """
        data = d["data"]
        self._check_keys(data)
        self.timestamps.append(d["timestamp"])
        for key, column in self.data.items():
            column.append(data[key])

    def extend(self, block: Mapping[str, Any]) -> None:
        """Add many samples.

        Args:
            block: a map with ``timestamps`` (unix s) and ``data`` (field name to list of values).

        Raises:
            BlockMismatchError: if the fields differ from the block's.
        """
        data = block["data"]
        self._check_keys(data)
        self.timestamps.extend(block["timestamps"])
        for key, column in self.data.items():
            column.extend(data[key])

    def _check_keys(self, data: Mapping[str, Any]) -> None:
        if data.keys() != self.data.keys():
            raise BlockMismatchError(_mismatch(self.name, self.data, data))

    def empty(self) -> bool:
        """Tell whether the block holds no sample."""
        return not self.timestamps

    def clear(self) -> None:
        """Drop all samples; the fields stay."""
        self.timestamps = []
        self.data = {key: [] for key in self.data}

    def encoded(self) -> dict[str, Any]:
        """Return the block as it goes over the wire."""
        return _encoded(self.name, self.timestamps, self.data, self.tags)


def _encoded(
    name: str, timestamps: list[float], data: dict[str, list[Any]], tags: dict[str, Any] | None
) -> dict[str, Any]:
    message: dict[str, Any] = {"block_name": name, "timestamps": timestamps, "data": data}
    if tags:
        message["influxdb_tags"] = tags
    return message


def _mismatch(name: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    missing, added = sorted(mine.keys() - theirs.keys()), sorted(map(str, theirs.keys() - mine.keys()))
    parts = [f"{word} {keys}" for word, keys in (("missing", missing), ("new", added)) if keys]
    return f"Block structure does not match: {name} ({', '.join(parts)}). Use another block_name for other fields."


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
        self.agg_params = agg_params or {}
        self.buffer_time = buffer_time
        self.max_messages = max_messages
        self.agent_address = agent.agent_address
        self.address = f"{agent.agent_address}.feeds.{feed_name}"
        self.blocks: dict[str, Block] = {}
        self._lock = threading.Lock()
        self._buffered = 0
        self._flush_due = False
        self._envelope: bytes | None = None

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

    def publish_message(self, message: Any, timestamp: float | None = None) -> None:
        """Publish a message, from any thread.

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
            self._publish_whole(message)
            return
        try:
            data = message["data"]
            block = self.blocks.get(message["block_name"])
            stamp = message.get("timestamp")
            if type(stamp) is float and data.keys() == block.data.keys():  # type: ignore[union-attr]
                values = data.values()
                if _kinds(values) <= _SAFE:
                    self._append(block, stamp, data)  # type: ignore[arg-type]
                    return
        except (AttributeError, KeyError, TypeError):
            pass  # not the common form: the slow way finds out, and says, what it is
        self._publish_checked(message)

    def _append(self, block: Block, stamp: float, data: Mapping[str, Any]) -> None:
        with self._lock:
            block.timestamps.append(stamp)
            columns = block.data
            for key, value in data.items():
                columns[key].append(value)
            self._buffered += len(columns) + 1
            due = self._flush_due
            self._flush_due = True
        if not due or self._buffered > _FLUSH_AT:
            self._arrange_flush()

    def _publish_checked(self, message: Any) -> None:
        name, stamps, columns = _as_columns(message, self.feed_name)
        tags = message.get("influxdb_tags")
        with self._lock:
            block = self.blocks.get(name)
            if block is None:
                for key in columns:
                    _check_name(key, self.feed_name)
                block = self.blocks[name] = Block(name, columns)
            elif columns.keys() != block.data.keys():
                raise BlockMismatchError(f"feed {self.feed_name}: {_mismatch(name, block.data, columns)}")
            block.timestamps.extend(stamps)
            for key, column in columns.items():
                block.data[key].extend(column)
            if tags:
                block.tags = plain(tags, f"feed {self.feed_name}: influxdb_tags")
            self._buffered += len(stamps) * (len(columns) + 1)
            due, self._flush_due = self._flush_due, True
        if not due or self._buffered > _FLUSH_AT:
            self._arrange_flush()

    def _arrange_flush(self) -> None:
        if self._buffered > _FLUSH_AT:
            self.flush_buffer()
        elif self.buffer_time > 0:
            self.agent.call_in_reactor(self._flush_later)
        else:
            self.agent.call_in_reactor(self.flush_buffer)

    def _flush_later(self) -> None:
        self.agent.call_later(self.buffer_time, self.flush_buffer)

    def flush_buffer(self) -> None:
        """Send what is buffered, from any thread."""
        with self._lock:
            self._flush_due = False
            if not self._buffered:
                return
            self._buffered = 0
            pieces = []
            for block in self.blocks.values():
                if block.timestamps:
                    pieces.extend(_pieces(block))
                    block.clear()
            # Still under the lock, so that messages leave in the order of their samples.
            for payload, samples in _messages(pieces, self._packed_envelope()):
                self.agent.outbox.put(Parcel(self.address, payload, samples))

    def _packed_envelope(self) -> bytes:
        if self._envelope is None:
            self._envelope = pack(plain(self.encoded(), f"feed {self.feed_name}: envelope"))
        return self._envelope

    def _publish_whole(self, message: Any) -> None:
        payload = b"\x91\x92" + pack(plain(message, f"feed {self.feed_name}: message")) + self._packed_envelope()
        if len(payload) > MESSAGE_LIMIT - _ROOM_FOR_HEAD:
            raise FeedValueError(
                f"feed {self.feed_name}: the message takes {len(payload):,} bytes, more than the {MESSAGE_LIMIT:,} that"
                " a router is sure to take; publish it in parts."
            )
        self.agent.outbox.put(Parcel(self.address, payload, 0))

    @staticmethod
    def verify_message_data_type(value: Any) -> None:
        """Check that a value, or a list of values, can go into a recorded feed.

        Raises:
            TypeError: if it cannot.
        """
        items = value if isinstance(value, list) else [value]
        wrong = {
            kind_name(item) for item in items if not isinstance(item, float | int | str | bool) and not _numpy(item)
        }
        if wrong:
            raise FeedTypeError(
                f"message 'data' block contains invalid data types: {sorted(wrong)}; use float, int, str or bool."
            )

    verify_data_field_string = staticmethod(verify_data_field_string)
    enforce_field_name_rules = staticmethod(enforce_field_name_rules)


_ROOM_FOR_HEAD = 1024
_SAFE = frozenset((float, bool))
"""Types whose every value can be sent."""


def _kinds(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def _numpy(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "tolist")


def _check_name(key: Any, feed_name: str) -> None:
    if not isinstance(key, str):
        raise FeedTypeError(f"feed {feed_name}: field name {key!r} is a {kind_name(key)}, not text.")
    try:
        verify_data_field_string(key)
    except ValueError as error:
        raise FeedValueError(f"feed {feed_name}: {error}") from None


def _as_columns(message: Any, feed: str) -> tuple[str, list[float], dict[str, list[Any]]]:
    """Return a message's block name, timestamps and columns, all checked; one sample makes columns of one."""
    if not isinstance(message, Mapping):
        raise FeedTypeError(f"feed {feed}: a message of a recorded feed is a map, not a {kind_name(message)}.")
    name, data = _part(message, "block_name", feed), _part(message, "data", feed)
    if not isinstance(name, str) or not isinstance(data, Mapping):
        raise FeedTypeError(f"feed {feed}: block_name must be text and data a map of field names to values.")
    if "timestamp" in message:
        stamps: Any = [message["timestamp"]]
        columns = {key: [value] for key, value in data.items()}
    else:
        stamps = _part(message, "timestamps", feed)
        columns = {key: _as_list(value, key, feed) for key, value in data.items()}
        stamps = _as_list(stamps, "timestamps", feed)
    checked = {key: _checked(column, key, feed) for key, column in columns.items()}
    times = _checked_times(stamps, feed, name)
    for key, column in checked.items():
        if len(column) != len(times):
            raise FeedValueError(
                f"feed {feed}: field {key} of block {name} has {len(column)} values for {len(times)} timestamps."
            )
    return name, times, checked


def _part(message: Mapping[str, Any], key: str, feed: str) -> Any:
    try:
        return message[key]
    except KeyError:
        wanted = "timestamp (or timestamps)" if key == "timestamps" else key
        raise FeedKeyError(f"feed {feed}: the message has no {wanted!r}.") from None


def _as_list(value: Any, key: str, feed: str) -> list[Any]:
    if isinstance(value, list):
        return value
    if _numpy(value) and getattr(value, "ndim", 0) == 1:
        items: list[Any] = value.tolist()
        return items
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    raise FeedTypeError(f"feed {feed}: {key} must be a list of values, not a {kind_name(value)}.")


def _checked(column: list[Any], key: str, feed: str) -> list[Any]:
    kinds = _kinds(column)
    if not kinds <= _SCALARS:
        column = [_scalar(value, key, feed) for value in column]
        kinds = _kinds(column)
    if int in kinds:
        _check_ints(column, key, feed)
    if str in kinds:
        _check_text(column, key, feed)
    return column


def _scalar(value: Any, key: str, feed: str) -> Any:
    """Return one value as a plain float, int, str or bool."""
    if _numpy(value) and getattr(value, "ndim", 0) == 0:
        value = value.item() if hasattr(value, "item") else value.tolist()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value) if kind is not str else str.__str__(value)
    hint = "; use float('nan') for 'no value'" if value is None else ""
    raise FeedTypeError(
        f"feed {feed}: field {key} cannot hold a {kind_name(value)}, only float, int, str or bool{hint}."
    )


def _check_ints(column: list[Any], key: str, feed: str) -> None:
    for value in column:
        if type(value) is int and not INT_MIN <= value <= INT_MAX:
            raise FeedValueError(f"feed {feed}: field {key} holds {str(value)[:40]}, an integer of more than 64 bits.")


def _check_text(column: list[Any], key: str, feed: str) -> None:
    for value in column:
        if type(value) is not str:
            continue
        if len(value) * 4 > _STRING_LIMIT and len(value.encode("utf-8", "replace")) > _STRING_LIMIT:
            raise FeedValueError(f"feed {feed}: field {key} holds a text of more than {_STRING_LIMIT:,} bytes.")
        if not value.isascii():
            _check_unicode(value, key, feed)


def _check_unicode(value: str, key: str, feed: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FeedValueError(
            f"feed {feed}: field {key} holds text that is not valid Unicode (a lone surrogate)."
        ) from None


def _checked_times(stamps: list[Any], feed: str, block: str) -> list[float]:
    if _kinds(stamps) == {float} and all(map(math.isfinite, stamps)):
        return stamps
    return [_time(stamp, feed, block) for stamp in stamps]


def _time(stamp: Any, feed: str, block: str) -> float:
    if _numpy(stamp) and getattr(stamp, "ndim", 0) == 0:
        stamp = stamp.item()
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        raise FeedTypeError(f"feed {feed}: timestamp of block {block} is {stamp!r}, not a number of unix seconds.")
    if not math.isfinite(stamp):
        raise FeedValueError(f"feed {feed}: timestamp of block {block} is {stamp!r}, not a moment.")
    return float(stamp)


def _pieces(block: Block) -> list[tuple[str, bytes, int]]:
    """Return a block as packed parts that each fit a message: its name, the bytes, the number of samples."""
    samples = len(block.timestamps)
    whole = pack(block.encoded())
    if len(whole) <= _SPLIT_AT or samples == 1:
        return [(block.name, whole, samples)]
    step = max(1, samples * _SPLIT_AT // (len(whole) + 1))
    parts = [_slice(block, start, start + step) for start in range(0, samples, step)]
    return [piece for part in parts for piece in (_pieces(part) if len(part.timestamps) < samples else [])]


def _slice(block: Block, start: int, stop: int) -> Block:
    part = Block(block.name, ())
    part.timestamps = block.timestamps[start:stop]
    part.data = {key: column[start:stop] for key, column in block.data.items()}
    part.tags = block.tags
    return part


def _messages(pieces: list[tuple[str, bytes, int]], envelope: bytes) -> list[tuple[bytes, int]]:
    """Join packed blocks into the packed arguments of as few events as their sizes allow."""
    messages: list[tuple[bytes, int]] = []
    group: list[tuple[str, bytes, int]] = []
    size = 0
    for piece in pieces:
        taken = any(name == piece[0] for name, _, _ in group)
        if group and (taken or size + len(piece[1]) > _SPLIT_AT):
            messages.append(_joined(group, envelope))
            group, size = [], 0
        group.append(piece)
        size += len(piece[1])
    if group:
        messages.append(_joined(group, envelope))
    return messages


def _joined(group: list[tuple[str, bytes, int]], envelope: bytes) -> tuple[bytes, int]:
    parts = [b"\x91\x92", _map_head(len(group))]
    for name, packed, _ in group:
        parts += (pack(name), packed)
    parts.append(envelope)
    return b"".join(parts), sum(samples for _, _, samples in group)


def _map_head(size: int) -> bytes:
    """Return the MessagePack header of a map of ``size`` entries."""
    if size < 16:  # noqa: PLR2004 - the MessagePack specification
        return bytes((0x80 | size,))
    if size < 1 << 16:
        return b"\xde" + size.to_bytes(2, "big")
    return b"\xdf" + size.to_bytes(4, "big")
