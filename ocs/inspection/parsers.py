"""Runs agents' own command-line parsers over their arguments, as a program of its own.

Agents' modules are somebody else's code, large, and may print: whoever asks is safe from them in another process.

Standard input: a JSON list of ``{"module": ..., "arguments": [...]}``; standard output: a JSON list of what each parser
complains of, "" where it does not, null where an agent shows no parser.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ocs import site_config

__all__ = ["complaint", "main"]

PARSER_MAKERS = ("make_parser", "add_agent_args")
"""Functions of an agent's module that give its parser, and take one to add to as their only argument."""


class _ArgumentsError(Exception):
    """What the parser complains of."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _ArgumentsError(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise _ArgumentsError(message or f"they make the agent end at once, with code {status}")


def complaint(module: Any, arguments: list[str]) -> str | None:
    """Return what the parser of an agent's module says of its arguments; "" if nothing, None if there is no parser."""
    make = next((getattr(module, name) for name in PARSER_MAKERS if callable(getattr(module, name, None))), None)
    if make is None:
        return None
    try:
        parser = site_config.add_arguments(_make(make))
        parser.parse_args(arguments)
    except _ArgumentsError as error:
        return " ".join(str(error).split())
    except (Exception, SystemExit):  # a parser that cannot be had this way says nothing of the arguments
        return None
    return ""


def _make(make: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = make(_Parser(prog="agent"))
    if not isinstance(parser, _Parser):  # it made its own
        parser.error = _Parser.error.__get__(parser)  # type: ignore[method-assign]
        parser.exit = _Parser.exit.__get__(parser)  # type: ignore[method-assign]
    return parser


def _answer(question: Mapping[str, Any]) -> str | None:
    try:
        module = importlib.import_module(question["module"])
    except (Exception, SystemExit):  # somebody else's code; that the class cannot be loaded is another finding
        return None
    return complaint(module, question["arguments"])


def main() -> None:
    """Answer what stands in standard input."""
    answers_to = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the modules print is no answer
    questions = json.load(sys.stdin)
    with answers_to:
        json.dump([_answer(question) for question in questions], answers_to)
        answers_to.flush()
    os._exit(0)  # whatever threads the modules have started


if __name__ == "__main__":
    main()
