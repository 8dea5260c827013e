"""Where things are in a CBOR item (RFC 8949): a map of its bytes, for reading others that are built alike."""

from typing import Final, NamedTuple, TypeAlias

__all__ = ["Array", "Floats", "Map", "Node", "Number", "Unfit", "map_of"]

_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = 0, 2, 3, 4, 5, 6
_INLINE, _WIDEST = 24, 27
"""A value below the first is in the item's first byte; from there to the second, in the 1, 2, 4 or 8 bytes after it."""

_FLOAT64: Final = 0xFB
_DEEPEST: Final = 16


class Unfit(ValueError):  # noqa: N818 - it is no error, only something that is not mapped
    """The item has something of which no map is made."""


class Number(NamedTuple):
    """An unsigned integer: where its bytes are; none if it is in its first byte."""

    offset: int
    width: int


class Floats(NamedTuple):
    """An array of nothing but float64: where the first item is; each takes 9 bytes, the last 8 of which vary."""

    offset: int
    length: int


class Map(dict[str, "Node"]):
    """A map whose keys are texts."""


class Array(list["Node"]):
    """An array."""


Node: TypeAlias = Number | Floats | Map | Array | None
"""None: anything else."""


def map_of(payload: bytes) -> Node:
    """Make a map of one item.

    Args:
        payload: the item's bytes.

    Raises:
        Unfit: it has an indefinite length, a tag, a key that is no text or is there twice, or too many levels; or the
            bytes are not those of one item.
    """
    try:
        node, end = _node(payload, 0, 0)
    except (IndexError, UnicodeDecodeError) as error:
        raise Unfit("it is no CBOR") from error
    if end != len(payload):
        raise Unfit("it does not end where the bytes do")
    return node


def _node(payload: bytes, at: int, depth: int) -> tuple[Node, int]:
    if depth > _DEEPEST:
        raise Unfit("it has too many levels")
    major, value, start = _head(payload, at)
    if major == _MAP:
        return _map(payload, start, value, depth + 1)
    if major == _ARRAY:
        return _array(payload, start, value, depth + 1)
    if major in (_BYTES, _TEXT):
        return None, start + value
    return (Number(at + 1, start - at - 1) if major == _UNSIGNED else None), start


def _head(payload: bytes, at: int) -> tuple[int, int, int]:
    """Return an item's major type, its value or length, and where its content begins."""
    major, value, start = payload[at] >> 5, payload[at] & 31, at + 1
    if major == _TAG or value > _WIDEST:
        raise Unfit("it has an indefinite length or a tag")
    if value < _INLINE:
        return major, value, start
    end = start + (1 << (value - _INLINE))
    return major, int.from_bytes(payload[start:end], "big"), end


def _map(payload: bytes, at: int, length: int, depth: int) -> tuple[Map, int]:
    found = Map()
    for _ in range(length):
        key, at = _key(payload, at)
        if key in found:
            raise Unfit("it has a key twice")
        found[key], at = _node(payload, at, depth)
    return found, at


def _key(payload: bytes, at: int) -> tuple[str, int]:
    major, length, start = _head(payload, at)
    if major != _TEXT:
        raise Unfit("it has a key that is no text")
    return payload[start : start + length].decode(), start + length


def _array(payload: bytes, at: int, length: int, depth: int) -> tuple[Array | Floats, int]:
    end = at + 9 * length
    if length and end <= len(payload) and payload[at:end:9] == bytes((_FLOAT64,)) * length and payload[at] == _FLOAT64:
        return Floats(at, length), end
    found = Array()
    for _ in range(length):
        node, at = _node(payload, at, depth)
        found.append(node)
    return found, at
