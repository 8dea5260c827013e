"""``ocs data``: looks into what has been recorded: lists, gaps, tables, CSV, plots."""

import argparse
import importlib
from pathlib import Path

__all__ = ["add_arguments", "run"]

DESCRIPTION = """\
Look into recorded data. The folder is the one of the site's aggregator, or
./ocs-data/hk, where `ocs up` records, if no other is named.
"""

EPILOG = """\
examples:
  ocs data list                               what there is in the site's archive
  ocs data list /data/hk --last 1d            what was recorded there within a day
  ocs data gaps fake-1 --last 1d              what is missing of an agent's feeds, and why
  ocs data print fake-1.channel_00 --last 1h
  ocs data csv 'temps.channel_*' --start 2026-01-31T12:00 --stop 2026-01-31T13:00 -o temps.csv
  ocs data plot fake-1 --last 6h -o fake-1.png
  ocs data index --rebuild /data/hk           check every frame

A FIELD is a full name as `ocs data list` shows it, or some of its parts in their
order: fake-1.channel_00, or fake-1 alone for all its fields. In a part, * stands
for any characters and ? for one. `ocs data COMMAND --help` tells more.
"""

_FIELDS_HELP = "full names, parts of names, or patterns; a word with a / in it is the folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs data` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="data_command")

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example: {example}",
            allow_abbrev=False,
        )

    _add_list(command("list", "show feeds and fields: types, samples, from when to when", "ocs data list --last 1d"))
    _add_gaps(
        command(
            "gaps", "show what is missing, and why: lost, agent off, recorder off, no data", "ocs data gaps --last 1d"
        )
    )
    _add_print(command("print", "show samples in a table", "ocs data print fake-1.channel_00 --last 10min"))
    _add_csv(command("csv", "write samples as comma-separated values", "ocs data csv fake-1 --last 1h -o fake-1.csv"))
    _add_plot(command("plot", "draw fields over time", "ocs data plot fake-1 --last 1h -o fake-1.png"))
    _add_index(command("index", "make the indexes that are missing", "ocs data index --rebuild /data/hk"))


def _add_list(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    _add_span(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, times in unix seconds")


def _add_gaps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="FEED", nargs="*", help=f"only these feeds: {_FIELDS_HELP}")
    parser.add_argument(
        "--longer-than",
        metavar="TIME",
        help="leave out what is shorter: 10s, 5min; five times the usual time "
        "between two samples is the least in any case",
    )
    _add_where(parser)
    _add_span(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, times in unix seconds")


def _add_print(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="FIELD", nargs="+", help=_FIELDS_HELP)
    parser.add_argument(
        "-n",
        "--rows",
        type=_rows,
        default=40,
        metavar="N",
        help="show the newest N rows, 0: all (default: %(default)s)",
    )
    _add_where(parser)
    _add_span(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: field, its times (unix, s) and values")


def _rows(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise argparse.ArgumentTypeError(f"{word!r} is no number of rows")
    return int(word)


def _add_csv(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="FIELD", nargs="+", help=_FIELDS_HELP)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to it (default: standard output)")
    parser.add_argument("--utc", action="store_true", help="write times as text, not in unix seconds")
    _add_where(parser)
    _add_span(parser)


def _add_plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="FIELD", nargs="+", help=_FIELDS_HELP)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", required=True, help="the picture: .png, or .pdf, .svg"
    )
    parser.add_argument("--title", help="a line above it")
    _add_where(parser)
    _add_span(parser)


def _add_index(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("--rebuild", action="store_true", help="make all of them anew; every frame is read and checked")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", metavar="FOLDER", nargs="?", help="the folder, or one .g3 file")
    _add_where(parser)


def _add_where(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where")
    where.add_argument(
        "-d", "--data-dir", type=Path, metavar="FOLDER", help="the folder with the .g3 files, or one such file"
    )
    where.add_argument("--site-file", metavar="FILE", help="the site config file that names the aggregator's folder")
    where.add_argument("--site", metavar="NAME", help="the site config file $OCS_CONFIG_DIR/NAME.yaml")
    where.add_argument("--site-host", metavar="HOST", help="the host whose aggregator is meant")


def _add_span(parser: argparse.ArgumentParser) -> None:
    span = parser.add_argument_group("when")
    span.add_argument(
        "--start",
        metavar="TIME",
        help="from then on: unix seconds, 2026-01-31, 2026-01-31T12:00 (UTC), or --start=-2h for two hours ago",
    )
    span.add_argument("--stop", metavar="TIME", help="up to then")
    span.add_argument("--last", metavar="SPAN", help="the last 10min, 1h, 2d, 1w; before --stop, if that is given")


def run(args: argparse.Namespace) -> int:
    """Carry out ``ocs data``; returns the exit code.

    Raises:
        OCSError: something cannot be read, or is not as it should be.
    """
    # What reads archives is loaded only now: help should come at once. Where a library is missing, ocs.hk says so.
    importlib.import_module("ocs.hk")
    commands = importlib.import_module("ocs.cli.data_commands")
    return int(getattr(commands, f"{args.data_command}_")(args))
