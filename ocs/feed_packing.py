"""Packing blocks into events of a size that every router takes."""

from ocs.feed_block import Block
from ocs.wamp import pack

__all__ = ["packed_events", "packed_pieces"]

_SPLIT_AT = 256 << 10
"""Size of a message, in bytes, above which a batch is split."""

Piece = tuple[str, bytes, int]
"""A packed block, or a part of one: its name, the bytes, the number of samples."""


def packed_pieces(block: Block) -> list[Piece]:
    """Return a block as packed parts that each fit a message: its name, the bytes, the number of samples."""
    samples = len(block.timestamps)
    whole = pack(block.encoded())
    if len(whole) <= _SPLIT_AT or samples == 1:
        return [(block.name, whole, samples)]
    step = max(1, samples * _SPLIT_AT // (len(whole) + 1))
    parts = [_slice(block, start, start + step) for start in range(0, samples, step)]
    return [piece for part in parts for piece in (packed_pieces(part) if len(part.timestamps) < samples else [])]


def _slice(block: Block, start: int, stop: int) -> Block:
    part = Block(block.name, ())
    part.timestamps = block.timestamps[start:stop]
    part.data = {key: column[start:stop] for key, column in block.data.items()}
    part.tags = block.tags
    return part


def packed_events(pieces: list[Piece], envelope: bytes) -> list[tuple[bytes, int]]:
    """Join packed blocks into the packed arguments of as few events as their sizes allow."""
    messages: list[tuple[bytes, int]] = []
    group: list[Piece] = []
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


def _joined(group: list[Piece], envelope: bytes) -> tuple[bytes, int]:
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
