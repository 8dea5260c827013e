"""``ocs restart``: have instances end and start again, on whatever host they run."""

import argparse
from collections.abc import Sequence

from ocs import site_config
from ocs.cli.hosts import Site
from ocs.cli.hosts_commands import EXIT_CODES, add_order_arguments, carry_out, site_of, teller
from ocs.cli.hosts_model import HostView
from ocs.cli.hosts_orders import Order, aims_of, orders
from ocs.cli.hosts_wait import give, wait
from ocs.cli.output import fail
from ocs.errors import UnknownInstanceError

__all__ = ["add_arguments", "run"]

DESCRIPTION = """\
Have instances end in order and start again: after a change of their arguments, their
code or their image, or when they are stuck. One that was down is started. The
HostManager of each instance's host is asked, and does it in its own time; --wait
waits until the new run has sent its first heartbeat.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs restart` takes."""
    parser.description, parser.epilog = DESCRIPTION, EXIT_CODES
    parser.add_argument(
        "instance", nargs="+", help="an instance-id; one of a HostManager means all of its instances that are up"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be asked of whom")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_order_arguments(parser)
    site_config.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Restart instances; returns the exit code.

    Raises:
        OCSError: nobody could be asked.
    """
    site = site_of(args)
    views = site.view()
    try:
        asked = orders(views, args.instance)
    except UnknownInstanceError as error:
        fail(str(error), code=2)
    return carry_out(
        args,
        "restart",
        asked,
        lambda: give(site, asked, "restart", lambda one: {"instances": list(one.instances)}),
        lambda taken: _wait(site, views, taken, args),
    )


def _wait(site: Site, views: Sequence[HostView], taken: Sequence[Order], args: argparse.Namespace) -> dict[str, str]:
    wanted = aims_of(views, taken, "up", anew=True)
    return wait(site, wanted, args.wait, teller("up again", quiet=args.json))
