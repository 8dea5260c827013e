"""``ocs up``: a whole site on this machine, with a picture of it, until Ctrl-C."""

import argparse
import math
from pathlib import Path

from ocs.up.hub import AUTO

__all__ = ["add_arguments", "run"]

DESCRIPTION = """\
Start a router and the agents of a site on this machine, show how they do, and
end all of them on Ctrl-C. Without a site file this is the demonstration site:
a registry, an aggregator that writes .g3 files, and agents that make up data.
"""

EPILOG = """\
examples:
  ocs up                                   the demonstration site, in ./ocs-data
  ocs up --site-file site.yaml             the agents that site.yaml lists for this host
  ocs up --data-dir /tmp/try --port auto   beside another router
  ocs up --secure                          the demonstration site, closed: programs need a key
  ocs up --duration 60 --json              for a minute, told in JSON lines

What agents print is in the data folder: logs/INSTANCE.log.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs up` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    site = parser.add_argument_group("which site")
    site.add_argument(
        "--site-file", type=Path, metavar="FILE", help="the site config file; none: the demonstration site"
    )
    site.add_argument("--site", metavar="NAME", help="the site config file $OCS_CONFIG_DIR/NAME.yaml")
    site.add_argument("--site-host", metavar="HOST", help="run this host's agents; else those of this machine's name")
    site.add_argument(
        "--secure",
        action="store_true",
        help="close the site: TLS, and a key for each agent and for you; makes keys that are missing, in the folder "
        "that the site file names (hub: keys), else in keys of the data folder",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        default=Path("ocs-data"),
        help="keeps recorded data (hk), what agents print (logs) and the router's files; they run in it "
        "(default: %(default)s)",
    )
    where.add_argument(
        "--port", type=_port, metavar="PORT", help="the router's port, or 'auto' for any free one; else the site's"
    )
    where.add_argument(
        "--no-router", action="store_true", help="start no router: use the one that answers at the site's address"
    )
    show = parser.add_argument_group("how long, and what is shown")
    show.add_argument("--duration", type=_seconds, metavar="SECONDS", help="end by itself after so long")
    show.add_argument(
        "--interval",
        type=_seconds,
        metavar="SECONDS",
        default=10.0,
        help="time between summaries where no table is shown (default: 10)",
    )
    show.add_argument("--json", action="store_true", help="one JSON object a line instead of text")


def _port(word: str) -> str | int:
    if word == AUTO:
        return AUTO
    if word.isascii() and word.isdigit() and 0 < int(word) <= 65535:  # noqa: PLR2004 - the largest TCP port
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is neither a port (1 to 65535) nor 'auto'")


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds above 0")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the program until Ctrl-C, ``--duration`` or a failure.

    Returns:
        0.

    Raises:
        OCSError: it could not be run; nothing is left running.
    """
    # `ocs up --help` need not wait for Twisted.
    from ocs.cli.up_program import run_site  # noqa: PLC0415
    from ocs.up.plan import Options  # noqa: PLC0415

    options = Options(args.site_file, args.site, args.site_host, args.port, args.no_router, args.secure)
    return run_site(options, args.data_dir, duration=args.duration, interval=args.interval, as_json=args.json)
