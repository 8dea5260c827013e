"""Packing blocks into events of a size that every router takes.

A block goes over the wire as a MessagePack map. Large ones have their columns packed one by one, in C, and put together
here, so that no value is touched by Python code: a list of floats by msgpack, a NumPy array of floats by NumPy.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ocs.feeds.block import Block
from ocs.wamp.transport import pack

__all__ = ["Piece", "open_ended", "packed_events", "packed_floats", "packed_pieces", "set_number"]

_SPLIT_AT = 256 << 10
"""Size of a message, in bytes, above which a batch is split."""

_FLOAT = b"\xcb"
"""What MessagePack puts before a float64; with its eight bytes it makes nine."""

_NUMBER_SIZE = 8

Piece = tuple[str, bytes, int]
"""A packed block, or a part of one: its name, the bytes, the number of samples."""


def open_ended(entries: Mapping[str, Any], key: str) -> bytes:
    """Pack a map with one entry more, ``key``, whose number has yet to be put into the last bytes: see `set_number`.

    So a message can be packed once, and numbered when its turn comes.
    """
    packed = b"".join(pack(k) + pack(v) for k, v in entries.items())
    return _map_head(len(entries) + 1) + packed + pack(key) + b"\xcf" + bytes(_NUMBER_SIZE)


def set_number(packed: bytearray, number: int) -> None:
    """Put the number, 0 to 2**64 - 1, into what ends with the result of `open_ended`."""
    packed[-_NUMBER_SIZE:] = number.to_bytes(_NUMBER_SIZE, "big")


def _pack_column(values: Sequence[Any]) -> bytes:
    """Return a list, or a one-dimensional NumPy array of floats, as a MessagePack array."""
    if isinstance(values, list):
        return pack(values)
    numpy = sys.modules["numpy"]  # somebody has made an array, so it is there
    cells = numpy.empty(len(values), dtype=[("mark", "u1"), ("value", ">f8")])
    cells["mark"] = _FLOAT[0]
    cells["value"] = values
    packed: bytes = _array_head(len(values)) + cells.tobytes()
    return packed


def _all_floats(packed: bytes, count: int) -> bool:
    """Tell whether a packed column of ``count`` values holds floats only. Quicker than looking at the values."""
    head = len(packed) - 9 * count
    return head == len(_array_head(count)) and packed[head::9] == _FLOAT * count


def packed_pieces(block: Block) -> list[Piece]:
    """Return a block as packed parts that each fit a message; a single sample that is larger stays whole."""
    samples = len(block.timestamps)
    step = max(1, _SPLIT_AT // (_sample_size(block) + 1))
    if samples <= step:
        return [(block.name, pack(block.encoded()), samples)]
    return [
        (block.name, pack(part.encoded()), len(part.timestamps))
        for part in (_slice(block, start, start + step) for start in range(0, samples, step))
    ]


def _sample_size(block: Block) -> int:
    """Return how many bytes a sample of the block takes at most, text by its longest."""
    longest = [max(map(_text_size, column), default=0) for column in block.data.values() if _has_text(column)]
    return 9 * (len(block.data) + 1) + sum(longest)


def _has_text(column: list[Any]) -> bool:
    return str in set(map(type, column))


def _text_size(value: Any) -> int:
    return 4 * len(value) if isinstance(value, str) else 0


def _slice(block: Block, start: int, stop: int) -> Block:
    part = Block(block.name, ())
    part.timestamps = block.timestamps[start:stop]
    part.data = {key: column[start:stop] for key, column in block.data.items()}
    part.tags = block.tags
    return part


def packed_floats(name: str, timestamps: Sequence[float], columns: Mapping[str, Sequence[float]]) -> list[Piece] | None:
    """Return samples whose values are all floats as packed parts that each fit a message.

    Args:
        name: the block's name.
        timestamps: unix seconds, a list or array of floats.
        columns: for each field a list or array as long as ``timestamps``.

    Returns:
        The parts; None if there is anything else than a float among the values.
    """
    samples = len(timestamps)
    step = max(1, _SPLIT_AT // (9 * (len(columns) + 1)))
    pieces = []
    for start in range(0, samples, step):
        part = slice(start, start + step) if samples > step else slice(None)
        count = min(step, samples - start)
        packed = {key: _pack_column(column[part]) for key, column in columns.items()}
        times = _pack_column(timestamps[part])
        if not all(_all_floats(column, count) for column in (times, *packed.values())):
            return None
        pieces.append((name, _packed_block(name, times, packed), count))
    return pieces


def _packed_block(name: str, timestamps: bytes, columns: Mapping[str, bytes]) -> bytes:
    parts = [b"\x83\xaablock_name", pack(name), b"\xaatimestamps", timestamps, b"\xa4data", _map_head(len(columns))]
    for key, column in columns.items():
        parts += (pack(key), column)
    return b"".join(parts)


def packed_events(pieces: list[Piece], envelope: bytes) -> list[tuple[bytearray, int]]:
    """Join packed blocks into the packed arguments of as few events as their sizes allow.

    Args:
        pieces: packed blocks; of one name, they stay in their order.
        envelope: the feed's packed envelope.

    Returns:
        For each event its packed arguments, ``[[data, envelope]]``, and its number of samples.
    """
    events: list[tuple[bytearray, int]] = []
    group: dict[str, Piece] = {}
    size = 0
    for piece in pieces:
        if group and (piece[0] in group or size + len(piece[1]) > _SPLIT_AT):
            events.append(_joined(list(group.values()), envelope))
            group, size = {}, 0
        group[piece[0]] = piece
        size += len(piece[1])
    if group:
        events.append(_joined(list(group.values()), envelope))
    return events


def _joined(group: list[Piece], envelope: bytes) -> tuple[bytearray, int]:
    parts = [b"\x91\x92", _map_head(len(group))]
    for name, packed, _ in group:
        parts += (pack(name), packed)
    parts.append(envelope)
    return bytearray().join(parts), sum(samples for _, _, samples in group)


def _map_head(size: int) -> bytes:
    """Return the MessagePack header of a map of ``size`` entries."""
    return _head(size, 0x80, b"\xde", b"\xdf")


def _array_head(size: int) -> bytes:
    """Return the MessagePack header of an array of ``size`` items."""
    return _head(size, 0x90, b"\xdc", b"\xdd")


def _head(size: int, short: int, medium: bytes, long: bytes) -> bytes:
    if size < 1 << 4:
        return bytes((short | size,))
    if size < 1 << 16:
        return medium + size.to_bytes(2, "big")
    return long + size.to_bytes(4, "big")
