"""Command lines: mistakes in one line, site options before and after a command, times."""

import argparse
import math
from typing import NoReturn

from ocs import site_config
from ocs.cli import output

__all__ = ["Parser", "accept_site_arguments", "seconds"]


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
