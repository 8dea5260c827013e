"""What the journal keeps of a datagram: when it came, from whom, and its bytes.

A body is the time of arrival (f64, unix s), the sender's port (u16), the length of its address (u8), the address as
text, and the datagram; numbers are little-endian.
"""

import struct
from typing import NamedTuple

__all__ = ["Arrival", "pack_arrival", "unpack_arrival"]

_HEAD = struct.Struct("<dHB")


class Arrival(NamedTuple):
    """A datagram as it came.

    Args:
        time: when it was taken from the socket, unix s.
        host: the sender's address.
        port: the sender's port.
        data: its bytes.
    """

    time: float
    host: str
    port: int
    data: bytes


def pack_arrival(time: float, host: str, port: int, data: bytes) -> bytes:
    """Return a journal entry's body.

    Args:
        time: when the datagram was taken from the socket, unix s.
        host: the sender's address, 255 characters of ASCII at most.
        port: the sender's port, 0 to 65535.
        data: the datagram.
    """
    address = host.encode()
    return _HEAD.pack(time, port, len(address)) + address + data


def unpack_arrival(body: bytes) -> Arrival:
    """Return what `pack_arrival` was given.

    Raises:
        ValueError: this is not what it has made.
    """
    try:
        time, port, length = _HEAD.unpack_from(body)
    except struct.error as error:
        raise ValueError(f"not an arrival: {error}") from error
    begin = _HEAD.size + length
    if begin > len(body):
        raise ValueError(f"not an arrival: {len(body)} bytes, of which the sender's address would take {length}")
    return Arrival(time, body[_HEAD.size : begin].decode(), port, body[begin:])
