"""``ocs``: the program with a command for each thing one does with a whole site."""

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ocs import __version__
from ocs.cli.output import fail, program, say
from ocs.cli.parsing import Parser

__all__ = ["main"]


class _Command(NamedTuple):
    module: str
    """Has ``add_arguments(parser)`` and ``run(args) -> int``; imported only when the command is used."""
    summary: str


COMMANDS = {
    "up": _Command("ocs.cli.up", "run a whole site on this machine: router, agents, and a live picture"),
    "status": _Command("ocs.cli.status", "show how a site is: router, registry, and the instances of all hosts"),
    "logs": _Command("ocs.cli.logs", "show what an instance prints, on whatever host it runs"),
    "restart": _Command("ocs.cli.restart", "have instances end and start again"),
    "alarms": _Command("ocs.cli.alarms", "show alarms, and acknowledge, mute or reset them"),
    "doctor": _Command("ocs.cli.doctor", "look for what is wrong with this machine or its site, and say what to do"),
    "config": _Command("ocs.cli.config", "check a site config file, and say what reading it anew would change"),
    "access": _Command("ocs.cli.access", "hash passwords, check the access director's file, hold exclusive access"),
    "keys": _Command("ocs.cli.keys", "say who may connect to a closed site, and make the keys for it"),
    "audit": _Command("ocs.cli.audit", "show what was asked of agents: by whom, and what became of it"),
    "data": _Command("ocs.cli.data", "look into what has been recorded: list, gaps, tables, CSV, plots"),
    "version": _Command("ocs.cli.main", "print the version"),
}

EPILOG = """\
`ocs COMMAND --help` tells more. Other programs: ocsbow has instances started and
stopped, ocs-agent-cli starts one agent, ocs-client-cli talks to agents, checkdata
looks at recorded data, ocs-local-support and ocs-install-systemd set up a host.
"""


def main(args: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        args: the words of the command line; None: those of this process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if args is None else args)
    return program(lambda: _main(words))


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        say(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        return run(argparse.Namespace())
    command = COMMANDS.get(words[0])
    if command is None:
        fail(f"there is no command {words[0]!r}; commands: {', '.join(COMMANDS)}", code=2)
    module = importlib.import_module(command.module)
    parser = Parser(prog=f"ocs {words[0]}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    module.add_arguments(parser)
    parser.description = parser.description or f"{command.summary[0].upper()}{command.summary[1:]}."
    return int(module.run(parser.parse_args(words[1:])) or 0)


def _overview() -> str:
    commands = "\n".join(f"  {name:<10} {command.summary}" for name, command in COMMANDS.items())
    return f"usage: ocs COMMAND [OPTIONS]\n\nRuns an observatory.\n\ncommands:\n{commands}\n\n{EPILOG}".rstrip()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs version` takes: nothing."""
    parser.description = "Print the version of ocs and of Python."


def run(_args: argparse.Namespace) -> int:
    """Print the version."""
    say(f"ocs {__version__} (Python {platform.python_version()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
