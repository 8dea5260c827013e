"""Command lines: mistakes in one line, site options before and after a command, times."""

import argparse
import math
import os
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from ocs import site_config
from ocs.cli import output

__all__ = ["Parser", "accept_site_arguments", "given_site_options", "seconds"]


class Parser(argparse.ArgumentParser):
    """A parser that tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program with 2."""
        output.fail(f"{message} (see `{self.prog} --help`)", code=2)


def accept_site_arguments(parser: argparse.ArgumentParser) -> None:
    """Let the site options stand after a command too, without a second place in the help."""
    known = set(parser._actions)  # noqa: SLF001 - argparse has no other list of a parser's options
    site_config.add_arguments(parser)
    for action in set(parser._actions) - known:  # noqa: SLF001
        action.default = argparse.SUPPRESS  # what stands before the command holds
        action.help = argparse.SUPPRESS


def given_site_options(words: Sequence[str], without: Collection[str] = ()) -> list[str]:
    """Return the site options of a command line, for another program that is to find the same site.

    Args:
        words: the command line.
        without: names of options to leave out, as ``instance_id``.
    """
    parser = site_config.add_arguments(argparse.ArgumentParser(add_help=False, allow_abbrev=False))
    names = [action.dest for action in parser._actions if action.dest not in without]  # noqa: SLF001 - as above
    given = parser.parse_known_args(list(words))[0]
    found = [(name, getattr(given, name)) for name in names]
    return [f"--{name.replace('_', '-')}={_portable(name, value)}" for name, value in found if value is not None]


def _portable(name: str, value: Any) -> str:
    """Return an option's value as it is meant from any folder."""
    return os.path.abspath(value) if name in ("site_file", "working_dir") else str(value)  # noqa: PTH100 - keeps links


def seconds(word: str) -> float:
    """Return a time span above 0 that somebody has typed, in s.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of seconds above 0")
    return value
