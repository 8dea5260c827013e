"""The configuration of the crossbar router, made from the hub of a site config file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from ocs.errors import RouterError
from ocs.keys.permissions import META_CALLS, META_TOPICS

__all__ = [
    "MAX_MESSAGE_BYTES",
    "MAX_POST_BYTES",
    "HubLike",
    "crossbar_config",
    "http_url",
    "listening_address",
    "realm",
    "to_json",
    "write",
    "ws_url",
]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest WAMP message that the router takes, in bytes; autobahn's own limit, 1 MiB, is less than a busy feed sends."""

MAX_POST_BYTES = 1024 * 1024
"""Largest call through the HTTP bridge, in bytes: the most that crossbar lets one ask for."""

PING_INTERVAL_MS = 10_000
"""Silence of a peer after which the router pings it, in milliseconds. Agents send a heartbeat every second, so that
in ordinary running no ping is ever sent."""

PING_TIMEOUT_MS = 60_000
"""Time for the answer to a ping, in milliseconds. A peer that does not answer is cut off, and an agent whose reactor
is held up by a slow driver does not answer. A minute forgives a driver that waits for a timeout of its own, and still
frees the names of an agent that vanished behind a half-open connection."""

HTTP_IDLE_S = 3600
"""Time after which an idle kept-alive HTTP connection is closed, in seconds: longer than a script pauses."""

BRIDGE_ROLE = "bridge"
"""The role of callers by HTTP, who may call and nothing else; whoever connects to the websocket is ``anonymous``."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_AGENT = {"call": True, "register": True, "publish": True, "subscribe": True}
_CALLER = {"call": True}
_DISCLOSE = {"caller": True, "publisher": True}


_OPEN = "a router without keys (TLS comes with these: `ocs keys init`)"
_KINDS = {"ws": _OPEN, "http": _OPEN, "wss": "a router with keys", "https": "a router with keys"}


class HubLike(Protocol):
    """What is needed of a site config file's hub."""

    @property
    def wamp_server(self) -> str | None:
        """URL of the router's websocket."""

    @property
    def wamp_http(self) -> str | None:
        """URL of the router's HTTP bridge."""

    @property
    def wamp_realm(self) -> str | None:
        """The WAMP realm."""

    @property
    def address_root(self) -> str | None:
        """First part of every agent's address."""


def crossbar_config(
    hub: HubLike, *, host: str | None = None, port: int | None = None, secure: bool = False
) -> dict[str, Any]:
    """Make the configuration of a crossbar node that serves one site.

    One worker of type router and one realm, whose users may use the names below the site's address root and ask the
    router who is connected and what is registered, nothing else. Names of the paths come from the hub's URLs.

    Args:
        hub: the hub of the site config.
        host: the address to listen on; None takes it from the hub: loopback if its URL is there, else all interfaces.
        port: the port to listen on; None takes the hub's.
        secure: the hub's URLs are ``wss:`` and ``https:``; `ocs.router.closed` adds how that is done.

    Returns:
        What crossbar reads as ``config.json``.

    Raises:
        RouterError: a URL of the hub cannot be served.
    """
    _require_names(hub)
    tls = "s" if secure else ""
    server, bridge = _served(hub, "wamp_server", f"ws{tls}"), _served(hub, "wamp_http", f"http{tls}")
    if port is None and server.port != bridge.port:
        raise RouterError(
            f"hub: wamp_server is at port {server.port} and wamp_http at port {bridge.port}; "
            "one router serves both at one port: make them equal"
        )
    endpoint: dict[str, Any] = {"type": "tcp", "port": port or server.port, "backlog": 1024}
    interface = _interface(server.hostname or "") if host is None else host
    if interface:
        endpoint["interface"] = interface
    return {
        "version": 2,
        "controller": {},
        "workers": [
            {
                "type": "router",
                "realms": [_realm(hub)],
                "transports": [_transport(endpoint, _paths(hub, server, bridge))],
            }
        ],
    }


def _require_names(hub: HubLike) -> None:
    for key in ("wamp_realm", "address_root"):
        if not getattr(hub, key):
            raise RouterError(f"hub: {key} is missing from the site config; the router needs it")


def _served(hub: HubLike, key: str, scheme: str) -> SplitResult:
    url = str(getattr(hub, key))
    try:
        parts = urlsplit(url)
        complete = parts.scheme == scheme and parts.port and parts.path.strip("/")
    except (TypeError, ValueError):
        complete = None
    if not complete:
        raise RouterError(f"hub: {key} is {url!r}; {_KINDS[scheme]} serves URLs like {scheme}://127.0.0.1:8001/path")
    return parts


def _interface(hostname: str) -> str | None:
    return "127.0.0.1" if hostname in LOOPBACK else None


def _realm(hub: HubLike) -> dict[str, Any]:
    questions = [_permission(uri, "exact", call=True) for uri in META_CALLS]
    news = [_permission(uri, "exact", subscribe=True) for uri in META_TOPICS]
    below_root = f"{hub.address_root}."
    return {
        "name": hub.wamp_realm,
        "roles": [
            {"name": "anonymous", "permissions": [_permission(below_root, "prefix", **_AGENT), *questions, *news]},
            {"name": BRIDGE_ROLE, "permissions": [_permission(below_root, "prefix", **_CALLER), *questions]},
        ],
    }


def _permission(uri: str, match: str, **allow: bool) -> dict[str, Any]:
    return {"uri": uri, "match": match, "allow": allow, "disclose": _DISCLOSE, "cache": True}


def _transport(endpoint: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    options = {"access_log": False, "display_tracebacks": False, "client_timeout": HTTP_IDLE_S}
    return {"type": "web", "endpoint": endpoint, "options": options, "paths": paths}


def _paths(hub: HubLike, server: SplitResult, bridge: SplitResult) -> dict[str, Any]:
    own = {"info": {"type": "nodeinfo"}, "site": {"type": "json", "value": _description(hub)}}
    names = [server.path.strip("/"), bridge.path.strip("/")]
    if len({*names, *own}) < len(names) + len(own) or any("/" in name for name in names):
        raise RouterError(
            f"hub: the paths of wamp_server ({server.path}) and wamp_http ({bridge.path}) must be two different "
            "single words other than /info and /site"
        )
    return {names[0]: _websocket(), names[1]: _caller(hub), **own}


def _description(hub: HubLike) -> dict[str, Any]:
    """Give what a page or a program finds at ``/site``: all it needs to join, without a site file."""
    keys = ("wamp_realm", "address_root", "wamp_server", "wamp_http")
    return {key: getattr(hub, key) for key in keys}


def _websocket() -> dict[str, Any]:
    options = {
        "allowed_origins": ["*"],
        "max_frame_size": MAX_MESSAGE_BYTES,
        "max_message_size": MAX_MESSAGE_BYTES,
        "open_handshake_timeout": 10_000,
        "close_handshake_timeout": 5_000,
        "auto_ping_interval": PING_INTERVAL_MS,
        "auto_ping_timeout": PING_TIMEOUT_MS,
        "auto_ping_size": 12,
        "auto_ping_restart_on_any_traffic": True,
        "tcp_nodelay": True,
    }
    return {"type": "websocket", "serializers": ["cbor", "msgpack", "json"], "options": options}


def _caller(hub: HubLike) -> dict[str, Any]:
    options = {"post_body_limit": MAX_POST_BYTES}
    return {"type": "caller", "realm": hub.wamp_realm, "role": BRIDGE_ROLE, "options": options}


def to_json(config: Mapping[str, Any]) -> str:
    """Give the text of a ``config.json``; the same configuration always gives the same text."""
    return json.dumps(config, indent=2) + "\n"


def listening_address(config: Mapping[str, Any]) -> tuple[str, int]:
    """Tell where a router of this configuration listens, as (address to connect to, port)."""
    endpoint = _web(config)["endpoint"]
    return endpoint.get("interface") or "127.0.0.1", int(endpoint["port"])


def ws_url(config: Mapping[str, Any]) -> str:
    """Give the URL at which a router of this configuration takes WAMP sessions."""
    return _url("ws", ("websocket",), config)


def http_url(config: Mapping[str, Any]) -> str:
    """Give the URL of the HTTP bridge of a router of this configuration."""
    return _url("http", ("caller", "resource"), config)


def realm(config: Mapping[str, Any]) -> str:
    """Give the name of the realm that a router of this configuration serves."""
    return str(_router(config)["realms"][0]["name"])


def _url(scheme: str, services: tuple[str, ...], config: Mapping[str, Any]) -> str:
    host, port = listening_address(config)
    path = next((name for name, entry in _web(config)["paths"].items() if entry["type"] in services), None)
    if path is None:
        raise RouterError(f"the crossbar configuration has no path of type {services[0]!r}")
    tls = "s" if "tls" in _web(config)["endpoint"] else ""
    return f"{scheme}{tls}://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/{path}"  # noqa: S104 - a reading, no binding


def _router(config: Mapping[str, Any]) -> dict[str, Any]:
    for worker in config.get("workers", ()):
        if worker.get("type") == "router":
            return dict(worker)
    raise RouterError("the crossbar configuration has no worker of type 'router'")


def _web(config: Mapping[str, Any]) -> dict[str, Any]:
    for transport in _router(config)["transports"]:
        if transport.get("type") == "web":
            return dict(transport)
    raise RouterError("the crossbar configuration has no transport of type 'web'")


def write(config: Mapping[str, Any], directory: Path) -> Path:
    """Write ``config.json`` into a crossbar node directory, which is made where it is missing.

    Raises:
        RouterError: the directory cannot be written to.
    """
    path = directory / "config.json"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(config))
    except OSError as error:
        raise RouterError(f"cannot write {path}: {error.strerror}; give a folder you may write to") from error
    return path
