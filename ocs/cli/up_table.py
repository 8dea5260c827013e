"""The live table of `ocs up`."""

import time
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ocs.base import OpCode
from ocs.cli.up_views import Printer
from ocs.up.narrator import Narrator, recording_text, sums_text
from ocs.up.rows import Health, Row, Summary, op_name

__all__ = ["TableView", "render"]

_WIDE = 110
"""Terminal width from which class and restarts have columns of their own."""

_AROUND = 7
"""Lines of a frame besides the rows."""

_HEALTH_STYLES = {Health.GOOD: "green", Health.CHANGING: "yellow", Health.BAD: "bold red", Health.IDLE: "dim"}
_OP_STYLES: dict[int, str] = {
    OpCode.STARTING: "yellow",
    OpCode.RUNNING: "green",
    OpCode.STOPPING: "yellow",
    OpCode.SUCCEEDED: "cyan",
    OpCode.FAILED: "red",
    OpCode.EXPIRED: "dim",
    OpCode.DEGRADED: "bold red",
}


class TableView:
    """A table that is drawn anew twice a second; what went wrong stays above it.

    Args:
        printer: draws.
        console: where to; None: standard output.
    """

    interval = 0.5

    def __init__(self, printer: Printer, console: Console | None = None) -> None:
        self._printer = printer
        self._console = console or Console(highlight=False)
        self._live = self._new_live()
        self._narrator = Narrator(brief=True)
        self._began = time.monotonic()
        self._title = ""
        self._hints: Sequence[str] = ()
        self._size = self._console.size
        self._frame: RenderableType = ""

    def start(self, facts: dict[str, Any], hints: Sequence[str]) -> None:
        """Print the hints; the table grows below them."""
        self._title = f"{facts['title']} on {facts['host']}, router {facts['wamp_server']}"
        self._hints = hints
        self._printer.post(self._begin)

    def look(self, rows: Sequence[Row], summary: Summary) -> None:
        """Draw the table, and print above it what has gone wrong."""
        for row, text in self._narrator.changes(rows):
            self.note(f"{row.name}: {text}")
        self._frame = self._frame_of(rows, summary)
        self._printer.post(self._draw, only_if_idle=True)

    def _frame_of(self, rows: Sequence[Row], summary: Summary) -> RenderableType:
        width, height = self._console.size
        advice = "" if all(row.state == "down" for row in rows) and rows else "Ctrl-C ends all"
        return render(self._title, rows, summary, time.monotonic() - self._began, width, height, advice)

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._print(Text.assemble((time.strftime("%H:%M:%S "), "dim"), text))

    def close(self) -> None:
        """Draw the last frame, and leave it on the terminal."""
        self._printer.post(self._draw)
        self._printer.post(self._end)
        self._printer.close()

    def _print(self, text: Text) -> None:
        self._printer.post(lambda: self._console.print(text, soft_wrap=True))

    def _end(self) -> None:
        self._live.stop()

    def _new_live(self) -> Live:
        return Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def _begin(self) -> None:
        for hint in self._hints:
            self._console.print(Text(hint), soft_wrap=True)
        self._live.start()

    def _begin_anew(self) -> None:
        """Clear a terminal whose size has changed: it has wrapped the lines that the table was drawn on."""
        self._live.stop()
        self._console.clear()
        self._live = self._new_live()
        self._begin()

    def _draw(self) -> None:
        if self._console.size != self._size:
            self._size = self._console.size
            self._begin_anew()
        self._live.update(self._frame, refresh=True)


def render(
    title: str,
    rows: Sequence[Row],
    summary: Summary,
    elapsed: float,
    width: int,
    height: int,
    advice: str = "",
) -> RenderableType:
    """Return one frame.

    Args:
        title: what runs.
        rows: how each part does.
        summary: how the whole does.
        elapsed: time since the start, in seconds.
        width: of the terminal, in columns.
        height: of the terminal, in lines.
        advice: what the user may do.
    """
    wide = width >= _WIDE
    shown, hidden = _fit(rows, max(1, height - _AROUND))
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", expand=True, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("agent", no_wrap=True, min_width=10, max_width=24)
    if wide:
        table.add_column("class", no_wrap=True, style="dim", max_width=20)
    table.add_column("state", no_wrap=True, min_width=10, max_width=12)
    table.add_column("operations", no_wrap=True, overflow="ellipsis", ratio=3 if wide else 2)
    table.add_column("samples/s", no_wrap=True, justify="right", min_width=9)
    table.add_column("last message", no_wrap=True, overflow="ellipsis", ratio=4 if wide else 3)
    if wide:
        table.add_column("restarts", no_wrap=True, justify="right", min_width=8)
    for row in shown:
        table.add_row(*_cells(row, wide=wide))
    more = [Text(f"… and {hidden} more; a taller window shows them", style="dim")] if hidden else []
    return Group(_line(Text(title, style="bold"), _elapsed(elapsed)), table, *more, *_foot(summary, advice))


def _fit(rows: Sequence[Row], room: int) -> tuple[Sequence[Row], int]:
    """Return the rows that fit, those in trouble first if not all do, and how many do not."""
    if len(rows) <= room:
        return rows, 0
    order = sorted(rows, key=lambda row: row.health != Health.BAD)
    return order[: room - 1], len(rows) - room + 1


def _cells(row: Row, *, wide: bool) -> list[RenderableType]:
    cells: list[RenderableType] = [Text(row.name)]
    if wide:
        cells.append(row.agent_class)
    cells += [_state(row, wide=wide), _operations(row, wide=wide), _rate(row), _last(row)]
    if wide:
        cells.append(str(row.restarts) if row.restarts else "")
    return cells


def _state(row: Row, *, wide: bool) -> Text:
    text = f"again in {row.due_in:.0f} s" if row.due_in is not None else row.state
    if row.restarts and not wide and row.due_in is None:
        text += f" ({row.restarts})"
    return Text(text, style=_HEALTH_STYLES[row.health])


def _operations(row: Row, *, wide: bool) -> Text:
    """Return the operations; in a narrow table the one code that is as it should be goes without saying."""
    parts = []
    for name, code in row.operations:
        said = "" if code == OpCode.RUNNING and not wide else f" {op_name(code)}"
        parts.append(Text(f"{name}{said}", style=_OP_STYLES.get(code, "")))
    return Text(", ").join(parts)


def _rate(row: Row) -> Text:
    return Text(f"{row.samples_per_s:,.1f}" if row.samples_per_s else "", style="bold")


def _last(row: Row) -> Text:
    if row.trouble:
        return Text(row.trouble, style="red")
    if row.last_age is None:
        return Text("")
    return Text.assemble((f"{_age(row.last_age):>4} ", "dim"), row.last_text)


def _age(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 3600 else f"{seconds / 3600:.0f}h"  # noqa: PLR2004 - an hour


def _elapsed(seconds: float) -> Text:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return Text(f"{hours}:{minutes:02}:{rest:02}", style="dim")


def _line(left: Text, right: Text) -> Table:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    line.add_row(left, right)
    return line


def _foot(summary: Summary, advice: str) -> list[RenderableType]:
    recording = Text(recording_text(summary), no_wrap=True, overflow="ellipsis")
    return [Text(), _line(Text(sums_text(summary)), Text(advice, style="dim")), recording]
