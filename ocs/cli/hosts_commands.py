"""What the commands that ask and order HostManagers have in common: options, the site, what became of orders."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from ocs.cli.hosts import ANSWER_TIME, Site
from ocs.cli.hosts_orders import ALL, Order
from ocs.cli.hosts_table import WIDE
from ocs.cli.hosts_wait import Outcome
from ocs.cli.output import say, say_json, warn
from ocs.cli.parsing import seconds
from ocs.cli.readable import count

__all__ = [
    "EXIT_CODES",
    "add_order_arguments",
    "add_timeout_argument",
    "add_view_arguments",
    "carry_out",
    "site_of",
    "teller",
    "wide",
]

EXIT_CODES: Final = """\
Exit codes: 0 all is as it should be, 1 something is not (or could not be asked),
2 the command line has a mistake in it, such as an instance that nobody knows.
"""

WAIT_TIME: Final = 120.0
"""How long ``--wait`` waits unless told otherwise, in s: an agent may need a minute to get to its instrument."""


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all commands that show hosts take."""
    parser.add_argument(
        "--details",
        "-d",
        action="store_true",
        help=f"also pid, uptime, load, memory, restarts, last end; unasked on a terminal of {WIDE} columns",
    )
    add_timeout_argument(parser)


def add_timeout_argument(parser: argparse.ArgumentParser) -> None:
    """Add how long an agent may take to answer."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        default=ANSWER_TIME,
        help=f"seconds that an agent may take to answer ({ANSWER_TIME:g})",
    )


def add_order_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all commands that change something take."""
    parser.add_argument(
        "--wait",
        type=seconds,
        metavar="S",
        nargs="?",
        const=WAIT_TIME,
        help=f"wait until it has come true, for at most so many seconds ({WAIT_TIME:g})",
    )
    parser.add_argument("--privs", metavar="LEVEL", help="a level from 1 to 3 of the password file, or a password")
    add_timeout_argument(parser)


def site_of(args: argparse.Namespace) -> Site:
    """Return the site that a command line means.

    Raises:
        OCSError: there is no site file, or it has a mistake in it.
    """
    privs = getattr(args, "privs", None)
    return Site(args, args.timeout, int(privs) if privs in ("1", "2", "3") else privs)


def wide(args: argparse.Namespace) -> bool:
    """Return whether the details are to be shown."""
    if args.details or not sys.stdout.isatty():
        return bool(args.details)
    try:
        return os.get_terminal_size(1).columns >= WIDE
    except OSError:
        return False


def teller(word: str, *, quiet: bool) -> Callable[[str, float], None]:
    """Return a function that tells that an instance has got where it was to get to."""

    def tell(name: str, took: float) -> None:
        if not quiet:
            say(f"{name} is {word} (after {took:.1f} s)")

    return tell


def carry_out(
    args: argparse.Namespace,
    verb: str,
    asked: Sequence[Order],
    order: Callable[[], list[Outcome]],
    waiting: Callable[[list[Order]], dict[str, str]],
) -> int:
    """Give orders, tell what became of them, and wait for it where that is wanted.

    Args:
        args: has ``dry_run``, ``json`` and ``wait``.
        verb: what is done, for people: ``up``, ``down``, ``restart``.
        asked: the orders.
        order: gives them; returns a list of `Outcome`.
        waiting: called with the orders that were taken, returns what has not come true.

    Returns:
        The exit code.
    """
    outcomes = [Outcome(one, one.obstacle) for one in asked] if args.dry_run else order()
    if not args.json:
        _tell(verb, outcomes, dry=args.dry_run)
    taken = [outcome.order for outcome in outcomes if not outcome.message]
    left = {} if args.dry_run or args.wait is None else waiting(taken)
    if args.json:
        say_json(_outcome_json(verb, outcomes, left, args))
    elif left:
        for name, where in left.items():
            warn(f"{name}: not within {args.wait:g} s ({where})")
    return int(len(taken) < len(outcomes) or bool(left))


def _tell(verb: str, outcomes: Sequence[Outcome], *, dry: bool) -> None:
    for outcome in outcomes:
        what = "all instances" if ALL in outcome.order.instances else ", ".join(outcome.order.instances)
        if outcome.message:
            warn(f"{verb} {what} was not taken: {outcome.message}")
        else:
            say(f"{'would ask' if dry else 'asked'} {outcome.order.manager}: {verb} {what}")
    refused = sum(bool(outcome.message) for outcome in outcomes)
    if refused and len(outcomes) > 1:
        warn(f"{refused} of {count(len(outcomes), 'HostManager')} could not be asked")


def _outcome_json(
    verb: str, outcomes: Sequence[Outcome], left: dict[str, str], args: argparse.Namespace
) -> dict[str, Any]:
    return {
        "dry_run": args.dry_run,
        "orders": [
            {
                "manager": outcome.order.manager,
                "action": verb,
                "instances": list(outcome.order.instances),
                "taken": not outcome.message,
                "message": outcome.message,
            }
            for outcome in outcomes
        ],
        "not_reached": left,
        "waited": args.wait is not None and not args.dry_run,
    }
