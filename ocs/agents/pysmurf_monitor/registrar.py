"""Enters files into the transfer database, each once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ocs.agents.pysmurf_monitor.state import State

if TYPE_CHECKING:
    from ocs.agents.pysmurf_monitor.hashing import Item

__all__ = ["MOST", "Entered", "Registrar"]

MOST = 2000
"""So many files at most in one transaction."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What came of a batch."""

    entered: int
    known: int
    refused: "tuple[Item, ...]" = ()
    """What can never be entered, since its path is no text."""


class Registrar:
    """Enters files. For one thread at a time.

    Args:
        db_path: the transfer database.
        state: what we remember.
        create_table: make file and tables where they are missing.
        echo: log all statements.
        busy_timeout: how long to wait for others (s).
        now: gives the time (unix, s).
    """

    def __init__(
        self,
        db_path: Path,
        state: State,
        *,
        create_table: bool = True,
        echo: bool = False,
        busy_timeout: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Find out whether the database can be used, as `enter` would; make it where it may be made."""
        raise NotImplementedError

    def enter(self, items: "Sequence[Item]") -> Entered:
        """Enter files in one transaction."""
        raise NotImplementedError

    def note(self, *, cursor: int, done: "Sequence[Item]", put_off: "Sequence[tuple[Item, float]]") -> None:
        """Note in one transaction how far we have come."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """Break off a long look at the table; any thread."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the database."""
        raise NotImplementedError
