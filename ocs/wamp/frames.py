"""Events as they came, for whoever keeps them: a frame is a message's bytes, and what they are written in.

A subscriber's handler that is marked by `takes_frame` is given the frame beside the event; `read_event` makes the event
of a frame again, without a session, as it would have been on arrival.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

from ocs.wamp.lean_autobahn import Event
from ocs.wamp.serializers import pack, serializers

__all__ = [
    "ARGUMENTS",
    "CBOR",
    "JSON",
    "MSGPACK",
    "Frame",
    "Reader",
    "number_of",
    "pack_event",
    "quick_reader",
    "read_event",
    "read_message",
    "takes_frame",
    "wants_frame",
]

CBOR: Final = 1
MSGPACK: Final = 2
JSON: Final = 3
ARGUMENTS: Final = 4
"""An event's arguments alone, as MessagePack: the form that a replay has."""

# The numbers above are on disks: none of them ever gets another meaning.

_NUMBERS: Final = {"cbor": CBOR, "msgpack": MSGPACK, "json": JSON}
_FORMS: Final = {
    _NUMBERS[form.NAME]: form
    for form in (offer._serializer for offer in serializers(hears_others=True))  # noqa: SLF001 - autobahn keeps it there
}

_MARK: Final = "__takes_frame__"
_READER: Final = "__frame_reader__"
_EVENT_FIELDS: Final = 4
"""Message type, subscription, publication, details; arguments and keyword arguments follow where there are any."""

Reader = Callable[[bytes], tuple[int, list[Any]] | None]
"""Reads a binary message: gives the subscription and the arguments of a plain event, or None for whatever it does not
know."""

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Frame(NamedTuple):
    """A message as it came."""

    serializer: int
    """What it is written in: `CBOR`, `MSGPACK`, `JSON` or `ARGUMENTS`."""
    payload: bytes


def takes_frame(handler: Handler, reader: Reader | None = None) -> Handler:
    """Mark a subscriber's handler: it is called with ``frame=``, the event's `Frame`, beside the event's arguments.

    An event that autobahn itself has to look after (because it wants a receipt, say) comes without one: the
    parameter needs a default. Events for such a handler may wait for some 20 ms, so that many come at once.

    Args:
        handler: a function, or a method, also of an object.
        reader: reads events in a way of its own; what it gives is what the handler gets.

    Returns:
        The handler to subscribe with, which is the given one if there is no reader.
    """
    marked: Any = handler
    if reader is not None:
        marked = partial(handler)  # called in the same way, with attributes of its own
        setattr(marked, _READER, reader)
    setattr(getattr(marked, "__func__", marked), _MARK, True)
    return cast("Handler", marked)


def quick_reader(handler: Callable[..., Any]) -> Reader | None:
    """Return the reader that a handler was marked with."""
    found: Reader | None = getattr(handler, _READER, None)
    return found


def wants_frame(handler: Callable[..., Any]) -> bool:
    """Tell whether a handler is marked by `takes_frame`."""
    return getattr(handler, _MARK, False) is True


def pack_event(args: list[Any]) -> Frame:
    """Return the frame of an event that has none.

    Args:
        args: the event's arguments.

    Raises:
        ValueError: something in them has no form on the wire.
    """
    try:
        return Frame(ARGUMENTS, pack(args))
    except (TypeError, ValueError, OverflowError):  # such as an integer beyond 64 bits, which CBOR has
        return Frame(CBOR, _as_cbor([Event.MESSAGE_TYPE, 0, 0, {}, args]))


def _as_cbor(message: list[Any]) -> bytes:
    try:
        packed: bytes = _FORMS[CBOR].serialize(message)
    except Exception as error:  # what is in the message is the caller's
        raise ValueError(f"an event that has no form on the wire: {error}") from error
    return packed


def number_of(name: str) -> int:
    """Return the number of a serializer.

    Args:
        name: its name in WAMP: ``cbor``, ``msgpack`` or ``json``.
    """
    return _NUMBERS[name]


def read_event(serializer: int | str, payload: bytes) -> list[Any]:
    """Make an event of a frame.

    Args:
        serializer: the frame's serializer, its number or its name in WAMP.
        payload: the frame's bytes.

    Returns:
        The event's arguments.

    Raises:
        ValueError: it is no event, or cannot be read.
    """
    found = read_message(serializer, payload)
    if serializer != ARGUMENTS:
        found = _arguments(found)
    if not isinstance(found, list):
        raise ValueError("a frame that holds no event")  # noqa: TRY004 - it is about bytes, not about a type
    return found


def read_message(serializer: int | str, payload: bytes) -> Any:
    """Return whatever is in a frame.

    Args:
        serializer: the frame's serializer, its number or its name in WAMP.
        payload: the frame's bytes.

    Raises:
        ValueError: it cannot be read.
    """
    number = _NUMBERS.get(serializer, 0) if isinstance(serializer, str) else serializer
    form = _FORMS.get(MSGPACK if number == ARGUMENTS else number)
    if form is None:
        raise ValueError(f"an event written in {serializer!r}, which is unknown")
    try:
        (found,) = form.unserialize(payload)
    except Exception as error:  # whatever the decoders raise: the bytes may be anything
        raise ValueError(f"a frame of {len(payload)} bytes that cannot be read: {error}") from error
    return found


def _arguments(message: Any) -> Any:
    if not (isinstance(message, list) and len(message) >= _EVENT_FIELDS and message[0] == Event.MESSAGE_TYPE):
        raise ValueError("a frame that holds no event")
    return message[_EVENT_FIELDS] if len(message) > _EVENT_FIELDS else []
