"""A progress bar on standard error, where that is a terminal: for programs that read a lot."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["progress_bar"]

_INTERVAL: Final = 0.1
_PATIENCE: Final = 0.5
"""What takes less than this (s) is over before a bar could be read."""

Progress = Callable[[str, int, int], None]


@contextmanager
def progress_bar(clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """Show a bar while something is being done, which disappears at the end.

    Args:
        clock: gives a time that only goes on (s).

    Yields:
        What moves the bar on: called with a word for what is being done, how much of it is done, and how much there is.
    """
    if not sys.stderr.isatty():
        yield lambda what, done, total: None  # noqa: ARG005 - nobody watches
        return
    bar = _Bar(clock)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = clock() + _PATIENCE
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._clock() < self._next:
            return
        self._next = self._clock() + _INTERVAL
        if self._bar is None:
            self._begin()
        self._bar.update(self._task, description=what, completed=done, total=total)

    def _begin(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - rich is slow to load and of no use in a pipe
        from rich.progress import Progress as Bar  # noqa: PLC0415 - the same

        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("")
        self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
