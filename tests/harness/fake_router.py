"""A router in memory, for one agent on a stepped reactor: what it answers is up to the test."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgpack
from autobahn.wamp import message
from autobahn.wamp.role import RoleBrokerFeatures, RoleDealerFeatures

ALREADY = "wamp.error.procedure_already_exists"


class FakeRouter:
    """Answers an agent's messages at once, unless told to refuse or to be silent.

    Attributes:
        registered: procedure to the session that holds it.
        subscribed: topics, in the order of subscribing, of the present connection.
        published: (topic, first argument) of all events.
        calls: what is answered to calls: procedure to function; others have no such procedure.
        silent: procedures whose calls are never answered.
    """

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.registered: dict[str, int] = {}
        self.subscribed: list[str] = []
        self.published: list[tuple[str, Any]] = []
        self.forced: list[str] = []
        self.results: dict[int, Any] = {}
        self.silent: set[str] = set()
        self.calls: dict[str, Callable[..., Any]] = {
            "wamp.registration.match": lambda uri: self._ids.get(uri) if uri in self.registered else None,
            "wamp.registration.list_callees": lambda number: [
                self.registered[uri] for uri, known in self._ids.items() if known == number
            ],
        }
        self._ids: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._requests = itertools.count(1)
        self.transport: FakeTransport | None = None

    def connect(self) -> int:
        """Let the agent join anew; return its session's number."""
        self.subscribed.clear()
        self.transport = FakeTransport(self)
        self.session = next(self._numbers)
        self.agent._realm = "realm"
        self.agent.onOpen(self.transport)
        roles = {"broker": RoleBrokerFeatures(), "dealer": RoleDealerFeatures()}
        self.agent.onMessage(message.Welcome(self.session, roles, realm="realm"))
        return self.session

    def lose(self, *, forget: bool = True) -> None:
        """Lose the connection; without `forget` the router still believes in it."""
        transport, self.transport = self.transport, None
        if forget:
            self.registered = {uri: holder for uri, holder in self.registered.items() if holder != self.session}
        transport.open = False
        self.agent.onClose(False)

    def call(self, procedure: str, *args: Any, **kwargs: Any) -> int:
        """Call a procedure of the agent; the answer will be in `results` under the number returned."""
        request = next(self._requests)
        invocation = message.Invocation(request, self._ids[procedure], args=list(args), kwargs=kwargs)
        self.agent.onMessage(invocation)
        return request

    def event(self, topic: str, *args: Any, publisher: int | None = None) -> None:
        """Deliver an event of a topic that the agent has subscribed to."""
        number = self._ids[topic]
        self.agent.onMessage(message.Event(number, next(self._requests), args=list(args), publisher=publisher))

    def _id(self, uri: str) -> int:
        return self._ids.setdefault(uri, len(self._ids) + 100)

    def take(self, msg: Any) -> None:
        handler = getattr(self, f"_on_{type(msg).__name__.lower()}", None)
        if handler is not None:
            handler(msg)

    def _reply(self, msg: Any) -> None:
        self.agent.onMessage(msg)

    def _on_register(self, msg: Any) -> None:
        if msg.force_reregister:
            self.forced.append(msg.procedure)
        elif msg.procedure in self.registered:
            self._reply(message.Error(message.Register.MESSAGE_TYPE, msg.request, ALREADY, args=["taken"]))
            return
        self.registered[msg.procedure] = self.session
        self._reply(message.Registered(msg.request, self._id(msg.procedure)))

    def _on_unregister(self, msg: Any) -> None:
        for uri, number in self._ids.items():
            if number == msg.registration:
                self.registered.pop(uri, None)
        self._reply(message.Unregistered(msg.request))

    def _on_subscribe(self, msg: Any) -> None:
        self.subscribed.append(msg.topic)
        self._reply(message.Subscribed(msg.request, self._id(msg.topic)))

    def _on_unsubscribe(self, msg: Any) -> None:
        self.subscribed = [topic for topic in self.subscribed if self._ids[topic] != msg.subscription]
        self._reply(message.Unsubscribed(msg.request))

    def _on_call(self, msg: Any) -> None:
        if msg.procedure in self.silent:
            return
        function = self.calls.get(msg.procedure)
        if function is None:
            error = "wamp.error.no_such_procedure"
            self._reply(message.Error(message.Call.MESSAGE_TYPE, msg.request, error, args=[msg.procedure]))
        else:
            self._reply(message.Result(msg.request, args=[function(*(msg.args or []))]))

    def _on_yield(self, msg: Any) -> None:
        self.results[msg.request] = msg.args[0] if msg.args else None

    def _on_error(self, msg: Any) -> None:
        self.results[msg.request] = msg


class FakeTransport:
    """What an autobahn session has for a transport."""

    takes_packed = True

    def __init__(self, router: FakeRouter) -> None:
        self.open = True
        self._router = router
        self.transport_details = None
        self._serializer = SimpleNamespace(SERIALIZER_ID="msgpack")
        self.producer: Any = None

    def send(self, msg: Any) -> None:
        self._router.take(msg)

    def send_packed(self, payload: bytes) -> None:
        _, _, _, topic, args = msgpack.unpackb(payload)
        self._router.published.append((topic, args[0]))

    def isOpen(self) -> bool:
        return self.open

    def close(self) -> None:
        if self.open:
            self._router.lose()

    abort = close

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None
