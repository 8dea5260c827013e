"""``ocsbow``: how all hosts of a site are, which of their instances are to be up, and what the site file says."""

import argparse
import sys
import time
from collections.abc import Sequence

from ocs import site_config
from ocs.cli.hosts import Site, site_file_json
from ocs.cli.hosts_commands import (
    EXIT_CODES,
    add_order_arguments,
    add_view_arguments,
    carry_out,
    site_of,
    teller,
    wide,
)
from ocs.cli.hosts_model import HostView
from ocs.cli.hosts_orders import ALL, Order, aims_of, orders
from ocs.cli.hosts_table import as_json, table_lines
from ocs.cli.hosts_wait import give, wait
from ocs.cli.ocsbow_config import show_config
from ocs.cli.output import fail, program, say, say_json, say_lines, warn
from ocs.cli.parsing import Parser, accept_site_arguments
from ocs.errors import OCSError, UnknownInstanceError

__all__ = ["main"]

_DESCRIPTION = """\
Talk to the HostManagers of a site, one on each host, which keep its agents.

  ocsbow status                        all hosts, all instances
  ocsbow up fake-1 fake-2 --wait       have them run, and wait until they do
  ocsbow down --all --dry-run          what would be asked of whom
  ocsbow status --reload-config        after a change in a site file
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        args: the words of the command line; None: those of this process.

    Returns:
        The exit code.
    """
    return program(lambda: _main(sys.argv[1:] if args is None else list(args)))


def _main(words: list[str]) -> int:
    args = _make_parser().parse_args(words)
    run = {"status": _status, "up": _up_or_down, "down": _up_or_down, "config": show_config}[args.command]
    return run(args)


def _make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="ocsbow",
        description=_DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=raw,
        allow_abbrev=False,
        usage="%(prog)s [site options] COMMAND ...",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="ocsbow")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=raw, epilog=EXIT_CODES)
        accept_site_arguments(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    status = add("status", "Show how the instances of all hosts are.")
    status.add_argument("--host", "-H", metavar="HOST", action="append", help="this host only; may be given again")
    status.add_argument(
        "--reload-config", "-r", action="store_true", help="have each HostManager read its site file again first"
    )
    add_view_arguments(status)
    for name, effect in (("up", "have them started"), ("down", "have them stopped")):
        command = add(name, f"Tell HostManagers that instances are to be {name}, and so {effect}.")
        command.add_argument("instance", nargs="*", help="an instance-id; one of a HostManager means all that it has")
        command.add_argument("--all", "-a", action="store_true", help="all instances of all hosts")
        command.add_argument("--dry-run", action="store_true", help="only tell what would be asked of whom")
        add_order_arguments(command)
    config = add("config", "Show what the site file and the installation say; nobody is asked.")
    config.add_argument("topic", nargs="?", choices=("summary", "plugins", "crossbar"), default="summary")
    site_config.add_arguments(parser)
    return parser


# status


def _status(args: argparse.Namespace) -> int:
    site = site_of(args)
    reloaded = _reload(site) if args.reload_config else True
    views = _chosen(site.view(), args.host)
    if args.json:
        say_json(
            {
                **site_file_json(site),
                "wamp_http": site.args.site_http,
                "hosts": as_json(views, time.time()),
            }
        )
    else:
        say(f"site file {site.site_file}, router {site.args.site_http}\n")
        say_lines(table_lines(views, time.time(), details=wide(args)))
    return int(not reloaded or site.mistake is not None or not all(view.ok for view in views))


def _reload(site: Site) -> bool:
    """Have every HostManager read its site file again; tells which could not."""
    asked = [Order(name, (ALL,), answer) for name, answer in site.ask_all(site.managers()).items()]
    outcomes = give(site, [order for order in asked if not order.obstacle], "update", lambda _: {"reload_config": True})
    for outcome in outcomes:
        if outcome.message:
            warn(outcome.message)
    return not any(outcome.message for outcome in outcomes)


def _chosen(views: Sequence[HostView], names: Sequence[str] | None) -> list[HostView]:
    unknown = [name for name in names or () if name not in {view.name for view in views}]
    if unknown:
        fail(f"there is no host '{unknown[0]}'; there are: {', '.join(view.name for view in views)}", code=2)
    return [view for view in views if not names or view.name in names]


# up, down


def _up_or_down(args: argparse.Namespace) -> int:
    if bool(args.instance) == args.all:
        fail(f"name instances, or give --all (see `ocsbow {args.command} --help`)", code=2)
    site, target = site_of(args), args.command
    views = site.view()
    try:
        asked = orders(views, args.instance, everything=args.all)
    except UnknownInstanceError as error:
        fail(str(error), code=2)
    if not asked:
        raise OCSError("no HostManager: the site file describes none, and the registry knows of none")
    return carry_out(
        args,
        target,
        asked,
        lambda: give(site, asked, "update", lambda one: {"requests": [[name, target] for name in one.instances]}),
        lambda taken: wait(site, aims_of(views, taken, target), args.wait, teller(target, quiet=args.json)),
    )


if __name__ == "__main__":
    sys.exit(main())
