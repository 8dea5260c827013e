"""The format: what an entry looks like in the file, and how it is known to be whole.

A record is the body's length (u32), a CRC-32 over all that follows it (u32), the index (u64), the kind (u8), and the
body; numbers are little-endian.
Zeros, as a power cut leaves them, are no record: their checksum would not be zero.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

from ocs.errors import JournalValueError

__all__ = ["HEADER", "MAX_BODY", "RECORD_BYTES", "Entry", "Part", "encode", "scan"]

HEADER = b"OCSJRNL\x01"
MAX_BODY = 1 << 30  # bytes: what one system call reads for certain

Part = bytes | bytearray | memoryview

_RECORD = struct.Struct("<IIQB")
_CHECKED = struct.Struct("<QB")
_UNCHECKED_BYTES = 8
RECORD_BYTES = _RECORD.size
_BLOCK = 256 << 10


class Entry(NamedTuple):
    """One entry of a journal.

    Args:
        index: its place; never below that of the entry before.
        kind: 0 to 255, what its writer means by it.
        body: the bytes given.
    """

    index: int  # type: ignore[assignment]  # tuples have a method of this name; nobody misses it here
    kind: int
    body: bytes


def encode(index: int, kind: int, parts: Iterable[Part]) -> tuple[list[bytes], int]:
    """Return an entry's record, in pieces, and its length, bytes. What is `bytes` is not copied.

    Args:
        index: 0 to 2**64 - 1.
        kind: 0 to 255.
        parts: the body.

    Raises:
        JournalValueError: a number is out of its range, or the body too long.
    """
    try:
        crc = crc32(_CHECKED.pack(index, kind))
    except struct.error as error:
        raise JournalValueError(f"index {index!r}, kind {kind!r}: not what an entry can have ({error})") from error
    pieces = [b""]
    length = 0
    for part in parts:
        piece = part if type(part) is bytes else bytes(part)
        crc = crc32(piece, crc)
        length += len(piece)
        pieces.append(piece)
    if length > MAX_BODY:
        raise JournalValueError(f"a body of {length} bytes: an entry takes {MAX_BODY} at most")
    pieces[0] = _RECORD.pack(length, crc, index, kind)
    return pieces, RECORD_BYTES + length


def scan(read: Callable[[int, int], bytes], offset: int, end: int) -> Iterator[tuple[Entry, int]]:
    """Yield each entry from an offset on, and the offset at which it ends; stop at the first that is not whole.

    Args:
        read: called with a number of bytes and an offset, returns what is there.
        offset: where a record begins, bytes.
        end: beyond this there is nothing to be read, bytes.
    """
    block, base = memoryview(b""), offset
    while offset + RECORD_BYTES <= end:
        if offset + RECORD_BYTES - base > len(block):
            block, base = memoryview(read(min(_BLOCK, end - offset), offset)), offset
            if len(block) < RECORD_BYTES:
                return
        length, crc, index, kind = _RECORD.unpack_from(block, offset - base)
        after = offset + RECORD_BYTES + length
        if after > end or length > MAX_BODY:
            return
        if after - base > len(block):
            block, base = memoryview(read(max(min(_BLOCK, end - offset), after - offset), offset)), offset
        at = offset - base
        checked = block[at + _UNCHECKED_BYTES : at + RECORD_BYTES + length]
        if crc32(checked) != crc:
            return
        yield Entry(index, kind, bytes(checked[_CHECKED.size :])), after
        offset = after
