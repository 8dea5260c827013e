"""WAMP messages over a WebSocket: a transport that does little per message.

This is the one module that knows how autobahn's transport works inside.
"""

import time
from collections.abc import Callable, Iterator
from inspect import iscoroutine
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import connectionDone

from ocs.wamp.cutter import FrameCutter, FrameTooLargeError
from ocs.wamp.frames import Frame, Reader, number_of, quick_reader, wants_frame
from ocs.wamp.lean_autobahn import (
    ApplicationError,
    ApplicationSession,
    Error,
    Event,
    Invocation,
    Message,
    SerializationError,
    TransportLost,
    WampWebSocketClientFactory,
    WampWebSocketClientProtocol,
    Yield,
)
from ocs.wamp.serializers import TolerantMsgPack, pack, serializers

__all__ = ["MESSAGE_LIMIT", "RECEIVE_LIMIT", "Transport", "TransportFactory", "pack", "serializers"]

MESSAGE_LIMIT = 1 << 20
"""The largest WAMP message that we send, in bytes: what a router with default settings takes."""

RECEIVE_LIMIT = 64 << 20
"""The largest message that we accept, in bytes. A bound on a runaway peer, far above what a router passes on."""

_REPLY_LIMIT = 15 << 20
"""The largest reply that we send, in bytes: a router cuts off who sends more than it takes, and ours takes 16 MiB."""

_EVENT_FIELDS = 4
"""Message type, subscription, publication, details; arguments and keyword arguments follow where there are any."""

_LONGEST_REST = 0.02
"""How long a stream of events for somebody who keeps them is left alone (s)."""

_OFTEN = 1.1 * _LONGEST_REST
"""Seconds between two such events that make it a stream; where they are rarer than rests, a rest would save nothing."""

_LITTLE, _MUCH = 12 << 10, 48 << 10
"""Bytes found in the socket after a rest that make the next one longer, or shorter."""

_CALL = 48
"""WAMP's number of the message that calls a procedure."""

_TELL_AGAIN = 30.0
"""Seconds between two lines on what comes of others' mistakes."""

_UNMADE = "no procedure takes these arguments"

_SPECIAL_EVENTS = {"enc_algo", "x_acknowledged_delivery"}
"""Details of events that autobahn itself must look after."""


class Transport(WampWebSocketClientProtocol):  # type: ignore[misc]
    """WAMP over WebSocket as autobahn does it, without the work per message that only its trace log needs."""

    _cutter: FrameCutter | None = None
    _reader: Reader | None = None
    _patient = False
    _last_kept = float("-inf")
    _rest_time = _LONGEST_REST
    _resting: Any = None
    _told_of_misfit = float("-inf")

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take bytes from the network.

        Once the handshake is over, whole messages go straight to the session; control frames and fragments, which are
        rare, go to autobahn's parser, frame by frame.
        """
        if self._cutter is None:
            self._dataReceived(data)
            if self.state == self.STATE_OPEN and not self.data and self.current_frame is None:
                self._cutter = FrameCutter(RECEIVE_LIMIT)
            return
        try:
            for payload, text, raw in self._cutter.feed(data):
                self._take_frame(payload, text, raw)
        except FrameTooLargeError as error:
            self.log.error("the router sends {why}; reconnecting", why=error)
            self.transport.abortConnection()
        if self._patient:
            self._rest(len(data))

    def _rest(self, size: int) -> None:
        """Leave what comes next in the socket for a moment, if events for somebody who keeps them are frequent.

        To take ten of them at once costs little more than to take one. So much is left there that no sender waits.
        """
        self._patient = False
        clock = self.factory.reactor
        last, self._last_kept = self._last_kept, clock.seconds()
        if size > _MUCH:
            self._rest_time /= 2
        elif self._last_kept - last < _OFTEN and self._resting is None:
            if size < _LITTLE:
                self._rest_time = min(_LONGEST_REST, 2 * self._rest_time)
            self.transport.pauseProducing()
            self._resting = clock.callLater(self._rest_time, self._wake)

    def _wake(self) -> None:
        self._resting = None
        self.transport.resumeProducing()

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted's name
        """Tell the session, then whoever keeps the connection up."""
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        super().connectionLost(reason)
        distrust = _distrust(reason.value)
        if distrust:
            self.factory.on_refused(distrust)
        self.factory.on_lost()

    def failHandshake(self, reason: str) -> None:  # noqa: N802 - autobahn's name
        """Give up a connection to what does not talk as a router does."""
        self.wasNotCleanReason = reason
        self.factory.on_refused(reason)
        self.state = self.STATE_CLOSED
        self.transport.abortConnection()

    def _take_frame(self, payload: bytes | None, text: bool, raw: bytes) -> None:
        if payload is None or self.state != self.STATE_OPEN:
            self._dataReceived(raw)
            return
        self.onMessage(payload, not text)
        if self.autoPingTimeoutCall is not None:
            self._cancelAutoPingTimeoutCall()  # what has come shows that the other end lives

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803 - autobahn's names
        """Hand the messages of one frame to the session; a message that cannot be read costs only itself."""
        try:
            if isBinary and self._reader is not None and self._read_quickly(payload, self._reader):
                return
            for message in self._read(payload, isBinary):
                self._take_message(message)
        except Exception as error:  # the payload is a foreign peer's
            self.log.warn("dropped an unreadable WAMP message of {size} bytes: {error}", size=len(payload), error=error)

    def _read_quickly(self, payload: bytes, reader: Reader) -> bool:
        """Have a subscriber's own reader read the message; tell whether that was all there is to do."""
        found = reader(payload)
        if found is None:
            return False
        subscriptions = self._session._subscriptions.get(found[0], ())  # noqa: SLF001 - autobahn keeps them there
        if len(subscriptions) != 1 or quick_reader(subscriptions[0].handler.fn) is not reader:
            return False
        self._patient = True
        self._call(subscriptions[0].handler.fn, found[1], {"frame": self._frame(payload)})
        return True

    def _read(self, payload: bytes, binary: bool) -> Iterator[Message]:
        """Give the messages of a frame; those that are plain events have their handlers called instead."""
        serializer = self._serializer._serializer  # noqa: SLF001 - autobahn keeps it there
        if binary != serializer.BINARY:
            raise ValueError("it is of the wrong kind")
        for raw in serializer.unserialize(payload):
            if not self._take_event(raw, payload):
                yield self._serializer.MESSAGE_TYPE_MAP[raw[0]].parse(raw)

    def _take_event(self, raw: Any, payload: bytes) -> bool:
        """Call the handlers of a plain event; return False, having done nothing, for any other message."""
        if not (isinstance(raw, list) and len(raw) >= _EVENT_FIELDS and raw[0] == Event.MESSAGE_TYPE):
            return False
        subscriptions = self._session._subscriptions.get(raw[1])  # noqa: SLF001 - autobahn keeps them there
        if raw[3].keys() & _SPECIAL_EVENTS or any(s.handler.details_arg or s.handler.obj for s in subscriptions or ()):
            return False
        args = raw[4] if len(raw) > _EVENT_FIELDS else ()
        keywords = raw[5] if len(raw) > _EVENT_FIELDS + 1 else {}
        # None: the event crossed with our unsubscribing; there is nobody to tell.
        for subscription in tuple(subscriptions or ()):
            handler = subscription.handler.fn
            if wants_frame(handler):
                self._patient, self._reader = True, quick_reader(handler)
                self._call(handler, args, {**keywords, "frame": self._frame(payload)})
            else:
                self._call(handler, args, keywords)
        return True

    def _frame(self, payload: bytes) -> Frame:
        return Frame(number_of(self._serializer._serializer.NAME), payload)  # noqa: SLF001 - autobahn keeps it there

    def _call(self, handler: Callable[..., Any], args: Any, keywords: Any) -> None:
        try:
            result = handler(*args, **keywords)
        except Exception as error:  # the handler is the agent author's
            if isinstance(error, TypeError) and not _has_begun(error):
                self._tell_of_misfit(handler, error)
            else:
                self.log.failure("a subscriber's handler failed: {handler}", handler=handler)
            return
        if result is not None and (isinstance(result, Deferred) or iscoroutine(result)):
            ensureDeferred(_awaited(result)).addErrback(
                lambda failure: self.log.failure(
                    "a subscriber's handler failed: {handler}", failure=failure, handler=handler
                )
            )

    def _tell_of_misfit(self, handler: Callable[..., Any], error: TypeError) -> None:
        """Tell of an event that a handler does not take: a publisher's mistake, or malice, so told of now and then."""
        now = time.monotonic()
        if now - self._told_of_misfit >= _TELL_AGAIN:
            self._told_of_misfit = now
            self.log.warn("events that {handler} does not take are left out: {error}", handler=handler, error=error)

    def _take_message(self, message: Message) -> None:
        if self._is_repeated_refusal(message):
            return
        if isinstance(message, Invocation) and message.forward_for:
            # It says for whom it calls, which the router of an open site believes of anybody; the last is who it is.
            message.caller = message.forward_for[-1].get("session")
            message.caller_authid = message.caller_authrole = None
        try:
            self._session.onMessage(message)
        except Exception as error:  # a protocol violation of the router, or a call that autobahn cannot make
            if isinstance(message, Invocation):
                self._refuse(message, error)
                return
            self.log.failure("the router broke the WAMP protocol; reconnecting")
            self._bailout(self.CLOSE_STATUS_CODE_PROTOCOL_ERROR, reason="WAMP protocol error")

    def _refuse(self, message: Invocation, error: Exception) -> None:
        """Answer a call that cannot be made, such as one with a keyword argument ``self``: anybody can send it."""
        self.log.debug("a call cannot be made: {error}", error=error)
        self.send(Error(Invocation.MESSAGE_TYPE, message.request, ApplicationError.INVALID_ARGUMENT, args=[_UNMADE]))

    def _is_repeated_refusal(self, message: Message) -> bool:
        """Tell whether a call is refused that is over.

        Crossbar refuses a call that we have cancelled at once, and again when its callee goes away before it has
        answered. For autobahn that would be a violation of the protocol, which costs the connection.
        """
        is_of_call = isinstance(message, Error) and message.request_type == _CALL
        return is_of_call and message.request not in self._session._call_reqs  # noqa: SLF001 - autobahn keeps it there

    def send(self, msg: Message) -> None:
        """Send one WAMP message.

        Raises:
            TransportLost: if the connection has gone.
            SerializationError: if the message holds something that has no form on the wire, or is too large.
        """
        if self._session is None:
            raise TransportLost
        payload, binary = self._serialized(msg)
        if len(payload) <= _REPLY_LIMIT:
            self.send_packed(payload, 2 if binary else 1)
        elif isinstance(msg, Yield):
            self.send(_too_large(msg, len(payload)))
        else:
            raise SerializationError(f"The WAMP message takes {len(payload):,} bytes, more than a router does.")

    def _serialized(self, msg: Message) -> tuple[bytes, bool]:
        if self.takes_packed:
            return _marshalled(msg), True
        try:
            serialized: tuple[bytes, bool] = self._serializer.serialize(msg)
        except Exception as error:  # what is in the message is the caller's
            raise SerializationError(f"WAMP message serialization error: {error}") from error
        return serialized

    @property
    def takes_packed(self) -> bool:
        """Whether the router agreed on MessagePack, so that `send_packed` may be given messages packed beforehand."""
        return isinstance(self._serializer._serializer, TolerantMsgPack)  # noqa: SLF001 - autobahn keeps it there

    def send_packed(self, payload: bytes, opcode: int = 2) -> None:
        """Send one WAMP message that is serialized already, in one frame.

        The frame's masking key is zero, so that nothing has to be computed per byte. RFC 6455 asks for a mask; its
        value protects the proxies that browsers go through, not us.

        Args:
            payload: the message.
            opcode: 2 for a binary message, 1 for text.

        Raises:
            TransportLost: if the connection is being dropped; what is written then goes nowhere.
        """
        if self.state != self.STATE_OPEN:
            raise TransportLost
        size = len(payload)
        if size <= 125:  # noqa: PLR2004 - RFC 6455, 5.2
            head = bytes((0x80 | opcode, 0x80 | size, 0, 0, 0, 0))
        elif size <= 0xFFFF:  # noqa: PLR2004 - RFC 6455, 5.2
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big") + b"\0\0\0\0"
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big") + b"\0\0\0\0"
        self.transport.write(head + payload)


class TransportFactory(WampWebSocketClientFactory):  # type: ignore[misc]
    """Makes the connections of one session.

    Args:
        session: the session.
        url: the router's WebSocket.
        hears_others: whether CBOR is to be the favourite serializer.

    Attributes:
        on_lost: called when a connection has gone.
        on_refused: called with the reason when the other end will not talk WAMP over WebSocket.
    """

    protocol = Transport
    noisy = False

    def __init__(self, session: ApplicationSession, url: str, *, hears_others: bool) -> None:
        super().__init__(lambda: session, url=url, serializers=serializers(hears_others=hears_others))
        self.on_lost: Callable[[], None] = lambda: None
        self.on_refused: Callable[[str], None] = lambda _reason: None
        self.setProtocolOptions(
            maxFramePayloadSize=0,
            maxMessagePayloadSize=RECEIVE_LIMIT,
            failByDrop=True,
            openHandshakeTimeout=5,
            closeHandshakeTimeout=1,
            tcpNoDelay=True,
            # A link whose other end has vanished without a word is noticed after 10 to 25 s. Any traffic counts as
            # life, so that a busy reactor is not taken for a dead one.
            autoPingInterval=10,
            autoPingTimeout=15,
            autoPingSize=12,
            autoPingRestartOnAnyTraffic=True,
        )


def _distrust(error: BaseException) -> str:
    """Tell why the other end of a TLS connection is not the site's router; empty where something else has ended it."""
    if type(error).__module__.split(".")[0] not in ("OpenSSL", "service_identity"):
        return ""
    details = error.args[0] if error.args else ""
    reasons = [entry[-1] for entry in details if entry] if isinstance(details, list) else [type(error).__name__]
    return (
        f"TLS fails ({', '.join(map(str, reasons))}): it is not the site's own router, or the site's ca.crt is not "
        "here; `ocs doctor` tells more"
    )


def _has_begun(error: BaseException) -> bool:
    """Tell whether an error comes from within what was called, rather than from calling it."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


async def _awaited(result: Any) -> Any:
    return await result


def _too_large(reply: Yield, size: int) -> Error:
    """Return what to answer instead of a reply that the router would cut us off for."""
    why = f"The reply takes {size:,} bytes, more than the {_REPLY_LIMIT:,} that may be sent; ask for less at a time."
    return Error(Invocation.MESSAGE_TYPE, reply.request, ApplicationError.PAYLOAD_SIZE_EXCEEDED, args=[why])


def _marshalled(msg: Message) -> bytes:
    try:
        return pack(msg.marshal())
    except (TypeError, ValueError, OverflowError) as error:
        raise SerializationError(f"WAMP message serialization error: {error}") from error
