"""What `ocs up` shows: a live table on a terminal, else a line for each change, or JSON lines."""

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ocs.cli.output import say
from ocs.up.narrator import Narrator, summary_text
from ocs.up.rows import Row, Summary

__all__ = ["JsonView", "LineView", "Printer", "View"]


class View(Protocol):
    """One way to show a run. Its methods are called in the reactor's thread."""

    interval: float
    """How often `look` wants to be called, in seconds."""

    def start(self, facts: dict[str, Any], hints: Sequence[str]) -> None:
        """Show what is about to run, and how to reach it."""

    def look(self, rows: Sequence[Row], summary: Summary) -> None:
        """Show how it does; called every `interval`, and when something has changed."""

    def note(self, text: str) -> None:
        """Show a line."""

    def close(self) -> None:
        """Show nothing more; returns when everything has been shown, or after a second."""


class Printer:
    """Prints in a thread of its own: a terminal that is held (Ctrl-S) or a slow pipe must not hold up the reactor.

    Args:
        limit: how many jobs may wait; further ones are dropped.
    """

    def __init__(self, limit: int = 1000) -> None:
        self.on_broken: Callable[[], None] = lambda: None
        """Called, in the printer's thread, when nobody reads any more."""
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(limit)
        self._thread = threading.Thread(target=self._work, name="printer", daemon=True)
        self._thread.start()

    def post(self, job: Callable[[], None], *, only_if_idle: bool = False) -> None:
        """Have ``job`` called in the printer's thread, after all that was posted before."""
        if only_if_idle and not self._jobs.empty():
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return

    def close(self, timeout: float = 1.0) -> None:
        """Print what is waiting, for at most ``timeout`` seconds, and end the thread."""
        try:
            self._jobs.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except OSError:
                # The terminal or the reader of the pipe has gone.
                self.on_broken()
                return


class LineView:
    """A line for each change, and a summary now and then.

    Args:
        printer: prints.
        interval: time between summaries, in seconds.
    """

    interval = 0.5

    def __init__(self, printer: Printer, interval: float) -> None:
        self._printer = printer
        self._narrator = Narrator()
        self._between = interval
        self._next = time.monotonic() + interval

    def start(self, facts: dict[str, Any], hints: Sequence[str]) -> None:
        """Print the hints."""
        del facts
        for hint in hints:
            self._say(hint)

    def look(self, rows: Sequence[Row], summary: Summary) -> None:
        """Print what has changed."""
        for row, text in self._narrator.changes(rows):
            self._say(f"{_clock()} {row.name}: {text}")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._between
            self._say(f"{_clock()} {summary_text(summary)}")

    def note(self, text: str) -> None:
        """Print a line."""
        self._say(f"{_clock()} {text}")

    def close(self) -> None:
        """Print what is waiting."""
        self._printer.close()

    def _say(self, text: str) -> None:
        self._printer.post(lambda: say(text))


class JsonView(LineView):
    """One JSON object a line: ``start``, ``change``, ``summary``, ``note``, each told by its key ``event``."""

    def start(self, facts: dict[str, Any], hints: Sequence[str]) -> None:
        """Print what is about to run."""
        self._tell("start", facts | {"hints": list(hints)})

    def look(self, rows: Sequence[Row], summary: Summary) -> None:
        """Print what has changed."""
        for row, text in self._narrator.changes(rows):
            self._tell("change", row.as_dict() | {"text": text})
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._between
            self._tell("summary", summary.as_dict() | {"rows": [row.as_dict() for row in rows]})

    def note(self, text: str) -> None:
        """Print a line."""
        self._tell("note", {"text": text})

    def _tell(self, event: str, content: dict[str, Any]) -> None:
        self._say(json.dumps({"event": event, "time": time.time(), **content}, default=str))


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def make_view(printer: Printer, *, as_json: bool, interval: float) -> View:
    """Return the view that suits where standard output goes."""
    if as_json:
        return JsonView(printer, interval)
    if sys.stdout.isatty():
        from ocs.cli.up_table import TableView  # noqa: PLC0415 - rich is slow to load and of no use in a pipe

        return TableView(printer)
    return LineView(printer, interval)
