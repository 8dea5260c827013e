"""Messages of numbers, left as they came until somebody needs the numbers: nothing is done per value before.

The messages of a feed are alike: the same bytes in the same places, but for their numbers. What one of them consists of
is learned once (`Template`); of the others it is only checked that they differ from it in nothing but the eight bytes
of their floating-point numbers, the publication's id and the message's number. Such a message is `PackedData`; `floats`
takes the numbers out, of many messages at once. Any other message is read as usual.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.feeds.cbor_map import Floats, Number, Unfit, map_of
from ocs.feeds.recorded import is_recorded
from ocs.wamp.frames import CBOR, read_event, read_message

__all__ = ["PackedBlock", "PackedData", "PackedReader", "Template", "floats", "learned"]

_ITEM: Final = 9
"""Bytes of a float64 in CBOR: one that says what it is, and its eight."""

_PLAIN_DETAILS: Final = {"publisher", "publisher_authid", "publisher_authrole", "topic"}
"""Details of an event that ask nothing of who receives it."""

_TOPIC: Final = re.compile(rb"etopic(?:[\x60-\x77]|\x78.)([\x20-\x7e]+)", re.DOTALL)
_WITHIN: Final = 2048
"""Bytes in which the topic is looked for."""

_EVENT: Final = 36
"""The type of an event among WAMP messages."""

_NUMBER: Final = "seq"
"""What the number of a message is called in its envelope."""

_ABSENT: Final = object()

_PAYS: Final = 16
"""Messages that must have fitted a template to make it worth having been learned."""

_RARELY: Final = 1024

_MAX_TEMPLATE_BYTES: Final = 16 << 20
_IDLE: Final = 100_000
"""Messages after which a template that fitted none of them makes room for another."""


class PackedBlock(NamedTuple):
    """Where the numbers of one block are."""

    name: str
    fields: tuple[str, ...]
    rows: int
    times: int
    """Offset of the first timestamp in the message; the others follow, 9 bytes apart."""
    columns: tuple[int, ...]
    """The same for each field."""
    share: int
    """Bytes of a message that are held for the sake of this block."""

    @property
    def waste(self) -> int:
        """How many of these are not the numbers."""
        return self.share - 8 * self.rows * len(self.fields)


class Template(NamedTuple):
    """What the messages of one feed have in common."""

    subscription: int
    mask: NDArray[np.uint8]
    """255 where a byte may not differ, else 0."""
    fixed: bytes
    """The bytes that may not differ, with zeros between them."""
    envelope: dict[str, Any]
    number: tuple[int, int] | None
    """Where the message's number is (offset, bytes), if it has one."""
    blocks: tuple[PackedBlock, ...]
    values: int


class PackedData:
    """The data of one message, still packed.

    Args:
        payload: the WAMP message as it came.
        template: what it is built like.
    """

    __slots__ = ("payload", "template")

    def __init__(self, payload: bytes, template: Template) -> None:
        self.payload = payload
        self.template = template

    @property
    def values_packed(self) -> int:
        """How many values it holds."""
        return self.template.values

    @property
    def blocks(self) -> tuple[PackedBlock, ...]:
        """Where its numbers are."""
        return self.template.blocks

    def unpacked(self) -> Any:
        """Return the data in plain Python values."""
        return read_event(CBOR, self.payload)[0][0]


def floats(payloads: bytes, count: int, offset: int, rows: int) -> NDArray[np.float64]:
    """Take one column out of messages.

    Args:
        payloads: the messages, all of one length, one after the other.
        count: how many there are.
        offset: where the column begins in each.
        rows: how many values it has in each.

    Returns:
        The values, message by message.
    """
    length = len(payloads) // count
    found = np.ndarray((count, rows), ">f8", payloads, offset + 1, (length, _ITEM))
    return found.astype(np.float64).reshape(-1)


class _Known:
    """What is known of messages of one topic and length."""

    __slots__ = ("fitted", "missed", "template", "used")

    def __init__(self) -> None:
        self.template: Template | None = None
        self.missed = 0
        self.fitted = 0
        self.used = 0


class PackedReader:
    """Reads events of recorded feeds: quickly, if they are built like earlier ones of their feed. For one thread only.

    Args:
        max_bytes: how much memory the templates may take.
    """

    def __init__(self, max_bytes: int = _MAX_TEMPLATE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[tuple[bytes, int], _Known] = OrderedDict()
        self._reads = 0

    def __call__(self, payload: bytes) -> tuple[int, list[Any]] | None:
        """Read an event, if that can be done quickly.

        Args:
            payload: a WAMP message in CBOR.

        Returns:
            Its subscription and its arguments, the data as `PackedData`; or None, in which case it may be anything.
        """
        topic = _TOPIC.search(payload, 0, _WITHIN)
        if topic is None:
            return None
        self._reads += 1
        known = self._known_of((topic[1], len(payload)))
        template = known.template
        if template is None or not _fits(payload, template):
            template = self._missed(known, payload)
            if template is None:
                return None
        known.fitted += 1
        return template.subscription, [[PackedData(payload, template), _envelope(payload, template)]]

    def _known_of(self, key: tuple[bytes, int]) -> _Known:
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        elif self._has_room(_memory(key)):
            known = self._known[key] = _Known()
            self._bytes += _memory(key)
        else:
            return _Known()  # forgotten again
        known.used = self._reads
        return known

    def _has_room(self, wanted: int) -> bool:
        """Tell whether so many bytes are free; what has not been of use for long makes room."""
        while self._bytes + wanted > self._max_bytes and self._known:
            key, oldest = next(iter(self._known.items()))
            if self._reads - oldest.used < _IDLE:
                return False
            del self._known[key]
            self._bytes -= _memory(key)
        return self._bytes + wanted <= self._max_bytes

    def _missed(self, known: _Known, payload: bytes) -> Template | None:
        """Learn the message, if that is likely to pay.

        That is the second one, or one after a change; where nothing stays as it is, it is tried ever more rarely.
        """
        if known.fitted >= _PAYS:
            known.missed = 1
        known.missed += 1
        known.fitted = 0
        is_power_of_two = not known.missed & (known.missed - 1)
        if known.missed == 1 or not (is_power_of_two or known.missed % _RARELY == 0):
            return None
        known.template = learned(payload)
        return known.template


def _memory(key: tuple[bytes, int]) -> int:
    return 500 + len(key[0]) + 2 * key[1]


def _fits(payload: bytes, template: Template) -> bool:
    return (np.frombuffer(payload, np.uint8) & template.mask).tobytes() == template.fixed


def _envelope(payload: bytes, template: Template) -> dict[str, Any]:
    if template.number is None:
        return template.envelope
    offset, width = template.number
    return {**template.envelope, _NUMBER: int.from_bytes(payload[offset : offset + width], "big")}


def learned(payload: bytes) -> Template | None:
    """Make a template of a message.

    Args:
        payload: a WAMP message in CBOR.

    Returns:
        The template; None if the message is no plain event of a feed that is recorded, of nothing but numbers.
    """
    try:
        message, layout = read_message(CBOR, payload), map_of(payload)
        return _template(payload, message, layout)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _template(payload: bytes, message: Any, layout: Any) -> Template:
    kind, subscription, _, details, [[_, envelope]] = message
    if kind != _EVENT or not details.keys() <= _PLAIN_DETAILS or not is_recorded(message[4][0]):
        raise Unfit("it is no plain event of a recorded feed")
    publication, [[data, envelope_layout]] = layout[2], layout[4]
    blocks = tuple(_block(name, block, len(payload) // len(data) + 1) for name, block in data.items())
    number = _number(envelope_layout)
    mask = _mask(len(payload), blocks, [publication, *([number] if number else [])])
    return Template(
        subscription,
        mask,
        (np.frombuffer(payload, np.uint8) & mask).tobytes(),
        envelope,
        number,
        blocks,
        sum(block.rows * len(block.fields) for block in blocks),
    )


def _number(envelope: Any) -> Number | None:
    number = envelope.get(_NUMBER, _ABSENT)
    if number is _ABSENT:
        return None
    if not isinstance(number, Number) or not number.width:
        raise Unfit("the message's number has no bytes of its own")
    return number


def _block(name: str, block: Any, share: int) -> PackedBlock:
    times, data = block["timestamps"], block["data"]
    if not isinstance(times, Floats) or not data:
        raise Unfit("it has no timestamps, or no columns")
    if not all(isinstance(column, Floats) and column.length == times.length for column in data.values()):
        raise Unfit("a column is not of floats alone, or not as long as the timestamps")
    columns = tuple(column.offset for column in data.values())
    return PackedBlock(name, tuple(data), times.length, times.offset, columns, share)


def _mask(length: int, blocks: Sequence[PackedBlock], holes: Sequence[Number]) -> NDArray[np.uint8]:
    mask = np.full(length, 255, np.uint8)
    for block in blocks:
        for offset in (block.times, *block.columns):
            mask[offset : offset + _ITEM * block.rows].reshape(block.rows, _ITEM)[:, 1:] = 0
    for offset, width in holes:
        mask[offset : offset + width] = 0
    return mask
