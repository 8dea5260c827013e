"""autobahn, without the parts that no agent uses. Whatever of autobahn the package needs is imported from here.

autobahn loads what it finds installed: its native masking and validation bring a C parser (we send with a null mask and
receive binary frames), UBJSON brings NumPy. Leaving them out saves start-up time and memory in every agent. Both settings
are put back at once, so that others in this process, and its children, decide for themselves.
"""

import os
import sys

_nvx = os.environ.get("AUTOBAHN_USE_NVX")
_ubjson = sys.modules.get("bjdata")
os.environ["AUTOBAHN_USE_NVX"] = "0"
sys.modules["bjdata"] = None  # type: ignore[assignment]
try:
    from autobahn.twisted.wamp import ApplicationSession
    from autobahn.twisted.websocket import WampWebSocketClientFactory, WampWebSocketClientProtocol
    from autobahn.wamp.exception import ApplicationError, SerializationError, TransportLost
    from autobahn.wamp.message import Message
    from autobahn.wamp.serializer import (
        CBORSerializer,
        JsonSerializer,
        MsgPackObjectSerializer,
        MsgPackSerializer,
        Serializer,
    )
    from autobahn.wamp.types import CloseDetails, ComponentConfig, SessionDetails, SubscribeOptions
finally:
    del sys.modules["bjdata"]
    if _ubjson is not None:
        sys.modules["bjdata"] = _ubjson
    if _nvx is None:
        del os.environ["AUTOBAHN_USE_NVX"]
    else:
        os.environ["AUTOBAHN_USE_NVX"] = _nvx

__all__ = [
    "ApplicationError",
    "ApplicationSession",
    "CBORSerializer",
    "CloseDetails",
    "ComponentConfig",
    "JsonSerializer",
    "Message",
    "MsgPackObjectSerializer",
    "MsgPackSerializer",
    "SerializationError",
    "Serializer",
    "SessionDetails",
    "SubscribeOptions",
    "TransportLost",
    "WampWebSocketClientFactory",
    "WampWebSocketClientProtocol",
]
