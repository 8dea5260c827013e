"""Where a site's router is, seen from one host, and whether `ocs up` starts it or uses what is there."""

import socket
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import urlsplit

from ocs.errors import RouterError
from ocs.keys.site import named_folder
from ocs.router.config import crossbar_config, listening_address
from ocs.site_config import HostConfig, SiteConfig

__all__ = ["AUTO", "Choice", "Found", "Hub", "choose_router", "hub_of", "is_local"]

AUTO = "auto"
"""As a port: any free one."""

_TLS = {"ws": "wss", "http": "https"}


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a host's router is, and what it serves."""

    wamp_server: str
    wamp_http: str
    wamp_realm: str
    address_root: str
    keys: str = ""
    """The site's keys folder, whole path; empty: the site is open."""

    @property
    def host(self) -> str:
        """Name or address of the router's machine."""
        return urlsplit(self.wamp_server).hostname or ""

    @property
    def port(self) -> int:
        """TCP port of the router's WebSocket."""
        return urlsplit(self.wamp_server).port or (443 if self.wamp_server.startswith("wss") else 80)

    def at_port(self, port: int) -> "Hub":
        """Return the same hub with its router at another port."""
        return replace(self, wamp_server=_with_port(self.wamp_server, port), wamp_http=_with_port(self.wamp_http, port))

    def closed_with(self, keys: str) -> "Hub":
        """Return the same hub as one that admits only those with a key, by TLS.

        Args:
            keys: the keys folder, whole path.
        """
        server, bridge = _with_tls(self.wamp_server), _with_tls(self.wamp_http)
        return replace(self, wamp_server=server, wamp_http=bridge, keys=keys)

    @property
    def listens_at(self) -> tuple[str, int]:
        """Address to connect to and port of a router that is started here for it.

        Raises:
            RouterError: it cannot be served.
        """
        return listening_address(crossbar_config(self, secure=bool(self.keys)))


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{name}:{port}").geturl()


def _with_tls(url: str) -> str:
    """Return a URL for TLS at the same port, be it given or the usual one."""
    parts = urlsplit(url)
    if parts.scheme not in _TLS:
        return url
    netloc = parts.netloc if parts.port else f"{parts.netloc}:80"
    return parts._replace(scheme=_TLS[parts.scheme], netloc=netloc).geturl()


def hub_of(site: SiteConfig, host: HostConfig) -> Hub:
    """Return the hub as this host sees it: its own settings before the site's."""

    def setting(key: str) -> str:
        return str(getattr(host, key, None) or getattr(site.hub, key))

    return Hub(
        setting("wamp_server"),
        setting("wamp_http"),
        setting("wamp_realm"),
        str(site.hub.address_root),
        str(named_folder(site, host) or ""),
    )


def is_local(host: str) -> bool:
    """Return whether a name or an address is this machine's own: whether one could listen there."""
    try:
        for family, kind, protocol, _name, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(address)
                return True
    except OSError:
        return False
    return False


class Found(Enum):
    """What there is at the router's address before we start."""

    NOTHING = "nothing"
    ROUTER = "a router that serves the realm"
    SOMETHING = "something else"


class Choice(Enum):
    """What is done about the router."""

    START = "start"
    """Start one at the port of the site, or the one that was asked for."""
    START_ELSEWHERE = "start elsewhere"
    """Start one at any free port."""
    USE = "use"
    """Use the one that is there."""


def choose_router(
    found: Found, *, port: str | int | None, no_router: bool, own: bool, demo: bool, local: bool, address: str
) -> Choice:
    """Decide what is done about the router.

    Args:
        found: what is at the site's address.
        port: a number or ``auto`` where the user gave one.
        no_router: the user wants none started.
        own: the host's section of the site file says that the router is controlled on this host (``crossbar:``).
        demo: it is the packaged demonstration site, which may be anywhere.
        local: the site's address is on this machine.
        address: the site's address, for messages.

    Raises:
        RouterError: there is no way; the message says what the user can do.
    """
    if no_router or not local:
        if found is Found.ROUTER:
            return Choice.USE
        hint = "start it there" if not local else "start one, or leave out --no-router"
        where = "" if local else ", which is another machine"
        raise RouterError(f"no router of this site answers at {address}{where}: {hint}")
    if port is not None:
        return Choice.START_ELSEWHERE if port == AUTO else Choice.START
    if found is Found.NOTHING:
        return Choice.START
    if demo:
        return Choice.START_ELSEWHERE
    if found is Found.ROUTER and not own:
        return Choice.USE
    if found is Found.ROUTER:
        raise RouterError(
            f"a router already answers at {address}: use it with --no-router, stop it, or choose --port NUMBER or "
            "--port auto"
        )
    raise RouterError(f"something that is no router of this site listens at {address}: choose --port NUMBER or auto")
