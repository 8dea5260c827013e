"""``ocs-local-support``: the crossbar router of this host, and later its HostManager."""

import argparse
import difflib
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ocs import site_config
from ocs.cli.output import program, say, say_json, table
from ocs.errors import OCSError, RouterError
from ocs.router import config as router_config
from ocs.router import health
from ocs.router.process import Command, router_command, running_pid, start_detached, stop_tree

__all__ = ["Status", "main"]

TARGETS = ("crossbar", "agent", "process")
_LATER = {"agent": "the HostManager agent", "process": "the HostManager process"}


@dataclass(frozen=True)
class Status:
    """One line of ``status``.

    Attributes:
        target: ``crossbar``, ``agent`` or ``process``.
        state: ``running``, ``stopped``, ``elsewhere`` (a router answers that was not started from here) or ``unknown``.
        detail: one line for a person.
    """

    target: str
    state: str
    detail: str


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


def local_router(args: argparse.Namespace) -> Local:
    """Find out what the site file says of the router on this host.

    Raises:
        OCSError: the site file cannot be used, or says that no router is controlled here.
    """
    site, host, _ = site_config.get_config(args, "*host*")
    crossbar = host.crossbar if host else None
    if host is None or crossbar is None:
        raise RouterError(
            f"{site.source_file or 'the site config'} controls no router on this host: give the host a section such as "
            "`crossbar: {config-dir: /etc/crossbar}`"
        )
    directory = Path(crossbar.cbdir or os.environ.get("CROSSBAR_DIR") or ".crossbar")
    bound = argparse.Namespace(**vars(args))
    site_config.add_site_attributes(bound, site, host)
    hub = Hub(bound.site_hub, bound.site_http, bound.site_realm, bound.address_root)
    return Local(Path(args.working_dir or host.working_dir) / directory, crossbar.data.get("bin"), hub)


def generate(local: Local, *, force: bool, port: int | None) -> int:
    """Write the router's configuration; one that differs is shown and kept, unless ``force`` is given."""
    config = router_config.crossbar_config(local.hub, port=port)
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


def crossbar_status(local: Local) -> Status:
    """Tell how the router of this host is."""
    pid = running_pid(local.directory)
    answer = health.check(local.hub.wamp_server, local.hub.wamp_realm, 3.0)
    if pid is not None:
        return Status("crossbar", "running", f"pid {pid}; {answer.message}")
    return Status("crossbar", "elsewhere" if answer.ok else "stopped", answer.message)


def _not_yet(target: str) -> Status:
    return Status(target, "unknown", f"{_LATER[target]} is not handled by this version of ocs")


def show_status(local: Local, targets: Sequence[str], *, as_json: bool) -> int:
    """Print how things are; the exit code is 1 if one of them is not running."""
    found = [crossbar_status(local) if target == "crossbar" else _not_yet(target) for target in targets]
    if as_json:
        say_json([asdict(status) for status in found])
    else:
        table(("target", "state", "detail"), [(s.target, s.state, s.detail) for s in found])
    return int(any(status.state == "stopped" for status in found))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ocs-local-support",
        description="Control what runs on this host for the whole site: the crossbar router.",
        epilog="Examples: `ocs-local-support generate_crossbar_config`, `ocs-local-support start crossbar`, "
        "`ocs-local-support status`. Agents are started by `ocs up` or `ocs-agent-cli`.",
    )
    parser.add_argument("command", choices=("status", "start", "stop", "generate_crossbar_config"))
    parser.add_argument(
        "target", nargs="?", choices=TARGETS, help="one of them only; agent and process (HostManager) come later"
    )
    parser.add_argument("--foreground", action="store_true", help="start: run in this terminal, until Ctrl-C")
    parser.add_argument("--force", action="store_true", help="generate_crossbar_config: replace a file that differs")
    parser.add_argument("--port", type=int, help="generate_crossbar_config: listen here, not at the hub's port")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for start and stop (30)")
    parser.add_argument("--json", action="store_true", help="status: print JSON")
    return site_config.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out one command line.

    Raises:
        OCSError: it cannot be done; the text says why.
    """
    if args.command == "generate_crossbar_config":
        return generate(local_router(args), force=args.force, port=args.port)
    if args.command == "status":
        return show_status(local_router(args), [args.target] if args.target else TARGETS, as_json=args.json)
    if args.target in _LATER:
        raise OCSError(f"{_not_yet(args.target).detail}; start agents with `ocs up` or `ocs-agent-cli`")
    if args.command == "start":
        return start_crossbar(local_router(args), foreground=args.foreground, timeout=args.timeout)
    return stop_crossbar(local_router(args), timeout=args.timeout)


def main(args: Sequence[str] | None = None) -> int:
    """Run ``ocs-local-support``; returns the exit code."""
    parsed = _make_parser().parse_args(args)
    body: Callable[[], int] = lambda: run(parsed)  # noqa: E731 - one call, deferred
    return program(body)
