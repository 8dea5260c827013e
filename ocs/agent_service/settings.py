"""What the agent service is told when it starts: where it listens, which site it serves, whom it lets in."""

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from ocs.scf.model import HubConfig

__all__ = [
    "DEFAULT_AUDIENCE",
    "DEFAULT_PORT",
    "DEFAULT_ROLE",
    "DEFAULT_ROLE_CLAIM",
    "SecuritySettings",
    "Settings",
    "default_key_folder",
    "is_loopback",
]

DEFAULT_PORT: Final = 8300
DEFAULT_ROLE: Final = "esw-user"
DEFAULT_AUDIENCE: Final = "ocs-agent-service"
DEFAULT_ROLE_CLAIM: Final = "realm_access.roles"
"""Where Keycloak puts the roles of a realm in its tokens."""


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Who may spawn and kill.

    Attributes:
        issuer: the URL of an OpenID Connect issuer; None takes the keys of ``key_folder``.
        key_folder: where ``ocs-agent-service init`` has put the keys.
        no_auth: everybody may do everything; goes with a loopback address only.
        role: what a token has to hold for spawn and kill.
        audience: what a token's ``aud`` has to name.
        role_claim: the path to the roles in a token's claims, with dots between its parts.
        insecure_issuer: an issuer may speak plain http on the network too, where anybody in between can forge keys.
    """

    issuer: str | None = None
    key_folder: Path | None = None
    no_auth: bool = False
    role: str = DEFAULT_ROLE
    audience: str = DEFAULT_AUDIENCE
    role_claim: str = DEFAULT_ROLE_CLAIM
    insecure_issuer: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """One agent service.

    Attributes:
        hub: the site's router, realm and address root.
        host: the address to listen on.
        port: the TCP port; 0 takes a free one.
        security: who may spawn and kill.
        audit_log: the file that remembers who asked for what; None: no file.
        allow_origins: pages of which browsers may ask, such as ``https://ops.example.org``; ``*``: all.
        tls_cert: the file of the certificate, with those between it and its root; None: the service speaks plain http.
        tls_key: the file of the certificate's private key; None: it is in the same file.
        site_args: the arguments of the agent that the service is, as `ocs.site_config` has them.
    """

    hub: HubConfig
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    security: SecuritySettings = field(default_factory=SecuritySettings)
    audit_log: Path | None = None
    allow_origins: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    site_args: Any = None


def default_key_folder() -> Path:
    """Return where keys are unless another folder is named: beside the site config file, else in the home folder."""
    config = os.environ.get("OCS_CONFIG_DIR")
    root = Path(config) if config else Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ocs"
    return root / "agent-service-keys"


def is_loopback(host: str) -> bool:
    """Tell whether an address or host name is this machine's own, which no other machine reaches."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
