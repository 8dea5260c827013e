"""The configuration of a closed router: TLS, keys, and the guard that gives each their rights."""

from pathlib import Path
from typing import Any, Final

from ocs.errors import KeysError
from ocs.keys.certificates import SERVER_FILE, SERVER_KEY_FILE, Certificate, chain_files
from ocs.keys.table import ROLES, SiteTable
from ocs.router.config import HubLike, crossbar_config

__all__ = ["closed_config"]

MOST_CONNECTIONS: Final = 10_000
"""How many connections the router takes; each is a file that it has open."""


def closed_config(hub: HubLike, keys: Path, *, host: str | None = None, port: int | None = None) -> dict[str, Any]:
    """Make the configuration of a crossbar node that serves one closed site.

    Args:
        hub: the hub of the site config; its URLs are ``wss:`` and ``https:``.
        keys: the keys folder, with the table and the router's certificate.
        host: the address to listen on; None takes it from the hub: loopback if its URL is there, else all interfaces.
        port: the port to listen on; None takes the hub's.

    Returns:
        What crossbar reads as ``config.json``.

    Raises:
        RouterError: a URL of the hub cannot be served.
        KeysError: the keys folder has no table or no certificate, or one that is broken.
    """
    SiteTable.read(keys)
    if Certificate.read(keys) is None:
        raise KeysError(f"no {keys / SERVER_FILE}: a closed router needs a certificate; `ocs keys init` makes it")
    folder = keys.absolute()
    config = crossbar_config(hub, host=host, port=port, secure=True)
    worker = config["workers"][0]
    worker["realms"] = [{"name": hub.wamp_realm, "roles": [{"name": role, "permissions": []} for role in ROLES]}]
    worker["components"] = [_guard(hub, folder)]
    _close(worker["transports"][0], folder)
    return config


def _guard(hub: HubLike, folder: Path) -> dict[str, Any]:
    extra = {"folder": str(folder), "root": hub.address_root}
    return {
        "type": "class",
        "classname": "ocs.router.guard.Guard",
        "realm": hub.wamp_realm,
        "role": "trusted",
        "extra": extra,
    }


def _close(transport: dict[str, Any], folder: Path) -> None:
    tls: dict[str, Any] = {"key": str(folder / SERVER_KEY_FILE), "certificate": str(folder / SERVER_FILE)}
    if chain := chain_files(folder):
        tls["chain_certificates"] = [str(path) for path in chain]
    transport["endpoint"]["tls"] = tls
    transport["max_connections"] = MOST_CONNECTIONS
    paths = transport["paths"]
    del paths["info"]  # tells the router's version
    for name, service in paths.items():
        if service["type"] == "websocket":
            service["options"] |= {"show_server_version": False, "enable_webstatus": False}
            service["auth"] = {"cryptosign": {"type": "function", "create": "ocs.router.guard.authenticator"}}
        elif service["type"] == "caller":
            paths[name] = {"type": "resource", "classname": "ocs.router.guard.bridge", "extra": {}}
    paths["/"] = {"type": "resource", "classname": "ocs.router.guard.nothing", "extra": {}}
