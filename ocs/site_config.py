"""The site config file (SCF), and the command-line arguments that come with it.

What a program knows about its site is gathered from the command line, the arguments that the file gives its instance,
the host's section and the hub's, in this order of precedence.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ocs.errors import HostNotFoundError, InstanceNotFoundError, OCSError, SiteConfigError, SiteFileNotFoundError
from ocs.scf.arguments import ArgContainer, merge_arguments
from ocs.scf.checks import process_restart, seconds
from ocs.scf.model import (
    DEFAULT_CROSSBAR_TIMEOUT,
    CrossbarConfig,
    HostConfig,
    HubConfig,
    InstanceConfig,
    SiteConfig,
)

if TYPE_CHECKING:
    from ocs.client_http import ControlClient
    from ocs.keys.finding import SiteKeys

__all__ = [
    "CONTROL",
    "HOST",
    "ArgContainer",
    "CrossbarConfig",
    "HostConfig",
    "HubConfig",
    "InstanceConfig",
    "SiteConfig",
    "SiteContext",
    "add_arguments",
    "add_site_attributes",
    "get_config",
    "get_control_client",
    "keys_folder",
    "parse_args",
    "site_file_of",
]

CONTROL = "*control*"
"""The ``agent_class`` of a program that needs neither a host nor an instance."""

HOST = "*host*"
"""The ``agent_class`` of a program that needs a host and no instance."""


def _process_restart(word: str) -> tuple[str, str]:
    try:
        return process_restart(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "--site": {
        "metavar": "NAME",
        "help": "Read $OCS_CONFIG_DIR/NAME.yaml; NAME is 'default' unless given, 'none' reads no file at all.",
    },
    "--site-file": {"metavar": "FILE", "help": "Read this site config file, wherever it is."},
    "--site-host": {
        "metavar": "HOST",
        "help": "Use this host's section of the file, not that of the system's host name.",
    },
    "--site-hub": {"metavar": "URL", "help": "The router's websocket address (wamp_server)."},
    "--site-http": {"metavar": "URL", "help": "The address of the router's HTTP bridge (wamp_http)."},
    "--site-realm": {"metavar": "REALM", "help": "The WAMP realm (wamp_realm)."},
    "--instance-id": {"metavar": "ID", "help": "The agent instance of the file to be, with the arguments given there."},
    "--address-root": {"metavar": "ROOT", "help": "The first part of all agents' addresses."},
    "--site-keys": {
        "metavar": "DIR",
        "help": "The folder of the site's keys, at a site that is closed by them (default: $OCS_KEYS, or the site "
        "config file's 'keys').",
    },
    "--key-file": {
        "metavar": "FILE",
        "help": "The private key to show, where it is not that of the instance, or of 'client', in the folder of keys "
        "(default: $OCS_KEY_FILE).",
    },
    "--registry-address": {"metavar": "ADDRESS", "help": "Ignored; older programs still give it."},
    "--log-dir": {
        "metavar": "DIR",
        "help": "Folder of the log files; a relative one is meant from the working directory.",
    },
    "--working-dir": {"metavar": "DIR", "help": "The folder that relative paths are meant from."},
    "--state-dir": {
        "metavar": "DIR",
        "help": "Where an agent keeps what recorders have not had yet; relative as --log-dir (default: $OCS_STATE_DIR,"
        " the host's state-dir, or ~/.local/state/ocs).",
    },
    "--crossbar-timeout": {
        "metavar": "SECONDS",
        "type": seconds,
        "help": "How long an agent tries to get back to a lost router before it exits; 0 = for ever (default: "
        f"{DEFAULT_CROSSBAR_TIMEOUT}).",
    },
    "--access-policy": {"metavar": "POLICY", "help": "How access to operations is controlled."},
    "--restart-process": {
        "metavar": "NAME[=POLICY]",
        "type": _process_restart,
        "action": "append",
        "help": "Have an agent start this process of its own again when it fails: on-failure (the default), always or"
        " never; may be given several times.",
    },
}


class SiteContext(NamedTuple):
    """Where a program stands in its site; ``host`` and ``instance`` are None where it needs or has none."""

    site: SiteConfig
    host: HostConfig | None
    instance: InstanceConfig | None


class _HelpFormatter(argparse.HelpFormatter):
    """Formats help as ever, without loading shutil and its compressors just to learn the terminal's width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width() - 2)


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:  # a pipe
        return 80


def add_arguments(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the arguments that every agent and client takes; those the parser has already are left alone.

    Returns:
        The parser given, or a new one.
    """
    parser = parser or argparse.ArgumentParser(formatter_class=_HelpFormatter)
    group = parser.add_argument_group("Site Config Options")
    for option, keywords in _ARGUMENTS.items():
        try:
            group.add_argument(option, **keywords)
        except argparse.ArgumentError:
            continue  # the agent's own, or ours from an earlier call
    return parser


def add_site_attributes(args: argparse.Namespace, site: SiteConfig, host: HostConfig | None = None) -> None:
    """Fill in what the arguments left open: from the host, else from the hub.

    Args:
        args: is changed; an attribute that is there and not None stays.
        site: gives the hub.
        host: gives what it has of its own, where there is one.
    """
    own = host or HostConfig()
    hub = site.hub
    known = {
        "site_file": site.source_file,
        "site_hub": own.wamp_server or hub.wamp_server,
        "site_http": own.wamp_http or hub.wamp_http,
        "site_realm": own.wamp_realm or hub.wamp_realm,
        "address_root": hub.address_root,
        "access_policy": hub.access_policy,
        "site_keys": keys_folder(site, own),
        "log_dir": own.log_dir,
        "crossbar_timeout": own.crossbar_timeout,
        "state_dir": own.state_dir or _home_state_dir(),
    }
    for name, value in known.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


def keys_folder(site: SiteConfig, host: HostConfig | None = None) -> str | None:
    """Return the folder of the keys that close a site; None at an open one.

    Args:
        site: gives the hub.
        host: gives what it has of its own, where there is one.
    """
    named = os.environ.get("OCS_KEYS") or (host and host.keys) or site.hub.keys
    if not named:
        return None
    base = os.path.dirname(site.source_file) if site.source_file else ""  # noqa: PTH120 - as above
    folder = os.path.expanduser(named)  # noqa: PTH111 - as above
    return folder if os.environ.get("OCS_KEYS") else os.path.join(base, folder)  # noqa: PTH118 - as above


def _home_state_dir() -> str | None:
    """Return where the state of programs is kept on this system; None where there is no such place."""
    folder = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")  # noqa: PTH111 - as above
    return f"{folder}/ocs" if os.path.isabs(folder) else None  # noqa: PTH117 - as above


def get_config(args: argparse.Namespace, agent_class: str | None = None) -> SiteContext:
    """Return the site, host and instance that the arguments mean; with ``--site none``, an empty site alone.

    Args:
        args: with the attributes of ``add_arguments``; of these ``site``, ``site_file``, ``site_host`` and
            ``instance_id`` count.
        agent_class: the class of the instance, where there is no ``instance_id``; ``*control*`` matches neither host
            nor instance (the host is given where there is one), ``*host*`` only a host.

    Raises:
        SiteConfigError: the file is not there or has a mistake in it.
        HostNotFoundError: a KeyError: the file describes no such host.
        InstanceNotFoundError: a RuntimeError: no such instance on this host, or several of the class.
    """
    if _without_file(args):
        return SiteContext(SiteConfig(), None, None)
    site = _read_site(args)
    host = _find_host(site, getattr(args, "site_host", None))
    if agent_class == CONTROL:
        return SiteContext(site, host, None)
    if host is None:
        raise HostNotFoundError(_no_host(site, getattr(args, "site_host", None)))
    if agent_class == HOST:
        return SiteContext(site, host, None)
    return SiteContext(site, host, _find_instance(site, host, getattr(args, "instance_id", None), agent_class))


def _without_file(args: argparse.Namespace) -> bool:
    return getattr(args, "site", None) == "none" and not getattr(args, "site_file", None)


def site_file_of(args: argparse.Namespace) -> str:
    """Return the path of the site config file that the arguments mean.

    Args:
        args: of its attributes ``site`` and ``site_file`` count.

    Raises:
        SiteFileNotFoundError: nothing says where to look.
    """
    name, path = getattr(args, "site", None), getattr(args, "site_file", None)
    if path:
        return str(path)
    folder = os.environ.get("OCS_CONFIG_DIR")
    if not folder:
        raise SiteFileNotFoundError("Site file not found: neither --site-file nor OCS_CONFIG_DIR says where to look")
    return os.path.join(folder, f"{name or 'default'}.yaml")  # noqa: PTH118 - pathlib would cost every client's start


def _read_site(args: argparse.Namespace) -> SiteConfig:
    path = site_file_of(args)
    try:
        return SiteConfig.from_yaml(path)
    except SiteFileNotFoundError as error:
        raise SiteFileNotFoundError(f"{error} ({_how_it_was_found(args)})") from None


def _how_it_was_found(args: argparse.Namespace) -> str:
    if getattr(args, "site_file", None):
        return "given with --site-file"
    return f"from $OCS_CONFIG_DIR{' and --site' if getattr(args, 'site', None) else ''}; --site-file names another"


def _host_names(wanted: str | None) -> list[str]:
    return [wanted or os.uname().nodename, "localhost"]


def _find_host(site: SiteConfig, wanted: str | None) -> HostConfig | None:
    return next((site.hosts[name] for name in _host_names(wanted) if name in site.hosts), None)


def _no_host(site: SiteConfig, wanted: str | None) -> str:
    tried = " nor ".join(f"'{name}'" for name in _host_names(wanted))
    known = ", ".join(site.hosts) or "none"
    return f"{_source(site)} describes neither host {tried}; it has: {known} (choose with --site-host)"


def _source(site: SiteConfig) -> str:
    return site.source_file or "The site config"


def _find_instance(
    site: SiteConfig, host: HostConfig, instance_id: str | None, agent_class: str | None
) -> InstanceConfig:
    if instance_id:
        matches = [instance for instance in host.instances if instance.instance_id == instance_id]
    else:
        matches = [instance for instance in host.instances if instance.agent_class == agent_class]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(instance.instance_id for instance in matches)
        raise InstanceNotFoundError(
            f"Host '{host.name}' has several instances of {agent_class}: give --instance-id, one of {ids}"
        )
    raise InstanceNotFoundError(_no_instance(site, host, instance_id, agent_class))


def _no_instance(site: SiteConfig, host: HostConfig, instance_id: str | None, agent_class: str | None) -> str:
    if instance_id is None and agent_class is None:
        return f"Which instance of host '{host.name}' is meant? Give --instance-id, one of {_ids(host)}"
    wanted = f"instance '{instance_id}'" if instance_id else f"instance of class {agent_class}"
    message = f"{_source(site)} describes no {wanted} on host '{host.name}'"
    elsewhere = [other.name for other in site.hosts.values() if _describes(other, instance_id)]
    if elsewhere:
        return f"{message}, but on host '{elsewhere[0]}' (choose with --site-host)"
    return f"{message}; it has: {_ids(host)}"


def _ids(host: HostConfig) -> str:
    return ", ".join(instance.instance_id for instance in host.instances) or "none"


def _describes(host: HostConfig, instance_id: str | None) -> bool:
    return any(instance.instance_id == instance_id for instance in host.instances)


def parse_args(
    agent_class: str | None = None,
    parser: argparse.ArgumentParser | None = None,
    args: Sequence[str] | None = None,
) -> argparse.Namespace:
    """Parse a program's arguments together with what the site config file says.

    Args:
        agent_class: finds the instance where ``--instance-id`` is not given; ``*control*`` or ``*host*`` where the
            program is no agent.
        parser: has the program's own arguments, and gets those of ``add_arguments``.
        args: single words; None for those of the command line.

    Returns:
        A namespace with every argument of the parser, ``site_*`` and ``crossbar_timeout`` (s) filled in, and
        ``agent_class``.

    Raises:
        OCSError: one of those of ``get_config``.
        SystemExit: an argument is wrong or help was asked for, as argparse does.
    """
    parser = add_arguments(parser)
    words = list(sys.argv[1:] if args is None else args)
    if "-h" in words or "--help" in words:
        parser.parse_known_args(words)  # prints the help and exits, with or without a site config file
    site, host, instance = get_config(_site_arguments(words), agent_class)
    with _naming_source(parser, instance):
        namespace = parser.parse_args(merge_arguments(instance.arguments if instance else [], words, parser))
    if instance is not None:
        namespace.instance_id = instance.instance_id
    namespace.agent_class = agent_class or (instance.agent_class if instance else None)
    if os.environ.get("OCS_STATE_DIR") and _site_arguments(words).state_dir is None:
        namespace.state_dir = os.environ["OCS_STATE_DIR"]
    add_site_attributes(namespace, site, host)
    if instance is None and agent_class not in (CONTROL, HOST):
        _require_all(namespace)
    return namespace


def _require_all(args: argparse.Namespace) -> None:
    """Raise where an agent without a site config file was not told everything."""
    needed = ("instance_id", "site_hub", "site_realm", "address_root")
    missing = [f"--{name.replace('_', '-')}" for name in needed if getattr(args, name) is None]
    if missing:
        raise SiteConfigError(f"With --site none an agent needs {', '.join(missing)} too")


def _site_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Return what finds the place in the site, and what the environment yields to; mistakes are for the full parser."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    group = parser.add_argument_group()  # a group asks for no help formatter, which would be slow to load
    for option in ("--site", "--site-file", "--site-host", "--instance-id", "--state-dir"):
        group.add_argument(option, nargs="?")
    return parser.parse_known_args(words)[0]


@contextmanager
def _naming_source(parser: argparse.ArgumentParser, instance: InstanceConfig | None) -> Iterator[None]:
    """Let the parser's error say which arguments the site config file added, while the context lasts."""
    if instance is None or not instance.arguments:
        yield
        return
    plain, added = parser.error, " ".join(instance.arguments)

    def error(message: str) -> None:
        plain(f"{message} (the site config file gives instance '{instance.instance_id}' the arguments: {added})")

    parser.error = error  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        parser.error = plain  # type: ignore[method-assign]


def get_control_client(
    instance_id: str,
    site: SiteConfig | None = None,
    args: Sequence[str] | argparse.Namespace | None = None,
    start: bool = True,
    client_type: str = "http",
) -> "ControlClient":
    """Return a client that speaks to one agent instance.

    Args:
        instance_id: the last part of the agent's address.
        site: gives everything, where it is not None; else ``args`` does.
        args: single words to be parsed (none unless given), or what ``parse_args`` returned.
        start: call the client's ``start()``.
        client_type: ``http`` is the only one.

    Raises:
        OCSError: the site config file is missing or has a mistake, or the client type is unknown.
    """
    if client_type != "http":
        raise OCSError(f"There is no client type {client_type!r}; known: 'http'")
    from ocs.client_http import ControlClient  # noqa: PLC0415 - the file can be read where no client is wanted

    address = _client_address(site, args)
    client = ControlClient(
        f"{address.root}.{instance_id}",
        url=address.url,
        realm=address.realm,
        keys=_client_keys(address),
    )
    if start:
        client.start()
    return client


class _ClientAddress(NamedTuple):
    root: str
    url: str
    realm: str
    keys: str | None
    key_file: str | None


def _client_keys(address: _ClientAddress) -> "SiteKeys | None":
    """Return the key of who operates; None at an open site, which pays nothing for keys.

    Raises:
        KeysError: the site is closed, and there is no key.
    """
    key_file = address.key_file or os.environ.get("OCS_KEY_FILE")
    if not (address.keys or key_file):
        return None
    from ocs.keys.finding import CLIENT, find_keys  # noqa: PLC0415 - as above

    return find_keys(address.keys, [CLIENT], key_file)


def _client_address(site: SiteConfig | None, args: Any) -> _ClientAddress:
    """Return the address root, the URL of the HTTP bridge, the realm, and where the key is."""
    keys = key_file = None
    if site is not None:
        found = (site.hub.address_root, site.hub.wamp_http, site.hub.wamp_realm)
        keys = keys_folder(site)
    else:
        # Never the command line: it is that of a control script, with options of its own.
        parsed = parse_args(CONTROL, args=args or ()) if args is None or isinstance(args, list | tuple) else args
        found = (parsed.address_root, parsed.site_http, parsed.site_realm)
        keys, key_file = getattr(parsed, "site_keys", None), getattr(parsed, "key_file", None)
    root, url, realm = found
    if not (root and url and realm):
        raise SiteConfigError(
            "A client needs --address-root, --site-http and --site-realm where no site file gives them"
        )
    return _ClientAddress(root, url, realm, keys, key_file)
