"""autobahn, without the parts that no agent uses. Whatever of autobahn the package needs is imported from here.

autobahn loads what it finds installed: its native masking and validation bring a C parser (we send with a null mask and
receive binary frames), UBJSON and FlatBuffers bring NumPy. Leaving them out halves an agent's start-up time. What was
hidden is there again at once, for others in this process and its children.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Let imports find neither these modules, where they are not loaded yet, nor autobahn's native parts."""
    hidden = [name for name in modules if name not in sys.modules]
    native = os.environ.get("AUTOBAHN_USE_NVX")
    os.environ["AUTOBAHN_USE_NVX"] = "0"
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        del os.environ["AUTOBAHN_USE_NVX"]
        if native is not None:
            os.environ["AUTOBAHN_USE_NVX"] = native


with _without("bjdata", "autobahn.flatbuffers"):
    from autobahn.twisted.wamp import ApplicationSession
    from autobahn.twisted.websocket import WampWebSocketClientFactory, WampWebSocketClientProtocol
    from autobahn.wamp.exception import ApplicationError, SerializationError, TransportLost
    from autobahn.wamp.message import Error, Event, Invocation, Message, Yield
    from autobahn.wamp.serializer import (
        CBORSerializer,
        JsonSerializer,
        MsgPackObjectSerializer,
        MsgPackSerializer,
        Serializer,
    )
    from autobahn.wamp.types import (
        CloseDetails,
        ComponentConfig,
        PublishOptions,
        RegisterOptions,
        SessionDetails,
        SubscribeOptions,
    )

__all__ = [
    "ApplicationError",
    "ApplicationSession",
    "CBORSerializer",
    "CloseDetails",
    "ComponentConfig",
    "Error",
    "Event",
    "Invocation",
    "JsonSerializer",
    "Message",
    "MsgPackObjectSerializer",
    "MsgPackSerializer",
    "PublishOptions",
    "RegisterOptions",
    "SerializationError",
    "Serializer",
    "SessionDetails",
    "SubscribeOptions",
    "TransportLost",
    "WampWebSocketClientFactory",
    "WampWebSocketClientProtocol",
    "Yield",
]
