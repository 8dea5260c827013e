"""Printing for people and machines: the one place of the programs that writes to the terminal."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from ocs.errors import OCSError

__all__ = ["Line", "Span", "fail", "program", "say", "say_json", "say_lines", "styled", "table", "warn"]


class Span(NamedTuple):
    """A piece of a line, with a style as rich knows it, such as ``bold red``; it counts on a terminal only."""

    text: str
    style: str = ""


Line = list[Span]
"""One line of styled text."""


def say(text: str = "") -> None:
    """Print one line to standard output, at once."""
    print(text, flush=True)


def say_lines(lines: Iterable[Line]) -> None:
    """Print lines, with their styles where standard output is a terminal that has colours."""
    if not sys.stdout.isatty():
        for line in lines:
            say("".join(span.text for span in line).rstrip())
        return
    from rich.console import Console  # noqa: PLC0415 - rich is slow to load and of no use in a pipe

    console = Console(highlight=False)
    for line in lines:
        console.print(styled(line), soft_wrap=True)


def styled(line: Line) -> Any:
    """Return a line as rich's text."""
    from rich.text import Text  # noqa: PLC0415 - rich is slow to load and of no use in a pipe

    return Text.assemble(*((span.text, span.style) for span in line))


def say_json(value: Any) -> None:
    """Print ``value`` as JSON, for ``--json``."""
    print(json.dumps(value, indent=2, sort_keys=True, default=str), flush=True)


def warn(message: str) -> None:
    """Print one line to standard error, and go on."""
    print(f"{_program_name()}: {message}", file=sys.stderr, flush=True)


def fail(message: str, code: int = 1) -> NoReturn:
    """Print one line to standard error and end the program with ``code``."""
    print(f"{_program_name()}: {message}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def _program_name() -> str:
    name = sys.argv[0].rsplit("/", 1)[-1]
    return "ocs" if name in ("", "-c", "-m", "__main__.py", "main.py") else name.removesuffix(".py")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; colours and lines only where standard output is a terminal.

    Args:
        columns: the headings.
        rows: one sequence of cells per row, as long as ``columns``; cells are shown as ``str`` gives them.
        title: a line above the table.
    """
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - rich is slow to load and of no use in a pipe
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        pretty = Table(*columns, title=title, title_justify="left", header_style="bold")
        for row in rows:
            pretty.add_row(*(Text(str(cell)) for cell in row))  # what is in brackets is no markup
        Console().print(pretty)
        return
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    if title:
        say(title)
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def program(main: Callable[[], int | None]) -> int:
    """Run a program's body; turn expected trouble into one line and an exit code.

    Returns:
        What ``main`` returned, 1 after an error that was reported, 130 after Ctrl-C, 141 after a closed pipe.
    """
    try:
        return main() or 0
    except OCSError as error:
        print(f"{_program_name()}: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone. What is still buffered would fail once more when the interpreter exits, and
        # change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
