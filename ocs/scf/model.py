"""The site config as objects: a site has a hub and hosts, a host has instances."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ocs.errors import CrossbarNotFoundError, SiteConfigError, SiteFileNotFoundError
from ocs.scf import keys
from ocs.scf.checks import ConfigMistakeError, flat_words, mapping, required_text, text, under
from ocs.scf.keys import DEFAULT_CROSSBAR_TIMEOUT, MANAGE_WORDS, RESTART_WORDS

__all__ = [
    "DEFAULT_CROSSBAR_TIMEOUT",
    "MANAGE_WORDS",
    "RESTART_WORDS",
    "CrossbarConfig",
    "HostConfig",
    "HubConfig",
    "InstanceConfig",
    "SiteConfig",
    "refuse_too_many",
    "shared_ids",
]


class CrossbarConfig:
    """How the crossbar router is started on this host.

    Attributes:
        parent: the ``HostConfig`` it belongs to, or None.
        cbdir: the folder with crossbar's ``config.json``, or None for crossbar's own default.
        cbdir_args: the same as arguments for crossbar.
        data: the mapping as in the file.
    """

    def __init__(self, data: Mapping[str, Any], parent: Any = None) -> None:
        self.data = data
        self.parent = parent
        self.cbdir = text(data, "config-dir")
        self.cbdir_args = ["--cbdir", self.cbdir] if self.cbdir else []
        self._binary = text(data, "bin")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None, parent: Any = None) -> "CrossbarConfig | None":
        """Return the configuration; None (router not controlled on this host) where ``data`` is None.

        Args:
            data: optional keys ``config-dir`` and ``bin``.
            parent: the ``HostConfig`` it belongs to.

        Raises:
            SiteConfigError: a value of the wrong type.
        """
        return None if data is None else cls(mapping(data, "crossbar"), parent)

    @property
    def binary(self) -> str | None:
        """The crossbar program: ``bin``, else the one in PATH, else the one beside this Python; None without any."""
        if self._binary:
            return self._binary
        from shutil import which  # noqa: PLC0415 - slow to load, and only who starts a router needs it

        return which("crossbar") or which("crossbar", path=os.path.dirname(sys.executable))  # noqa: PTH120

    def get_cmd(self, cmd: str) -> list[str]:
        """Return the command line that runs crossbar's ``cmd`` (``start``, ``stop``, ``check``…).

        Raises:
            CrossbarNotFoundError: there is no crossbar program.
        """
        binary = self.binary
        if binary is None:
            raise CrossbarNotFoundError(
                "The crossbar program is not in PATH: install ocs[router], or name it as 'bin' in the host's 'crossbar'"
            )
        return [binary, cmd, *self.cbdir_args]


class HubConfig:
    """Where the router is, and what all agents of the site share.

    Attributes:
        wamp_server: the router's websocket address.
        wamp_http: the address of its HTTP bridge, for clients.
        wamp_realm: the WAMP realm.
        address_root: the first part of every agent's address.
        access_policy: how access is controlled, or None.
        keys: folder of the keys that close the site, or None at an open one; relative to the file's own folder.
        data: the mapping as in the file.
        parent: the ``SiteConfig``, or None.
    """

    def __init__(self, data: Mapping[str, Any], parent: Any = None) -> None:
        self.data = data
        self.parent = parent
        self.wamp_server = text(data, "wamp_server")
        self.wamp_http = text(data, "wamp_http")
        self.wamp_realm = text(data, "wamp_realm")
        self.address_root = text(data, "address_root")
        self.access_policy = text(data, "access_policy")
        self.keys = text(data, "keys")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], parent: Any = None) -> "HubConfig":
        """Return the hub that ``data`` describes; a site asks for more of its keys than this does.

        Raises:
            SiteConfigError: a value of the wrong type.
        """
        return cls(mapping(data, "hub"), parent)


class InstanceConfig(Mapping[str, Any]):
    """One agent instance. Read as a mapping it gives the keys of the file.

    Attributes:
        instance_id: the last part of the agent's address.
        agent_class: the class that its plugin names.
        arguments: the command-line arguments, flattened, each a string.
        manage: one of ``host/up``, ``host/down``, ``docker/up``, ``docker/down``, ``ignore``.
        start_level: instances of a lower level are started first.
        restart: one of ``RESTART_WORDS``; ``on-failure``: not after an exit code of 0.
        data: the mapping as in the file, with keys that are not ours too.
        parent: the ``HostConfig``, or None.
    """

    def __init__(self, data: Mapping[str, Any], parent: Any = None) -> None:
        self.data = dict(data)
        self.parent = parent
        self.instance_id = required_text(data, "instance-id")
        self.agent_class = required_text(data, "agent-class")
        self.arguments = flat_words(data, "arguments")
        self.manage = keys.manage(data, "manage")
        self.start_level = keys.start_level(data, "start-level")
        self.restart = keys.restart(data, "restart")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], parent: Any = None) -> "InstanceConfig":
        """Return the instance that ``data`` describes.

        Args:
            data: ``instance-id`` and ``agent-class``; optional ``arguments``, ``manage``, ``start-level``,
                ``restart``.
            parent: the ``HostConfig`` it belongs to.

        Raises:
            SiteConfigError: a key is missing or has a value that it cannot have.
        """
        return cls(mapping(data, "an instance"), parent)

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{self.agent_class} {self.instance_id}>"


class HostConfig:
    """One host: its instances, and what it has of its own.

    Attributes:
        name: as in the file.
        instances: list of ``InstanceConfig``.
        log_dir: folder of the log files, or None; a relative one is meant from the working directory.
        state_dir: where agents keep what no recorder has had yet, or None; relative as ``log_dir``.
        working_dir: the folder that relative paths are meant from.
        crossbar: ``CrossbarConfig``, or None where the router is not controlled on this host.
        crossbar_timeout: how long an agent tries to get back to a lost router before it exits, in s; 0 = for ever.
        wamp_server: this host's own router address, or None for the hub's; so ``wamp_http``, ``wamp_realm``, ``keys``.
        data: the mapping as in the file.
        parent: the ``SiteConfig``, or None.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.parent: Any = None
        self.data: Mapping[str, Any] = {}
        self.instances: list[InstanceConfig] = []
        self.crossbar: CrossbarConfig | None = None
        self.crossbar_timeout: int | float = DEFAULT_CROSSBAR_TIMEOUT
        self.log_dir: str | None = None
        self.state_dir: str | None = None
        self.working_dir = _current_folder()
        self.wamp_server: str | None = None
        self.wamp_http: str | None = None
        self.wamp_realm: str | None = None
        self.keys: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], parent: Any = None, name: str | None = None) -> "HostConfig":
        """Return the host that ``data`` describes.

        Args:
            data: ``agent-instances``; optional ``log-dir``, ``state-dir``, ``crossbar``, ``crossbar_timeout`` (s),
                ``wamp_server``, ``wamp_http``, ``wamp_realm``, ``keys``.
            parent: the ``SiteConfig`` it belongs to.
            name: its name.

        Raises:
            SiteConfigError: a key is missing or has a value that it cannot have.
        """
        self = cls(name)
        self.parent = parent
        self.data = mapping(data, "a host")
        self.instances = _instances(data, self)
        self.log_dir = text(data, "log-dir")
        self.state_dir = text(data, "state-dir")
        self.crossbar = under(("crossbar",), partial(CrossbarConfig.from_dict, data.get("crossbar"), self))
        self.crossbar_timeout = keys.crossbar_timeout(data, "crossbar_timeout")
        self.wamp_server = text(data, "wamp_server")
        self.wamp_http = text(data, "wamp_http")
        self.wamp_realm = text(data, "wamp_realm")
        self.keys = text(data, "keys")
        return self


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib would cost every client's start
    except FileNotFoundError:  # removed below our feet
        return "/"


def _instances(data: Mapping[str, Any], host: HostConfig) -> list[InstanceConfig]:
    return [
        under(("agent-instances", number), partial(InstanceConfig.from_dict, entry, host))
        for number, entry in enumerate(keys.instance_list(data, "agent-instances"))
    ]


class SiteConfig:
    """A whole site.

    Attributes:
        hub: ``HubConfig``.
        hosts: name → ``HostConfig``, in the order of the file.
        source_file: the absolute path it was read from, or None.
    """

    def __init__(self) -> None:
        self.hub = HubConfig({})
        self.hosts: dict[str, HostConfig] = {}
        self.source_file: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SiteConfig":
        """Return the site that ``data`` describes.

        Args:
            data: ``hub`` and ``hosts``.

        Raises:
            SiteConfigError: a key is missing, has a value that it cannot have, or an instance-id is used twice.
        """
        data = mapping(data, "a site config")
        self = cls()
        self.hub = under(("hub",), partial(_hub, keys.section(data, "hub"), self))
        hosts = {str(name): host for name, host in keys.section(data, "hosts").items()}
        refuse_too_many(hosts)
        for name, host in hosts.items():
            self.hosts[name] = under(("hosts", name), partial(HostConfig.from_dict, host, self, name))
        for mistake in shared_ids(_every_instance(self.hosts)):
            raise mistake
        return self

    @classmethod
    def from_yaml(cls, filename: str | os.PathLike[str]) -> "SiteConfig":
        """Return the site that a file describes.

        Raises:
            SiteFileNotFoundError: there is no such file.
            SiteConfigError: it cannot be read or has a mistake in it; the message has file and line.
        """
        from ocs.scf import reading  # noqa: PLC0415 - reading a file loads yaml, and many programs read none

        path = os.path.abspath(filename)  # noqa: PTH100 - pathlib would cost every client's start
        try:
            document = reading.Document(reading.read_text(path), path)
        except FileNotFoundError:
            raise SiteFileNotFoundError(f"Site file not found: {path}") from None
        try:
            self = cls.from_dict(document.value())
        except ConfigMistakeError as mistake:
            raise SiteConfigError(f"{path}:{document.line_of(mistake.keys)}: {mistake}") from None
        self.source_file = path
        return self


def _hub(data: Mapping[str, Any], site: SiteConfig) -> HubConfig:
    for key, read in keys.HUB_KEYS.items():
        read(data, key)
    return HubConfig.from_dict(data, site)


def refuse_too_many(hosts: Mapping[str, Any]) -> None:
    """Raise where all hosts together have more instances than a site has; a reference may repeat a whole host."""
    entries = (host.get("agent-instances") for host in hosts.values() if isinstance(host, Mapping))
    if sum(len(entry) for entry in entries if isinstance(entry, list | tuple)) > keys.MOST_INSTANCES:
        raise ConfigMistakeError(f"the hosts have more than {keys.MOST_INSTANCES} instances", ("hosts",))


Place = tuple[str, int, InstanceConfig]
"""Where an instance is described: host, number in its list, the instance."""


def shared_ids(instances: Iterable[Place]) -> Iterator[ConfigMistakeError]:
    """Yield a mistake for each instance that would have the address of another.

    Another host may describe the same instance once more, where that is marked ``manage: ignore``.
    """
    first: dict[str, tuple[str, InstanceConfig]] = {}
    for host, number, instance in instances:
        other_host, other = first.setdefault(instance.instance_id, (host, instance))
        if other is instance:
            continue
        if other_host == host or "ignore" not in (instance.manage, other.manage):
            where = "on this host" if other_host == host else f"on host '{other_host}'"
            problem = f"'{instance.instance_id}' is used a second time; the first is {where}"
            yield ConfigMistakeError(problem, ("hosts", host, "agent-instances", number, "instance-id"))
        if other.manage == "ignore":
            first[instance.instance_id] = (host, instance)


def _every_instance(hosts: Mapping[str, HostConfig]) -> Iterator[Place]:
    for name, host in hosts.items():
        for number, instance in enumerate(host.instances):
            yield name, number, instance
