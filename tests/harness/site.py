"""A site config file of a test's own, for a router that runs on a free port."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

HOST = "localhost"


class RouterLike(Protocol):
    ws_url: str
    http_url: str
    realm: str


class Site:
    """A site config file in `directory`, rewritten with every instance that is added.

    Attributes:
        path: the file.
        args: the arguments that make any agent, client or program of ocs use it.
        state_dir: where agents keep what recorders lack; made by them.
    """

    def __init__(self, directory: Path, router: RouterLike, *, address_root: str = "observatory") -> None:
        self.directory = directory
        self.path = directory / "default.yaml"
        self.state_dir = directory / "state"
        self.address_root = address_root
        self.hub: dict[str, Any] = {
            "wamp_server": router.ws_url,
            "wamp_http": router.http_url,
            "wamp_realm": router.realm,
            "address_root": address_root,
        }
        self.instances: list[dict[str, Any]] = []
        self.host: dict[str, Any] = {}
        self.write()

    @property
    def args(self) -> list[str]:
        return ["--site-file", str(self.path), "--site-host", HOST]

    @property
    def http_url(self) -> str:
        return str(self.hub["wamp_http"])

    def address(self, instance_id: str) -> str:
        return f"{self.address_root}.{instance_id}"

    def add_instance(self, agent_class: str, instance_id: str, arguments: Sequence[Any] = (), **keys: Any) -> "Site":
        """Add an agent instance; `keys` are further keys of its entry, such as `manage`."""
        entry = {"agent-class": agent_class, "instance-id": instance_id, "arguments": list(arguments), **keys}
        self.instances = [other for other in self.instances if other["instance-id"] != instance_id]
        self.instances.append(entry)
        self.write()
        return self

    def write(self) -> None:
        host = {**self.host, "agent-instances": self.instances}
        self.path.write_text(yaml.safe_dump({"hub": self.hub, "hosts": {HOST: host}}, sort_keys=False))
