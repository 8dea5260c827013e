"""The link to the router: serializers, a lean WebSocket transport, and staying joined.

This is the one module that knows autobahn's transport. Messages travel as MessagePack where the router takes it, since
it is several times faster to write and read than CBOR at both ends; CBOR and JSON follow.
"""

import random
from collections.abc import Callable, Generator
from typing import Any

import msgpack
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from ocs.lean_autobahn import (
    ApplicationError,
    ApplicationSession,
    CBORSerializer,
    CloseDetails,
    Error,
    Invocation,
    JsonSerializer,
    Message,
    MsgPackObjectSerializer,
    MsgPackSerializer,
    SerializationError,
    Serializer,
    SessionDetails,
    TransportLost,
    WampWebSocketClientFactory,
    WampWebSocketClientProtocol,
    Yield,
)

__all__ = ["MESSAGE_LIMIT", "ApplicationSession", "RouterLink", "Transport", "pack", "reconnect_delay", "within"]

MESSAGE_LIMIT = 1 << 20
"""The largest WAMP message that we send, in bytes: what a router with default settings takes."""

_RECEIVE_LIMIT = 64 << 20
"""The largest message that we accept, in bytes. A bound on a runaway peer, far above what a router passes on."""

_REPLY_LIMIT = 15 << 20
"""The largest reply that we send, in bytes: a router cuts off who sends more than it takes, and ours takes 16 MiB."""

_SHORTEST_DELAY, _LONGEST_DELAY = 0.2, 5.0
"""Between attempts to reach the router, in seconds."""

_GOODBYE = 1.0
"""How long the router gets to answer our goodbye, in seconds."""


def pack(value: Any) -> bytes:
    """Return ``value`` as MessagePack, in the caller's thread.

    Args:
        value: plain maps, lists, strings, numbers, booleans and None.

    Returns:
        The bytes.
    """
    packed: bytes = msgpack.packb(value)
    return packed


class _TolerantMsgPack(MsgPackObjectSerializer):  # type: ignore[misc]
    """MessagePack that accepts map keys of any type: a peer that sends such a map must not cost us the connection."""

    def serialize(self, obj: Any) -> bytes:
        return pack(obj)

    def unserialize(self, payload: bytes) -> list[Any]:
        return [msgpack.unpackb(payload, strict_map_key=False, unicode_errors="replace")]


def _serializers(*, hears_everybody: bool) -> list[Serializer]:
    """Return the serializers to offer to the router, the favourite first."""
    quick = MsgPackSerializer()
    Serializer.__init__(quick, _TolerantMsgPack())
    offers = [quick, CBORSerializer(), JsonSerializer()]
    return [offers[1], offers[0], offers[2]] if hears_everybody else offers


class Transport(WampWebSocketClientProtocol):  # type: ignore[misc]
    """WAMP over WebSocket as autobahn does it, without the work per message that only its trace log needs."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take bytes from the network."""
        self._dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803 - autobahn's names
        """Hand the messages of one frame to the session; a message that cannot be read costs only itself."""
        try:
            messages = self._serializer.unserialize(payload, isBinary)
        except Exception as error:  # the payload is a foreign peer's
            self.log.warn("dropped an unreadable WAMP message of {size} bytes: {error}", size=len(payload), error=error)
            return
        try:
            for message in messages:
                self._session.onMessage(message)
        except Exception:  # a protocol violation of the router
            self.log.failure("the router broke the WAMP protocol; reconnecting")
            self._bailout(self.CLOSE_STATUS_CODE_PROTOCOL_ERROR, reason="WAMP protocol error")

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
        return isinstance(self._serializer._serializer, _TolerantMsgPack)  # noqa: SLF001 - autobahn keeps it there

    def send_packed(self, payload: bytes, opcode: int = 2) -> None:
        """Send one WAMP message that is serialized already, in one frame.

        The frame's masking key is zero, so that nothing has to be computed per byte. RFC 6455 asks for a mask; its
        value protects the proxies that browsers go through, not us.

        Args:
            payload: the message.
            opcode: 2 for a binary message, 1 for text.
        """
        size = len(payload)
        if size <= 125:  # noqa: PLR2004 - RFC 6455, 5.2
            head = bytes((0x80 | opcode, 0x80 | size, 0, 0, 0, 0))
        elif size <= 0xFFFF:  # noqa: PLR2004 - RFC 6455, 5.2
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big") + b"\0\0\0\0"
        else:
            head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big") + b"\0\0\0\0"
        self.transport.write(head + payload)


def _too_large(reply: Yield, size: int) -> Error:
    """Return what to answer instead of a reply that the router would cut us off for."""
    why = f"The reply takes {size:,} bytes, more than the {_REPLY_LIMIT:,} that may be sent; ask for less at a time."
    return Error(Invocation.MESSAGE_TYPE, reply.request, ApplicationError.PAYLOAD_SIZE_EXCEEDED, args=[why])


def _marshalled(msg: Message) -> bytes:
    try:
        return pack(msg.marshal())
    except (TypeError, ValueError, OverflowError) as error:
        raise SerializationError(f"WAMP message serialization error: {error}") from error


def reconnect_delay(attempt: int, *, jitter: Callable[[], float] = random.random) -> float:
    """Return how long to wait before a further attempt to reach the router.

    Args:
        attempt: how many attempts have failed in a row, from 0.
        jitter: gives a number from 0 to 1; spreads the agents of a site over time.

    Returns:
        Seconds: 0.2 growing to 5, give or take a quarter within these bounds.
    """
    grown = min(_LONGEST_DELAY, _SHORTEST_DELAY * 1.6 ** min(attempt, 20))
    shortest, longest = max(_SHORTEST_DELAY, 0.75 * grown), min(_LONGEST_DELAY, 1.25 * grown)
    return shortest + (longest - shortest) * jitter()


class RouterLink:
    """Keeps one session connected to the router, from `start` until `stop`.

    The session object stays the same over all connections; autobahn calls its ``onJoin`` and ``onLeave`` each time.

    Args:
        session: the session.
        url: the router's WebSocket, as in ``ws://127.0.0.1:8001/ws``.
        realm: the WAMP realm.
        reactor: the reactor to connect by.
        hears_everybody: whether the session takes whatever anybody publishes. CBOR is the favourite then: MessagePack
            has no integers beyond 64 bits, and a router that cannot deliver one to us may keep the whole event from
            others too.
        timeout: give up after so many seconds in a row without having joined; 0 never gives up.
        on_give_up: called once, with the last reason, when the time is up.
    """

    def __init__(
        self,
        session: ApplicationSession,
        url: str,
        realm: str,
        *,
        reactor: Any,
        hears_everybody: bool = False,
        timeout: float = 0,
        on_give_up: Callable[[str], None] | None = None,
    ) -> None:
        self.session = session
        self.url = url
        self.realm = realm
        self.last_error = "no router answered"
        self._reactor = reactor
        self._hears_everybody = hears_everybody
        self._timeout = timeout
        self._on_give_up = on_give_up
        self._give_up: Any = None
        self._service: ClientService | None = None
        self._attempts = 0
        session.on("join", self._joined)
        session.on("leave", self._left)
        session.on("disconnect", self._disconnected)

    def start(self) -> None:
        """Begin to connect, and reconnect whenever the connection is lost."""
        self._wait_for_join()
        factory = WampWebSocketClientFactory(
            lambda: self.session, url=self.url, serializers=_serializers(hears_everybody=self._hears_everybody)
        )
        factory.protocol = Transport
        factory.noisy = False
        factory.setProtocolOptions(
            maxFramePayloadSize=0,
            maxMessagePayloadSize=_RECEIVE_LIMIT,
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
        self._service = ClientService(
            _endpoint(self._reactor, factory), factory, retryPolicy=self._next_delay, clock=self._reactor
        )
        self._service.whenConnected(failAfterFailures=1).addErrback(self._note_failure)
        self._service.startService()

    @inlineCallbacks
    def stop(self) -> "Generator[Deferred[Any], Any, None]":
        """Leave the realm, close the connection and stay away.

        Returns:
            A Deferred that fires when the connection is closed; a router that does not answer is cut off after 1 s.
        """
        self._cancel_give_up()
        service, self._service = self._service, None
        if service is None:
            return
        if self.session.is_attached():
            gone: Deferred[None] = Deferred()
            self.session.on("disconnect", lambda *_, **__: None if gone.called else gone.callback(None))
            self.session.leave()
            yield within(self._reactor, gone, _GOODBYE)
        transport = self.session._transport  # noqa: SLF001 - autobahn offers no other way to ask
        if transport is not None and transport.transport is not None:
            transport.transport.abortConnection()
        yield service.stopService()

    def _next_delay(self, _failures: int) -> float:
        """Count attempts since the last join, not failed connections: a router that refuses us is not hammered."""
        self._attempts += 1
        return reconnect_delay(self._attempts - 1)

    def _note_failure(self, failure: Any) -> None:
        self.last_error = failure.getErrorMessage() or type(failure.value).__name__

    def _joined(self, _session: ApplicationSession, _details: SessionDetails) -> None:
        self._attempts = 0
        self._cancel_give_up()

    def _left(self, _session: ApplicationSession, details: CloseDetails) -> None:
        if details.reason not in (CloseDetails.REASON_TRANSPORT_LOST, "wamp.close.normal"):
            self.last_error = details.message or details.reason

    def _disconnected(self, _session: ApplicationSession, was_clean: bool = False) -> None:  # noqa: ARG002 - autobahn's form
        if self._service is not None:
            self._wait_for_join()

    def _wait_for_join(self) -> None:
        if self._timeout > 0 and self._give_up is None:
            self._give_up = self._reactor.callLater(self._timeout, self._time_is_up)

    def _time_is_up(self) -> None:
        self._give_up = None
        if self._on_give_up is not None:
            self._on_give_up(self.last_error)

    def _cancel_give_up(self) -> None:
        call, self._give_up = self._give_up, None
        if call is not None and call.active():
            call.cancel()


def _endpoint(reactor: Any, factory: WampWebSocketClientFactory) -> Any:
    endpoint: Any = HostnameEndpoint(reactor, factory.host, factory.port, timeout=5)
    if not factory.isSecure:
        return endpoint
    from twisted.internet.ssl import optionsForClientTLS  # noqa: PLC0415 - TLS only where the site uses it

    return wrapClientTLS(optionsForClientTLS(factory.host), endpoint)


def within(reactor: Any, wanted: "Deferred[Any]", seconds: float) -> "Deferred[None]":
    """Return a Deferred that fires when ``wanted`` does, or after ``seconds``; never with a failure."""
    done: Deferred[None] = Deferred()

    def finish(_result: Any) -> None:
        if timer.active():
            timer.cancel()
        if not done.called:
            done.callback(None)

    timer = reactor.callLater(seconds, finish, None)
    wanted.addBoth(finish)
    return done
