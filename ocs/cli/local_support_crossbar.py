"""The crossbar router of this host, for ``ocs-local-support``: its configuration, start, stop and state."""

import argparse
import difflib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ocs import site_config
from ocs.cli.local_support_status import Status
from ocs.cli.output import say, warn
from ocs.errors import RouterError
from ocs.router import config as router_config
from ocs.router import health
from ocs.router.closed import closed_config
from ocs.router.process import Command, router_command, running_pid, start_detached, stop_tree

_OPEN = "this site is open: who reaches {url} may do everything; `ocs keys init` tells how to close it"

__all__ = [
    "Hub",
    "Local",
    "crossbar_status",
    "generate",
    "has_router",
    "local_router",
    "start_crossbar",
    "stop_crossbar",
]


@dataclass(frozen=True)
class Local:
    """The router as the site file describes it for this host.

    Attributes:
        directory: crossbar's node directory.
        binary: the crossbar program, None to find it.
        hub: what the router serves.
    """

    directory: Path
    binary: str | None
    hub: "Hub"


@dataclass(frozen=True)
class Hub:
    """What the router serves, with what this host has of its own."""

    wamp_server: str
    wamp_http: str
    wamp_realm: str
    address_root: str
    keys: Path | None = None
    """The site's keys folder; None: the site is open."""


def local_router(args: argparse.Namespace) -> Local:
    """Find out what the site file says of the router on this host.

    Raises:
        OCSError: the site file cannot be used, or says that no router is controlled here.
    """
    site, host, _ = site_config.get_config(args, site_config.HOST)
    crossbar = host.crossbar if host else None
    if host is None or crossbar is None:
        raise RouterError(
            f"{site.source_file or 'the site config'} controls no router on this host: give the host a section such as "
            "`crossbar: {config-dir: /etc/crossbar}`"
        )
    directory = Path(crossbar.cbdir or os.environ.get("CROSSBAR_DIR") or ".crossbar")
    bound = argparse.Namespace(**vars(args))
    site_config.add_site_attributes(bound, site, host)
    keys = Path(bound.site_keys) if bound.site_keys else None
    hub = Hub(bound.site_hub, bound.site_http, bound.site_realm, bound.address_root, keys)
    return Local(Path(args.working_dir or host.working_dir) / directory, crossbar.data.get("bin"), hub)


def generate(local: Local, *, force: bool, port: int | None) -> int:
    """Write the router's configuration; one that differs is shown and kept, unless ``force`` is given."""
    config = _config(local.hub, port)
    path = local.directory / "config.json"
    new, old = router_config.to_json(config), _read(path)
    if old == new:
        say(f"{path} is up to date")
        return 0
    if old is not None and not force:
        _show_difference(path, old, new)
        raise RouterError(f"{path} differs from the site file (see above) and was kept: replace it with --force")
    router_config.write(config, local.directory)
    say(f"wrote {path}; a running router takes it when it is started again")
    return 0


def _config(hub: Hub, port: int | None) -> dict[str, Any]:
    if hub.keys is not None:
        return closed_config(hub, hub.keys, port=port)
    warn(_OPEN.format(url=hub.wamp_server))
    return router_config.crossbar_config(hub, port=port)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RouterError(f"cannot read {path}: {error}") from error


def _show_difference(path: Path, old: str, new: str) -> None:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), "from the site file", lineterm="")
    for line in lines:
        say(line)


def start_crossbar(local: Local, *, foreground: bool, timeout: float) -> int:
    """Start the router and wait until it is ready; in the foreground, become it."""
    if not (local.directory / "config.json").exists() and not (local.directory / "config.yaml").exists():
        raise RouterError(
            f"there is no config.json in {local.directory}: make one with `ocs-local-support generate_crossbar_config`"
        )
    pid = running_pid(local.directory)
    if pid is not None:
        say(f"crossbar is running already (pid {pid})")
        return 0
    _require_same_port(local)
    _require_closed(local)
    command = router_command(local.directory, binary=local.binary)
    if foreground:
        _become(command)
    pid = start_detached(command, local.hub.wamp_server, local.hub.wamp_realm, timeout)
    say(f"crossbar is running (pid {pid}) at {local.hub.wamp_server}; its log: {command.log}")
    return 0


def _require_same_port(local: Local) -> None:
    """Refuse a configuration that listens elsewhere than the site file says; one that is written otherwise passes."""
    try:
        _, port = router_config.listening_address(json.loads((local.directory / "config.json").read_text()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RouterError):
        return
    wanted = urlsplit(local.hub.wamp_server).port
    if port != wanted:
        raise RouterError(
            f"{local.directory / 'config.json'} listens at port {port}, but the site file says {wanted}: "
            "make it anew with `ocs-local-support generate_crossbar_config --force`"
        )


def _require_closed(local: Local) -> None:
    """Refuse to start an open router for a site with keys; tell of one that is open because the site is."""
    closed = _has_tls(local.directory / "config.json")
    if closed is False and local.hub.keys is not None:
        raise RouterError(
            f"{local.directory / 'config.json'} is that of an open router, but the site file names keys: "
            "make it anew with `ocs-local-support generate_crossbar_config --force`"
        )
    if closed is False:
        warn(_OPEN.format(url=local.hub.wamp_server))


def _has_tls(path: Path) -> bool | None:
    """Return whether a configuration is that of a closed router; None where it is written otherwise than by us."""
    try:
        return router_config.ws_url(json.loads(path.read_text())).startswith("wss:")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RouterError):
        return None


def _become(command: Command) -> None:
    """Replace this program by the router, so that the terminal's signals reach it and its output the terminal."""
    os.chdir(command.directory)
    try:
        os.execvpe(command.argv[0], command.argv, dict(command.env))  # noqa: S606 - our own argument list
    except OSError as error:
        raise RouterError(f"cannot run {command.argv[0]}: {error.strerror}") from error


def stop_crossbar(local: Local, *, timeout: float) -> int:
    """Stop the router that runs from this host's node directory, with its workers."""
    pid = running_pid(local.directory)
    if pid is None:
        say("crossbar is not running")
        return 0
    stop_tree(pid, how=signal.SIGTERM, timeout=timeout)
    if running_pid(local.directory) is not None:
        raise RouterError(f"crossbar (pid {pid}) does not end: it may belong to another user")
    say("crossbar is stopped")
    return 0


def has_router(args: argparse.Namespace) -> bool:
    """Return whether the site file says that a router is controlled on this host."""
    host = site_config.get_config(args, site_config.HOST).host
    return host is not None and host.crossbar is not None


def crossbar_status(args: argparse.Namespace) -> Status:
    """Tell how the router is: this host's own, or the one that it uses."""
    answer = health.check(args.site_hub, args.site_realm, 3.0)
    if answer.stage == "joined" and args.site_keys:
        return Status("crossbar", "open", f"{answer.message}, to everybody, though the site file names keys")
    if not has_router(args):
        return Status("crossbar", "elsewhere" if answer.ok else "unknown", f"not of this host; {answer.message}")
    pid = running_pid(local_router(args).directory)
    if pid is not None:
        return Status("crossbar", "running", f"pid {pid}; {answer.message}")
    return Status("crossbar", "elsewhere" if answer.ok else "stopped", answer.message)
