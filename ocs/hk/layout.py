"""The bytes of a housekeeping frame: where in it a field's values are, found without decoding anything.

A frame is a list of named, sized pieces and a checksum; the piece ``blocks`` has the blocks one after the other, each
with its fields as named, sized pieces again. So one can step from name to name and leave out what is between. Whatever
differs in the slightest from what is known here raises `UnfamiliarError`, and the frame is left to spt3g.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

__all__ = [
    "HEAD_BYTES",
    "BlockPlace",
    "FieldPlace",
    "FrameHead",
    "TornFrameError",
    "UnfamiliarError",
    "block_places",
    "frame_head",
    "plain_value",
    "texts_at",
]

HEAD_BYTES: Final = 13
_HOUSEKEEPING: Final = ord("H")

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_HEAD: Final = struct.Struct("<BIII")
_CHECKSUM_BYTES: Final = 4

_LARGEST_PIECE: Final = 1 << 40
"""A size beyond it (bytes) is no size but damage."""

_LONGEST_NAME: Final = 1 << 16
_MOST_PIECES: Final = 1 << 16


class TornFrameError(ValueError):
    """The bytes end before the frame does, or are no frame at all."""


class UnfamiliarError(ValueError):
    """The frame is not laid out as a frame of this kind usually is: spt3g may know better."""


class FrameHead(NamedTuple):
    """The pieces of a frame."""

    type: int
    """The frame's type, as spt3g numbers it."""
    length: int
    """The frame's length (bytes)."""
    pieces: dict[str, tuple[int, int]]
    """Name → where in the frame the piece begins and ends (bytes)."""

    @property
    def housekeeping(self) -> bool:
        """Whether the frame is of type Housekeeping."""
        return self.type == _HOUSEKEEPING


class FieldPlace(NamedTuple):
    """A field's values in a frame."""

    kind: str
    """``f`` float, ``i`` integer, ``b`` boolean, ``s`` text."""
    width: int
    """Bytes for a value; 0 for texts."""
    offset: int
    """Where in the frame the values begin (bytes)."""
    values: int
    """How many there are."""


class BlockPlace(NamedTuple):
    """A block in a frame."""

    fields: dict[str, FieldPlace]
    """The fields by name."""
    ticks: int
    """Where in the frame its times begin (bytes), int64 in steps of 10 ns."""
    samples: int
    """How many times there are."""


Read = Callable[[int, int], bytes]
"""Returns up to so many bytes from a place in the frame on: ``read(offset, count)``."""


def frame_head(read: Read) -> FrameHead:
    """Find the pieces of a frame and its length.

    Args:
        read: returns bytes of the frame; fewer where the file ends.

    Raises:
        TornFrameError: there is no whole frame.
    """
    head = read(0, HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        raise TornFrameError("the file ends in the middle of a frame")
    little_endian, version, count, frame_type = _HEAD.unpack(head)
    if little_endian != 1 or version != 1 or count > _MOST_PIECES:
        raise TornFrameError("there is no frame where one should begin")
    pieces = {}
    place = HEAD_BYTES
    for _ in range(count):
        name, begin, place = _piece(read, place)
        pieces[name] = (begin, place)
    if len(read(place, _CHECKSUM_BYTES)) < _CHECKSUM_BYTES:
        raise TornFrameError("the file ends in the middle of a frame")
    return FrameHead(frame_type, place + _CHECKSUM_BYTES, pieces)


def _piece(read: Read, place: int) -> tuple[str, int, int]:
    """Return a piece's name, and where what it names begins and ends."""
    size = _size(read(place, 8), _LONGEST_NAME)
    words = read(place + 8, size + 8)
    begin = place + 16 + size
    return words[:size].decode("utf-8", "replace"), begin, begin + _size(words[size:], _LARGEST_PIECE)


def _size(content: bytes, largest: int) -> int:
    if len(content) < _U64.size:
        raise TornFrameError("the file ends in the middle of a frame")
    size: int = _U64.unpack(content)[0]
    if size > largest:
        raise TornFrameError("there is no frame where one should begin")
    return size


# What spt3g writes before the content of an object: the byte order, the type's name, a number for the object, versions.
_NEW: Final = 0x80000000


def _preamble(name: str, *versions: int) -> bytes:
    numbers = struct.pack(f"<{len(versions)}I", *versions)
    return b"\x01" + _named(1, name) + _U32.pack(_NEW | 1) + numbers


def _named(number: int, name: str) -> bytes:
    return _U32.pack(_NEW | number) + _U64.pack(len(name)) + name.encode()


_VECTORS: Final = {
    _preamble("G3VectorDouble", 1, 1): ("f", 8),
    _preamble("G3VectorBool", 1, 1): ("b", 1),
    _preamble("G3VectorString", 1, 1): ("s", 0),
    **{_preamble("G3VectorInt", 2, 1, bits): ("i", bits // 8) for bits in (8, 16, 32, 64)},
}
_VECTOR_SIZES: Final = sorted({len(preamble) for preamble in _VECTORS})
_BLOCKS: Final = _preamble("G3VectorFrameObject", 1, 1)
_FIRST_BLOCK: Final = _named(2, "G3TimesampleMap") + _U32.pack(_NEW | 2) + struct.pack("<II", 0, 1)
_TIMES_VERSION: Final = _U32.pack(1)


def block_places(frame: bytes | memoryview, begin: int, end: int) -> list[BlockPlace]:
    """Find the blocks in a frame's piece ``blocks``.

    Args:
        frame: the frame.
        begin: where the piece begins in it (bytes).
        end: and where it ends.

    Raises:
        UnfamiliarError: it is not laid out as usual.
    """
    try:
        return list(_blocks(frame, begin, end))
    except (struct.error, IndexError, UnicodeDecodeError, KeyError) as error:
        raise UnfamiliarError("the blocks of the frame are not laid out as usual") from error


def _expect(frame: bytes | memoryview, place: int, words: bytes) -> int:
    """Return where ``words`` end, which have to be at ``place``."""
    end = place + len(words)
    if frame[place:end] != words:
        raise UnfamiliarError("the blocks of the frame are not laid out as usual")
    return end


def _blocks(frame: bytes | memoryview, place: int, end: int) -> Iterator[BlockPlace]:
    place = _expect(frame, place, _BLOCKS)
    (count,) = _U64.unpack_from(frame, place)
    place += _U64.size
    first_time = True  # the version of a time is told once, before the first of all
    for number in range(count):
        # The same goes for the versions of a block and of a list of times.
        opening = _FIRST_BLOCK if number == 0 else struct.pack("<II", 2, _NEW | (number + 2))
        place = _expect(frame, place, opening)
        fields, place = _fields(frame, place)
        if number == 0:
            place = _expect(frame, place, _TIMES_VERSION)
        (samples,) = _U64.unpack_from(frame, place)
        place += _U64.size
        if samples and first_time:
            place = _expect(frame, place, _TIMES_VERSION)
            first_time = False
        yield BlockPlace(fields, place, samples)
        place += 8 * samples
        if place > end:
            raise UnfamiliarError("the blocks of the frame are longer than the frame")
    if place != end:
        raise UnfamiliarError("there is more in the frame than its blocks")


def _fields(frame: bytes | memoryview, place: int) -> tuple[dict[str, FieldPlace], int]:
    """Return the fields of a block, and where they end."""
    fields = {}
    (count,) = _U32.unpack_from(frame, place)
    place += _U32.size
    read_size = _U64.unpack_from
    known = None
    for _ in range(count):
        begin = place + 8 + read_size(frame, place)[0]
        name = str(frame[place + 8 : begin], "utf-8")
        size = read_size(frame, begin)[0]
        begin += 8
        place = begin + size
        # Neighbours mostly are of one type.
        if known is None or frame[begin : begin + len(known)] != known:
            known = _preamble_at(frame, begin)
        kind, width = _VECTORS[known]
        values = begin + len(known) + 8
        (number,) = read_size(frame, values - 8)
        if width and values + number * width != place:
            raise UnfamiliarError("a field is longer or shorter than its values")
        fields[name] = FieldPlace(kind, width, values, number)
    return fields, place


def _preamble_at(frame: bytes | memoryview, place: int) -> bytes:
    for size in _VECTOR_SIZES:
        words = bytes(frame[place : place + size])
        if words in _VECTORS:
            return words
    raise UnfamiliarError("a field is of a type that is not known")


_TEXT: Final = _preamble("G3String", 1, 1)
_NUMBERS: Final = {
    _preamble("G3Int", 1, 1): struct.Struct("<q"),
    _preamble("G3Double", 1, 1): struct.Struct("<d"),
}
_TEXTS: Final = _preamble("G3VectorString", 1, 1)


def plain_value(piece: bytes) -> Any:
    """Return what a frame's piece is: a number, a text, or a list of texts.

    Raises:
        UnfamiliarError: it is something else.
    """
    try:
        if piece.startswith(_TEXTS):
            return texts_at(piece, len(_TEXTS) + 8, _U64.unpack_from(piece, len(_TEXTS))[0])
        if piece.startswith(_TEXT):
            return texts_at(piece, len(_TEXT), 1)[0]
        return next(
            form.unpack_from(piece, len(words))[0] for words, form in _NUMBERS.items() if piece.startswith(words)
        )
    except (struct.error, UnicodeDecodeError, StopIteration) as error:
        raise UnfamiliarError("a piece of the frame is not of the usual type") from error


def texts_at(content: bytes, place: int, count: int) -> list[str]:
    """Return so many texts from a place on.

    Raises:
        struct.error, UnicodeDecodeError: there are no such texts.
    """
    texts = []
    for _ in range(count):
        begin = place + 8
        place = begin + _U64.unpack_from(content, begin - 8)[0]
        texts.append(str(content[begin:place], "utf-8"))
    return texts
