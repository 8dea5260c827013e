"""The forms that WAMP messages have on the wire.

Messages travel as MessagePack where the router takes it, since it is several times faster to write and read than CBOR
at both ends; CBOR and JSON follow.
"""

from typing import Any

import msgpack

from ocs.wamp.lean_autobahn import (
    CBORSerializer,
    JsonSerializer,
    MsgPackObjectSerializer,
    MsgPackSerializer,
    Serializer,
)

__all__ = ["TolerantMsgPack", "pack", "serializers"]


def pack(value: Any) -> bytes:
    """Return ``value`` as MessagePack, in the caller's thread.

    Args:
        value: plain maps, lists, strings, numbers, booleans and None.

    Returns:
        The bytes.
    """
    packed: bytes = msgpack.packb(value)
    return packed


class TolerantMsgPack(MsgPackObjectSerializer):  # type: ignore[misc]
    """MessagePack that accepts map keys of any type: a peer that sends such a map must not cost us the connection."""

    def serialize(self, obj: Any) -> bytes:
        """Return ``obj`` as MessagePack."""
        return pack(obj)

    def unserialize(self, payload: bytes) -> list[Any]:
        """Return what ``payload`` holds, in a list."""
        return [msgpack.unpackb(payload, strict_map_key=False, unicode_errors="replace")]


def serializers(*, hears_others: bool) -> list[Serializer]:
    """Return the serializers to offer to the router, the favourite first.

    Args:
        hears_others: whether CBOR is to be the favourite.
    """
    quick = MsgPackSerializer()
    Serializer.__init__(quick, TolerantMsgPack())
    offers = [quick, CBORSerializer(), JsonSerializer()]
    return [offers[1], offers[0], offers[2]] if hears_others else offers
