"""``ocs status``: the router, the registry, and all hosts with their instances, in one look; again and again."""

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ocs import site_config
from ocs.cli.hosts import Registry, Site, site_file_json
from ocs.cli.hosts_commands import EXIT_CODES, add_view_arguments, site_of, wide
from ocs.cli.hosts_model import HostView, each_row
from ocs.cli.hosts_table import as_json, table_lines
from ocs.cli.output import Line, Span, say, say_json, say_lines, styled
from ocs.cli.parsing import seconds
from ocs.cli.readable import count, when
from ocs.router.health import Health, check

__all__ = ["Look", "add_arguments", "lines_of", "look", "run"]

DESCRIPTION = """\
Show how a site is: whether the router and the registry answer, and on each host
which instances are up, which should be, what ails them, and what they do.
"""

_MOST_SILENT = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs status` takes."""
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    parser.add_argument("--watch", "-w", action="store_true", help="look again and again, until Ctrl-C")
    parser.add_argument(
        "--interval", type=seconds, default=2.0, metavar="S", help="seconds between two looks of --watch (2)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch, an object a line")
    add_view_arguments(parser)
    site_config.add_arguments(parser)


@dataclass(frozen=True, slots=True)
class Look:
    """How a site is at one moment.

    Attributes:
        time: unix time, s.
        site_file: where the site is described, and why that cannot be read, as for machines.
        router: whether the router answers.
        registry: whom the registry knows.
        hosts: the hosts.
    """

    time: float
    site_file: dict[str, Any]
    router: Health
    registry: Registry
    hosts: list[HostView]

    @property
    def ok(self) -> bool:
        """Whether all is as it should be; a registry that the site does not have is not missed."""
        return (
            self.router.ok
            and self.site_file["site_file_mistake"] is None
            and not (self.registry.described and self.registry.message)
            and all(h.ok for h in self.hosts)
        )


def run(args: argparse.Namespace) -> int:
    """Print how the site is; returns the exit code.

    Raises:
        OCSError: there is no site file, or it has a mistake in it.
    """
    site = site_of(args)
    if args.watch:
        return _watch(site, args)
    found = look(site)
    if args.json:
        say_json(_as_json(found))
    else:
        say_lines(lines_of(found, details=wide(args)))
    return int(not found.ok)


def look(site: Site) -> Look:
    """Ask the router, the registry and every HostManager."""
    args = site.args
    router = check(args.site_hub, args.site_realm, site.timeout)
    hosts, registry = site.look()
    return Look(time.time(), site_file_json(site), router, registry, hosts)


def lines_of(found: Look, *, details: bool) -> list[Line]:
    """Return what is shown to a person."""
    router, registry = found.router, found.registry
    head: list[Line] = [
        [
            _mark(router.ok),
            Span(router.message if not router.ok else f"{router.message} ({router.seconds * 1e3:.0f} ms)"),
        ],
        *_registry_lines(registry, _meant_to_be_down(found.hosts)),
        [],
    ]
    return head + table_lines(found.hosts, found.time, details=details, operations=bool(registry.agents))


def _mark(ok: bool) -> Span:
    return Span("ok    " if ok else "FAIL  ", "green" if ok else "bold red")


def _meant_to_be_down(hosts: Sequence[HostView]) -> set[str]:
    return {row.instance_id for row in each_row(hosts) if row.target == "down"}


def _registry_lines(registry: Registry, down: Collection[str]) -> Iterator[Line]:
    if not registry.described and registry.message:
        yield [Span("--    ", "dim"), Span("no registry: nobody keeps a list of who is alive")]
        return
    if registry.message:
        yield [_mark(False), Span(f"registry: {registry.message}")]
        return
    alive = sum(not agent.expired for agent in registry.agents.values())
    silent = [name for name, agent in registry.agents.items() if agent.expired and name not in down]
    text = f"{registry.instance_id} hears {count(alive, 'agent')}"
    if silent:
        more = f" and {len(silent) - _MOST_SILENT} more" if len(silent) > _MOST_SILENT else ""
        text += f"; silent: {', '.join(silent[:_MOST_SILENT])}{more}"
    yield [_mark(True), Span(text)]


def _as_json(found: Look) -> dict[str, Any]:
    return {
        "time": found.time,
        "ok": found.ok,
        **found.site_file,
        "router": {"ok": found.router.ok, "message": found.router.message, "seconds": found.router.seconds},
        "registry": {
            "instance_id": found.registry.instance_id,
            "ok": not found.registry.message,
            "message": found.registry.message,
            "agents": {
                name: {"expired": one.expired, "op_codes": dict(one.op_codes)}
                for name, one in found.registry.agents.items()
            },
        },
        "hosts": as_json(found.hosts, found.time),
    }


# --watch


def _watch(site: Site, args: argparse.Namespace) -> int:
    show = _show_json if args.json else _plain_show(args) if not sys.stdout.isatty() else None
    try:
        if show is None:
            _watch_live(site, args)
        while show is not None:
            show(look(site))
            time.sleep(args.interval)
    except KeyboardInterrupt:
        pass  # that is how watching ends
    return 0


def _show_json(found: Look) -> None:
    import json  # noqa: PLC0415 - only here

    say(json.dumps(_as_json(found), default=str))


def _plain_show(args: argparse.Namespace) -> Callable[[Look], None]:
    def show(found: Look) -> None:
        say(f"--- {when(found.time)} UTC")
        say_lines(lines_of(found, details=wide(args)))
        say()

    return show


def _watch_live(site: Site, args: argparse.Namespace) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load and of no use in a pipe
    from rich.live import Live  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    with Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            found = look(site)
            lines = [*lines_of(found, details=wide(args)), [], [Span(f"{when(found.time)} UTC; Ctrl-C ends", "dim")]]
            live.update(Text("\n").join(styled(line) for line in lines), refresh=True)
            time.sleep(args.interval)
