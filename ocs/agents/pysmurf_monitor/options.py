"""The monitor's options."""

import argparse
import re
from typing import Any

from ocs.agents.pysmurf_monitor.roots import DEFAULT_ROOTS

__all__ = ["DB_PATH", "JOURNAL_BYTES", "UDP_PORT", "allowed_roots", "make_parser", "option"]

UDP_PORT = 8200
DB_PATH = "/data/so/databases/suprsync.db"
JOURNAL_BYTES = 1 << 30
LEAST_JOURNAL = 1 << 20

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def truth(text: str) -> bool:
    """Return what a word means: true or false, yes or no, on or off, 1 or 0.

    Raises:
        argparse.ArgumentTypeError: neither.
    """
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be True or False, not {text!r}") from None


def size(text: str) -> int:
    """Return a size in bytes; K, M, G and T are powers of 1024.

    Raises:
        argparse.ArgumentTypeError: it is no size, or too small for a journal.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"must be a size such as 500M or 2G, not {text!r}")
    number = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
    if number < LEAST_JOURNAL:
        raise argparse.ArgumentTypeError(f"must be at least 1M, not {text!r}")
    return number


def port(text: str) -> int:
    """Return a UDP port.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) > 0xFFFF:  # noqa: PLR2004 - the highest there is
        raise argparse.ArgumentTypeError(f"must be a port, 0 to 65535, not {text!r}")
    return int(text)


def option(args: Any, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """Return an argument; where it is of another kind, as a mock's are, or is not there at all, the default."""
    value = getattr(args, name, default)
    return value if isinstance(value, kind) else default


def allowed_roots(args: Any) -> list[str] | None:
    """Return the folders that files are allowed in; None for any."""
    if option(args, "any_root", bool, default=False):
        return None
    return option(args, "allow_root", list, default=None) or list(DEFAULT_ROOTS)


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(
        description="Enters the files that a pysmurf publisher announces into the transfer database."
    )
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--udp-port", type=port, default=UDP_PORT, help=f"where publishers send to (default: {UDP_PORT}; 0: any)"
    )
    group.add_argument("--bind", metavar="ADDRESS", default="", help="the interface to listen at (default: all)")
    group.add_argument("--db-path", default=DB_PATH, help=f"the transfer database (default: {DB_PATH})")
    group.add_argument(
        "--create-table",
        type=truth,
        nargs="?",
        const=True,
        default=True,
        metavar="BOOL",
        help="make the database and its tables where they are missing (default: True)",
    )
    group.add_argument(
        "--echo-sql", type=truth, nargs="?", const=True, default=False, metavar="BOOL", help="log every statement"
    )
    group.add_argument(
        "--allow-root",
        action="append",
        metavar="DIR",
        help=f"enter files below this folder; can be given several times (default: {', '.join(DEFAULT_ROOTS)})",
    )
    group.add_argument("--any-root", action="store_true", help="enter files wherever they are")
    group.add_argument(
        "--journal-size",
        type=size,
        default=JOURNAL_BYTES,
        metavar="SIZE",
        help="how much may wait on the disk, such as 500M (default: 1G)",
    )
    group.add_argument(
        "--test-mode",
        type=truth,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="do not start the process run; started by a client, it ends when it has processed files",
    )
    # It receives for years: it never gives up the router, unless told to.
    parser.set_defaults(crossbar_timeout=0)
    return parser
